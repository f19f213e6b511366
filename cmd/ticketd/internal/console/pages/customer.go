package pages

import (
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

var customerMeans = map[string]meaning{
	"email": {"Email address", "Email address, phone number and unique ID are unique in the brand. A customer " +
		"has at least one.", ""},
	"phone1":     agentMeans["phone1"],
	"unique-id":  agentMeans["unique-id"],
	"first-name": {"First name", "", ""},
	"last-name":  {"Last name", "", ""},
	"remark":     {"Remark", "For agents.", ""},
}

var customerFields = []string{"email", "phone1", "unique-id", "first-name", "last-name", "remark"}

func (q *request) customers() error {
	query := strings.TrimSpace(q.r.URL.Query().Get("q"))
	t := table{
		Caption: "Customers", Search: "Beginning of a name, email address or unique ID, or a phone number", Query: query,
		Columns: []string{"Customer", "Name", "Email address", "Phone number", "Unique ID"},
		Empty:   "There is no customer yet. The first ticket of a customer adds the record, or add one here.",
	}
	var all []directory.Customer
	var err error
	if query != "" {
		var more bool
		t.Empty = "No customer matches. Search for the beginning of a name, an email address or a unique ID."
		if all, more, err = q.desk.SearchCustomers(q.r.Context(), q.brand.Name, query, manage.DefaultLimit); more {
			t.Notes = []string{"More customers match. Type more of the name."}
		}
	} else {
		var list manage.List[directory.Customer]
		list, err = q.desk.Customers(q.r.Context(), q.brand.Name, manage.Page{After: q.r.URL.Query().Get("after")})
		all, t.Next = list.Items, q.nextPage(list.Next)
	}
	if err != nil {
		return err
	}
	if q.CanChange() {
		t.Actions = []action{{Text: "Add a customer", Href: q.at("customers/add")}}
	}
	for _, c := range all {
		id := strconv.FormatInt(c.ID, 10)
		t.Rows = append(t.Rows, []cell{
			{Text: id, Href: q.at("customers/edit", "id", id)}, {Text: strings.TrimSpace(c.FirstName + " " + c.LastName)},
			{Text: c.Email}, {Text: c.Phone1}, {Text: c.UniqueID},
		})
	}
	return q.list("Customers", t)
}

func (q *request) addCustomer() error {
	var c directory.Customer
	f := &form{
		Submit: "Add the customer", Cancel: q.at("customers"),
		Groups: []group{{Fields: fieldsOf(attribute.Customers, &c, customerMeans, customerFields...)}},
	}
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Customers); ok {
			change(&c)
			made, err := q.desk.AddCustomer(q.r.Context(), q.brand.Name, c)
			if err == nil {
				return q.leave(q.at("customers/edit", "id", strconv.FormatInt(made.ID, 10)), "added")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	return q.show("Add a customer", f, nil)
}

// customer returns the customer in the query, and the ID as a text.
func (q *request) customer() (directory.Customer, string, error) {
	id, err := strconv.ParseInt(q.r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		return directory.Customer{}, "", directory.ErrNotFound
	}
	c, err := q.desk.Customer(q.r.Context(), q.brand.Name, id)
	return c, strconv.FormatInt(id, 10), err
}

func (q *request) editCustomer() error {
	c, id, err := q.customer()
	if err != nil {
		return err
	}
	f := &form{
		Submit: "Save", Cancel: q.at("customers"), Revision: c.Revision,
		Groups: []group{{Fields: fieldsOf(attribute.Customers, &c, customerMeans, customerFields...)}},
	}
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Customers); ok {
			_, err := q.revised().ChangeCustomer(q.r.Context(), q.brand.Name, c.ID,
				func(c *directory.Customer) error { change(c); return nil })
			if err == nil {
				return q.leave(q.at("customers/edit", "id", id), "saved")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	above := []action{{Text: "Events", Href: q.at("audit", "kind", "customer", "name", id)}}
	if q.CanChange() {
		above = append(above, action{Text: "End the sessions", Href: q.at("customers/end-sessions", "id", id),
			Danger: true},
			action{Text: "Remove the customer", Href: q.at("customers/remove", "id", id), Danger: true})
	}
	return q.show("Customer "+id, f, above)
}

func (q *request) removeCustomer() (destruction, error) {
	c, id, err := q.customer()
	return destruction{
		Title: "Remove a customer", Kind: "customer (the number)", Name: id, Button: "Remove the customer",
		Text: "The customer's sessions end. A later ticket for the same person adds a new record.",
		Back: q.at("customers"), Code: "removed",
		do: func() error { return q.desk.RemoveCustomer(q.r.Context(), q.brand.Name, c.ID) },
	}, err
}

func (q *request) endCustomerSessions() (destruction, error) {
	c, id, err := q.customer()
	return destruction{
		Title: "End the sessions of a customer", Kind: "customer (the number)", Name: id, Button: "End the sessions",
		Text: "The customer has to enter again with a new ticket.",
		Back: q.at("customers/edit", "id", id), Code: "ended",
		do: func() error { _, err := q.desk.EndCustomerSessions(q.r.Context(), q.brand.Name, c.ID); return err },
	}, err
}
