package directory

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	readTimeout  = 5 * time.Second
	writeTimeout = 15 * time.Second
	maxAttempts  = 20 // at a change while concurrent changes get in the way
)

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// querier runs statements: a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// list returns the result of scan for each row of the query. Outside a transaction, the
// query has the time limit readTimeout.
func list[T any](ctx context.Context, q querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	if _, alone := q.(*pool); alone {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}

// number returns the single number selected by the query.
func number(ctx context.Context, q querier, query string, args ...any) (int, error) {
	all, err := list(ctx, q, func(r row) (n int, err error) { return n, r.Scan(&n) }, query, args...)
	if err != nil {
		return 0, err
	}
	return all[0], nil
}

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// errStale is the error of a change whose record was changed meanwhile by another
// change.
var errStale = errors.New("the same record was changed by others again and again; try again")

// change runs f in a transaction, as transact does, for a change of remembered records.
func (db *DB) change(
	ctx context.Context, operation string, f func(ctx context.Context, tx *change) error,
) error {
	defer db.cache.forget() // also after an error, since the change may have been made
	return db.transact(ctx, operation, f)
}

// transact runs f in a transaction with the time limit writeTimeout, as retry does.
func (db *DB) transact(
	ctx context.Context, operation string, f func(ctx context.Context, tx *change) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return db.retry(ctx, operation, f)
}

// retry runs f in a transaction, and runs f again if another transaction got in the
// way. A statement sees what was committed before it began, so f must protect its reads:
// by writing with the revision that f has read, by a lock, or by a unique index.
func (db *DB) retry(
	ctx context.Context, operation string, f func(ctx context.Context, tx *change) error,
) error {
	var err error
	for attempt := range maxAttempts {
		err = inTx(ctx, db.write, db.onlyOnce(f))
		if !isConflict(err) {
			break
		}
		select {
		case <-ctx.Done():
			return failed(operation, errors.Join(ctx.Err(), err))
		case <-time.After(rand.N(time.Millisecond << min(attempt, 6))):
		}
	}
	return failed(operation, err)
}

// inTx runs f in a transaction, and writes the events that f noted.
func inTx(ctx context.Context, p *pool, f func(ctx context.Context, tx *change) error) error {
	tx, err := p.BeginTx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	c := &change{transaction: tx}
	if err := f(ctx, c); err != nil {
		return err
	}
	if err := c.finish(ctx); err != nil {
		return err
	}
	return c.Commit()
}

// isConflict reports whether a transaction failed because of a concurrent one, and may
// succeed when run again.
func isConflict(err error) bool {
	state := sqlState(err)
	return errors.Is(err, errStale) || state == "40001" || state == "40P01" // serialization failure, deadlock
}

// isForeignKey reports whether a write failed because the record names a brand that
// does not exist, or because other records still name the removed one.
func isForeignKey(err error) bool {
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY || sqlState(err) == "23503"
}

// isDuplicate reports whether a write failed because another record has the same name
// or identifier.
func isDuplicate(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY ||
		sqlState(err) == "23505"
}

// isBusy reports whether a statement failed because another process has the SQLite file
// to itself.
func isBusy(err error) bool {
	return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY // with any extension
}

// sqliteCode returns SQLite's extended result code of the error, or 0.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code()
}

// sqlState returns PostgreSQL's code of the error, or "".
func sqlState(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

// values returns the values of fields, each a pointer or one of the kinds of columns in
// column.go.
func values(fields []any) ([]any, error) {
	out := make([]any, len(fields))
	for i, f := range fields {
		switch p := f.(type) { // those of most columns, at a fraction of the price
		case *string:
			out[i] = *p
			continue
		case *int:
			out[i] = int64(*p)
			continue
		}
		v, err := driver.DefaultParameterConverter.ConvertValue(f)
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", i, err)
		}
		out[i] = v
	}
	return out, nil
}
