package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// The table issuer has the named issuers of tickets, and the table issuer_view how each service
// saw them last. The lists of the services are files, which reach one service later than
// another. So what a list says counts by comparison with the last list of the same service:
//
//   - A service that admits an issuer no longer, since the issuer is denied or not in the list,
//     and a service that did not know of a denial, note that the issuer is away. Sessions that
//     began before are over in every service, for good.
//   - The same is noted by a service with any list of an issuer that no service has admitted for
//     IssuerSilent. So a new service with a newer list finds out, too.
//   - An issuer that is only missing in a list, and was never in that service's list, is new, and
//     the list is an old one: nothing is noted while another service admits the issuer.
//   - A service that admits an issuer again notes that the issuer is back. Sessions that began
//     before are over: a service with an old list may have let a thief in meanwhile.
//
// The noted time of an issuer never goes back.

// IssuerSilent is how long a service that admits an issuer may be silent. Call SeeIssuers more
// often.
const IssuerSilent = 2 * time.Minute

// viewKept is how long the view of a silent service is kept.
const viewKept = 7 * 24 * time.Hour

// Actions of events about issuers.
const (
	ActionAddIssuer    = "issuer.add"
	ActionSetIssuer    = "issuer.set"
	ActionRemoveIssuer = "issuer.remove"
)

// An IssuerEntry is an issuer as the list of a service has it.
type IssuerEntry struct {
	Name string `json:"-"`

	Denied      bool          `json:"denied,omitempty"`
	Brands      []string      `json:"brands,omitempty"`
	AllBrands   bool          `json:"allBrands,omitempty"`
	Audiences   []string      `json:"audiences,omitempty"`
	MaxLifetime time.Duration `json:"-"` // maxLifetimeSeconds; 0: the default of each audience
	ManyTimes   bool          `json:"manyTimes,omitempty"`
	Override    bool          `json:"override,omitempty"` // tickets may change the records of customers
	Claims      []string      `json:"claims,omitempty"`
	Until       time.Time     `json:"until,omitzero"`
	Rate        float64       `json:"rate,omitempty"` // one-time tickets a second; 0: no limit

	Format int      `json:"format,omitempty"` // of the tickets
	Keys   []string `json:"keys,omitempty"`   // IDs of the keys whose tickets are good

	// Of format 2.
	DeniedKeys  []string  `json:"deniedKeys,omitempty"`
	Generation  int       `json:"generation,omitempty"` // of the bundle
	BundleUntil time.Time `json:"bundleUntil,omitzero"`
}

// An entryText is an IssuerEntry as JSON. An empty field has no member.
type entryText struct {
	*IssuerEntry
	MaxLifetimeSeconds float64 `json:"maxLifetimeSeconds,omitempty"`
}

func (e IssuerEntry) text() (string, error) {
	text, err := json.Marshal(entryText{&e, e.MaxLifetime.Seconds()})
	return string(text), err
}

func (e *IssuerEntry) read(text string) error {
	t := entryText{IssuerEntry: e}
	err := json.Unmarshal([]byte(text), &t)
	e.MaxLifetime = time.Duration(t.MaxLifetimeSeconds * float64(time.Second)).Round(time.Microsecond)
	return err
}

// quietFields change with each bundle, and are no event alone.
var quietFields = []string{"generation", "bundleUntil"}

// An Issuer is a named issuer of tickets.
type Issuer struct {
	IssuerEntry // as a service saw it last

	// SessionsSince ends sessions: those of the issuer's tickets that began earlier are over.
	SessionsSince time.Time

	LastUsed time.Time // when a ticket of the issuer admitted somebody last; zero: never
	KeyUses  []KeyUse  // the same of each key, in the order of the IDs
}

// A KeyUse is the last use of a key of an issuer, which may be retired since.
type KeyUse struct {
	ID       string    `json:"id"`
	LastUsed time.Time `json:"lastUsed"`
}

// A viewed is an issuer in a list.
type viewed struct {
	entry  string
	admits bool
}

// A knownIssuer is a row of the table issuer.
type knownIssuer struct {
	name, entry string
	away        bool
	since       time.Time
}

// A sighting is what a service sees of one issuer.
type sighting struct {
	was, is *viewed // the service's last view and its present one; nil: the issuer is not in the list
	others          // of the other services
}

// others is what the other services saw of an issuer within IssuerSilent.
type others struct{ list, admit bool }

// isAdmitted reports whether a view, which may be nil, admits the issuer.
func (v *viewed) isAdmitted() bool { return v != nil && v.admits }

// apply changes a row by a sighting. changed is false if the row stays as it is. action is "" if
// the list of the deployment stays as it is.
func (k *knownIssuer) apply(s sighting, at time.Time) (changed bool, action string) {
	before := *k
	if s.is != nil && (s.was == nil || s.was.entry != s.is.entry) && s.is.entry != k.entry {
		action = ActionSetIssuer
		if k.entry == "" {
			action = ActionAddIssuer
		}
		k.entry = s.is.entry
	}
	lost := s.was.isAdmitted() || // the service admitted the issuer before,
		s.is != nil && s.was == nil && !k.away || // or a denial that is new to it,
		!s.admit && !k.away // or nobody admits the issuer any more
	switch {
	case s.is.isAdmitted():
		if k.away && !s.was.isAdmitted() {
			k.away = false
			k.end(at)
		}
	case lost:
		k.away = true
		k.end(at)
	}
	if s.is == nil && k.entry != "" && (s.was != nil || !s.list) {
		k.entry, action = "", ActionRemoveIssuer
	}
	return *k != before, action
}

// end ends the sessions that began before a time.
func (k *knownIssuer) end(at time.Time) {
	if at.After(k.since) {
		k.since = at
	}
}

// SeeIssuers notes which issuers a service had at a time. The name of the service is the same
// for each run. A service without any list gives nil, and says nothing about issuers that it never
// had. Changes of the issuers are events of the audit trail, once for a deployment.
func (db *DB) SeeIssuers(ctx context.Context, service string, at time.Time, list []IssuerEntry) error {
	at = wholeMillis(at)
	var seen map[string]viewed
	if list != nil {
		seen = make(map[string]viewed)
	}
	for _, e := range list {
		if err := checkName("issuer", e.Name, maxBrand); err != nil {
			return err
		}
		text, err := e.text()
		if err != nil {
			return err
		}
		seen[e.Name] = viewed{text, !e.Denied}
	}
	if len(seen) == 0 {
		known, err := number(ctx, db.read, `SELECT count(*) FROM issuer`)
		if err != nil || known == 0 {
			return failed("look up the issuers", err)
		}
	}
	return db.transact(ctx, "note the issuers", func(ctx context.Context, tx *change) error {
		tx.silent = true
		return db.seeIssuers(ctx, tx, service, at, seen)
	})
}

func (db *DB) seeIssuers(ctx context.Context, tx *change, service string, at time.Time, seen map[string]viewed) error {
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		_, err := exec(ctx, tx, `INSERT INTO issuer (name, entry, away) VALUES ($1, '', FALSE)
			ON CONFLICT (name) DO NOTHING`, name)
		if err != nil {
			return err
		}
	}
	rows, err := list(ctx, tx, func(r row) (k knownIssuer, err error) {
		return k, r.Scan(&k.name, &k.entry, &k.away, instant{&k.since})
	}, `SELECT name, entry, away, sessions_since FROM issuer ORDER BY name`+db.lockRows)
	if err != nil {
		return err
	}
	was, elsewhere, err := views(ctx, tx, service, at)
	if err != nil {
		return err
	}
	for _, k := range rows {
		s, name, entry := sighting{others: elsewhere[k.name]}, k.name, k.entry
		if v, ok := was[name]; ok {
			s.was = &v
		}
		if v, ok := seen[name]; ok {
			s.is = &v
		}
		if seen == nil && s.was == nil {
			continue
		}
		changed, action := k.apply(s, at)
		if changed {
			_, err := exec(ctx, tx, `UPDATE issuer SET entry = $2, away = $3, sessions_since = $4 WHERE name = $1`,
				name, k.entry, k.away, instant{&k.since})
			if err != nil {
				return err
			}
		}
		if action == "" {
			continue
		}
		e := db.event(action, "", "issuer", name)
		e.At = at
		if e.Fields, e.Details, err = differingMembers(entry, k.entry); err != nil {
			return err
		}
		loud := func(field string) bool { return !slices.Contains(quietFields, field) }
		if action != ActionSetIssuer || slices.ContainsFunc(e.Fields, loud) {
			tx.note(e)
		}
	}
	return writeViews(ctx, tx, service, at, was, seen)
}

// views returns the views of a service, and what the other services saw.
func views(
	ctx context.Context, tx *change, service string, at time.Time,
) (own map[string]viewed, elsewhere map[string]others, err error) {
	own, elsewhere = make(map[string]viewed), make(map[string]others)
	_, err = list(ctx, tx, func(r row) (none struct{}, err error) {
		var of, issuer string
		var v viewed
		var last time.Time
		if err := r.Scan(&of, &issuer, &v.entry, &v.admits, instant{&last}); err != nil {
			return none, err
		}
		if of == service {
			own[issuer] = v
		} else if at.Sub(last) < IssuerSilent {
			elsewhere[issuer] = others{list: true, admit: v.admits || elsewhere[issuer].admit}
		}
		return none, nil
	}, `SELECT service, issuer, entry, admits, seen FROM issuer_view`)
	return own, elsewhere, err
}

// writeViews replaces the views of a service.
func writeViews(ctx context.Context, tx *change, service string, at time.Time, was, seen map[string]viewed) error {
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, ok := seen[name]; !ok {
			_, err := exec(ctx, tx, `DELETE FROM issuer_view WHERE service = $1 AND issuer = $2`, service, name)
			if err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		v := seen[name]
		if last, ok := was[name]; ok && last == v {
			continue
		}
		_, err := exec(ctx, tx, `INSERT INTO issuer_view (service, issuer, entry, admits, seen) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (service, issuer) DO UPDATE SET entry = excluded.entry, admits = excluded.admits`,
			service, name, v.entry, v.admits, at.UnixMilli())
		if err != nil {
			return err
		}
	}
	if _, err := exec(ctx, tx, `UPDATE issuer_view SET seen = $2 WHERE service = $1`, service, at.UnixMilli()); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `DELETE FROM issuer_view WHERE seen < $1`, at.Add(-viewKept).UnixMilli())
	return err
}

// differingMembers returns the names of the members that differ between two JSON objects, and the
// values of both as the details of an event. A text that is no object, such as "", has no members: one
// service that writes nonsense must not stop the others.
func differingMembers(was, is string) (names []string, details string, err error) {
	var before, after map[string]json.RawMessage
	for text, to := range map[*string]*map[string]json.RawMessage{&was: &before, &is: &after} {
		_ = json.Unmarshal([]byte(*text), to)
	}
	type pair struct {
		Was json.RawMessage `json:"was,omitempty"`
		Is  json.RawMessage `json:"is,omitempty"`
	}
	all := make(map[string]pair)
	for name := range maps.All(before) {
		all[name] = pair{before[name], after[name]}
	}
	for name := range after {
		all[name] = pair{before[name], after[name]}
	}
	maps.DeleteFunc(all, func(_ string, p pair) bool { return string(p.Was) == string(p.Is) })
	text, err := json.Marshal(all)
	return slices.Sorted(maps.Keys(all)), string(text), err
}

// IssuerSessionsSince returns the time before which the sessions of an issuer's tickets are
// over, or zero.
func (db *DB) IssuerSessionsSince(ctx context.Context, name string) (since time.Time, err error) {
	_, err = list(ctx, db.read, func(r row) (none struct{}, err error) { return none, r.Scan(instant{&since}) },
		`SELECT sessions_since FROM issuer WHERE name = $1`, name)
	return since, failed("look up an issuer", err)
}

// CheckIssuer returns a *FieldError if no service has ever had an issuer with the name. The name ""
// stands for the deployment's own keys.
func (db *DB) CheckIssuer(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	if err := checkText("issuer", name, maxBrand); err != nil {
		return err
	}
	known, err := number(ctx, db.read, `SELECT count(*) FROM issuer WHERE name = $1`, name)
	if err != nil {
		return failed("look up an issuer", err)
	}
	if known == 0 {
		return refuse("issuer", "is no issuer that a service has had in its list; check the spelling: the log, "+
			"/auth/inspect and ticketd issuer list have the names")
	}
	return nil
}

// Issuers lists the issuers in the lists of the services, in the order of their names.
func (db *DB) Issuers(ctx context.Context) ([]Issuer, error) {
	all, err := list(ctx, db.read, func(r row) (i Issuer, err error) {
		var name, entry string
		if err := r.Scan(&name, &entry, instant{&i.SessionsSince}); err != nil {
			return i, err
		}
		if i.read(entry) != nil { // nonsense; the next service that sees the issuer writes it again
			i.IssuerEntry = IssuerEntry{}
		}
		i.Name = name
		return i, nil
	}, `SELECT name, entry, sessions_since FROM issuer WHERE entry <> '' ORDER BY name`)
	if err != nil {
		return nil, failed("list the issuers", err)
	}
	_, err = list(ctx, db.read, func(r row) (none struct{}, err error) {
		var issuer string
		var use KeyUse
		if err := r.Scan(&issuer, &use.ID, instant{&use.LastUsed}); err != nil {
			return none, err
		}
		named := func(i Issuer, name string) int { return strings.Compare(i.Name, name) }
		if i, ok := slices.BinarySearchFunc(all, issuer, named); ok {
			all[i].KeyUses = append(all[i].KeyUses, use)
			if use.LastUsed.After(all[i].LastUsed) {
				all[i].LastUsed = use.LastUsed
			}
		}
		return none, nil
	}, `SELECT issuer, ticket_key, last_used FROM issuer_use ORDER BY issuer, ticket_key`)
	return all, failed("list the issuers", err)
}

// An IssuerKey names a key of an issuer.
type IssuerKey struct{ Issuer, Key string }

// NoteIssuerUses notes when tickets of issuers' keys were used last.
func (db *DB) NoteIssuerUses(ctx context.Context, uses map[IssuerKey]time.Time) error {
	if len(uses) == 0 {
		return nil
	}
	order := func(a, b IssuerKey) int { return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Key, b.Key)) }
	return db.transact(ctx, "note the uses of issuers", func(ctx context.Context, tx *change) error {
		tx.silent = true
		for _, k := range slices.SortedFunc(maps.Keys(uses), order) {
			_, err := exec(ctx, tx, `INSERT INTO issuer_use (issuer, ticket_key, last_used) VALUES ($1, $2, $3)
				ON CONFLICT (issuer, ticket_key) DO UPDATE SET last_used = excluded.last_used
				WHERE issuer_use.last_used < excluded.last_used`, k.Issuer, k.Key, wholeMillis(uses[k]).UnixMilli())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// EndIssuerSessions ends the sessions of an issuer's tickets, of every brand, and returns the
// issuer. Unspent tickets stay good. If no service has the issuer, the error wraps ErrNotFound.
func (db *DB) EndIssuerSessions(ctx context.Context, name string) (Issuer, error) {
	err := db.transact(ctx, "end the sessions of an issuer", func(ctx context.Context, tx *change) error {
		e := db.event(ActionEndSessions, "", "issuer", name)
		n, err := exec(ctx, tx, `UPDATE issuer SET sessions_since = $2
			WHERE name = $1 AND entry <> '' AND (sessions_since IS NULL OR sessions_since < $2)`, name, e.At.UnixMilli())
		if n > 0 {
			tx.note(e)
		}
		return err
	})
	if err != nil {
		return Issuer{}, err
	}
	all, err := db.Issuers(ctx)
	i := slices.IndexFunc(all, func(i Issuer) bool { return i.Name == name })
	switch {
	case err != nil:
		return Issuer{}, err
	case i < 0:
		return Issuer{}, notFound("issuer", name)
	}
	return all[i], nil
}
