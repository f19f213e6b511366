package directory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Customer is a person named by a brand's customer tickets. Email, Phone1 and
// UniqueID are the strong identifiers: each is unique in the brand, and a record has at
// least one of the three.
type Customer struct {
	ID        int64 // chosen by the database, never given twice
	Brand     string
	Email     string // as given, in NFC; compared without regard to case
	Phone1    string // E.164 with the leading +, as E164 gives it
	UniqueID  string // in NFC; compared with regard to case
	FirstName string
	LastName  string
	Remark    string
	Created   time.Time
	Updated   time.Time
	RecordID  string // chosen by the directory; see newRecordID
	Revision  int64  // see DB.IfRevision; set by the directory
}

var customers = table[Customer]{
	kind: "customer", name: "customer", keys: 2,
	columns: []string{
		"brand", "id", "email", "email_fold", "phone1", "uniqueid", "first_name", "last_name",
		"first_fold", "last_fold", "remark", "created", "updated", "record",
	},
	fields: func(c *Customer) []any {
		return []any{
			&c.Brand, &c.ID, &c.Email, folded{&c.Email, foldEmail}, &c.Phone1, &c.UniqueID,
			&c.FirstName, &c.LastName, folded{&c.FirstName, foldName},
			folded{&c.LastName, foldName}, &c.Remark, instant{&c.Created}, instant{&c.Updated}, &c.RecordID,
		}
	},
	label:    func(c *Customer) string { return fmt.Sprint(c.ID) },
	revision: func(c *Customer) *int64 { return &c.Revision },
	prepare:  (*Customer).check,
}

// insertCustomer is the statement that inserts a customer. The database chooses the ID.
var insertCustomer = insertSQL("customer", slices.Delete(slices.Clone(customers.columns), 1, 2), 1, false) +
	" RETURNING id"

// check refuses a wrong record, and puts the identifiers into their normal form.
func (c *Customer) check() error {
	if c.Email == "" && c.Phone1 == "" && c.UniqueID == "" {
		return refuse("uniqueId", "is empty, and so are email and phone1; give at least one")
	}
	return cmp.Or(
		checkName("brand", c.Brand, maxBrand),
		checkPerson(&c.Email, &c.UniqueID, c.FirstName, c.LastName, c.Phone1),
		checkText("remark", c.Remark, maxRemark))
}

// insert inserts c and sets its ID and RecordID.
func (c *Customer) insert(ctx context.Context, tx *change) error {
	c.RecordID, c.Revision = newRecordID(), newRevision()
	args, err := values(append(slices.Delete(customers.fields(c), 1, 2), &c.Revision))
	if err != nil {
		return err
	}
	ids, err := list(ctx, tx, func(r row) (id int64, err error) { return id, r.Scan(&id) }, insertCustomer, args...)
	if err == nil {
		c.ID = ids[0]
	}
	return err
}

// AddCustomer adds a customer and returns the record. ID, RecordID, Created and
// Updated of c are ignored. If another customer of the brand has one of the identifiers, the error wraps
// ErrExists; if the brand does not exist, ErrNotFound.
func (db *DB) AddCustomer(ctx context.Context, c Customer) (Customer, error) {
	if err := c.check(); err != nil {
		return Customer{}, err
	}
	c.Created = wholeMillis(db.now())
	c.Updated = c.Created
	err := db.transact(ctx, "add customer", func(ctx context.Context, tx *change) error {
		err := c.insert(ctx, tx)
		switch {
		case isDuplicate(err):
			return fmt.Errorf("a customer with one of these identifiers: %w", ErrExists)
		case isForeignKey(err):
			return notFound("brand", c.Brand)
		case err != nil:
			return err
		}
		return customers.noteAdded(tx, db, &c)
	})
	if err != nil {
		return Customer{}, err
	}
	return c, nil
}

// UpdateCustomer changes the customer by edit, as UpdateBrand does. If another customer
// of the brand has one of the identifiers, the error wraps ErrExists.
func (db *DB) UpdateCustomer(
	ctx context.Context, brand string, id int64, edit func(*Customer) error,
) (Customer, error) {
	return customers.update(ctx, db, func(c *Customer) error {
		was := *c
		if err := edit(c); err != nil {
			return err
		}
		c.Created, c.Updated, c.RecordID, c.Revision = was.Created, was.Updated, was.RecordID, was.Revision
		if *c != was {
			c.Updated = wholeMillis(db.now())
		}
		return nil
	}, brand, id)
}

// Customer looks up a customer of the brand by ID. If the customer does not exist, the
// error wraps ErrNotFound.
func (db *DB) Customer(ctx context.Context, brand string, id int64) (Customer, error) {
	v, err := customers.get(ctx, db.read, brand, id)
	return v.record, err
}

// FindCustomers returns the customers of the brand with one of the identifiers of c, at
// most three, in the order of their IDs.
func (db *DB) FindCustomers(ctx context.Context, brand string, c Customer) ([]Customer, error) {
	c.Brand = brand
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, err := db.Brand(ctx, brand); err != nil {
		return nil, err
	}
	found, _, err := matches(ctx, db.read, c, Redemption{})
	if err != nil {
		return nil, failed("find customers", err)
	}
	records := make([]Customer, len(found))
	for i, v := range found {
		records[i] = v.record
	}
	return records, nil
}

// Customers lists up to limit customers of the brand in the order of their IDs, which
// is the order of creation. The list begins after the ID after.
func (db *DB) Customers(ctx context.Context, brand string, after int64, limit int) ([]Customer, error) {
	if _, err := db.Brand(ctx, brand); err != nil {
		return nil, err
	}
	return customers.page(ctx, db.read, []any{brand}, after, limit)
}

// RemoveCustomer removes a customer. The next ticket for the person makes a new record.
func (db *DB) RemoveCustomer(ctx context.Context, brand string, id int64) error {
	return customers.remove(ctx, db, nil, brand, id)
}

// matchQuery selects the records of brand $1 with uniqueId $2, email $3 or phone $4.
// With a 1 in the last column it selects the record changed by ticket $5 of issuer $6. The parts of
// the union use an index each; the inequalities make the partial indexes eligible and
// keep empty values from matching.
var matchQuery = func() string {
	from := func(changed string) string {
		return "SELECT " + strings.Join(customers.columns, ", ") + ", revision, " + changed +
			" FROM customer WHERE brand = $1 AND "
	}
	return strings.Join([]string{
		from("0") + `uniqueid = $2 AND uniqueid <> ''`,
		from("0") + `email_fold = $3 AND email_fold <> ''`,
		from("0") + `phone1 = $4 AND phone1 <> ''`,
		from("1") + `id = (SELECT customer FROM redemption WHERE brand = $1 AND ticket = $5 AND issuer = $6)`,
	}, " UNION ") + ` ORDER BY id`
}()

// matches returns the records of the brand with one of c's identifiers, at most three,
// and the record changed by the ticket, or nil. No record is changed by the ticket "".
func matches(
	ctx context.Context, q querier, c Customer, on Redemption,
) (found []version[Customer], changed *version[Customer], err error) {
	_, err = list(ctx, q, func(r row) (none struct{}, err error) {
		var v version[Customer]
		var isChanged int
		if err := r.Scan(append(customers.fields(&v.record), &v.revision, &isChanged)...); err != nil {
			return none, err
		}
		if isChanged == 1 {
			v.record.Revision = v.revision
			changed = &v
		} else {
			v.record.Revision = v.revision
			found = append(found, v)
		}
		return none, nil
	}, matchQuery, c.Brand, c.UniqueID, foldEmail(c.Email), c.Phone1, on.Ticket, on.Issuer)
	return found, changed, err
}
