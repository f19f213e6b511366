package directory

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// importBatch is the number of agents written by one statement.
const importBatch = 32

// ImportOptions says how ImportAgents treats existing agents. Nil means the zero
// ImportOptions.
type ImportOptions struct {
	// Missing, if not nil, names the fields of a given agent that the source does not
	// have: email, phone1, uniqueId, firstName, lastName, groups, active. An existing
	// agent keeps these fields. Missing may be called more than once for an agent.
	Missing func(given Agent) []string

	// DryRun counts, and changes nothing. Other changes wait as for an import.
	DryRun bool

	// Each, if not nil, is called for every agent that is added or changed: with the names
	// of the fields that are set or changed.
	Each func(username string, added bool, fields []string)

	// Progress, if not nil, is called after every few dozen agents and at the end, with
	// the number of agents imported.
	Progress func(n int)
}

// Imported counts the agents of an import.
type Imported struct {
	Added     int
	Changed   int
	Unchanged int // existing agents who already were as given

	Activated, Deactivated int // those among Changed who were made active and inactive
}

// Total returns the number of all agents of the import.
func (i Imported) Total() int { return i.Added + i.Changed + i.Unchanged }

// A DuplicateError is the error for an import with the same username twice. It wraps
// ErrExists.
type DuplicateError struct{ Username string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("agent %q comes twice; give each agent once", e.Username)
}

// Unwrap returns ErrExists.
func (e *DuplicateError) Unwrap() error { return ErrExists }

// errDryRun ends the transaction of a dry run.
var errDryRun = errors.New("dry run")

// ImportAgents adds the agents to the brand, and changes the existing ones as
// UpdateAgent does, all fields but those that are Missing; all other agents stay as they
// are. Brand may be empty in the agents. The import is one transaction: after any error,
// including an error that comes with an agent, nothing has changed. The same username
// twice is a *DuplicateError.
//
// The agents are not kept: an import of n agents takes about 100 n bytes for the
// usernames, beside a few dozen agents. The import has no time limit but that of ctx.
// In SQLite all other changes wait for the import for 10 seconds and then fail, so
// agents should come without delay: read and check a file first, with [Agent.Validate].
//
// Give the agents in the order of [UsernameKey]. Two concurrent imports then wait for
// each other; in different orders PostgreSQL has to end one of the two.
func (db *DB) ImportAgents(
	ctx context.Context, brand string, all iter.Seq2[Agent, error], o *ImportOptions,
) (Imported, error) {
	if o == nil {
		o = &ImportOptions{}
	}
	defer db.cache.forget()
	i := &agentImport{ImportOptions: *o, db: db, brand: brand}
	err := inTx(ctx, db.write, func(ctx context.Context, tx *change) error {
		if _, err := brands.get(ctx, tx, brand); err != nil {
			return err
		}
		i.tx = tx
		err := i.run(ctx, all)
		switch {
		case err != nil:
			return err
		case o.DryRun:
			return errDryRun
		}
		details, err := json.Marshal(map[string]int{
			"added": i.counts.Added, "changed": i.counts.Changed, "unchanged": i.counts.Unchanged,
			"activated": i.counts.Activated, "deactivated": i.counts.Deactivated,
		})
		e := db.event(ActionImportAgents, brand, brands.kind, brand)
		e.Details = string(details)
		tx.note(e)
		return err
	})
	var duplicate *DuplicateError
	switch {
	case errors.As(err, &duplicate):
		return Imported{}, err
	case isForeignKey(err):
		return Imported{}, notFound("brand", brand)
	case err != nil && !errors.Is(err, errDryRun):
		return Imported{}, failed("import agents", err)
	}
	return i.counts, nil
}

// An agentImport is an import under way.
type agentImport struct {
	ImportOptions
	db     *DB
	tx     *change
	brand  string
	counts Imported
}

// run writes the agents in batches.
func (i *agentImport) run(ctx context.Context, all iter.Seq2[Agent, error]) error {
	seen := make(map[[sha256.Size]byte]struct{}) // hashes of usernames, which are shorter
	var batch []Agent
	for a, err := range all {
		if err != nil {
			return err
		}
		if a.Brand != "" && a.Brand != i.brand {
			return refuse("brand", "of the agent differs from the brand of the import; leave it empty")
		}
		a.Brand, a.TicketsSince = i.brand, time.Time{}
		if err := a.check(); err != nil {
			return err
		}
		name := sha256.Sum256([]byte(UsernameKey(a.Username)))
		if _, twice := seen[name]; twice {
			return &DuplicateError{a.Username}
		}
		seen[name] = struct{}{}
		if batch = append(batch, a); len(batch) == importBatch {
			if err := i.write(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return i.write(ctx, batch)
}

// write writes a batch. An agent whom another transaction adds meanwhile counts as an
// existing one.
func (i *agentImport) write(ctx context.Context, batch []Agent) error {
	left := slices.Clone(batch)
	for range maxAttempts {
		added, err := i.writeOnce(ctx, left)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(a Agent) bool { return added[UsernameKey(a.Username)] })
		if len(left) == 0 {
			if i.Progress != nil {
				i.Progress(i.counts.Total())
			}
			return nil
		}
	}
	return errStale
}

// writeOnce writes the agents of a batch, and returns the keys of the usernames that are done.
func (i *agentImport) writeOnce(ctx context.Context, batch []Agent) (done map[string]bool, err error) {
	existing, err := i.existing(ctx, batch)
	if err != nil {
		return nil, err
	}
	var added, changed []Agent
	differences := make(map[string]difference) // of the changed agents, by the keys of their usernames
	var back, away []string                    // usernames that may return, and those made inactive
	done = make(map[string]bool, len(batch))
	for _, a := range batch {
		key := UsernameKey(a.Username)
		was, exists := existing[key]
		if !exists {
			a.RecordID = newRecordID()
			added = append(added, a)
			continue
		}
		done[key] = true
		i.keepMissing(&a, was)
		a.Username, a.RecordID, a.TicketsSince, a.Revision = was.Username, was.RecordID, was.TicketsSince, was.Revision
		if len(a.Groups) == 0 {
			a.Groups = nil // as in records
		}
		d, err := agents.compare(&was, &a)
		if err != nil {
			return nil, err
		}
		if !d.changed {
			i.counts.Unchanged++
			continue
		}
		i.counts.Changed++
		switch {
		case a.Active && !was.Active:
			i.counts.Activated++
			a.RecordID = newRecordID()
			back = append(back, a.Username)
		case was.Active && !a.Active:
			i.counts.Deactivated++
			away = append(away, a.Username)
		}
		changed = append(changed, a)
		differences[key] = d
	}
	if _, err := i.put(ctx, changed, updateAgents); err != nil {
		return nil, err
	}
	names, err := i.put(ctx, added, " ON CONFLICT (brand, username_fold) DO NOTHING")
	if err != nil {
		return nil, err
	}
	i.counts.Added += len(names)
	for _, name := range names {
		done[UsernameKey(name)] = true
	}
	if err := i.note(ctx, changed, added, done, differences); err != nil {
		return nil, err
	}
	now := i.db.now()
	if _, err := returnAgents(ctx, i.tx, now, i.brand, append(back, names...)...); err != nil {
		return nil, err
	}
	return done, departAgents(ctx, i.tx, now, i.brand, away...)
}

// note writes the events for the agents that were changed, and for those of added that are
// done. The events of an import are too many to be kept until its end.
func (i *agentImport) note(
	ctx context.Context, changed, added []Agent, done map[string]bool, differences map[string]difference,
) error {
	c := &change{transaction: i.tx.transaction}
	for n := range changed {
		a := &changed[n]
		if err := agents.noteChanged(c, i.db, differences[UsernameKey(a.Username)], a); err != nil {
			return err
		}
		i.tell(c, a.Username, false)
	}
	for n := range added {
		if a := &added[n]; done[UsernameKey(a.Username)] {
			if err := agents.noteAdded(c, i.db, a); err != nil {
				return err
			}
			i.tell(c, a.Username, true)
		}
	}
	return c.finish(ctx)
}

// tell calls Each with the fields of the last event.
func (i *agentImport) tell(c *change, username string, added bool) {
	if i.Each != nil {
		i.Each(username, added, c.events[len(c.events)-1].Fields)
	}
}

// existing locks and returns the records of the batch's usernames, by their keys.
func (i *agentImport) existing(ctx context.Context, batch []Agent) (map[string]Agent, error) {
	args := []any{i.brand}
	names := make([]string, len(batch))
	for n, a := range batch {
		names[n] = UsernameKey(a.Username)
	}
	query := agents.selected() + " WHERE brand = $1 AND username_fold " + inList(&args, names) +
		" ORDER BY username_fold"
	all, err := list(ctx, i.tx, agents.scan, query+i.db.lockRows, args...)
	existing := make(map[string]Agent, len(all))
	for _, v := range all {
		existing[UsernameKey(v.record.Username)] = v.record
	}
	return existing, err
}

// keepMissing copies the fields that the source does not have from the existing agent.
func (i *agentImport) keepMissing(a *Agent, was Agent) {
	if i.Missing == nil {
		return
	}
	for _, field := range i.Missing(*a) {
		switch field {
		case "email":
			a.Email = was.Email
		case "phone1":
			a.Phone1 = was.Phone1
		case "uniqueId":
			a.UniqueID = was.UniqueID
		case "firstName":
			a.FirstName = was.FirstName
		case "lastName":
			a.LastName = was.LastName
		case "groups":
			a.Groups = was.Groups
		case "active":
			a.Active = was.Active
		}
	}
}

// put inserts agents, with onConflict for those who exist, and returns the usernames of
// the agents that were written.
func (i *agentImport) put(ctx context.Context, all []Agent, onConflict string) ([]string, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var args []any
	for n := range all {
		v, err := values(append(agents.fields(&all[n]), newRevision()))
		if err != nil {
			return nil, err
		}
		args = append(args, v...)
	}
	return list(ctx, i.tx, func(r row) (name string, err error) { return name, r.Scan(&name) },
		insertSQL(agents.name, agents.columns, len(all), i.tx.isFile())+onConflict+" RETURNING username", args...)
}

// updateAgents is the end of a statement that replaces existing agents. The agents are
// locked.
var updateAgents = func() string {
	var assignments []string
	for _, column := range agents.columns[agents.keys:] {
		assignments = append(assignments, column+" = excluded."+column)
	}
	return " ON CONFLICT (brand, username_fold) DO UPDATE SET " + strings.Join(assignments, ", ") +
		", revision = agent.revision + 1"
}()
