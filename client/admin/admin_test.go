package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// transport is a service that a test makes up.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func newClient(t *testing.T, f transport) *Client {
	t.Helper()
	service, err := client.New(client.Config{URL: "https://console.example.com/base/", APIKey: "adm_k", Transport: f})
	require.NoError(t, err)
	return New(service)
}

// What is sent, byte for byte, and where to.
func TestRequests(t *testing.T) {
	var got string
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, "Bearer adm_k", r.Header.Get("Authorization"))
		got = strings.Join([]string{
			r.Method, strings.TrimPrefix(r.URL.String(), "https://console.example.com/base/admin/"),
			r.Header.Get("If-Match"), string(body),
		}, " ")
		return answer(200, `{}`)
	})
	ctx := t.Context()
	for want, do := range map[string]func() error{
		"GET brands/a%2Fb%2E  ": func() error { _, err := c.Brand(ctx, "a/b."); return err },
		`POST brands/b/agents  {"active":false,"email":"","firstName":"","groups":null,"lastName":"","phone1":"",` +
			`"uniqueId":"","username":"u"}`: func() error {
			_, err := c.AddAgent(ctx, Agent{Brand: "b", Username: "u", Revision: 7})
			return err
		},
		`PATCH brands/b/agents/u "7" {"active":true,"email":"e","firstName":"","groups":["g"],"lastName":"","phone1":"",` +
			`"uniqueId":""}`: func() error {
			_, err := c.ChangeAgent(ctx, Agent{
				Brand: "b", Username: "u", Email: "e", Groups: []string{"g"}, Active: true, Revision: 7,
			})
			return err
		},
		`PATCH brands/b/customers/3 "9" {"email":"","firstName":"","lastName":"","phone1":"","remark":"r",` +
			`"uniqueId":""}`: func() error {
			_, err := c.IfRevision(9).ChangeCustomer(ctx, Customer{Brand: "b", ID: 3, Remark: "r", Revision: 7})
			return err
		},
		`PATCH api-keys/k  {"allBrands":false,"brands":["b"],"burst":0,"expires":null,"note":"","rate":0}`: func() error {
			_, err := c.ChangeAPIKey(ctx, APIKey{ID: "k", Brands: []string{"b"}, Created: time.Now()})
			return err
		},
		"DELETE brands/b?with-all=true  ":             func() error { return c.RemoveBrand(ctx, "b", true) },
		`DELETE brands/b/channels/c "5" `:             func() error { return c.IfRevision(5).RemoveChannel(ctx, "b", "c") },
		`POST brands/b/revocations  {"ticketId":"t"}`: func() error { return c.RevokeTicket(ctx, "b", "", "t") },
		`POST brands/b/agents/import?dry-run=true  username`: func() error {
			_, err := c.PreviewAgents(ctx, "b", strings.NewReader("username"))
			return err
		},
		`GET events?action=agent.&brand=&limit=500&since=2030-01-31T00%3A00%3A00.5Z  `: func() error {
			since := time.Date(2030, 1, 31, 0, 0, 0, 500_000_000, time.UTC)
			for _, err := range c.Events(ctx, EventFilter{Deployment: true, Action: "agent.", Since: since}) {
				return err
			}
			return nil
		},
	} {
		require.NoError(t, do(), want)
		assert.Equal(t, want, got)
	}
	for _, name := range []string{"", ".", ".."} {
		got = ""
		assert.Error(t, c.RemoveBrand(ctx, name, true))
		_, err := c.Agent(ctx, "b", name)
		assert.ErrorContains(t, err, "is no name of a record")
		assert.Empty(t, got, "nothing is sent")
	}
}

// A list goes on until there is no next part, and ends with its first error.
func TestLists(t *testing.T) {
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		switch r.URL.Query().Get("after") {
		case "":
			return answer(200, `{"items":[{"name":"a"},{"name":"b"}],"next":"x"}`)
		case "x":
			return answer(200, `{"items":[],"next":"y"}`)
		case "y":
			return answer(200, `{"items":[{"name":"c","agentLifetimeSeconds":90.5,"sessionsSince":null}],"next":null}`)
		}
		return answer(500, ``)
	})
	var names []string
	for b, err := range c.Brands(t.Context()) {
		require.NoError(t, err)
		if names = append(names, b.Name); b.Name == "c" {
			assert.Equal(t, Duration(90500*time.Millisecond), b.AgentLifetime)
		}
	}
	assert.Equal(t, []string{"a", "b", "c"}, names)
	n := 0
	for _, err := range newClient(t, func(*http.Request) (*http.Response, error) {
		return answer(403, `{"description":"Forbidden: no"}`)
	}).Brands(t.Context()) {
		n++
		assert.EqualError(t, err, "list brands: status 403: Forbidden: no")
	}
	assert.Equal(t, 1, n)
}

// A long list waits where the service says so.
func TestListsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := newClient(t, func(r *http.Request) (*http.Response, error) {
			if asked++; asked%2 == 1 {
				response, err := answer(429, `{"description":"Too many requests"}`)
				response.Header.Set("Retry-After", "2")
				return response, err
			}
			if asked == 4 {
				return answer(200, `{"items":[{"name":"b"}],"next":null}`)
			}
			return answer(200, `{"items":[{"name":"a"}],"next":"x"}`)
		})
		start := time.Now()
		var names []string
		for b, err := range c.Brands(t.Context()) {
			require.NoError(t, err)
			names = append(names, b.Name)
		}
		assert.Equal(t, []string{"a", "b"}, names)
		assert.Equal(t, 4*time.Second, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range c.Brands(ctx) {
			assert.ErrorContains(t, err, "Too many requests")
		}
	})
}

// An addition whose answer is lost comes again with the same key; a change does not.
func TestLostAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(context.Context, *Client) error
		want int
	}{
		"add": {func(ctx context.Context, c *Client) error {
			_, err := c.AddBrand(ctx, Brand{Name: "b"})
			return err
		}, 2},
		"replace": {func(ctx context.Context, c *Client) error {
			_, err := c.ReplaceAPIKey(ctx, "k", time.Hour)
			return err
		}, 2},
		"read": {func(ctx context.Context, c *Client) error {
			_, err := c.Settings(ctx)
			return err
		}, 2},
		"change": {func(ctx context.Context, c *Client) error {
			_, err := c.ChangeBrand(ctx, Brand{Name: "b"})
			return err
		}, 1},
		"remove": {func(ctx context.Context, c *Client) error { return c.RemoveBrand(ctx, "b", false) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var keys []string
				lost := newClient(t, func(r *http.Request) (*http.Response, error) {
					keys = append(keys, r.Header.Get("Idempotency-Key"))
					if len(keys) == 1 {
						return nil, errors.New("connection reset")
					}
					return answer(201, `{}`)
				})
				err := c.do(t.Context(), lost)
				require.Len(t, keys, c.want)
				if c.want == 1 {
					assert.ErrorContains(t, err, "connection reset")
					return
				}
				assert.NoError(t, err)
				assert.Equal(t, keys[0], keys[1])
				if name != "read" {
					assert.GreaterOrEqual(t, len(keys[0]), 16)
				}
			})
		})
	}
}

func TestErrors(t *testing.T) {
	var status int
	var data string
	c := newClient(t, func(*http.Request) (*http.Response, error) {
		return answer(status, `{"status":"409","description":"Conflict: x","data":`+data+`}`)
	})
	status, data = 409, `{"agents":2,"channels":0,"customers":1,"apiKeys":0}`
	has, ok := InUse(c.RemoveBrand(t.Context(), "b", false))
	assert.True(t, ok)
	assert.Equal(t, Contents{Agents: 2, Customers: 1}, has)
	data = `{"id":"abcdefghij"}`
	_, err := c.AddAPIKey(t.Context(), APIKey{})
	id, ok := Repeated(err)
	assert.True(t, ok)
	assert.Equal(t, "abcdefghij", id)
	_, ok = InUse(err)
	assert.False(t, ok)
	status, data = 400, `{"imported":0,"faults":[{"line":2,"column":"email","reason":"is wrong"}]}`
	did, err := c.ImportAgents(t.Context(), "b", strings.NewReader(""))
	assert.Error(t, err)
	assert.Equal(t, []Fault{{2, "email", "is wrong"}}, did.Faults)
	data = `{"errors":[{"field":"name","reason":"is empty"}]}`
	_, err = c.AddBrand(t.Context(), Brand{})
	var failed *client.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []client.FieldError{{Field: "name", Reason: "is empty"}}, failed.Fields)
	_, err = c.ImportAgents(t.Context(), "b", io.LimitReader(zeros{}, 17<<20))
	assert.ErrorContains(t, err, "over 16 MiB")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "null", time.Minute: "60", 1500 * time.Millisecond: "1.5", 100 * time.Millisecond: "0.1",
	} {
		text, err := json.Marshal(Duration(d))
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		var got Duration
		require.NoError(t, json.Unmarshal(text, &got))
		assert.Equal(t, d, time.Duration(got))
	}
}
