package pages

import (
	"net/http"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// home leads to the first brand, or to the list of brands.
func (q *request) home() error {
	if len(q.Brands) > 0 {
		http.Redirect(q.w, q.r, address(q.Brands[0], ""), http.StatusSeeOther)
		return nil
	}
	return q.brands()
}

// switchBrand leads to the same page of another brand.
func (q *request) switchBrand() error {
	b, err := q.desk.Brand(q.r.Context(), q.r.URL.Query().Get("brand"))
	if err != nil {
		return err
	}
	page := q.r.URL.Query().Get("page")
	for _, l := range brandLinks {
		if l.Page == page {
			http.Redirect(q.w, q.r, address(b.Name, page), http.StatusSeeOther)
			return nil
		}
	}
	return directory.ErrNotFound
}

func (q *request) brands() error {
	list, err := q.desk.Brands(q.r.Context(), manage.Page{After: q.r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	t := table{
		Caption: "Brands", Columns: []string{"Brand", "Name on pages", "Allow-list for the API"},
		Next:  q.nextPage(list.Next),
		Empty: "You have no brand. Ask an administrator of the deployment for one.",
	}
	if q.AllBrands() {
		t.Empty = "There is no brand yet. Add the first one."
		if q.CanChange() {
			t.Actions = []action{{Text: "Add a brand", Href: address("", "brands/add")}}
		}
	}
	for _, b := range list.Items {
		t.Rows = append(t.Rows, []cell{
			{Text: b.Name, Href: address(b.Name, "")}, {Text: b.DisplayName, Quiet: b.Name},
			{Text: b.APIAddresses.String(), Quiet: "any address"},
		})
	}
	return q.list("Brands", t)
}

func (q *request) addBrand() error {
	if !q.AllBrands() {
		return &manage.ForbiddenError{Reason: "this is for administrators of all brands"}
	}
	f := &form{
		Submit: "Add the brand", Cancel: address("", "brands"),
		Groups: []group{{Fields: []*field{{
			Name: "brand", Label: "Name", Kind: "text", Hint: "Callers of the API give this name. It never changes.",
		}}}},
	}
	if q.posted() {
		f.typed(q.r)
		b, err := q.desk.AddBrand(q.r.Context(), directory.Brand{Name: f.Groups[0].Fields[0].Value})
		if err == nil {
			return q.leave(address(b.Name, "settings"), "added")
		}
		if err := f.refused(err); err != nil {
			return err
		}
	}
	return q.show("Add a brand", f, nil)
}
