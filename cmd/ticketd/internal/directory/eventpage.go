package directory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An EventFilter selects events. The zero filter selects the deployment's own events, which
// belong to no brand.
type EventFilter struct {
	Brand     string // the events of this brand
	AllBrands bool   // the events of every brand and of the deployment, whatever Brand says

	Ticket string // ID of a ticket; "": any, as for all fields below
	Issuer string // of a ticket: a named issuer

	// Kind and Name select the events about a record. An agent's name is compared as
	// usernames are.
	Kind, Name string

	Action string // an action, such as agent.set; or a prefix up to a dot, such as agent.

	ActorKind ActorKind
	Actor     string // ID of the API key, name of the administrator, or user at the shell

	Since time.Time // events from this time on; zero: from the first
	Until time.Time // events before this time; zero: to the last
}

// An EventPage is a part of a list of events, the newest first.
type EventPage struct {
	Events []Event

	// Next is the cursor of the page after this one, or "" if there is none. A page may have
	// fewer events than its limit, or none, and still a next page: a call looks at a bounded
	// number of events, so that each call is quick.
	Next string
}

// eventsExamined is the number of events that one call looks at, where no index has the
// events of the whole filter.
const eventsExamined = 5_000

// Events lists up to limit of the events of the filter, the newest first, after the cursor
// of the page before, or from the start with "". A filter whose Until is not after its Since is
// refused.
func (db *DB) Events(ctx context.Context, f EventFilter, cursor string, limit int) (EventPage, error) {
	q, err := f.query(cursor)
	if err != nil {
		return EventPage{}, err
	}
	events, end, err := db.eventRows(ctx, q, limit)
	if err != nil {
		return EventPage{}, failed("list events", err)
	}
	packed, packedEnd, err := db.packedEvents(ctx, f, q.below, limit)
	if err != nil {
		return EventPage{}, failed("list events", err)
	}
	if packedEnd.compare(end) > 0 {
		end = packedEnd
	}
	// The next page goes on below end, and begins with the events from there.
	all := slices.DeleteFunc(append(events, packed...), func(e Event) bool { return e.position().compare(end) < 0 })
	slices.SortFunc(all, func(a, b Event) int { return b.position().compare(a.position()) })
	if limit > 0 && len(all) >= limit {
		all = all[:limit]
		end = all[limit-1].position()
	}
	page := EventPage{Events: all}
	if end != oldestPosition {
		page.Next = cursorAt(end.at, end.id)
	}
	return page, nil
}

// eventRows returns up to limit events of a query that are no packs. end is the position to which
// no other is missing.
func (db *DB) eventRows(ctx context.Context, q *eventQuery, limit int) (events []Event, end position, err error) {
	events, err = list(ctx, db.read, scanEvent, q.page(limit), q.args...)
	switch {
	case err != nil:
	case limit > 0 && len(events) == limit:
		return events, events[limit-1].position(), nil
	case len(q.rest) > 0:
		last, err := list(ctx, db.read, func(r row) (p position, err error) { return p, r.Scan(&p.at, &p.id) },
			q.last(), q.args[:q.indexed]...)
		return events, append(last, oldestPosition)[0], err
	}
	return events, oldestPosition, err
}

// NewEvents lists up to limit of the events of the filter that were written after the event
// with the ID after, in the order of their IDs. The time limits of the filter do not count.
// last is the ID to go on with. Of PostgreSQL, an event may become visible after another
// with a higher ID, up to 15 seconds later, or later still while an import runs.
func (db *DB) NewEvents(
	ctx context.Context, f EventFilter, after int64, limit int,
) (all []Event, last int64, err error) {
	f.Since, f.Until = time.Time{}, time.Time{}
	q := eventQuery{args: []any{after}, indexed: 1}
	if err := q.filter(f, ""); err != nil {
		return nil, after, err
	}
	examined, err := list(ctx, db.read, func(r row) (id int64, err error) { return id, r.Scan(&id) },
		`SELECT COALESCE(max(id), 0) FROM (SELECT id FROM event WHERE id > $1 ORDER BY id LIMIT `+
			strconv.Itoa(eventsExamined)+`) AS examined`, after)
	if err != nil {
		return nil, after, failed("list events", err)
	}
	last = max(after, examined[0])
	query := selectEvent + " WHERE id > $1 AND id <= " + strconv.FormatInt(last, 10)
	for _, condition := range append(q.rest, notPack) {
		query += " AND " + condition
	}
	all, err = list(ctx, db.read, scanEvent, fmt.Sprintf("%s ORDER BY id LIMIT %d", query, limit), q.args...)
	if err != nil {
		return nil, after, failed("list events", err)
	}
	if len(all) == limit && limit > 0 {
		last = all[limit-1].ID
	}
	packed, last, err := db.packedAfter(ctx, f, after, last, limit)
	if err != nil {
		return nil, after, failed("list events", err)
	}
	all = slices.DeleteFunc(append(all, packed...), func(e Event) bool { return e.ID > last })
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	if limit > 0 && len(all) >= limit {
		all = all[:limit]
		last = all[limit-1].ID
	}
	return all, last, nil
}

// LastEvent returns the ID of the event that was written last, or 0.
func (db *DB) LastEvent(ctx context.Context) (int64, error) {
	n, err := number(ctx, db.read, `SELECT COALESCE(max(id), 0) FROM event`)
	return int64(n), failed("look up the last event", err)
}

// frequent are the actions of most events. No index has them: each event would cost more, and
// a page of such events is found after few others.
var frequent = []string{ActionIssueTicket, ActionRedeemTicket, ActionEnter}

// notFrequent is the condition of the index by action.
var notFrequent = "action NOT IN ('" + strings.Join(frequent, "', '") + "')"

var selectEvent = "SELECT id, " + strings.Join(eventColumns, ", ") + " FROM event"

func scanEvent(r row) (e Event, err error) {
	return e, r.Scan(append([]any{&e.ID}, e.columns()...)...)
}

// cursorAt returns the cursor of the page below a position.
func cursorAt(at, id int64) string { return fmt.Sprintf("%d-%d", at, id) }

// An eventQuery has the conditions of a filter. An index serves the first ones and the
// order of the page; the rest is compared row by row.
type eventQuery struct {
	args             []any
	indexed          int // number of arguments of the conditions that the index serves
	conditions, rest []string
	below            position // of the cursor
	inBlocks         bool     // whether the index serves one block at a time: see ticketBlocks
}

// ticketBlocks begins the queries of events by ticket. IDs of tickets are random, so in an
// index by ticket, each event would change a page of its own in a large trail, and writing the
// pages would be most of the work. The index has the events of each block of 2^15 IDs in a
// place of their own, and a query looks there for each block: in a million events, thirty
// times. A block without events is left out: a restore leaves a gap of eventGap in the IDs. The
// events that it finds are sorted: only a ticket that is not for one use can have many.
const ticketBlocks = `WITH RECURSIVE block(n) AS (SELECT max(id) >> 15 FROM event UNION ALL
	SELECT (SELECT id >> 15 FROM event WHERE id < n << 15 ORDER BY id DESC LIMIT 1) FROM block WHERE n IS NOT NULL) `

// query returns the query of a filter, for the page after the cursor.
func (f EventFilter) query(cursor string) (*eventQuery, error) {
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Until.After(f.Since) {
		return nil, refuse("until", "is not after since, so no event can be meant; give a later time")
	}
	q := &eventQuery{below: newestPosition}
	index := ""
	switch {
	case f.Ticket != "":
		index = "ticket"
		q.inBlocks = true
		q.where("(id >> 15) = block.n AND ticket = $%d AND ticket <> ''", f.Ticket)
	case f.Name != "" && f.Kind != "" && !f.AllBrands:
		index = "record"
		q.where("brand = $%d", f.Brand)
		q.where("kind = $%d", f.Kind)
		q.where("name = $%d AND name <> ''", f.name())
	case f.Actor != "":
		index = "actor"
		q.where("actor = $%d AND actor <> ''", f.Actor)
	case f.Action != "" && !strings.HasSuffix(f.Action, ".") && !slices.Contains(frequent, f.Action):
		index = "action"
		q.where("action = $%d AND "+notFrequent, f.Action)
	case !f.AllBrands:
		index = "brand"
		q.where("brand = $%d", f.Brand)
	}
	if !f.Since.IsZero() {
		q.where("at >= $%d", ceilMillis(f.Since))
	}
	if !f.Until.IsZero() {
		q.where("at < $%d", ceilMillis(f.Until))
	}
	if cursor != "" {
		at, id, ok := strings.Cut(cursor, "-")
		a, err1 := strconv.ParseInt(at, 10, 64)
		i, err2 := strconv.ParseInt(id, 10, 64)
		if !ok || err1 != nil || err2 != nil {
			return nil, refuse("after", "is not of a page of events; send the text next as it was given")
		}
		q.below = position{a, i}
		q.args = append(q.args, a, i)
		q.conditions = append(q.conditions, fmt.Sprintf("(at, id) < ($%d, $%d)", len(q.args)-1, len(q.args)))
	}
	q.indexed = len(q.args)
	return q, q.filter(f, index)
}

// where adds a condition that the index serves.
func (q *eventQuery) where(condition string, arg any) {
	q.args = append(q.args, arg)
	q.conditions = append(q.conditions, fmt.Sprintf(condition, len(q.args)))
}

// filter adds the conditions that the index with the name does not serve.
func (q *eventQuery) filter(f EventFilter, index string) error {
	for _, text := range []string{f.Brand, f.Ticket, f.Issuer, f.Kind, f.Name, f.Action, string(f.ActorKind), f.Actor} {
		if !isText(text) {
			return refuse("filter", "is no text; leave out bytes that are no UTF-8")
		}
	}
	add := func(condition string, arg any) {
		q.args = append(q.args, arg)
		q.rest = append(q.rest, fmt.Sprintf(condition, len(q.args)))
	}
	if !f.AllBrands && index != "brand" && index != "record" {
		add("brand = $%d", f.Brand)
	}
	if f.Ticket != "" && index != "ticket" {
		add("ticket = $%d", f.Ticket)
	}
	if f.Issuer != "" {
		add("issuer = $%d", f.Issuer)
	}
	if f.Kind != "" && index != "record" {
		add("kind = $%d", f.Kind)
	}
	if f.Name != "" && index != "record" {
		add("name = $%d", f.name())
	}
	if f.Actor != "" && index != "actor" {
		add("actor = $%d", f.Actor)
	}
	if f.ActorKind != "" {
		add("actor_kind = $%d", string(f.ActorKind))
	}
	switch prefix, _, isPrefix := strings.Cut(f.Action, "."); {
	case f.Action == "" || index == "action":
	case isPrefix && f.Action == prefix+".":
		add("substr(action, 1, "+strconv.Itoa(len(f.Action))+") = $%d", f.Action)
	default:
		add("action = $%d", f.Action)
	}
	return nil
}

// name returns the name in the form of the events.
func (f EventFilter) name() string {
	if f.Kind == agents.kind {
		return UsernameKey(f.Name)
	}
	return f.Name
}

// ordered returns the part of the queries that an index serves.
func (q *eventQuery) ordered() string {
	s, conditions := " FROM event", q.conditions
	if q.inBlocks {
		s = " FROM block CROSS JOIN event"
	}
	if len(q.rest) == 0 {
		conditions = append(slices.Clip(conditions), notPack)
	}
	if len(conditions) > 0 {
		s += " WHERE " + strings.Join(conditions, " AND ")
	}
	return s + " ORDER BY at DESC, id DESC"
}

// page returns the query for a page.
func (q *eventQuery) page(limit int) string {
	columns := "id, " + strings.Join(eventColumns, ", ")
	if len(q.rest) == 0 {
		return fmt.Sprintf("%sSELECT %s%s LIMIT %d", q.with(), columns, q.ordered(), limit)
	}
	return fmt.Sprintf("%sSELECT %s FROM (SELECT %s%s LIMIT %d) AS examined WHERE %s ORDER BY at DESC, id DESC LIMIT %d",
		q.with(), columns, columns, q.ordered(), eventsExamined, strings.Join(append(q.rest, notPack), " AND "), limit)
}

// with returns the beginning of the queries.
func (q *eventQuery) with() string {
	if q.inBlocks {
		return ticketBlocks
	}
	return ""
}

// last returns the query for the last event that the page's query has looked at, if there
// may be more.
func (q *eventQuery) last() string {
	return fmt.Sprintf("%sSELECT at, id%s LIMIT 1 OFFSET %d", q.with(), q.ordered(), eventsExamined-1)
}

// ceilMillis returns the first whole millisecond that is not before t.
func ceilMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }
