package manage

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/api/apitest"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
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
		addAdministrator(t, db, directory.Administrator{Username: brand, Brands: []string{brand}})
	}
	require.NoError(t, db.SeeIssuers(t.Context(), "service", time.Now(), []directory.IssuerEntry{
		{Name: "own", Brands: []string{"own"}}, {Name: "other", Brands: []string{"other"}},
		{Name: "two", Brands: []string{"other", "own"}, Denied: true}, {Name: "every", AllBrands: true},
	}))
	addAdministrator(t, db, directory.Administrator{Username: "both", Brands: []string{"other", "own"}})
	addAdministrator(t, db, directory.Administrator{Username: "all", AllBrands: true})
	add("both", directory.APIKey{Brands: []string{"other", "own"}})
	add("all", directory.APIKey{AllBrands: true})
	service := apitest.New(t, db)
	for _, brand := range []string{"own", "other"} {
		keys[brand+" ticket"] = service.Ticket(t, token.Ticket{Audience: token.Customer, Brand: brand, UniqueID: "1"})
	}
	return &Office{
		Directory: db, Now: time.Now, Tickets: service.Tickets, LoginURL: "https://x/login",
		ChatURL:  func(brand, channel string) (string, error) { return "https://x/chat/" + brand + "." + channel, nil },
		Keyrings: func() []keyring.Report { return nil },
		Health: []Check{
			{"directory", db.Ping}, {"store", func(context.Context) error { return errors.New("away") }},
		},
		Settings: []Setting{{"listen", ":8080"}},
	}, keys
}

// addAdministrator adds an active admin.
func addAdministrator(t *testing.T, db *directory.DB, a directory.Administrator) {
	t.Helper()
	a.Role, a.Active = directory.RoleAdmin, true
	require.NoError(t, db.AddAdministrator(t.Context(), a))
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

		"Agents":       func() error { return second(d.Agents(ctx, brand, none)) },
		"SearchAgents": func() error { _, _, err := d.SearchAgents(ctx, brand, "ann", 0); return err },
		"Agent":        func() error { return second(d.Agent(ctx, brand, "ann")) },
		"AddAgent":     func() error { return second(d.AddAgent(ctx, brand, directory.Agent{Username: "bob"})) },
		"ChangeAgent": func() error {
			return second(d.ChangeAgent(ctx, brand, "ann", func(*directory.Agent) error { return nil }))
		},
		"RemoveAgent":      func() error { return d.RemoveAgent(ctx, brand, "ann") },
		"EndAgentSessions": func() error { return second(d.EndAgentSessions(ctx, brand, "ann")) },
		"PreviewAgents":    func() error { return second(d.PreviewAgents(ctx, brand, strings.NewReader("username\ncleo\n"))) },
		"ImportAgents":     func() error { return second(d.ImportAgents(ctx, brand, strings.NewReader("username\ncleo\n"))) },

		"Customers":       func() error { return second(d.Customers(ctx, brand, none)) },
		"SearchCustomers": func() error { _, _, err := d.SearchCustomers(ctx, brand, "1", 0); return err },
		"FindCustomers": func() error {
			return second(d.FindCustomers(ctx, brand, directory.Customer{UniqueID: "1"}))
		},
		"Customer":    func() error { return second(d.Customer(ctx, brand, id)) },
		"AddCustomer": func() error { return second(d.AddCustomer(ctx, brand, directory.Customer{UniqueID: "2"})) },
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

		"IssueTicket": func() error {
			return second(d.IssueTicket(ctx, brand, client.IssueRequest{UniqueID: "1", Channel: "web"}))
		},
		"ExplainTicket": func() error { return second(d.ExplainTicket(ctx, keys[brand+" ticket"])) },
		"RevokeTicket":  func() error { return d.RevokeTicket(ctx, brand, "", strings.Repeat("0a", 16)) },

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

		"Administrators": func() error { return second(d.Administrators(ctx, none)) },
		"Administrator":  func() error { return second(d.Administrator(ctx, brand)) },
		"AddAdministrator": func() error {
			a := directory.Administrator{Username: "new", Role: directory.RoleAuditor, Brands: []string{brand}}
			return second(d.AddAdministrator(ctx, a))
		},
		"ChangeAdministrator": func() error {
			return second(d.ChangeAdministrator(ctx, brand, func(a *directory.Administrator) error { a.Name = "n"; return nil }))
		},
		"RemoveAdministrator":      func() error { return d.RemoveAdministrator(ctx, brand) },
		"EndAdministratorSessions": func() error { return second(d.EndAdministratorSessions(ctx, brand)) },

		"Issuers":           func() error { return second(d.Issuers(ctx)) },
		"Issuer":            func() error { return second(d.Issuer(ctx, brand)) },
		"EndIssuerSessions": func() error { return second(d.EndIssuerSessions(ctx, brand)) },

		"Events": func() error { return second(d.Events(ctx, directory.EventFilter{Brand: brand}, none)) },
		"NewEvents": func() error {
			_, _, err := d.NewEvents(ctx, directory.EventFilter{Brand: brand}, 0, 0)
			return err
		},
		"Keyrings": func() error { return second(d.Keyrings(ctx)) },
		"Health":   func() error { return second(d.Health(ctx)) },
		"Settings": func() error { return second(d.Settings(ctx)) },
	}
}

// callers are the kinds of callers.
func callers() map[string]Caller {
	actor := directory.Actor{Kind: directory.ActorAdministrator, Name: "root"}
	return map[string]Caller{
		"deployment admin":   {Actor: actor, Role: directory.RoleAdmin, AllBrands: true},
		"deployment auditor": {Actor: actor, Role: directory.RoleAuditor, AllBrands: true},
		"brand admin":        {Actor: actor, Role: directory.RoleAdmin, Brands: []string{"own"}},
		"brand auditor":      {Actor: actor, Role: directory.RoleAuditor, Brands: []string{"own"}},
		"nobody":             {Actor: actor, Role: directory.RoleAdmin},
		"no role":            {Actor: actor, AllBrands: true},
	}
}

// Each caller × each operation × own and another brand.
func TestWhoMayDoWhat(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a directory for each case, in one goroutine; the whole run has it")
	}
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
		case o.Of == OfDeployment && !caller.AllBrands,
			o.Of == OfBrand && has && o.Does != Reads && caller.Role != directory.RoleAdmin,
			o.Of != OfBrand && o.Does != Reads && caller.Role != directory.RoleAdmin:
			assert.ErrorAs(t, err, &forbidden, "%s, %s of %s", name, o.Name, brand)
		case o.Of == OfDeployment, o.Name == "Brands", o.Name == "Administrators", o.Name == "Issuers":
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

// A caller of named brands sees the issuers of these brands, and of their grants these brands.
func TestIssuersOfBrands(t *testing.T) {
	office, _ := newOffice(t, t.TempDir()+"/directory.db")
	seen := func(c Caller) map[string]string {
		all, err := office.For(c).Issuers(t.Context())
		require.NoError(t, err)
		shown := make(map[string]string)
		for _, i := range all {
			shown[i.Name] = fmt.Sprint(i.Brands, i.AllBrands, i.Denied)
		}
		return shown
	}
	wrote := false
	office.NoteUses = func(context.Context) error { wrote = true; return errors.New("away") }
	all := callers()
	assert.Equal(t, map[string]string{
		"own": "[own] false false", "two": "[own] false true", "every": "[own] false false",
	}, seen(all["brand auditor"]))
	assert.True(t, wrote)
	assert.Equal(t, map[string]string{
		"own": "[own] false false", "other": "[other] false false", "two": "[other own] false true", "every": "[] true false",
	}, seen(all["deployment auditor"]))
	assert.Empty(t, seen(all["nobody"]))
	_, err := office.For(all["brand admin"]).Issuer(t.Context(), "other")
	assert.ErrorIs(t, err, directory.ErrNotFound)
	two, err := office.For(all["brand admin"]).Issuer(t.Context(), "two")
	require.NoError(t, err)
	assert.Equal(t, []string{"own"}, two.Brands)
}
