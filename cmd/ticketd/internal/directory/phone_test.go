package directory

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestE164(t *testing.T) {
	for _, c := range []struct {
		number, region, want string
	}{
		{"442501234567", "", "+442501234567"}, // possible, not valid
		{"442501234567", "US", "+442501234567"},
		{"+442501234567", "", "+442501234567"},
		{"+442501234567", "US", "+442501234567"},
		{"+44 20 1234 5678", "", "+442012345678"},
		{"+44-20-1234-5678", "US", "+442012345678"},
		{"+44 (0)20 1234 5678", "", "+442012345678"},
		{"+4402012345678", "", "+442012345678"},
		{"+1 (212) 123-4567", "", "+12121234567"},
		{"+1.212.123.4567", "", "+12121234567"},
		{"+49 30/123456", "", "+4930123456"},
		{"  442501234567 ", "", "+442501234567"},
		{"12121234567", "", "+12121234567"},
		{"212-123-4567", "US", "+12121234567"},
		{"(212) 123-4567", "US", "+12121234567"},
		{"1-212-123-4567", "US", "+12121234567"},
		{"020 1234 5678", "GB", "+442012345678"},
		{"0044 20 1234 5678", "GB", "+442012345678"},
		{"+39 06 1234 5678", "", "+390612345678"}, // Italy keeps its 0
		{"06 1234 5678", "IT", "+390612345678"},
		{"+800 1234 5678", "", "+80012345678"}, // no country's
		{"+49301234567890123", "", "+49301234567890123"},

		// trap S4
		{"06.12.34.56.78", "FR", "+33612345678"},
		{"+33 6.12.34.56.78", "", "+33612345678"},
		{"0612.345678", "FR", "+33612345678"},
		{"06.12.34.56.00", "FR", "+33612345600"},

		// trap S5
		{"0501234567", "IL", "+972501234567"},
		{"02012345678", "GB", "+442012345678"},
		{"00442012345678", "GB", "+442012345678"},
		{"00442501234567", "GB", "+442501234567"}, // possible is enough
		{"011442012345678", "US", "+442012345678"},
		{"0011442012345678", "AU", "+442012345678"},
		{"010442012345678", "JP", "+442012345678"},
		{"810442012345678", "RU", "+442012345678"},
		{"8-10-44-20-1234-5678", "RU", "+442012345678"},
		{"0085291234567", "HK", "+85291234567"}, // 008 is a prefix there as well
		{"442012345678", "GB", "+442012345678"}, // step 1
		{"13125551234", "US", "+13125551234"},
		{"3125551234", "US", "+13125551234"}, // step 2: +31 25551234 is not valid
		{"89123456789", "RU", "+79123456789"},
		{"442012345678", "US", "+442012345678"}, // step 5
		{"442012345678", "XX", "+442012345678"},
	} {
		got, err := E164(c.number, c.region)
		require.NoError(t, err, c.number)
		assert.Equal(t, c.want, got, c.number)
		assert.NoError(t, checkPhone("phone1", got))
		again, err := E164(got, "")
		require.NoError(t, err)
		assert.Equal(t, got, again, "its own E.164 form")
		digits, err := E164(got[1:], "")
		require.NoError(t, err)
		assert.Equal(t, got, digits, "without a region, digits alone are international")
	}
}

func TestE164Refuses(t *testing.T) {
	for _, c := range []struct {
		number, region, want string
	}{
		{"", "GB", phoneEmpty},
		{"   ", "GB", phoneEmpty},
		{"212-123-4567", "", phoneRegion},
		{"(0)2012345678", "", phoneRegion},
		{"02012345678", "", phoneRegion}, // trap S5
		{"00442012345678", "", phoneRegion},
		{"0044", "GB", phoneForeign},
		{"0042", "GB", phoneForeign},
		{"00442012345678", "US", phoneAmbiguous}, // where 00 is no prefix
		{"0044 2012345678", "BR", phoneAmbiguous},
		{"00573123456789", "CO", phoneAmbiguous}, // 00 57 or 005 7
		{"+999 123 4567", "", phoneForeign},
		{"+44", "", phoneForeign},
		{"+44123", "", phoneForeign},
		{"123", "", phoneForeign},
		{"0", "", phoneRegion},
		{strings.Repeat("4", 33), "", phoneForeign},
		{"+44" + strings.Repeat("2", 1000), "", phoneForeign},
		{"+44" + strings.Repeat(" 2", 1000), "", phoneForeign},
		{"123-4567", "US", phoneNational}, // only within an area
		{"1-2", "US", phoneNational},
		{"212-123-4567", "XX", phoneNational},
		{"+", "", phoneCharacter},
		{"-", "GB", phoneCharacter},
		{"++442012345678", "", phoneCharacter},
		{"44+2012345678", "", phoneCharacter},
		{"(+44) 20 1234 5678", "", phoneCharacter},
		{"+44 20 1234 5678 ext 9", "", phoneCharacter},
		{"+44 20 1234 5678x9", "", phoneCharacter},
		{"+44 20 1234 5678;ext=9", "", phoneCharacter},
		{"tel:+442012345678", "", phoneCharacter},
		{"1-800-FLOWERS", "US", phoneCharacter},
		{"＋442012345678", "", phoneCharacter},
		{"+44２０12345678", "", phoneCharacter},
		{"+٤٤2012345678", "", phoneCharacter},
		{"+44\t2012345678", "", phoneCharacter},
		{"+442012345678\n", "", phoneCharacter},
		{"+44\x0020", "", phoneCharacter},
		{"+44\xff20", "", phoneCharacter},
	} {
		got, err := E164(c.number, c.region)
		assert.Equal(t, &FieldError{Field: "phone1", Reason: c.want}, err, "%q", c.number)
		assert.Empty(t, got)
		assert.ErrorContains(t, err, "write it with")
		if strings.ContainsAny(c.number, "0123456789") && len(c.number) > 3 {
			assert.NotContains(t, err.Error(), c.number)
		}
	}
}

// A spreadsheet's number is refused in every region.
//
// trap S4
func TestE164RefusesAmounts(t *testing.T) {
	for region := range phonenumbers.GetSupportedRegions() {
		for _, number := range []string{
			"4915123456789.0", "4915123456789.00", "4915123456789.", "+4915123456789.0", "0612345678.0", "612345678.000",
			"4.4E+11", "4.915123456789e12", "+4.4e11", "4E11", "4,4E+11", "49 1512 3456789.0", "4.0",
		} {
			got, err := E164(number, region)
			assert.Equal(t, &FieldError{Field: "phone1", Reason: phoneAmount}, err, "%s in %s", number, region)
			assert.Empty(t, got)
		}
	}
}

// examples are the example numbers of a region, mobile and fixed.
func examples(region string) (numbers []*phonenumbers.PhoneNumber) {
	for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.MOBILE, phonenumbers.FIXED_LINE} {
		if n := phonenumbers.GetExampleNumberForType(region, kind); n != nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// An example number of each region, in each way to write it there, is one number.
//
// trap S5
func TestE164OfEveryRegion(t *testing.T) {
	regions := phonenumbers.GetSupportedRegions()
	require.Greater(t, len(regions), 200)
	national, bare, refused := 0, 0, 0
	for region := range regions {
		for _, example := range examples(region) {
			want := phonenumbers.Format(example, phonenumbers.E164)
			check := func(written, region string) {
				t.Helper()
				got, err := E164(written, region)
				require.NoError(t, err, "%s in %q", written, region)
				assert.Equal(t, want, got, "%s in %q", written, region)
			}
			check(want, "")
			check(want, region)
			check(want[1:], "")
			check(want[1:], region)
			check(phonenumbers.Format(example, phonenumbers.INTERNATIONAL), region)
			check(phonenumbers.FormatOutOfCountryCallingNumber(example, "DE"), "DE")
			check(withoutSeparators(phonenumbers.FormatOutOfCountryCallingNumber(example, "FR")), "FR")

			text := phonenumbers.Format(example, phonenumbers.NATIONAL)
			if strings.ContainsFunc(text, notPhone) {
				continue
			}
			if region == "AR" && strings.HasPrefix(text, "09 15-") {
				text = "011 15-2345-6789" // as Argentines write it; the library does not write it so, but reads it
			}
			if strings.ContainsAny(text, phoneSeparators) || text[0] == '0' {
				check(text, region)
				national++
			}
			// As people dial it. The digits may be those of another country's number, but a 0
			// in front excludes that.
			if digits := withoutSeparators(text); digits[0] == '0' {
				check(digits, region)
			} else if got, err := E164(digits, region); err == nil {
				assert.Equal(t, want, got, "%s in %q", digits, region)
				bare++
			} else {
				assert.Equal(t, &FieldError{Field: "phone1", Reason: phoneAmbiguous}, err, "%s in %q", digits, region)
				refused++
			}
		}
	}
	t.Log(national, bare, refused)
	assert.Greater(t, national, 300)
	assert.Greater(t, bare, 150)
}

// A number of another region, with its country code and no +, is never taken for a
// number of this region.
//
// trap S5
func TestE164OfForeignNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	t.Parallel()
	regions := slices.Sorted(maps.Keys(phonenumbers.GetSupportedRegions()))
	taken, refused := 0, 0
	for i, here := range regions {
		prefix := internationalPrefixes()[here]
		for j, there := range regions {
			for _, example := range examples(there) {
				want := phonenumbers.Format(example, phonenumbers.E164)
				numbers := []string{want[1:]}
				if (i+j)%5 == 0 {
					numbers = append(numbers, "00"+want[1:])
				}
				if (i+j)%5 == 0 && prefix.MatchString("011") {
					numbers = append(numbers, "011"+want[1:])
				}
				for _, number := range numbers {
					got, err := E164(number, here)
					if err != nil {
						refused++
						continue
					}
					taken++
					assert.Equal(t, want, got, "%s of %s in %s", number, there, here)
				}
				if (i+j)%5 == 0 && prefix.String() == "^(?:00)$" {
					_, err := E164("00"+want[1:], here)
					assert.NoError(t, err, "00%s of %s in %s", want[1:], there, here)
				}
			}
		}
	}
	t.Log(taken, refused)
	assert.Greater(t, taken, 5*refused)
}

func notPhone(r rune) bool { return !strings.ContainsRune(phoneSeparators+"0123456789", r) }

func TestCheckPhone(t *testing.T) {
	for _, ok := range []string{"", "+442012345678", "+1", "+" + strings.Repeat("9", 31)} {
		assert.NoError(t, checkPhone("phone1", ok), ok)
	}
	for _, bad := range []string{"442012345678", "+", "+0442012345678", "+44 20", "+44x", "++44",
		"+" + strings.Repeat("9", 32), "+４４", "+44\n"} {
		var field *FieldError
		require.ErrorAs(t, checkPhone("phone1", bad), &field, bad)
		assert.Equal(t, "phone1", field.Field)
	}
}
