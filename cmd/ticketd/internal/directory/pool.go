package directory

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
)

// tracer holds the function that Trace set.
type tracer struct {
	f atomic.Pointer[func(statement string)]
}

func (t *tracer) note(statement string) {
	if t == nil {
		return
	}
	if f := t.f.Load(); f != nil {
		(*f)(statement)
	}
}

// Trace calls f with the text of each SQL statement before the statement is sent; nil
// ends the trace. The text has placeholders for the values. f runs in the goroutine of
// the caller and may be called concurrently. BEGIN and COMMIT are left out, and so are
// statements without a waiting caller, such as the last use of an API key, and the looks
// at the state of the directory that keep the memory of records right.
func (db *DB) Trace(f func(statement string)) {
	if f == nil {
		db.tracer.f.Store(nil)
		return
	}
	db.tracer.f.Store(&f)
}

// connections are the connections of a directory to its database, or the reason why
// there are none.
type connections struct {
	read, write *sql.DB
	close       func() error
	err         error

	// check, unless nil, returns an error if nothing may be written now.
	check func(context.Context) error

	// The statements of the cache's looks at an SQLite file; nil for a server.
	version, state, revoked *sql.Stmt

	// prepared has the statements of read by their texts, for SQLite: a server's pooler
	// may have no prepared statements.
	prepared sync.Map
	count    atomic.Int32
	prepares bool

	// event inserts an event into an SQLite file, and pack inserts a pack of them; nil for a
	// server.
	event, pack *sql.Stmt
}

// maxPrepared bounds the number of prepared statements. The look-ups have about thirty.
const maxPrepared = 100

// query runs a query on read, by a prepared statement if possible.
func (c *connections) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if !c.prepares {
		return c.read.QueryContext(ctx, query, args...)
	}
	known, ok := c.prepared.Load(query)
	if !ok {
		if c.count.Load() >= maxPrepared {
			return c.read.QueryContext(ctx, query, args...)
		}
		stmt, err := c.read.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		var raced bool
		if known, raced = c.prepared.LoadOrStore(query, stmt); raced {
			_ = stmt.Close()
		} else {
			c.count.Add(1)
		}
	}
	return known.(*sql.Stmt).QueryContext(ctx, args...)
}

// A pool is one of the two pools of the present connections, with traced statements.
type pool struct {
	open      *atomic.Pointer[connections]
	writes    bool
	tracer    *tracer
	isolation sql.IsolationLevel // of transactions
}

// db returns the pool of the present connections.
func (p *pool) db(ctx context.Context) (*sql.DB, error) {
	db, _, err := p.present(ctx)
	return db, err
}

// present returns the present connections too.
func (p *pool) present(ctx context.Context) (*sql.DB, *connections, error) {
	c := p.open.Load()
	switch {
	case c.err != nil:
		return nil, nil, c.err
	case !p.writes:
		return c.read, c, nil
	case c.check != nil:
		if err := c.check(ctx); err != nil {
			return nil, nil, err
		}
	}
	return c.write, c, nil
}

func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.tracer.note(query)
	if c := p.open.Load(); !p.writes && c.err == nil {
		return c.query(ctx, query, args...)
	}
	db, err := p.db(ctx)
	if err != nil {
		return nil, err
	}
	return db.QueryContext(ctx, query, args...)
}

func (p *pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p.tracer.note(query)
	db, err := p.db(ctx)
	if err != nil {
		return nil, err
	}
	return db.ExecContext(ctx, query, args...)
}

// BeginTx begins a transaction.
func (p *pool) BeginTx(ctx context.Context) (transaction, error) {
	db, c, err := p.present(ctx)
	if err != nil {
		return transaction{}, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: p.isolation})
	t := transaction{Tx: tx, tracer: p.tracer}
	if err == nil && c.event != nil {
		t.event, t.pack = tx.StmtContext(ctx, c.event), tx.StmtContext(ctx, c.pack)
	}
	return t, err
}

// A transaction is a transaction with traced statements.
type transaction struct {
	*sql.Tx
	tracer      *tracer
	event, pack *sql.Stmt // see connections
}

func (t transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.tracer.note(query)
	return t.Tx.QueryContext(ctx, query, args...)
}

func (t transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.tracer.note(query)
	return t.Tx.ExecContext(ctx, query, args...)
}

// isFile reports whether the transaction is one of an SQLite file.
func (t transaction) isFile() bool { return t.event != nil }

// insert runs a prepared statement that inserts events into an SQLite file. It does not wait
// for others, since the transaction has the lock; and it does not end early, since watching
// ctx costs more than the insert. The transaction itself ends with its context.
func (t transaction) insert(ctx context.Context, stmt *sql.Stmt, text string, args []any) error {
	t.tracer.note(text)
	_, err := stmt.ExecContext(context.WithoutCancel(ctx), args...)
	return err
}
