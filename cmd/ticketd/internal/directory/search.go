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
	s := search[Customer]{table: &customers, order: "id"}
	return s.list(ctx, db, brand, text, limit)
}

// SearchAgents lists up to limit agents of the brand who match a text, in the order of their
// usernames, as SearchCustomers does. An agent is also found by the beginning of the username.
func (db *DB) SearchAgents(ctx context.Context, brand, text string, limit int) ([]Agent, error) {
	s := search[Agent]{table: &agents, order: "username_fold"}
	if username := UsernameKey(strings.TrimSpace(text)); isText(username) && username != "" {
		s.args = []any{brand, limit}
		s.begins("username_fold", username)
	}
	return s.list(ctx, db, brand, text, limit)
}

// A search is a query that is being made for people. $1 is the brand and $2 the limit.
type search[T any] struct {
	table *table[T]
	order string // column of the result
	args  []any
	parts []string
}

// list completes the query by the fields that all people have, and runs it.
func (s *search[T]) list(ctx context.Context, db *DB, brand, text string, limit int) ([]T, error) {
	text = strings.TrimSpace(text)
	if err := checkName("q", text, maxIdentifier); err != nil {
		return nil, err
	}
	b, err := db.Brand(ctx, brand)
	if err != nil {
		return nil, err
	}
	if s.args == nil {
		s.args = []any{brand, limit}
	}
	s.begins("uniqueid", norm.NFC.String(text))
	s.begins("email_fold", foldEmail(text))
	if phone, err := E164(text, b.Region); err == nil {
		s.add("phone1 = "+s.arg(phone)+" AND phone1 <> ''", "phone1")
	}
	name := foldName(text)
	s.begins("first_fold", name)
	s.begins("last_fold", name)
	if first, rest, ok := strings.Cut(name, " "); ok {
		rest = strings.TrimSpace(rest)
		s.add("first_fold = "+s.arg(first)+" AND first_fold <> '' AND "+s.between("last_fold", rest), "last_fold")
		s.add("last_fold = "+s.arg(first)+" AND last_fold <> '' AND "+s.between("first_fold", rest), "first_fold")
	}
	found, err := list(ctx, db.read, s.table.scan, s.query(), s.args...)
	if err != nil {
		return nil, failed("search "+s.table.kind+"s", err)
	}
	all := make([]T, len(found))
	for i, v := range found {
		all[i] = v.record
	}
	return all, nil
}

// arg adds an argument and returns its place.
func (s *search[T]) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

// between returns the condition that a column begins with a text.
func (s *search[T]) between(column, text string) string {
	const last = "\U0010ffff" // no text goes on with a later character
	return column + " >= " + s.arg(text) + " AND " + column + " < " + s.arg(text+last)
}

// begins adds the people in whom a column begins with a text.
func (s *search[T]) begins(column, text string) {
	s.add(s.between(column, text)+" AND "+column+" <> ''", column)
}

// add adds the people of a condition, in the order that an index has.
func (s *search[T]) add(condition, order string) {
	s.parts = append(s.parts, "SELECT * FROM ("+s.table.selected()+" WHERE brand = $1 AND "+condition+
		" ORDER BY "+order+" LIMIT $2) AS found"+fmt.Sprint(len(s.parts)))
}

func (s *search[T]) query() string {
	return strings.Join(s.parts, " UNION ") + " ORDER BY " + s.order + " LIMIT $2"
}
