package directory

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// KnownCustomer finds whom ResolveCustomer finds, and makes nobody.
func TestKnownCustomer(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		jane, on := Customer{Email: "jane@example.com"}, Redemption{Ticket: "1", Expires: start.Add(time.Hour),
			Override: true}
		_, err := db.KnownCustomer(ctx, "acme", jane, on)
		assert.ErrorIs(t, err, ErrNotFound)
		all, err := db.Customers(ctx, "acme", 0, 10)
		require.NoError(t, err)
		assert.Empty(t, all)
		made, created, err := db.ResolveCustomer(ctx, "acme", jane, on)
		require.NoError(t, err)
		require.True(t, created)
		for _, c := range []Customer{jane, {Email: "JANE@example.com", UniqueID: "7"}, {UniqueID: "another"}} {
			known, err := db.KnownCustomer(ctx, "acme", c, on)
			require.NoError(t, err, "also by the ticket that made the record")
			assert.Equal(t, made, known)
		}
		_, err = db.KnownCustomer(ctx, "acme", Customer{Brand: "other", Email: "a@b"}, on)
		assert.Error(t, err)
		_, err = db.KnownCustomer(ctx, "acme", Customer{}, on)
		assert.Error(t, err)
	})
}
