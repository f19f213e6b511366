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
// ticket now. Inspect spends nothing.
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
// failed, or if the status was 502, 503 or 504. The other
// calls repeat nothing.
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
	minSecret = 32               // bytes; a text shorter than that is no ticket, but may be a part of every answer
)

var errSlow = fmt.Errorf("no answer within %v", firstTry)

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

	// Transport sends the requests. Nil means a copy of http.DefaultTransport.
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
		transport = http.DefaultTransport.(*http.Transport).Clone()
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
	last := time.Now().Add(Grace - travel) // for the second request to begin
	first, stop := context.WithTimeoutCause(ctx, firstTry, errSlow)
	admitted, err := c.redeem(first, request)
	stop()
	if err == nil || !lost(err.Status) || ctx.Err() != nil {
		return admitted, asError(err)
	}
	wait := err.RetryAfter
	if wait == 0 {
		wait = pause
	}
	again := time.Now().Add(wait)
	if end, _ := ctx.Deadline(); again.After(last) || again.After(end) {
		return Redemption{}, err
	}
	select {
	case <-ctx.Done():
		return Redemption{}, err
	case <-time.After(wait):
	}
	admitted, second := c.redeem(ctx, request)
	if second != nil {
		second.Cause = errors.Join(second.Cause, err)
	}
	return admitted, asError(second)
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

// call sends a request. With status 200, call decodes the answer's data into data
// and returns the answer's description.
func (c *Client) call(ctx context.Context, operation, path string, body, data any) (description string, _ *Error) {
	status, header, raw, err := c.post(ctx, path, body)
	if err != nil {
		return "", &Error{Operation: operation, Cause: err}
	}
	if status == http.StatusOK {
		answer := Envelope{Data: data}
		if json.Unmarshal(raw, &answer) != nil {
			return "", odd(operation, status)
		}
		return answer.Description, nil
	}
	var told Error
	answer := Envelope{Data: &told}
	if json.Unmarshal(raw, &answer) != nil {
		told, answer.Description = Error{}, ""
	}
	told.Operation, told.Status, told.Description = operation, status, answer.Description
	told.RetryAfter = retryAfter(header)
	// The page of a proxy may repeat the request.
	told.hide(*c.key)
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
	return "", &told
}

// odd is the error of an answer that is not in the form of ticketd.
func odd(operation string, status int) *Error {
	return &Error{
		Operation: operation, Status: status,
		Description: "The answer is not one of ticketd; check client.Config.URL",
	}
}

// post sends a body and reads the whole answer.
func (c *Client) post(ctx context.Context, path string, body any) (int, http.Header, []byte, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(sent))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+*c.key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "admitone-client")
	response, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(got) > maxAnswer {
		got = nil // no answer of ticketd is so long
	}
	return response.StatusCode, response.Header, got, nil
}
