package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// An ActorKind is a kind of actors.
type ActorKind string

// The kinds of actors.
const (
	ActorKey           ActorKind = "key"           // an API key
	ActorAdministrator ActorKind = "administrator" // a person in the console
	ActorShell         ActorKind = "shell"         // a user of a machine, by a command
	ActorService       ActorKind = "service"       // the service itself
	ActorTicket        ActorKind = "ticket"        // the holder of a ticket
	ActorStranger      ActorKind = "stranger"      // a client without a good API key or ticket
)

// ActorKinds lists all kinds of actors.
func ActorKinds() []ActorKind {
	return []ActorKind{ActorKey, ActorAdministrator, ActorShell, ActorService, ActorTicket, ActorStranger}
}

// An Actor is who caused an event, and from where.
type Actor struct {
	Kind    ActorKind
	Name    string // ID of the API key, username of the administrator, or user at the shell
	Machine string // host of a shell or a service
	Remote  string // address of the client; "": unknown or none
	Request string // ID of the request to the service, which the Details of a change get; "": none
}

// The actions of events. A change of a record is the kind of the record with .add, .set or
// .remove, such as agent.set.
const (
	ActionEndSessions    = "sessions.end"
	ActionImportAgents   = "agent.import"
	ActionAddKey         = "key.add"
	ActionSetKey         = "key.set"
	ActionRevokeKey      = "key.revoke"
	ActionRemoveKey      = "key.remove"
	ActionIssueTicket    = "ticket.issue"
	ActionRedeemTicket   = "ticket.redeem"  // by an API key
	ActionEnter          = "ticket.enter"   // by a browser
	ActionRefuseTicket   = "ticket.refuse"  // of a genuine ticket
	ActionInspectTicket  = "ticket.inspect" // by an API key: the answer tells the ticket's contents
	ActionRevokeTicket   = "ticket.revoke"
	ActionRefuseKey      = "key.refuse"       // of a good API key: its scope, its brands or the address
	ActionRefuseStranger = "stranger.refused" // no good API key, or no ticket of ours
	ActionChangeKeyring  = "keyring.change"   // as the service sees a keyring after a reload
	ActionGap            = "audit.gap"        // events may be missing; see Details
	ActionDropped        = "audit.dropped"    // Count events were dropped; see Details
)

// An Event is an entry of the audit trail. No field has a personal value, apart from the
// username of an agent or administrator and the address of a client.
type Event struct {
	ID    int64     // chosen by the database; a later ID was written later
	At    time.Time // in whole milliseconds
	Actor Actor
	Brand string // "": the deployment

	Action string
	Kind   string   // of the record: brand, channel, agent, customer, key, keyring; "": none
	Name   string   // of the record: its name, the username as UsernameKey has it, or the ID
	Fields []string // names of the fields that changed

	Ticket    string // ID of the ticket; "": none
	Issuer    string // of the ticket; "": the deployment's own keys
	TicketKey string // ID of the ticket's key in the keyring; of the recipient's, in format 2

	// SigningKey is the ID of the issuer's key that signed the ticket, in format 2.
	SigningKey string
	Reason     string // of a refusal

	Count int // how many equal events this entry stands for, at least 1

	// Details is a JSON object, or "": the settings of brands and channels before and after, the ID of the
	// request that made a change as requestId, and more.
	Details string
}

var eventColumns = []string{
	"brand", "at", "actor_kind", "actor", "machine", "remote", "action", "kind", "name", "fields",
	"ticket", "issuer", "ticket_key", "signing_key", "reason", "count", "details",
}

func (e *Event) columns() []any {
	return []any{
		&e.Brand, instant{&e.At}, &e.Actor.Kind, &e.Actor.Name, &e.Actor.Machine, &e.Actor.Remote, &e.Action,
		&e.Kind, &e.Name, texts[string]{&e.Fields}, &e.Ticket, &e.Issuer, &e.TicketKey, &e.SigningKey,
		&e.Reason, &e.Count, &e.Details,
	}
}

// As returns the same directory, whose changes are recorded as the actor's. Changes of a
// directory without As are recorded as the service's.
func (db *DB) As(a Actor) *DB {
	as := *db
	as.actor = a
	return &as
}

// event returns an event of now, by the actor of db.
func (db *DB) event(action, brand, kind, name string) Event {
	return Event{
		At: wholeMillis(db.now()), Actor: db.actor, Brand: brand, Action: action, Kind: kind, Name: name, Count: 1,
	}
}

// eventBatch is the number of events that one statement inserts into PostgreSQL.
const eventBatch = 100

// insertEvent inserts an event into an SQLite file.
var insertEvent = insertRows("event", eventColumns, 1, true)

// insertEvents writes events, each in a row or many in a pack.
func insertEvents(ctx context.Context, tx transaction, events []Event) error {
	for len(events) > 0 {
		n := min(len(events), eventBatch)
		if tx.isFile() {
			if run := packable(events); run >= packMin {
				row, err := packRow(events[:run])
				if err == nil {
					err = tx.insert(ctx, tx.pack, insertPack, row)
				}
				if err != nil {
					return err
				}
				events = events[run:]
				runtime.Gosched() // a pack takes about a millisecond, in which requests would wait
				continue
			} else if run < n {
				n = run
			}
		}
		if err := insertRowsOf(ctx, tx, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// insertRowsOf writes at most eventBatch events, each in a row.
func insertRowsOf(ctx context.Context, tx transaction, events []Event) error {
	args := make([]any, 0, len(events)*len(eventColumns))
	for i := range events {
		v, err := values(events[i].columns())
		if err != nil {
			return err
		}
		args = append(args, v...)
	}
	if !tx.isFile() {
		_, err := exec(ctx, tx, insertRows("event", eventColumns, len(events), false), args...)
		return err
	}
	for row := range slices.Chunk(args, len(eventColumns)) { // a statement of many rows costs as much for few
		if err := tx.insert(ctx, tx.event, insertEvent, row); err != nil {
			return err
		}
	}
	return nil
}

// A change is a transaction that changes records, with the events that tell of the changes.
// A change without an event is not committed.
type change struct {
	transaction
	events []Event
	wrote  bool // whether a row was changed
	silent bool // whether no event has to tell of the change
}

// ExecContext implements querier.
func (c *change) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := c.transaction.ExecContext(ctx, query, args...)
	if err == nil {
		n, err := result.RowsAffected()
		c.wrote = c.wrote || n > 0 || err != nil
	}
	return result, err
}

// QueryContext implements querier. A query that is no SELECT counts as a write.
func (c *change) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.wrote = c.wrote || !strings.HasPrefix(query, "SELECT")
	return c.transaction.QueryContext(ctx, query, args...)
}

// note adds an event, to be written at the end of the transaction.
func (c *change) note(e Event) { c.events = append(c.events, e) }

// errNoEvent is the error of a transaction that would change a record without an event.
var errNoEvent = errors.New("the change has no event for the audit trail, which is a fault of this program")

// finish writes the events.
func (c *change) finish(ctx context.Context) error {
	if c.wrote && len(c.events) == 0 && !c.silent {
		return errNoEvent
	}
	for i := range c.events {
		if err := c.events[i].noteRequest(); err != nil {
			return err
		}
	}
	return insertEvents(ctx, c.transaction, c.events)
}

// noteRequest puts the ID of the actor's request at the end of the details, an object of
// json.Marshal.
func (e *Event) noteRequest() error {
	if e.Actor.Request == "" {
		return nil
	}
	id, err := json.Marshal(e.Actor.Request)
	begin := "{"
	if e.Details != "" {
		begin = strings.TrimSuffix(e.Details, "}") + ","
	}
	e.Details = begin + `"requestId":` + string(id) + "}"
	return err
}

// difference lists the fields that differ between two records, for an event, and if
// withValues is set, the values of both.
type difference struct {
	changed bool // whether any column differs
	ended   bool // whether only columns differ whose change ends sessions
	fields  []string
	details string
}

// Columns that are no field of their own for people.
var (
	hiddenColumns = []string{"username_fold", "email_fold", "first_fold", "last_fold",
		"record", "tickets_since", "created", "updated"}
	sessionColumns = []string{"record", "sessions_since"}
	fieldNames     = map[string]string{
		"uniqueid": "uniqueId", "group_names": "groups", "agent_sign_in_url": "agentSignInUrl",
		"customer_sign_in_url": "customerSignInUrl",
	}
)

// fieldName returns the name of a column's field as the API and the errors have it:
// firstName for first_name.
func fieldName(column string) string {
	if name := fieldNames[column]; name != "" {
		return name
	}
	words := strings.Split(column, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// compare compares two records given as the fields of columns.
func compare(columns []string, was, is []any, withValues bool) (d difference, err error) {
	before, err := values(was)
	if err != nil {
		return d, err
	}
	after, err := values(is)
	if err != nil {
		return d, err
	}
	type pair struct {
		Was any `json:"was,omitempty"`
		Is  any `json:"is,omitempty"`
	}
	details := make(map[string]pair)
	d.ended = true
	for i, column := range columns {
		if before[i] == after[i] {
			continue
		}
		d.changed = true
		d.ended = d.ended && slices.Contains(sessionColumns, column)
		if slices.Contains(hiddenColumns, column) {
			continue
		}
		name := fieldName(column)
		d.fields = append(d.fields, name)
		details[name] = pair{shown(was[i], before[i]), shown(is[i], after[i])}
	}
	if withValues && len(details) > 0 {
		text, err := json.Marshal(details)
		if err != nil {
			return d, err
		}
		d.details = string(text)
	}
	return d, nil
}

// shown returns the value of a field in an event's details: a list is a list.
func shown(field, value any) any {
	if list, ok := field.(interface{ isList() }); ok && list != nil {
		return json.RawMessage(fmt.Sprint(value))
	}
	return value
}

// PurgeEvents removes about limit of the events from before a time, the oldest first, and
// returns their number: fewer than limit if no more are left. Events in a pack are removed together.
// If the user of the database has no right to remove events, PurgeEvents returns PostgreSQL's error
// once, and removes nothing from then on.
func (db *DB) PurgeEvents(ctx context.Context, before time.Time, limit int) (n int, err error) {
	type old struct {
		position
		events int
	}
	remove := func(ctx context.Context, tx *change) error {
		tx.silent = true
		rows, err := list(ctx, tx, func(r row) (o old, err error) { return o, r.Scan(&o.at, &o.id, &o.events) },
			`SELECT at, id, CASE WHEN action = '`+actionPack+`' THEN count ELSE 1 END FROM event
				WHERE at < $1 ORDER BY at, id LIMIT $2`, before.UnixMilli(), limit)
		if err != nil || len(rows) == 0 {
			n = 0
			return err
		}
		var last position
		n = 0
		for _, o := range rows {
			if n >= limit {
				break
			}
			n, last = n+max(o.events, 1), o.position
		}
		_, err = exec(ctx, tx, `DELETE FROM event WHERE (at, id) <= ($1, $2)`, last.at, last.id)
		return err
	}
	err = db.jobs.unlessRefused("event", func() error { return db.transact(ctx, "purge events", remove) })
	return n, err
}
