package directory

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// maxPhoneInput bounds what E164 looks at, in bytes: a number of full length
// with a separator after every digit is shorter.
const maxPhoneInput = 64

// phoneSeparators may stand between the digits of a number.
const phoneSeparators = " -.()/"

// Reasons why E164 refuses a number.
const (
	writePhone = "write it with + and the country code, such as +442012345678"

	phoneEmpty     = "is empty; " + writePhone
	phoneCharacter = "has a character that is none of digits, a leading + and the separators space - . ( ) /; " + writePhone
	phoneRegion    = "has no country code and the brand no default region; " + writePhone
	phoneForeign   = "is not possible in any country; " + writePhone
	phoneNational  = "is not possible in the brand's default region; " +
		"write it with its area code, or with + and the country code, such as +442012345678"
)

// E164 is the E.164 form, with the leading +, of a phone number as people and
// programs write it. It is at most 32 bytes long.
//
// A number of digits alone, or with a leading +, is international and begins
// with its country code; after a leading + there may be separators. One with
// separators and no + is a number of the region, an ISO 3166 code such as "GB",
// and without a region ("") it is refused.
//
// The number must be possible, which is a matter of its length, and need not be
// one that is assigned: number plans change faster than this program does.
// A number that can only be dialed within its own area is not possible here.
//
// The error is a *FieldError for phone1, which says how to write the number and
// never repeats it.
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

// possible returns the E.164 form of the number. A number that is not possible is
// refused for the reason.
func possible(number, region, reason string) (string, error) {
	parsed, err := phonenumbers.Parse(number, region)
	// IsPossibleNumber would also admit numbers without their area code, which
	// belong to a different person in every area.
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

// checkPhone refuses what has not at least the shape of E.164: a + and digits,
// the first of them not 0. It is for numbers that E164 has been over, perhaps
// in another process with other tables, and so does not look at them again.
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
