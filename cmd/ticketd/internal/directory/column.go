package directory

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"time"
)

// The kinds of columns with a value unlike that of their field. Each kind holds a
// pointer to the field and is both a source and a destination, so that the fields of a
// record are listed once for all queries.

// lifetime is a duration in milliseconds.
type lifetime struct{ to *time.Duration }

func (c lifetime) Value() (driver.Value, error) { return c.to.Milliseconds(), nil }

func (c lifetime) Scan(src any) error {
	var n sql.Null[int64]
	if err := n.Scan(src); err != nil || !n.Valid {
		return errors.Join(err, isNull(n.Valid))
	}
	*c.to = time.Duration(n.V) * time.Millisecond
	return nil
}

// instant is a time, NULL for none.
type instant struct{ to *time.Time }

// The times that JSON (RFC 3339) and a calendar of four digits have, without the zero time. Another program
// may have written others; the nearest of these stands for them.
var (
	firstMilli = time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC).UnixMilli()
	lastMilli  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

func (c instant) Value() (driver.Value, error) {
	if c.to.IsZero() {
		return nil, nil
	}
	return c.to.UnixMilli(), nil
}

func (c instant) Scan(src any) error {
	var n sql.Null[int64]
	if err := n.Scan(src); err != nil {
		return err
	}
	*c.to = time.Time{}
	if n.Valid {
		*c.to = time.UnixMilli(max(firstMilli, min(n.V, lastMilli))).UTC()
	}
	return nil
}

// texts is a list as a JSON array. An empty list is nil in Go.
type texts[S ~string] struct{ to *[]S }

func (c texts[S]) isList() {}

func (c texts[S]) Value() (driver.Value, error) {
	if len(*c.to) == 0 {
		return "[]", nil
	}
	encoded, err := json.Marshal(*c.to)
	return string(encoded), err
}

func (c texts[S]) Scan(src any) error {
	var column sql.Null[string]
	if err := column.Scan(src); err != nil || !column.Valid {
		return errors.Join(err, isNull(column.Valid))
	}
	*c.to = nil
	if column.V == "[]" {
		return nil
	}
	if err := json.Unmarshal([]byte(column.V), c.to); err != nil {
		return err
	}
	// An empty list may have a meaning of its own. Damage must not make a list empty.
	if len(*c.to) == 0 {
		return errors.New("not a list")
	}
	return nil
}

// prefixes is an allow-list in its text form.
type prefixes struct{ to *Addresses }

func (c prefixes) Value() (driver.Value, error) { return c.to.String(), nil }

func (c prefixes) Scan(src any) error {
	var column sql.Null[string]
	err := column.Scan(src)
	if err == nil {
		err = isNull(column.Valid)
	}
	if err == nil {
		*c.to, err = ParseAddresses(column.V)
	}
	return err
}

// folded is a text in its form for comparison. It is only written.
type folded struct {
	from *string
	fold func(string) string
}

func (c folded) Value() (driver.Value, error) { return c.fold(*c.from), nil }

func (c folded) Scan(any) error { return nil }

func isNull(valid bool) error {
	if valid {
		return nil
	}
	return errors.New("a column without NULLs has a NULL")
}
