package adminapi

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/view"
	"github.com/admitone/admitone/cmd/ticketd/internal/agentfile"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/verify"
)

const ofBrand = "/admin/brands/{brand}"

// routes returns all routes. Every operation of manage has one, but for those that only the
// console has.
func routes() []route {
	var all []route
	add := func(method, path, operation string, do func(*call) *api.Refusal) {
		all = append(all, route{method, path, operation, directory.ScopeAdmin, do})
	}
	all = append(all, brands.routes()...)
	all = append(all, agents.routes()...)
	add(http.MethodPost, ofBrand+"/agents/import", "ImportAgents", importAgents)
	all = append(all, customers.routes()...)
	all = append(all, channels.routes()...)
	add(http.MethodPost, ofBrand+"/revocations", "RevokeTicket", revokeTicket)
	add(http.MethodPost, "/admin/tickets/explain", "ExplainTicket", explainTicket)
	all = append(all, apiKeys.routes()...)
	add(http.MethodPost, "/admin/api-keys", "AddAPIKey", addKey)
	add(http.MethodPost, "/admin/api-keys/{id}/revoke", "RevokeAPIKey", revokeKey)
	add(http.MethodPost, "/admin/api-keys/{id}/replace", "ReplaceAPIKey", replaceKey)
	all = append(all, administrators.routes()...)
	all = append(all, route{http.MethodPost, "/admin/links", "", directory.ScopeConsole, makeLink})
	add(http.MethodGet, "/admin/issuers", "Issuers", func(c *call) *api.Refusal {
		if _, denied := c.query(); denied != nil {
			return denied
		}
		all, err := c.desk.Issuers(c.r.Context())
		if err != nil {
			return failed(err)
		}
		return replyList(c, manage.List[directory.Issuer]{Items: all}, showIssuer)
	})
	add(http.MethodGet, "/admin/issuers/{name}", "Issuer", func(c *call) *api.Refusal {
		if _, denied := c.query(); denied != nil {
			return denied
		}
		i, err := c.desk.Issuer(c.r.Context(), c.r.PathValue("name"))
		return replyIssuer(c, i, err)
	})
	add(http.MethodPost, "/admin/issuers/{name}/end-sessions", "EndIssuerSessions", func(c *call) *api.Refusal {
		if c.r.Header.Get("If-Match") != "" {
			return badHeader("If-Match", "has nothing to compare with; leave it out")
		}
		i, err := c.desk.EndIssuerSessions(c.r.Context(), c.r.PathValue("name"))
		return replyIssuer(c, i, err)
	})
	add(http.MethodGet, "/admin/events", "Events", events)
	add(http.MethodGet, "/admin/events/new", "NewEvents", newEvents)
	add(http.MethodGet, "/admin/keyrings", "Keyrings", func(c *call) *api.Refusal {
		reports, err := c.desk.Keyrings(c.r.Context())
		return items(c, reports, err)
	})
	add(http.MethodGet, "/admin/health", "Health", func(c *call) *api.Refusal {
		conditions, err := c.desk.Health(c.r.Context())
		return items(c, conditions, err)
	})
	add(http.MethodGet, "/admin/settings", "Settings", func(c *call) *api.Refusal {
		settings, err := c.desk.Settings(c.r.Context())
		return items(c, settings, err)
	})
	return all
}

func showIssuer(i *directory.Issuer) any { return attribute.Members(attribute.Issuers, i) }

func replyIssuer(c *call, i directory.Issuer, err error) *api.Refusal {
	if err != nil {
		return failed(err)
	}
	return c.reply(http.StatusOK, showIssuer(&i))
}

// items answers with a whole list.
func items[T any](c *call, all []T, err error) *api.Refusal {
	if err != nil {
		return failed(err)
	}
	return replyList(c, manage.List[T]{Items: all}, func(v *T) any { return v })
}

var brands = resource[directory.Brand]{
	path: "/admin/brands", parameter: "brand", one: "Brand", many: "Brands",
	fields: attribute.Brands, names: []string{"name"},
	revision: func(b *directory.Brand) *int64 { return &b.Revision },
	name:     func(b *directory.Brand) string { return b.Name },
	list: func(c *call, _ map[string]string, p manage.Page) (manage.List[directory.Brand], error) {
		return c.desk.Brands(c.r.Context(), p)
	},
	get: func(ctx context.Context, d *manage.Desk, _, name string) (directory.Brand, error) {
		return d.Brand(ctx, name)
	},
	add: func(ctx context.Context, d *manage.Desk, _ string, b directory.Brand) (directory.Brand, error) {
		return d.AddBrand(ctx, b)
	},
	change: func(
		ctx context.Context, d *manage.Desk, _, name string, edit func(*directory.Brand) error,
	) (directory.Brand, error) {
		return d.ChangeBrand(ctx, name, edit)
	},
	removal: []string{"with-all"},
	remove: func(c *call, q map[string]string, name string) error {
		if text, ok := q["with-all"]; ok && text != "true" && text != "false" {
			return &directory.FieldError{Field: "with-all", Reason: "is neither true nor false"}
		}
		return c.desk.RemoveBrand(c.r.Context(), name, q["with-all"] == "true")
	},
	end: func(ctx context.Context, d *manage.Desk, _, name string) (directory.Brand, error) {
		return d.EndBrandSessions(ctx, name)
	},
}

var agents = resource[directory.Agent]{
	path: ofBrand + "/agents", parameter: "username", one: "Agent", many: "Agents",
	fields: attribute.Agents, names: []string{"username"}, initial: directory.Agent{Active: true},
	revision:   func(a *directory.Agent) *int64 { return &a.Revision },
	name:       func(a *directory.Agent) string { return a.Username },
	parameters: []string{"q"},
	list: func(c *call, q map[string]string, p manage.Page) (manage.List[directory.Agent], error) {
		text, search := q["q"]
		if !search {
			return c.desk.Agents(c.r.Context(), c.brand, p)
		}
		found, _, err := c.desk.SearchAgents(c.r.Context(), c.brand, text, p.Limit)
		return manage.List[directory.Agent]{Items: found}, err
	},
	get: func(ctx context.Context, d *manage.Desk, brand, name string) (directory.Agent, error) {
		return d.Agent(ctx, brand, name)
	},
	add: func(ctx context.Context, d *manage.Desk, brand string, a directory.Agent) (directory.Agent, error) {
		return d.AddAgent(ctx, brand, a)
	},
	change: func(
		ctx context.Context, d *manage.Desk, brand, name string, edit func(*directory.Agent) error,
	) (directory.Agent, error) {
		return d.ChangeAgent(ctx, brand, name, edit)
	},
	remove: func(c *call, _ map[string]string, name string) error {
		return c.desk.RemoveAgent(c.r.Context(), c.brand, name)
	},
	end: func(ctx context.Context, d *manage.Desk, brand, name string) (directory.Agent, error) {
		return d.EndAgentSessions(ctx, brand, name)
	},
}

// customerID parses the ID of a path. A text that is no ID is the ID of nobody.
func customerID(text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

var customers = resource[directory.Customer]{
	path: ofBrand + "/customers", parameter: "id", one: "Customer", many: "Customers",
	fields:     attribute.Customers,
	revision:   func(c *directory.Customer) *int64 { return &c.Revision },
	name:       func(c *directory.Customer) string { return strconv.FormatInt(c.ID, 10) },
	parameters: []string{"q", "email", "phone1", "uniqueId"},
	list:       listCustomers,
	get: func(ctx context.Context, d *manage.Desk, brand, name string) (directory.Customer, error) {
		return d.Customer(ctx, brand, customerID(name))
	},
	add: func(ctx context.Context, d *manage.Desk, brand string, c directory.Customer) (directory.Customer, error) {
		return d.AddCustomer(ctx, brand, c)
	},
	change: func(
		ctx context.Context, d *manage.Desk, brand, name string, edit func(*directory.Customer) error,
	) (directory.Customer, error) {
		return d.ChangeCustomer(ctx, brand, customerID(name), edit)
	},
	remove: func(c *call, _ map[string]string, name string) error {
		return c.desk.RemoveCustomer(c.r.Context(), c.brand, customerID(name))
	},
	end: func(ctx context.Context, d *manage.Desk, brand, name string) (directory.Customer, error) {
		return d.EndCustomerSessions(ctx, brand, customerID(name))
	},
}

// listCustomers lists customers: all, those who match a text, or those with an identifier.
func listCustomers(c *call, q map[string]string, p manage.Page) (l manage.List[directory.Customer], err error) {
	text, search := q["q"]
	one := directory.Customer{Email: q["email"], Phone1: q["phone1"], UniqueID: q["uniqueId"]}
	find := one != directory.Customer{}
	for _, name := range []string{"email", "phone1", "uniqueId"} {
		if value, ok := q[name]; ok && value == "" { // not all customers
			return l, &directory.FieldError{Field: name, Reason: "is empty; give one, or leave it out"}
		}
	}
	switch {
	case search && find:
		err = &directory.FieldError{Field: "q", Reason: "comes with an identifier; send one of the two"}
	case search:
		l.Items, _, err = c.desk.SearchCustomers(c.r.Context(), c.brand, text, p.Limit)
	case find:
		l.Items, err = c.desk.FindCustomers(c.r.Context(), c.brand, one)
	default:
		l, err = c.desk.Customers(c.r.Context(), c.brand, p)
	}
	return l, err
}

var channels = resource[manage.Channel]{
	path: ofBrand + "/channels", parameter: "id", one: "Channel", many: "Channels",
	fields: channelFields(), names: []string{"id"},
	revision: func(c *manage.Channel) *int64 { return &c.Revision },
	name:     func(c *manage.Channel) string { return c.ID },
	list: func(c *call, _ map[string]string, p manage.Page) (manage.List[manage.Channel], error) {
		return c.desk.Channels(c.r.Context(), c.brand, p)
	},
	get: func(ctx context.Context, d *manage.Desk, brand, id string) (manage.Channel, error) {
		return d.Channel(ctx, brand, id)
	},
	add: func(ctx context.Context, d *manage.Desk, brand string, c manage.Channel) (manage.Channel, error) {
		return d.AddChannel(ctx, brand, c.Channel)
	},
	change: func(
		ctx context.Context, d *manage.Desk, brand, id string, edit func(*manage.Channel) error,
	) (manage.Channel, error) {
		return d.ChangeChannel(ctx, brand, id, func(c *directory.Channel) error {
			record := manage.Channel{Channel: *c}
			err := edit(&record)
			*c = record.Channel
			return err
		})
	},
	remove: func(c *call, _ map[string]string, id string) error {
		return c.desk.RemoveChannel(c.r.Context(), c.brand, id)
	},
}

// channelFields are the fields of a channel, and the address of its page.
func channelFields() []attribute.Field[manage.Channel] {
	var all []attribute.Field[manage.Channel]
	for _, f := range attribute.Channels {
		all = append(all, attribute.Field[manage.Channel]{
			Name: f.Name, Usage: f.Usage, List: f.List, At: func(c *manage.Channel) any { return f.At(&c.Channel) },
		})
	}
	return append(all, attribute.Field[manage.Channel]{Name: "url", At: func(c *manage.Channel) any { return &c.URL }})
}

var apiKeys = resource[directory.APIKey]{
	path: "/admin/api-keys", parameter: "id", one: "APIKey", many: "APIKeys",
	fields: attribute.APIKeys, initial: directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}},
	revision:   func(k *directory.APIKey) *int64 { return &k.Revision },
	name:       func(k *directory.APIKey) string { return k.ID },
	parameters: []string{"brand"},
	list: func(c *call, q map[string]string, p manage.Page) (manage.List[directory.APIKey], error) {
		return c.desk.APIKeys(c.r.Context(), q["brand"], p)
	},
	get: func(ctx context.Context, d *manage.Desk, _, id string) (directory.APIKey, error) {
		return d.APIKey(ctx, id)
	},
	change: func(
		ctx context.Context, d *manage.Desk, _, id string, edit func(*directory.APIKey) error,
	) (directory.APIKey, error) {
		return d.ChangeAPIKey(ctx, id, edit)
	},
	remove: func(c *call, _ map[string]string, id string) error { return c.desk.RemoveAPIKey(c.r.Context(), id) },
}

var administrators = resource[directory.Administrator]{
	path: "/admin/administrators", parameter: "username", one: "Administrator", many: "Administrators",
	fields: attribute.Administrators, names: []string{"username"}, initial: directory.Administrator{Active: true},
	revision: func(a *directory.Administrator) *int64 { return &a.Revision },
	name:     func(a *directory.Administrator) string { return a.Username },
	list: func(c *call, _ map[string]string, p manage.Page) (manage.List[directory.Administrator], error) {
		return c.desk.Administrators(c.r.Context(), p)
	},
	get: func(ctx context.Context, d *manage.Desk, _, username string) (directory.Administrator, error) {
		return d.Administrator(ctx, username)
	},
	add: func(
		ctx context.Context, d *manage.Desk, _ string, a directory.Administrator,
	) (directory.Administrator, error) {
		return d.AddAdministrator(ctx, a)
	},
	change: func(
		ctx context.Context, d *manage.Desk, _, username string, edit func(*directory.Administrator) error,
	) (directory.Administrator, error) {
		return d.ChangeAdministrator(ctx, username, edit)
	},
	remove: func(c *call, _ map[string]string, username string) error {
		return c.desk.RemoveAdministrator(c.r.Context(), username)
	},
	end: func(ctx context.Context, d *manage.Desk, _, username string) (directory.Administrator, error) {
		return d.EndAdministratorSessions(ctx, username)
	},
}

// addKey makes an API key. Only this answer has the key for its holder.
func addKey(c *call) *api.Refusal {
	k, denied := apiKeys.read(c)
	if denied != nil {
		return denied
	}
	k, bearer, err := c.desk.AddAPIKey(c.r.Context(), k)
	return replyKey(c, k, bearer, err)
}

// replyKey answers with a new API key.
func replyKey(c *call, k directory.APIKey, bearer string, err error) *api.Refusal {
	if err != nil {
		return failed(err)
	}
	c.w.Header().Set("Location", "/admin/api-keys/"+k.ID)
	c.w.Header().Set("ETag", `"`+strconv.FormatInt(k.Revision, 10)+`"`)
	object := attribute.Members(apiKeys.members(), &k)
	object["key"] = bearer
	return c.reply(http.StatusCreated, object)
}

func revokeKey(c *call) *api.Refusal {
	k, err := c.desk.RevokeAPIKey(c.r.Context(), c.r.PathValue("id"))
	return apiKeys.reply(c, http.StatusOK, k, err)
}

// replaceKey makes an API key in place of another one, which stays good for the grace.
func replaceKey(c *call) *api.Refusal {
	var grace float64
	fields := []attribute.Field[float64]{{Name: "grace", Usage: "seconds", At: func(p *float64) any { return p }}}
	set, err := attribute.ParsePatch(fields, c.body)
	if err == nil {
		err = set(&grace)
	}
	if err != nil {
		return wrongBody(err)
	}
	if grace < 0 || grace > directory.MaxGrace.Seconds() {
		grace = -1 // which the directory refuses
	}
	k, bearer, err := c.desk.ReplaceAPIKey(c.r.Context(), c.r.PathValue("id"), time.Duration(grace*float64(time.Second)))
	return replyKey(c, k, bearer, err)
}

// text reads a body with one field, which is a text.
func (c *call) text(name, usage string) (text string, _ *api.Refusal) {
	fields := []attribute.Field[string]{{Name: name, Usage: usage, At: func(s *string) any { return s }}}
	set, err := attribute.ParsePatch(fields, c.body)
	if err == nil {
		err = set(&text)
	}
	if err != nil {
		return "", wrongBody(err)
	}
	return text, nil
}

// makeLink makes a link to the console.
func makeLink(c *call) *api.Refusal {
	username, denied := c.text("username", "administrator to let in")
	if denied != nil {
		return denied
	}
	link, err := c.links(c.r.Context(), c.key, c.by, username)
	if err != nil {
		return failed(err)
	}
	return c.reply(http.StatusCreated, link)
}

func revokeTicket(c *call) *api.Refusal {
	var of struct{ id, issuer string }
	fields := []attribute.Field[struct{ id, issuer string }]{
		{Name: "ticket-id", Usage: "ID of the ticket", At: func(o *struct{ id, issuer string }) any { return &o.id }},
		{Name: "issuer", Usage: "issuer of the ticket", At: func(o *struct{ id, issuer string }) any { return &o.issuer }},
	}
	set, err := attribute.ParsePatch(fields, c.body)
	if err == nil {
		err = set(&of)
	}
	if err != nil {
		return wrongBody(err)
	}
	if err := c.desk.RevokeTicket(c.r.Context(), c.brand, of.issuer, of.id); err != nil {
		return failed(err)
	}
	answer := map[string]string{"revoked": of.id, "brand": c.brand}
	if of.issuer != "" {
		answer["issuer"] = of.issuer
	}
	return c.reply(http.StatusOK, answer)
}

// An explanation is an explanation of a ticket as JSON.
type explanation struct {
	Ticket    *client.Ticket `json:"ticket"`
	Result    client.Result  `json:"result"`
	Reason    verify.Reason  `json:"reason"`
	Why       string         `json:"why"`
	Used      bool           `json:"used"`
	FirstUsed *time.Time     `json:"firstUsed"`
	Revoked   bool           `json:"revoked"`
	Addresses []string       `json:"loginAddresses"`
	Events    []any          `json:"events"`
}

// explainTicket explains a ticket, or the ticket in a URL.
func explainTicket(c *call) *api.Refusal {
	text, denied := c.text("ticket", "ticket or URL")
	if denied != nil {
		return denied
	}
	e, err := c.desk.ExplainTicket(c.r.Context(), text)
	if err != nil {
		return failed(err)
	}
	answer := explanation{
		Ticket: view.Ticket(e.Ticket), Result: client.Refused, Reason: e.Reason, Why: e.Why, Used: e.Used,
		Revoked: e.Revoked, Addresses: []string{}, Events: []any{},
	}
	switch {
	case e.Reason == "":
		answer.Result = client.Acceptable
	case e.Reason.CannotTell():
		answer.Result = client.CannotTell
	}
	if !e.FirstUsed.IsZero() {
		answer.FirstUsed = &e.FirstUsed
	}
	for _, a := range e.Addresses {
		answer.Addresses = append(answer.Addresses, directory.Addresses{a}.String())
	}
	for i := range e.Events {
		answer.Events = append(answer.Events, showEvent(&e.Events[i]))
	}
	return c.reply(http.StatusOK, answer)
}

// importAgents imports a file of agents, or says what an import would do.
func importAgents(c *call) *api.Refusal {
	q, denied := c.query("dry-run")
	if denied != nil {
		return denied
	}
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind != "text/csv" {
		return badHeader("Content-Type", "is not text/csv; send the file as text/csv")
	}
	dryRun := q["dry-run"] == "true"
	if text, ok := q["dry-run"]; ok && text != "true" && text != "false" {
		return badHeader("dry-run", "is neither true nor false")
	}
	body, denied := readBody(c.w, c.r, maxCSV)
	if denied != nil {
		return denied
	}
	do := c.desk.ImportAgents
	if dryRun {
		do = c.desk.PreviewAgents
	}
	did, err := do(c.r.Context(), c.brand, bytes.NewReader(body))
	if errors.Is(err, manage.ErrFaults) {
		return api.Refuse(http.StatusBadRequest, "Bad request: "+err.Error(), "wrong lines",
			map[string]any{"imported": 0, "faults": did.Faults})
	}
	if err != nil {
		return failed(err)
	}
	type line struct {
		Line     int      `json:"line"`
		Username string   `json:"username"`
		Action   string   `json:"action"`
		Fields   []string `json:"fields"`
	}
	lines := []line{}
	for _, l := range did.Lines {
		action := "change"
		if l.Added {
			action = "add"
		}
		lines = append(lines, line{l.Line, l.Username, action, append([]string{}, l.Fields...)})
	}
	n := did.Imported
	return c.reply(http.StatusOK, map[string]any{
		"imported": n.Total(), "added": n.Added, "changed": n.Changed, "unchanged": n.Unchanged,
		"activated": n.Activated, "deactivated": n.Deactivated, "dryRun": dryRun,
		"faults": append([]agentfile.Mistake{}, did.Faults...), "lines": lines,
	})
}
