package directory

import (
	"cmp"
	"fmt"
	"time"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// Limits in bytes, the same as for these fields of a ticket.
const (
	maxBrand      = 64
	maxChannel    = 64
	maxIdentifier = 255 // username, email, uniqueId
	maxName       = 100
	maxPhone      = 32
	maxRemark     = 512
)

// A FieldError is the error for a refused field of a record. Field is the name in the
// API, such as brand or uniqueId. Records and tickets have fields of the same names and
// share the type.
type FieldError = token.FieldError

// refuse returns the FieldError for the field.
func refuse(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// checkText refuses text that a ticket could not carry.
func checkText(field, value string, limit int) error {
	if fault := textrule.Fault(value, limit); fault != "" {
		return refuse(field, "%s", fault)
	}
	return nil
}

// checkName refuses empty text, and text refused by checkText.
func checkName(field, value string, limit int) error {
	if value == "" {
		return refuse(field, "is empty; give one")
	}
	return checkText(field, value, limit)
}

// checkPerson refuses wrong values of the fields that agents and customers have, and
// puts the identifiers into their normal form.
func checkPerson(email, uniqueID *string, firstName, lastName, phone1 string) error {
	return cmp.Or(
		normalizeStrong(email, uniqueID),
		checkText("firstName", firstName, maxName),
		checkText("lastName", lastName, maxName),
		checkPhone("phone1", phone1))
}

// wholeMillis returns t in the form that is stored and returned.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
