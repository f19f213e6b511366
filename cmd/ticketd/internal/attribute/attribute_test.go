package attribute

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// everything has a field of each type.
type everything struct {
	ID        string
	Text      string
	Switch    bool
	Maybe     *bool
	Duration  time.Duration
	Time      time.Time
	Rate      float64
	Burst     int
	Texts     []string
	Scopes    []directory.Scope
	Role      directory.Role
	Addresses directory.Addresses
}

var fields = []Field[everything]{
	{"id", "", true, func(e *everything) any { return &e.ID }},
	{"the-text", "text", true, func(e *everything) any { return &e.Text }},
	{"switch", "true or false", true, func(e *everything) any { return &e.Switch }},
	{"maybe", "true, false or default", true, func(e *everything) any { return &e.Maybe }},
	{"max-lifetime", "duration", true, func(e *everything) any { return &e.Duration }},
	{"expires", "time", true, func(e *everything) any { return &e.Time }},
	{"rate", "number", true, func(e *everything) any { return &e.Rate }},
	{"burst", "whole number", true, func(e *everything) any { return &e.Burst }},
	{"groups", "list", true, func(e *everything) any { return &e.Texts }},
	{"scopes", "list", true, func(e *everything) any { return &e.Scopes }},
	{"role", "role", true, func(e *everything) any { return &e.Role }},
	{"api-addresses", "addresses", true, func(e *everything) any { return &e.Addresses }},
}

func TestMember(t *testing.T) {
	var names []string
	for _, f := range fields {
		names = append(names, f.Member())
	}
	assert.Equal(t, "id theText switch maybe maxLifetimeSeconds expires rate burst groups scopes role apiAddresses",
		strings.Join(names, " "))
}

// A patch is what a record has as JSON, and other values are refused with the member's name.
func TestPatch(t *testing.T) {
	at := time.Date(2030, 1, 31, 11, 0, 0, 0, time.UTC)
	yes := true
	full := everything{
		"7", "a", true, &yes, 90 * time.Second, at, 0.5, 3, []string{"x", "y"}, []directory.Scope{"issue"}, "admin", nil,
	}
	var err error
	full.Addresses, err = directory.ParseAddresses("192.0.2.7,198.51.100.0/24")
	require.NoError(t, err)
	text, err := json.Marshal(Members(fields, &full))
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"7","theText":"a","switch":true,"maybe":true,"maxLifetimeSeconds":90,
		"expires":"2030-01-31T11:00:00Z","rate":0.5,"burst":3,"groups":["x","y"],"scopes":["issue"],"role":"admin",
		"apiAddresses":["192.0.2.7","198.51.100.0/24"]}`, string(text))
	set, err := ParsePatch(fields, text)
	require.NoError(t, err)
	got := everything{ID: "7"}
	require.NoError(t, set(&got))
	assert.Equal(t, full, got)

	// Null takes away; what has no member stays.
	set, err = ParsePatch(fields, []byte(`{"theText":null,"maybe":null,"maxLifetimeSeconds":null,"expires":null,
		"rate":null,"burst":null,"groups":null,"scopes":null,"role":null,"apiAddresses":[]}`))
	require.NoError(t, err)
	require.NoError(t, set(&got))
	assert.Equal(t, everything{ID: "7", Switch: true}, got)

	for name, c := range map[string]struct {
		patch string
		field string // "": of the text as a whole
	}{
		"empty":               {" ", ""},
		"no object":           {"[]", ""},
		"half":                {`{"theText":"x"`, ""},
		"two":                 {`{} {}`, ""},
		"a name twice":        {`{"burst":1,"burst":2}`, ""},
		"not UTF-8":           {"{\"theText\":\"\xff\"}", ""},
		"half a character":    {`{"theText":"\ud800"}`, ""},
		"unknown":             {`{"thetext":"x"}`, "thetext"},
		"a number as text":    {`{"theText":1}`, "theText"},
		"null for a switch":   {`{"switch":null}`, "switch"},
		"text for a switch":   {`{"switch":"true"}`, "switch"},
		"text for a maybe":    {`{"maybe":"default"}`, "maybe"},
		"no time at all":      {`{"maxLifetimeSeconds":0}`, "maxLifetimeSeconds"},
		"less than no time":   {`{"maxLifetimeSeconds":-1}`, "maxLifetimeSeconds"},
		"hardly any time":     {`{"maxLifetimeSeconds":1e-9}`, "maxLifetimeSeconds"},
		"too long":            {`{"maxLifetimeSeconds":1e300}`, "maxLifetimeSeconds"},
		"a duration as text":  {`{"maxLifetimeSeconds":"90s"}`, "maxLifetimeSeconds"},
		"a day":               {`{"expires":"2030-01-31"}`, "expires"},
		"the time of never":   {`{"expires":"0001-01-01T00:00:00Z"}`, "expires"},
		"beyond all years":    {`{"expires":"9999-12-31T23:59:59-12:00"}`, "expires"},
		"before all years":    {`{"expires":"0000-01-01T00:00:00+12:00"}`, "expires"},
		"infinite":            {`{"rate":1e999}`, "rate"},
		"half a burst":        {`{"burst":1.5}`, "burst"},
		"a list that is none": {`{"groups":"x"}`, "groups"},
		"null in a list":      {`{"groups":["x",null]}`, "groups"},
		"null among scopes":   {`{"scopes":[null]}`, "scopes"},
		"no address":          {`{"apiAddresses":["host"]}`, "apiAddresses"},
		"two in one":          {`{"apiAddresses":["192.0.2.7,192.0.2.8"]}`, "apiAddresses"},
		// An empty list would allow every address.
		"an empty address": {`{"apiAddresses":[""]}`, "apiAddresses"},
		"a blank address":  {`{"apiAddresses":[" "]}`, "apiAddresses"},
	} {
		_, err := ParsePatch(fields, []byte(c.patch))
		require.Error(t, err, name)
		var wrong PatchError
		if c.field == "" {
			assert.NotErrorAs(t, err, &wrong, name)
			continue
		}
		if assert.ErrorAs(t, err, &wrong, name) {
			assert.Len(t, wrong, 1, name)
			assert.Equal(t, c.field, wrong[0].Field, name)
		}
	}
	_, err = ParsePatch(fields, []byte(`{"x":1`+manyUnknown(100)+`}`))
	var wrong PatchError
	require.ErrorAs(t, err, &wrong)
	assert.Len(t, wrong, maxMistakes)

	// What nobody sets may be there as it is, and is set where it is asked for.
	set, err = ParsePatch(fields, []byte(`{"id":"8"}`))
	require.NoError(t, err)
	require.ErrorAs(t, set(&everything{ID: "7"}), &wrong)
	assert.Equal(t, "id", wrong[0].Field)
	require.NoError(t, set(&everything{ID: "8"}))
	set, err = ParsePatch(fields, []byte(`{"id":"8"}`), "id")
	require.NoError(t, err)
	require.NoError(t, set(&got))
	assert.Equal(t, "8", got.ID)
}

// manyUnknown returns members that no record has.
func manyUnknown(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"y` + strings.Repeat("z", i) + `":1`)
	}
	return b.String()
}

// The text that a field shows is the text that sets it.
func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		texts map[string]string // what each text becomes; "!": is refused
	}{
		"text":     {"the-text", map[string]string{"": "", "a b": "a b"}},
		"switch":   {"switch", map[string]string{"true": "true", "false": "false", "": "!", "TRUE": "!", "1": "!"}},
		"maybe":    {"maybe", map[string]string{"true": "true", "false": "false", "default": "", "": "!"}},
		"duration": {"max-lifetime", map[string]string{"90s": "1m30s", "default": "", "0s": "!", "-1s": "!", "90": "!"}},
		"time": {"expires", map[string]string{
			"never": "", "2030-01-31": "2030-01-31T00:00:00Z", "2030-01-31T12:00:00+01:00": "2030-01-31T11:00:00Z",
			"tomorrow": "!", "0d": "!", "-5h": "!", "0001-01-01": "!", "9999-12-31T23:59:59-12:00": "!", "": "!",
		}},
		"rate":      {"rate", map[string]string{"0.5": "0.5", "1e6": "1000000", "0": "", "NaN": "!", "Inf": "!", "x": "!"}},
		"burst":     {"burst", map[string]string{"3": "3", "0": "", "1.5": "!", "99999999999999999999": "!"}},
		"list":      {"groups", map[string]string{"": "", " a , ,b,": "a,b"}},
		"scopes":    {"scopes", map[string]string{"": "", "issue, redeem": "issue,redeem"}},
		"role":      {"role", map[string]string{"admin": "admin"}},
		"addresses": {"api-addresses", map[string]string{"": "", "192.0.2.7, 2001:db8::/32": "192.0.2.7, 2001:db8::/32", "x": "!"}},
	} {
		f := field(t, c.field)
		for text, want := range c.texts {
			var record everything
			err := Parse(f.At(&record), text)
			if want == "!" {
				assert.Error(t, err, "%s %q", name, text)
				continue
			}
			if assert.NoError(t, err, "%s %q", name, text) {
				assert.Equal(t, want, Shown(f.At(&record)), "%s %q", name, text)
			}
		}
	}
	var record everything
	require.NoError(t, Parse(&record.Time, "90d"))
	assert.WithinDuration(t, time.Now().AddDate(0, 0, 90), record.Time, time.Hour)
	var id int64 = 7
	assert.Equal(t, "7", Shown(&id))
	assert.Panics(t, func() { _ = Parse(&id, "7") }, "nobody sets it")
	assert.Panics(t, func() { Shown(new(uint8)) })
}

func field(t testing.TB, name string) Field[everything] {
	t.Helper()
	for _, f := range fields {
		if f.Name == name {
			return f
		}
	}
	require.Fail(t, "no field "+name)
	return Field[everything]{}
}

// FuzzPatch: whatever the text, it is refused with words, or changes a record so that the
// record as JSON is a patch that changes nothing.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{"theText":"x","switch":false,"maybe":true,"maxLifetimeSeconds":1.5,"expires":"2030-01-31T00:00:00Z"}`,
		`{"rate":1e3,"burst":7,"groups":["a","b"],"scopes":[],"role":"admin","apiAddresses":["any","::ffff:192.0.2.7"]}`,
		`{"id":"","maybe":null,"x":[{}],"expires":"9999-12-31T23:59:59.999999999-12:00"}`, `{"apiAddresses":["",null," "]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParsePatch(fields, text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		var record everything
		if err := set(&record); err != nil { // another value of a field that nobody sets
			return
		}
		b, err := json.Marshal(Members(fields, &record))
		require.NoError(t, err)
		again, err := ParsePatch(fields, b)
		require.NoError(t, err, "%s", b)
		twice := record
		require.NoError(t, again(&twice), "%s", b)
		require.Equal(t, record, twice, "%s", b)
	})
}

// FuzzParse: whatever the text of a flag or a form, it is refused with words, or the field
// shows a text that sets the same value.
func FuzzParse(f *testing.F) {
	for i, seed := range []string{
		"", "x", "true", "default", "90s", "2030-01-31", "1e6", "7", "a,b", "issue", "admin", "192.0.2.7/24",
	} {
		f.Add(i, seed)
	}
	f.Add(5, "65535d")
	f.Add(6, "-0x1p-1074")
	f.Fuzz(func(t *testing.T, i int, text string) {
		field := fields[uint(i)%uint(len(fields))]
		var record, again everything
		if err := Parse(field.At(&record), text); err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		shown := Shown(field.At(&record))
		switch field.At(&record).(type) {
		case **bool, *time.Duration:
			if shown == "" {
				shown = "default"
			}
		case *time.Time:
			if shown == "" {
				shown = "never"
			}
		case *float64, *int:
			if shown == "" {
				shown = "0"
			}
		}
		require.NoError(t, Parse(field.At(&again), shown), "%q of %q", shown, text)
		require.Equal(t, Shown(field.At(&record)), Shown(field.At(&again)), "%q", text)
		_, err := json.Marshal(Members(fields, &record))
		require.NoError(t, err, "%q", text)
	})
}
