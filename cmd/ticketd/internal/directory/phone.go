package directory

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// maxPhoneInput bounds what E164 looks at, in bytes: a number of full length
// with a separator after every digit is shorter.
const maxPhoneInput = 64

// phoneSeparators may stand between the digits of a number.
const phoneSeparators = " -.()/"

var (
	errPhoneEmpty = errors.New("the phone number is empty: " +
		"write it with + and the country code, such as +442012345678")
	errPhoneCharacter = errors.New("the phone number has a character that is none of digits, a leading + " +
		"and the separators space - . ( ) /: write it with + and the country code, such as +442012345678")
	errPhoneRegion = errors.New("the phone number has no country code and the brand no default region: " +
		"write it with + and the country code, such as +442012345678")
	errPhoneInternational = errors.New("the phone number is not possible in any country: " +
		"write it with + and the country code, such as +442012345678")
	errPhoneNational = errors.New("the phone number is not possible in the brand's default region: " +
		"write it with its area code, or with + and the country code, such as +442012345678")
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
// Errors say how to write the number and never repeat it.
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
		return "", errPhoneEmpty
	case len(number) > maxPhoneInput:
		return "", errPhoneInternational
	case !isDigits(bare):
		return "", errPhoneCharacter
	case plus || bare == digits:
		return possible("+"+bare, "", errPhoneInternational)
	case region == "":
		return "", errPhoneRegion
	}
	return possible(bare, region, errPhoneNational)
}

// possible is the E.164 form of the number, or the error when it is not a
// possible one.
func possible(number, region string, refusal error) (string, error) {
	parsed, err := phonenumbers.Parse(number, region)
	// IsPossibleNumber would also admit numbers without their area code, which
	// belong to a different person in every area.
	if err != nil || phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE {
		return "", refusal
	}
	formatted := phonenumbers.Format(parsed, phonenumbers.E164)
	if len(formatted) > maxPhone {
		return "", refusal
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
		return refuse(field, "is not in E.164 form: write + and the country code, then digits only")
	}
	return nil
}
