package directory

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
)

// ActionLoad is the action of the event that Load adds.
const ActionLoad = "directory.restore"

// ErrNotEmpty is wrapped by the error of Load for a directory with records.
var ErrNotEmpty = errors.New("the directory has records already, and nothing is overwritten; " +
	"name an empty database or another file")

// LoadOptions say how Load loads.
type LoadOptions struct {
	// ID is the new ID of the directory, from NewID. It tells afterwards that the stream was
	// loaded.
	ID string

	// KeepSessions is for a move: nothing changed since the stream was saved, so that sessions
	// and tickets stay good. A stream that was saved while a service was running is refused.
	KeepSessions bool

	Progress func(rows int64) // is called now and then; nil is allowed
}

// NewID returns a random ID of a directory.
func NewID() string { return newRecordID() }

// ID returns the ID of the directory, chosen when the directory was made or loaded.
func (db *DB) ID(ctx context.Context) (string, error) {
	ids, err := list(ctx, db.read, func(r row) (id string, err error) { return id, r.Scan(&id) },
		`SELECT id FROM directory_state`)
	if err != nil || len(ids) != 1 {
		return "", errors.Join(failed("read the ID", err), fmt.Errorf("%d IDs", len(ids)))
	}
	return ids[0], nil
}

// Number gaps of Load. A program beside the service may know records that were made after
// the stream was saved. Their numbers are not given again.
const (
	customerGap = 1_000_000
	eventGap    = 1 << 32
)

// Load fills an empty directory with the stream of Save, whole or not at all: a stream that
// was cut or altered changes nothing. The tables must be empty; else the error wraps
// ErrNotEmpty.
//
// Nobody knows what happened after the stream was saved: tickets were redeemed or revoked,
// people signed out. So sessions that began before now are over, and so are all tickets issued
// before now, and links to the console. This also holds for brands that are added later.
// Numbers of customers go on behind a gap. LoadOptions.KeepSessions says otherwise. If the clock
// is behind the stream, Load fails: old tickets would be good again.
//
// Load has no time limit but that of ctx.
func (db *DB) Load(ctx context.Context, r io.Reader, o LoadOptions) (Saved, error) {
	defer db.cache.forget()
	var saved Saved
	err := inTx(ctx, db.write, func(ctx context.Context, tx *change) (err error) {
		if err := db.lockEmpty(ctx, tx); err != nil {
			return err
		}
		l := &loader{db: db, tx: tx, from: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), progress: o.Progress}
		if saved, err = l.load(ctx); err != nil {
			return err
		}
		if o.KeepSessions && saved.Serving {
			return errors.New("a service was running when this was saved, or had been killed, so later changes may be " +
				"missing: stop all services in order, save again, and load that; or do not keep the sessions")
		}
		if !o.KeepSessions {
			if err := db.beginAnew(ctx, tx, saved.At); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, tx, `UPDATE directory_state SET id = $1, changes = $2`, o.ID, newRecordID()); err != nil {
			return err
		}
		e := db.event(ActionLoad, "", "", "")
		details, err := json.Marshal(map[string]any{"saved": saved.At, "sessionsKept": o.KeepSessions})
		e.Details = string(details)
		tx.note(e)
		return err
	})
	return saved, failed("load the directory", err)
}

// lockEmpty makes sure that all tables are empty until the transaction ends.
func (db *DB) lockEmpty(ctx context.Context, tx *change) error {
	if db.file == nil {
		if _, err := exec(ctx, tx, "LOCK TABLE "+strings.Join(savedTables, ", ")+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
	}
	for _, table := range savedTables {
		var some bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&some); err != nil {
			return err
		}
		if some {
			return fmt.Errorf("table %s: %w", table, ErrNotEmpty)
		}
	}
	return nil
}

// beginAnew ends all sessions, tickets and links of before, and tells since when events may be
// missing.
func (db *DB) beginAnew(ctx context.Context, tx *change, saved time.Time) error {
	now := wholeMillis(db.now())
	newest, err := list(ctx, tx, func(r row) (at time.Time, err error) { return at, r.Scan(instant{&at}) },
		`SELECT max(at) FROM event`)
	if err != nil {
		return err
	}
	if last := slices.MaxFunc(append(newest, saved), time.Time.Compare); now.Before(last) {
		return fmt.Errorf("the clock says %s, and the directory was in use at %s: set the clock right, and try again; "+
			"with a clock that is behind, tickets that were used would be good again",
			now.Format(time.RFC3339Nano), last.Format(time.RFC3339Nano))
	}
	flushed, err := list(ctx, tx, func(r row) (at time.Time, err error) { return at, r.Scan(instant{&at}) },
		`DELETE FROM recorder RETURNING flushed`)
	if err != nil {
		return err
	}
	details, err := json.Marshal(map[string]any{"since": slices.MinFunc(append(flushed, saved), time.Time.Compare)})
	if err != nil {
		return err
	}
	e := db.event(ActionGap, "", "", "")
	e.Reason, e.Details = "directory restored", string(details)
	tx.note(e)
	if _, err := exec(ctx, tx, `UPDATE brand SET revision = revision + 1,
		sessions_since = CASE WHEN sessions_since > $1 THEN sessions_since ELSE $1 END,
		tickets_since = CASE WHEN tickets_since > $1 THEN tickets_since ELSE $1 END`,
		now.UnixMilli()); err != nil {
		return err
	}
	if err := depart(ctx, tx, now, "", anyBrand, ""); err != nil {
		return err
	}
	names, err := list(ctx, tx, func(r row) (name string, err error) { return name, r.Scan(&name) },
		`SELECT username_fold FROM administrator`)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := exec(ctx, tx, `UPDATE administrator SET record = $1, revision = revision + 1 WHERE username_fold = $2`,
			newRecordID(), name); err != nil {
			return err
		}
	}
	for table, gap := range map[string]int64{"customer": customerGap, "event": eventGap} {
		if err := db.advance(ctx, tx, table, gap); err != nil {
			return err
		}
	}
	return nil
}

// advance leaves out numbers of a table.
func (db *DB) advance(ctx context.Context, tx *change, table string, gap int64) error {
	last, err := db.lastNumber(ctx, tx.Tx, table)
	if err != nil {
		return err
	}
	return db.setLastNumber(ctx, tx, table, last+gap)
}

// setLastNumber sets the last number that was given in a table.
func (db *DB) setLastNumber(ctx context.Context, tx *change, table string, last int64) error {
	if db.file == nil {
		sequence, err := sequenceName(ctx, tx.Tx, table)
		if err == nil && last > 0 {
			_, err = tx.ExecContext(ctx, `SELECT setval($1::text::regclass, $2)`, sequence, last)
		}
		return err
	}
	n, err := exec(ctx, tx, `UPDATE sqlite_sequence SET seq = $1 WHERE name = $2`, last, table)
	if err == nil && n == 0 {
		_, err = exec(ctx, tx, `INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)`, table, last)
	}
	return err
}

// maxLine bounds a line of a stream, in bytes. No row is as long.
const maxLine = 4 << 20

var errStream = errors.New("this is no directory as it was saved, or it was cut or altered")

// A loader reads a stream into the tables.
type loader struct {
	db       *DB
	tx       *change
	from     *bufio.Reader
	sum      hash.Hash
	rows     int64
	progress func(rows int64)

	table   string // whose rows come now; "": none
	columns []string
	batch   []any // values of rows that are not written yet
	tables  []string
}

// line returns the next line, without its end.
func (l *loader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLine:
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return nil, errStream
		case err != nil:
			return nil, err
		default:
			return line, nil
		}
	}
}

// decode reads a JSON value. Whole numbers stay exact.
func decode(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: %w", errStream, err)
	}
	return nil
}

// load reads the whole stream, to the end of the reader.
func (l *loader) load(ctx context.Context) (Saved, error) {
	line, err := l.line()
	if err != nil {
		return Saved{}, err
	}
	var head streamHead
	if err := decode(line, &head); err != nil {
		return Saved{}, err
	}
	var schema int64
	err = l.tx.QueryRowContext(ctx, "SELECT max(version_id) FROM "+versionTable).Scan(&schema)
	switch {
	case err != nil:
		return Saved{}, err
	case head.Format != streamFormat || head.Schema != schema:
		return Saved{}, fmt.Errorf("the directory was saved with format %d and schema %d, and this program has %d and %d: "+
			"load it with the program that saved it", head.Format, head.Schema, streamFormat, schema)
	}
	l.sum.Write(line)
	for {
		line, err := l.line()
		if err != nil {
			return Saved{}, err
		}
		sum := hex.EncodeToString(l.sum.Sum(nil))
		l.sum.Write(line)
		if line[0] == '[' {
			if err := l.row(ctx, line); err != nil {
				return Saved{}, err
			}
			continue
		}
		var p streamPart
		if err := decode(line, &p); err != nil {
			return Saved{}, err
		}
		if err := l.write(ctx); err != nil {
			return Saved{}, err
		}
		if p.End {
			return Saved{At: head.Saved, Serving: head.Serving, Rows: l.rows}, l.end(p, sum)
		}
		if err := l.part(ctx, p); err != nil {
			return Saved{}, err
		}
	}
}

// end compares the sums, and makes sure that nothing comes behind the end.
func (l *loader) end(p streamPart, sum string) error {
	if p.Rows != l.rows || p.SHA256 != sum {
		return errStream
	}
	switch _, err := l.from.ReadByte(); {
	case err == nil:
		return errStream
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// part begins a table, or sets a sequence.
func (l *loader) part(ctx context.Context, p streamPart) error {
	l.table = ""
	if p.Sequence != "" {
		if !slices.Contains(sequences, p.Sequence) {
			return errStream
		}
		return l.db.setLastNumber(ctx, l.tx, p.Sequence, p.Last)
	}
	if !slices.Contains(savedTables, p.Table) || slices.Contains(l.tables, p.Table) {
		return errStream
	}
	rows, err := l.tx.QueryContext(ctx, "SELECT * FROM "+p.Table+" WHERE 1 = 0")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if err := errors.Join(err, rows.Close()); err != nil {
		return err
	}
	if !slices.Equal(columns, p.Columns) {
		return fmt.Errorf("table %s has other columns than this program's: load it with the program that saved it", p.Table)
	}
	l.table, l.columns = p.Table, columns
	l.tables = append(l.tables, p.Table)
	return nil
}

// maxBatch bounds the values of a statement: SQLite takes 32,766, and PostgreSQL 65,535.
const maxBatch = 4000

// row adds a row to the batch.
func (l *loader) row(ctx context.Context, line []byte) error {
	var values []any
	if err := decode(line, &values); err != nil {
		return err
	}
	if l.table == "" || len(values) != len(l.columns) {
		return errStream
	}
	for i, v := range values {
		number, ok := v.(json.Number)
		if !ok {
			continue
		}
		var err error
		if values[i], err = number.Int64(); err != nil {
			if values[i], err = number.Float64(); err != nil {
				return errStream
			}
		}
	}
	l.batch = append(l.batch, values...)
	if l.rows++; l.rows%progressStep == 0 && l.progress != nil {
		l.progress(l.rows)
	}
	if len(l.batch)+len(l.columns) > maxBatch {
		return l.write(ctx)
	}
	return nil
}

// write writes the batch.
func (l *loader) write(ctx context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	query := insertRows(l.table, l.columns, len(l.batch)/len(l.columns), l.db.file != nil)
	if l.db.file == nil && slices.Contains(sequences, l.table) {
		query = strings.Replace(query, ") VALUES ", ") OVERRIDING SYSTEM VALUE VALUES ", 1)
	}
	_, err := l.tx.ExecContext(ctx, query, l.batch...)
	l.batch = l.batch[:0]
	if err != nil {
		return fmt.Errorf("table %s: %w", l.table, err)
	}
	return nil
}
