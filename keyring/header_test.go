package keyring

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const goodHeader = `{"format":1,"kind":"ticket","realm":"prod","generation":2,"kek":"file",` +
	`"policy":{"lifetime":900,"propagation":120,"skew":10},` +
	`"audit":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",` +
	`"keys":[{"id":"2f6a01c4","algorithm":"AES256_GCM","state":"retiring","created":"2026-01-05T09:00:00Z","enabled":"2026-01-05T09:00:00Z",` +
	`"promoted":"2026-01-05T09:00:00Z","demoted":"2026-02-05T09:00:00.25Z"},` +
	`{"id":"9be40d77","algorithm":"AES256_GCM","state":"primary","created":"2026-02-05T09:00:00Z","enabled":"2026-02-05T09:00:00Z",` +
	`"promoted":"2026-02-05T09:00:00Z"}]}`

func TestHeader(t *testing.T) {
	h, err := parseHeader([]byte(goodHeader))
	require.NoError(t, err)
	assert.Equal(t, KeyID(0x9be40d77), h.primary().ID)
	assert.Equal(t, Policy{Lifetime: 15 * time.Minute, Propagation: 2 * time.Minute, Skew: 10 * time.Second}, h.Policy)
	assert.Equal(t, time.Date(2026, 2, 5, 9, 0, 0, 250e6, time.UTC), h.Keys[0].Demoted)
	line, err := h.encode()
	require.NoError(t, err)
	assert.Equal(t, goodHeader, string(line))
}

// TestDocumentedHeader reads the header that the package documentation shows.
func TestDocumentedHeader(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(doc), "//\t{\"format\"")
	require.True(t, ok)
	shown, _, ok := strings.Cut(rest, "\n//\n")
	require.True(t, ok)
	var line strings.Builder
	line.WriteString(`{"format"`)
	for part := range strings.SplitSeq(shown, "\n") {
		line.WriteString(strings.TrimLeft(strings.TrimPrefix(part, "//"), "\t "))
	}
	h, err := parseHeader([]byte(line.String()))
	require.NoError(t, err)
	assert.Equal(t, DefaultPolicy(Ticket), h.Policy)
	assert.Equal(t, []KeyID{0x71c20a9d}, h.Tombstones)
}

func TestHeaderRefused(t *testing.T) {
	second := strings.Index(goodHeader, `{"id":"9b`)
	for _, tc := range []struct{ name, old, new, text string }{
		{"unknown field", `"kek":`, `"colour":1,"kek":`, `unknown field "colour"`},
		{"unknown field of a key", `"state":"primary"`, `"state":"primary","holed":true`, `unknown field "holed"`},
		{"unknown field of the policy", `"skew":10`, `"skew":10,"rotate":5`, "canonical form"},
		{"repeated field", `"realm":"prod"`, `"realm":"prod","realm":"prod"`, "canonical form"},
		{"repeated field, other value", `"realm":"prod"`, `"realm":"test","realm":"prod"`, "canonical form"},
		{"repeated field of a key", `"state":"primary"`, `"state":"retiring","state":"primary"`, "canonical form"},
		{"field in another case", `"realm"`, `"Realm"`, "canonical form"},
		{"fields in another order", `"kind":"ticket","realm":"prod"`, `"realm":"prod","kind":"ticket"`, "canonical form"},
		{"missing field", `"realm":"prod",`, ``, "canonical form"},
		{"white space", `,"kek"`, `, "kek"`, "canonical form"},
		{"escapes", `"prod"`, `"\u0070rod"`, "canonical form"},
		{"null", `"realm":"prod"`, `"realm":null`, "canonical form"},
		{"time in another zone", `"created":"2026-02-05T09:00:00Z"`, `"created":"2026-02-05T10:00:00+01:00"`, "UTC"},
		{"time in no zone", `"created":"2026-02-05T09:00:00Z"`, `"created":"2026-02-05T09:00:00+00:00"`, "UTC"},
		{"microseconds", `"created":"2026-02-05T09:00:00Z"`, `"created":"2026-02-05T09:00:00.000001Z"`, "milliseconds"},
		{"trailing zeros", `09:00:00.25Z`, `09:00:00.250Z`, "canonical form"},
		{"upper-case ID", `"9be40d77"`, `"9BE40D77"`, "canonical form"},
		{"ID with 0x", `"9be40d77"`, `"0x9be40d77"`, "canonical form"},
		{"something behind", `}]}`, `}]}{}`, "invalid character"},
		{"a number too large", `"generation":2`, `"generation":99999999999999999999`, "99999999999999999999"},
		{"a later format", `"format":1`, `"format":2`, "format 2"},
		{"no format", `"format":1,`, ``, "format 0"},
		{"unknown kind", `"ticket"`, `"coupon"`, "coupon"},
		{"any kind", `"ticket"`, `"any"`, `"any"`},
		{"generation 0", `"generation":2`, `"generation":0`, "generation is 0"},
		{"long realm", `"prod"`, `"` + strings.Repeat("x", 65) + `"`, "longer than 64"},
		{"line break in the realm", `"prod"`, `"pr\nod"`, "contains a control character"},
		{"control character in the hint", `"file"`, `"fi\u001ble"`, "contains a control character"},
		{"unknown state", `"primary"`, `"resting"`, "resting"},
		{"two primaries", `"state":"retiring"`, `"state":"primary"`, "times do not fit"},
		{"no primary", `,"promoted":"2026-02-05T09:00:00Z"}]`, `,"promoted":"2026-02-05T09:00:00Z"}]`, ""},
		{"twice the ID", `"2f6a01c4"`, `"9be40d77"`, "twice"},
		{"a short ID", `"2f6a01c4"`, `"2f6a01c"`, "8 hexadecimal digits"},
		{"a signed ID", `"2f6a01c4"`, `"+f6a01c4"`, "8 hexadecimal digits"},
		{"a numeric ID", `"2f6a01c4"`, `795476420`, "cannot unmarshal number"},
		{"another kind's algorithm", `"AES256_GCM"`, `"AES256_SIV"`, "AES256_SIV"},
		{"retiring and never demoted", `,"demoted":"2026-02-05T09:00:00.25Z"`, ``, "times do not fit"},
		{"disabled at no time", `"retiring"`, `"disabled"`, "times do not fit"},
		{"never created", `"created":"2026-01-05T09:00:00Z"`, `"created":"0001-01-01T00:00:00Z"`, "times do not fit"},
		{"a reason without cause", `"demoted":"2026-02-05T09:00:00.25Z"`, `"demoted":"2026-02-05T09:00:00.25Z","reason":"x"`, "reason"},
		{"no audit head", `"audit":"9f`, `"audit":"`, "SHA-256"},
		{"audit head in upper case", `"audit":"9f`, `"audit":"9F`, "SHA-256"},
		{"held primary", `"promoted":"2026-02-05T09:00:00Z"}]`, `"promoted":"2026-02-05T09:00:00Z","held":true}]`, "held, and the primary"},
		{"revoked and retiring", `09:00:00.25Z"`, `09:00:00.25Z","revoked":true`, "not disabled"},
		{"needed, never promoted", `"state":"retiring"`, `"state":"pending"`, "times do not fit"},
		{"sealed, never promoted", `"enabled":"2026-01-05T09:00:00Z","promoted":"2026-01-05T09:00:00Z","demoted":"2026-02-05T09:00:00.25Z"`,
			`"enabled":"2026-01-05T09:00:00Z","sealed":"2026-02-05T09:00:00Z"`, "times do not fit"},
		{"known in microseconds", `"demoted":"2026-02-05T09:00:00.25Z"`,
			`"demoted":"2026-02-05T09:00:00.25Z","known":"2026-02-05T09:00:00.000001Z"`, "milliseconds"},
		{"sealed in another zone", `"demoted":"2026-02-05T09:00:00.25Z"`,
			`"demoted":"2026-02-05T09:00:00.25Z","sealed":"2026-02-05T09:00:00+01:00"`, "UTC"},
		{"known of the header in another zone", `,"audit"`, `,"known":"2026-02-05T09:00:00+01:00","audit"`, "known is not UTC"},
		{"a tombstone of a key", `}]}`, `}],"tombstones":["9be40d77"]}`, "was destroyed"},
		{"a tombstone twice", `}]}`, `}],"tombstones":["00000001","00000001"]}`, "was destroyed"},
		{"no tombstones", `}]}`, `}],"tombstones":[]}`, "canonical form"},
		{"ID 0", `"2f6a01c4"`, `"00000000"`, "ID is 0"},
		{"unknown algorithm in use", `"AES256_GCM"`, `"ML_AEAD"`, "ML_AEAD"},
		{"enabled before it was", `,"enabled":"2026-01-05T09:00:00Z"`, ``, "times do not fit"},
		{"no lifetime", `"lifetime":900,`, ``, "Lifetime is 0s"},
		{"negative skew", `"skew":10`, `"skew":-10`, "not from 0"},
		{"endless lifetime", `"lifetime":900`, `"lifetime":9223372036854775807`, "not from 0"},
		{"fraction", `"lifetime":900`, `"lifetime":900.5`, "900.5"},
		{"too long", `"prod"`, `"` + strings.Repeat("x", maxHeader) + `"`, "longer than 524288"},
	} {
		if tc.text == "" { // no primary: the second key left out
			_, err := parseHeader([]byte(goodHeader[:second-1] + "]}"))
			assert.ErrorContains(t, err, "0 keys are primary")
			continue
		}
		line := strings.Replace(goodHeader, tc.old, tc.new, 1)
		require.NotEqual(t, goodHeader, line, tc.name)
		h, err := parseHeader([]byte(line))
		assert.ErrorContains(t, err, tc.text, tc.name)
		assert.Nil(t, h, tc.name)
	}
	_, err := parseHeader([]byte("[]"))
	assert.Error(t, err)
	_, err = parseHeader(nil)
	assert.Error(t, err)
}

func TestTwoPrimaries(t *testing.T) {
	line := strings.Replace(goodHeader, `"retiring"`, `"primary"`, 1)
	line = strings.Replace(line, `,"demoted":"2026-02-05T09:00:00.25Z"`, ``, 1)
	_, err := parseHeader([]byte(line))
	assert.ErrorContains(t, err, "2 keys are primary")
}

func TestPolicy(t *testing.T) {
	for _, k := range []Kind{Ticket, Session, Channel} {
		p := DefaultPolicy(k)
		require.NoError(t, p.Check(k))
		b, err := json.Marshal(p)
		require.NoError(t, err)
		var again Policy
		require.NoError(t, json.Unmarshal(b, &again))
		assert.Equal(t, p, again)
	}
	good := Policy{Lifetime: time.Minute, Propagation: time.Second, Skew: 0}
	require.NoError(t, good.Check(Ticket))
	for name, p := range map[string]Policy{
		"no lifetime":            {},
		"fraction of a second":   {Lifetime: 1500 * time.Millisecond},
		"negative":               {Lifetime: time.Minute, Skew: -time.Second},
		"longer than it may be":  {Lifetime: maxPolicy + time.Second},
		"propagation for ages":   {Lifetime: time.Minute, Propagation: maxPolicy + time.Second},
		"fraction in the others": {Lifetime: time.Minute, Propagation: 1},
	} {
		assert.Error(t, p.Check(Ticket), name)
	}
	assert.EqualError(t, good.Check(Channel),
		"keyring.Policy.Lifetime is 1m0s; leave it out: what a channel keyring's keys seal never runs out")
	assert.ErrorContains(t, Policy{}.Check(Session), "Lifetime is 0s; give the longest lifetime")
	assert.NoError(t, Policy{}.Check(Channel))

	demoted := newClock().t
	p := Policy{Lifetime: 15 * time.Minute, Propagation: 2 * time.Minute, Skew: 10 * time.Second}
	assert.Equal(t, demoted.Add(17*time.Minute+30*time.Second), p.DisableFrom(Key{State: Retiring, Demoted: demoted}))
	assert.Zero(t, p.DisableFrom(Key{State: Primary}))
	assert.Zero(t, p.DisableFrom(Key{State: Disabled, Demoted: demoted}))
	assert.Zero(t, DefaultPolicy(Channel).DisableFrom(Key{State: Retiring, Demoted: demoted}))
}
