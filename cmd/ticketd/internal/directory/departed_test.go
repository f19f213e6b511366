package directory

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap W9: a name that was away has a time of its return, and a new name has none.
func TestTicketsSince(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		now := start
		db.now = func() time.Time { return now }
		since := func(username string) time.Time {
			t.Helper()
			a, err := db.Agent(ctx, "acme", username)
			require.NoError(t, err)
			return a.TicketsSince
		}
		add := func(username string, active bool) {
			t.Helper()
			now = now.Add(time.Hour)
			a := Agent{Brand: "acme", Username: username, Active: active, TicketsSince: now.Add(time.Hour)}
			require.NoError(t, db.AddAgent(ctx, a))
		}
		active := func(username string, active bool) {
			t.Helper()
			now = now.Add(time.Hour)
			a, err := db.UpdateAgent(ctx, "acme", username, func(a *Agent) error {
				a.Active, a.TicketsSince = active, time.Time{}
				return nil
			})
			require.NoError(t, err)
			assert.Equal(t, since(username), a.TicketsSince)
		}
		imported := func(all ...Agent) Imported {
			t.Helper()
			now = now.Add(time.Hour)
			did, err := db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
				for _, a := range all {
					yield(a, nil)
				}
			}, nil)
			require.NoError(t, err)
			return did
		}
		remove := func(username string) {
			t.Helper()
			now = now.Add(time.Hour)
			require.NoError(t, db.RemoveAgent(ctx, "acme", username))
		}
		add("ann", true)
		assert.Zero(t, since("ann"))
		active("ann", true)
		assert.Zero(t, since("ann"), "nothing changed")
		active("ann", false)
		active("ann", true)
		assert.Equal(t, now, since("ann"))
		returned := now
		active("ann", true)
		assert.Equal(t, returned, since("ann"))
		remove("ann")
		add("ann", true)
		assert.Equal(t, now, since("ann"))

		add("inactive at first", false)
		active("inactive at first", true)
		assert.Zero(t, since("inactive at first"), "no ticket was ever good")

		assert.Equal(t, Imported{Added: 2}, imported(Agent{Username: "a", Active: true}, Agent{Username: "b", Active: true}))
		assert.Zero(t, since("a"))
		did := imported(Agent{Username: "a"}, Agent{Username: "b", Active: true})
		assert.Equal(t, Imported{Changed: 1, Unchanged: 1, Deactivated: 1}, did)
		remove("b")
		did = imported(Agent{Username: "a", Active: true}, Agent{Username: "b", Active: true},
			Agent{Username: "c", Active: true})
		assert.Equal(t, Imported{Added: 2, Changed: 1, Activated: 1}, did)
		assert.Equal(t, now, since("a"))
		assert.Equal(t, now, since("b"))
		assert.Zero(t, since("c"))

		// A brand that returns says so for all its agents.
		require.NoError(t, db.RemoveBrand(ctx, "acme", true))
		now = now.Add(time.Hour)
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		b, c, err := db.BrandChannel(ctx, "acme", "none")
		require.NoError(t, err)
		assert.Nil(t, c)
		assert.Equal(t, now, b.TicketsSince)
		assert.Equal(t, now, b.Effective(nil).TicketsSince)
		b, err = db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.TicketsSince = time.Time{}; return nil })
		require.NoError(t, err)
		assert.Equal(t, now, b.TicketsSince)
		add("ann", true)
		assert.Zero(t, since("ann"))
		b, err = db.Brand(ctx, "other")
		require.NoError(t, err)
		assert.Zero(t, b.TicketsSince)
	})
}

// trap W9: a channel that was away has a time of its return. An agent of the same name has
// none, nor has a channel of another brand.
func TestTicketsSinceOfChannels(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		now := start
		db.now = func() time.Time { return now }
		add := func(brand string) time.Time {
			t.Helper()
			now = now.Add(time.Hour)
			require.NoError(t, db.AddChannel(ctx, Channel{Brand: brand, ID: "web", TicketsSince: start}))
			_, c, err := db.BrandChannel(ctx, brand, "web")
			require.NoError(t, err)
			same, err := db.Channel(ctx, brand, "web")
			require.NoError(t, err)
			assert.Equal(t, same, *c)
			return c.TicketsSince
		}
		assert.Zero(t, add("acme"))
		require.NoError(t, db.RemoveChannel(ctx, "acme", "web"))
		assert.Equal(t, now.Add(time.Hour), add("acme"))
		c, err := db.UpdateChannel(ctx, "acme", "web", func(c *Channel) error { c.TicketsSince = time.Time{}; return nil })
		require.NoError(t, err)
		assert.Equal(t, now, c.TicketsSince)
		assert.Zero(t, add("other"))
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "web", Active: true}))
		a, err := db.Agent(ctx, "acme", "web")
		require.NoError(t, err)
		assert.Zero(t, a.TicketsSince)

		require.NoError(t, db.RemoveBrand(ctx, "acme", true))
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		assert.Zero(t, add("acme"), "the brand's own return counts")
	})
}

// However a removal and the next addition of a name overlap, the new record has the time
// of its return.
func TestTicketsSinceOfOverlappingChanges(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			dsn := with(t, postgresServer.place(t), "default_transaction_isolation", level)
			one, two := open(t, dsn), open(t, dsn)
			ctx := t.Context()
			require.NoError(t, one.AddBrand(ctx, Brand{Name: "acme"}))
			ann := Agent{Brand: "acme", Username: "ann", Active: true}
			require.NoError(t, one.AddAgent(ctx, ann))
			web := Channel{Brand: "acme", ID: "web"}
			require.NoError(t, one.AddChannel(ctx, web))
			for range 20 {
				var wg sync.WaitGroup
				wg.Go(func() {
					assert.NoError(t, one.RemoveAgent(ctx, "acme", "ann"))
					assert.NoError(t, one.RemoveChannel(ctx, "acme", "web"))
				})
				wg.Go(func() {
					for two.AddAgent(ctx, ann) != nil {
					}
					for two.AddChannel(ctx, web) != nil {
					}
				})
				wg.Wait()
				a, err := one.Agent(ctx, "acme", "ann")
				require.NoError(t, err)
				require.Equal(t, start, a.TicketsSince)
				c, err := one.Channel(ctx, "acme", "web")
				require.NoError(t, err)
				require.Equal(t, start, c.TicketsSince)
			}
		})
	}
}

// trap S7: a field that the source does not have stays as it is, and so does the record
// of everybody about whom nothing is new.
func TestImportKeepsWhatIsMissing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		full := Agent{Brand: "acme", Username: "ann", Email: "ann@example.com", Phone1: "+442501234567", UniqueID: "7",
			FirstName: "Ann", LastName: "Ash", Groups: []string{"staff"}}
		require.NoError(t, db.AddAgent(ctx, full))
		full, err := db.Agent(ctx, "acme", "ann")
		require.NoError(t, err)
		given := Agent{Username: "ann", Email: "new@example.com", Phone1: "+442501234568", UniqueID: "8", FirstName: "Bea",
			LastName: "Oak", Groups: []string{"admins"}, Active: true}
		fields := []string{"email", "phone1", "uniqueId", "firstName", "lastName", "groups", "active"}
		for subset := range 1 << len(fields) {
			var missing []string
			want := full
			for i, take := range []func(){
				func() { want.Email = given.Email }, func() { want.Phone1 = given.Phone1 },
				func() { want.UniqueID = given.UniqueID }, func() { want.FirstName = given.FirstName },
				func() { want.LastName = given.LastName }, func() { want.Groups = given.Groups },
				func() { want.Active = given.Active },
			} {
				if subset>>i&1 == 1 {
					missing = append(missing, fields[i])
				} else {
					take()
				}
			}
			o := &ImportOptions{Missing: func(Agent) []string { return missing }, DryRun: true}
			one := func(yield func(Agent, error) bool) { yield(given, nil) }
			would, err := db.ImportAgents(ctx, "acme", one, o)
			require.NoError(t, err)
			got, err := db.Agent(ctx, "acme", "ann")
			require.NoError(t, err)
			require.Equal(t, full, got, "a dry run")
			o.DryRun = false
			did, err := db.ImportAgents(ctx, "acme", one, o)
			require.NoError(t, err)
			assert.Equal(t, would, did)
			switch {
			case len(missing) == len(fields):
				assert.Equal(t, Imported{Unchanged: 1}, did)
			case want.Active:
				assert.Equal(t, Imported{Changed: 1, Activated: 1}, did)
			default:
				assert.Equal(t, Imported{Changed: 1}, did)
			}
			got, err = db.Agent(ctx, "acme", "ann")
			require.NoError(t, err)
			require.Equal(t, chosen(t, want, got), got, "missing: %q", missing)
			assert.Equal(t, !want.Active, got.RecordID == full.RecordID)
			do(t, db, `DELETE FROM agent`)
			require.NoError(t, db.AddAgent(ctx, full))
			full, err = db.Agent(ctx, "acme", "ann")
			require.NoError(t, err)
		}
	})
}
