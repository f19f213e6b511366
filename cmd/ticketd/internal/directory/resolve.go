package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// redemptionMargin is the time for which a redemption is remembered after the end of
// its ticket. It covers differences of clocks and requests under way.
const redemptionMargin = time.Hour

// A Redemption is the redemption for which a record is found or made.
type Redemption struct {
	// Ticket is the ticket's ID, and Issuer the name of its issuer. A ticket changes the
	// directory once: a repeated redemption is answered with the present record of the
	// customer whom the first one changed. Without a ticket ("") each call stands for itself.
	Ticket  string
	Issuer  string
	Expires time.Time // end of the ticket

	// Override tells whether a found record takes the ticket's values.
	Override bool

	// Lookup, if not nil, takes what the call reads. A later call with the same
	// customer, ticket and Lookup, but with Override, does not read it again, unless
	// records have changed meanwhile.
	Lookup *Lookup
}

// ResolveCustomer finds the record of the brand's customer named by the fields of c, or
// creates the record, in one transaction: any number of concurrent redemptions make one
// record. ID, Created and Updated of c are ignored, and Brand may be empty.
//
// The identifiers rank uniqueId, email, phone1. A record is found by the first identifier
// that c and the record share, unless both also have an identifier of a higher rank and
// the two differ. Such a record belongs to another person: families and colleagues
// share phone numbers and addresses. Records are never merged.
//
// Without override a found record stays as it is. With override the record takes the
// given fields that are not empty. No identifier ever moves from one record to another:
// an identifier of another record is left out. A record found by its phone number takes
// no email address and no uniqueId.
//
// If the brand does not exist, the error wraps ErrNotFound.
func (db *DB) ResolveCustomer(
	ctx context.Context, brand string, c Customer, on Redemption,
) (_ Customer, created bool, err error) {
	if err := c.prepare(brand, on); err != nil {
		return Customer{}, false, err
	}
	// Without override most customers are known already. Their records are read without
	// waiting for a writer. The same lookup serves the first attempt to create or change
	// a record: identifiers and ticket are unique, and a record has a revision, so that
	// the attempt fails if a concurrent change made the lookup stale. The next attempt
	// looks again.
	var l Lookup
	if on.Lookup != nil {
		l = *on.Lookup
	}
	if !on.Override {
		if l, err = lookUp(ctx, db.read, c, on); err != nil {
			return Customer{}, false, failed("look up a customer", err)
		}
		if on.Lookup != nil {
			*on.Lookup = l
		}
		if l.known != nil {
			return l.known.record, false, nil
		}
	}
	var record Customer
	err = db.transact(ctx, "resolve customer", func(ctx context.Context, tx *change) (err error) {
		readBefore := l.read
		if !readBefore {
			if l, err = lookUp(ctx, tx, c, on); err != nil {
				return err
			}
		}
		l.read = false // for the next attempt
		record, created, err = db.resolve(ctx, tx, c, on, l)
		switch {
		case isDuplicate(err): // a concurrent redemption made the record, or used the ticket
			return errors.Join(errStale, err)
		case errors.Is(err, ErrExists): // another record took one of the identifiers
			return errStale
		case isForeignKey(err) && readBefore: // the brand or the record was removed
			return errors.Join(errStale, err)
		case isForeignKey(err):
			return notFound("brand", brand)
		}
		return err
	})
	if err != nil {
		return Customer{}, false, err
	}
	return record, created, nil
}

// KnownCustomer returns the record that ResolveCustomer would find, and changes
// nothing. If ResolveCustomer would create a record, the error wraps ErrNotFound.
func (db *DB) KnownCustomer(ctx context.Context, brand string, c Customer, on Redemption) (Customer, error) {
	if err := c.prepare(brand, on); err != nil {
		return Customer{}, err
	}
	l, err := lookUp(ctx, db.read, c, on)
	if err != nil {
		return Customer{}, failed("look up a customer", err)
	}
	if l.known == nil {
		return Customer{}, notFound("customer", "of these identifiers")
	}
	return l.known.record, nil
}

// prepare sets the brand of c and refuses wrong fields.
func (c *Customer) prepare(brand string, on Redemption) error {
	if c.Brand != "" && c.Brand != brand {
		return refuse("brand", "of the customer differs from the brand of the call; leave it empty")
	}
	c.Brand = brand
	return cmp.Or(c.check(), checkText("ticket", on.Ticket, maxBrand), checkText("issuer", on.Issuer, maxBrand))
}

// A Lookup is the state of the directory for a customer, as read by a call. The zero
// Lookup has read nothing.
type Lookup struct {
	read    bool
	known   *version[Customer]  // the record of the customer, or nil
	changed bool                // whether the ticket has changed the known record already
	found   []version[Customer] // the records with one of the customer's identifiers
}

// lookUp finds the record of c, in one statement.
func lookUp(ctx context.Context, q querier, c Customer, on Redemption) (Lookup, error) {
	found, changed, err := matches(ctx, q, c, on)
	switch {
	case err != nil:
		return Lookup{}, err
	case changed != nil:
		return Lookup{read: true, known: changed, changed: true, found: found}, nil
	}
	return Lookup{read: true, known: choose(found, c), found: found}, nil
}

// resolve is the part of ResolveCustomer within the transaction.
func (db *DB) resolve(
	ctx context.Context, tx *change, c Customer, on Redemption, l Lookup,
) (_ Customer, created bool, err error) {
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
		if err := customers.noteAdded(tx, db.by(on), &record); err != nil {
			return Customer{}, false, err
		}
		tx.events[0].Ticket, tx.events[0].Issuer = on.Ticket, on.Issuer
		return record, true, remember(ctx, tx, record, on)
	}
	if !on.Override {
		return known.record, false, nil
	}
	record := merge(known.record, c, found)
	tx.silent = record == known.record // the row of the redemption is no change of a record
	if record != known.record {
		d, err := customers.compare(&known.record, &record)
		if err != nil {
			return Customer{}, false, err
		}
		record.Updated = now
		if err := customers.write(ctx, tx, version[Customer]{record, known.revision}, record.Brand, record.ID); err != nil {
			return Customer{}, false, err
		}
		record.Revision = known.revision + 1
		if err := customers.noteChanged(tx, db.by(on), d, &record); err != nil {
			return Customer{}, false, err
		}
		tx.events[0].Ticket, tx.events[0].Issuer = on.Ticket, on.Issuer
	}
	return record, false, remember(ctx, tx, record, on)
}

// by returns the directory whose changes are recorded as those of the redemption's ticket.
func (db *DB) by(on Redemption) *DB {
	if on.Ticket == "" {
		return db
	}
	return db.As(Actor{Kind: ActorTicket, Remote: db.actor.Remote})
}

// remember stores the record that the ticket has changed.
func remember(ctx context.Context, tx *change, c Customer, on Redemption) error {
	if on.Ticket == "" {
		return nil
	}
	_, err := exec(ctx, tx, `INSERT INTO redemption (brand, issuer, ticket, customer, expires)
		VALUES ($1, $2, $3, $4, $5)`, c.Brand, on.Issuer, on.Ticket, c.ID, on.Expires.Add(redemptionMargin).UnixMilli())
	return err
}

// identifiers are the strong identifiers of a customer in the order of their ranks.
var identifiers = []struct {
	of   func(c *Customer) *string
	same func(a, b string) bool
}{
	{func(c *Customer) *string { return &c.UniqueID }, func(a, b string) bool { return a == b }},
	{func(c *Customer) *string { return &c.Email }, EqualEmails},
	{func(c *Customer) *string { return &c.Phone1 }, func(a, b string) bool { return a == b }},
}

// byPhone is the rank of phone1, the only identifier that does not name one person.
const byPhone = 2

// foundBy returns the rank of the identifier by which c finds the record, or -1.
func foundBy(c, record Customer) int {
	for rank, id := range identifiers {
		given, known := *id.of(&c), *id.of(&record)
		switch {
		case given == "" || known == "":
			continue
		case id.same(given, known):
			return rank
		}
		return -1 // another person
	}
	return -1
}

// choose returns the record of c among the found records, or nil.
func choose(found []version[Customer], c Customer) *version[Customer] {
	for rank := range identifiers {
		i := slices.IndexFunc(found, func(v version[Customer]) bool { return foundBy(c, v.record) == rank })
		if i >= 0 {
			return &found[i]
		}
	}
	return nil
}

// merge returns the record with the fields of c that are not empty. Identifiers of
// another found record are left out.
func merge(record, c Customer, found []version[Customer]) Customer {
	fields := identifiers
	if foundBy(c, record) == byPhone {
		fields = nil
	}
	for _, id := range fields {
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
