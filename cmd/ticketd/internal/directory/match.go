package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

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
	return fmt.Sprintf("agent %q of brand %q: %s", e.Username, e.Brand, e.Reason)
}

// Unwrap returns ErrNotFound.
func (e *MismatchError) Unwrap() error { return ErrNotFound }

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
