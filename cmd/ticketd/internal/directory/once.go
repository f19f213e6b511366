package directory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// onceKept is the time for which additions by Once are remembered.
const onceKept = 24 * time.Hour

// A RepeatedError is the error for an addition by Once that was made before.
type RepeatedError struct {
	Same bool   // whether the first request was the same
	Kind string // of the record that was added: brand, channel, agent, customer, key, administrator
	Name string // of the record, as in an Event
}

func (e *RepeatedError) Error() string {
	if !e.Same {
		return "another request came with this idempotency key; choose a new key for each request"
	}
	return fmt.Sprintf("the request has added %s %q already", e.Kind, e.Name)
}

// A request is a request to add a record, which may come again.
type request struct{ key, hash string }

// Once returns a view of the directory whose additions are made once within 24 hours for a
// key that the caller chose. A repetition is a *RepeatedError and changes nothing. The hash
// is that of everything in the caller's request. The addition and the memory of it are one
// transaction.
func (db *DB) Once(caller, key string, hash [sha256.Size]byte) *DB {
	sum := sha256.Sum256([]byte(caller + "\x00" + key))
	view := *db
	view.once = &request{hex.EncodeToString(sum[:]), hex.EncodeToString(hash[:])}
	return &view
}

// onlyOnce returns an addition that fails if the view's request was answered before.
func (db *DB) onlyOnce(f func(context.Context, *change) error) func(context.Context, *change) error {
	if db.once == nil {
		return f
	}
	return func(ctx context.Context, tx *change) error {
		if err := db.once.claim(ctx, tx, db.now()); err != nil {
			return err
		}
		if err := f(ctx, tx); err != nil {
			return err
		}
		if len(tx.events) == 0 {
			return errNoEvent
		}
		added := tx.events[0]
		_, err := exec(ctx, tx, `UPDATE idempotency SET kind = $2, name = $3 WHERE key = $1`,
			db.once.key, added.Kind, added.Name)
		return err
	}
}

// claim notes the request. It waits for a concurrent request with the same key.
func (r *request) claim(ctx context.Context, tx *change, now time.Time) error {
	_, err := exec(ctx, tx, `DELETE FROM idempotency WHERE key = $1 AND created <= $2`,
		r.key, now.Add(-onceKept).UnixMilli())
	if err != nil {
		return err
	}
	n, err := exec(ctx, tx, `INSERT INTO idempotency (key, request, kind, name, created) VALUES ($1, $2, '', '', $3)
		ON CONFLICT (key) DO NOTHING`, r.key, r.hash, now.UnixMilli())
	if err != nil || n == 1 {
		return err
	}
	found, err := list(ctx, tx, func(row row) (e RepeatedError, err error) {
		var hash string
		err = row.Scan(&hash, &e.Kind, &e.Name)
		e.Same = hash == r.hash
		return e, err
	}, `SELECT request, kind, name FROM idempotency WHERE key = $1`, r.key)
	switch {
	case err != nil:
		return err
	case len(found) == 0: // it expired meanwhile
		return errStale
	}
	return &found[0]
}
