package directory

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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

// checkPerson refuses wrong values of the fields that agents and customers have.
func checkPerson(email, uniqueID, firstName, lastName, phone1 string) error {
	return cmp.Or(
		checkText("email", email, maxIdentifier),
		checkText("uniqueId", uniqueID, maxIdentifier),
		checkText("firstName", firstName, maxName),
		checkText("lastName", lastName, maxName),
		checkPhone("phone1", phone1))
}

// EqualEmails reports whether two addresses are equal apart from case.
//
// Letters that differ only by simple case folding are equal, but no ASCII letter equals
// a letter outside ASCII. Under plain Unicode folding the Kelvin sign (U+212A) would
// equal k, and the long s (U+017F) would equal s. Anybody who could confirm an address
// with such a letter would enter as the owner of the ordinary address.
func EqualEmails(a, b string) bool { return foldEmail(a) == foldEmail(b) }

// foldEmail maps all equal addresses to the same string.
func foldEmail(email string) string {
	if !utf8.ValidString(email) { // Map would make all invalid bytes the same character
		return email
	}
	return strings.Map(foldRune, email)
}

// foldRune returns the lower-case form of an ASCII character. For any other character
// it returns the least character outside ASCII that is equal under case folding.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		return unicode.ToLower(r)
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		if next >= utf8.RuneSelf {
			least = min(least, next)
		}
	}
	return least
}

// wholeMillis returns t in the form that is stored and returned.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
