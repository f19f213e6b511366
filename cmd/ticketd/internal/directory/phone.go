package directory

import (
	"strings"

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
	phoneRegion   = "has no country code and the brand no default region; " + writePhone
	phoneForeign  = "is not possible in any country; " + writePhone
	phoneNational = "is not possible in the brand's default region; " +
		"write it with its area code, or with + and the country code, such as +442012345678"
)

// E164 returns the E.164 form, with the leading +, of a phone number as people and
// programs write it. The form is at most 32 bytes long.
//
// A number of digits alone, or with a leading +, is international and begins with its
// country code; after a leading + there may be separators. A number with separators and
// no + belongs to the region, an ISO 3166 code such as "GB". Without a region ("") such
// a number is refused.
//
// The number must be possible by its length, and need not be assigned: number plans
// change faster than this program. A number that can be dialed only within its own area
// is not possible here.
//
// The error is a *FieldError for phone1 with the remedy. It never repeats the number.
func E164(number, region string) (string, error) {
	number = strings.Trim(number, " ")
	digits, plus := strings.CutPrefix(number, "+")
	bare := strings.Map(func(r rune) rune {
		if strings.ContainsRune(phoneSeparators, r) {
			return -1
		}
		return r
	}, digits)
	switch {
	case number == "":
		return "", refuse("phone1", phoneEmpty)
	case len(number) > maxPhoneInput:
		return "", refuse("phone1", phoneForeign)
	case !isDigits(bare):
		return "", refuse("phone1", phoneCharacter)
	case plus || bare == digits:
		return possible("+"+bare, "", phoneForeign)
	case region == "":
		return "", refuse("phone1", phoneRegion)
	}
	return possible(bare, region, phoneNational)
}

// possible returns the E.164 form of the number, or refuses an impossible number for
// the reason.
func possible(number, region, reason string) (string, error) {
	parsed, err := phonenumbers.Parse(number, region)
	// IsPossibleNumber would also admit numbers without their area code, which belong to a
	// different person in every area.
	if err != nil || phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE {
		return "", &FieldError{Field: "phone1", Reason: reason}
	}
	formatted := phonenumbers.Format(parsed, phonenumbers.E164)
	if len(formatted) > maxPhone {
		return "", &FieldError{Field: "phone1", Reason: reason}
	}
	return formatted, nil
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
