package directory

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// foldName returns the form in which names are searched: without regard to case.
func foldName(name string) string { return foldText(norm.NFC.String(name)) }

// SearchCustomers lists up to limit customers of the brand who match a text, in the order of
// their IDs: those whose unique ID, email address, first name or last name begins with the
// text, or who have this phone number, in E.164 form or as it is written in the region of the
// brand. Of a text of several words, the first may also be a whole first or last name, and the
// rest the beginning of the other. Case counts in unique IDs only.
//
// Each comparison uses an index and looks at limit records at most, so that a short text is
// answered as quickly as a long one. There is no next page; a longer text finds fewer.
func (db *DB) SearchCustomers(ctx context.Context, brand, text string, limit int) ([]Customer, error) {
	text = strings.TrimSpace(text)
	if err := checkName("q", text, maxIdentifier); err != nil {
		return nil, err
	}
	b, err := db.Brand(ctx, brand)
	if err != nil {
		return nil, err
	}
	s := customerSearch{args: []any{brand, limit}}
	s.begins("uniqueid", norm.NFC.String(text))
	s.begins("email_fold", foldEmail(text))
	if phone, err := E164(text, b.Region); err == nil {
		s.add("phone1 = "+s.arg(phone)+" AND phone1 <> ''", "id")
	}
	name := foldName(text)
	s.begins("first_fold", name)
	s.begins("last_fold", name)
	if first, rest, ok := strings.Cut(name, " "); ok {
		rest = strings.TrimSpace(rest)
		s.add("first_fold = "+s.arg(first)+" AND first_fold <> '' AND "+s.between("last_fold", rest), "last_fold")
		s.add("last_fold = "+s.arg(first)+" AND last_fold <> '' AND "+s.between("first_fold", rest), "first_fold")
	}
	found, err := list(ctx, db.read, customers.scan, s.query(), s.args...)
	if err != nil {
		return nil, failed("search customers", err)
	}
	all := make([]Customer, len(found))
	for i, v := range found {
		all[i] = v.record
	}
	return all, nil
}

// A customerSearch is a query that is being made. $1 is the brand and $2 the limit.
type customerSearch struct {
	args  []any
	parts []string
}

// arg adds an argument and returns its place.
func (s *customerSearch) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

// between returns the condition that a column begins with a text.
func (s *customerSearch) between(column, text string) string {
	const last = "\U0010ffff" // no text goes on with a later character
	return column + " >= " + s.arg(text) + " AND " + column + " < " + s.arg(text+last)
}

// begins adds the customers in whom a column begins with a text.
func (s *customerSearch) begins(column, text string) {
	s.add(s.between(column, text)+" AND "+column+" <> ''", column)
}

// add adds the customers of a condition, in the order that an index has.
func (s *customerSearch) add(condition, order string) {
	s.parts = append(s.parts, "SELECT * FROM ("+customers.selected()+" WHERE brand = $1 AND "+condition+
		" ORDER BY "+order+" LIMIT $2) AS found"+fmt.Sprint(len(s.parts)))
}

func (s *customerSearch) query() string {
	return strings.Join(s.parts, " UNION ") + " ORDER BY id LIMIT $2"
}
