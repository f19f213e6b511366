package pages

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

var agentMeans = map[string]meaning{
	"username":   {"Username", "Unique in the brand. It never changes.", ""},
	"email":      {"Email address", "", ""},
	"phone1":     {"Phone number", "With + and country code, or as it is written in the brand's region.", ""},
	"unique-id":  {"Unique ID", "Identifier of the person in the organisation's other systems.", ""},
	"first-name": {"First name", "", ""},
	"last-name":  {"Last name", "", ""},
	"groups":     {"Groups", "Of the agent in applications behind the service; one a line.", ""},
	"active":     {"The agent may enter", "An inactive agent's sessions end at once, and the tickets are refused.", ""},
}

var agentFields = []string{"email", "phone1", "unique-id", "first-name", "last-name", "groups", "active"}

// agents lists the agents, or those who match a search.
func (q *request) agents() error {
	query := strings.TrimSpace(q.r.URL.Query().Get("q"))
	t := table{
		Caption: "Agents", Query: query,
		Search:  "Beginning of a username, name, email address or unique ID, or a phone number",
		Columns: []string{"Username", "Name", "Email address", "State"},
		Empty:   "There is no agent yet. Add one, or import a file with all of them.",
	}
	var all []directory.Agent
	var err error
	if query != "" {
		var more bool
		t.Empty = "No agent matches. Search for the beginning of a username, a name, an email address or a unique ID."
		if all, more, err = q.desk.SearchAgents(q.r.Context(), q.brand.Name, query, manage.DefaultLimit); more {
			t.Notes = []string{"More agents match. Type more of the name."}
		}
	} else {
		var list manage.List[directory.Agent]
		list, err = q.desk.Agents(q.r.Context(), q.brand.Name, manage.Page{After: q.r.URL.Query().Get("after")})
		all, t.Next = list.Items, q.nextPage(list.Next)
	}
	if err != nil {
		return err
	}
	if q.CanChange() {
		t.Actions = []action{{Text: "Add an agent", Href: q.at("agents/add")}, {Text: "Import a file",
			Href: q.at("agents/import")}}
	}
	for _, a := range all {
		state := "may enter"
		if !a.Active {
			state = "inactive"
		}
		t.Rows = append(t.Rows, []cell{
			{Text: a.Username, Href: q.at("agents/edit", "name", a.Username)},
			{Text: strings.TrimSpace(a.FirstName + " " + a.LastName)}, {Text: a.Email}, {Text: state},
		})
	}
	return q.list("Agents", t)
}

func (q *request) addAgent() error {
	a := directory.Agent{Active: true}
	f := &form{
		Submit: "Add the agent", Cancel: q.at("agents"),
		Groups: []group{{Fields: fieldsOf(attribute.Agents, &a, agentMeans, append([]string{"username"},
			agentFields...)...)}},
	}
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Agents); ok {
			change(&a)
			_, err := q.desk.AddAgent(q.r.Context(), q.brand.Name, a)
			if err == nil {
				return q.leave(q.at("agents/edit", "name", a.Username), "added")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	return q.show("Add an agent", f, nil)
}

func (q *request) editAgent() error {
	a, err := q.desk.Agent(q.r.Context(), q.brand.Name, q.r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	f := &form{
		Submit: "Save", Cancel: q.at("agents"), Revision: a.Revision,
		Groups: []group{{Fields: fieldsOf(attribute.Agents, &a, agentMeans, agentFields...)}},
	}
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Agents); ok {
			_, err := q.revised().ChangeAgent(q.r.Context(), q.brand.Name, a.Username,
				func(a *directory.Agent) error { change(a); return nil })
			if err == nil {
				return q.leave(q.at("agents/edit", "name", a.Username), "saved")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	above := []action{{Text: "Events", Href: q.at("audit", "kind", "agent", "name", a.Username)}}
	if q.CanChange() {
		above = append(above, action{Text: "Try to enter", Href: q.at("try", "name", a.Username)},
			action{Text: "End the sessions", Href: q.at("agents/end-sessions", "name", a.Username),
				Danger: true},
			action{Text: "Remove the agent", Href: q.at("agents/remove", "name", a.Username), Danger: true})
	}
	return q.show("Agent "+a.Username, f, above)
}

func (q *request) removeAgent() (destruction, error) {
	a, err := q.desk.Agent(q.r.Context(), q.brand.Name, q.r.URL.Query().Get("name"))
	return destruction{
		Title: "Remove an agent", Kind: "agent", Name: a.Username, Button: "Remove the agent",
		Text: "The agent's sessions end and the tickets are refused. To let the agent in again later, make the agent " +
			"inactive instead.",
		Back: q.at("agents"), Code: "removed",
		do: func() error { return q.desk.RemoveAgent(q.r.Context(), q.brand.Name, a.Username) },
	}, err
}

func (q *request) endAgentSessions() (destruction, error) {
	a, err := q.desk.Agent(q.r.Context(), q.brand.Name, q.r.URL.Query().Get("name"))
	return destruction{
		Title: "End the sessions of an agent", Kind: "agent", Name: a.Username, Button: "End the sessions",
		Text: "The agent has to enter again with a new ticket.",
		Back: q.at("agents/edit", "name", a.Username), Code: "ended",
		do: func() error { _, err := q.desk.EndAgentSessions(q.r.Context(), q.brand.Name, a.Username); return err },
	}, err
}

// An importPreview is the page before an import.
type importPreview struct {
	manage.Import
	Summary, CSV, Back string
	CanConfirm         bool
}

// importAgents shows what a file would change, and imports it after a confirmation.
func (q *request) importAgents() error {
	f := &form{
		Submit: "Show what would change", Cancel: q.at("agents"), File: true,
		Intro: "The file has comma-separated values in UTF-8. Its first line names the columns, in any order: " +
			"username, and any of " +
			"email, phone1, uniqueId, firstName, lastName, groups and active. Agents that the file does not name stay as " +
			"they are.",
		Groups: []group{{Fields: []*field{{
			Name: "file", Label: "File of agents", Kind: "file", Hint: "At most 2 MB. Nothing is changed before you confirm.",
		}}}},
	}
	if !q.posted() {
		return q.show("Import agents", f, nil)
	}
	text := q.r.PostForm.Get("csv")
	if file, _, err := q.r.FormFile("file"); err == nil {
		b, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		text = string(b)
	}
	if text == "" {
		f.Groups[0].Fields[0].Error = "No file was chosen. Choose a file."
		return q.show("Import agents", f, nil)
	}
	if q.r.PostForm.Get("confirmed") == "yes" {
		did, err := q.desk.ImportAgents(q.r.Context(), q.brand.Name, strings.NewReader(text))
		if err == nil {
			return q.leave(q.at("agents"), "imported")
		}
		if len(did.Faults) == 0 {
			return f.importError(q, err)
		}
	}
	would, err := q.desk.PreviewAgents(q.r.Context(), q.brand.Name, strings.NewReader(text))
	if err != nil {
		return f.importError(q, err)
	}
	n := would.Imported
	p := importPreview{Import: would, CSV: text, Back: q.at("agents/import"),
		CanConfirm: len(would.Faults) == 0 && n.Added+n.Changed > 0}
	p.Summary = fmt.Sprintf("%d agents would be added, %d changed (%d made inactive), and %d stay as they are.",
		n.Added, n.Changed, n.Deactivated, n.Unchanged)
	status := http.StatusOK
	if len(would.Faults) > 0 {
		status = http.StatusUnprocessableEntity
		p.Summary = fmt.Sprintf("%d lines are wrong. Of the others, ", len(would.Faults)) + p.Summary
	}
	q.render(status, "Import agents: preview", "import", p)
	return nil
}

// importError shows the form again after an error of the file as a whole.
func (f *form) importError(q *request, err error) error {
	if again := f.refused(err); again != nil {
		return again
	}
	return q.show("Import agents", f, nil)
}
