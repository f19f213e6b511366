package directory

import (
	"fmt"
	"math/rand/v2"
)

// IfRevision returns a view of the directory. A change or a removal of a brand, channel,
// agent, customer, API key or administrator by the view is made only if the record has this Revision.
// Else the error wraps ErrChanged. So two people who change the same record at the same
// time learn of each other.
//
// A record's Revision rises by one with each change. It begins at a random number: a record
// that was removed and added again has another one than before. The last use of an API key
// is no change.
func (db *DB) IfRevision(revision int64) *DB {
	view := *db
	view.ifRevision = &revision
	return &view
}

// Provided returns a view of the directory. A change or a removal of a record by the view is
// made only if check accepts the record as it is before the change: a Brand, Channel, Agent,
// Customer, APIKey or Administrator. Else the error is that of check. The record cannot change
// between the check and the change; check may be called again.
func (db *DB) Provided(check func(record any) error) *DB {
	view := *db
	view.provided = check
	return &view
}

// mayChange refuses a change of a record that the view does not permit.
func (db *DB) mayChange(revision int64, kind, name string, record any) error {
	if db.provided != nil {
		if err := db.provided(record); err != nil {
			return err
		}
	}
	if db.ifRevision != nil && *db.ifRevision != revision {
		return fmt.Errorf("%s %q: %w", kind, name, ErrChanged)
	}
	return nil
}

// newRevision returns the revision of a new record. JSON numbers hold it exactly, and all
// changes after it.
func newRevision() int64 { return 1 + rand.Int64N(1<<52) }

// once returns errStale if a statement for one row at a revision changed none.
func once(n int64, err error) error {
	if err == nil && n == 0 {
		return errStale
	}
	return err
}
