package pages

import (
	"slices"
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// issuers lists who may issue tickets under keys of their own.
func (q *request) issuers() error {
	all, err := q.desk.Issuers(q.r.Context())
	if err != nil {
		return err
	}
	t := table{
		Caption: "Issuers",
		Empty: "Nobody else may issue tickets of these brands. The files of ticketd serve --issuers and --trust name " +
			"issuers with keys of their own.",
		Columns: []string{"Issuer", "State", "Grant", "Keys and last uses"},
	}
	now := q.Office.Now()
	for _, i := range all {
		t.Notes = append(t.Notes, attribute.IssuerReminders(i, now)...)
		state := cell{Text: "may issue"}
		switch {
		case i.Denied:
			state.Text = "denied"
		case !i.Until.IsZero() && !now.Before(i.Until):
			state.Text = "ended"
		case !i.BundleUntil.IsZero() && !now.Before(i.BundleUntil):
			state.Text = "without a valid bundle"
		}
		if q.CanChange() && q.AllBrands() {
			end := address("", "issuers/end-sessions", "name", i.Name)
			state.More = []action{{Text: "End sessions", Href: end, Danger: true}}
		}
		t.Rows = append(t.Rows, []cell{{Text: i.Name}, state, {Text: granted(i)}, {Text: issuerKeys(i)}})
	}
	return q.list("Issuers", t)
}

// granted returns which tickets an issuer may make, or might if it were not denied, in lines for
// people.
func granted(i directory.Issuer) string {
	parts := []string{strings.Join(i.Brands, ", ")}
	if i.AllBrands {
		parts[0] = "all brands"
	}
	if len(i.Audiences) > 0 {
		parts = append(parts, "for "+strings.Join(i.Audiences, " and "))
	}
	if i.MaxLifetime > 0 {
		parts = append(parts, "at most "+shortly(i.MaxLifetime.String()))
	}
	if i.ManyTimes {
		parts = append(parts, "also for many uses")
	}
	if i.Override {
		parts = append(parts, "may change customers' records")
	}
	if len(i.Claims) > 0 {
		parts = append(parts, "claims "+strings.Join(i.Claims, ", "))
	}
	if i.Rate > 0 {
		parts = append(parts, strconv.FormatFloat(i.Rate, 'f', -1, 64)+" a second")
	}
	parts = append(parts, "format "+strconv.Itoa(i.Format))
	if !i.Until.IsZero() {
		parts = append(parts, "until "+when(i.Until))
	}
	return strings.Join(parts, "\n")
}

// issuerKeys returns the keys of an issuer with their last uses, in lines for people.
func issuerKeys(i directory.Issuer) string {
	used := make(map[string]string)
	for _, u := range i.KeyUses {
		used[u.ID] = ", used " + when(u.LastUsed)
	}
	all := []string{"never used"}
	if !i.LastUsed.IsZero() {
		all[0] = "last used " + when(i.LastUsed)
	}
	for _, id := range i.Keys {
		all = append(all, id+used[id])
	}
	for _, id := range i.DeniedKeys {
		all = append(all, id+", denied")
	}
	if i.Generation > 0 {
		all = append(all, "bundle "+strconv.Itoa(i.Generation)+" until "+when(i.BundleUntil))
	}
	return strings.Join(all, "\n")
}

func (q *request) endIssuerSessions() (destruction, error) {
	i, err := q.desk.Issuer(q.r.Context(), q.r.URL.Query().Get("name"))
	if err == nil && !q.AllBrands() {
		err = &manage.ForbiddenError{Reason: "this is for administrators of all brands"}
	}
	return destruction{
		Title: "End the sessions of an issuer", Kind: "issuer", Name: i.Name, Button: "End the sessions", Code: "ended",
		Back: address("", "issuers"),
		Text: "Everybody who entered with a ticket of the issuer " + i.Name + " has to enter again. Unspent tickets stay " +
			"good. If the issuer's keys are stolen, deny the issuer in the file of the issuers.",
		do: func() error { _, err := q.desk.EndIssuerSessions(q.r.Context(), i.Name); return err },
	}, err
}

// issuerReminders returns what an administrator should know of the issuers of the request's
// brand.
func (q *request) issuerReminders() (all []action, err error) {
	issuers, err := q.desk.Issuers(q.r.Context())
	if err != nil {
		return nil, err
	}
	for _, i := range issuers {
		if !i.AllBrands && !slices.Contains(i.Brands, q.brand.Name) {
			continue
		}
		for _, text := range attribute.IssuerReminders(i, q.Office.Now()) {
			all = append(all, action{Text: text, Href: address("", "issuers")})
		}
	}
	return all, nil
}
