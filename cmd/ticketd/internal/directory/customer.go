package directory

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// A Customer is a person whom a brand's customer tickets name. Email, Phone1 and
// UniqueID are the strong identifiers: each is unique in the brand, and a record
// has at least one.
type Customer struct {
	ID        int64 // given by the directory and never given again
	Brand     string
	Email     string // as it was given, compared without regard to case
	Phone1    string // E.164 with the leading +, as E164 gives it
	UniqueID  string
	FirstName string
	LastName  string
	Remark    string
	Created   time.Time
	Updated   time.Time
}

// ResolveCustomer finds the record of the brand's customer whom the ticket's
// fields in c name, or creates it, in one transaction: any number of concurrent
// redemptions make one record. ID, Created and Updated of c are not looked at,
// and Brand may be empty.
//
// A record is found by uniqueId; failing that by email, failing that by phone1.
// A record whose own uniqueId differs from the given one is another person by the
// brand's word, and is not found by an email or phone that they share (families
// do).
//
// Without override a record that is found stays exactly as it is. With override
// it takes those given fields that are not empty. In neither case does an
// identifier move from one record to another: one that another record owns is
// left out.
//
// The error wraps ErrNotFound when there is no such brand.
func (db *DB) ResolveCustomer(ctx context.Context, brand string, c Customer, override bool) (_ Customer, created bool, err error) {
	if c.Brand != "" && c.Brand != brand {
		return Customer{}, false, refuse("brand", "of the customer is not the brand that is asked: leave it empty")
	}
	c.Brand = brand
	if err := c.check(); err != nil {
		return Customer{}, false, err
	}
	if !override { // the usual case of a known customer writes nothing and waits for no writer
		found, err := matches(ctx, db.read, c)
		if err != nil {
			return Customer{}, false, fmt.Errorf("directory: resolve customer: %w", err)
		}
		if known := choose(found, c); known != nil {
			return *known, false, nil
		}
	}
	tx, err := db.write.BeginTx(ctx, nil) // immediate: nobody else writes until it ends
	if err != nil {
		return Customer{}, false, fmt.Errorf("directory: resolve customer: %w", err)
	}
	defer tx.Rollback()
	record, created, err := db.resolve(ctx, tx, c, override)
	if isForeignKey(err) {
		return Customer{}, false, missing("brand", brand)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return Customer{}, false, fmt.Errorf("directory: resolve customer: %w", err)
	}
	return record, created, nil
}

// resolve is ResolveCustomer within its transaction.
func (db *DB) resolve(ctx context.Context, tx *sql.Tx, c Customer, override bool) (_ Customer, created bool, err error) {
	found, err := matches(ctx, tx, c)
	if err != nil {
		return Customer{}, false, err
	}
	now := fromMillis(millis(db.now()))
	known := choose(found, c)
	if known == nil {
		record := merge(Customer{Brand: c.Brand, Created: now, Updated: now}, c, found)
		err := tx.QueryRowContext(ctx, `
			INSERT INTO customer (brand, email, email_fold, phone1, uniqueid, first_name, last_name, remark, created, updated)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id`,
			record.Brand, record.Email, foldEmail(record.Email), record.Phone1, record.UniqueID,
			record.FirstName, record.LastName, record.Remark, now.UnixMilli()).Scan(&record.ID)
		return record, true, err
	}
	if !override {
		return *known, false, nil
	}
	record := merge(*known, c, found)
	if record == *known {
		return record, false, nil
	}
	record.Updated = now
	_, err = tx.ExecContext(ctx, `
		UPDATE customer SET email = $3, email_fold = $4, phone1 = $5, uniqueid = $6,
			first_name = $7, last_name = $8, remark = $9, updated = $10
		WHERE brand = $1 AND id = $2`,
		record.Brand, record.ID, record.Email, foldEmail(record.Email), record.Phone1, record.UniqueID,
		record.FirstName, record.LastName, record.Remark, now.UnixMilli())
	return record, false, err
}

func (c Customer) check() error {
	if c.Email == "" && c.Phone1 == "" && c.UniqueID == "" {
		return refuse("uniqueId", "is empty, and so are email and phone1: give at least one")
	}
	return cmp.Or(
		checkName("brand", c.Brand, maxBrand),
		checkText("email", c.Email, maxIdentifier),
		checkText("uniqueId", c.UniqueID, maxIdentifier),
		checkText("firstName", c.FirstName, maxName),
		checkText("lastName", c.LastName, maxName),
		checkText("remark", c.Remark, maxRemark),
		checkPhone("phone1", c.Phone1))
}

// matchQuery finds the records of brand $1 that have uniqueId $2, email $3 or
// phone $4. It is a union so that each part uses its index, which the
// inequalities make eligible; they also keep empty values from matching.
const matchQuery = `
	SELECT ` + customerColumns + ` FROM customer WHERE brand = $1 AND uniqueid = $2 AND uniqueid <> ''
	UNION
	SELECT ` + customerColumns + ` FROM customer WHERE brand = $1 AND email_fold = $3 AND email_fold <> ''
	UNION
	SELECT ` + customerColumns + ` FROM customer WHERE brand = $1 AND phone1 = $4 AND phone1 <> ''`

const customerColumns = `id, email, phone1, uniqueid, first_name, last_name, remark, created, updated`

// matches returns the up to three records of the brand that have one of c's
// identifiers.
func matches(ctx context.Context, q interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, c Customer) ([]Customer, error) {
	rows, err := q.QueryContext(ctx, matchQuery, c.Brand, c.UniqueID, foldEmail(c.Email), c.Phone1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Customer
	for rows.Next() {
		r := Customer{Brand: c.Brand}
		var created, updated sql.NullInt64
		err := rows.Scan(&r.ID, &r.Email, &r.Phone1, &r.UniqueID, &r.FirstName, &r.LastName, &r.Remark, &created, &updated)
		if err != nil {
			return nil, err
		}
		r.Created, r.Updated = fromMillis(created), fromMillis(updated)
		found = append(found, r)
	}
	return found, rows.Err()
}

// identifiers in the order in which a record is found by them.
var identifiers = []struct {
	of   func(c *Customer) *string
	same func(a, b string) bool
}{
	{func(c *Customer) *string { return &c.UniqueID }, func(a, b string) bool { return a == b }},
	{func(c *Customer) *string { return &c.Email }, EqualEmails},
	{func(c *Customer) *string { return &c.Phone1 }, func(a, b string) bool { return a == b }},
}

// choose returns the one of the found records that is c's, or nil.
func choose(found []Customer, c Customer) *Customer {
	for _, id := range identifiers {
		given := *id.of(&c)
		i := slices.IndexFunc(found, func(r Customer) bool {
			another := c.UniqueID != "" && r.UniqueID != "" && c.UniqueID != r.UniqueID
			return given != "" && id.same(*id.of(&r), given) && !another
		})
		if i >= 0 {
			return &found[i]
		}
	}
	return nil
}

// merge returns the record with the fields of c that are not empty, but for
// identifiers that another of the found records owns.
func merge(record, c Customer, found []Customer) Customer {
	for _, id := range identifiers {
		given := *id.of(&c)
		owned := slices.ContainsFunc(found, func(r Customer) bool {
			return r.ID != record.ID && id.same(*id.of(&r), given)
		})
		if given != "" && !owned {
			*id.of(&record) = given
		}
	}
	for _, field := range []struct {
		to   *string
		from string
	}{{&record.FirstName, c.FirstName}, {&record.LastName, c.LastName}, {&record.Remark, c.Remark}} {
		if field.from != "" {
			*field.to = field.from
		}
	}
	return record
}
