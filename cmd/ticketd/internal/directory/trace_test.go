package directory

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// statements counts the statements of f.
func statements(t *testing.T, db *DB, f func()) int {
	t.Helper()
	var mu sync.Mutex
	n := 0
	db.Trace(func(statement string) {
		mu.Lock()
		defer mu.Unlock()
		n++
		assert.NotEmpty(t, statement)
	})
	f()
	db.Trace(nil)
	return n
}

// What a request asks of the directory takes one statement each, and none if it is
// remembered. A new customer's record takes two more.
func TestStatements(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}))
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "mary", Active: true}))
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
		require.NoError(t, err)
		require.NoError(t, db.RevokeTicket(ctx, "acme", "", token.ID{2}))
		asked := 0 // a file's revocations are in memory
		if d.name == postgresServer.name {
			asked = 1
		}
		on := Redemption{Ticket: "1", Expires: start.Add(time.Minute)}
		mary := Customer{UniqueID: "1", Email: "mary@example.com"}
		for _, c := range []struct {
			name       string
			cold, warm int
			do         func() error
		}{
			{"authenticate", 1, 0, func() error { _, err := db.Authenticate(ctx, bearer, start); return err }},
			{"settings of a brand", 1, 0, func() error { _, err := db.Effective(ctx, "acme", ""); return err }},
			{"settings of a channel", 1, 0, func() error { _, err := db.Effective(ctx, "acme", "web"); return err }},
			{"brand and channel", 1, 0, func() error { _, _, err := db.BrandChannel(ctx, "acme", "web"); return err }},
			{"agent", 1, 0, func() error { _, err := db.Agent(ctx, "acme", "mary"); return err }},
			{"agent's details", 1, 0, func() error { _, err := db.MatchAgent(ctx, "acme", "mary", Fields{}); return err }},
			{"new customer", 4, 1, func() error { _, _, err := db.ResolveCustomer(ctx, "acme", mary, on); return err }},
			{"known customer", 1, 1, func() error { _, _, err := db.ResolveCustomer(ctx, "acme", mary, on); return err }},
			{"customer's record", 1, 1, func() error { _, err := db.KnownCustomer(ctx, "acme", mary, on); return err }},
			{"policy on other users", 1, 0, func() error { _, err := db.StrictestOtherUser(ctx); return err }},
			{"no revocation", asked, asked, func() error { _, err := db.TicketRevoked(ctx, "acme", "", token.ID{1}); return err }},
			{"revocation", 1, 1, func() error { _, err := db.TicketRevoked(ctx, "acme", "", token.ID{2}); return err }},
			{"nobody", 1, 1, func() error {
				if _, err := db.Agent(ctx, "acme", "nobody"); !errors.Is(err, ErrNotFound) {
					return errors.New("there is somebody")
				}
				return nil
			}},
			{"ping", 1, 1, func() error { return db.Ping(ctx) }},
		} {
			db.cache.forget()
			do := func() { assert.NoError(t, c.do(), c.name) }
			assert.Equal(t, c.cold, statements(t, db, do), c.name)
			assert.Equal(t, c.warm, statements(t, db, do), "again: %s", c.name)
		}
	})
}

// BrandChannel gives the same records as looking up each.
func TestBrandChannel(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "other")
		yes, no := true, false
		brand := Brand{
			Name: "acme", Region: "US", RequiredAgentFields: []string{"email"}, AgentLifetime: time.Minute, SessionsSince: start,
			Settings: Settings{OneTime: &yes, TicketLogin: &yes, DisplayName: "Acme"},
		}
		channel := Channel{Brand: "acme", ID: "web", Name: "Web",
			Settings: Settings{OneTime: &no, FrameAncestors: []string{"'self'"}}}
		require.NoError(t, db.AddBrand(ctx, brand))
		require.NoError(t, db.AddChannel(ctx, channel))
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "other", ID: "theirs"}))
		b, c, err := db.BrandChannel(ctx, "acme", "web")
		require.NoError(t, err)
		assert.Equal(t, chosen(t, brand, b), b)
		assert.Equal(t, chosen(t, channel, *c), *c)
		for _, id := range []string{"", "theirs", "WEB", "acme", "web\x00", "\xff"} {
			b, c, err := db.BrandChannel(ctx, "acme", id)
			require.NoError(t, err)
			assert.Equal(t, chosen(t, brand, b), b)
			assert.Nil(t, c, "%q", id)
		}
		for _, name := range []string{"", "web", "Acme", "acme\x00", "\xff"} {
			_, _, err := db.BrandChannel(ctx, name, "web")
			assert.ErrorIs(t, err, ErrNotFound, "%q", name)
			assert.ErrorContains(t, err, "brand")
		}
		_, err = db.Effective(ctx, "acme", "theirs")
		assert.ErrorIs(t, err, ErrNotFound)
		assert.ErrorContains(t, err, "channel")
	})
}
