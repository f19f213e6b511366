package adminapi

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/token"
)

// members returns the names of the JSON members of a struct.
func members(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, members(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Each operation has a method of the client, and each record the fields of the answers.
func TestClientHasAll(t *testing.T) {
	methods := make(map[string]bool)
	for m := range reflect.TypeFor[*admin.Client]().Methods() {
		methods[m.Name] = true
	}
	for _, o := range manage.Operations {
		if o.Name == "Effective" || o.Name == "IssueTicket" { // have no route
			continue
		}
		assert.True(t, methods[o.Name], o.Name)
		delete(methods, o.Name)
	}
	assert.ElementsMatch(t, []string{"IfRevision", "LastEvent", "Link"}, slices.Collect(maps.Keys(methods)))
	haveAll := func(all []string, record reflect.Type) {
		assert.ElementsMatch(t, all, members(record), record.Name())
	}
	haveAll(names(brands.members()), reflect.TypeFor[admin.Brand]())
	haveAll(names(agents.members()), reflect.TypeFor[admin.Agent]())
	haveAll(names(customers.members()), reflect.TypeFor[admin.Customer]())
	haveAll(names(channels.members()), reflect.TypeFor[admin.Channel]())
	haveAll(names(apiKeys.members()), reflect.TypeFor[admin.APIKey]())
	haveAll(names(administrators.members()), reflect.TypeFor[admin.Administrator]())
	haveAll(members(reflect.TypeFor[event]()), reflect.TypeFor[admin.Event]())
	haveAll(members(reflect.TypeFor[explanation]()), reflect.TypeFor[admin.Explanation]())
}

func names[T any](fields []attribute.Field[T]) (names []string) {
	for _, f := range fields {
		names = append(names, f.Member())
	}
	return names
}

// collect returns a whole list.
func collect[T any](t *testing.T, all iter.Seq2[T, error]) (list []T) {
	t.Helper()
	for v, err := range all {
		require.NoError(t, err)
		list = append(list, v)
	}
	return list
}

// status returns the status of an error of the client.
func status(err error) int {
	if failed, ok := errors.AsType[*client.Error](err); ok {
		return failed.Status
	}
	return -1
}

// office returns the client of an API key.
func (w *world) office(key string) *admin.Client {
	service, err := client.New(client.Config{URL: w.url, APIKey: key})
	require.NoError(w, err)
	return admin.New(service)
}

// A program administers everything by the client.
func TestClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, filepath.Join(t.TempDir(), "admitone.db"))
	c := w.office(w.key(nil, directory.ScopeAdmin))

	b, err := c.AddBrand(ctx, admin.Brand{
		Name: "b 1", Region: "GB", AgentLifetime: admin.Duration(90 * time.Second),
		Settings: admin.Settings{OneTime: new(true), APIAddresses: []string{"192.0.2.0/24"}},
	})
	require.NoError(t, err)
	assert.NotZero(t, b.Revision)
	was := b
	b.OneTime, b.APIAddresses, b.AgentLifetime = nil, nil, admin.Duration(time.Minute)
	b, err = c.ChangeBrand(ctx, b)
	require.NoError(t, err)
	assert.Nil(t, b.OneTime)
	assert.Empty(t, b.APIAddresses)
	assert.Equal(t, admin.Duration(time.Minute), b.AgentLifetime)
	_, err = c.ChangeBrand(ctx, was)
	assert.Equal(t, http.StatusPreconditionFailed, status(err))
	_, err = c.AddBrand(ctx, admin.Brand{Name: "b 1"})
	assert.Equal(t, http.StatusConflict, status(err))
	b, err = c.EndBrandSessions(ctx, "b 1")
	require.NoError(t, err)
	assert.NotZero(t, b.SessionsSince)
	assert.Len(t, collect(t, c.Brands(ctx)), 3)

	a, err := c.AddAgent(ctx, admin.Agent{Brand: "b 1", Username: "eve/x.y", Phone1: "020 7946 0000", Active: true})
	require.NoError(t, err)
	assert.Equal(t, "+442079460000", a.Phone1)
	listed := collect(t, c.Agents(ctx, "b 1"))
	require.Equal(t, []admin.Agent{a}, listed)
	searched, err := c.SearchAgents(ctx, "b 1", "EVE", 10)
	require.NoError(t, err)
	assert.Equal(t, listed, searched)
	listed[0].Groups = []string{"sales"}
	a, err = c.ChangeAgent(ctx, listed[0])
	require.NoError(t, err)
	assert.Equal(t, []string{"sales"}, a.Groups)
	_, err = c.ChangeAgent(ctx, listed[0])
	assert.Equal(t, http.StatusPreconditionFailed, status(err), "a list has revisions")
	_, err = c.EndAgentSessions(ctx, "b 1", "eve/x.y")
	require.NoError(t, err)
	assert.Equal(t, http.StatusPreconditionFailed, status(c.IfRevision(a.Revision).RemoveAgent(ctx, "b 1", "eve/x.y")))
	a, err = c.Agent(ctx, "b 1", "EVE/X.Y")
	require.NoError(t, err)
	require.NoError(t, c.IfRevision(a.Revision).RemoveAgent(ctx, "b 1", "eve/x.y"))
	did, err := c.PreviewAgents(ctx, "b 1", strings.NewReader("username,email\nann,@\nbob,b@example.com\n"))
	require.NoError(t, err)
	assert.Len(t, did.Faults, 1)
	require.Len(t, did.Lines, 1)
	assert.Equal(t, "bob add", did.Lines[0].Username+" "+did.Lines[0].Action)
	assert.Contains(t, did.Lines[0].Fields, "email")
	did, err = c.ImportAgents(ctx, "b 1", strings.NewReader("username,email\nann,@\n"))
	assert.Equal(t, http.StatusBadRequest, status(err))
	assert.Equal(t, 2, did.Faults[0].Line)
	did, err = c.ImportAgents(ctx, "b 1", strings.NewReader("username\nann\nbob\n"))
	require.NoError(t, err)
	assert.Equal(t, 2, did.Added)

	one, err := c.AddCustomer(ctx, admin.Customer{Brand: "b 1", UniqueID: "1", FirstName: "Jane"})
	require.NoError(t, err)
	_, err = c.AddCustomer(ctx, admin.Customer{Brand: "b 1", UniqueID: "12"})
	require.NoError(t, err)
	one.Remark = "r"
	one, err = c.ChangeCustomer(ctx, one)
	require.NoError(t, err)
	assert.NotZero(t, one.Created)
	got, err := c.Customer(ctx, "b 1", one.ID)
	require.NoError(t, err)
	assert.Equal(t, one, got)
	found, err := c.FindCustomers(ctx, "b 1", admin.Customer{UniqueID: "1"})
	require.NoError(t, err)
	assert.Equal(t, []admin.Customer{one}, found)
	found, err = c.SearchCustomers(ctx, "b 1", "1", 10)
	require.NoError(t, err)
	assert.Len(t, found, 2)
	_, err = c.EndCustomerSessions(ctx, "b 1", one.ID)
	require.NoError(t, err)
	require.NoError(t, c.RemoveCustomer(ctx, "b 1", one.ID))
	assert.Len(t, collect(t, c.Customers(ctx, "b 1")), 1)

	channel, err := c.AddChannel(ctx, admin.Channel{Brand: "b 1", ID: "web"})
	require.NoError(t, err)
	assert.Equal(t, "https://x/chat/b 1.web", channel.URL)
	channel.Confirm = new(true)
	_, err = c.ChangeChannel(ctx, channel)
	require.NoError(t, err)
	channel, err = c.Channel(ctx, "b 1", "web")
	require.NoError(t, err)
	assert.Equal(t, new(true), channel.Confirm)
	assert.Len(t, collect(t, c.Channels(ctx, "b 1")), 1)
	require.NoError(t, c.RemoveChannel(ctx, "b 1", "web"))

	clientOfKeys(t, w, c)
	clientOfEvents(t, w, c)
	clientOfAdministrators(t, w.office(w.key(nil, directory.ScopeAdmin)))

	has, ok := admin.InUse(c.RemoveBrand(ctx, "b 1", false))
	assert.True(t, ok)
	assert.Equal(t, admin.Contents{Agents: 2, Customers: 1}, has)
	require.NoError(t, c.RemoveBrand(ctx, "b 1", true))
	_, err = c.Brand(ctx, "b 1")
	assert.Equal(t, http.StatusNotFound, status(err))
}

func clientOfKeys(t *testing.T, w *world, c *admin.Client) {
	ctx := t.Context()
	expires := time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
	made, err := c.AddAPIKey(ctx, admin.APIKey{Brands: []string{"own"}, Note: "n", Expires: expires})
	require.NoError(t, err)
	assert.Equal(t, directory.APIKeyID(made.Key), made.ID)
	assert.Equal(t, []admin.Scope{admin.Issue}, made.Scopes)
	k := made.APIKey
	k.Expires, k.Rate, k.Burst = time.Time{}, 10, 20
	k, err = c.ChangeAPIKey(ctx, k)
	require.NoError(t, err)
	assert.Zero(t, k.Expires)
	assert.Equal(t, 20, k.Burst)
	next, err := c.ReplaceAPIKey(ctx, k.ID, time.Hour)
	require.NoError(t, err)
	assert.NotEqual(t, k.ID, next.ID)
	k, err = c.APIKey(ctx, k.ID)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(time.Hour), k.Expires, 10*time.Minute)
	k, err = c.RevokeAPIKey(ctx, k.ID)
	require.NoError(t, err)
	assert.NotZero(t, k.Revoked)
	require.NoError(t, c.RemoveAPIKey(ctx, k.ID))
	assert.Len(t, collect(t, c.APIKeys(ctx, "own")), 2, "this one, and the one that asks")
	_, err = c.AddAPIKey(ctx, admin.APIKey{})
	failed, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	assert.Equal(t, "brands", failed.Fields[0].Field)

	// The answer to an addition is lost, and the next one says so.
	lost := &losing{next: http.DefaultTransport}
	service, err := client.New(client.Config{
		URL: w.url, APIKey: w.key(nil, directory.ScopeAdmin), Transport: lost,
	})
	require.NoError(t, err)
	_, err = admin.New(service).AddAPIKey(ctx, admin.APIKey{Brands: []string{"own"}})
	id, ok := admin.Repeated(err)
	require.True(t, ok, err)
	_, err = c.APIKey(ctx, id)
	require.NoError(t, err)
	lost.done = false
	a, err := admin.New(service).AddAgent(ctx, admin.Agent{Brand: "own", Username: "lost"})
	require.NoError(t, err)
	assert.Equal(t, "lost", a.Username)
}

// losing loses the first answer.
type losing struct {
	next http.RoundTripper
	done bool
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(r)
	if l.done || err != nil {
		return response, err
	}
	l.done = true
	response.Body.Close()
	return nil, errors.New("lost")
}

func clientOfEvents(t *testing.T, w *world, c *admin.Client) {
	ctx := t.Context()
	const id = "0123456789abcdef0123456789abcdef"
	last, err := c.LastEvent(ctx, admin.EventFilter{})
	require.NoError(t, err)
	require.NoError(t, c.RevokeTicket(ctx, "own", "", id))
	events, _, err := c.NewEvents(ctx, admin.EventFilter{}, last)
	require.NoError(t, err)
	require.Len(t, events, 1)
	assert.Equal(t, id, events[0].TicketID)
	assert.Equal(t, "key", events[0].Actor.Kind)
	assert.Equal(t, events, collect(t, c.Events(ctx, admin.EventFilter{TicketID: id})))
	all := collect(t, c.Events(ctx, admin.EventFilter{Brand: "own", Action: "agent."}))
	require.NotEmpty(t, all)
	assert.Equal(t, "lost", all[0].Name)
	own := w.office(w.key([]string{"own"}, directory.ScopeAdmin))
	_, err = own.LastEvent(ctx, admin.EventFilter{Brand: "own"})
	assert.NoError(t, err)
	_, _, err = own.NewEvents(ctx, admin.EventFilter{}, 0)
	assert.Equal(t, http.StatusForbidden, status(err))

	e, err := c.ExplainTicket(ctx, w.service.Ticket(t, token.Ticket{
		Audience: token.Customer, Brand: "own", UniqueID: "1",
	}))
	require.NoError(t, err)
	assert.Equal(t, client.Acceptable, e.Result)
	assert.Equal(t, "own", e.Ticket.Brand)
	keyrings, err := c.Keyrings(ctx)
	require.NoError(t, err)
	assert.Len(t, keyrings, 1)
	issuers, err := c.Issuers(ctx)
	require.NoError(t, err)
	require.Len(t, issuers, 3)
	portal, err := c.Issuer(ctx, "portal")
	require.NoError(t, err)
	assert.Equal(t, issuers[2], portal)
	assert.Equal(t, admin.Duration(5*time.Minute), portal.MaxLifetime)
	assert.Equal(t, []admin.IssuerUse{{ID: "00000001", LastUsed: time.Unix(1, 0).UTC()}}, portal.KeyUses)
	assert.Zero(t, portal.SessionsSince)
	portal, err = c.EndIssuerSessions(ctx, "portal")
	require.NoError(t, err)
	assert.NotZero(t, portal.SessionsSince)
	_, err = own.Issuer(ctx, "other")
	assert.Equal(t, http.StatusNotFound, status(err))
	_, err = own.EndIssuerSessions(ctx, "portal")
	assert.Equal(t, http.StatusForbidden, status(err))
	health, err := c.Health(ctx)
	require.NoError(t, err)
	assert.Equal(t, []admin.Condition{{Name: "store", Problem: "away"}}, health)
	settings, err := c.Settings(ctx)
	require.NoError(t, err)
	assert.Equal(t, []admin.Setting{{Name: "listen", Value: ":8080"}}, settings)
	link, err := w.office(w.key(nil, directory.ScopeConsole)).Link(ctx, "ann")
	require.NoError(t, err)
	assert.Contains(t, link.URL, "https://console.example/")
	for _, err := range w.office("adm_none").Brands(context.WithoutCancel(ctx)) {
		assert.Equal(t, http.StatusUnauthorized, status(err))
	}
}

func clientOfAdministrators(t *testing.T, c *admin.Client) {
	ctx := t.Context()
	root, err := c.AddAdministrator(ctx, admin.Administrator{
		Username: "root", Role: admin.Administers, AllBrands: true, Active: true,
	})
	require.NoError(t, err)
	assert.Equal(t, http.StatusConflict, status(c.RemoveAdministrator(ctx, "root")), "the last one")
	second, err := c.AddAdministrator(ctx, admin.Administrator{
		Username: "second", Role: admin.Audits, Brands: []string{"own"}, Active: true,
	})
	require.NoError(t, err)
	second.Role, second.Brands, second.AllBrands = admin.Administers, nil, true
	_, err = c.ChangeAdministrator(ctx, second)
	require.NoError(t, err)
	_, err = c.ChangeAdministrator(ctx, second)
	assert.Equal(t, http.StatusPreconditionFailed, status(err))
	_, err = c.EndAdministratorSessions(ctx, "root")
	require.NoError(t, err)
	got, err := c.Administrator(ctx, "ROOT")
	require.NoError(t, err)
	assert.Equal(t, root.Username, got.Username)
	require.NoError(t, c.RemoveAdministrator(ctx, "root"))
	assert.Len(t, collect(t, c.Administrators(ctx)), 3)
}
