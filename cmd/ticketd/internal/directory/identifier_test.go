package directory

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// invisible are characters that people do not see, or see as a space.
var invisible = []string{
	"\u200b", "\u200c", "\u200d", "\ufeff", "\u2060", "\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180e",
	"\u200e", "\u200f", "\u202e", "\u2066", "\u2069", "\u2800", "\u3164", "\uffa0", "\ufe0f", "\U000e0061", "\U000e0100",
	"\u2064", "\ufff9", "\U0001d173", "\ue000", "\uffff",
	"\u00a0", "\u1680", "\u2002", "\u2009", "\u202f", "\u205f", "\u3000", "\t", "\n", "\u0085", "\u2028",
}

// twins returns texts that people take for s: padded, with an invisible character at
// every place, in full width, in other forms, and in NFD.
func twins(s string) (all []string) {
	for _, c := range append([]string{" ", "  "}, invisible...) {
		all = append(all, c+s, s+c)
		for i := range s {
			if i > 0 && strings.Trim(c, " ") != "" {
				all = append(all, s[:i]+c+s[i:])
			}
		}
	}
	shift := func(first rune) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return first + r - 'a'
			}
			return r
		}, s)
	}
	for _, first := range []rune{'ａ', '\U0001d41a', '\U0001d4b6', 'ⓐ'} { // full-width, bold, script, circled
		all = append(all, shift(first))
	}
	fullWidth := strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' {
			return r + 'ａ' - 'a'
		}
		return r
	}, s)
	all = append(all, fullWidth, norm.NFD.String(s), norm.NFKD.String(s),
		strings.ReplaceAll(s, "k", "\u212a"), strings.ReplaceAll(s, "s", "\u017f"), strings.ReplaceAll(s, "@", "＠"),
		strings.ReplaceAll(s, "fi", "ﬁ"), strings.ReplaceAll(s, "Å", "\u212b"), strings.ReplaceAll(s, "å", "a\u030a"),
		strings.ReplaceAll(s, "1", "¹"))
	return all
}

// cased returns s in other cases.
func cased(s string) []string {
	_, first := utf8.DecodeRuneInString(s)
	return []string{strings.ToUpper(s), strings.ToLower(s), strings.ToUpper(s[:first]) + s[first:],
		norm.NFD.String(strings.ToUpper(s))}
}

// A twin of an agent's username is the same agent or nobody, and makes no second agent.
//
// trap S6
func TestTwinsOfUsernames(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		for _, name := range []string{
			"dave.k@fisk1.example", "John Smith", "zoë bråk", "דוד כהן", "ג׳ורג׳ 1", "σίσυφος",
		} {
			require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: name, Active: true}), name)
			n := count(t, db, `SELECT count(*) FROM agent`)
			same := 0
			for i, twin := range append(cased(name), twins(name)...) {
				var field *FieldError
				err := db.AddAgent(ctx, Agent{Brand: "acme", Username: twin})
				if !assert.Error(t, err, "%+q", twin) {
					continue
				}
				a, lookup := db.MatchAgent(ctx, "acme", twin, Fields{})
				if i >= len(cased(name)) && errors.As(err, &field) {
					assert.ErrorIs(t, lookup, ErrNotFound, "%+q", twin)
					continue
				}
				assert.ErrorIs(t, err, ErrExists, "%+q", twin)
				require.NoError(t, lookup, "%+q", twin)
				assert.Equal(t, name, a.Username, "the record's spelling")
				same++
			}
			assert.NotZero(t, same)
			assert.Equal(t, n, count(t, db, `SELECT count(*) FROM agent`))
			_, err := db.UpdateAgent(ctx, "acme", strings.ToUpper(name), func(a *Agent) error { a.FirstName = "x"; return nil })
			assert.NoError(t, err)
			_, err = db.UpdateAgent(ctx, "acme", name, func(a *Agent) error { a.Username = strings.ToUpper(name); return nil })
			if name != strings.ToUpper(name) {
				assert.ErrorContains(t, err, "cannot change")
			}
		}
		require.NoError(t, db.RemoveAgent(ctx, "acme", "JOHN smith"))
		for _, name := range []string{"", " ", "a  b", "a\u200bb", "☃", "a\U0001F600", "①", "a\u00b7b", "1דוד", "ab דוד-x"} {
			var field *FieldError
			require.ErrorAs(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: name}), &field, "%+q", name)
			assert.Equal(t, "username", field.Field)
		}
		for _, name := range []string{"1zoë", "zoë!", "O'Brien", "a b c", "דוד1", "محمد", "x+y@z", "ß", "ii", "i\u0307"} {
			assert.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: name}), "%+q", name)
		}
	})
}

// A twin of a customer's email address or unique ID is the same customer or refused.
//
// trap S6
func TestTwinsOfIdentifiers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		for field, c := range map[string]struct {
			values []string
			of     func(s string) Customer
			cased  bool
		}{
			"email": {[]string{"mike.fisk1@example.com", "zoë@bråk.example"},
				func(s string) Customer { return Customer{Email: s} }, true},
			"uniqueId": {[]string{"mike fisk 1", "Å-Zoë"}, func(s string) Customer { return Customer{UniqueID: s} }, false},
		} {
			for _, value := range c.values {
				first := put(t, db, c.of(value))
				all := twins(value)
				if c.cased {
					all = append(all, cased(value)...)
				}
				found := 0
				for _, twin := range all {
					got, created, err := db.ResolveCustomer(ctx, "acme", c.of(twin), Redemption{Override: true})
					if err == nil {
						assert.False(t, created, "%+q", twin)
						assert.Equal(t, first.ID, got.ID, "%+q", twin)
						found++
						continue
					}
					var refused *FieldError
					require.ErrorAs(t, err, &refused, "%+q", twin)
					assert.Equal(t, field, refused.Field)
				}
				assert.NotZero(t, found)
			}
		}
		put(t, db, Customer{UniqueID: "MIKE FISK 1"}) // unique IDs keep their case
		assert.Len(t, all(t, db), 5)
	})
}

// trap S3
func TestPlaceholders(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		placeholders := []string{
			"undefined", "null", "nil", "none", "NaN", "N/A", "[object Object]", "[object Undefined]", "${user.id}", "{{user.id}}",
			"x-${id}", "{{ user.id | default }}", "#{id}", "<%= id %>", "<nil>", "(null)", "'null'", "#N/A", `"undefined"`,
			"00000000-0000-0000-0000-000000000000", "undefined@example.com", "${user}@example.com", "{{email}}@example.com",
		}
		for _, p := range placeholders {
			for _, s := range []string{p, strings.ToUpper(p), strings.ToLower(p)} {
				for field, c := range map[string]Customer{
					"uniqueId": {UniqueID: s, Email: "a@example.com"}, "email": {UniqueID: "1", Email: s},
				} {
					var refused *FieldError
					_, _, err := db.ResolveCustomer(ctx, "acme", c, Redemption{})
					require.ErrorAs(t, err, &refused, "%s %q", field, s)
					assert.Equal(t, field, refused.Field)
					assert.Contains(t, refused.Reason, "missing value", "%s %q", field, s)
					err = db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Email: c.Email, UniqueID: c.UniqueID})
					require.ErrorAs(t, err, &refused, "%s %q", field, s)
				}
			}
		}
		assert.Empty(t, all(t, db))
		for _, s := range []string{
			"nullable", "None-1", "nilsson", "0", "{12}", "$5", "n/a/1", "{21EC2020-3AEA-4069-A2DD-08002B30309D}",
		} {
			_, _, err := db.ResolveCustomer(ctx, "acme", Customer{UniqueID: s}, Redemption{})
			assert.NoError(t, err, s)
		}
		for _, s := range []string{"none@example.com", "nil@null.example", "Nan@example.com"} {
			_, _, err := db.ResolveCustomer(ctx, "acme", Customer{Email: s}, Redemption{})
			assert.NoError(t, err, s)
		}
	})
}

func TestFormOfEmails(t *testing.T) {
	for _, s := range []string{
		"a@b", "ann@example.com", "ann+tag@sub.example.co.uk", "o'brien@example.com", "zoë@bücher.example", "דוד@דוגמה.example",
		"a_b-c.d!#$%&*/=?^`{|}~@x-y.example", "ann@xn--bcher-kva.example", "1@2.3",
	} {
		email := s
		assert.NoError(t, normalizeStrong(&email, new(string)), s)
		assert.Equal(t, s, email)
	}
	for _, s := range []string{
		"ann", "@", "ann@", "@example.com", "ann@example..com", "ann@example.com.", "ann@.example", "a@b@c", "ann smith@example.com",
		"<ann@example.com>", "Ann <ann@example.com>", "ann@example.com,bob@example.com", "mailto:ann@example.com", `"ann"@example.com`,
		"ann@exam ple.com", "ann@[192.0.2.1]", "ann(x)@example.com", "ann@example.com/", "ann@example.com>", "ann@☃.example",
	} {
		var field *FieldError
		require.ErrorAs(t, normalizeStrong(&s, new(string)), &field, s)
		assert.Equal(t, "email", field.Field)
	}
}

// No character outside ASCII makes a username, an address or a unique ID equal to one
// inside ASCII; and the comparison does not depend on the case.
//
// trap S6
func TestNoCharacterBecomesASCII(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		key := UsernameKey(s)
		uniqueID, email := s, ""
		refused := NormalizeIdentifiers(new(string), &email, &uniqueID) != nil
		if isPrintableASCII(key) || !refused && isPrintableASCII(uniqueID) || isPrintableASCII(foldEmail(s+"@x")) {
			t.Fatalf("%U becomes %q, %q", r, key, uniqueID)
		}
		if UsernameKey(key) != key {
			t.Fatalf("%U: the key %+q has another key", r, key)
		}
		if refused {
			continue
		}
		for _, other := range []rune{unicode.ToUpper(r), unicode.ToLower(r)} {
			if other >= utf8.RuneSelf && UsernameKey(string(other)) != key {
				t.Fatalf("%U and %U are two persons", r, other)
			}
		}
	}
	assert.NotEqual(t, UsernameKey("mi\u212ae"), UsernameKey("mike"))
}

// Agents whose usernames are twins are added at once: there is one.
//
// trap S6
func TestTwinsAddedAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		dbs := []*DB{open(t, dsn), open(t, dsn)}
		require.NoError(t, dbs[0].AddBrand(t.Context(), Brand{Name: "acme"}))
		var wg sync.WaitGroup
		var mu sync.Mutex
		added := 0
		for i, name := range []string{"Zoë", "zoë", "ZOË", "zoe\u0308", "ZOE\u0308", "zoË"} {
			wg.Go(func() {
				err := dbs[i%2].AddAgent(t.Context(), Agent{Brand: "acme", Username: name, FirstName: fmt.Sprint(i)})
				if err != nil {
					assert.ErrorIs(t, err, ErrExists)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				added++
			})
		}
		wg.Wait()
		assert.Equal(t, 1, added)
		assert.Equal(t, 1, count(t, dbs[0], `SELECT count(*) FROM agent`))
	})
}

// An agent who returns under a twin of the old name has the tickets of before against
// him, and an import keeps the spelling of the record.
//
// trap S6, trap W9
func TestTwinsReturn(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "zoë", Active: true}))
		require.NoError(t, db.RemoveAgent(ctx, "acme", "ZOË"))
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "Zoë", Active: true}))
		a, err := db.Agent(ctx, "acme", "zoë")
		require.NoError(t, err)
		assert.Equal(t, "Zoë", a.Username)
		assert.Equal(t, start, a.TicketsSince)

		a, err = db.EndAgentSessions(ctx, "acme", "ZOË")
		require.NoError(t, err)
		was := a.RecordID
		for i, twin := range []string{"zoe\u0308", "ZOË"} {
			did, err := db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
				yield(Agent{Username: twin, FirstName: fmt.Sprint("Zoë", i), Active: true}, nil)
			}, nil)
			require.NoError(t, err)
			assert.Equal(t, Imported{Changed: 1}, did)
			a, err = db.Agent(ctx, "acme", "zoë")
			require.NoError(t, err)
			assert.Equal(t, [3]string{"Zoë", fmt.Sprint("Zoë", i), was}, [3]string{a.Username, a.FirstName, a.RecordID})
		}
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
			_ = yield(Agent{Username: "Bob"}, nil) && yield(Agent{Username: "bob"}, nil)
		}, nil)
		var twice *DuplicateError
		assert.ErrorAs(t, err, &twice)
	})
}
