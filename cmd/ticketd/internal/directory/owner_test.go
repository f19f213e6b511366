package directory

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trap W9: a record has an ID of its own, and another when it is made or made active
// again.
func TestRecordIDs(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		ann := Agent{Brand: "acme", Username: "ann", Active: true, RecordID: "chosen by the caller"}
		seen := map[string]bool{ann.RecordID: true}
		now := func() string {
			t.Helper()
			a, since, err := db.AgentOfSession(ctx, "acme", "ann")
			require.NoError(t, err)
			assert.Zero(t, since)
			same, err := db.Agent(ctx, "acme", "ann")
			require.NoError(t, err)
			assert.Equal(t, same, a)
			return a.RecordID
		}
		another := func(what string) {
			t.Helper()
			id := now()
			assert.Len(t, id, 26)
			assert.False(t, seen[id], what)
			seen[id] = true
		}
		update := func(edit func(*Agent)) {
			t.Helper()
			_, err := db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { edit(a); return nil })
			require.NoError(t, err)
		}
		imported := func(a Agent) {
			t.Helper()
			_, err := db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) { yield(a, nil) }, nil)
			require.NoError(t, err)
		}
		require.NoError(t, db.AddAgent(ctx, ann))
		another("added")
		id := now()
		update(func(a *Agent) { a.Email, a.Groups = "ann@example.com", []string{"staff"} })
		update(func(a *Agent) { a.RecordID = "chosen by the caller" })
		imported(Agent{Username: "ann", LastName: "Ash", Active: true})
		update(func(a *Agent) { a.Active = false })
		assert.Equal(t, id, now(), "the same record")
		update(func(a *Agent) { a.Active = true })
		another("active again")
		imported(Agent{Username: "ann"})
		imported(Agent{Username: "ann", Active: true})
		another("active again by an import")
		require.NoError(t, db.RemoveAgent(ctx, "acme", "ann"))
		_, _, err := db.AgentOfSession(ctx, "acme", "ann")
		assert.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, db.AddAgent(ctx, ann))
		another("added again")
		require.NoError(t, db.RemoveAgent(ctx, "acme", "ann"))
		imported(ann)
		another("imported again")
		require.NoError(t, db.RemoveBrand(ctx, "acme", true))
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		require.NoError(t, db.AddAgent(ctx, ann))
		another("in a brand that was made again")
	})
}

func TestCustomerOfSession(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		since := start.Add(time.Hour)
		_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.SessionsSince = since; return nil })
		require.NoError(t, err)
		bob := put(t, db, Customer{UniqueID: "1"})
		for _, brand := range []string{"acme", "other"} {
			require.NoError(t, db.AddChannel(ctx, Channel{Brand: brand, ID: "web", RecordID: "chosen by the caller"}))
		}
		got, record, gotSince, err := db.CustomerOfSession(ctx, "acme", bob.ID, "web")
		require.NoError(t, err)
		assert.Equal(t, bob, got)
		assert.Equal(t, since, gotSince)
		_, _, _, err = db.CustomerOfSession(ctx, "other", bob.ID, "web")
		assert.ErrorIs(t, err, ErrNotFound)

		web, err := db.UpdateChannel(ctx, "acme", "web", func(c *Channel) error {
			c.Name, c.RecordID = "x", "chosen by the caller"
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, record, web.RecordID)
		assert.Len(t, record, 26)
		require.NoError(t, db.RemoveChannel(ctx, "acme", "web"))
		for _, channel := range []string{"web", "", "\xff"} {
			_, _, _, err = db.CustomerOfSession(ctx, "acme", bob.ID, channel)
			assert.ErrorIs(t, err, ErrNotFound)
		}
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}))
		_, another, _, err := db.CustomerOfSession(ctx, "acme", bob.ID, "web")
		require.NoError(t, err)
		assert.NotEqual(t, record, another)
		changed, err := db.UpdateCustomer(ctx, "acme", bob.ID, func(c *Customer) error {
			c.Remark, c.RecordID = "x", "chosen by the caller"
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, bob.RecordID, changed.RecordID)
		require.NoError(t, db.RemoveCustomer(ctx, "acme", bob.ID))
		again := put(t, db, Customer{UniqueID: "1"})
		assert.NotEqual(t, bob.ID, again.ID)
		assert.NotEqual(t, bob.RecordID, again.RecordID)
	})
}
