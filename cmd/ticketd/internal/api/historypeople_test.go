//go:build unix

package api

import (
	"slices"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func (r *historyRun) changeAgent(s step) string {
	m, ctx, given := r.model, r.t.Context(), r.agent(s)
	name := historyNames[s.who%len(historyNames)]
	away := given.Brand + "/" + name
	b := m.brands[given.Brand]
	var a *modelAgent
	want := "not found"
	if b != nil && b.agents[name] != nil {
		a, want = b.agents[name], "done"
	}
	// become is what the directory should do with an agent who exists.
	become := func(to directory.Agent) {
		switch {
		case to.Active && !a.Active: // a new ID
			m.over(a.record)
			a.record, a.returned = m.begin(tellAgent(to)), later(m.returned(away), a.returned)
		case !to.Active && a.Active:
			m.over(a.record)
			m.away[away] = true
		case to.Active:
			m.tell(a.record, tellAgent(to))
		}
		a.Agent = to
	}
	join := func() {
		b.agents[name] = &modelAgent{Agent: given, returned: m.returned(away), record: m.begin(tellAgent(given))}
		if !given.Active {
			m.over(b.agents[name].record)
		}
	}
	switch s.op {
	case "add agent":
		switch err := r.directory.AddAgent(ctx, given); {
		case b == nil:
			return changed(err, "not found")
		case a != nil:
			return changed(err, "exists")
		default:
			join()
			return changed(err, "done")
		}
	case "remove agent":
		if a != nil {
			m.over(a.record)
			m.away[away] = true
			delete(b.agents, name)
		}
		return changed(r.directory.RemoveAgent(ctx, given.Brand, s.name()), want)
	case "end sessions of agent":
		if a != nil && a.Active {
			m.over(a.record)
			a.record = m.begin(tellAgent(a.Agent))
		}
		_, err := r.directory.EndAgentSessions(ctx, given.Brand, s.name())
		return changed(err, want)
	case "import agent":
		return r.importAgent(s, given, b, func() {
			if a == nil {
				join()
				return
			}
			become(merged(a.Agent, given, columnsLeftOut(s)))
		})
	}
	var to directory.Agent
	if a != nil {
		to = a.Agent
	}
	if s.op == "edit agent" {
		to.Email, to.FirstName, to.LastName, to.Groups = given.Email, given.FirstName, given.LastName, given.Groups
	} else {
		to.Active = s.on
	}
	_, err := r.directory.UpdateAgent(ctx, given.Brand, s.name(), func(d *directory.Agent) error {
		d.Email, d.FirstName, d.LastName, d.Groups, d.Active = to.Email, to.FirstName, to.LastName, to.Groups, to.Active
		return nil
	})
	if a != nil {
		become(to)
	}
	return changed(err, want)
}

// merged is an agent after an import: the file's fields, and the record's where the file
// has no column. The username stays as it is spelled.
func merged(is, file directory.Agent, missing []string) directory.Agent {
	file.Username = is.Username
	for _, field := range missing {
		switch field {
		case "active":
			file.Active = is.Active
		case "groups":
			file.Groups = is.Groups
		case "email":
			file.Email = is.Email
		case "firstName":
			file.FirstName = is.FirstName
		case "lastName":
			file.LastName = is.LastName
		}
	}
	return file
}

func (r *historyRun) importAgent(s step, given directory.Agent, b *modelBrand, done func()) string {
	missing := columnsLeftOut(s)
	if r.fault.columns != nil {
		missing = r.fault.columns(missing)
	}
	_, err := r.directory.ImportAgents(r.t.Context(), given.Brand,
		func(yield func(directory.Agent, error) bool) { yield(given, nil) },
		&directory.ImportOptions{Missing: func(directory.Agent) []string { return missing }})
	if b == nil {
		return changed(err, "not found")
	}
	done()
	return changed(err, "done")
}

func (r *historyRun) changeCustomer(s step) string {
	m, ctx, given := r.model, r.t.Context(), customerOfStep(s)
	given.Brand = r.brand(s.brand)
	b := m.brands[given.Brand]
	owned := func(but *modelCustomer) bool {
		return b.owns(given, 0, but) || b.owns(given, 1, but) || b.owns(given, 2, but)
	}
	if s.op == "add customer" {
		_, err := r.directory.AddCustomer(ctx, given)
		switch {
		case b == nil:
			return changed(err, "not found")
		case owned(nil):
			return changed(err, "exists")
		}
		m.addCustomer(b, given)
		return changed(err, "done")
	}
	if b == nil || len(b.customers) == 0 {
		return ""
	}
	c := b.customers[s.who%len(b.customers)]
	switch s.op {
	case "edit customer":
		_, err := r.directory.UpdateCustomer(ctx, b.name, c.ID, func(d *directory.Customer) error {
			d.UniqueID, d.Email, d.Phone1, d.FirstName = given.UniqueID, given.Email, given.Phone1, given.FirstName
			return nil
		})
		if owned(c) {
			return changed(err, "exists")
		}
		given.ID, given.Remark = c.ID, c.Remark
		m.changeCustomer(c, given)
		return changed(err, "done")
	case "remove customer":
		m.over(c.record)
		c.gone = true
		b.customers = slices.DeleteFunc(b.customers, func(o *modelCustomer) bool { return o == c })
		return changed(r.directory.RemoveCustomer(ctx, b.name, c.ID), "done")
	default:
		m.over(c.record)
		c.record = m.begin(tellCustomer(c.Customer))
		_, err := r.directory.EndCustomerSessions(ctx, b.name, c.ID)
		return changed(err, "done")
	}
}
