//go:build unix

package api

import (
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// do takes a step in the service and in the model, and returns what differs, or "".
func (r *historyRun) do(s step) string {
	switch s.op {
	case "wait":
		r.ns.Add(int64(s.wait))
		return ""
	case "directory silent", "directory answers":
		r.model.silent = s.op == "directory silent"
		r.owners.directory = r.directory
		if r.model.silent {
			r.owners.directory = r.away
		}
		return ""
	case "add key", "revoke key":
		return r.changeKey(s)
	case "add brand", "remove brand", "set brand", "end sessions of brand":
		return r.changeBrand(s)
	case "add channel", "remove channel", "set channel":
		return r.changeChannel(s)
	case "add agent", "remove agent", "edit agent", "activate agent", "import agent", "end sessions of agent":
		return r.changeAgent(s)
	case "add customer", "edit customer", "remove customer", "end sessions of customer":
		return r.changeCustomer(s)
	}
	return r.doAtDoor(s)
}

func (r *historyRun) changeKey(s step) string {
	m, ctx := r.model, r.t.Context()
	if s.op == "revoke key" {
		if k := m.keys[s.key]; k != nil && !k.revoked {
			k.revoked = true
			return changed(r.directory.RevokeAPIKey(ctx, k.id), "done")
		}
		return ""
	}
	k := directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}}
	switch s.value {
	case 0, 1:
		k.Brands = []string{r.brand(s.value)}
	case 2:
		k.Brands = []string{r.brand(0), r.brand(1)}
	case 3:
		k.AllBrands = true
	}
	if s.odd {
		k.Expires = m.now.Add(10 * time.Minute)
	}
	want := "done"
	for _, b := range k.Brands {
		if m.brands[b] == nil {
			want = "not found"
		}
	}
	text, err := r.directory.CreateAPIKey(ctx, k)
	if err == nil {
		m.keys[s.key] = &modelKey{text: text, id: text[4:14], brands: k.Brands, expires: k.Expires}
	}
	return changed(err, want)
}

// set makes a choice of a setting.
func set(to *directory.Settings, s step) {
	yes, no := true, false
	flags := []*bool{nil, &yes, &no}
	switch historySettings[s.detail] {
	case "confirm":
		to.Confirm = flags[s.value]
	case "ticketLogin":
		to.TicketLogin = flags[s.value]
		if s.value == 2 && !s.on { // rarely off
			to.TicketLogin = &yes
		}
	case "otherUser":
		to.OtherUser = []string{"", directory.Confirm, directory.Refuse}[s.value]
	}
}

func addressesOf(choice int) directory.Addresses {
	a, _ := directory.ParseAddresses([]string{"", "10.0.0.0/8", "198.51.100.0/24"}[choice])
	return a
}

func (r *historyRun) changeBrand(s step) string {
	m, ctx, name := r.model, r.t.Context(), r.brand(s.brand)
	b := m.brands[name]
	want := map[bool]string{true: "done", false: "not found"}[b != nil]
	switch s.op {
	case "add brand":
		err := r.directory.AddBrand(ctx, directory.Brand{Name: name})
		if b != nil {
			return changed(err, "exists")
		}
		m.brands[name] = &modelBrand{name: name, returned: m.returned(name), agents: map[string]*modelAgent{},
			channels: map[string]*modelChannel{}}
		return changed(err, "done")
	case "remove brand":
		if b != nil {
			for _, a := range b.agents {
				m.over(a.record)
			}
			for _, c := range b.customers {
				m.over(c.record)
				c.gone = true
			}
			for _, k := range m.keys {
				if k.brands != nil {
					k.brands = slices.DeleteFunc(slices.Clone(k.brands), func(b string) bool { return b == name })
					k.revoked = k.revoked || len(k.brands) == 0
				}
			}
			for _, c := range b.channels {
				c.gone = m.now
			}
			delete(m.brands, name)
			m.away[name] = true
			for _, agent := range historyNames { // the brand's own return counts for its agents
				delete(m.away, name+"/"+agent)
			}
			for _, channel := range historyChannels { // and for its channels
				delete(m.away, name+"#"+channel)
			}
		}
		return changed(r.directory.RemoveBrand(ctx, name, true), want)
	case "end sessions of brand":
		if b != nil {
			b.ends = append(b.ends, m.now)
		}
	}
	_, err := r.directory.UpdateBrand(ctx, name, func(d *directory.Brand) error {
		if s.op == "end sessions of brand" {
			d.SessionsSince = m.now
			return nil
		}
		set(&d.Settings, s)
		switch historySettings[s.detail] {
		case "apiAddresses":
			b.api = s.value
			d.APIAddresses = addressesOf(s.value)
		case "loginAddresses":
			b.door = s.value
			d.LoginAddresses = addressesOf(s.value)
		case "maxLifetime":
			d.MaxLifetime = []time.Duration{0, 30 * time.Second, 2 * time.Minute}[s.value]
		}
		b.settings = d.Settings
		return nil
	})
	return changed(err, want)
}

func (r *historyRun) changeChannel(s step) string {
	m, ctx, name, id := r.model, r.t.Context(), r.brand(s.brand), historyChannels[s.channel]
	b := m.brands[name]
	exists := b != nil && b.channels[id] != nil
	want := map[bool]string{true: "done", false: "not found"}[exists]
	switch s.op {
	case "add channel":
		err := r.directory.AddChannel(ctx, directory.Channel{Brand: name, ID: id})
		switch {
		case b == nil:
			return changed(err, "not found")
		case exists:
			return changed(err, "exists")
		}
		b.channels[id] = &modelChannel{returned: m.returned(name + "#" + id)}
		return changed(err, "done")
	case "remove channel":
		if exists {
			b.channels[id].gone = m.now
			delete(b.channels, id)
			m.away[name+"#"+id] = true
		}
		return changed(r.directory.RemoveChannel(ctx, name, id), want)
	}
	if s.channel == 0 {
		return ""
	}
	_, err := r.directory.UpdateChannel(ctx, name, id, func(c *directory.Channel) error {
		set(&c.Settings, s)
		b.channels[id].Settings = c.Settings
		return nil
	})
	return changed(err, want)
}
