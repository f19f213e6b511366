package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/admitone/admitone/client"
)

// Import is the outcome of a file of agents.
type Import struct {
	Imported    int     `json:"imported"` // agents in the file
	Added       int     `json:"added"`
	Changed     int     `json:"changed"`
	Unchanged   int     `json:"unchanged"`
	Activated   int     `json:"activated"`   // of the changed ones
	Deactivated int     `json:"deactivated"` // of the changed ones
	Faults      []Fault `json:"faults"`      // wrong lines, which are not counted
	Lines       []Line  `json:"lines"`       // lines that add or change an agent, the first 1,000
}

// Fault is a wrong line of a file.
type Fault struct {
	Line   int    `json:"line"`   // counted from 1
	Column string `json:"column"` // "": the line as a whole
	Reason string `json:"reason"` // continues the column's name, if there is one
}

// Line is a line of a file that adds or changes an agent.
type Line struct {
	Line     int      `json:"line"` // counted from 1
	Username string   `json:"username"`
	Action   string   `json:"action"` // add or change
	Fields   []string `json:"fields"` // names of the fields that are set, or that change
}

// ImportAgents adds and changes the agents of a file, all or none: comma-separated values of at
// most 16 MiB, whose first line names the columns. If lines are wrong, nothing is imported, and
// Import has the Faults beside the error.
func (c *Client) ImportAgents(ctx context.Context, brand string, csv io.Reader) (Import, error) {
	return c.importAgents(ctx, "import agents", brand, csv, false)
}

// PreviewAgents returns what ImportAgents would do with a file, and changes nothing. Wrong lines
// are no error: the counts are of the others.
func (c *Client) PreviewAgents(ctx context.Context, brand string, csv io.Reader) (Import, error) {
	return c.importAgents(ctx, "preview agents", brand, csv, true)
}

func (c *Client) importAgents(
	ctx context.Context, operation, brand string, csv io.Reader, dryRun bool,
) (did Import, err error) {
	if err := reachable(operation, brand); err != nil {
		return did, err
	}
	const most = 16 << 20
	file, err := io.ReadAll(io.LimitReader(csv, most+1))
	if err == nil && len(file) > most {
		err = errors.New("the file is over 16 MiB; split it")
	}
	if err != nil {
		return did, &client.Error{Operation: operation, Cause: err}
	}
	err = c.service.Call(ctx, client.Request{
		Operation: operation, Method: http.MethodPost, Path: path("brands", brand, "agents", "import"),
		Query: url.Values{"dry-run": {strconv.FormatBool(dryRun)}}, Header: http.Header{"Content-Type": {"text/csv"}},
		Body: file,
	}, &did)
	if err != nil {
		did = Import{}
		dataOf(err, http.StatusBadRequest, &did)
	}
	return did, err
}

// RevokeTicket makes the service refuse a ticket of a brand from now on. The ID has 32
// hexadecimal digits, as in logs, and is one of the issuer's: "" are the service's own keys. An
// unknown ID is no error, and an unknown issuer has status 400.
func (c *Client) RevokeTicket(ctx context.Context, brand, issuer, id string) error {
	body := map[string]string{"ticketId": id}
	if issuer != "" {
		body["issuer"] = issuer
	}
	_, err := write[any](ctx, c, "revoke ticket", http.MethodPost, body, 0, "brands", brand, "revocations")
	return err
}

// Explanation says what a ticket is and what became of it.
type Explanation struct {
	Ticket         *client.Ticket `json:"ticket"`         // nil: no genuine ticket
	Result         client.Result  `json:"result"`         // acceptable, refused or cannot_tell
	Reason         client.Reason  `json:"reason"`         // why the ticket would not be admitted now; "": it would
	Why            string         `json:"why"`            // the reason for people
	Used           bool           `json:"used"`           // a one-time ticket was redeemed
	FirstUsed      time.Time      `json:"firstUsed"`      // zero: not known, or not used
	Revoked        bool           `json:"revoked"`        // see RevokeTicket
	LoginAddresses []string       `json:"loginAddresses"` // addresses from which the agent may enter; empty: all
	Events         []Event        `json:"events"`         // of the ticket, the oldest first, at most 500
}

// ExplainTicket explains a ticket, or the ticket in a URL, and spends nothing. A ticket of
// another brand is answered with status 404, whether or not it is genuine.
func (c *Client) ExplainTicket(ctx context.Context, ticket string) (Explanation, error) {
	body := map[string]string{"ticket": ticket}
	return write[Explanation](ctx, c, "explain ticket", http.MethodPost, body, 0, "tickets", "explain")
}

// Link lets an administrator into the console, once.
type Link struct {
	URL      string    `json:"url"` // whoever has the URL is let in
	TicketID string    `json:"ticketId"`
	Expires  time.Time `json:"expires"`
}

// Link makes a link to the console for an administrator. The API key needs the scope Console and
// all brands in which the administrator has rights.
func (c *Client) Link(ctx context.Context, username string) (Link, error) {
	body := map[string]string{"username": username}
	return write[Link](ctx, c, "make link", http.MethodPost, body, 0, "links")
}

// Issuer is a named issuer of tickets, as a file of the service has it.
type Issuer struct {
	Name        string    `json:"name"`
	Denied      bool      `json:"denied"`             // none of its tickets is good
	Brands      []string  `json:"brands"`             // of its tickets; an API key for named brands sees these alone
	AllBrands   bool      `json:"allBrands"`          // its tickets may be of every brand
	Audiences   []string  `json:"audiences"`          // agent, customer or both
	MaxLifetime Duration  `json:"maxLifetimeSeconds"` // of its tickets; 0: the default of each audience
	ManyTimes   bool      `json:"manyTimes"`          // tickets for many uses are good too
	Override    bool      `json:"override"`           // tickets may change the records of customers
	Claims      []string  `json:"claims"`             // names of the claims that tickets may have
	Until       time.Time `json:"until"`              // end of the grant; zero: none
	Rate        float64   `json:"rate"`               // one-time tickets a second; 0: no limit

	Format      int       `json:"format"`      // of the tickets: 1, or 2 for issuers of the trust list
	Keys        []string  `json:"keys"`        // IDs of the keys whose tickets are good
	DeniedKeys  []string  `json:"deniedKeys"`  // of format 2
	Generation  int       `json:"generation"`  // of the bundle, in format 2
	BundleUntil time.Time `json:"bundleUntil"` // when the bundle ends, in format 2

	SessionsSince time.Time   `json:"sessionsSince"` // sessions that began before are over; zero: none
	LastUsed      time.Time   `json:"lastUsed"`      // when somebody last entered with a ticket; zero: never
	KeyUses       []IssuerUse `json:"keyUses"`       // the same for each key, also for keys of before
}

// IssuerUse is the last use of an issuer's key.
type IssuerUse struct {
	ID       string    `json:"id"`
	LastUsed time.Time `json:"lastUsed"`
}

// Issuers lists the named issuers that may issue tickets of the API key's brands, in the order of
// their names.
func (c *Client) Issuers(ctx context.Context) ([]Issuer, error) {
	p, err := read[part[Issuer]](ctx, c, "list issuers", nil, "issuers")
	return p.Items, err
}

// Issuer returns a named issuer.
func (c *Client) Issuer(ctx context.Context, name string) (Issuer, error) {
	return read[Issuer](ctx, c, "show issuer", nil, "issuers", name)
}

// EndIssuerSessions ends the sessions of an issuer's tickets, of every brand. Unspent tickets stay
// good. The API key must be for all brands.
func (c *Client) EndIssuerSessions(ctx context.Context, name string) (Issuer, error) {
	return write[Issuer](ctx, c, "end sessions of issuer", http.MethodPost, nil, 0, "issuers", name, "end-sessions")
}

// Event is an entry of the audit trail.
type Event struct {
	ID       int64     `json:"id"` // a later ID was written later
	At       time.Time `json:"at"`
	Actor    Actor     `json:"actor"`
	Brand    string    `json:"brand"`    // "": the deployment
	Action   string    `json:"action"`   // such as agent.set or ticket.issue
	Kind     string    `json:"kind"`     // of the record: brand, agent, …; "": none
	Name     string    `json:"name"`     // of the record
	Fields   []string  `json:"fields"`   // names of the fields that changed
	TicketID string    `json:"ticketId"` // "": none
	Issuer   string    `json:"issuer"`   // of the ticket; "": the deployment's own keys
	KeyID    string    `json:"keyId"`    // of the key that sealed the ticket; the recipient's, in format 2

	SigningKey string `json:"signingKey"` // of the issuer, in format 2

	Reason string `json:"reason"` // of a refusal
	Count  int    `json:"count"`  // how many equal events the entry stands for

	Details json.RawMessage `json:"details"` // an object, or null
}

// Actor is who caused an event, and from where.
type Actor struct {
	Kind    string `json:"kind"`    // key, administrator, shell, service, ticket or stranger
	Name    string `json:"name"`    // ID of the API key, username, or user of the shell
	Machine string `json:"machine"` // of a shell or service
	Remote  string `json:"remote"`  // address of a client
}

// EventFilter chooses events. An empty field chooses all.
type EventFilter struct {
	Brand      string // an API key for named brands must name one
	Deployment bool   // the events of no brand, in place of Brand

	TicketID   string
	Issuer     string // of a ticket: a named issuer
	Kind, Name string // of a record
	Action     string // such as agent.set, or with a dot at its end: agent.
	ActorKind  string
	Actor      string // name of the actor

	Since, Until time.Time // zero: no limit
}

func (f EventFilter) query() url.Values {
	query := values("brand", f.Brand, "ticketId", f.TicketID, "issuer", f.Issuer, "kind", f.Kind, "name", f.Name,
		"action", f.Action, "actorKind", f.ActorKind, "actor", f.Actor)
	if f.Deployment {
		query.Set("brand", "")
	}
	return query
}

// Events lists the events of the filter, the newest first.
func (c *Client) Events(ctx context.Context, f EventFilter) iter.Seq2[Event, error] {
	query := f.query()
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return list[Event](ctx, c, "list events", query, "events")
}

// NewEvents returns events of the filter that were written after the event with the ID after, in
// the order of their IDs. last is the ID to go on with. The time limits of the filter do not
// count. Where the service has PostgreSQL, an event may appear up to 15 seconds after another
// with a higher ID, or later while an import runs.
func (c *Client) NewEvents(ctx context.Context, f EventFilter, after int64) (all []Event, last int64, err error) {
	query := f.query()
	query.Set("last", strconv.FormatInt(after, 10))
	return c.newEvents(ctx, query)
}

// LastEvent returns the ID of the newest event, for NewEvents to go on with. Of the filter, the
// brand counts.
func (c *Client) LastEvent(ctx context.Context, f EventFilter) (int64, error) {
	_, last, err := c.newEvents(ctx, f.query())
	return last, err
}

func (c *Client) newEvents(ctx context.Context, query url.Values) ([]Event, int64, error) {
	type answer struct {
		Items []Event `json:"items"`
		Last  int64   `json:"last"`
	}
	a, err := read[answer](ctx, c, "list new events", query, "events", "new")
	return a.Items, a.Last, err
}

// Keyring is the state of a keyring. It has no key.
type Keyring struct {
	Kind       string       `json:"kind"` // of the keyring, such as ticket
	Realm      string       `json:"realm"`
	Generation uint64       `json:"generation"` // rises by one with each change of the keyring's file
	Primary    string       `json:"primary"`    // ID of the key that seals
	Keys       []KeyringKey `json:"keys"`       // the oldest first
	Use        []KeyUse     `json:"use"`        // of the keys that open, the oldest first

	Loaded  time.Time `json:"loaded"`  // when the keys in use were loaded
	Checked time.Time `json:"checked"` // end of the last look at the file
	Good    time.Time `json:"good"`    // end of the last look that succeeded
	Error   string    `json:"error"`   // of the last look; "": none
	Reason  string    `json:"reason"`  // of the error, as a stable word
}

// KeyringKey is a key of a keyring. Times are zero for what did not happen.
type KeyringKey struct {
	ID       string    `json:"id"` // 8 hexadecimal digits
	State    string    `json:"state"`
	Created  time.Time `json:"created"`
	Enabled  time.Time `json:"enabled"`  // since when the key opens
	Promoted time.Time `json:"promoted"` // when the key first became the primary
	Demoted  time.Time `json:"demoted"`  // when the key last ceased to be the primary
	Disabled time.Time `json:"disabled"`
	Revoked  bool      `json:"revoked"` // the key was disabled for good
	Reason   string    `json:"reason"`  // why the key is held or disabled
}

// KeyUse counts what a process of the service did with a key.
type KeyUse struct {
	ID       string    `json:"id"`
	Sealed   uint64    `json:"sealed"`
	Opened   uint64    `json:"opened"`
	FirstUse time.Time `json:"firstUse"`
	LastUse  time.Time `json:"lastUse"`

	By []SignedUse `json:"by"` // of a recipient's key: whose verified tickets it opened
}

// SignedUse counts the verified tickets of an issuer's signing key.
type SignedUse struct {
	Issuer     string    `json:"issuer"`
	SigningKey string    `json:"signingKey"` // its ID
	Opened     uint64    `json:"opened"`
	LastUse    time.Time `json:"lastUse"`
}

// Keyrings returns the states of the service's keyrings. The API key must be for all brands.
func (c *Client) Keyrings(ctx context.Context) ([]Keyring, error) {
	p, err := read[part[Keyring]](ctx, c, "show keyrings", nil, "keyrings")
	return p.Items, err
}

// Condition is the state of a part of the service that requests need.
type Condition struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem"` // "": none
}

// Health returns the state of the service's parts. The API key must be for all brands.
func (c *Client) Health(ctx context.Context) ([]Condition, error) {
	p, err := read[part[Condition]](ctx, c, "show health", nil, "health")
	return p.Items, err
}

// Setting is a setting of the service.
type Setting struct {
	Name  string `json:"name"` // of the flag of ticketd serve
	Value string `json:"value"`
}

// Settings returns the settings of the service, without secrets. The API key must be for all
// brands.
func (c *Client) Settings(ctx context.Context) ([]Setting, error) {
	p, err := read[part[Setting]](ctx, c, "show settings", nil, "settings")
	return p.Items, err
}
