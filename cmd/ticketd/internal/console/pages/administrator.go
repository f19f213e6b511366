package pages

import (
	"cmp"
	"slices"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

var administratorMeans = map[string]meaning{
	"username": {"Username", "Unique in the whole deployment. It never changes.", ""},
	"name":     {"Name", "For people.", ""},
	"email":    {"Email address", "", ""},
	"role":     {"Role", "It holds in the brands below.", ""},
	"active": {"The administrator may enter", "The sessions of an inactive administrator are over at once, and so are " +
		"the links.", ""},
}

var roles = []option{
	{Value: string(directory.RoleAuditor), Text: "auditor: sees everything, changes nothing"},
	{Value: string(directory.RoleAdmin), Text: "admin: sees and changes everything"},
}

// brandChoices returns the field for the brands of a record: those of the administrator who
// fills in the form, and those that the record has.
func (q *request) brandChoices(hint string, has []string, all bool) *field {
	f := &field{Name: "brands", Label: "Brands", Kind: "checks", Hint: hint, Value: strings.Join(has, ",")}
	for _, b := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(q.Brands, has)))) {
		f.Options = append(f.Options, option{Value: b, Text: b})
	}
	const every = "every brand, future ones too"
	if q.AllBrands() {
		f.Options = append(f.Options, option{Value: "*", Text: every})
	}
	switch {
	case all && q.CanChange():
		f.Value = "*"
	case all: // an auditor reads the value
		f.Value = every
	}
	return f
}

// chosenBrands returns the brands that were chosen in brandChoices.
func (q *request) chosenBrands() (brands []string, all bool) {
	for _, b := range q.r.PostForm["brands"] {
		if b == "*" {
			all = true
		} else {
			brands = append(brands, b)
		}
	}
	return brands, all
}

// without returns a table of fields without some, which a form has in another way.
func without[T any](table []attribute.Field[T], names ...string) []attribute.Field[T] {
	return slices.DeleteFunc(slices.Clone(table),
		func(f attribute.Field[T]) bool { return slices.Contains(names, f.Name) })
}

func (q *request) administrators() error {
	list, err := q.desk.Administrators(q.r.Context(), manage.Page{After: q.r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	t := table{
		Caption: "Administrators", Columns: []string{"Username", "Name", "Role", "Brands", "State"},
		Next:  q.nextPage(list.Next),
		Empty: "You see no administrator. The administrators of your brands appear here.",
	}
	if q.CanChange() {
		t.Actions = []action{{Text: "Add an administrator", Href: address("", "administrators/add")}}
		t.Empty = "There is no administrator of your brands alone yet. Add the first one."
	}
	for _, a := range list.Items {
		state := "may enter"
		if !a.Active {
			state = "inactive"
		}
		brands := a.BrandNames()
		if a.AllBrands {
			brands = "the whole deployment"
		}
		t.Rows = append(t.Rows, []cell{
			{Text: a.Username, Href: address("", "administrators/edit", "name", a.Username)}, {Text: a.Name},
			{Text: string(a.Role)}, {Text: brands, Quiet: "none"}, {Text: state},
		})
	}
	return q.list("Administrators", t)
}

// administratorForm returns the form of an administrator, without the username.
func (q *request) administratorForm(a *directory.Administrator) *form {
	fields := fieldsOf(attribute.Administrators, a, administratorMeans, "name", "email", "role", "active")
	fields[2].Kind, fields[2].Options = "select", slices.Clone(roles)
	brands := q.brandChoices("Nobody gives a brand that they do not have.", a.Brands, a.AllBrands)
	f := &form{
		Cancel: address("", "administrators"),
		Groups: []group{{Fields: []*field{fields[0], fields[1], fields[2], brands, fields[3]}}},
	}
	f.choose()
	return f
}

// readAdministrator returns the change that was typed, and whether it could be read.
func (q *request) readAdministrator(f *form) (func(*directory.Administrator), bool) {
	f.typed(q.r)
	change, ok := read(f, without(attribute.Administrators, "brands", "all-brands"))
	return func(a *directory.Administrator) {
		change(a)
		a.Brands, a.AllBrands = q.chosenBrands()
	}, ok
}

func (q *request) addAdministrator() error {
	a := directory.Administrator{Role: directory.RoleAuditor, Active: true}
	if len(q.Brands) == 1 && !q.AllBrands() {
		a.Brands = q.Brands
	}
	f := q.administratorForm(&a)
	f.Submit = "Add the administrator"
	f.Groups[0].Fields = append(fieldsOf(attribute.Administrators, &a, administratorMeans, "username"),
		f.Groups[0].Fields...)
	if q.posted() {
		if change, ok := q.readAdministrator(f); ok {
			change(&a)
			_, err := q.desk.AddAdministrator(q.r.Context(), a)
			if err == nil {
				return q.leave(address("", "administrators/edit", "name", a.Username), "added")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	return q.show("Add an administrator", f, nil)
}

// administrator returns the administrator in the query.
func (q *request) administrator() (directory.Administrator, error) {
	return q.desk.Administrator(q.r.Context(), q.r.URL.Query().Get("name"))
}

// own reports whether a record is that of the administrator who asks.
func (q *request) own(a directory.Administrator) bool {
	return directory.UsernameKey(q.desk.Caller().Actor.Name) == directory.UsernameKey(a.Username)
}

func (q *request) editAdministrator() error {
	a, err := q.administrator()
	if err != nil {
		return err
	}
	f := q.administratorForm(&a)
	f.Submit, f.Revision = "Save", a.Revision
	if q.posted() {
		if change, ok := q.readAdministrator(f); ok {
			_, err := q.revised().ChangeAdministrator(q.r.Context(), a.Username,
				func(a *directory.Administrator) error { change(a); return nil })
			if err == nil {
				return q.leave(address("", "administrators/edit", "name", a.Username), "saved")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	return q.show("Administrator "+a.Username, f, q.aboveAdministrator(a))
}

// aboveAdministrator returns what stands above the form of an administrator.
func (q *request) aboveAdministrator(a directory.Administrator) (above []action) {
	if q.AllBrands() {
		above = append(above, action{Text: "Events",
			Href: address("", "audit", "kind", "administrator", "name", directory.UsernameKey(a.Username))})
	}
	if !q.CanChange() {
		return above
	}
	above = append(above, action{Text: "End the sessions", Danger: true,
		Href: address("", "administrators/end-sessions", "name", a.Username)})
	if q.own(a) {
		return append(above, action{Text: "This is your own record. Another administrator changes your role, your brands " +
			"and whether you may enter."})
	}
	above = append(above, action{Text: "Remove the administrator", Danger: true,
		Href: address("", "administrators/remove", "name", a.Username)})
	if !a.Active {
		return above
	}
	return append(above, action{Text: "The administrator enters by a link. Where the service runs, make one with: " +
		"ticketd console link --user " + a.Username})
}

func (q *request) removeAdministrator() (destruction, error) {
	a, err := q.administrator()
	if err == nil && q.own(a) {
		err = &manage.ForbiddenError{Reason: "this is your own record; ask another administrator to remove it"}
	}
	return destruction{
		Title: "Remove an administrator", Kind: "administrator", Name: a.Username, Button: "Remove the administrator",
		Text: "The sessions of " + cmp.Or(a.Name, a.Username) + " end at once. What the administrator did stays in the " +
			"audit trail.",
		Back: address("", "administrators"), Code: "removed",
		do: func() error { return q.desk.RemoveAdministrator(q.r.Context(), a.Username) },
	}, err
}

func (q *request) endAdministratorSessions() (destruction, error) {
	a, err := q.administrator()
	d := destruction{
		Title: "End the sessions of an administrator", Kind: "administrator", Name: a.Username, Button: "End the sessions",
		Text: "The administrator has to enter again with a new link. Links that are not used yet end too.",
		Back: address("", "administrators/edit", "name", a.Username), Code: "ended",
		do: func() error { _, err := q.desk.EndAdministratorSessions(q.r.Context(), a.Username); return err },
	}
	if err == nil && q.own(a) {
		d.Text = "These are your own sessions: after this, you need a new link to enter again. Links that are not used " +
			"yet end too."
	}
	return d, err
}
