package directory

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A call with another call's Lookup gives the same result as a call that reads anew,
// whatever happened between the two calls.
func TestLookupOfAnEarlierCall(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		given := Customer{UniqueID: "7", Email: "ann@example.com", FirstName: "Ann"}
		for name, c := range map[string]struct {
			between    func(first Customer)
			statements int
			want       func(t *testing.T, first, got Customer, created bool)
		}{
			"nothing": {func(Customer) {}, 3, func(t *testing.T, first, got Customer, created bool) {
				assert.Equal(t, first.ID, got.ID)
				assert.Equal(t, "ann@example.com", got.Email)
				assert.Equal(t, "Ann", got.FirstName)
			}},
			"changed": {func(first Customer) {
				_, err := db.UpdateCustomer(ctx, "acme", first.ID, func(c *Customer) error { c.LastName = "New"; return nil })
				require.NoError(t, err)
			}, 4, func(t *testing.T, first, got Customer, created bool) {
				assert.Equal(t, first.ID, got.ID)
				assert.Equal(t, "New", got.LastName, "the change stays")
				assert.Equal(t, "Ann", got.FirstName)
			}},
			"removed": {func(first Customer) {
				require.NoError(t, db.RemoveCustomer(ctx, "acme", first.ID))
			}, 4, func(t *testing.T, first, got Customer, created bool) {
				assert.True(t, created)
				assert.NotEqual(t, first.ID, got.ID)
			}},
			"email taken": {func(Customer) {
				put(t, db, Customer{Email: "ANN@example.com"})
			}, 4, func(t *testing.T, first, got Customer, created bool) {
				assert.Equal(t, first.ID, got.ID)
				assert.Empty(t, got.Email, "the other record keeps the address")
			}},
			"redeemed elsewhere": {func(first Customer) {
				_, _, err := db.ResolveCustomer(ctx, "acme", given, Redemption{Ticket: "t", Expires: start, Override: true})
				require.NoError(t, err)
				_, err = db.UpdateCustomer(ctx, "acme", first.ID, func(c *Customer) error { c.FirstName = "Later"; return nil })
				require.NoError(t, err)
			}, 2, func(t *testing.T, first, got Customer, created bool) {
				assert.Equal(t, "Later", got.FirstName, "a ticket changes a record once")
			}},
		} {
			t.Run(name, func(t *testing.T) {
				do(t, db, `DELETE FROM redemption`, `DELETE FROM customer`)
				put(t, db, Customer{UniqueID: "7"})
				on := Redemption{Ticket: "t", Expires: start.Add(time.Minute), Lookup: new(Lookup)}
				first, created, err := db.ResolveCustomer(ctx, "acme", given, on)
				require.NoError(t, err)
				require.False(t, created)
				c.between(first)
				on.Override = true
				var got Customer
				n := statements(t, db, func() { got, created, err = db.ResolveCustomer(ctx, "acme", given, on) })
				require.NoError(t, err)
				c.want(t, first, got, created)
				assert.GreaterOrEqual(t, n, c.statements)
				if name == "nothing" {
					assert.Equal(t, c.statements, n)
				}
				stored, err := db.Customer(ctx, "acme", got.ID)
				require.NoError(t, err)
				assert.Equal(t, stored, got)
			})
		}
	})
}
