package directory

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An addition is made once, however often it is asked for, one after the other or at once.
func TestOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		now := start
		db.now = func() time.Time { return now }
		one, two := [32]byte{1}, [32]byte{2}
		repeated := func(err error, same bool, kind, name string) {
			t.Helper()
			var e *RepeatedError
			if assert.ErrorAs(t, err, &e) {
				assert.Equal(t, RepeatedError{same, kind, name}, *e)
			}
		}
		add := func(db *DB) error { return db.AddAgent(ctx, Agent{Brand: "acme", Username: "Ann"}) }
		_, err := db.Once("key a", "1", one).Brand(ctx, "acme")
		require.NoError(t, err, "a look-up is no addition")
		require.ErrorIs(t, db.Once("key a", "1", one).AddAgent(ctx, Agent{Brand: "none", Username: "Ann"}), ErrNotFound)
		var wg sync.WaitGroup
		var made atomic.Int32
		for range 6 {
			wg.Go(func() {
				if err := add(db.Once("key a", "1", one)); err == nil {
					made.Add(1)
				} else {
					repeated(err, true, "agent", "ann")
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, made.Load(), "a failure is not remembered")
		repeated(add(db.Once("key a", "1", two)), false, "agent", "ann")
		assert.ErrorIs(t, add(db.Once("key b", "1", one)), ErrExists, "another caller's key")

		c := Customer{Brand: "acme", UniqueID: "7"}
		_, err = db.Once("key a", "2", one).AddCustomer(ctx, c)
		require.NoError(t, err)
		_, err = db.Once("key a", "2", one).AddCustomer(ctx, c)
		repeated(err, true, "customer", "1")
		k := APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}}
		bearer, err := db.Once("key a", "3", one).CreateAPIKey(ctx, k)
		require.NoError(t, err)
		_, err = db.Once("key a", "3", one).CreateAPIKey(ctx, k)
		repeated(err, true, "key", APIKeyID(bearer))
		next, err := db.Once("key a", "4", one).ReplaceAPIKey(ctx, APIKeyID(bearer), time.Hour)
		require.NoError(t, err)
		_, err = db.Once("key a", "4", one).ReplaceAPIKey(ctx, APIKeyID(bearer), time.Hour)
		repeated(err, true, "key", APIKeyID(next))

		now = start.Add(onceKept)
		require.NoError(t, db.RemoveAgent(ctx, "acme", "ann"))
		assert.NoError(t, add(db.Once("key a", "1", two)), "a day later the key is forgotten")
		db.jobs.purge(now)
		assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM idempotency`))
	})
}

// A replaced key stays good for the grace, and the new one as long as the old one was to be.
func TestReplaceAPIKey(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		now := start
		db.now = func() time.Time { return now }
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue, ScopeRedeem}, Brands: []string{"acme"},
			Note: "n", Rate: 2, Burst: 3, Expires: start.Add(10 * 24 * time.Hour)})
		require.NoError(t, err)
		now = start.Add(24 * time.Hour)
		second, err := db.ReplaceAPIKey(ctx, APIKeyID(bearer), time.Hour)
		require.NoError(t, err)
		k, err := db.Authenticate(ctx, second, now)
		require.NoError(t, err)
		want := APIKey{ID: APIKeyID(second), Scopes: []Scope{ScopeIssue, ScopeRedeem}, Brands: []string{"acme"}, Note: "n",
			Rate: 2, Burst: 3, Created: now, Expires: now.Add(10 * 24 * time.Hour)}
		assert.Equal(t, chosen(t, want, k), k)
		_, err = db.Authenticate(ctx, bearer, now.Add(time.Hour-1))
		assert.NoError(t, err)
		_, err = db.Authenticate(ctx, bearer, now.Add(time.Hour))
		assert.Error(t, err)
		third, err := db.ReplaceAPIKey(ctx, APIKeyID(second), 0)
		require.NoError(t, err)
		_, err = db.Authenticate(ctx, second, now)
		assert.Error(t, err, "without grace")
		_, err = db.Authenticate(ctx, third, now)
		assert.NoError(t, err)
		for id, grace := range map[string]time.Duration{
			APIKeyID(second): time.Hour, APIKeyID(third): MaxGrace + 1, APIKeyID(third) + "": -1,
		} {
			_, err = db.ReplaceAPIKey(ctx, id, grace)
			var wrong *FieldError
			assert.ErrorAs(t, err, &wrong, "%s %v", id, grace)
		}
		_, err = db.ReplaceAPIKey(ctx, "aaaaaaaaaa", 0)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

// The keys within some brands are those for no other brand.
func TestAPIKeysWithin(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "a", "b", "c")
		ids := make(map[string]string)
		for _, brands := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "c"}, nil} {
			k := APIKey{Scopes: []Scope{ScopeIssue}, Brands: brands, AllBrands: brands == nil}
			bearer, err := db.CreateAPIKey(ctx, k)
			require.NoError(t, err)
			name := ""
			for _, b := range brands {
				name += b
			}
			ids[APIKeyID(bearer)] = name
		}
		for _, c := range []struct {
			within []string
			brand  string
			want   []string
		}{
			{nil, "", nil},
			{[]string{"a"}, "", []string{"a"}},
			{[]string{"a", "b"}, "", []string{"a", "b", "ab"}},
			{[]string{"a", "b"}, "b", []string{"b", "ab"}},
			{[]string{"a", "b", "c"}, "c", []string{"bc"}},
			{[]string{"a"}, "b", nil},
		} {
			var got []string
			after := ""
			for { // one at a time
				page, err := db.APIKeysWithin(ctx, c.within, c.brand, after, 1)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				after = page[0].ID
				got = append(got, ids[after])
			}
			assert.ElementsMatch(t, c.want, got, "%v %s", c.within, c.brand)
		}
	})
}
