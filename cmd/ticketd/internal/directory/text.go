package directory

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// Limits in bytes, those of the same fields in a ticket.
const (
	maxBrand      = 64
	maxChannel    = 64
	maxIdentifier = 255 // username, email, uniqueId
	maxName       = 100
	maxPhone      = 32
	maxRemark     = 512
)

// A FieldError is the error for a record with a field that the directory refuses:
// the Field has its name in the API, such as brand or uniqueId. Records and tickets
// have fields of the same names and share the type.
type FieldError = token.FieldError

// refuse is the FieldError for the field.
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

// checkName is checkText for a field that must not be empty.
func checkName(field, value string, limit int) error {
	if value == "" {
		return refuse(field, "is empty; give one")
	}
	return checkText(field, value, limit)
}

// EqualEmails reports whether two addresses are the same but for case.
//
// Letters that differ only by simple case folding are equal, save that no ASCII
// letter equals one outside ASCII: with plain Unicode folding the Kelvin sign
// (U+212A) would equal k and the long s (U+017F) s, and whoever could have such
// an address confirmed would enter as the owner of the ordinary one.
func EqualEmails(a, b string) bool { return foldEmail(a) == foldEmail(b) }

// foldEmail maps all addresses that are equal to the same string.
func foldEmail(email string) string {
	if !utf8.ValidString(email) { // Map would make all invalid bytes the same character
		return email
	}
	return strings.Map(foldRune, email)
}

// foldRune is the lower-case form of an ASCII character, and for any other the
// least of those outside ASCII that case folding holds equal to it.
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

// wholeMillis is t as it is stored and returned.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
