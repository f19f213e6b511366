package pages

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// audiences are the pages where an administrator makes a ticket.
var audiences = []action{{Text: "For an agent", Href: "try"}, {Text: "For a customer", Href: "try/customer"}}

// tryForm returns a form for a ticket with the fields of its person.
func (q *request) tryForm(lifetime time.Duration, set directory.Effective, person ...*field) *form {
	oneTime := "no"
	if set.OneTime {
		oneTime = "yes"
	}
	return &form{
		Submit: "Make the ticket", Cancel: q.at(""),
		Intro: "The ticket is a real one, made by the settings of the brand, and the audit trail names you. " +
			"Whoever opens its URL enters as this person.",
		Groups: []group{{Fields: append(person,
			&field{
				Name: "oneTimeUse", Label: "One-time", Kind: "select", Inherited: oneTime,
				Hint:    "A one-time ticket lets one person in once. Another ticket works until it expires.",
				Options: []option{{Value: ""}, {Value: "true", Text: "Yes"}, {Value: "false", Text: "No"}},
			},
			&field{
				Name: "expiresIn", Label: "Lifetime", Kind: "text", Inherited: shortly(lifetime.String()),
				Hint: "Such as 90s or 5m.",
			},
		)}},
	}
}

// tryAgent makes a ticket for an agent.
func (q *request) tryAgent() error {
	set, err := q.desk.Effective(q.r.Context(), q.brand.Name, "")
	if err != nil {
		return err
	}
	return q.try("Try it: enter as an agent", q.tryForm(set.AgentLifetime, set, &field{
		Name: "username", Label: "Username of the agent", Kind: "text",
		Value: q.r.URL.Query().Get("name"), Hint: "The other details are taken from the agent's record.",
	}))
}

// tryCustomer makes a ticket for a customer.
func (q *request) tryCustomer() error {
	ctx := q.r.Context()
	channels, err := q.desk.Channels(ctx, q.brand.Name, manage.Page{Limit: manage.MaxLimit})
	if err != nil {
		return err
	}
	if len(channels.Items) == 0 {
		q.render(http.StatusOK, "Try it: enter as a customer", "nochannel", q.at("channels/add"))
		return nil
	}
	set, err := q.desk.Effective(ctx, q.brand.Name, "")
	if err != nil {
		return err
	}
	where := &field{
		Name: "channel", Label: "Channel", Kind: "select", Value: channels.Items[0].ID,
		Hint: "The ticket is good in this channel only, and its settings count.",
	}
	for _, c := range channels.Items {
		where.Options = append(where.Options, option{Value: c.ID, Text: strings.TrimSpace(c.ID + " " + c.Name)})
	}
	return q.try("Try it: enter as a customer", q.tryForm(set.CustomerLifetime, set, where,
		&field{Name: "email", Label: "Email address", Kind: "text", Type: "email",
			Hint: "One of the three identifiers is enough. A customer who is not known yet gets a record at the entry."},
		&field{Name: "uniqueId", Label: "Unique ID", Kind: "text"},
		&field{Name: "phone1", Label: "Phone number", Kind: "text", Type: "tel",
			Hint: "With + and country code, or as it is written in the brand's region."},
	))
}

// A madeTicket is a ticket that was made for an administrator.
type madeTicket struct {
	manage.IssuedTicket
	Who, Until, Again, Audit string
}

// try shows the form, and makes the ticket of a form that was sent.
func (q *request) try(title string, f *form) error {
	f.choose()
	above := append([]action{}, audiences...)
	for i := range above {
		above[i].Href = q.at(above[i].Href)
	}
	above = append(above, action{Text: "Explain a ticket", Href: address("", "explain")})
	if !q.posted() {
		return q.show(title, f, above)
	}
	f.typed(q.r)
	var request client.IssueRequest
	to := map[string]*string{
		"username": &request.Username, "channel": &request.Channel, "email": &request.Email,
		"uniqueId": &request.UniqueID, "phone1": &request.Phone1,
	}
	for _, field := range f.fields() {
		var err error
		switch {
		case to[field.Name] != nil:
			*to[field.Name] = field.Value
			if field.Name == "username" && field.Value == "" {
				err = errors.New("is missing; write the username of an agent")
			}
		case field.Value == "":
		case field.Name == "oneTimeUse":
			once := field.Value == "true"
			request.OneTimeUse = &once
		case field.Name == "expiresIn":
			err = attribute.Parse(&request.ExpiresIn, field.Value)
		}
		if err != nil {
			field.Error = sentence(err.Error())
		}
	}
	if len(f.Wrong()) > 0 {
		return q.show(title, f, above)
	}
	made, err := q.desk.IssueTicket(q.r.Context(), q.brand.Name, request)
	if err != nil {
		if err := f.refused(err); err != nil {
			return err
		}
		return q.show(title, f, above)
	}
	q.render(http.StatusOK, "The ticket", "madeticket", madeTicket{
		IssuedTicket: made, Who: holder(&made.Ticket), Until: moment(made.Expires()), Again: q.r.URL.Path,
		Audit: q.at("audit", "ticket", made.ID.String()),
	})
	return nil
}

// holder returns the person of a ticket, for people.
func holder(t *token.Ticket) string {
	switch t.Audience {
	case token.Agent, token.Administrator:
		return t.Audience.String() + " " + t.Username
	}
	for _, name := range []string{t.Email, t.UniqueID, t.Phone1} {
		if name != "" {
			return "customer " + name
		}
	}
	return "customer"
}

// An explainPage is the page of an explanation.
type explainPage struct {
	Error   string // of the pasted text
	Unknown bool   // the ticket is not of the administrator's brands
	Known   bool   // there is an explanation
	Verdict string
	Good    bool
	Why     string
	Facts   []fact
	Events  []shownEvent
	Audit   string
}

// A fact is a property of a ticket.
type fact struct{ Name, Text string }

// explain explains the ticket in a pasted text. The ticket does not come back in the page.
func (q *request) explain() error {
	if !q.posted() {
		q.render(http.StatusOK, "Explain a ticket", "explain", explainPage{})
		return nil
	}
	e, err := q.desk.ExplainTicket(q.r.Context(), q.r.PostForm.Get("ticket"))
	var wrong *directory.FieldError
	page, status := explainPage{}, http.StatusOK
	switch {
	case errors.As(err, &wrong):
		page.Error, status = "The text "+wrong.Reason+".", http.StatusUnprocessableEntity
	case errors.Is(err, directory.ErrNotFound):
		page.Unknown = true
	case err != nil:
		return err
	default:
		page = q.explained(e)
	}
	q.render(status, "Explain a ticket", "explain", page)
	return nil
}

// explained returns the page of an explanation.
func (q *request) explained(e manage.Explanation) explainPage {
	p := explainPage{Known: true, Why: sentence(e.Why)}
	switch {
	case e.Reason == "":
		p.Verdict, p.Good = "The ticket would be admitted now.", true
	case e.Reason.CannotTell():
		p.Verdict = "The service cannot tell now whether the ticket is good: " + string(e.Reason) + "."
	case e.Ticket == nil:
		p.Verdict = "This is no ticket of this service: " + string(e.Reason) + "."
	default:
		p.Verdict = "The ticket would be refused now: " + string(e.Reason) + "."
	}
	if e.Ticket == nil {
		return p
	}
	brand := e.Ticket.Brand
	for _, event := range e.Events {
		shown := q.shown(event)
		shown.Record = strings.TrimPrefix(shown.Record, brand+": ")
		p.Events = append(p.Events, shown)
	}
	p.Facts = facts(e)
	p.Audit = address(brand, "audit", "ticket", e.Ticket.ID.String())
	return p
}

// facts returns the properties of a ticket that has been explained.
func facts(e manage.Explanation) []fact {
	t := e.Ticket
	var all []fact
	add := func(name, text string) {
		if text != "" {
			all = append(all, fact{name, text})
		}
	}
	add("For", holder(t))
	add("Brand", t.Brand)
	add("Name", strings.TrimSpace(t.FirstName+" "+t.LastName))
	add("Email address", t.Email)
	add("Unique ID", t.UniqueID)
	add("Phone number", t.Phone1)
	if t.Audience == token.Customer {
		channel := t.Channel
		if channel == "" {
			channel = "any of the brand"
		}
		add("Channel", channel)
	}
	add("Remark", t.Remark)
	add("Issued", moment(t.IssuedAt))
	add("Asked for by", t.Actor)
	add("Good until", moment(t.Expires()))
	add("Works", uses(e))
	revoked := "no"
	if e.Revoked {
		revoked = "yes"
	}
	add("Revoked", revoked)
	if len(e.Addresses) > 0 {
		add("Enters only from", e.Addresses.String())
	}
	add("Ticket ID", t.ID.String())
	add("Issuer", t.Issuer)
	add("Key", t.KeyID.String())
	if t.SigningKey != 0 {
		add("Signed by the issuer's key", t.SigningKey.String())
	}
	return all
}

// uses says how often a ticket works, and how often it did.
func uses(e manage.Explanation) string {
	used, first := 0, e.FirstUsed
	for _, event := range e.Events {
		if event.Action == directory.ActionEnter || event.Action == directory.ActionRedeemTicket {
			if used++; first.IsZero() {
				first = event.At
			}
		}
	}
	if e.Used && used == 0 {
		used = 1
	}
	when := ""
	if !first.IsZero() {
		when = ", first on " + moment(first)
	}
	switch {
	case e.Reason == verify.PossiblyUsed:
		return "once; whether it was used cannot be ruled out"
	case e.Ticket.OneTime && used > 0:
		return "once; it is spent" + strings.Replace(when, ", first", "", 1)
	case e.Ticket.OneTime:
		return "once; it is not spent"
	case used > 0:
		return "until it expires; used " + strconv.Itoa(used) + " times" + when
	}
	return "until it expires; not used yet"
}

// moment returns a time for people, with seconds.
func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 UTC") }

// refusedTicket puts the API's refusal of a ticket into the form.
func (f *form) refusedTicket(err *api.RefusedError) {
	for _, wrong := range err.Fields {
		_ = f.refused(&directory.FieldError{Field: wrong.Field, Reason: wrong.Reason})
	}
	if len(err.Fields) > 0 {
		return
	}
	_, reason, _ := strings.Cut(err.Description, ": ")
	f.Error = sentence(reason)
	if err.Reason != "" {
		f.Error += " The reason: " + err.Reason + "."
	}
}
