package directory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Customers are found by the beginning of what people know of them, in their brand only.
func TestSearchCustomers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "other")
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme", Region: "GB"}))
		people := []Customer{
			{UniqueID: "A-17", Email: "jane.doe@example.com", FirstName: "Jane", LastName: "Doe"},
			{Email: "JD@Example.com", FirstName: "John", LastName: "Doering"},
			{Phone1: "+442079460000", FirstName: "Mary Ann", LastName: "Ånström"},
			{UniqueID: "a-18", LastName: "Jane"},
		}
		ids := make(map[int64]int)
		for _, brand := range []string{"acme", "other"} {
			for i, c := range people {
				c.Brand = brand
				c, err := db.AddCustomer(ctx, c)
				require.NoError(t, err)
				if brand == "acme" {
					ids[c.ID] = i
				}
			}
		}
		for text, want := range map[string][]int{
			"jane": {0, 3}, "JANE D": {0}, "doe": {0, 1}, "doe jane": {0}, "Doe, Jane": nil, "jd@example": {1}, "JANE.DOE@EXAMPLE.COM": {0},
			"A-17": {0}, "A-": {0}, "a-": {3}, "+442079460000": {2}, "020 7946 0000": {2}, "mary ann": {2}, "mary": {2}, "ann": nil,
			"ånström": {2}, "A\u030anstr": {2}, " john ": {1}, "%": nil, "_": nil, "j%": nil, "'": nil, "\U0010ffff": nil,
		} {
			got, err := db.SearchCustomers(ctx, "acme", text, 10)
			require.NoError(t, err, text)
			var found []int
			for _, c := range got {
				i, ok := ids[c.ID]
				require.True(t, ok, "%q finds a customer of another brand", text)
				found = append(found, i)
			}
			assert.Equal(t, want, found, "%q", text)
		}
		one, err := db.SearchCustomers(ctx, "acme", "j", 1)
		require.NoError(t, err)
		assert.Len(t, one, 1)
		for _, text := range []string{"", "  ", "a\x00", "\xff", strings.Repeat("a", 256)} {
			_, err := db.SearchCustomers(ctx, "acme", text, 10)
			var wrong *FieldError
			assert.ErrorAs(t, err, &wrong, "%q", text)
		}
		_, err = db.SearchCustomers(ctx, "none", "jane", 10)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

// Agents are found as customers are, and by the beginning of the username, in their brand only.
func TestSearchAgents(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "other")
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme", Region: "GB"}))
		for _, a := range []Agent{
			{Username: "Jane.D", UniqueID: "A-17", Email: "jd@example.com", FirstName: "Jane", LastName: "Doe", Active: true},
			{Username: "john", Email: "JD@Example.com", FirstName: "John", LastName: "Doering"},
			{Username: "mary", Phone1: "+442079460000", FirstName: "Mary Ann", LastName: "Ånström"},
			{Username: "x1", UniqueID: "a-18", LastName: "Jane"},
		} {
			a.Brand = "acme"
			require.NoError(t, db.AddAgent(ctx, a))
			a.Brand, a.Username = "other", a.Username+"2"
			require.NoError(t, db.AddAgent(ctx, a))
		}
		search := func(text string, limit int) (found []string) {
			t.Helper()
			got, err := db.SearchAgents(ctx, "acme", text, limit)
			require.NoError(t, err, text)
			for _, a := range got {
				found = append(found, a.Username)
			}
			return found
		}
		for text, want := range map[string][]string{
			"jane": {"Jane.D", "x1"}, "JANE.d": {"Jane.D"}, "jane d": {"Jane.D"}, "doe": {"Jane.D", "john"},
			"doe jane": {"Jane.D"}, "jd@example": {"Jane.D", "john"}, "A-17": {"Jane.D"}, "a-": {"x1"}, "020 7946 0000": {"mary"}, "ANN": nil,
			"ånström": {"mary"}, "A\u030anstr": {"mary"}, " john ": {"john"}, "%": nil, "_": nil, "'": nil, "ane": nil,
			"\U0010ffff": nil,
		} {
			assert.Equal(t, want, search(text, 10), "%q", text)
		}
		assert.Equal(t, []string{"Jane.D"}, search("j", 1))
		for _, text := range []string{"", "  ", "a\x00", "\xff", strings.Repeat("a", 256)} {
			_, err := db.SearchAgents(ctx, "acme", text, 10)
			var wrong *FieldError
			assert.ErrorAs(t, err, &wrong, "%q", text)
		}
		_, err := db.SearchAgents(ctx, "none", "jane", 10)
		assert.ErrorIs(t, err, ErrNotFound)

		_, err = db.UpdateAgent(ctx, "acme", "x1", func(a *Agent) error { a.FirstName = "Zoë"; return nil })
		require.NoError(t, err)
		assert.Equal(t, []string{"x1"}, search("ZOË", 10), "a changed name")
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
			yield(Agent{Username: "x1", LastName: "Imported"}, nil)
		}, nil)
		require.NoError(t, err)
		assert.Equal(t, []string{"x1"}, search("imp", 10), "an imported name")
		assert.Empty(t, search("zoë", 10))
	})
}

// Each part of a search uses an index of its own.
func TestSearchUsesIndexes(t *testing.T) {
	db := sqliteFile.withBrands(t, "acme")
	var queries []string
	db.Trace(func(query string) { queries = append(queries, query) })
	const text = "+44 20 7946 0000"
	for kind, search := range map[string]func() error{
		"customer": func() error { _, err := db.SearchCustomers(t.Context(), "acme", text, 10); return err },
		"agent":    func() error { _, err := db.SearchAgents(t.Context(), "acme", text, 10); return err },
	} {
		require.NoError(t, search())
		plan, err := list(t.Context(), db.read, func(r row) (detail string, err error) {
			var a, b, c int
			return detail, r.Scan(&a, &b, &c, &detail)
		}, "EXPLAIN QUERY PLAN "+queries[len(queries)-1], "acme", 10,
			"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q")
		require.NoError(t, err)
		all := strings.Join(plan, "\n")
		for _, column := range []string{"uniqueid", "email", "phone1", "first", "last"} {
			assert.Contains(t, all, "USING INDEX "+kind+"_"+column, fmt.Sprint(plan))
		}
		assert.NotContains(t, all, "SCAN "+kind+"\n")
		assert.Equal(t, kind == "agent", strings.Contains(all, "sqlite_autoindex_agent_1"), fmt.Sprint(plan))
	}
}
