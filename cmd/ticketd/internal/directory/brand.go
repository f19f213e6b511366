package directory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/admitone/admitone/token"
)

// agentFields are the fields that a brand may make mandatory for its agents.
var agentFields = []string{"email", "phone1", "uniqueId", "firstName", "lastName"}

// A Brand is a business account and its settings for tickets.
type Brand struct {
	Name   string // at most 64 bytes
	Region string // ISO 3166 code of the region of phone numbers without a country code; "": none

	// RequiredAgentFields are the fields that a request for an agent's ticket
	// must give beside the username: email, phone1, uniqueId, firstName,
	// lastName. That a request gives them is for the caller to see to.
	RequiredAgentFields []string

	TicketLogin    bool // whether tickets of this brand may be issued and redeemed at all
	OneTimeDefault bool // whether a ticket is one-time when the request does not say

	// Lifetimes are whole milliseconds; 0 stands for token.AgentLifetime and
	// so on. The first two may not exceed the third.
	AgentLifetime    time.Duration
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration // the longest that a request may ask for
}

// PutBrand creates the brand or replaces its settings.
func (db *DB) PutBrand(ctx context.Context, b Brand) error {
	if err := b.check(); err != nil {
		return err
	}
	required, err := toList(b.RequiredAgentFields)
	if err != nil {
		return fmt.Errorf("directory: put brand: %w", err)
	}
	_, err = db.write.ExecContext(ctx, `
		INSERT INTO brand (name, region, required_agent_fields, ticket_login, one_time_default,
			agent_lifetime, customer_lifetime, max_lifetime)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (name) DO UPDATE SET
			region = excluded.region,
			required_agent_fields = excluded.required_agent_fields,
			ticket_login = excluded.ticket_login,
			one_time_default = excluded.one_time_default,
			agent_lifetime = excluded.agent_lifetime,
			customer_lifetime = excluded.customer_lifetime,
			max_lifetime = excluded.max_lifetime`,
		b.Name, b.Region, required, b.TicketLogin, b.OneTimeDefault,
		b.AgentLifetime.Milliseconds(), b.CustomerLifetime.Milliseconds(), b.MaxLifetime.Milliseconds())
	if err != nil {
		return fmt.Errorf("directory: put brand: %w", err)
	}
	return nil
}

func (b Brand) check() error {
	if err := checkName("brand", b.Name, maxBrand); err != nil {
		return err
	}
	if b.Region != "" && phonenumbers.GetCountryCodeForRegion(b.Region) == 0 {
		return refuse("region", "is not known: give an ISO 3166 code of two capital letters, such as GB")
	}
	for i, field := range b.RequiredAgentFields {
		if !slices.Contains(agentFields, field) || slices.Contains(b.RequiredAgentFields[:i], field) {
			return refuse("requiredAgentFields", "may name each of %q once and nothing else", agentFields)
		}
	}
	longest := cmp.Or(b.MaxLifetime, token.MaxLifetime)
	return cmp.Or(
		checkLifetime("maxLifetime", b.MaxLifetime, longest, longest),
		checkLifetime("agentLifetime", b.AgentLifetime, token.AgentLifetime, longest),
		checkLifetime("customerLifetime", b.CustomerLifetime, token.CustomerLifetime, longest))
}

// checkLifetime refuses a lifetime that a ticket cannot have, or that exceeds
// the longest; 0 stands for the default.
func checkLifetime(field string, d, byDefault, longest time.Duration) error {
	if d < 0 || d%time.Millisecond != 0 || d > math.MaxUint32*time.Millisecond {
		return refuse(field, "is not a whole number of milliseconds from 0 to %d", uint32(math.MaxUint32))
	}
	if d = cmp.Or(d, byDefault); d > longest {
		return refuse(field, "is %v and the longest allowed is %v: lower the one or raise the other", d, longest)
	}
	return nil
}

const brandColumns = `name, region, required_agent_fields, ticket_login, one_time_default,
	agent_lifetime, customer_lifetime, max_lifetime`

// Brand looks a brand up by its name. The error wraps ErrNotFound when there is
// none.
func (db *DB) Brand(ctx context.Context, name string) (Brand, error) {
	b, err := scanBrand(db.read.QueryRowContext(ctx, `SELECT `+brandColumns+` FROM brand WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Brand{}, missing("brand", name)
	}
	if err != nil {
		return Brand{}, fmt.Errorf("directory: look up brand: %w", err)
	}
	return b, nil
}

// Brands returns all brands in the order of their names. It is for what
// concerns the whole deployment, such as comparing every brand's longest
// lifetime with the verifier's.
func (db *DB) Brands(ctx context.Context) ([]Brand, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT `+brandColumns+` FROM brand ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("directory: list brands: %w", err)
	}
	defer rows.Close()
	var all []Brand
	for rows.Next() {
		b, err := scanBrand(rows)
		if err != nil {
			return nil, fmt.Errorf("directory: list brands: %w", err)
		}
		all = append(all, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("directory: list brands: %w", err)
	}
	return all, nil
}

func scanBrand(r row) (Brand, error) {
	var b Brand
	var required string
	var agent, customer, longest int64
	err := r.Scan(&b.Name, &b.Region, &required, &b.TicketLogin, &b.OneTimeDefault, &agent, &customer, &longest)
	if err != nil {
		return Brand{}, err
	}
	if b.RequiredAgentFields, err = fromList[string](required); err != nil {
		return Brand{}, fmt.Errorf("required agent fields: %w", err)
	}
	b.AgentLifetime = time.Duration(agent) * time.Millisecond
	b.CustomerLifetime = time.Duration(customer) * time.Millisecond
	b.MaxLifetime = time.Duration(longest) * time.Millisecond
	return b, nil
}

// toList is the column value of a list.
func toList[S ~string](list []S) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	encoded, err := json.Marshal(list)
	return string(encoded), err
}

// fromList is the inverse of toList; an empty list is nil.
func fromList[S ~string](column string) ([]S, error) {
	if column == "[]" {
		return nil, nil
	}
	var list []S
	if err := json.Unmarshal([]byte(column), &list); err != nil {
		return nil, err
	}
	// A list that means "all" when it is empty must not become so by damage.
	if len(list) == 0 {
		return nil, errors.New("not a list")
	}
	return list, nil
}
