package directory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// An Agent is a user of a brand's management system. Only the username is unique
// in the brand.
type Agent struct {
	Brand     string
	Username  string // compared byte for byte; at most 255 bytes
	Email     string
	Phone1    string // E.164 with the leading +, as E164 gives it
	UniqueID  string
	FirstName string
	LastName  string
	Active    bool // whether the agent may enter
}

// Fields are what a request says of an agent beside the username; empty ones say
// nothing.
type Fields struct {
	Email     string
	Phone1    string // E.164 with the leading +, as E164 gives it
	UniqueID  string
	FirstName string
	LastName  string
}

// A MismatchError says why MatchAgent found no agent. It wraps ErrNotFound.
//
// The reason is for operators. A stranger who were told which field differs
// could find an agent's data out one field at a time.
type MismatchError struct {
	Brand    string
	Username string
	Reason   string // "no such agent", "inactive", or the fields that differ from the record
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("directory: agent %q of brand %q: %s", e.Username, e.Brand, e.Reason)
}

// Unwrap returns ErrNotFound.
func (e *MismatchError) Unwrap() error { return ErrNotFound }

// PutAgent creates the agent or replaces the record. The error wraps ErrNotFound
// when there is no such brand.
func (db *DB) PutAgent(ctx context.Context, a Agent) error {
	if err := a.check(); err != nil {
		return err
	}
	_, err := db.write.ExecContext(ctx, `
		INSERT INTO agent (brand, username, email, phone1, uniqueid, first_name, last_name, active)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (brand, username) DO UPDATE SET
			email = excluded.email,
			phone1 = excluded.phone1,
			uniqueid = excluded.uniqueid,
			first_name = excluded.first_name,
			last_name = excluded.last_name,
			active = excluded.active`,
		a.Brand, a.Username, a.Email, a.Phone1, a.UniqueID, a.FirstName, a.LastName, a.Active)
	if isForeignKey(err) {
		return missing("brand", a.Brand)
	}
	if err != nil {
		return fmt.Errorf("directory: put agent: %w", err)
	}
	return nil
}

func (a Agent) check() error {
	err := cmp.Or(
		checkName("brand", a.Brand, maxBrand),
		checkName("username", a.Username, maxIdentifier),
		checkText("email", a.Email, maxIdentifier),
		checkText("uniqueId", a.UniqueID, maxIdentifier),
		checkText("firstName", a.FirstName, maxName),
		checkText("lastName", a.LastName, maxName),
		checkPhone("phone1", a.Phone1))
	if err != nil || a.Phone1 == "" {
		return err
	}
	// A number in another form, such as with a 0 after the country code, would
	// be stored and never match.
	if same, err := E164(a.Phone1, ""); err != nil || same != a.Phone1 {
		return refuse("phone1", "is not the E.164 form of a possible number: "+
			"write + and the country code, then the number without the 0 that is dialed within the country")
	}
	return nil
}

// Agent looks an agent of the brand up by username, active or not. The error
// wraps ErrNotFound when there is none.
func (db *DB) Agent(ctx context.Context, brand, username string) (Agent, error) {
	a := Agent{Brand: brand, Username: username}
	err := db.read.QueryRowContext(ctx, `
		SELECT email, phone1, uniqueid, first_name, last_name, active
		FROM agent WHERE brand = $1 AND username = $2`, brand, username).
		Scan(&a.Email, &a.Phone1, &a.UniqueID, &a.FirstName, &a.LastName, &a.Active)
	if errors.Is(err, sql.ErrNoRows) {
		return Agent{}, missing("agent", username)
	}
	if err != nil {
		return Agent{}, fmt.Errorf("directory: look up agent: %w", err)
	}
	return a, nil
}

// MatchAgent looks an active agent of the brand up and compares every given
// field with the record: email addresses without regard to case, all others
// exactly. A field that the record lacks does not match. With no field given the
// username decides alone; whether that is enough is for the caller to say.
//
// The error is a *MismatchError, which wraps ErrNotFound, when there is no such
// agent, when it is inactive, and when a field differs.
func (db *DB) MatchAgent(ctx context.Context, brand, username string, given Fields) (Agent, error) {
	a, err := db.Agent(ctx, brand, username)
	reason := ""
	switch differ := given.differ(a); {
	case errors.Is(err, ErrNotFound):
		reason = "no such agent"
	case err != nil:
		return Agent{}, err
	case !a.Active:
		reason = "inactive"
	case len(differ) > 0:
		reason = strings.Join(differ, ", ") + " not as in the record"
	default:
		return a, nil
	}
	return Agent{}, &MismatchError{Brand: brand, Username: username, Reason: reason}
}

// differ names the given fields that are not as in the agent's record.
func (f Fields) differ(a Agent) []string {
	var names []string
	for _, field := range []struct {
		name, given string
		same        bool
	}{
		{"email", f.Email, EqualEmails(f.Email, a.Email)},
		{"phone1", f.Phone1, f.Phone1 == a.Phone1},
		{"uniqueId", f.UniqueID, f.UniqueID == a.UniqueID},
		{"firstName", f.FirstName, f.FirstName == a.FirstName},
		{"lastName", f.LastName, f.LastName == a.LastName},
	} {
		if field.given != "" && !field.same {
			names = append(names, field.name)
		}
	}
	return names
}
