package directory

import (
	"fmt"
	"math/rand/v2"
)

// IfRevision returns a view of the directory. A change or a removal of a brand, channel,
// agent, customer or API key by the view is made only if the record has this Revision.
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

// checkRevision refuses a change of a record with another revision than the view's.
func (db *DB) checkRevision(revision int64, kind, name string) error {
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
