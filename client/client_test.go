package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	someKey    = "adm_AbCdEfGhIj_secretsecretsecret"
	someTicket = "tkt1_AQAAAAEAAb-8AAAAAAAAAAAAAAAAAAAA"
)

// transport is a service that a test makes up.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func newClient(t *testing.T, f transport) *Client {
	t.Helper()
	c, err := New(Config{URL: "https://tickets.example.com/base/", APIKey: someKey, Transport: f})
	require.NoError(t, err)
	return c
}

const admittedBody = `{"status":200,"description":"Admitted","response_time":"2025-01-19T14:18:47.63079Z",` +
	`"data":{"result":"admitted","ticket":{"id":"00112233445566778899aabbccddeeff","keyId":"56b5a0c3",` +
	`"audience":"agent","oneTimeUse":true,` +
	`"issuedAt":"2025-01-19T14:18:30Z","expiresAt":"2025-01-19T14:19:30Z","brand":"commbox","username":"john.d"},` +
	`"agent":{"username":"john.d","groups":["support"]}}}`

const busyBody = `{"status":"503","description":"Cannot tell now","response_time":"",` +
	`"data":{"result":"cannot_tell","reason":"store_unavailable"}}`

// What is sent, byte for byte, and where to.
func TestRequests(t *testing.T) {
	var got string
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, http.MethodPost, r.Method)
		assert.Equal(t, []string{"Bearer " + someKey}, r.Header["Authorization"])
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		got = r.URL.String() + " " + string(body)
		return answer(500, ""), nil
	})
	for want, do := range map[string]func() error{
		`ticket {"brand":"b"}`: func() error {
			_, err := c.Issue(t.Context(), IssueRequest{Brand: "b"})
			return err
		},
		`ticket {"brand":"b","username":"u","email":"e","uniqueId":"i","firstName":"f","lastName":"l","phone1":"p",` +
			`"remark":"r","channel":"c","overrideUserInfo":true,"oneTimeUse":false,"expiresIn":91}`: func() error {
			_, err := c.Issue(t.Context(), IssueRequest{
				Brand: "b", Username: "u", Email: "e", UniqueID: "i", FirstName: "f", LastName: "l", Phone1: "p", Remark: "r",
				Channel: "c", OverrideUserInfo: true, OneTimeUse: new(false), ExpiresIn: 90*time.Second + 1,
			})
			return err
		},
		`inspect {"ticket":"t","audience":"agent"}`: func() error {
			_, err := c.Inspect(t.Context(), RedeemRequest{Ticket: "t", Audience: Agent})
			return err
		},
		`redeem {"ticket":"t","audience":"customer","channel":"c","channelCode":"d","address":"2001:db8::1",` +
			`"binding":"0123456789abcdef"}`: func() error {
			_, err := c.Redeem(t.Context(), RedeemRequest{
				Ticket: "t", Audience: Customer, Channel: "c", ChannelCode: "d",
				Address: netip.MustParseAddr("2001:db8::1"), Binding: "0123456789abcdef",
			})
			return err
		},
	} {
		var e *Error
		require.ErrorAs(t, do(), &e)
		assert.Equal(t, 500, e.Status)
		assert.Equal(t, "https://tickets.example.com/base/auth/"+want, got)
	}
}

// The status may be text or a number.
func TestAnswers(t *testing.T) {
	for _, status := range []string{`200`, `"200"`} {
		body := ""
		c := newClient(t, func(*http.Request) (*http.Response, error) { return answer(200, body), nil })
		body = `{"status":` + status + `,"description":"Done","response_time":"","data":{"encpryptedString":"tkt1_x"}}`
		issued, err := c.Issue(t.Context(), IssueRequest{})
		require.NoError(t, err)
		assert.Equal(t, Issued{Ticket: "tkt1_x"}, issued)
		body = `{"status":` + status + `,"description":"Refused: expired","response_time":"",` +
			`"data":{"result":"refused","reason":"expired"}}`
		found, err := c.Inspect(t.Context(), RedeemRequest{})
		require.NoError(t, err)
		assert.Equal(t, Inspection{Description: "Refused: expired", Result: Refused, Reason: Expired}, found)
	}
	c := newClient(t, func(*http.Request) (*http.Response, error) { return answer(200, admittedBody), nil })
	admitted, err := c.Redeem(t.Context(), RedeemRequest{})
	require.NoError(t, err)
	assert.Equal(t, Admitted, admitted.Result)
	assert.Equal(t, []string{"support"}, admitted.Agent.Groups)
	assert.Equal(t, "56b5a0c3", admitted.Ticket.KeyID)
	assert.Equal(t, time.Minute, admitted.Ticket.ExpiresAt.Sub(admitted.Ticket.IssuedAt))
}

// TryKey asks with the key, and takes only ticketd's answer as a success.
func TestTryKey(t *testing.T) {
	for body, good := range map[string]bool{
		`{"status":"200","description":"System is operational","response_time":""}`: true,
		`{"status":200,"description":"System is operational","response_time":""}`:   true,
		`{}`: false, `<html>`: false, `null`: false,
	} {
		c := newClient(t, func(r *http.Request) (*http.Response, error) {
			assert.Equal(t, http.MethodGet, r.Method)
			assert.Equal(t, "https://tickets.example.com/base/core/systemstatus", r.URL.String())
			assert.Equal(t, "Bearer "+someKey, r.Header.Get("Authorization"))
			return answer(200, body), nil
		})
		assert.Equal(t, good, c.TryKey(t.Context()) == nil, body)
	}
	c := newClient(t, func(*http.Request) (*http.Response, error) {
		return answer(401, `{"status":"401","description":"Unauthorized: the API key is not accepted"}`), nil
	})
	var failed *Error
	require.ErrorAs(t, c.TryKey(t.Context()), &failed)
	assert.Equal(t, 401, failed.Status)
}

// Only an answer in ticketd's form is a success.
func TestOddAnswers(t *testing.T) {
	long := `{"status":"200","data":{"encpryptedString":"tkt1_x","result":"acceptable",` +
		`"ticket":{"brand":"` + strings.Repeat("x", maxAnswer) + `"}}}`
	for name, body := range map[string]string{
		"empty":        ``,
		"page":         `<html>`,
		"null":         `null`,
		"array":        `[]`,
		"no data":      `{"status":"200"}`,
		"null data":    `{"status":"200","data":null}`,
		"text":         `{"data":"admitted"}`,
		"no result":    `{"data":{}}`,
		"other result": `{"data":{"result":"refused?","ticket":{}}}`,
		"no ticket":    `{"data":{"result":"admitted"}}`,
		"cut":          admittedBody[:len(admittedBody)-1],
		"long":         long,
		"two":          admittedBody + "{}",
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := newClient(t, func(*http.Request) (*http.Response, error) { n++; return answer(200, body), nil })
			var e *Error
			issued, err := c.Issue(t.Context(), IssueRequest{})
			require.ErrorAs(t, err, &e)
			assert.Zero(t, issued)
			found, err := c.Inspect(t.Context(), RedeemRequest{})
			require.ErrorAs(t, err, &e)
			assert.Zero(t, found)
			admitted, err := c.Redeem(t.Context(), RedeemRequest{})
			require.ErrorAs(t, err, &e)
			assert.Zero(t, admitted)
			assert.Equal(t, 200, e.Status)
			assert.Contains(t, e.Error(), "check client.Config.URL")
			assert.Equal(t, 3, n)
		})
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		answer *http.Response
		want   Error
		text   string
	}{
		"fields": {
			answer(400, `{"status":"400","description":"Bad request: brand is missing",`+
				`"data":{"errors":[{"field":"brand","reason":"is missing"}]}}`),
			Error{Status: 400, Description: "Bad request: brand is missing", Fields: []FieldError{{"brand", "is missing"}}},
			"redeem: status 400: Bad request: brand is missing",
		},
		"refused": {
			answer(403, `{"status":"403","description":"Refused: already_used",`+
				`"data":{"result":"refused","reason":"already_used","firstUsed":"2025-01-19T14:18:31.05Z",`+
				`"ticketId":"00112233445566778899aabbccddeeff"}}`),
			Error{
				Status: 403, Description: "Refused: already_used", Result: Refused, Reason: AlreadyUsed,
				FirstUsed: time.Date(2025, 1, 19, 14, 18, 31, 50_000_000, time.UTC), TicketID: "00112233445566778899aabbccddeeff",
			},
			"redeem: status 403: Refused: already_used",
		},
		"rate limit": {
			answer(429, `{"status":"429","description":"Too many requests"}`, "Retry-After", "7"),
			Error{Status: 429, Description: "Too many requests", RetryAfter: 7 * time.Second},
			"redeem: status 429: Too many requests",
		},
		"proxy's page": {answer(404, `<html>`), Error{Status: 404}, "redeem: status 404: Not Found"},
		"other JSON": {
			answer(404, `{"description":7,"data":{"result":"refused"}}`),
			Error{Status: 404},
			"redeem: status 404: Not Found",
		},
		"redirect": {
			answer(307, ``, "Location", "https://evil.example/"),
			Error{Status: 307},
			"redeem: status 307: Temporary Redirect",
		},
		"echo": {
			answer(500, `{"description":"got `+someKey+` and `+someTicket+`"}`),
			Error{Status: 500, Description: "got … and …"},
			"redeem: status 500: got … and …",
		},
		"unknown status": {answer(299, ``), Error{Status: 299}, "redeem: status 299: "},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			client := newClient(t, func(*http.Request) (*http.Response, error) { n++; return c.answer, nil })
			admitted, err := client.Redeem(t.Context(), RedeemRequest{Ticket: someTicket, Audience: Agent})
			assert.Zero(t, admitted)
			c.want.Operation = "redeem"
			require.Equal(t, &c.want, err)
			assert.Equal(t, c.text, err.Error())
			assert.Equal(t, 1, n, "no such answer is a reason to try again, or to go elsewhere")
		})
	}
}

// A stranger chooses the text that a browser sends as a ticket. No such text changes
// the verdict that the service gave.
func TestTicketsInWordsOfTheAnswer(t *testing.T) {
	const answered = `{"status":"403","description":"Refused: malformed","data":{"result":"refused","reason":"malformed"}}`
	for _, ticket := range []string{
		"e", ":", `"`, "refused", "malformed", `"data":{"result":"refused","reason":"malformed"}`,
	} {
		client := newClient(t, func(*http.Request) (*http.Response, error) { return answer(403, answered), nil })
		_, err := client.Redeem(t.Context(), RedeemRequest{Ticket: ticket, Audience: Agent})
		assert.Equal(t, &Error{
			Operation: "redeem", Status: 403, Description: "Refused: malformed", Result: Refused, Reason: Malformed,
		}, err, ticket)
	}
}

// trap R25: the second request has the first one's binding.
func TestRedeemTriesAgain(t *testing.T) {
	errLost := errors.New("connection reset")
	slow := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	lose := func(*http.Request) (*http.Response, error) { return nil, errLost }
	for name, c := range map[string]struct {
		first   func(*http.Request) (*http.Response, error)
		after   time.Duration // until the second request; 0: there is none
		causeIs error
	}{
		"lost":            {first: lose, after: time.Second, causeIs: errLost},
		"slow":            {first: slow, after: 6 * time.Second, causeIs: errSlow},
		"broken off":      {first: broken(errLost), after: time.Second, causeIs: errLost},
		"bad gateway":     {first: always(502, ``), after: time.Second},
		"gateway timeout": {first: always(504, `<html>`), after: time.Second},
		"cannot tell":     {first: always(503, busyBody, "Retry-After", "5"), after: 5 * time.Second},
		"no Retry-After":  {first: always(503, ``), after: time.Second},
		"the grace ends":  {first: always(503, busyBody, "Retry-After", "10")},
		"an hour":         {first: always(503, busyBody, "Retry-After", "3600")},
		"refused":         {first: always(403, `{}`)},
		"internal":        {first: always(500, `{}`)},
		"rate limit":      {first: always(429, `{}`, "Retry-After", "1")},
	} {
		for second, last := range map[string]func(*http.Request) (*http.Response, error){
			"admitted":     always(200, admittedBody),
			"already used": always(403, `{"data":{"result":"refused","reason":"already_used"}}`),
			"lost":         lose,
		} {
			t.Run(name+", then "+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var bindings []string
					client := newClient(t, func(r *http.Request) (*http.Response, error) {
						var body RedeemRequest
						assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
						bindings = append(bindings, body.Binding)
						if len(bindings) == 1 {
							return c.first(r)
						}
						return last(r)
					})
					start := time.Now()
					admitted, err := client.Redeem(t.Context(), RedeemRequest{Ticket: someTicket})
					if c.after == 0 {
						assert.Len(t, bindings, 1)
						assert.Error(t, err)
						assert.Zero(t, time.Since(start))
						return
					}
					require.Len(t, bindings, 2)
					assert.Equal(t, bindings[0], bindings[1])
					assert.GreaterOrEqual(t, len(bindings[0]), 16)
					assert.Equal(t, c.after, time.Since(start))
					if second == "admitted" {
						require.NoError(t, err)
						assert.Equal(t, "john.d", admitted.Agent.Username)
						return
					}
					var e *Error
					require.ErrorAs(t, err, &e)
					assert.Zero(t, admitted)
					if second == "already used" {
						assert.Equal(t, AlreadyUsed, e.Reason)
					}
					require.Error(t, e.Cause, "the first request may have spent the ticket")
					if c.causeIs != nil {
						assert.ErrorIs(t, err, c.causeIs)
					}
				})
			})
		}
	}
}

func always(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return answer(status, body, header...), nil }
}

// broken is an answer that ends too early.
func broken(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		r := answer(200, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(admittedBody[:40]), iotest.ErrReader(err)))
		return r, nil
	}
}

func TestEachRedeemHasItsBinding(t *testing.T) {
	seen := map[string]bool{}
	client := newClient(t, func(r *http.Request) (*http.Response, error) {
		var body RedeemRequest
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		seen[body.Binding] = true
		return answer(403, ""), nil
	})
	for range 10 {
		_, err := client.Redeem(t.Context(), RedeemRequest{Ticket: someTicket})
		assert.Error(t, err)
	}
	assert.Len(t, seen, 10)
}

// A caller that has gone waits for nothing.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		hang := newClient(t, func(r *http.Request) (*http.Response, error) {
			n++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := hang.Redeem(ctx, RedeemRequest{Ticket: someTicket})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.Equal(t, 1, n)

		busy := newClient(t, always(503, busyBody, "Retry-After", "5"))
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		_, err = busy.Redeem(ctx, RedeemRequest{Ticket: someTicket})
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, CannotTell, e.Result)
		assert.Equal(t, 5*time.Second, e.RetryAfter)
		assert.Zero(t, time.Since(start), "the second request could not begin in time")

		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		_, err = busy.Redeem(ctx, RedeemRequest{Ticket: someTicket})
		require.ErrorAs(t, err, &e)
		assert.Equal(t, StoreUnavailable, e.Reason)
		assert.Equal(t, time.Second, time.Since(start))

		// Without a deadline of the caller's, each call has one.
		start = time.Now()
		_, err = hang.Issue(t.Context(), IssueRequest{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, callTime, time.Since(start))
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{URL: "https://tickets.example.com", APIKey: someKey},
		{URL: "http://127.8.0.1:8080", APIKey: someKey},
		{URL: "http://[::1]:8080/x", APIKey: someKey},
		{URL: "http://LOCALHOST", APIKey: someKey},
		{URL: "http://a.localhost.", APIKey: someKey},
		{URL: "http://tickets.svc", APIKey: someKey, InsecureHTTP: true},
	} {
		_, err := New(c)
		assert.NoError(t, err)
	}
	const good = "https://tickets.example.com"
	for want, c := range map[string]Config{
		"client.Config.URL is not an absolute URL":               {APIKey: someKey},
		"client.Config.URL is not an absolute URL; write":        {URL: "tickets.example.com", APIKey: someKey},
		"client.Config.URL is not":                               {URL: "ftp://tickets.example.com", APIKey: someKey},
		"client.Config.URL has a user name":                      {URL: "https://a:b@tickets.example.com", APIKey: someKey},
		"client.Config.URL has a query":                          {URL: "https://tickets.example.com?x", APIKey: someKey},
		"client.Config.URL would send the API key unencrypted":   {URL: "http://tickets.example.com", APIKey: someKey},
		"client.Config.URL would send the API key":               {URL: "http://localhost.example.com", APIKey: someKey},
		"client.Config.URL would send":                           {URL: "http://192.0.2.1", APIKey: someKey},
		"client.Config.APIKey is empty":                          {URL: good},
		"client.Config.APIKey has a space, a line break":         {URL: good, APIKey: someKey + "\n"},
		"client.Config.APIKey has a space, a line break or a ch": {URL: good, APIKey: "Bearer " + someKey},
	} {
		_, err := New(c)
		var e *ConfigError
		require.ErrorAs(t, err, &e, want)
		assert.True(t, strings.HasPrefix(err.Error(), want), err)
		assert.NotContains(t, err.Error(), someKey)
	}
}

// No way of printing shows the API key.
func TestKeyIsNotPrinted(t *testing.T) {
	config := Config{URL: "https://tickets.example.com", APIKey: someKey}
	client, err := New(config)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "config", config, "client", client)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "config", config, "client", client)
	for _, v := range []any{config, &config, client, *client, struct{ c *Client }{client}, []any{config, client}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			log.WriteString(fmt.Sprintf(verb, v))
		}
	}
	assert.NotContains(t, log.String(), "secretsecret")
	assert.NotContains(t, log.String(), fmt.Sprintf("%x", "secretsecret"))
	assert.Equal(t, "client of https://tickets.example.com", client.String())
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]time.Duration{
			"": 0, "0": 0, "5": 5 * time.Second, "-1": 0, "x": 0, "1.5": 0, "99999999999": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat):  90 * time.Second,
			time.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat): 0,
		} {
			assert.Equal(t, want, retryAfter(http.Header{"Retry-After": {text}}), text)
		}
	})
}

// FuzzAnswer: whatever a service answers, Redeem admits somebody only if the status is 200 and the
// answer says so, and no error has the API key or the ticket.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		admittedBody, busyBody, `{"data":{"result":"admitted"}}`, `{"data":{"result":"refused","reason":"` + someTicket + `"}}`,
		`{"description":"` + someKey + `"}`, `null`, `{"data":{"errors":[{"field":"` + someKey + `"}]}}`,
	} {
		f.Add(200, body)
		f.Add(403, body)
	}
	f.Add(401, "")
	f.Fuzz(func(t *testing.T, status int, body string) {
		status = 200 + (status%400+400)%400
		if lost(status) {
			return // is repeated, after a time
		}
		c, err := New(Config{URL: "https://tickets.example.com", APIKey: someKey, Transport: transport(
			func(*http.Request) (*http.Response, error) { return answer(status, body), nil },
		)})
		require.NoError(t, err)
		admitted, err := c.Redeem(t.Context(), RedeemRequest{Ticket: someTicket, Audience: Agent})
		var told struct{ Data struct{ Result string } }
		if err == nil {
			require.Equal(t, 200, status)
			require.NoError(t, json.Unmarshal([]byte(body), &told))
			require.Equal(t, "admitted", told.Data.Result)
			require.NotNil(t, admitted.Ticket)
			return
		}
		require.Zero(t, admitted)
		require.NotContains(t, fmt.Sprintf("%+v", err), someKey)
		require.NotContains(t, err.Error(), someTicket)
	})
}

// A call names its request if the context says how, and an error has the name by which the service knows
// the request.
func TestRequestID(t *testing.T) {
	var sent []string
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Header.Get("X-Request-Id"))
		return answer(400, `{"status":"400","description":"Bad","request_id":"x"}`, "X-Request-Id", "of-the-service"), nil
	})
	_, err := c.Issue(t.Context(), IssueRequest{Brand: "b"})
	told, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Equal(t, "of-the-service", told.RequestID)
	_, err = c.Issue(WithRequestID(t.Context(), "mine-1"), IssueRequest{Brand: "b"})
	assert.Error(t, err)
	assert.Equal(t, []string{"", "mine-1"}, sent)
}
