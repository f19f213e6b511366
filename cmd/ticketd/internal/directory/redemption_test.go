package directory

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A ticket changes the directory once, however often and in whatever order its
// redemption is repeated beside others.
//
// trap R25
func TestRedemptionIsIdempotent(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		resolve := func(brand, ticket string, c Customer, override bool) (Customer, bool) {
			got, created, err := db.ResolveCustomer(ctx, brand, c,
				Redemption{Ticket: ticket, Expires: start.Add(time.Minute), Override: override})
			require.NoError(t, err)
			return got, created
		}
		first := Customer{UniqueID: "1", Email: "a@example.com", FirstName: "Ann"}
		made, created := resolve("acme", "t1", first, true)
		assert.True(t, created)
		second := Customer{UniqueID: "1", Email: "b@example.com", FirstName: "Anna"}
		changed, created := resolve("acme", "t2", second, true)
		assert.False(t, created)
		assert.Equal(t, "Anna", changed.FirstName)

		// The first ticket's redemption again: it does not undo the second's.
		for _, override := range []bool{true, false} {
			again, created := resolve("acme", "t1", first, override)
			assert.False(t, created)
			assert.Equal(t, changed, again)
		}
		// Nor does it make a second record, now that nobody has its address.
		lone, created := resolve("acme", "t3", Customer{Email: "c@example.com"}, false)
		assert.True(t, created)
		_, err := db.UpdateCustomer(ctx, "acme", lone.ID, func(c *Customer) error { c.Email = "d@example.com"; return nil })
		require.NoError(t, err)
		again, created := resolve("acme", "t3", Customer{Email: "c@example.com"}, false)
		assert.False(t, created)
		assert.Equal(t, lone.ID, again.ID)
		assert.Equal(t, "d@example.com", again.Email)

		// In another brand the same ticket ID is another ticket.
		of, created := resolve("other", "t1", first, true)
		assert.True(t, created)
		assert.NotEqual(t, made.ID, of.ID)

		// Looking first without override, as is done before the ticket is spent,
		// does not keep it from taking effect.
		_, created = resolve("acme", "t4", Customer{UniqueID: "1", LastName: "Ash"}, false)
		assert.False(t, created)
		got, _ := resolve("acme", "t4", Customer{UniqueID: "1", LastName: "Ash"}, true)
		assert.Equal(t, "Ash", got.LastName)

		// Of a customer who was removed, nothing is remembered.
		require.NoError(t, db.RemoveCustomer(ctx, "acme", made.ID))
		anew, created := resolve("acme", "t1", first, true)
		assert.True(t, created)
		assert.NotEqual(t, made.ID, anew.ID)

		// Without a ticket each call stands for itself.
		_, _ = resolve("acme", "", second, true)
		got, _ = resolve("acme", "", first, true)
		assert.Equal(t, "Ann", got.FirstName)

		_, _, err = db.ResolveCustomer(ctx, "acme", first, Redemption{Ticket: "a\nb"})
		var field *FieldError
		assert.ErrorAs(t, err, &field)
	})
}

// A ticket of another issuer with the same ID is another ticket.
//
// trap F15
func TestRedemptionsOfTwoIssuers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		resolve := func(issuer, name string) Customer {
			got, _, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1", FirstName: name},
				Redemption{Ticket: "t1", Issuer: issuer, Expires: start.Add(time.Minute), Override: true})
			require.NoError(t, err)
			return got
		}
		for _, issuer := range []string{"", "acme", "beta"} { // each changes the record, and once
			assert.Equal(t, "of "+issuer, resolve(issuer, "of "+issuer).FirstName)
			assert.Equal(t, "of "+issuer, resolve(issuer, "again").FirstName)
		}
		events, err := db.Events(t.Context(), EventFilter{Brand: "acme", Ticket: "t1"}, "", 10)
		require.NoError(t, err)
		var issuers []string
		for _, e := range events.Events {
			issuers = append(issuers, e.Issuer)
		}
		assert.ElementsMatch(t, []string{"", "acme", "beta"}, issuers)

		_, _, err = db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1"}, Redemption{Ticket: "t", Issuer: "a\nb"})
		var field *FieldError
		assert.ErrorAs(t, err, &field)
	})
}

func TestRedemptionsAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		expires := start.Add(time.Minute)
		_, _, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1"},
			Redemption{Ticket: "t", Expires: expires})
		require.NoError(t, err)
		kept := func() int { return count(t, db, `SELECT count(*) FROM redemption`) }
		for _, now := range []time.Time{start, expires, expires.Add(redemptionMargin)} {
			db.jobs.purge(now)
			assert.Equal(t, 1, kept(), now)
		}
		db.jobs.purge(expires.Add(redemptionMargin + time.Millisecond))
		assert.Zero(t, kept())
		assert.Len(t, all(t, db), 1, "the customer stays")
	})
}

// One ticket redeemed many times at once, with others that change the same
// record: each changes it once.
//
// trap R18
func TestRedemptionsConcurrently(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		dbs := []*DB{open(t, dsn), open(t, dsn)}
		require.NoError(t, dbs[0].AddBrand(t.Context(), Brand{Name: "acme"}))
		before, err := dbs[0].AddCustomer(t.Context(), Customer{Brand: "acme", UniqueID: "1"})
		require.NoError(t, err)
		const tickets, repeats = 6, 4
		var wg sync.WaitGroup
		for i := range tickets * repeats {
			wg.Go(func() {
				ticket := fmt.Sprint("t", i%tickets)
				_, _, err := dbs[i%2].ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1", Remark: ticket},
					Redemption{Ticket: ticket, Expires: start, Override: true})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		after := all(t, dbs[0])
		require.Len(t, after, 1)
		assert.Equal(t, tickets, count(t, dbs[0], `SELECT count(*) FROM redemption`))
		assert.Equal(t, before.Revision+tickets, after[0].Revision, "a change a ticket")
	})
}

// Fields that different tickets set at the same time are all there afterwards.
func TestOverridesAreNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		put(t, db, Customer{UniqueID: "1"})
		givens := []Customer{{Email: "a@example.com"}, {Phone1: "+442012345678"}, {FirstName: "Ann"}, {LastName: "Ash"},
			{Remark: "vip"}}
		var wg sync.WaitGroup
		for _, c := range givens {
			c.UniqueID = "1"
			wg.Go(func() {
				_, _, err := db.ResolveCustomer(t.Context(), "acme", c, Redemption{Override: true})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		got := all(t, db)
		require.Len(t, got, 1)
		want := Customer{ID: got[0].ID, Brand: "acme", UniqueID: "1", Email: "a@example.com", Phone1: "+442012345678",
			FirstName: "Ann", LastName: "Ash", Remark: "vip", Created: start, Updated: start}
		assert.Equal(t, chosen(t, want, got[0]), got[0])
	})
}
