package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// redemptionMargin is how long a redemption is remembered after its ticket's
// last moment: for clocks that differ and requests that are on their way.
const redemptionMargin = time.Hour

// A Redemption is on whose behalf a customer's record is found or made.
type Redemption struct {
	// Ticket is the ticket's ID. A ticket changes the directory once: when its
	// redemption is repeated, the answer is the customer whom it changed, as the
	// record is then. Without a ticket ("") each call stands for itself.
	Ticket  string
	Expires time.Time // when the ticket is good no more

	// Override is whether a record that is found takes what the ticket says.
	Override bool
}

// ResolveCustomer finds the record of the brand's customer whom the ticket's
// fields in c name, or creates it, in one transaction: any number of concurrent
// redemptions make one record. ID, Created and Updated of c are not looked at,
// and Brand may be empty.
//
// Where the identifiers name several records, uniqueId decides before email and
// email before phone1, and records are never merged. A record whose own uniqueId
// differs from the given one is another person by the brand's word, and is not
// found by an email or phone that they share (families do).
//
// Without override a record that is found stays exactly as it is. With override
// it takes those given fields that are not empty. In neither case does an
// identifier move from one record to another: one that another record owns is
// left out.
//
// The error wraps ErrNotFound when there is no such brand.
func (db *DB) ResolveCustomer(ctx context.Context, brand string, c Customer, on Redemption) (_ Customer, created bool, err error) {
	if err := c.prepare(brand, on); err != nil {
		return Customer{}, false, err
	}
	// Without override a known customer is the usual case, in which nothing is written
	// and no writer is waited for. What was found of others serves the first attempt to
	// create the record: its identifiers and the ticket are unique, so that whatever
	// was done in between makes the attempt fail, and the next one looks again.
	var first *lookup
	if !on.Override {
		l, err := look(ctx, db.read, c, on)
		if err != nil {
			return Customer{}, false, failed("look up a customer", err)
		}
		if l.known != nil {
			return l.known.record, false, nil
		}
		first = &l
	}
	var record Customer
	err = db.change(ctx, "resolve customer", func(ctx context.Context, tx querier) (err error) {
		l := first
		if first = nil; l == nil {
			again, err := look(ctx, tx, c, on)
			if err != nil {
				return err
			}
			l = &again
		}
		record, created, err = db.resolve(ctx, tx, c, on, *l)
		switch {
		case isDuplicate(err): // somebody else has just made the record, or redeemed the ticket
			return errors.Join(errStale, err)
		case isForeignKey(err):
			return missing("brand", brand)
		}
		return err
	})
	if err != nil {
		return Customer{}, false, err
	}
	return record, created, nil
}

// KnownCustomer returns the record that ResolveCustomer would find, and changes
// nothing. The error wraps ErrNotFound where it would create one.
func (db *DB) KnownCustomer(ctx context.Context, brand string, c Customer, on Redemption) (Customer, error) {
	if err := c.prepare(brand, on); err != nil {
		return Customer{}, err
	}
	l, err := look(ctx, db.read, c, on)
	if err != nil {
		return Customer{}, failed("look up a customer", err)
	}
	if l.known == nil {
		return Customer{}, missing("customer", "of these identifiers")
	}
	return l.known.record, nil
}

// prepare puts c into the brand, and refuses what cannot be looked for.
func (c *Customer) prepare(brand string, on Redemption) error {
	if c.Brand != "" && c.Brand != brand {
		return refuse("brand", "of the customer is not the brand that is asked; leave it empty")
	}
	c.Brand = brand
	return cmp.Or(c.check(), checkText("ticket", on.Ticket, maxBrand))
}

// A lookup is what the directory has of a customer.
type lookup struct {
	known   *version[Customer]  // the record that is the customer's, or nil
	changed bool                // whether the ticket has changed it already
	found   []version[Customer] // the records that have one of the customer's identifiers
}

// look finds the record that is c's, in one statement.
func look(ctx context.Context, q querier, c Customer, on Redemption) (lookup, error) {
	found, changed, err := matches(ctx, q, c, on.Ticket)
	switch {
	case err != nil:
		return lookup{}, err
	case changed != nil:
		return lookup{known: changed, changed: true, found: found}, nil
	}
	return lookup{known: choose(found, c), found: found}, nil
}

// resolve is ResolveCustomer within its transaction.
func (db *DB) resolve(ctx context.Context, tx querier, c Customer, on Redemption, l lookup) (_ Customer, created bool, err error) {
	known, found := l.known, l.found
	if l.changed {
		return known.record, false, nil
	}
	now := wholeMillis(db.now())
	if known == nil {
		record := merge(Customer{Brand: c.Brand, Created: now, Updated: now}, c, found)
		if err := record.insert(ctx, tx); err != nil {
			return Customer{}, false, err
		}
		return record, true, remember(ctx, tx, record, on)
	}
	if !on.Override {
		return known.record, false, nil
	}
	record := merge(known.record, c, found)
	if record != known.record {
		record.Updated = now
		if err := customers.write(ctx, tx, version[Customer]{record, known.revision}, record.Brand, record.ID); err != nil {
			return Customer{}, false, err
		}
	}
	return record, false, remember(ctx, tx, record, on)
}

// remember notes whose record the ticket has changed.
func remember(ctx context.Context, tx querier, c Customer, on Redemption) error {
	if on.Ticket == "" {
		return nil
	}
	_, err := exec(ctx, tx, `INSERT INTO redemption (brand, ticket, customer, expires) VALUES ($1, $2, $3, $4)`,
		c.Brand, on.Ticket, c.ID, on.Expires.Add(redemptionMargin).UnixMilli())
	return err
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
func choose(found []version[Customer], c Customer) *version[Customer] {
	for _, id := range identifiers {
		given := *id.of(&c)
		i := slices.IndexFunc(found, func(v version[Customer]) bool {
			r := v.record
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
func merge(record, c Customer, found []version[Customer]) Customer {
	for _, id := range identifiers {
		given := *id.of(&c)
		owned := slices.ContainsFunc(found, func(v version[Customer]) bool {
			return v.record.ID != record.ID && id.same(*id.of(&v.record), given)
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
