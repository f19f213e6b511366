package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// importBatch is how many agents a statement of an import writes.
const importBatch = 32

// Imported says what an import did.
type Imported struct {
	Added   int
	Updated int // those that were there before, whether or not anything changed
}

// A DuplicateError says that an import has two agents of one username. It wraps
// ErrExists.
type DuplicateError struct{ Username string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("agent %q comes twice: give each once", e.Username)
}

// Unwrap returns ErrExists.
func (e *DuplicateError) Unwrap() error { return ErrExists }

// ImportAgents adds the agents to the brand, and replaces the records of those
// that it has; agents that do not come stay as they are. Brand may be left empty
// in them. All of it is one transaction: after any error, which may be one that
// comes with an agent, nothing has changed. When the same username comes twice it
// is a *DuplicateError.
//
// The agents are not kept: beside a few dozen of them, an import of n takes
// about 100 n bytes to know the usernames. It has no time limit but ctx. In
// SQLite everybody else's changes wait for it, for 10 seconds and then in vain,
// so that agents should come without delay: read and check a file first, with
// [Agent.Validate].
//
// Give them in the order of their usernames: two imports at the same time then wait
// for each other, where in different orders PostgreSQL has to end one of them.
//
// After every few dozen agents, and at the end, progress is called with how
// many were written, unless it is nil.
func (db *DB) ImportAgents(ctx context.Context, brand string, all iter.Seq2[Agent, error], progress func(n int)) (Imported, error) {
	var did Imported
	err := inTx(ctx, db.write, func(ctx context.Context, tx querier) error {
		if _, err := brands.get(ctx, tx, brand); err != nil {
			return err
		}
		var err error
		did, err = importAgents(ctx, tx, brand, all, progress)
		return err
	})
	var duplicate *DuplicateError
	switch {
	case errors.As(err, &duplicate):
		return Imported{}, err
	case isForeignKey(err):
		return Imported{}, missing("brand", brand)
	case err != nil:
		return Imported{}, failed("import agents", err)
	}
	return did, nil
}

// importAgents writes the agents.
func importAgents(ctx context.Context, tx querier, brand string, all iter.Seq2[Agent, error], progress func(n int)) (did Imported, err error) {
	seen := make(map[[sha256.Size]byte]struct{}) // hashes of usernames: these are short
	var args []any
	write := func(rows int) error {
		if rows == 0 {
			return nil
		}
		revisions, err := list(ctx, tx, func(r row) (n int64, err error) { return n, r.Scan(&n) }, upsertAgents(rows), args...)
		if err != nil {
			return err
		}
		args = args[:0]
		for _, revision := range revisions {
			if revision == 1 {
				did.Added++
			} else {
				did.Updated++
			}
		}
		if progress != nil {
			progress(did.Added + did.Updated)
		}
		return nil
	}
	rows := 0
	for a, err := range all {
		if err != nil {
			return did, err
		}
		if a.Brand != "" && a.Brand != brand {
			return did, refuse("brand", "of the agent is not the brand that agents are imported into; leave it empty")
		}
		a.Brand = brand
		if err := a.Validate(); err != nil {
			return did, err
		}
		name := sha256.Sum256([]byte(a.Username))
		if _, twice := seen[name]; twice {
			return did, &DuplicateError{a.Username}
		}
		seen[name] = struct{}{}
		v, err := values(agents.fields(&a))
		if err != nil {
			return did, err
		}
		args = append(args, v...)
		if rows++; rows == importBatch {
			if err := write(rows); err != nil {
				return did, err
			}
			rows = 0
		}
	}
	err = write(rows)
	return did, err
}

// upsertAgents is the statement that writes so many agents. It returns their
// revisions: 1 of those that are new.
func upsertAgents(rows int) string {
	var set []string
	for _, column := range agents.columns[agents.keys:] {
		set = append(set, column+" = excluded."+column)
	}
	return insertSQL(agents.name, agents.columns, rows) +
		" ON CONFLICT (brand, username) DO UPDATE SET " + strings.Join(set, ", ") + ", revision = agent.revision + 1 RETURNING revision"
}
