package directory

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"
)

// The stream of Save, in JSON lines. A line that is an object begins a part, and the arrays
// after the begin of a table are the rows of the table:
//
//	{"directory":1,"schema":2,"saved":"2026-11-21T12:00:00Z","serving":true}
//	{"table":"brand","columns":["name","region",…]}
//	["commbox","DE",…]
//	{"sequence":"customer","last":12}
//	{"end":true,"rows":1,"sha256":"9f86…"}
//
// A value is a text, a whole number, a number, true, false or null, whatever the database's
// own form is. The sum is of all bytes before its line.
//
// To extend: columns and tables change with the schema. A stream is read only by a program
// with the same schema.

// streamFormat is the version of the stream.
const streamFormat = 1

// streamHead is the first line of a stream.
type streamHead struct {
	Format  int       `json:"directory"`
	Schema  int64     `json:"schema"`
	Saved   time.Time `json:"saved"`
	Serving bool      `json:"serving"` // a service was using the directory, or was killed
}

// streamPart is a line that begins a table, tells of a sequence, or ends the stream.
type streamPart struct {
	Table    string   `json:"table,omitempty"`
	Columns  []string `json:"columns,omitempty"`
	Sequence string   `json:"sequence,omitempty"`
	Last     int64    `json:"last,omitempty"`
	End      bool     `json:"end,omitempty"`
	Rows     int64    `json:"rows,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
}

// savedTables are the tables of a stream: a table comes after the tables that it refers to.
var savedTables = []string{
	"brand", "channel", "agent", "departed", "customer", "redemption", "revocation",
	"api_key", "api_key_brand", "administrator", "idempotency", "issuer", "issuer_view",
	"issuer_use", "recorder", "event",
}

// eventTables are the tables that Save leaves out without events. Without the events, nobody
// has to be told that some are missing.
var eventTables = []string{"recorder", "event"}

// sequences are the tables whose numbers are never given twice.
var sequences = []string{"customer", "revocation", "event"}

// SaveOptions say what Save saves.
type SaveOptions struct {
	WithoutEvents bool             // leave the audit trail out
	Progress      func(rows int64) // is called now and then; nil is allowed
}

// A Saved tells of a stream of Save.
type Saved struct {
	At      time.Time
	Serving bool // a service was using the directory at that time, or was killed before
	Rows    int64
}

// Save writes the whole directory to w, as it was at one moment: all records, the hashes of API
// keys, and the audit trail. Others may use and change the directory meanwhile. Load reads the
// stream into a directory on any kind of database. Save has no time limit but that of ctx.
func (db *DB) Save(ctx context.Context, w io.Writer, o SaveOptions) (Saved, error) {
	saved, err := db.save(ctx, w, o)
	return saved, failed("save the directory", err)
}

func (db *DB) save(ctx context.Context, w io.Writer, o SaveOptions) (Saved, error) {
	pool, err := db.read.db(ctx)
	if err != nil {
		return Saved{}, err
	}
	snapshot := new(sql.TxOptions) // a transaction of SQLite sees one state
	if db.file == nil {
		snapshot = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	tx, err := pool.BeginTx(ctx, snapshot)
	if err != nil {
		return Saved{}, err
	}
	defer tx.Rollback()
	head := streamHead{Format: streamFormat, Saved: wholeMillis(db.now())}
	err = tx.QueryRowContext(ctx, "SELECT max(version_id), EXISTS (SELECT 1 FROM recorder) FROM "+versionTable).
		Scan(&head.Schema, &head.Serving)
	if err != nil {
		return Saved{}, err
	}
	s := newStreamWriter(w, o.Progress)
	s.line(head)
	for _, table := range savedTables {
		if o.WithoutEvents && slices.Contains(eventTables, table) {
			continue
		}
		if err := s.table(ctx, tx, table); err != nil {
			return Saved{}, fmt.Errorf("table %s: %w", table, err)
		}
	}
	for _, table := range sequences {
		last, err := db.lastNumber(ctx, tx, table)
		if err != nil {
			return Saved{}, fmt.Errorf("the last number of table %s: %w", table, err)
		}
		s.line(streamPart{Sequence: table, Last: last})
	}
	s.line(streamPart{End: true, Rows: s.rows, SHA256: hex.EncodeToString(s.sum.Sum(nil))})
	if s.err == nil {
		s.err = s.to.Flush()
	}
	return Saved{At: head.Saved, Serving: head.Serving, Rows: s.rows}, s.err
}

// lastNumber returns the last number that was given in a table, also to a row that is gone.
// PostgreSQL's sequences are no part of the transaction, so they may be ahead.
func (db *DB) lastNumber(ctx context.Context, tx *sql.Tx, table string) (last int64, err error) {
	query := `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = '` + table + `'), 0)`
	if db.file == nil {
		var sequence string
		if sequence, err = sequenceName(ctx, tx, table); err != nil {
			return 0, err
		}
		query = `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ` + sequence
	}
	return last, tx.QueryRowContext(ctx, query).Scan(&last)
}

// numberColumn returns the column of a table that the database numbers.
func numberColumn(table string) string {
	if table == "revocation" {
		return "number"
	}
	return "id"
}

// sequenceName returns the name of a table's sequence in PostgreSQL, for SQL.
func sequenceName(ctx context.Context, tx *sql.Tx, table string) (name string, err error) {
	return name, tx.QueryRowContext(ctx, `SELECT pg_get_serial_sequence($1, $2)`, table, numberColumn(table)).Scan(&name)
}

// A streamWriter writes the lines of a stream. After an error, its methods do nothing.
type streamWriter struct {
	to       *bufio.Writer
	sum      hash.Hash
	rows     int64
	progress func(rows int64)
	err      error
}

func newStreamWriter(w io.Writer, progress func(rows int64)) *streamWriter {
	s := &streamWriter{sum: sha256.New(), progress: progress}
	s.to = bufio.NewWriterSize(w, 64<<10)
	return s
}

// line writes a value as a line.
func (s *streamWriter) line(v any) {
	if s.err != nil {
		return
	}
	var data []byte
	if data, s.err = json.Marshal(v); s.err != nil {
		return
	}
	data = append(data, '\n')
	if len(data) > maxLine {
		s.err = fmt.Errorf("a row has %d bytes, and Load reads %d", len(data), maxLine)
		return
	}
	s.sum.Write(data)
	_, s.err = s.to.Write(data)
}

// progressStep is the number of rows between two calls of Progress.
const progressStep = 1000

// table writes all rows of a table, in the order of the database.
func (s *streamWriter) table(ctx context.Context, tx *sql.Tx, table string) error {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	s.line(streamPart{Table: table, Columns: columns})
	values, to := make([]any, len(columns)), make([]any, len(columns))
	for i := range to {
		to[i] = &values[i]
	}
	for rows.Next() && s.err == nil {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		for i, v := range values {
			switch v := v.(type) {
			case int64:
				if types[i].DatabaseTypeName() == "BOOLEAN" { // of SQLite, which has no truth values
					values[i] = v != 0
				}
			case nil, string, bool, float64:
			case []byte:
				values[i] = string(v)
			default:
				return fmt.Errorf("column %s has a value of the kind %T, which is a fault of this program", columns[i], v)
			}
		}
		s.line(values)
		if s.rows++; s.rows%progressStep == 0 && s.progress != nil {
			s.progress(s.rows)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return s.err
}
