package manage

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
)

// notOperations are the methods of Desk that do nothing.
var notOperations = []string{"Caller", "IfRevision", "Once"}

// Every operation has a row, and every row an operation.
func TestOperationsAreDescribed(t *testing.T) {
	described := make(map[string]bool)
	for _, o := range Operations {
		assert.False(t, described[o.Name], "%s is there once", o.Name)
		described[o.Name] = true
	}
	for m := range reflect.TypeFor[*Desk]().Methods() {
		assert.Equal(t, !slices.Contains(notOperations, m.Name), described[m.Name], m.Name)
		delete(described, m.Name)
	}
	assert.Empty(t, described, "these are no methods")
}

// newOffice opens the office of two brands, each with one record of each kind.
func newOffice(t *testing.T, dsn string) (*Office, map[string]string) {
	t.Helper()
	db, err := directory.Open(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	keys := make(map[string]string)
	add := func(name string, k directory.APIKey) {
		k.Scopes = []directory.Scope{directory.ScopeIssue}
		bearer, err := db.CreateAPIKey(t.Context(), k)
		require.NoError(t, err)
		keys[name] = directory.APIKeyID(bearer)
	}
	for _, brand := range []string{"own", "other"} {
		require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: brand}))
		require.NoError(t, db.AddAgent(t.Context(), directory.Agent{Brand: brand, Username: "ann"}))
		require.NoError(t, db.AddChannel(t.Context(), directory.Channel{Brand: brand, ID: "web"}))
		_, err := db.AddCustomer(t.Context(), directory.Customer{Brand: brand, UniqueID: "1"})
		require.NoError(t, err)
		add(brand, directory.APIKey{Brands: []string{brand}})
	}
	add("both", directory.APIKey{Brands: []string{"other", "own"}})
	add("all", directory.APIKey{AllBrands: true})
	return &Office{
		Directory: db, Now: time.Now,
		ChatURL:  func(brand, channel string) (string, error) { return "https://x/chat/" + brand + "." + channel, nil },
		Keyrings: func() []keyring.Report { return nil },
		Health: []Check{
			{"directory", db.Ping}, {"store", func(context.Context) error { return errors.New("away") }},
		},
		Settings: []Setting{{"listen", ":8080"}},
	}, keys
}

// ids are the customers of the brands of newOffice.
var ids = map[string]int64{"own": 1, "other": 2}

// calls are the operations of a brand, with records of that brand.
func calls(ctx context.Context, d *Desk, brand string, keys map[string]string) map[string]func() error {
	id, key := ids[brand], keys[brand]
	var none Page
	second := func(_ any, err error) error { return err }
	return map[string]func() error{
		"Brands":           func() error { return second(d.Brands(ctx, none)) },
		"Brand":            func() error { return second(d.Brand(ctx, brand)) },
		"Effective":        func() error { return second(d.Effective(ctx, brand, "web")) },
		"AddBrand":         func() error { return second(d.AddBrand(ctx, directory.Brand{Name: "new"})) },
		"ChangeBrand":      func() error { return second(d.ChangeBrand(ctx, brand, func(*directory.Brand) error { return nil })) },
		"RemoveBrand":      func() error { return d.RemoveBrand(ctx, brand, true) },
		"EndBrandSessions": func() error { return second(d.EndBrandSessions(ctx, brand)) },

		"Agents":   func() error { return second(d.Agents(ctx, brand, none)) },
		"Agent":    func() error { return second(d.Agent(ctx, brand, "ann")) },
		"AddAgent": func() error { return second(d.AddAgent(ctx, brand, directory.Agent{Username: "bob"})) },
		"ChangeAgent": func() error {
			return second(d.ChangeAgent(ctx, brand, "ann", func(*directory.Agent) error { return nil }))
		},
		"RemoveAgent":      func() error { return d.RemoveAgent(ctx, brand, "ann") },
		"EndAgentSessions": func() error { return second(d.EndAgentSessions(ctx, brand, "ann")) },
		"PreviewAgents":    func() error { return second(d.PreviewAgents(ctx, brand, strings.NewReader("username\ncleo\n"))) },
		"ImportAgents":     func() error { return second(d.ImportAgents(ctx, brand, strings.NewReader("username\ncleo\n"))) },

		"Customers":       func() error { return second(d.Customers(ctx, brand, none)) },
		"SearchCustomers": func() error { _, _, err := d.SearchCustomers(ctx, brand, "1", 0); return err },
		"Customer":        func() error { return second(d.Customer(ctx, brand, id)) },
		"AddCustomer":     func() error { return second(d.AddCustomer(ctx, brand, directory.Customer{UniqueID: "2"})) },
		"ChangeCustomer": func() error {
			return second(d.ChangeCustomer(ctx, brand, id, func(*directory.Customer) error { return nil }))
		},
		"RemoveCustomer":      func() error { return d.RemoveCustomer(ctx, brand, id) },
		"EndCustomerSessions": func() error { return second(d.EndCustomerSessions(ctx, brand, id)) },

		"Channels":   func() error { return second(d.Channels(ctx, brand, none)) },
		"Channel":    func() error { return second(d.Channel(ctx, brand, "web")) },
		"AddChannel": func() error { return second(d.AddChannel(ctx, brand, directory.Channel{ID: "new"})) },
		"ChangeChannel": func() error {
			return second(d.ChangeChannel(ctx, brand, "web", func(*directory.Channel) error { return nil }))
		},
		"RemoveChannel": func() error { return d.RemoveChannel(ctx, brand, "web") },

		"RevokeTicket": func() error { return d.RevokeTicket(ctx, brand, strings.Repeat("0a", 16)) },

		"APIKeys": func() error { return second(d.APIKeys(ctx, brand, none)) },
		"APIKey":  func() error { return second(d.APIKey(ctx, key)) },
		"AddAPIKey": func() error {
			k := directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{brand}}
			_, _, err := d.AddAPIKey(ctx, k)
			return err
		},
		"ChangeAPIKey": func() error {
			return second(d.ChangeAPIKey(ctx, key, func(k *directory.APIKey) error { k.Note = "n"; return nil }))
		},
		"RevokeAPIKey":  func() error { return second(d.RevokeAPIKey(ctx, key)) },
		"ReplaceAPIKey": func() error { _, _, err := d.ReplaceAPIKey(ctx, key, time.Hour); return err },
		"RemoveAPIKey":  func() error { return d.RemoveAPIKey(ctx, key) },

		"Events":   func() error { return second(d.Events(ctx, directory.EventFilter{Brand: brand}, none)) },
		"Keyrings": func() error { return second(d.Keyrings(ctx)) },
		"Health":   func() error { return second(d.Health(ctx)) },
		"Settings": func() error { return second(d.Settings(ctx)) },
	}
}

// callers are the kinds of callers.
func callers() map[string]Caller {
	actor := directory.Actor{Kind: directory.ActorAdministrator, Name: "root"}
	return map[string]Caller{
		"deployment admin":   {Actor: actor, Role: Admin, AllBrands: true},
		"deployment auditor": {Actor: actor, Role: Auditor, AllBrands: true},
		"brand admin":        {Actor: actor, Role: Admin, Brands: []string{"own"}},
		"brand auditor":      {Actor: actor, Role: Auditor, Brands: []string{"own"}},
		"nobody":             {Actor: actor, Role: Admin},
		"no role":            {Actor: actor, AllBrands: true},
	}
}

// Each caller × each operation × own and another brand.
func TestWhoMayDoWhat(t *testing.T) {
	for name, caller := range callers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, brand := range []string{"own", "other"} {
				whoMayDoWhat(t, name, caller, brand)
			}
		})
	}
}

func whoMayDoWhat(t *testing.T, name string, caller Caller, brand string) {
	var office *Office
	var keys map[string]string
	for _, o := range Operations {
		if office == nil { // the one before was changed
			office, keys = newOffice(t, t.TempDir()+"/directory.db")
		}
		before, err := office.Directory.LastEvent(t.Context())
		require.NoError(t, err)
		do := calls(t.Context(), office.For(caller), brand, keys)[o.Name]
		require.NotNil(t, do, o.Name)
		err = do()
		has := caller.has(brand)
		var forbidden *ForbiddenError
		switch {
		case o.Of == OfDeployment && !caller.AllBrands, o.Of == OfBrand && has && o.Does != Reads && caller.Role != Admin,
			o.Of != OfBrand && o.Does != Reads && caller.Role != Admin:
			assert.ErrorAs(t, err, &forbidden, "%s, %s of %s", name, o.Name, brand)
		case o.Of == OfDeployment, o.Name == "Brands", o.Name == "Administrators":
			assert.NoError(t, err, "%s, %s of %s", name, o.Name, brand)
		case !has:
			assert.ErrorIs(t, err, directory.ErrNotFound, "%s, %s of %s", name, o.Name, brand)
		default:
			assert.NoError(t, err, "%s, %s of %s", name, o.Name, brand)
		}
		events, _, eventsErr := office.Directory.NewEvents(t.Context(), directory.EventFilter{AllBrands: true}, before, 100)
		require.NoError(t, eventsErr)
		for _, e := range events {
			assert.Equal(t, caller.Actor, e.Actor, "%s, %s", name, o.Name)
		}
		if o.Does == Reads || err != nil {
			assert.Empty(t, events, "%s, %s", name, o.Name)
		}
		if len(events) > 0 {
			office = nil
		}
	}
}
