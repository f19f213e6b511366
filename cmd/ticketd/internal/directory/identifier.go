package directory

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// NormalizeIdentifiers puts a person's identifiers into the form in which the directory
// keeps them: Unicode's NFC. An empty identifier stays empty. An identifier that looks
// like another one without being the same is refused with a *FieldError: with white
// space around it, with an invisible character, or with a form of a character that is
// not the ordinary one, such as a full-width letter.
//
// A username is one or more userparts of RFC 8265 with single spaces between them. An
// email address has the form local@domain. An email address or a unique ID that a
// program writes where it has none, such as undefined or null, is refused, too: else all
// whose tickets have it would be one person.
func NormalizeIdentifiers(username, email, uniqueID *string) error {
	if err := normalize("username", username); err != nil {
		return err
	}
	if *username != "" {
		if _, err := foldParts(*username); err != nil {
			return err
		}
	}
	return normalizeStrong(email, uniqueID)
}

// normalizeStrong is NormalizeIdentifiers without the username.
func normalizeStrong(email, uniqueID *string) error {
	for _, id := range []struct {
		field string
		value *string
	}{{"email", email}, {"uniqueId", uniqueID}} {
		if err := normalize(id.field, id.value); err != nil {
			return err
		}
		if isPlaceholder(*id.value) {
			return refuse(id.field, "is what programs write instead of a missing value; leave it out")
		}
	}
	if *email != "" && !isAddress(*email) {
		return refuse("email", "is not of the form local@domain, such as jane@example.com")
	}
	return nil
}

// normalize puts one identifier into NFC, and refuses an identifier that looks like
// another one.
func normalize(field string, value *string) error {
	s := *value
	if err := checkText(field, s, maxIdentifier); err != nil {
		return err
	}
	if isPrintableASCII(s) {
		if strings.Trim(s, " ") != s {
			return refuse(field, "has white space at its beginning or end; remove it")
		}
		return nil
	}
	if strings.TrimSpace(s) != s {
		return refuse(field, "has white space at its beginning or end; remove it")
	}
	for _, r := range s {
		switch {
		case r != ' ' && unicode.IsSpace(r):
			return refuse(field, "has white space other than a plain space; remove it")
		case isInvisible(r):
			return refuse(field, "has an invisible character; remove it")
		}
	}
	composed := norm.NFC.String(s)
	if norm.NFKC.String(s) != composed || strings.ContainsFunc(s, becomesASCII) {
		return refuse(field, "has a special form of an ordinary character, such as a full-width letter; "+
			"write the ordinary character")
	}
	*value = composed
	return checkText(field, composed, maxIdentifier)
}

// isPrintableASCII reports whether s has no characters but ASCII from space to ~.
func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isInvisible reports whether people cannot see the character: format characters, fillers
// and characters without a meaning.
func isInvisible(r rune) bool {
	const brailleBlank = '\u2800'
	return !unicode.IsGraphic(r) || r == brailleBlank ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// becomesASCII reports whether NFC makes a character outside ASCII an ASCII character,
// as with the Kelvin sign (U+212A). No such character is to equal an ASCII character.
func becomesASCII(r rune) bool {
	return r >= utf8.RuneSelf && isPrintableASCII(norm.NFC.String(string(r)))
}

// UsernameKey returns the form in which usernames are compared and sorted: without
// regard to case. No letter outside ASCII equals an ASCII letter.
func UsernameKey(username string) string {
	if isPrintableASCII(username) {
		return strings.ToLower(username)
	}
	if normalize("username", &username) != nil {
		return foldText(username) // no agent has such a username
	}
	key, err := foldParts(username)
	if err != nil {
		return foldText(username)
	}
	return key
}

// userpart is the profile UsernameCaseMapped of RFC 8265, but for the rule about letters
// that run from right to left: precis.UsernameCaseMapped applies that rule to other
// texts as well, and refuses zoë! and 1zoë.
var userpart = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))

// foldParts returns the key of a username in NFC, and refuses a username that is not of
// userparts with single spaces between them.
func foldParts(username string) (string, error) {
	parts := strings.Split(username, " ")
	for i, part := range parts {
		switch {
		case part == "":
			return "", refuse("username", "has two spaces in a row; write one")
		case isPrintableASCII(part):
			parts[i] = strings.ToLower(part)
			continue
		}
		mapped, err := userpart.String(part)
		if err != nil || bidirule.DirectionString(mapped) != bidi.LeftToRight && !bidirule.ValidString(mapped) {
			return "", refuse("username", "has a character that is not for usernames, or letters of two directions "+
				"in one word; use letters, digits, ASCII punctuation, and single spaces")
		}
		parts[i] = norm.NFC.String(foldText(mapped))
	}
	return strings.Join(parts, " "), nil
}

// placeholders are texts that programs write where a value is missing.
var placeholders = map[string]bool{
	"undefined": true, "null": true, "nil": true, "none": true, "nan": true, "n/a": true, "object object": true,
	"00000000-0000-0000-0000-000000000000": true,
}

// unexpanded matches a variable that a template did not replace, and the text that
// JavaScript writes for an object.
var unexpanded = regexp.MustCompile(`(?i)[$#]\{.*\}|\{\{.*\}\}|<%.*%>|\[object \w+\]`)

// isPlaceholder reports whether s stands for a missing value, in any case, also in
// brackets or quotation marks.
func isPlaceholder(s string) bool {
	if placeholders[strings.ToLower(strings.Trim(s, `#"'()<>[]`))] {
		return true
	}
	if strings.ContainsAny(s, "{<[") && unexpanded.MatchString(s) { // else the expression cannot match
		return true
	}
	local, _, ok := strings.Cut(s, "@")
	return ok && strings.EqualFold(local, "undefined")
}

// isAddress reports whether s has the form of an email address: a local part without
// quotation marks, and a domain name.
func isAddress(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	if local == "" || strings.ContainsAny(local, ` ()<>[]:;@\,"`) {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxIdentifier || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

// notInLabel reports whether no label of a domain name has the character.
func notInLabel(r rune) bool {
	return r != '-' && r != '_' && !unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// EqualEmails reports whether two addresses are equal apart from case and from the way
// to write an international domain name.
//
// Letters that differ only by simple case folding are equal, but no ASCII letter equals
// a letter outside ASCII. Under plain Unicode folding the Kelvin sign (U+212A) would
// equal k, and the long s (U+017F) would equal s. Anybody who could confirm an address
// with such a letter would enter as the owner of the ordinary address.
func EqualEmails(a, b string) bool { return foldEmail(a) == foldEmail(b) }

// foldEmail maps all equal addresses to the same string.
func foldEmail(email string) string {
	folded := foldText(email)
	local, domain, ok := strings.Cut(folded, "@")
	if !ok || isPrintableASCII(domain) && !strings.Contains(domain, "xn--") || strings.ContainsFunc(domain, becomesASCII) {
		return folded
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		return local + "@" + ascii
	}
	return folded
}

// foldText maps texts that differ in case to the same text.
func foldText(s string) string {
	if !utf8.ValidString(s) { // Map would make all invalid bytes the same character
		return s
	}
	return strings.Map(foldRune, s)
}

// foldRune returns the lower-case form of an ASCII character. For any other character
// it returns the same one of all characters outside ASCII that are equal under case
// folding: in lower case if the lower case is outside ASCII.
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
	if lower := unicode.ToLower(least); lower >= utf8.RuneSelf {
		return lower
	}
	return least
}
