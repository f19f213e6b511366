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

// Each part of a search uses an index of its own.
func TestSearchUsesIndexes(t *testing.T) {
	db := sqliteFile.withBrands(t, "acme")
	var queries []string
	db.Trace(func(query string) { queries = append(queries, query) })
	_, err := db.SearchCustomers(t.Context(), "acme", "+44 20 7946 0000", 10)
	require.NoError(t, err)
	plan, err := list(t.Context(), db.read, func(r row) (detail string, err error) {
		var a, b, c int
		return detail, r.Scan(&a, &b, &c, &detail)
	}, "EXPLAIN QUERY PLAN "+queries[len(queries)-1], "acme", 10,
		"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o")
	require.NoError(t, err)
	all := strings.Join(plan, "\n")
	indexes := []string{"customer_uniqueid", "customer_email", "customer_phone1", "customer_first", "customer_last"}
	for _, index := range indexes {
		assert.Contains(t, all, "USING INDEX "+index, fmt.Sprint(plan))
	}
	assert.NotContains(t, all, "SCAN customer\n")
}
