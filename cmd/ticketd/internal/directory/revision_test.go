package directory

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A revisioned is a record that may change at one revision only.
type revisioned struct {
	kind           string
	add            func() error
	get            func() (int64, error)
	change, remove func(db *DB) error
}

func revisionedRecords(t *testing.T, db *DB) []revisioned {
	ctx := t.Context()
	var id int64
	var key string
	return []revisioned{
		{"agent", func() error { return db.AddAgent(ctx, Agent{Brand: "acme", Username: "Ann"}) },
			func() (int64, error) { a, err := db.Agent(ctx, "acme", "ann"); return a.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.LastName += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveAgent(ctx, "acme", "ann") }},
		{"channel", func() error { return db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}) },
			func() (int64, error) { c, err := db.Channel(ctx, "acme", "web"); return c.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateChannel(ctx, "acme", "web", func(c *Channel) error { c.Name += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveChannel(ctx, "acme", "web") }},
		{"customer", func() error {
			c, err := db.AddCustomer(ctx, Customer{Brand: "acme", UniqueID: "1"})
			id = c.ID
			return err
		}, func() (int64, error) { c, err := db.Customer(ctx, "acme", id); return c.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateCustomer(ctx, "acme", id, func(c *Customer) error { c.Remark += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveCustomer(ctx, "acme", id) }},
		{"API key", func() error {
			bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
			key, _, _ = parseKey(bearer)
			return err
		}, func() (int64, error) { k, err := db.APIKey(ctx, key); return k.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateAPIKey(ctx, key, func(k *APIKey) error { k.Note += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveAPIKey(ctx, key) }},
		{"administrator", func() error {
			return db.AddAdministrator(ctx, Administrator{Username: "Ann", Role: RoleAdmin, Brands: []string{"acme"}})
		}, func() (int64, error) { a, err := db.Administrator(ctx, "ann"); return a.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateAdministrator(ctx, "ann", false, func(a *Administrator) error { a.Name += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveAdministrator(ctx, "ann", false) }},
		{"brand", func() error { return db.AddBrand(ctx, Brand{Name: "other"}) },
			func() (int64, error) { b, err := db.Brand(ctx, "other"); return b.Revision, err },
			func(db *DB) error {
				_, err := db.UpdateBrand(ctx, "other", func(b *Brand) error { b.DisplayName += "x"; return nil })
				return err
			}, func(db *DB) error { return db.RemoveBrand(ctx, "other", false) }},
	}
}

// Of the changes at one revision, one is made.
func TestIfRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		for _, r := range revisionedRecords(t, db) {
			require.NoError(t, r.add(), r.kind)
			first, err := r.get()
			require.NoError(t, err, r.kind)
			var wg sync.WaitGroup
			var made atomic.Int32
			for range 6 {
				wg.Go(func() {
					if err := r.change(db.IfRevision(first)); err == nil {
						made.Add(1)
					} else {
						assert.ErrorIs(t, err, ErrChanged, r.kind)
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, 1, made.Load(), r.kind)
			second, err := r.get()
			require.NoError(t, err, r.kind)
			assert.Equal(t, first+1, second, r.kind)
			assert.ErrorIs(t, r.remove(db.IfRevision(first)), ErrChanged, r.kind)
			assert.NoError(t, r.change(db), "without a condition: %s", r.kind)
			assert.NoError(t, r.remove(db.IfRevision(second+1)), r.kind)

			require.NoError(t, r.add(), "again: %s", r.kind)
			again, err := r.get()
			require.NoError(t, err, r.kind)
			assert.NotContains(t, []int64{first, second, second + 1}, again, "another record: %s", r.kind)
		}
	})
}

// A change that the view does not permit is not made, and the check sees the record.
func TestProvided(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		refused := errors.New("refused")
		for _, r := range revisionedRecords(t, db) {
			require.NoError(t, r.add(), r.kind)
			first, err := r.get()
			require.NoError(t, err, r.kind)
			var seen any
			view := db.Provided(func(record any) error { seen = record; return refused })
			for what, do := range map[string]func(*DB) error{"change": r.change, "remove": r.remove} {
				seen = nil
				assert.ErrorIs(t, do(view), refused, "%s %s", what, r.kind)
				switch seen.(type) {
				case Agent, Channel, Customer, APIKey, Administrator, Brand:
				default:
					t.Errorf("%s %s: the check saw a %T", what, r.kind, seen)
				}
			}
			again, err := r.get()
			require.NoError(t, err, r.kind)
			assert.Equal(t, first, again, r.kind)
			assert.NoError(t, r.change(db.Provided(func(any) error { return nil })), r.kind)
		}
	})
}
