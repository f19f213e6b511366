package directory

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// maxPhoneInput bounds the text that E164 reads, in bytes. A number of full length with
// a separator after every digit is shorter.
const maxPhoneInput = 64

// phoneSeparators may stand between the digits of a number.
const phoneSeparators = " -.()/"

// Reasons why E164 refuses a number.
const (
	writePhone = "write it with + and the country code, such as +442012345678"

	phoneEmpty     = "is empty; " + writePhone
	phoneCharacter = "has a character other than digits, a leading + and the separators space - . ( ) /; " +
		writePhone
	phoneAmount   = "looks like an amount, as spreadsheets write amounts; " + writePhone
	phoneRegion   = "has no country code and the brand no default region; " + writePhone
	phoneForeign  = "is not possible in any country; " + writePhone
	phoneNational = "is not possible in the brand's default region; " +
		"write it with its area code, or with + and the country code, such as +442012345678"
	phoneAmbiguous = "could be two different numbers, one with a country code and one without; " + writePhone
)

// E164 returns the E.164 form, with the leading +, of a phone number as people and
// programs write it. The form is at most 32 bytes long. The region is an ISO 3166 code
// such as "GB", or "".
//
// After a leading +, or after the prefix for international calls from the region (00,
// 011), the number is international. It must be possible by its length, and need not be
// assigned: number plans change faster than this program. A number with separators or
// with a leading 0 belongs to the region, where it must be possible. Without a region
// such a number is refused.
//
// Digits alone are read by the first of these steps that applies:
//
//  1. The region's own country code stands in front, and the number is valid with it:
//     the number is international.
//  2. The number is valid in the region, and not valid as an international number: the
//     number belongs to the region.
//  3. Both readings are the same number.
//  4. Both readings are valid: the number is refused. Where people write a 0 in front of
//     numbers of the region, and the region's reading is no mobile, the number is
//     international.
//  5. The number is international if possible, and otherwise refused.
//
// A number that can be dialed only within its own area is not possible here. Nor is a
// number that a spreadsheet has changed, such as 4915123456789.0 or 4.4E+11.
//
// The error is a *FieldError for phone1 with the remedy. It never repeats the number.
func E164(number, region string) (string, error) {
	number = strings.Trim(number, " ")
	digits, plus := strings.CutPrefix(number, "+")
	bare := withoutSeparators(digits)
	switch {
	case number == "":
		return "", refuse("phone1", phoneEmpty)
	case len(number) > maxPhoneInput:
		return "", refuse("phone1", phoneForeign)
	case fromSpreadsheet(number):
		return "", refuse("phone1", phoneAmount)
	case !isDigits(bare):
		return "", refuse("phone1", phoneCharacter)
	case plus:
		_, e164 := possible("+"+bare, "") // whether the number is assigned does not matter
		return reading{e164: e164, possible: e164 != ""}.orRefuse(phoneForeign)
	}
	national := read(bare, region)
	var written reading // as an international number without the +
	if bare == digits && bare[0] != '0' {
		written = read("+"+bare, "")
	}
	dialed, prefixed := readDialed(bare, region)
	prefixed = prefixed && (bare[0] == '0' || dialed.possible)
	switch {
	case dialed.ambiguous, dialed.valid && rivals(dialed, national, written):
		return "", refuse("phone1", phoneAmbiguous)
	case prefixed && (dialed.valid || !national.valid && !written.valid):
		return dialed.orRefuse(phoneForeign)
	case bare == digits && bare[0] != '0':
		return readDigits(bare, region, national, written)
	case region == "":
		return "", refuse("phone1", phoneRegion)
	}
	return national.orRefuse(phoneNational)
}

// readDigits reads a number of digits alone by the five steps of E164, from its
// readings as a number of the region and as an international number.
func readDigits(bare, region string, national, written reading) (string, error) {
	own := strings.HasPrefix(bare, strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region)))
	switch {
	case own && written.valid: // step 1
		return written.e164, nil
	case national.valid && !written.valid: // step 2
		return national.e164, nil
	case !rivals(written, national), // step 3
		!national.mobile && phonenumbers.GetNddPrefixForRegion(region, true) == "0": // step 4
		return written.orRefuse(phoneForeign) // step 5 as well
	}
	return "", refuse("phone1", phoneAmbiguous)
}

// A reading is a text read as a phone number. The zero reading is no number.
type reading struct {
	e164      string
	possible  bool // by its length
	valid     bool // assigned, by the number plan
	mobile    bool // or perhaps a mobile
	ambiguous bool // several numbers, and not this one more than another
}

// orRefuse returns the E.164 form, and refuses an impossible number for the reason.
func (r reading) orRefuse(reason string) (string, error) {
	if !r.possible {
		return "", &FieldError{Field: "phone1", Reason: reason}
	}
	return r.e164, nil
}

// rivals reports whether one of the others is a valid number other than r.
func rivals(r reading, others ...reading) bool {
	return slices.ContainsFunc(others, func(o reading) bool { return o.valid && o.e164 != r.e164 })
}

// read reads a number as possible does.
func read(number, region string) reading {
	parsed, e164 := possible(number, region)
	if e164 == "" {
		return reading{}
	}
	kind := phonenumbers.GetNumberType(parsed)
	return reading{
		e164: e164, possible: true, valid: kind != phonenumbers.UNKNOWN,
		mobile: kind == phonenumbers.MOBILE || kind == phonenumbers.FIXED_LINE_OR_MOBILE,
	}
}

// possible returns the E.164 form of a number with a leading +, or of a number of the
// region, or "" if the number is not possible by its length. A number of the region does not
// begin with the prefix for international calls.
func possible(number, region string) (*phonenumbers.PhoneNumber, string) {
	parsed, err := phonenumbers.ParseAndKeepRawInput(number, region)
	if err != nil || parsed.GetCountryCodeSource() == phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD {
		return nil, ""
	}
	e164 := phonenumbers.Format(parsed, phonenumbers.E164)
	// IsPossibleNumber would also admit numbers without their area code, which belong to a
	// different person in every area.
	if phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE || len(e164) > maxPhone {
		return nil, ""
	}
	return parsed, e164
}

// readDialed reads a number as dialed in the region with the prefix for international
// calls. It reports whether the number begins with such a prefix.
//
// In some regions the prefix contains the digits of a carrier, so that a number can be
// cut in several places. In these regions people write 00 alone, too, as is usual
// elsewhere. Whatever then could be two numbers is ambiguous.
func readDialed(bare, region string) (_ reading, prefixed bool) {
	prefix := internationalPrefixes()[region]
	if prefix == nil {
		return reading{}, false
	}
	var found []reading
	for n := 1; n < len(bare); n++ {
		if bare[n] == '0' || !prefix.MatchString(bare[:n]) {
			continue
		}
		prefixed = true
		if r := read("+"+bare[n:], ""); r.possible && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	if usual, ok := strings.CutPrefix(bare, "00"); ok && !prefix.MatchString("00") {
		if r := read("+"+usual, ""); r.valid && !slices.Contains(found, r) {
			return reading{ambiguous: true}, prefixed
		}
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(r reading) bool { return !r.valid })
		if len(found) != 1 {
			return reading{ambiguous: true}, prefixed
		}
	}
	if len(found) == 1 {
		return found[0], prefixed
	}
	return reading{}, prefixed
}

// internationalPrefixes returns, by region, an expression for the prefix with which
// international calls begin.
var internationalPrefixes = sync.OnceValue(func() map[string]*regexp.Regexp {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		panic(err) // the metadata is part of the program
	}
	prefixes := make(map[string]*regexp.Regexp, len(all.GetMetadata()))
	for _, region := range all.GetMetadata() {
		if prefix := region.GetInternationalPrefix(); prefix != "" {
			prefixes[region.GetId()] = regexp.MustCompile("^(?:" + prefix + ")$")
		}
	}
	return prefixes
})

// exponent matches a number in scientific notation.
var exponent = regexp.MustCompile(`(?i)^[+-]?[0-9]+([.,][0-9]*)?e[+-]?[0-9]+$`)

// fromSpreadsheet reports whether a number has an exponent, or a single point with only
// zeros behind.
func fromSpreadsheet(number string) bool {
	_, behind, point := strings.Cut(number, ".")
	return point && strings.Trim(withoutSeparators(behind), "0") == "" && !strings.Contains(behind, ".") ||
		exponent.MatchString(number)
}

// withoutSeparators removes the separators between the digits of a number.
func withoutSeparators(number string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(phoneSeparators, r) {
			return -1
		}
		return r
	}, number)
}

// isDigits reports whether s is one or more ASCII digits.
func isDigits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// checkPhone refuses a number without the shape of E.164: a + and digits, the first of
// them not 0. The number comes from E164, perhaps in another process with other tables,
// and so its length is not looked at again.
func checkPhone(field, number string) error {
	if number == "" {
		return nil
	}
	digits, plus := strings.CutPrefix(number, "+")
	if !plus || !isDigits(digits) || digits[0] == '0' || len(number) > maxPhone {
		return refuse(field, "is not in E.164 form; write + and the country code, then digits only")
	}
	return nil
}
