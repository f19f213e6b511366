package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// verdict is an answer of /auth/redeem or /auth/inspect.
type verdict struct {
	response
	Description string
	Data        struct {
		Result, Reason, TicketID, Channel string
		FirstUsed                         time.Time
		Ticket                            *client.Ticket
		Agent                             *client.AgentRecord
		Customer                          *client.CustomerRecord
		Errors                            []client.FieldError
	}
}

// spend posts fields to an operation with a key.
func (w *world) spend(operation, key string, fields map[string]any) (v verdict) {
	w.t.Helper()
	body, err := json.Marshal(fields)
	require.NoError(w.t, err)
	v.response = w.client().do(http.MethodPost, operation, strings.NewReader(string(body)),
		map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"})
	require.NoError(w.t, json.Unmarshal([]byte(v.body), &v), v.body)
	return v
}

const (
	redeemPath  = "/auth/redeem"
	inspectPath = "/auth/inspect"
)

func (w *world) redeemKey(brands ...string) string {
	return w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: brands,
		AllBrands: len(brands) == 0})
}

func TestRedeemAgent(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey("commbox")
	ticket := w.ticket(w.key, reference)
	ask := map[string]any{"ticket": ticket, "audience": "agent"}

	for range 2 {
		v := w.spend(inspectPath, key, ask)
		require.Equal(t, http.StatusOK, v.status, v.body)
		assert.Equal(t, "acceptable", v.Data.Result)
		assert.Equal(t, "john.d", v.Data.Ticket.Username)
		assert.Equal(t, w.key[4:14], v.Data.Ticket.Actor)
	}
	v := w.spend(redeemPath, key, map[string]any{"data": ask})
	require.Equal(t, http.StatusOK, v.status, v.body)
	assert.Equal(t, "admitted", v.Data.Result)
	assert.Equal(t, "john.d@gmail.com", v.Data.Ticket.Email)
	john := &client.AgentRecord{
		Username: "john.d", Email: "john.d@gmail.com", Phone1: "+442501234567", UniqueID: "123456",
		FirstName: "John", LastName: "Doe",
	}
	assert.Equal(t, john, v.Data.Agent)
	assert.Nil(t, v.Data.Customer)
	id := v.Data.Ticket.ID

	again := w.spend(redeemPath, key, ask)
	assert.Equal(t, http.StatusForbidden, again.status)
	assert.Equal(t, "refused", again.Data.Result)
	assert.Equal(t, "already_used", again.Data.Reason)
	assert.Equal(t, id, again.Data.TicketID)
	assert.Nil(t, again.Data.Ticket, "a refusal says nothing that a careless caller could admit by")
	assert.Equal(t, w.now().Truncate(time.Millisecond), again.Data.FirstUsed.Truncate(time.Millisecond))
	look := w.spend(inspectPath, key, ask)
	assert.Equal(t, http.StatusOK, look.status)
	assert.Equal(t, "already_used", look.Data.Reason)
	assert.Equal(t, "john.d", look.Data.Ticket.Username)
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status, "the page knows it, too")
	assert.Regexp(
		t, `msg="ticket redeemed" ticket=`+id+`.* actor=`+w.key[4:14]+`.* redeemed_by=`+key[4:14], w.log.String(),
	)
	assert.Regexp(t, `msg="ticket refused" reason=already_used.* ticket=`+id, w.log.String())
}

func TestRedeemCustomer(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey("commbox")
	code := strings.TrimPrefix(w.chatPath("commbox", "web"), "/chat/")
	issue := func(more string) string {
		return w.ticket(w.key, `{"brand":"commbox","uniqueId":"7","email":"jane@example.com","oneTimeUse":true`+more+`}`)
	}
	first := w.spend(
		redeemPath, key,
		map[string]any{"ticket": issue(`,"firstName":"Jane","channel":"web"`), "audience": "customer", "channel": "web"},
	)
	require.Equal(t, http.StatusOK, first.status, first.body)
	assert.Equal(t, "Jane", first.Data.Customer.FirstName)
	assert.Equal(t, "web", first.Data.Channel)
	assert.Nil(t, first.Data.Agent)

	same := w.spend(
		redeemPath, key,
		map[string]any{"ticket": issue(`,"firstName":"Joan"`), "audience": "customer", "channelCode": code},
	)
	require.Equal(t, http.StatusOK, same.status, same.body)
	assert.Equal(t, *first.Data.Customer, *same.Data.Customer, "without overrideUserInfo the record stays")
	assert.Equal(t, "web", same.Data.Channel)

	changed := w.spend(
		redeemPath, key,
		map[string]any{"ticket": issue(`,"firstName":"Joan","overrideUserInfo":true`), "audience": "customer"},
	)
	require.Equal(t, http.StatusOK, changed.status, changed.body)
	assert.Equal(t, first.Data.Customer.ID, changed.Data.Customer.ID)
	assert.Equal(t, "Joan", changed.Data.Customer.FirstName)

	// trap R5: what is refused spends nothing.
	bound := issue(`,"channel":"web"`)
	for name, row := range map[string]struct {
		fields map[string]any
		reason string
	}{
		"no channel":      {map[string]any{"audience": "customer"}, "wrong_channel"},
		"another":         {map[string]any{"audience": "customer", "channel": "closed"}, "wrong_channel"},
		"another's code":  {map[string]any{"audience": "customer", "channelCode": strings.TrimPrefix(w.chatPath("acme", "web"), "/chat/")}, "wrong_channel"},
		"an agent's page": {map[string]any{"audience": "agent"}, "wrong_audience"},
	} {
		row.fields["ticket"] = bound
		v := w.spend(redeemPath, key, row.fields)
		assert.Equal(t, http.StatusForbidden, v.status, name)
		assert.Equal(t, row.reason, v.Data.Reason, name)
		assert.NotEmpty(t, v.Data.TicketID, name)
		v = w.spend(inspectPath, key, row.fields)
		assert.Equal(t, http.StatusOK, v.status, name)
		assert.Equal(t, row.reason, v.Data.Reason, name)
	}
	closed := w.spend(redeemPath, key, map[string]any{"ticket": issue(""), "audience": "customer", "channel": "closed"})
	assert.Equal(t, "refused_by_caller", closed.Data.Reason)
	assert.Contains(t, closed.Description, "switched off")
	misspelt := w.spend(redeemPath, key, map[string]any{"ticket": issue(""), "audience": "customer",
		"channelCode": code[1:]})
	assert.Equal(t, "wrong_channel", misspelt.Data.Reason)
	assert.Contains(t, misspelt.Description, "channelCode stands for no channel",
		"the ticket is not to blame: it is bound to none")
	assert.Equal(t, http.StatusOK, w.spend(redeemPath, key,
		map[string]any{"ticket": strings.ReplaceAll(strings.ReplaceAll(bound, "_", "%5F"), "%", "%25"),
			"audience": "customer", "channelCode": code}).status, "percent-encoded twice")

	// Looking makes no record.
	v := w.spend(
		inspectPath, key,
		map[string]any{"ticket": w.ticket(w.key, `{"brand":"commbox","email":"new@example.com"}`), "audience": "customer"},
	)
	assert.Equal(t, "acceptable", v.Data.Result)
	found, err := w.directory.FindCustomers(t.Context(), "commbox", directory.Customer{Email: "new@example.com"})
	require.NoError(t, err)
	assert.Empty(t, found)
}

// Of a ticket of another brand a key learns that, and nothing else: not even
// whether it is still good.
func TestRedeemForAnotherBrand(t *testing.T) {
	w := newWorld(t)
	acme, both := w.redeemKey("acme"), w.redeemKey()
	ticket := w.ticket(w.key, reference)
	var bodies []string
	ask := func() {
		for _, path := range []string{redeemPath, inspectPath} {
			for _, audience := range []string{"agent", "customer"} {
				v := w.spend(path, acme, map[string]any{"ticket": ticket, "audience": audience})
				assert.Equal(t, "wrong_brand", v.Data.Reason)
				assert.Nil(t, v.Data.Ticket)
				assert.Empty(t, v.Data.TicketID)
				bodies = append(bodies, v.Description)
			}
		}
	}
	ask()
	require.Equal(t, http.StatusOK, w.spend(redeemPath, both,
		map[string]any{"ticket": ticket, "audience": "agent"}).status, "no refusal spent it")
	ask()
	w.ns.Add(int64(time.Hour))
	ask()
	for _, b := range bodies {
		assert.Equal(t, bodies[0], b)
	}
	assert.Regexp(
		t, `msg="ticket refused" reason=wrong_brand ticket=[0-9a-f]{32} .*brand=commbox .*redeemed_by=`+acme[4:14],
		w.log.String(), "operators see which it was",
	)
	assert.Regexp(
		t, `msg="ticket inspected" result=refused reason=wrong_brand ticket=[0-9a-f]{32} .*inspected_by=`+acme[4:14],
		w.log.String(),
	)
	assert.Equal(t, http.StatusUnauthorized, w.spend(redeemPath, w.key,
		map[string]any{"ticket": ticket, "audience": "agent"}).status, "a key that may only issue")
	issueOnly := w.ask(both, reference)
	assert.Equal(t, http.StatusUnauthorized, issueOnly.status, "and one that may only redeem")
}

func TestRedeemRefuses(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey("commbox")
	good := w.ticket(w.key, reference)
	flipped := good[:60] + map[bool]string{true: "A", false: "B"}[good[60] != 'A'] + good[61:]
	for name, row := range map[string]struct {
		fields map[string]any
		status int
		want   string // the reason, or the field at fault
	}{
		"nothing":         {map[string]any{}, 400, "ticket"},
		"no audience":     {map[string]any{"ticket": good}, 400, "audience"},
		"no ticket":       {map[string]any{"audience": "agent"}, 400, "ticket"},
		"other audience":  {map[string]any{"ticket": good, "audience": "both"}, 400, "audience"},
		"number":          {map[string]any{"ticket": 12, "audience": "agent"}, 400, "ticket"},
		"unknown":         {map[string]any{"ticket": good, "audience": "agent", "bindings": "x"}, 400, "bindings"},
		"short binding":   {map[string]any{"ticket": good, "audience": "agent", "binding": "123456789012345"}, 400, "binding"},
		"long binding":    {map[string]any{"ticket": good, "audience": "agent", "binding": strings.Repeat("x", 1025)}, 400, "binding"},
		"binding 1":       {map[string]any{"ticket": good, "audience": "agent", "binding": 1}, 400, "binding"},
		"address":         {map[string]any{"ticket": good, "audience": "agent", "address": "192.0.2.1:80"}, 400, "address"},
		"agent's channel": {map[string]any{"ticket": good, "audience": "agent", "channel": "web"}, 400, "channel"},
		"two channels":    {map[string]any{"ticket": good, "audience": "customer", "channel": "web", "channelCode": "x"}, 400, "channelCode"},
		"data is text":    {map[string]any{"data": "x"}, 400, "data"},
		"malformed":       {map[string]any{"ticket": "hello", "audience": "agent"}, 403, "malformed"},
		"padding":         {map[string]any{"ticket": good + "=", "audience": "agent"}, 403, "malformed"},
		"version":         {map[string]any{"ticket": "tkt2_" + good[5:], "audience": "agent"}, 403, "unsupported_version"},
		"forged":          {map[string]any{"ticket": flipped, "audience": "agent"}, 403, "forged"},
	} {
		v := w.spend(redeemPath, key, row.fields)
		assert.Equal(t, row.status, v.status, name)
		if row.status == 403 {
			assert.Equal(t, row.want, v.Data.Reason, name)
			assert.Empty(t, v.Data.TicketID, name)
			look := w.spend(inspectPath, key, row.fields)
			assert.Equal(t, http.StatusOK, look.status, name)
			assert.Equal(t, row.want, look.Data.Reason, name)
			assert.Nil(t, look.Data.Ticket, name)
			continue
		}
		require.NotEmpty(t, v.Data.Errors, name)
		assert.Equal(t, row.want, v.Data.Errors[0].Field, name)
		assert.Contains(t, v.Description, row.want, name)
	}
	assert.Equal(t, http.StatusOK, w.spend(redeemPath, key, map[string]any{"ticket": good, "audience": "agent"}).status,
		"none of that spent it")

	expired := w.ticket(w.key, reference)
	w.ns.Add(int64(time.Minute + time.Second))
	v := w.spend(redeemPath, key, map[string]any{"ticket": expired, "audience": "agent"})
	assert.Equal(t, "expired", v.Data.Reason)
	assert.Len(t, v.Data.TicketID, 32)

	gone := w.ticket(w.key, reference)
	_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
		func(a *directory.Agent) error { a.Active = false; return nil })
	require.NoError(t, err)
	v = w.spend(redeemPath, key, map[string]any{"ticket": gone, "audience": "agent"})
	assert.Equal(t, http.StatusForbidden, v.status)
	assert.Equal(t, "refused_by_caller", v.Data.Reason)
	assert.Contains(t, v.Description, "the agent is inactive")
	require.NoError(t, w.directory.RemoveAgent(t.Context(), "commbox", "john.d"))
	v = w.spend(redeemPath, key, map[string]any{"ticket": gone, "audience": "agent"})
	assert.Equal(t, "refused_by_caller", v.Data.Reason)
	assert.Contains(t, v.Description, "(the agent is not in the directory)")
	assert.Contains(t, w.log.String(), `cause="the agent is not in the directory"`)
	assert.NotContains(t, w.log.String(), "john.d", "the audit trail does not say what a ticket says of a person")

	for _, path := range []string{redeemPath, inspectPath} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
			res := w.client().do(method, path, nil, map[string]string{"Authorization": "Bearer " + key})
			assert.Equal(t, http.StatusNotImplemented, res.status)
			assert.Equal(t, http.MethodPost, res.header.Get("Allow"))
		}
		assert.Equal(t, http.StatusUnauthorized, w.client().do(http.MethodPost, path, strings.NewReader("{}"), nil).status)
	}
}

// trap R25: where the answer is lost, the same request with the same binding gets
// it again, and nobody else does.
func TestRedeemWithBinding(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey()
	body := func(ticket, binding string) map[string]any {
		return map[string]any{"ticket": ticket, "audience": "customer", "binding": binding}
	}
	ticket := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","overrideUserInfo":true,"oneTimeUse":true}`)
	first := w.spend(redeemPath, key, body(ticket, "0123456789abcdef"))
	require.Equal(t, http.StatusOK, first.status)
	w.ns.Add(int64(5 * time.Second))
	again := w.spend(redeemPath, key, body(ticket, "0123456789abcdef"))
	assert.Equal(t, http.StatusOK, again.status)
	assert.Equal(t, *first.Data.Customer, *again.Data.Customer)
	assert.Equal(t, http.StatusForbidden, w.spend(redeemPath, key, body(ticket, "0123456789abcdeg")).status)
	assert.Equal(t, http.StatusForbidden, w.spend(redeemPath, key,
		map[string]any{"ticket": ticket, "audience": "customer"}).status)
	w.ns.Add(int64(6 * time.Second))
	assert.Equal(t, http.StatusForbidden, w.spend(redeemPath, key, body(ticket, "0123456789abcdef")).status,
		"only for ten seconds")
}

// trap R18: whoever asks, by the API or a browser, one is admitted.
func TestRedeemAtOnce(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey()
	ticket := w.ticket(w.key, reference)
	var admitted atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if i%2 == 0 {
				if w.client().get("/login?ta="+ticket).status == http.StatusSeeOther {
					admitted.Add(1)
				}
			} else if w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "agent"}).status == http.StatusOK {
				admitted.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, admitted.Load())
}

// trap R24: an outage is told as one.
func TestRedeemWithoutDirectory(t *testing.T) {
	w := newWorld(t)
	key := w.redeemKey()
	ticket := w.ticket(w.key, reference)
	require.NoError(t, w.directory.Close())
	// The key cannot be looked up either.
	res := w.client().do(http.MethodPost, redeemPath, strings.NewReader(`{"ticket":"`+ticket+`","audience":"agent"}`), map[string]string{"Authorization": "Bearer " + key})
	assert.Equal(t, http.StatusServiceUnavailable, res.status)
}

// trap R24: where the replay store cannot be asked, that is what the answer and
// the log say.
func TestRedeemWithoutStore(t *testing.T) {
	var down atomic.Bool
	keys, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	w := newWorld(t, func(c *Config) {
		c.Issuer, err = token.NewIssuer(token.Config{Sealer: keys, Realm: "r", Now: c.Now})
		require.NoError(t, err)
		store := failing{&down}
		v, err := verify.New(verify.Config{Opener: keys, Realm: "r", AnyBrand: true, Store: store, Now: c.Now})
		require.NoError(t, err)
		c.Verifier = v
	})
	key := w.redeemKey()
	ask := map[string]any{"ticket": w.ticket(w.key, reference), "audience": "agent"}
	down.Store(true)
	for _, path := range []string{redeemPath, inspectPath} {
		v := w.spend(path, key, ask)
		assert.Equal(t, http.StatusServiceUnavailable, v.status)
		assert.Equal(t, "cannot_tell", v.Data.Result)
		assert.Equal(t, "store_unavailable", v.Data.Reason)
		assert.Equal(t, "5", v.header.Get("Retry-After"))
		assert.NotContains(t, v.body, "disk on fire", "which is for operators")
	}
	assert.Equal(t, 2, strings.Count(w.log.String(), "disk on fire"))
	down.Store(false)
	assert.Equal(t, http.StatusOK, w.spend(redeemPath, key, ask).status)
}

// failing is a store that admits all, or cannot be asked.
type failing struct{ down *atomic.Bool }

func (f failing) Claim(context.Context, replay.Claim) (replay.Answer, error) {
	if f.down.Load() {
		return replay.Answer{}, errors.New("disk on fire")
	}
	return replay.Answer{Status: replay.Admitted}, nil
}

func (f failing) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return f.Claim(ctx, c)
}
