package directory

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every text field of every record: its limit to the byte, and what it refuses.
func TestTextFields(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		const required, optional = true, false
		addAgent := func(a Agent) error { do(t, db, `DELETE FROM agent`); return db.AddAgent(ctx, a) }
		addChannel := func(c Channel) error { do(t, db, `DELETE FROM channel`); return db.AddChannel(ctx, c) }
		n := 0
		for _, c := range []struct {
			record, field string
			limit         int
			required      bool
			put           func(s string) error
		}{
			{"brand", "brand", 64, required, func(s string) error { return db.AddBrand(ctx, Brand{Name: s}) }},
			{"agent", "username", 255, required, func(s string) error { return addAgent(Agent{Brand: "acme", Username: s}) }},
			{"agent", "email", 255, optional, func(s string) error {
				return addAgent(Agent{Brand: "acme", Username: "u",
					Email: s})
			}},
			{"agent", "uniqueId", 255, optional, func(s string) error {
				return addAgent(Agent{Brand: "acme", Username: "u",
					UniqueID: s})
			}},
			{"agent", "firstName", 100, optional, func(s string) error {
				return addAgent(Agent{Brand: "acme", Username: "u",
					FirstName: s})
			}},
			{"agent", "lastName", 100, optional, func(s string) error {
				return addAgent(Agent{Brand: "acme", Username: "u",
					LastName: s})
			}},
			{"channel", "channel", 64, required, func(s string) error { return addChannel(Channel{Brand: "acme", ID: s}) }},
			{"channel", "name", 100, optional, func(s string) error {
				return addChannel(Channel{Brand: "acme", ID: "c",
					Name: s})
			}},
			{"channel", "displayName", 100, optional, func(s string) error {
				return addChannel(Channel{Brand: "acme", ID: "c", Settings: Settings{DisplayName: s}})
			}},
			{"agent", "groups", 64, required, func(s string) error {
				return addAgent(Agent{Brand: "acme", Username: "u", Groups: []string{"first", s}})
			}},
			{"customer", "email", 255, optional, func(s string) error {
				return resolve(t, db,
					Customer{Phone1: "+441", Email: s})
			}},
			{"customer", "uniqueId", 255, optional, func(s string) error {
				return resolve(t, db,
					Customer{Phone1: "+442", UniqueID: s})
			}},
			{"customer", "firstName", 100, optional, func(s string) error {
				return resolve(t, db,
					Customer{Phone1: "+443", FirstName: s})
			}},
			{"customer", "lastName", 100, optional, func(s string) error {
				return resolve(t, db,
					Customer{Phone1: "+444", LastName: s})
			}},
			{"customer", "remark", 512, optional, func(s string) error {
				return resolve(t, db,
					Customer{Phone1: "+445", Remark: s})
			}},
			{"API key", "note", 512, optional, func(s string) error {
				_, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true, Note: s})
				return err
			}},
		} {
			t.Run(c.record+" "+c.field, func(t *testing.T) {
				n++
				longest, unusual := strings.Repeat("x", c.limit), "Zoë O'Brien 王 \u00a0\ufffd\U0001F600"
				switch c.field {
				case "username":
					unusual = "Zoë O'Brien 王"
				case "email":
					longest, unusual = longest[12:]+"@example.com", "Zoë.O'Brien.王@bücher.example"
				case "uniqueId":
					unusual = "Zoë O'Brien 王 \ufffd\U0001F600"
				}
				assert.NoError(t, c.put(longest))
				assert.NoError(t, c.put(unusual))
				refused := map[string]string{
					strings.Repeat("x", c.limit+1):        "longer than",
					strings.Repeat("é", c.limit/2) + "éx": "longer than",
					"a\x00b":                              "control",
					"a\nb":                                "control",
					"a\r":                                 "control",
					"\t":                                  "control",
					"\x1b[31m":                            "control",
					"\x7f":                                "control",
					"a\u0085b":                            "control",
					"a\u2028b":                            "control",
					"a\u2029b":                            "control",
					"a\xffb":                              "UTF-8",
					"\xc0\x80":                            "UTF-8",
					"\xed\xa0\x80":                        "UTF-8",
				}
				if c.required {
					refused[""] = "empty"
				} else {
					assert.NoError(t, c.put(""))
				}
				for value, want := range refused {
					err := c.put(value)
					var field *FieldError
					require.ErrorAs(t, err, &field, "%q", value)
					assert.Equal(t, c.field, field.Field)
					assert.ErrorContains(t, err, c.field+" ")
					assert.ErrorContains(t, err, want)
					if value != "" {
						assert.NotContains(t, err.Error(), value)
					}
				}
			})
		}
		assert.Equal(t, 16, n)
	})
}

func resolve(t *testing.T, db *DB, c Customer) error {
	_, _, err := db.ResolveCustomer(t.Context(), "acme", c, Redemption{Override: true})
	return err
}

func TestEqualEmails(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"ann@example.com", "ann@example.com", true},
		{"Ann@Example.COM", "aNN@eXAMPLE.com", true},
		{"zoë@example.com", "ZOË@example.com", true},
		{"ΣΊΣΥΦΟΣ@example.gr", "σίσυφος@example.gr", true}, // final sigma too
		{"ann@example.com", "ann@example.org", false},
		{"ann@example.com", "ann@example.com ", false},
		{"ann@example.com", "", false},
		{"", "", true},
		{"mi\u212ae@example.com", "mike@example.com", false},     // Kelvin sign
		{"mi\u212ae@example.com", "mi\u212aE@example.com", true}, // beside it, case is still nothing
		{"ja\u017fon@example.com", "jason@example.com", false},   // long s
		{"m\u0131ke@example.com", "mike@example.com", false},     // dotless i
		{"m\u0130ke@example.com", "mike@example.com", false},     // dotted capital I
		{"stra\u00dfe@example.com", "strasse@example.com", false},
		{"ann@bücher.example", "ann@BÜCHER.example", true},
		{"ann@bücher.example", "ann@xn--bcher-kva.example", true},
		{"ann@bücher.example", "ann@bucher.example", false},
		{"ann@xn--.example", "ann@xn--.example", true},
		{"ann@mi\u212ae.example", "ann@mike.example", false},
		{"\xff@example.com", "\xfe@example.com", false},
		{"\xff@example.com", "\ufffd@example.com", false},
	} {
		assert.Equal(t, c.want, EqualEmails(c.a, c.b), "%q %q", c.a, c.b)
		assert.Equal(t, c.want, EqualEmails(c.b, c.a), "%q %q", c.b, c.a)
	}
}

// Over all of Unicode, folding equals simple case folding within ASCII and
// within the rest, and never joins the two.
func TestFoldRuneAgainstEqualFold(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		folded := foldRune(r)
		if folded != foldRune(folded) || !strings.EqualFold(string(r), string(folded)) || (r < 128) != (folded < 128) {
			t.Fatalf("%U folds to %U", r, folded)
		}
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			if same := foldRune(next) == folded; same != ((r < 128) == (next < 128)) {
				t.Fatalf("%U and %U: equal %v", r, next, same)
			}
		}
	}
}
