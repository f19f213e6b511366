// Package client calls the HTTP API of ticketd from Go. It needs the standard
// library only.
//
// A backend that knows a person asks for a ticket and appends it to a login or
// chat URL:
//
//	tickets, err := client.New(client.Config{URL: "https://tickets.example.com", APIKey: key})
//	john := client.IssueRequest{Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com"}
//	issued, err := tickets.Issue(ctx, john)
//	http.Redirect(w, r, "https://login.example.com/login?ta="+issued.Ticket, http.StatusSeeOther)
//
// A login service spends the ticket that a browser brings. Let the person in only
// if Redeem returns no error:
//
//	admitted, err := tickets.Redeem(ctx, client.RedeemRequest{Ticket: r.FormValue("ta"), Audience: client.Agent})
//
// [Client.Revoke] makes the service refuse a ticket from now on.
//
// [Client.Inspect] shows what a ticket says and whether Redeem would admit the
// ticket now. Inspect spends nothing. [Client.TryKey] tries the API key, for a start-up check.
//
// # Errors
//
// A call that fails returns an [*Error] with the HTTP status, the service's
// description, and the [Reason] or the wrong fields. If Error.Result is [Refused],
// the ticket does not admit. After any other error of Redeem the ticket may be good
// or not: admit nobody, and ask the person to try again.
//
// Neither the API key nor a ticket stands in an error.
//
// # Lost answers
//
// A one-time ticket is spent even if the answer to Redeem gets lost. Redeem
// therefore sends a binding, which is a random value, and repeats the request once
// with the same binding. The service gives the same answer for [Grace]. Redeem
// repeats a request only if no answer came within 5 seconds, if the connection
// failed, or if the status was 502, 503 or 504. All other methods repeat nothing.
//
// Package [github.com/admitone/admitone/client/admin] administers the service. Package
// [github.com/admitone/admitone/client/clienttest] stands in for the service in tests.
//
// Package client is the home of the API's types: ticketd writes its answers with
// them. The service describes the API at /openapi.yaml.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Grace is how long after a redemption the service answers the same binding in the
// same way. It equals Grace of package replay.
const Grace = 10 * time.Second

const (
	callTime  = 30 * time.Second // bounds each call; the service answers within 20 s
	firstTry  = 5 * time.Second  // bounds the first request of a Redeem, so that a second fits into Grace
	travel    = time.Second      // the part of Grace that is left for the second request's way to the service
	pause     = time.Second      // before the second request, unless the answer has Retry-After
	maxAnswer = 1 << 20          // bytes of an answer's body
	maxList   = 16 << 20         // the same, of an answer to Call
	minSecret = 32               // bytes; a text shorter than that is no ticket, but may be a part of every answer
)

var errSlow = errors.New("no answer")

// Config says which service a Client calls. URL and APIKey are mandatory.
type Config struct {
	// URL is the address of ticketd, such as https://tickets.example.com. A path
	// is put before the API's own paths.
	URL string

	// APIKey is sent as a bearer token. "ticketd apikey add" makes keys: Issue and
	// Revoke need the scope issue, Inspect and Redeem need the scope redeem.
	APIKey string `json:"-"`

	// InsecureHTTP allows a URL that begins with http:// and names another
	// machine. Whoever sees the traffic then has the API key and the tickets.
	// Without InsecureHTTP, plain HTTP is for loopback addresses only.
	InsecureHTTP bool

	// Transport sends the requests. Nil means a copy of http.DefaultTransport, or
	// http.DefaultTransport itself if it is not an *http.Transport.
	Transport http.RoundTripper
}

// Format prints the URL for every verb of package fmt. The API key is left out.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "client.Config for %s", c.URL) }

// ConfigError says which field of a Config cannot work, and why.
type ConfigError struct {
	Field  string // such as client.Config.URL
	Reason string // the rest of a sentence that begins with Field
	Cause  error  // nil if Reason says everything
}

// Error returns Field, Reason and Cause. The API key is never part of the text.
func (e *ConfigError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s %s: %v", e.Field, e.Reason, e.Cause)
	}
	return e.Field + " " + e.Reason
}

// Unwrap returns Cause.
func (e *ConfigError) Unwrap() error { return e.Cause }

// Client calls a service with an API key. A Client is safe for concurrent use.
type Client struct {
	base *url.URL
	key  *string // a pointer, so that package fmt prints no key
	http *http.Client
}

// New returns a Client, without calling the service. The error is a
// [*ConfigError].
func New(c Config) (*Client, error) {
	base, err := checkURL(c)
	if err != nil {
		return nil, err
	}
	switch {
	case c.APIKey == "":
		return nil, &ConfigError{
			Field:  "client.Config.APIKey",
			Reason: "is empty; give a key from ticketd apikey add",
		}
	case strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, &ConfigError{
			Field:  "client.Config.APIKey",
			Reason: "has a space, a line break or a character outside ASCII; give the key alone",
		}
	}
	transport := c.Transport
	if transport == nil {
		transport = http.DefaultTransport
		if t, ok := transport.(*http.Transport); ok { // else a program put its own there
			transport = t.Clone()
		}
	}
	return &Client{base: base, key: &c.APIKey, http: &http.Client{
		Transport: transport,
		// A redirect would carry the ticket to an address that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func checkURL(c Config) (*url.URL, error) {
	wrong := func(reason string) error { return &ConfigError{Field: "client.Config.URL", Reason: reason} }
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, wrong("is not an absolute URL; write it like https://tickets.example.com")
	case u.User != nil:
		return nil, wrong("has a user name or password; the API authenticates by client.Config.APIKey")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, wrong("has a query or fragment; give scheme, host and path only")
	case u.Scheme == "http" && !c.InsecureHTTP && !loopback(u.Hostname()):
		return nil, wrong("would send the API key unencrypted to another machine; use https://, or set InsecureHTTP")
	}
	return u, nil
}

// loopback reports whether a host is this machine, by name (RFC 6761, section 6.3)
// or by address.
func loopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// String returns the service's URL. The API key is left out.
func (c *Client) String() string { return "client of " + c.base.String() }

// Issue asks for a ticket. The API key needs the scope issue.
func (c *Client) Issue(ctx context.Context, request IssueRequest) (Issued, error) {
	var issued Issued
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := c.call(ctx, "issue", "/auth/ticket", request, &issued); err != nil {
		return Issued{}, err
	}
	if issued.Ticket == "" {
		return Issued{}, odd("issue", http.StatusOK)
	}
	return issued, nil
}

// Inspect shows what a ticket says and whether Redeem would admit the ticket now.
// A refused ticket is no error. Admit nobody by the answer: two calls can both find
// a one-time ticket that is still good. The API key needs the scope redeem.
func (c *Client) Inspect(ctx context.Context, request RedeemRequest) (Inspection, error) {
	var found Inspection
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	description, err := c.call(ctx, "inspect", "/auth/inspect", request, &found)
	if err != nil {
		return Inspection{}, err
	}
	if found.Result != Acceptable && found.Result != Refused || found.Result == Acceptable && found.Ticket == nil {
		return Inspection{}, odd("inspect", http.StatusOK)
	}
	found.Description = description
	return found, nil
}

// Redeem spends a ticket. Admit the person only if the error is nil. Of a one-time
// ticket at most one Redeem succeeds.
//
// Redeem makes a binding unless the request has one, and repeats the request at
// most once, within [Grace] of the beginning; see "Lost answers" above. Between the
// two requests Redeem waits as long as Retry-After says, or else one second. If ctx
// ends before the second request could begin, Redeem returns the first error at
// once. The API key needs the scope redeem.
func (c *Client) Redeem(ctx context.Context, request RedeemRequest) (Redemption, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if request.Binding == "" {
		request.Binding = rand.Text()
	}
	var admitted Redemption
	err := twice(ctx, firstTry, time.Now().Add(Grace-travel), func(ctx context.Context) (err *Error) {
		admitted, err = c.redeem(ctx, request)
		return err
	})
	return admitted, asError(err)
}

// twice calls do, and once more if no answer came and the second call can begin before last.
// The first call ends after the limit.
func twice(ctx context.Context, limit time.Duration, last time.Time, do func(context.Context) *Error) *Error {
	first, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %v", errSlow, limit))
	err := do(first)
	stop()
	if err == nil || !lost(err.Status) || ctx.Err() != nil {
		return err
	}
	wait := err.RetryAfter
	if wait == 0 {
		wait = pause
	}
	again := time.Now().Add(wait)
	if end, ok := ctx.Deadline(); again.After(last) || ok && again.After(end) {
		return err
	}
	select {
	case <-ctx.Done():
		return err
	case <-time.After(wait):
	}
	second := do(ctx)
	if second != nil {
		second.Cause = errors.Join(second.Cause, err)
	}
	return second
}

func (c *Client) redeem(ctx context.Context, request RedeemRequest) (Redemption, *Error) {
	var admitted Redemption
	if _, err := c.call(ctx, "redeem", "/auth/redeem", request, &admitted); err != nil {
		return Redemption{}, err
	}
	if admitted.Result != Admitted || admitted.Ticket == nil {
		return Redemption{}, odd("redeem", http.StatusOK)
	}
	return admitted, nil
}

// lost reports whether a request is worth repeating: no answer came (0), a proxy got
// no answer (502, 504), or the service cannot tell now (503).
func lost(status int) bool {
	switch status {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

// Revoke makes the service refuse a ticket from now on, also a ticket for many uses. A
// second Revoke of the same ticket changes nothing, and the sessions that the ticket
// started stay. The API key needs the scope issue for the ticket's brand.
func (c *Client) Revoke(ctx context.Context, request RevokeRequest) (Revoked, error) {
	var revoked Revoked
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := c.call(ctx, "revoke", "/auth/revoke", request, &revoked); err != nil {
		return Revoked{}, err
	}
	if revoked.TicketID == "" {
		return Revoked{}, odd("revoke", http.StatusOK)
	}
	return revoked, nil
}

// TryKey asks the service whether it accepts the API key, and returns nil if so. A key of any
// scope is good.
func (c *Client) TryKey(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r := Request{Operation: "try key", Method: http.MethodGet, Path: "/core/systemstatus"}
	description, err := c.ask(ctx, r, nil)
	if err == nil && description == "" {
		err = odd(r.Operation, http.StatusOK)
	}
	return asError(err)
}

// A Request is a request to an operation for which Client has no method, such as those of
// package client/admin.
type Request struct {
	Operation string      // for errors, such as "add agent"
	Method    string      // of HTTP
	Path      string      // begins with a slash, and is escaped
	Query     url.Values  // may be nil
	Header    http.Header // further headers; may be nil
	Body      []byte      // JSON, unless Header has another Content-Type; may be nil

	// Repeat lets Call send the request again, once, if no answer came: the service takes the
	// second request as the first.
	Repeat bool
}

// Call sends a request to the service, and decodes the JSON of the answer into answer. If the
// status is not 200 or 201, the error is an [*Error], whose Data has the data of the answer.
func (c *Client) Call(ctx context.Context, r Request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	end, _ := ctx.Deadline()
	do := func(ctx context.Context) *Error {
		status, header, raw, err := c.send(ctx, r, maxList)
		switch {
		case err != nil:
			return &Error{Operation: r.Operation, Cause: err}
		case status != http.StatusOK && status != http.StatusCreated:
			told, data := c.failure(r.Operation, status, header, raw)
			if !bytes.Contains(data, []byte(*c.key)) {
				told.Data = data
			}
			return told
		case json.Unmarshal(raw, answer) != nil:
			return odd(r.Operation, status)
		}
		return nil
	}
	if r.Repeat {
		return asError(twice(ctx, callTime/2, end, do))
	}
	return asError(do(ctx))
}

// requestID is the header that names a request, in the request and in the answer.
const requestID = "X-Request-Id"

type requestIDKey struct{}

// WithRequestID returns a context whose calls name their requests. The service writes the ID into its
// log, so that the logs of both programs can be joined. An ID has at most 64 letters, digits, dots, hyphens
// and underscores; in place of another one, and of none, the service makes an ID.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// call posts a body as JSON. With status 200, call decodes the answer's data into data
// and returns the answer's description.
func (c *Client) call(ctx context.Context, operation, path string, body, data any) (description string, _ *Error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return "", &Error{Operation: operation, Cause: err}
	}
	r := Request{Operation: operation, Method: http.MethodPost, Path: path, Body: sent}
	description, told := c.ask(ctx, r, data)
	if told == nil {
		return description, nil
	}
	var ticket string
	switch r := body.(type) {
	case RedeemRequest:
		ticket = r.Ticket
	case RevokeRequest:
		ticket = r.Ticket
	}
	if len(ticket) >= minSecret {
		told.hide(ticket)
	}
	return "", told
}

// ask sends a request. With status 200, ask decodes the answer's data into data and returns the
// answer's description.
func (c *Client) ask(ctx context.Context, r Request, data any) (description string, _ *Error) {
	status, header, raw, err := c.send(ctx, r, maxAnswer)
	if err != nil {
		return "", &Error{Operation: r.Operation, Cause: err}
	}
	if status == http.StatusOK {
		answer := Envelope{Data: data}
		if json.Unmarshal(raw, &answer) != nil {
			return "", odd(r.Operation, status)
		}
		return answer.Description, nil
	}
	told, _ := c.failure(r.Operation, status, header, raw)
	return "", told
}

// failure returns the error of an answer that is no success, and the answer's data.
func (c *Client) failure(operation string, status int, header http.Header, raw []byte) (*Error, json.RawMessage) {
	var told Error
	var data json.RawMessage
	answer := Envelope{Data: &data}
	if json.Unmarshal(raw, &answer) != nil || data != nil && json.Unmarshal(data, &told) != nil {
		told, data, answer.Description = Error{}, nil, ""
	}
	told.Operation, told.Status, told.Description = operation, status, answer.Description
	told.RequestID, told.RetryAfter = header.Get(requestID), retryAfter(header)
	// The page of a proxy may repeat the request.
	told.hide(*c.key)
	return &told, data
}

// odd is the error of an answer that is not in the form of ticketd.
func odd(operation string, status int) *Error {
	return &Error{
		Operation: operation, Status: status,
		Description: "The answer is not one of ticketd; check client.Config.URL",
	}
}

// send sends a request and reads the whole answer, of at most so many bytes.
func (c *Client) send(ctx context.Context, r Request, most int64) (int, http.Header, []byte, error) {
	at := strings.TrimSuffix(c.base.String(), "/") + r.Path
	if len(r.Query) > 0 {
		at += "?" + r.Query.Encode()
	}
	sent, err := http.NewRequestWithContext(ctx, r.Method, at, bytes.NewReader(r.Body))
	if err != nil {
		return 0, nil, nil, err
	}
	if r.Header != nil {
		sent.Header = r.Header.Clone()
	}
	sent.Header.Set("Authorization", "Bearer "+*c.key)
	sent.Header.Set("User-Agent", "admitone-client")
	if id, ok := ctx.Value(requestIDKey{}).(string); ok {
		sent.Header.Set(requestID, id)
	}
	if r.Body != nil && sent.Header.Get("Content-Type") == "" {
		sent.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(sent)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(got)) > most {
		got = nil // no answer of ticketd is so long
	}
	return response.StatusCode, response.Header, got, nil
}
