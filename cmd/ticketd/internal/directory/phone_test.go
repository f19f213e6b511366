package directory

import (
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
		assert.Equal(t, got, digits, "digits alone are international")
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
		{"02012345678", "GB", phoneForeign}, // digits alone are international
		{"00442012345678", "GB", phoneForeign},
		{"+999 123 4567", "", phoneForeign},
		{"+44", "", phoneForeign},
		{"+44123", "", phoneForeign},
		{"123", "", phoneForeign},
		{"0", "", phoneForeign},
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

// An example number of each region, in each way to write it, is one number.
func TestE164OfEveryRegion(t *testing.T) {
	regions := phonenumbers.GetSupportedRegions()
	require.Greater(t, len(regions), 200)
	n := 0
	for region := range regions {
		example := phonenumbers.GetExampleNumber(region)
		if example == nil {
			continue
		}
		want := phonenumbers.Format(example, phonenumbers.E164)
		for _, written := range []string{want, want[1:], phonenumbers.Format(example, phonenumbers.INTERNATIONAL)} {
			got, err := E164(written, "")
			require.NoError(t, err, "%s %s", region, written)
			assert.Equal(t, want, got, "%s %s", region, written)
		}
		national := phonenumbers.Format(example, phonenumbers.NATIONAL)
		if strings.ContainsAny(national, phoneSeparators) && !strings.ContainsFunc(national, notPhone) {
			got, err := E164(national, region)
			require.NoError(t, err, "%s %s", region, national)
			assert.Equal(t, want, got, "%s %s", region, national)
			n++
		}
	}
	assert.Greater(t, n, 150)
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
