package directory

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// everyEvent reads all events, the oldest first.
func everyEvent(t testing.TB, db *DB) []Event {
	t.Helper()
	var all []Event
	for last := int64(0); ; {
		page, next, err := db.NewEvents(t.Context(), EventFilter{AllBrands: true}, last, 100_000)
		require.NoError(t, err)
		if next == last {
			return all
		}
		all, last = append(all, page...), next
	}
}

// told writes an event as a test names it: by whom, what, of which brand, to which record,
// and which fields.
func told(e Event) string {
	record := e.Kind + " " + e.Name
	if e.Ticket != "" {
		record += " ticket " + e.Ticket
	}
	return fmt.Sprintf("%s:%s %s %s: %s %v", e.Actor.Kind, e.Actor.Name, e.Action, e.Brand,
		strings.TrimSpace(record), e.Fields)
}

// Each change has its event: who, what, and the names of the fields.
func TestEventsOfChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t).As(Actor{Kind: ActorShell, Name: "root", Machine: "host"})
		var want []string
		expect := func(lines ...string) {
			for _, line := range lines {
				want = append(want, "shell:root "+line)
			}
		}
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme", Region: "GB"}))
		expect("brand.add acme: brand acme [region]")
		_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error {
			b.Colour, b.ReturnOrigins, b.MaxLifetime = "#112233", []string{"https://a.example"}, time.Minute
			return nil
		})
		require.NoError(t, err)
		expect("brand.set acme: brand acme [maxLifetime colour returnOrigins]")
		_, err = db.UpdateBrand(ctx, "acme", func(b *Brand) error { return nil })
		require.NoError(t, err, "changes nothing and leaves no event")
		_, err = db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.SessionsSince = start; return nil })
		require.NoError(t, err)
		expect("sessions.end acme: brand acme [sessionsSince]")
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web", Name: "Web"}))
		expect("channel.add acme: channel web [name]")
		_, err = db.UpdateChannel(ctx, "acme", "web", func(c *Channel) error { c.Language = "de"; return nil })
		require.NoError(t, err)
		expect("channel.set acme: channel web [language]")

		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "Ann", Email: "ann@example.com", Active: true}))
		expect("agent.add acme: agent ann [username email active]")
		_, err = db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error {
			a.Active, a.Groups = false, []string{"x"}
			return nil
		})
		require.NoError(t, err)
		_, err = db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Active = true; return nil })
		require.NoError(t, err)
		_, err = db.EndAgentSessions(ctx, "acme", "Ann")
		require.NoError(t, err)
		expect("agent.set acme: agent ann [groups active]", "agent.set acme: agent ann [active]",
			"sessions.end acme: agent ann []")
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
			_ = yield(Agent{Username: "ann", Email: "ann@example.com", Groups: []string{"x"}, Active: true}, nil) &&
				yield(Agent{Username: "bob", FirstName: "Bob"}, nil) &&
				yield(Agent{Username: "cleo", Active: true}, nil)
		}, nil)
		require.NoError(t, err)
		expect("agent.add acme: agent bob [username firstName]", "agent.add acme: agent cleo [username active]",
			"agent.import acme: brand acme []")
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) {
			yield(Agent{Username: "bob", LastName: "B"}, nil)
		}, nil)
		require.NoError(t, err)
		expect("agent.set acme: agent bob [firstName lastName]", "agent.import acme: brand acme []")
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) { yield(Agent{Username: "no"}, nil) },
			&ImportOptions{DryRun: true})
		require.NoError(t, err)
		require.NoError(t, db.RemoveAgent(ctx, "acme", "BOB"))
		expect("agent.remove acme: agent bob []")

		c, err := db.AddCustomer(ctx, Customer{Brand: "acme", Email: "c@example.com"})
		require.NoError(t, err)
		_, err = db.UpdateCustomer(ctx, "acme", c.ID, func(c *Customer) error { c.Remark = "vip"; return nil })
		require.NoError(t, err)
		_, err = db.EndCustomerSessions(ctx, "acme", c.ID)
		require.NoError(t, err)
		require.NoError(t, db.RemoveCustomer(ctx, "acme", c.ID))
		record := fmt.Sprint("customer ", c.ID)
		expect("customer.add acme: "+record+" [email]", "customer.set acme: "+record+" [remark]",
			"sessions.end acme: "+record+" []", "customer.remove acme: "+record+" []")
		on := Redemption{Ticket: "t1", Expires: start, Override: true}
		made, _, err := db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "7", Phone1: "+442079460000"}, on)
		require.NoError(t, err)
		for _, ticket := range []string{"t2", "t2", "t3"} { // t3 changes nothing
			on.Ticket = ticket
			_, _, err = db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "7", FirstName: "Jane"}, on)
			require.NoError(t, err)
		}
		record = fmt.Sprint("customer ", made.ID)
		want = append(want, "ticket: customer.add acme: "+record+" ticket t1 [phone1 uniqueId]",
			"ticket: customer.set acme: "+record+" ticket t2 [firstName]")

		id := token.ID{1}
		require.NoError(t, db.RevokeTicket(ctx, "acme", "", id))
		require.NoError(t, db.RevokeTicket(ctx, "acme", "", id), "changes nothing")
		expect("ticket.revoke acme: ticket " + id.String() + " []")

		require.NoError(t, db.AddBrand(ctx, Brand{Name: "other"}))
		expect("brand.add other: brand other []")
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}, Note: "John Doe"})
		require.NoError(t, err)
		key, _, _ := parseKey(bearer)
		for _, brands := range [][]string{{"acme"}, {"acme", "other"}, {"acme"}} {
			_, err = db.UpdateAPIKey(ctx, key, func(k *APIKey) error { k.Brands = brands; return nil })
			require.NoError(t, err)
		}
		require.NoError(t, db.RevokeAPIKey(ctx, key))
		require.NoError(t, db.RevokeAPIKey(ctx, key), "changes nothing")
		all, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
		require.NoError(t, err)
		other, _, _ := parseKey(all)
		require.NoError(t, db.RemoveAPIKey(ctx, other))
		expect("key.add acme: key "+key+" [scopes brands note]", "key.set : key "+key+" [brands]",
			"key.set : key "+key+" [brands]", "key.revoke acme: key "+key+" []",
			"key.add : key "+other+" [scopes allBrands]", "key.remove : key "+other+" []")
		require.NoError(t, db.RemoveChannel(ctx, "acme", "web"))
		require.NoError(t, db.RemoveBrand(ctx, "acme", true))
		expect("channel.remove acme: channel web []", "brand.remove acme: brand acme []")

		events := everyEvent(t, db)
		got := make([]string, len(events))
		for i, e := range events {
			got[i] = told(e)
			assert.Equal(t, start, e.At)
			assert.Equal(t, 1, e.Count)
			if e.Actor.Kind == ActorShell {
				assert.Equal(t, "host", e.Actor.Machine)
			}
		}
		assert.Equal(t, want, got)
		assert.JSONEq(t, `{"maxLifetime":{"was":0,"is":60000},"colour":{"was":"","is":"#112233"},
			"returnOrigins":{"was":[],"is":["https://a.example"]}}`, events[1].Details)
		assert.JSONEq(t, `{"added":2,"changed":0,"unchanged":1,"activated":0,"deactivated":0}`, events[11].Details)
		assert.JSONEq(t, `{"agents":2,"channels":0,"customers":1,"keys":["`+key+`"]}`, events[len(events)-1].Details)
	})
}

// The details of a change have the ID of the request, whether or not there are other details.
func TestEventsHaveTheRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t).As(Actor{Kind: ActorKey, Name: "k", Request: "r-1"})
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		db = db.As(Actor{Kind: ActorKey, Name: "k", Request: "r-2"})
		_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.Colour = "#112233"; return nil })
		require.NoError(t, err)
		_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) { yield(Agent{Username: "ann"}, nil) }, nil)
		require.NoError(t, err)
		require.NoError(t, db.As(Actor{Kind: ActorShell}).RemoveAgent(ctx, "acme", "ann"))
		var got []string
		for _, e := range everyEvent(t, db) {
			got = append(got, e.Action+" "+e.Details)
		}
		assert.Equal(t, []string{
			`brand.add {"requestId":"r-1"}`,
			`brand.set {"colour":{"was":"","is":"#112233"},"requestId":"r-2"}`,
			`agent.add {"requestId":"r-2"}`,
			`agent.import {"activated":0,"added":1,"changed":0,"deactivated":0,"unchanged":0,"requestId":"r-2"}`,
			`agent.remove `,
		}, got)
	})
}

// A transaction that changes something without an event is not committed, so no method can
// forget its event. everyCall has every method, and none of them fails.
func TestNoChangeWithoutEvent(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db, _ := d.prepared(t)
		before := len(everyEvent(t, db))
		for name, statement := range map[string]string{
			"exec":  `UPDATE agent SET email = 'x'`,
			"query": `UPDATE agent SET email = 'x' RETURNING username`,
		} {
			err := db.transact(t.Context(), "forget", func(ctx context.Context, tx *change) error {
				if name == "exec" {
					_, err := exec(ctx, tx, statement)
					return err
				}
				_, err := list(ctx, tx, func(r row) (s string, err error) { return s, r.Scan(&s) }, statement)
				return err
			})
			assert.ErrorIs(t, err, errNoEvent, name)
		}
		a, err := db.Agent(t.Context(), "acme", "ann")
		require.NoError(t, err)
		assert.Empty(t, a.Email)
		assert.Len(t, everyEvent(t, db), before)
	})
}

// A change and its event are one: if the event cannot be written, nothing changes.
func TestEventInTheChangesTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db, _ := d.prepared(t)
		do(t, db, `DROP TABLE event`)
		assert.Error(t, db.RemoveAgent(ctx, "acme", "ann"))
		_, err := db.Agent(ctx, "acme", "ann")
		assert.NoError(t, err)
	})
}

// No value of a person is in an event, whatever was changed: each value in this test is
// found again by its mark.
func TestNoPersonalValuesInEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		n := 0
		mark := func() string { n++; return fmt.Sprintf("personal%d", n) }
		phone := func() string { n++; return fmt.Sprintf("+4420794600%02d", n) }
		agent := func(a *Agent) error {
			a.Email, a.Phone1, a.UniqueID, a.FirstName, a.LastName, a.Groups, a.Active =
				mark()+"@x.example", phone(), mark(), mark(), mark(), []string{mark()}, !a.Active
			return nil
		}
		customer := func(c *Customer) error {
			c.Email, c.Phone1, c.UniqueID, c.FirstName, c.LastName, c.Remark =
				mark()+"@x.example", phone(), mark(), mark(), mark(), mark()
			return nil
		}
		a := Agent{Brand: "acme", Username: "ann"}
		require.NoError(t, agent(&a))
		require.NoError(t, db.AddAgent(ctx, a))
		_, err := db.UpdateAgent(ctx, "acme", "ann", agent)
		require.NoError(t, err)
		for _, name := range []string{"ann", "bob"} {
			a := Agent{Username: name}
			require.NoError(t, agent(&a))
			_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) { yield(a, nil) }, nil)
			require.NoError(t, err)
		}
		c := Customer{Brand: "acme"}
		require.NoError(t, customer(&c))
		c, err = db.AddCustomer(ctx, c)
		require.NoError(t, err)
		c, err = db.UpdateCustomer(ctx, "acme", c.ID, customer)
		require.NoError(t, err)
		for i := range 2 {
			c.ID, c.FirstName = 0, mark()
			c, _, err = db.ResolveCustomer(ctx, "acme", c, Redemption{Ticket: fmt.Sprint(i), Expires: start, Override: true})
			require.NoError(t, err)
		}
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true, Note: mark()})
		require.NoError(t, err)
		id, secret, _ := parseKey(bearer)
		_, err = db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Note = mark(); return nil })
		require.NoError(t, err)
		require.NoError(t, db.RemoveBrand(ctx, "acme", true))

		events := everyEvent(t, db)
		assert.Len(t, events, 1+2+4+4+2+1)
		text, err := json.Marshal(events)
		require.NoError(t, err)
		for _, part := range []string{"personal", "+44", "@x", secret} {
			assert.NotContains(t, string(text), part)
		}
	})
}
