package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Fields are the details of an agent in a request, beside the username. An empty detail
// is not compared.
type Fields struct {
	Email     string
	Phone1    string // the record's digits with or without the +, or as E164 reads it in the Region
	UniqueID  string
	FirstName string
	LastName  string
	Region    string // of the brand
}

// A MismatchError tells why MatchAgent found no agent. It wraps ErrNotFound.
//
// The reason is for operators. A stranger who learns which field differs could find out
// an agent's data field by field.
type MismatchError struct {
	Brand    string
	Username string
	Reason   string // "no such agent", "inactive", or the fields that differ from the record
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("agent %q of brand %q: %s", e.Username, e.Brand, e.Reason)
}

// Unwrap returns ErrNotFound.
func (e *MismatchError) Unwrap() error { return ErrNotFound }

// MatchAgent looks up an active agent of the brand and compares every given detail with
// the record: email addresses without regard to case, all others exactly. Identifiers
// are compared in the form of NormalizeIdentifiers. A detail
// missing in the record does not match. Without any detail the username decides alone;
// whether the username is enough is decided by the caller.
//
// If E164 refuses the phone number, the error is its *FieldError. If there is no such agent,
// the agent is inactive, or a detail differs, the error is a *MismatchError, which wraps
// ErrNotFound.
func (db *DB) MatchAgent(ctx context.Context, brand, username string, given Fields) (Agent, error) {
	a, err := db.Agent(ctx, brand, username)
	// Reading a number takes longer than all else here, and most are the record's.
	switch phone := given.Phone1; {
	case phone == "":
	case a.Phone1 != "" && phone == a.Phone1[1:]: // without the +
		given.Phone1 = a.Phone1
	case phone != a.Phone1:
		var wrong error
		if given.Phone1, wrong = E164(phone, given.Region); wrong != nil {
			return Agent{}, wrong
		}
	}
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

// differ names the given details that differ from the record.
func (f Fields) differ(a Agent) []string {
	var names []string
	var email, uniqueID string // empty if the given one is refused, and then it is not the record's
	if given := f.Email; normalizeStrong(&given, new(string)) == nil {
		email = given
	}
	if given := f.UniqueID; normalizeStrong(new(string), &given) == nil {
		uniqueID = given
	}
	for _, field := range []struct {
		name, given string
		same        bool
	}{
		{"email", f.Email, email != "" && EqualEmails(email, a.Email)},
		{"phone1", f.Phone1, f.Phone1 == a.Phone1},
		{"uniqueId", f.UniqueID, uniqueID != "" && uniqueID == a.UniqueID},
		{"firstName", f.FirstName, f.FirstName == a.FirstName},
		{"lastName", f.LastName, f.LastName == a.LastName},
	} {
		if field.given != "" && !field.same {
			names = append(names, field.name)
		}
	}
	return names
}
