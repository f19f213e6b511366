package pages

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

const (
	atUse      = "Tickets in flight: the change holds for them at their next use."
	atIssue    = "Tickets in flight stay as they were issued."
	longTicket = "Tickets in flight with a longer lifetime are refused from then on."
	noTicket   = "Tickets in flight are not touched."
)

// settingMeans has a sentence on each setting, and on what it does to tickets in flight.
var settingMeans = map[string]meaning{
	"region": {"Region", "Country of phone numbers without a country code, such as GB.", noTicket},
	"required-agent-fields": {"Required fields of agents", "Fields that a request for an agent's ticket must give " +
		"beside the username: " +
		"email, phone1, uniqueId, firstName, lastName; one a line.", atIssue},
	"agent-lifetime": {"Lifetime of an agent's ticket", "How long a ticket is good if the request does not " +
		"say, such as 30s.", atIssue},
	"login-addresses": {"Allow-list for agents", "Addresses and networks from which agents may log in; one a " +
		"line.", atUse},
	"agent-sign-in-url": {"Sign-in page for agents", "The organisation's own page, with {return} for the address " +
		"to come back to.", noTicket},
	"ticket-login": {"Login with tickets", "Whether tickets are issued and redeemed.", atUse},
	"one-time":     {"One-time by default", "Whether a ticket works once if the request does not say.", atIssue},
	"customer-lifetime": {"Lifetime of a customer's ticket", "How long a ticket is good if the request does not " +
		"say, such as 5m.", atIssue},
	"max-lifetime": {"Longest lifetime", "The longest lifetime that a request may ask for, such as 10m.",
		longTicket},
	"api-addresses": {"Allow-list for the API", "Addresses and networks from which tickets may be requested; " +
		"one a line.", atUse},
	"confirm": {"Ask before the entry", "Whether a person presses a button before a ticket is spent.",
		atUse},
	"other-user":   {"If another user is signed in", "What happens to the session that the browser has.", atUse},
	"display-name": {"Name on pages", "The name that people see.", noTicket},
	"colour":       {"Colour of pages", "Such as #0a7d44.", noTicket},
	"language":     {"Language of pages", "A language tag, such as de or en.", noTicket},
	"frame-ancestors": {"Who may frame the pages", "Sites that may show the pages in a frame, such as " +
		"https://crm.example.com; one a line.", noTicket},
	"customer-sign-in-url": {"Sign-in page for customers", "The organisation's own page, with {return} for the " +
		"address to come back to.", noTicket},
	"customer-home": {"Where customers go", "A path such as /inbox, or a URL on one of the sites below.", atUse},
	"return-origins": {"Sites to return to", "Other sites to which people may be sent after the entry; one a " +
		"line.", atUse},
	"name": {"Name", "For operators.", ""},
}

// settingGroups are the settings that brands and channels share, as the pages show them.
var settingGroups = []struct {
	title string
	names []string
}{
	{"Tickets", []string{"ticket-login", "one-time", "customer-lifetime", "max-lifetime"}},
	{"Who may ask and enter", []string{"api-addresses", "confirm", "other-user"}},
	{"Where people go, and who may frame the pages", []string{
		"frame-ancestors", "customer-sign-in-url", "customer-home", "return-origins"}},
	{"Looks", []string{"display-name", "colour", "language"}},
}

// brandGroups adds the settings that only brands have.
var brandGroups = map[string][]string{
	"Tickets":               {"agent-lifetime", "required-agent-fields"},
	"Who may ask and enter": {"login-addresses"},
	"Where people go, and who may frame the pages": {"agent-sign-in-url"},
	"Looks": {"region"},
}

// settingsForm returns the form of a record's settings. in has the settings that hold where
// the record has none.
func settingsForm[T any](table []attribute.Field[T], record *T, in directory.Effective,
	more map[string][]string) *form {
	f := &form{Submit: "Save"}
	for _, g := range settingGroups {
		fields := fieldsOf(table, record, settingMeans, append(append([]string{}, g.names...), more[g.title]...)...)
		for _, field := range fields {
			field.Inherited = inherited(in, field.Name)
			if field.Name == "otherUser" {
				field.Kind = "select"
				field.Options = []option{
					{Value: ""}, {Value: directory.Replace, Text: "the new session takes its place"},
					{Value: directory.Confirm, Text: "the person is asked"},
					{Value: directory.Refuse, Text: "the entry is refused, and the ticket stays unspent"},
				}
			}
		}
		f.Groups = append(f.Groups, group{g.title, fields})
	}
	f.choose()
	return f
}

// inherited returns the value of a setting in force, for people.
func inherited(in directory.Effective, name string) string {
	unset := map[string]string{
		"apiAddresses": "any address", "loginAddresses": "any address", "colour": "the service's",
		"language": "the browser's", "agentSignInUrl": "the service's", "customerHome": "the chat's own page",
	}
	var text string
	if v := reflect.ValueOf(in).FieldByNameFunc(func(f string) bool { return strings.EqualFold(f, name) }); v.IsValid() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		text = strings.Join(attribute.SplitList(shortly(attribute.Shown(p.Interface()))), ", ")
	}
	switch text {
	case "true":
		text = "yes"
	case "false":
		text = "no"
	}
	return cmp.Or(text, unset[name], "none")
}

func (q *request) brandSettings() error {
	b := q.brand
	// What holds without the brand's own settings.
	f := settingsForm(attribute.Brands, &b, directory.Brand{Name: b.Name}.Effective(nil), brandGroups)
	f.Revision = b.Revision
	f.Intro = "An empty field has the value in grey. A channel may have settings of its own: see Channels."
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Brands); ok {
			_, err := q.revised().ChangeBrand(q.r.Context(), b.Name, func(b *directory.Brand) error { change(b); return nil })
			if err == nil {
				return q.leave(q.at("settings"), "saved")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	var above []action
	if q.CanChange() {
		above = []action{{Text: "End all sessions of the brand", Href: q.at("end-sessions"), Danger: true}}
		if q.AllBrands() {
			above = append(above, action{Text: "Remove the brand", Href: q.at("remove"), Danger: true})
		}
	}
	return q.show("Privacy and security", f, above)
}

func (q *request) endBrandSessions() (destruction, error) {
	return destruction{
		Title: "End all sessions of the brand", Kind: "brand", Name: q.Brand, Button: "End all sessions",
		Text: "Everybody of the brand has to enter again with a new ticket. Unspent tickets stay good.",
		Back: q.at("settings"), Code: "ended",
		do: func() error { _, err := q.desk.EndBrandSessions(q.r.Context(), q.brand.Name); return err },
	}, nil
}

func (q *request) removeBrand() (destruction, error) {
	if !q.AllBrands() {
		return destruction{}, &manage.ForbiddenError{Reason: "this is for administrators of all brands"}
	}
	return destruction{
		Title: "Remove the brand", Kind: "brand", Name: q.Brand, Button: "Remove the brand and all that it has",
		Text: "The brand is removed with its agents, customers, channels and its own API keys. Their tickets are refused.",
		Back: address("", "brands"), Code: "removed",
		do: func() error { return q.desk.RemoveBrand(q.r.Context(), q.brand.Name, true) },
	}, nil
}
