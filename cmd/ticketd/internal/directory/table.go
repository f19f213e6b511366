package directory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A table describes how records of type T are kept. Names are the keys of brands,
// channels, agents and administrators; IDs are the keys of customers. The first columns are
// the key; all of these but the last name the brand.
type table[T any] struct {
	kind     string // for errors
	name     string
	keys     int
	columns  []string
	fields   func(*T) []any // of the columns, in their order
	label    func(*T) string
	revision func(*T) *int64
	prepare  func(*T) error // refuses a wrong record and normalizes a good one
	whole    bool           // whether the records belong to the deployment and to no brand
	public   bool           // whether the audit trail may have the values of fields
}

// where returns the condition for one record; the first arguments are the key.
func (t *table[T]) where() string {
	parts := make([]string, t.keys)
	for i, column := range t.columns[:t.keys] {
		parts[i] = fmt.Sprintf("%s = $%d", column, i+1)
	}
	return " WHERE " + strings.Join(parts, " AND ")
}

func (t *table[T]) selected() string {
	return "SELECT " + strings.Join(t.columns, ", ") + ", revision FROM " + t.name
}

// A version is a record with the revision read from the database.
type version[T any] struct {
	record   T
	revision int64
}

func (t *table[T]) scan(r row) (version[T], error) {
	var v version[T]
	err := r.Scan(append(t.fields(&v.record), &v.revision)...)
	*t.revision(&v.record) = v.revision
	return v, err
}

// isText reports whether s can be an argument of a query in every database. No record
// has a key for which that is false.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// get returns the record with the key.
func (t *table[T]) get(ctx context.Context, q querier, key ...any) (version[T], error) {
	return t.find(ctx, q, t.scan, t.selected()+t.where(), key...)
}

// find returns the record with the key by a query for one record.
func (t *table[T]) find(
	ctx context.Context, q querier, scan func(row) (version[T], error), query string, key ...any,
) (version[T], error) {
	last := fmt.Sprint(key[len(key)-1])
	for _, k := range key {
		if s, ok := k.(string); ok && !isText(s) {
			return version[T]{}, notFound(t.kind, last)
		}
	}
	all, err := list(ctx, q, scan, query, key...)
	if err != nil {
		return version[T]{}, failed("look up "+t.kind, err)
	}
	if len(all) == 0 {
		return version[T]{}, notFound(t.kind, last)
	}
	return all[0], nil
}

// page returns up to limit records of the brand in the order of their keys, from the
// record after the given key. Without a brand, the records of all brands are listed.
func (t *table[T]) page(ctx context.Context, q querier, brand []any, after any, limit int) ([]T, error) {
	query := t.selected() + " WHERE "
	if t.keys == 2 {
		query += t.columns[0] + " = $1 AND "
	}
	name := t.columns[t.keys-1]
	query += fmt.Sprintf("%s > $%d ORDER BY %s LIMIT $%d", name, t.keys, name, t.keys+1)
	all, err := list(ctx, q, t.scan, query, append(brand, after, limit)...)
	if err != nil {
		return nil, failed("list "+t.kind+"s", err)
	}
	records := make([]T, len(all))
	for i, v := range all {
		records[i] = v.record
	}
	return records, nil
}

// insertSQL returns the statement that inserts so many rows of the columns, each with a
// newRevision after these.
func insertSQL(table string, columns []string, rows int, anonymous bool) string {
	return insertRows(table, append(slices.Clone(columns), "revision"), rows, anonymous)
}

// insertRows is insertSQL for a table without revisions. PostgreSQL's parameters have numbers.
// SQLite keeps those with a number or a name in a list, and reads it from its start for each
// of them: a statement of many rows should have anonymous ones.
func insertRows(table string, columns []string, rows int, anonymous bool) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES ")
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		separator := "("
		for j := range columns {
			b.WriteString(separator)
			if anonymous {
				b.WriteString("?")
			} else {
				b.WriteString("$" + strconv.Itoa(i*len(columns)+j+1))
			}
			separator = ", "
		}
		b.WriteString(")")
	}
	return b.String()
}

// note adds the event of an action on a record to the change that made it.
func (t *table[T]) note(tx *change, db *DB, action string, d difference, record *T) error {
	key, err := values(t.fields(record)[:t.keys])
	if err != nil {
		return err
	}
	brand := fmt.Sprint(key[0])
	if t.whole {
		brand = ""
	}
	e := db.event(action, brand, t.kind, fmt.Sprint(key[t.keys-1]))
	e.Fields, e.Details = d.fields, d.details
	tx.note(e)
	return nil
}

// noteAdded adds the event for a new record.
func (t *table[T]) noteAdded(tx *change, db *DB, record *T) error {
	d, err := t.compare(new(T), record)
	if err != nil {
		return err
	}
	return t.note(tx, db, t.kind+".add", d, record)
}

// noteChanged adds the event for a changed record.
func (t *table[T]) noteChanged(tx *change, db *DB, d difference, record *T) error {
	action := t.kind + ".set"
	if d.ended {
		action = ActionEndSessions
	}
	return t.note(tx, db, action, d, record)
}

// compare compares the fields of two records, apart from the key.
func (t *table[T]) compare(was, is *T) (difference, error) {
	return compare(t.columns[t.keys:], t.fields(was)[t.keys:], t.fields(is)[t.keys:], t.public)
}

// add inserts a record, and calls then, unless nil, in the same transaction. A record
// with the same key or with one of the identifiers must not exist.
func (t *table[T]) add(
	ctx context.Context, db *DB, record *T, then func(ctx context.Context, tx *change) error,
) error {
	if err := t.prepare(record); err != nil {
		return err
	}
	args, err := values(append(t.fields(record), newRevision()))
	if err != nil {
		return err
	}
	return db.change(ctx, "add "+t.kind, func(ctx context.Context, tx *change) error {
		_, err := exec(ctx, tx, insertSQL(t.name, t.columns, 1, false), args...)
		switch {
		case isDuplicate(err):
			return fmt.Errorf("%s %q: %w", t.kind, t.label(record), ErrExists)
		case isForeignKey(err):
			return notFound("brand", fmt.Sprint(args[0]))
		case err != nil:
			return err
		}
		if err := t.noteAdded(tx, db, record); err != nil || then == nil {
			return err
		}
		return then(ctx, tx)
	})
}

// update changes the record with the key by edit, and writes the record if it changed.
func (t *table[T]) update(ctx context.Context, db *DB, edit func(*T) error, key ...any) (T, error) {
	return t.updateThen(ctx, db, edit, nil, key...)
}

// updateThen is update, and calls then, unless nil, in the same transaction: with the
// record of before, and with the new record, which then may complete.
func (t *table[T]) updateThen(
	ctx context.Context, db *DB, edit func(*T) error,
	then func(ctx context.Context, tx *change, was, is *T) error, key ...any,
) (T, error) {
	var result T
	err := db.change(ctx, "change "+t.kind, func(ctx context.Context, tx *change) error {
		was, err := t.get(ctx, tx, key...)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, t.kind, t.label(&was.record), was.record); err != nil {
			return err
		}
		record := was.record
		if err := edit(&record); err != nil {
			return err
		}
		if err := t.prepare(&record); err != nil {
			return err
		}
		if err := t.sameKey(&record, key...); err != nil {
			return err
		}
		d, err := t.compare(&was.record, &record)
		if err != nil || !d.changed {
			result = record
			*t.revision(&result) = was.revision
			return err
		}
		if err := t.write(ctx, tx, version[T]{record, was.revision}, key...); err != nil {
			return err
		}
		if err := t.noteChanged(tx, db, d, &record); err != nil {
			return err
		}
		if then != nil {
			if err := then(ctx, tx, &was.record, &record); err != nil {
				return err
			}
		}
		result = record
		*t.revision(&result) = was.revision + 1
		return nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return result, nil
}

// sameKey returns an error unless the record has the key.
func (t *table[T]) sameKey(record *T, key ...any) error {
	has, err := values(t.fields(record)[:t.keys])
	if err != nil {
		return err
	}
	for i := range key {
		if has[i] != key[i] {
			return refuse(strings.TrimSuffix(t.columns[i], "_fold"), "of the %s cannot change; add another %s instead",
				t.kind, t.kind)
		}
	}
	return nil
}

// write replaces the record with the key by v.record, provided that the record's
// revision is still v.revision.
func (t *table[T]) write(ctx context.Context, tx *change, v version[T], key ...any) error {
	args, err := values(t.fields(&v.record))
	if err != nil {
		return err
	}
	var assignments []string
	for i, column := range t.columns[t.keys:] {
		assignments = append(assignments, fmt.Sprintf("%s = $%d", column, t.keys+i+1))
	}
	n, err := exec(ctx, tx, fmt.Sprintf("UPDATE %s SET %s, revision = revision + 1%s AND revision = $%d",
		t.name, strings.Join(assignments, ", "), t.where(), len(args)+1), append(args, v.revision)...)
	switch {
	case isDuplicate(err):
		return fmt.Errorf("another %s has an identifier of %q: %w", t.kind, t.label(&v.record), ErrExists)
	case err != nil:
		return err
	case n == 0:
		return errStale
	}
	return nil
}

// remove removes the record with the key, and calls then, unless nil, in the same
// transaction.
func (t *table[T]) remove(
	ctx context.Context, db *DB, then func(ctx context.Context, tx *change) error, key ...any,
) error {
	return db.change(ctx, "remove "+t.kind, func(ctx context.Context, tx *change) error {
		was, err := t.get(ctx, tx, key...)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, t.kind, t.label(&was.record), was.record); err != nil {
			return err
		}
		err = once(exec(ctx, tx, fmt.Sprintf("DELETE FROM %s%s AND revision = $%d", t.name, t.where(), len(key)+1),
			append(key, was.revision)...))
		if err != nil {
			return err
		}
		if err := t.note(tx, db, t.kind+".remove", difference{}, &was.record); err != nil || then == nil {
			return err
		}
		return then(ctx, tx)
	})
}
