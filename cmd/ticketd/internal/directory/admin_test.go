package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db, _ := d.prepared(t)
		assert.ErrorIs(t, db.AddBrand(ctx, Brand{Name: "acme", Region: "GB"}), ErrExists)
		assert.ErrorIs(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Email: "x@example.com"}), ErrExists)
		assert.ErrorIs(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web", Name: "x"}), ErrExists)
		b, err := db.Brand(ctx, "acme")
		require.NoError(t, err)
		assert.Empty(t, b.Region, "what was there stays")
		first, err := db.AddCustomer(ctx, Customer{Brand: "acme", Email: "bob@example.com", FirstName: "Bob"})
		require.NoError(t, err)
		assert.Equal(t, start, first.Created)
		_, err = db.AddCustomer(ctx, Customer{Brand: "acme", Email: "BOB@example.com", UniqueID: "1"})
		assert.ErrorIs(t, err, ErrExists)
		_, err = db.AddCustomer(ctx, Customer{Brand: "nobody", UniqueID: "1"})
		assert.ErrorIs(t, err, ErrNotFound)
		got, err := db.Customer(ctx, "acme", first.ID)
		require.NoError(t, err)
		assert.Equal(t, first, got)
	})
}

func TestUpdate(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db, _ := d.prepared(t)
		got, err := db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Email = "ann@example.com"; return nil })
		require.NoError(t, err)
		want := Agent{Brand: "acme", Username: "ann", Email: "ann@example.com", Active: true}
		assert.Equal(t, chosen(t, want, got), got, "the rest stays")

		refused := errors.New("no")
		_, err = db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Email = "x"; return refused })
		assert.ErrorIs(t, err, refused)
		_, err = db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Phone1 = "5"; return nil })
		var field *FieldError
		assert.ErrorAs(t, err, &field)
		for _, edit := range []func(a *Agent) error{
			func(a *Agent) error { a.Username = "bob"; return nil },
			func(a *Agent) error { a.Brand = "other"; return nil },
		} {
			_, err = db.UpdateAgent(ctx, "acme", "ann", edit)
			assert.ErrorContains(t, err, "cannot change")
		}
		after, err := db.Agent(ctx, "acme", "ann")
		require.NoError(t, err)
		assert.Equal(t, got, after, "no refused change was written")

		never := func() error { t.Error("nothing is there to be changed"); return nil }
		_, err = db.UpdateBrand(ctx, "nobody", func(*Brand) error { return never() })
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.UpdateAgent(ctx, "nobody", "ann", func(*Agent) error { return never() })
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.UpdateChannel(ctx, "acme", "\x00", func(*Channel) error { return never() })
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.UpdateCustomer(ctx, "acme", 5, func(*Customer) error { return never() })
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.UpdateAPIKey(ctx, "aaaaaaaaaa", func(*APIKey) error { return never() })
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

// Many changes of one record at the same time, from several processes: each is
// made from the one before.
func TestUpdatesAreNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		dbs := []*DB{open(t, dsn), open(t, dsn)}
		require.NoError(t, dbs[0].AddBrand(t.Context(), Brand{Name: "acme"}))
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 5 {
					for {
						_, err := dbs[i%2].UpdateBrand(t.Context(), "acme",
							func(b *Brand) error { b.MaxLifetime += time.Second; return nil })
						if errors.Is(err, errStale) { // so says the directory when there is no end of others' changes
							continue
						}
						assert.NoError(t, err)
						break
					}
				}
			})
		}
		wg.Wait()
		b, err := dbs[0].Brand(t.Context(), "acme")
		require.NoError(t, err)
		assert.Equal(t, 40*time.Second, b.MaxLifetime)
	})
}

func TestUpdateCustomer(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		ann, bob := put(t, db, Customer{Email: "ann@example.com"}), put(t, db, Customer{UniqueID: "bob"})
		db.now = func() time.Time { return start.Add(time.Hour) }
		got, err := db.UpdateCustomer(ctx, "acme", ann.ID, func(c *Customer) error {
			c.Email, c.FirstName, c.Created = "ann@example.org", "Ann", time.Time{}
			return nil
		})
		require.NoError(t, err)
		ann.Email, ann.FirstName, ann.Updated = "ann@example.org", "Ann", start.Add(time.Hour)
		ann.Revision++
		assert.Equal(t, ann, got)
		for _, given := range []Customer{{Email: "ANN@EXAMPLE.ORG"}, {UniqueID: "bob"}} {
			found, err := db.FindCustomers(ctx, "acme", given)
			require.NoError(t, err)
			require.Len(t, found, 1)
			_, err = db.FindCustomers(ctx, "nobody", given)
			assert.ErrorIs(t, err, ErrNotFound)
			found, err = db.FindCustomers(ctx, "other", given)
			require.NoError(t, err)
			assert.Empty(t, found)
		}
		found, err := db.FindCustomers(ctx, "acme", Customer{Email: "ann@example.com"})
		require.NoError(t, err)
		assert.Empty(t, found, "the old address is free")
		_, err = db.UpdateCustomer(ctx, "acme", ann.ID, func(c *Customer) error { c.UniqueID = "bob"; return nil })
		assert.ErrorIs(t, err, ErrExists)
		_, err = db.UpdateCustomer(ctx, "other", bob.ID, func(c *Customer) error { return nil })
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.UpdateCustomer(ctx, "acme", bob.ID, func(c *Customer) error { c.UniqueID = ""; return nil })
		var field *FieldError
		assert.ErrorAs(t, err, &field)
	})
}

// Pages put together are the whole, in the order of bytes on every database.
func TestListsArePaged(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		names := []string{"A", "B", "_", "a", "aa", "b", "b c", "z", "É", "é", "王"}
		db := d.withBrands(t, names...)
		db2 := names[3]
		var ids []int64
		var usernames []string
		for i, name := range names {
			if db.AddAgent(ctx, Agent{Brand: db2, Username: name}) == nil {
				usernames = append(usernames, name)
			}
			require.NoError(t, db.AddChannel(ctx, Channel{Brand: db2, ID: name}))
			require.NoError(t, db.AddAgent(ctx, Agent{Brand: "b", Username: fmt.Sprint("of another ", i)}))
			c, err := db.AddCustomer(ctx, Customer{Brand: db2, UniqueID: name})
			require.NoError(t, err)
			ids = append(ids, c.ID)
		}
		pages := func(page func(after string) ([]string, error)) (all []string) {
			for after := ""; ; after = all[len(all)-1] {
				some, err := page(after)
				require.NoError(t, err)
				assert.LessOrEqual(t, len(some), 4)
				if all = append(all, some...); len(some) == 0 {
					return all
				}
			}
		}
		assert.Equal(t, names, pages(func(after string) ([]string, error) {
			all, err := db.Brands(ctx, after, 4)
			return named(all, func(b Brand) string { return b.Name }), err
		}))
		assert.Equal(t, []string{"A", "B", "_", "aa", "b c", "z", "É", "王"}, usernames, "no two differ in case only")
		slices.SortFunc(usernames, func(a, b string) int { return strings.Compare(UsernameKey(a), UsernameKey(b)) })
		assert.Equal(t, usernames, pages(func(after string) ([]string, error) {
			all, err := db.Agents(ctx, db2, after, 4)
			return named(all, func(a Agent) string { return a.Username }), err
		}))
		assert.Equal(t, names, pages(func(after string) ([]string, error) {
			all, err := db.Channels(ctx, db2, after, 4)
			return named(all, func(c Channel) string { return c.ID }), err
		}))
		first, err := db.Customers(ctx, db2, 0, 4)
		require.NoError(t, err)
		rest, err := db.Customers(ctx, db2, first[3].ID, 100)
		require.NoError(t, err)
		assert.Equal(t, ids, named(append(first, rest...), func(c Customer) int64 { return c.ID }))
		_, err = db.Agents(ctx, "nobody", "", 4)
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.Channels(ctx, "nobody", "", 4)
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.Customers(ctx, "nobody", 0, 4)
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.APIKeys(ctx, "nobody", "", 4)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

func named[T, N any](all []T, name func(T) N) []N {
	var names []N
	for _, one := range all {
		names = append(names, name(one))
	}
	return names
}

func TestRemove(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db, bearer := d.prepared(t)
		id, _, _ := parseKey(bearer)
		customer := put(t, db, Customer{UniqueID: "1"})
		for name, remove := range map[string]func() error{
			"agent":    func() error { return db.RemoveAgent(ctx, "acme", "ann") },
			"channel":  func() error { return db.RemoveChannel(ctx, "acme", "web") },
			"customer": func() error { return db.RemoveCustomer(ctx, "acme", customer.ID) },
			"key":      func() error { return db.RemoveAPIKey(ctx, id) },
		} {
			assert.NoError(t, remove(), name)
			assert.ErrorIs(t, remove(), ErrNotFound, name)
		}
		_, err := db.Authenticate(ctx, bearer, start)
		var auth *AuthError
		require.ErrorAs(t, err, &auth)
		assert.Equal(t, AuthUnknown, auth.Reason)
		require.NoError(t, db.RemoveBrand(ctx, "acme", false), "nothing is left of it")
		assert.ErrorIs(t, db.RemoveBrand(ctx, "acme", false), ErrNotFound)
		assert.ErrorIs(t, db.RemoveBrand(ctx, "acme", true), ErrNotFound)
	})
}

func TestRemoveBrandInUse(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db, own := d.prepared(t)
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "other"}))
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "other", Username: "ann"}))
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "bob"}))
		_, _, err := db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1"}, Redemption{Ticket: "t", Expires: start})
		require.NoError(t, err)
		issue := []Scope{ScopeIssue}
		both, err := db.CreateAPIKey(ctx, APIKey{Scopes: issue, Brands: []string{"acme", "other"}})
		require.NoError(t, err)
		every, err := db.CreateAPIKey(ctx, APIKey{Scopes: issue, AllBrands: true})
		require.NoError(t, err)

		err = db.RemoveBrand(ctx, "acme", false)
		var inUse *InUseError
		require.ErrorAs(t, err, &inUse)
		assert.Equal(t, InUseError{"acme", 2, 1, 1, 2}, *inUse)
		assert.ErrorContains(t, err, `brand "acme" still has 2 agents, 1 channel, 1 customer, 2 API keys: remove them first`)
		_, err = db.Authenticate(ctx, own, start)
		assert.NoError(t, err, "nothing has changed")

		require.NoError(t, db.RemoveBrand(ctx, "acme", true))
		_, err = db.Brand(ctx, "acme")
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.Authenticate(ctx, own, start)
		var auth *AuthError
		require.ErrorAs(t, err, &auth)
		assert.Equal(t, AuthUnknown, auth.Reason, "a key for nothing else goes, too")
		for bearer, want := range map[string][]string{both: {"other"}, every: nil} {
			k, err := db.Authenticate(ctx, bearer, start)
			require.NoError(t, err)
			assert.Equal(t, want, k.Brands)
			assert.True(t, k.Allows(ScopeIssue, "other"))
		}
		// A brand of the same name is another one: no old key is good for it.
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		k, err := db.Authenticate(ctx, both, start)
		require.NoError(t, err)
		assert.False(t, k.Allows(ScopeIssue, "acme"))
		for _, table := range []string{"agent", "channel", "customer", "redemption", "api_key_brand"} {
			assert.Zero(t, count(t, db, `SELECT count(*) FROM `+table+` WHERE brand = 'acme'`), table)
		}
		assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM agent`))
	})
}

// Whatever is added to a brand while it is removed is either counted and in the
// way, or comes too late.
func TestRemoveBrandWhileItIsUsed(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, other := open(t, dsn), open(t, dsn)
		for round := range 10 {
			name := fmt.Sprint("b", round)
			require.NoError(t, db.AddBrand(ctx, Brand{Name: name}))
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 10 {
					if err := other.AddAgent(ctx, Agent{Brand: name, Username: fmt.Sprint(i)}); err != nil {
						assert.ErrorIs(t, err, ErrNotFound)
						return
					}
				}
			})
			assert.NoError(t, db.RemoveBrand(ctx, name, true))
			wg.Wait()
			assert.Zero(t, count(t, db, `SELECT count(*) FROM agent`))
		}
	})
}

func TestUpdateAPIKey(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}, Note: "a",
			Expires: start.Add(time.Hour)})
		require.NoError(t, err)
		id, _, _ := parseKey(bearer)
		got, err := db.UpdateAPIKey(ctx, id, func(k *APIKey) error {
			k.Scopes, k.Brands, k.Note, k.Rate, k.Expires = []Scope{ScopeRedeem}, []string{"other"}, "b", 2.5,
				start.Add(2*time.Hour)
			return nil
		})
		require.NoError(t, err)
		want := APIKey{ID: id, Scopes: []Scope{ScopeRedeem}, Brands: []string{"other"}, Note: "b", Rate: 2.5, Burst: 3,
			Created: start, Expires: start.Add(2 * time.Hour)}
		assert.Equal(t, chosen(t, want, got), got)
		k, err := db.Authenticate(ctx, bearer, start)
		require.NoError(t, err)
		assert.Equal(t, got, k, "and so it is at once")
		for name, c := range map[string]struct {
			edit func(k *APIKey)
			want string
		}{
			"ID":         {func(k *APIKey) { k.ID = "bbbbbbbbbb" }, "leave them as they are"},
			"created":    {func(k *APIKey) { k.Created = start.Add(1e9) }, "leave them as they are"},
			"revoked":    {func(k *APIKey) { k.Revoked = start }, "leave them as they are"},
			"last used":  {func(k *APIKey) { k.LastUsed = start.Add(1e9) }, "leave them as they are"},
			"no scopes":  {func(k *APIKey) { k.Scopes = nil }, "scopes is empty"},
			"no brands":  {func(k *APIKey) { k.Brands = nil }, "name the key's brands"},
			"no brand":   {func(k *APIKey) { k.Brands = []string{"acmee"} }, `brand "acmee"`},
			"expires":    {func(k *APIKey) { k.Expires = start }, "not in the future"},
			"bad string": {func(k *APIKey) { k.Note = "\n" }, "control"},
		} {
			_, err := db.UpdateAPIKey(ctx, id, func(k *APIKey) error { c.edit(k); return nil })
			assert.ErrorContains(t, err, c.want, name)
		}
		k, err = db.APIKey(ctx, id)
		require.NoError(t, err)
		assert.Equal(t, got.Brands, k.Brands, "nothing refused was written")
		assert.Equal(t, got.Scopes, k.Scopes)

		// What is over stays over.
		require.NoError(t, db.RevokeAPIKey(ctx, id))
		_, err = db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Revoked = time.Time{}; return nil })
		assert.ErrorContains(t, err, "leave them")
		db.now = func() time.Time { return start.Add(3 * time.Hour) }
		_, err = db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Expires = start.Add(4 * time.Hour); return nil })
		assert.ErrorContains(t, err, "has come; create another key")
		_, err = db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Note = "gone"; return nil })
		assert.NoError(t, err)
	})
}

func TestAPIKeysOfABrand(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		want := map[string]map[string]bool{"": {}, "acme": {}, "other": {}}
		for _, brands := range [][]string{nil, {"acme"}, {"other"}, {"acme", "other"}, {"acme"}} {
			bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: brands, AllBrands: brands == nil})
			require.NoError(t, err)
			id, _, _ := parseKey(bearer)
			for brand := range want {
				if k, err := db.APIKey(ctx, id); brand == "" || k.Allows(ScopeIssue, brand) {
					require.NoError(t, err)
					want[brand][id] = true
				}
			}
		}
		for brand, want := range want {
			got := make(map[string]bool)
			for after := ""; ; {
				keys, err := db.APIKeys(ctx, brand, after, 2)
				require.NoError(t, err)
				if len(keys) == 0 {
					break
				}
				assert.LessOrEqual(t, len(keys), 2, "keys, not rows")
				for _, k := range keys {
					assert.Greater(t, k.ID, after)
					after = k.ID
					one, err := db.APIKey(ctx, k.ID)
					require.NoError(t, err)
					assert.Equal(t, one, k)
					got[k.ID] = true
				}
			}
			assert.Equal(t, want, got, brand)
		}
	})
}
