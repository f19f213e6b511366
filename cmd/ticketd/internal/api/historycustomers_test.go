//go:build unix

package api

import (
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// identifiersOf are a customer's identifiers in the order of their ranks, in the form in
// which they are compared.
func identifiersOf(c directory.Customer) [3]string {
	return [3]string{c.UniqueID, strings.ToLower(c.Email), c.Phone1}
}

const phoneRank = 2

// rank returns by which identifier a ticket is a record's, or -1.
func rank(ticket, record directory.Customer) int {
	t, r := identifiersOf(ticket), identifiersOf(record)
	for i := range t {
		switch {
		case t[i] == "" || r[i] == "":
		case t[i] == r[i]:
			return i
		default:
			return -1
		}
	}
	return -1
}

// owns reports whether another record has an identifier of c.
func (b *modelBrand) owns(c directory.Customer, rank int, but *modelCustomer) bool {
	given := identifiersOf(c)[rank]
	for _, r := range b.customers {
		if r != but && given != "" && identifiersOf(r.Customer)[rank] == given {
			return true
		}
	}
	return false
}

// recordOf returns the record of a customer's ticket, or nil.
func (b *modelBrand) recordOf(t *modelTicket) *modelCustomer {
	if t.changed != nil && !t.changed.gone {
		return t.changed
	}
	var best *modelCustomer
	for _, r := range b.customers {
		at := rank(t.customer, r.Customer)
		if at >= 0 && (best == nil || at < rank(t.customer, best.Customer)) {
			best = r
		}
	}
	return best
}

// filled returns a record with the ticket's details, without identifiers that another
// record owns, and without those that a phone number does not vouch for.
func (b *modelBrand) filled(record directory.Customer, t directory.Customer, is *modelCustomer) directory.Customer {
	byPhone := is != nil && rank(t, record) == phoneRank
	if !byPhone {
		for i, field := range []struct{ to, from *string }{
			{&record.UniqueID, &t.UniqueID}, {&record.Email, &t.Email}, {&record.Phone1, &t.Phone1},
		} {
			if *field.from != "" && !b.owns(t, i, is) {
				*field.to = *field.from
			}
		}
	}
	if t.FirstName != "" {
		record.FirstName = t.FirstName
	}
	if t.Remark != "" {
		record.Remark = t.Remark
	}
	return record
}

// made returns the record that a ticket would make.
func (b *modelBrand) made(t *modelTicket) directory.Customer {
	c := b.filled(directory.Customer{}, t.customer, nil)
	c.Brand = b.name
	return c
}

// admitCustomer finds or makes the record of an admitted ticket, and changes the record
// if the ticket says so, once.
func (m *historyModel) admitCustomer(b *modelBrand, t *modelTicket) *modelCustomer {
	c := b.recordOf(t)
	switch {
	case c == nil:
		c = m.addCustomer(b, b.made(t))
		t.changed = c
	case t.override && t.changed != c:
		m.changeCustomer(c, b.filled(c.Customer, t.customer, c))
		t.changed = c
	}
	return c
}

// addCustomer adds a record. Its ID is not known yet.
func (m *historyModel) addCustomer(b *modelBrand, c directory.Customer) *modelCustomer {
	added := &modelCustomer{Customer: c, record: m.begin(tellCustomer(c))}
	b.customers = append(b.customers, added)
	return added
}

func (m *historyModel) changeCustomer(c *modelCustomer, to directory.Customer) {
	c.Customer = to
	m.tell(c.record, tellCustomer(to))
}

// learn takes the ID that the directory chose.
func (c *modelCustomer) learn(id int64) {
	c.ID = id
	for i := range c.record.versions {
		c.record.versions[i].user = strconv.FormatInt(id, 10)
	}
}

func tellCustomer(c directory.Customer) person {
	user := ""
	if c.ID != 0 {
		user = strconv.FormatInt(c.ID, 10)
	}
	return person{user: user, name: c.FirstName, email: c.Email}
}
