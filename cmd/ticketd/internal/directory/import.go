package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// importBatch is the number of agents written by one statement.
const importBatch = 32

// Imported counts the agents of an import.
type Imported struct {
	Added   int
	Updated int // agents that existed before, changed or not
}

// A DuplicateError is the error for an import with the same username twice. It wraps
// ErrExists.
type DuplicateError struct{ Username string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("agent %q comes twice; give each agent once", e.Username)
}

// Unwrap returns ErrExists.
func (e *DuplicateError) Unwrap() error { return ErrExists }

// ImportAgents adds the agents to the brand, and replaces the records of existing
// agents; all other agents stay as they are. Brand may be empty in the agents. The
// import is one transaction: after any error, including an error that comes with an
// agent, nothing has changed. The same username twice is a *DuplicateError.
//
// The agents are not kept: an import of n agents takes about 100 n bytes for the
// usernames, beside a few dozen agents. The import has no time limit but that of ctx.
// In SQLite all other changes wait for the import for 10 seconds and then fail, so
// agents should come without delay: read and check a file first, with [Agent.Validate].
//
// Give the agents in the order of their usernames. Two concurrent imports then wait for
// each other; in different orders PostgreSQL has to end one of the two.
//
// If progress is not nil, it is called after every few dozen agents and at the end,
// with the number of agents written.
func (db *DB) ImportAgents(
	ctx context.Context, brand string, all iter.Seq2[Agent, error], progress func(n int),
) (Imported, error) {
	var counts Imported
	err := inTx(ctx, db.write, func(ctx context.Context, tx querier) error {
		if _, err := brands.get(ctx, tx, brand); err != nil {
			return err
		}
		var err error
		counts, err = importAgents(ctx, tx, brand, all, progress)
		return err
	})
	var duplicate *DuplicateError
	switch {
	case errors.As(err, &duplicate):
		return Imported{}, err
	case isForeignKey(err):
		return Imported{}, notFound("brand", brand)
	case err != nil:
		return Imported{}, failed("import agents", err)
	}
	return counts, nil
}

// importAgents writes the agents.
func importAgents(
	ctx context.Context, tx querier, brand string, all iter.Seq2[Agent, error], progress func(n int),
) (counts Imported, err error) {
	seen := make(map[[sha256.Size]byte]struct{}) // hashes of usernames, which are shorter
	var args []any
	write := func(rows int) error {
		if rows == 0 {
			return nil
		}
		scan := func(r row) (revision int64, err error) { return revision, r.Scan(&revision) }
		revisions, err := list(ctx, tx, scan, upsertAgents(rows), args...)
		if err != nil {
			return err
		}
		args = args[:0]
		for _, revision := range revisions {
			if revision == 1 {
				counts.Added++
			} else {
				counts.Updated++
			}
		}
		if progress != nil {
			progress(counts.Added + counts.Updated)
		}
		return nil
	}
	rows := 0
	for a, err := range all {
		if err != nil {
			return counts, err
		}
		if a.Brand != "" && a.Brand != brand {
			return counts, refuse("brand", "of the agent differs from the brand of the import; leave it empty")
		}
		a.Brand, a.RecordID = brand, newRecordID()
		if err := a.Validate(); err != nil {
			return counts, err
		}
		name := sha256.Sum256([]byte(a.Username))
		if _, twice := seen[name]; twice {
			return counts, &DuplicateError{a.Username}
		}
		seen[name] = struct{}{}
		v, err := values(agents.fields(&a))
		if err != nil {
			return counts, err
		}
		args = append(args, v...)
		if rows++; rows == importBatch {
			if err := write(rows); err != nil {
				return counts, err
			}
			rows = 0
		}
	}
	err = write(rows)
	return counts, err
}

// upsertAgents returns the statement that writes so many agents. The statement returns
// their revisions; a new agent has revision 1.
func upsertAgents(rows int) string {
	var assignments []string
	for _, column := range agents.columns[agents.keys:] {
		if column == "record" {
			// As in UpdateAgent: only an agent who is made active has another record.
			assignments = append(assignments, "record = CASE WHEN excluded.active AND NOT agent.active"+
				" THEN excluded.record ELSE agent.record END")
			continue
		}
		assignments = append(assignments, column+" = excluded."+column)
	}
	return insertSQL(agents.name, agents.columns, rows) +
		" ON CONFLICT (brand, username) DO UPDATE SET " + strings.Join(assignments, ", ") +
		", revision = agent.revision + 1 RETURNING revision"
}
