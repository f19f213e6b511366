package pages

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// scopes are the uses of API keys, with a sentence on each.
var scopes = []option{
	{Value: string(directory.ScopeIssue), Text: "issue", Hint: "Asks for tickets for agents and customers, and revokes " +
		"them."},
	{Value: string(directory.ScopeRedeem), Text: "redeem", Hint: "Inspects and redeems tickets, as a login page of your " +
		"own does."},
	{Value: string(directory.ScopeAdmin), Text: "admin", Hint: "Changes everything in its brands that an admin changes " +
		"here: people, settings, API keys and administrators."},
	{Value: string(directory.ScopeConsole), Text: "console", Hint: "Makes links that let the administrators of its " +
		"brands into this console, so that they can enter from your own tools."},
}

// scopeChoices returns the scopes that the administrator may give.
func (q *request) scopeChoices() (all []option) {
	for _, o := range scopes {
		if q.desk.Caller().MayGive(directory.Scope(o.Value)) {
			all = append(all, o)
		}
	}
	return all
}

var apiKeyMeans = map[string]meaning{
	"note":    {"Note", "For people, such as the name of the system that holds the key.", ""},
	"expires": {"Expires", "A date such as 2030-01-31, a time from now such as 90d, or never.", ""},
	"rate":    {"Requests a second", "In the long run. Empty for the limit of the service.", ""},
	"burst":   {"Requests at once", "With a number of requests a second. Empty for the limit of the service.", ""},
}

func (q *request) apiKeys() error {
	brand := q.r.URL.Query().Get("brand")
	list, err := q.desk.APIKeys(q.r.Context(), brand, manage.Page{After: q.r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	t := table{
		Caption: "API keys", Next: q.nextPage(list.Next),
		Empty:   "There is no API key yet. Make one for each system that asks for tickets or redeems them.",
		Columns: []string{"ID and note", "Scopes", "Brands", "Expires", "Last use", "State"},
	}
	if q.CanChange() {
		t.Actions = []action{{Text: "Make an API key", Href: address("", "api-keys/add")}}
	}
	now := q.Office.Now()
	for _, k := range list.Items {
		if warning := attribute.Reminder(k, now); warning != "" {
			t.Notes = append(t.Notes, warning)
		}
		state := cell{Text: "good"}
		switch {
		case !k.Revoked.IsZero():
			state.Text = "revoked"
		case !k.Expires.IsZero() && !now.Before(k.Expires):
			state.Text = "expired"
		case q.CanChange():
			state.More = []action{
				{Text: "Replace", Href: address("", "api-keys/replace", "id", k.ID)},
				{Text: "Revoke", Href: address("", "api-keys/revoke", "id", k.ID), Danger: true},
			}
		}
		brands := strings.Join(k.Brands, ", ")
		if k.AllBrands {
			brands = "all brands"
		}
		t.Rows = append(t.Rows, []cell{
			{Text: strings.TrimSpace(k.ID + " " + k.Note)}, {Text: shownScopes(k)}, {Text: brands},
			{Text: when(k.Expires)}, {Text: when(k.LastUsed)}, state,
		})
	}
	return q.list("API keys", t)
}

func shownScopes(k directory.APIKey) string {
	var all []string
	for _, s := range k.Scopes {
		all = append(all, string(s))
	}
	return strings.Join(all, ", ")
}

// A madeKey is an API key that is shown this once.
type madeKey struct {
	ID, Key, Curl string
	Intro         string
}

// curl returns a line that works with the key.
func (q *request) curl(k directory.APIKey, bearer string) string {
	if !slices.Contains(k.Scopes, directory.ScopeIssue) {
		return ""
	}
	brand := ""
	if len(k.Brands) > 0 {
		brand = k.Brands[0]
	} else if len(q.Brands) > 0 {
		brand = q.Brands[0]
	}
	data, err := json.Marshal(map[string]any{"data": map[string]any{"brand": brand, "email": "jane@example.com"}})
	if err != nil {
		return ""
	}
	// In single quotes, a shell takes all but the quote as it is.
	body := strings.ReplaceAll(string(data), "'", `'\''`)
	return fmt.Sprintf("curl -s %s/auth/ticket -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d "+
		"'%s'",
		q.ServiceURL, bearer, body)
}

func (q *request) showKey(title, intro string, k directory.APIKey, bearer string) error {
	q.render(http.StatusOK, title, "madekey", madeKey{ID: k.ID, Key: bearer, Curl: q.curl(k, bearer), Intro: intro})
	return nil
}

func (q *request) addAPIKey() error {
	var k directory.APIKey
	given := fieldsOf(attribute.APIKeys, &k, apiKeyMeans, "note", "expires", "rate", "burst")
	given[1].Value = "365d"
	brands := q.brandChoices("The key may be used for these brands only.", nil, false)
	brands.Value = q.r.URL.Query().Get("brand")
	f := &form{
		Submit: "Make the key", Cancel: address("", "api-keys"), Once: rand.Text(),
		Intro: "The key is shown once, on the next page. Have a safe place ready, such as the secret store of the caller.",
		Groups: []group{{Fields: append([]*field{given[0], {
			Name: "scopes", Label: "Scopes", Kind: "checks", Value: string(directory.ScopeIssue),
			Options: q.scopeChoices(),
		}, brands}, given[1:]...)}},
	}
	f.choose()
	if !q.posted() {
		return q.show("Make an API key", f, nil)
	}
	f.typed(q.r)
	if once := q.r.PostForm.Get("once"); once != "" {
		f.Once = once
	}
	for _, i := range []int{1, 2} { // empty means none
		if given[1+i].Value == "" {
			given[1+i].Value = "0"
		}
	}
	if given[1].Value == "" {
		given[1].Value = "never"
	}
	change, ok := read(f, without(attribute.APIKeys, "brands", "scopes"))
	for _, s := range q.r.PostForm["scopes"] {
		k.Scopes = append(k.Scopes, directory.Scope(s))
	}
	k.Brands, k.AllBrands = q.chosenBrands()
	if !ok {
		return q.show("Make an API key", f, nil)
	}
	change(&k)
	made, bearer, err := q.desk.Once(f.Once, sha256.Sum256([]byte(q.r.PostForm.Encode()))).AddAPIKey(q.r.Context(), k)
	var repeated *directory.RepeatedError
	switch {
	case errors.As(err, &repeated):
		q.problem(http.StatusConflict, "The key was made already",
			"This form made an API key before, with the ID "+repeated.Name+". "+
				"The key is never shown again: if it is lost, replace it in the list of API keys.")
		return nil
	case err != nil:
		if err := f.refused(err); err != nil {
			return err
		}
		return q.show("Make an API key", f, nil)
	}
	return q.showKey("The new API key", "Copy the key now. It is not shown again.", made, bearer)
}

func (q *request) replaceAPIKey() error {
	k, err := q.desk.APIKey(q.r.Context(), q.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	f := &form{
		Submit: "Replace the key", Cancel: address("", "api-keys"), Revision: k.Revision,
		Intro: "A new key with the same scopes and brands takes the place of " + strings.TrimSpace(k.ID+" "+k.Note) +
			". The old key stays good for the grace, so that its holders can change to the new one.",
		Groups: []group{{Fields: []*field{{
			Name: "grace", Label: "Grace of the old key", Kind: "select", Value: "7",
			Options: []option{{Value: "0", Text: "none: the old key ends at once"}, {Value: "1", Text: "1 day"},
				{Value: "7", Text: "7 days"}, {Value: "30", Text: "30 days"}},
			Hint: "The new key expires after as long a time as the old one did. No grace wants a session younger than " +
				"10 minutes.",
		}}}},
	}
	f.choose()
	if !q.posted() {
		return q.show("Replace an API key", f, nil)
	}
	f.typed(q.r)
	grace := f.Groups[0].Fields[0]
	days := map[string]int{"0": 0, "1": 1, "7": 7, "30": 30}
	n, ok := days[grace.Value]
	switch {
	case !ok:
		grace.Error = "This is not one of the choices. Choose one."
		return q.show("Replace an API key", f, nil)
	case n == 0 && q.stale():
		return q.askFresh()
	}
	made, bearer, err := q.revised().ReplaceAPIKey(q.r.Context(), k.ID, time.Duration(n)*24*time.Hour)
	if err != nil {
		if err := f.refused(err); err != nil {
			return err
		}
		return q.show("Replace an API key", f, nil)
	}
	intro := fmt.Sprintf("Copy the key now. It is not shown again. The old key, %s, ends in %d days.", k.ID, n)
	if n == 0 {
		intro = "Copy the key now. It is not shown again. The old key, " + k.ID + ", is revoked."
	}
	return q.showKey("The new API key", intro, made, bearer)
}

func (q *request) revokeAPIKey() (destruction, error) {
	k, err := q.desk.APIKey(q.r.Context(), q.r.URL.Query().Get("id"))
	return destruction{
		Title: "Revoke an API key", Kind: "API key", Name: k.ID, Button: "Revoke the key", Code: "revoked",
		Back: address("", "api-keys"),
		Text: "Requests with the key " + strings.TrimSpace(k.ID+" "+k.Note) + " are refused at once and for good. " +
			"Tickets that it asked for stay good until they expire. To change a key without a gap, replace it.",
		do: func() error { _, err := q.desk.RevokeAPIKey(q.r.Context(), k.ID); return err },
	}, err
}
