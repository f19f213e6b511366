// Package api serves the HTTP surface of ticketd. Backends ask for tickets, and inspect,
// redeem and revoke them (/auth/…, described by openapi.yaml). People enter at /login and
// /chat/{code} by the handlers of package web, and proxies ask
// /auth/brand/{brand}/check.
//
// A request opens its ticket once, in package verify, and reads each record of the
// directory once: the site of a ticket (its brand and channel) as soon as the ticket is
// decoded, the agent or customer in the check before the ticket is spent.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/bundles"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/issuers"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// Config has the parts of the service. A field is mandatory unless its comment names a
// default.
type Config struct {
	Part      Part // which operations there are; default all
	Directory *directory.DB
	Issuer    *token.Issuer    // not with LoginPart
	Verifier  *verify.Verifier // with IssuingPart for administrators' links only
	Channels  *token.Channels
	Sessions  *web.Sessions // whose SessionConfig.Refresh is Refresh; not with IssuingPart
	Metrics   *metrics.Metrics
	Limiter   ratelimit.Limiter // counts the requests of each API key
	Log       *slog.Logger      // nil means slog.Default()
	Audit     *audit.Trail      // takes the events of tickets; default none
	Issuers   *issuers.Register // takes the uses of named issuers' tickets; default none
	Bundles   *bundles.List     // the bundles of public keys to serve; default none
	Now       func() time.Time

	// IssuerName is the name under which the Issuer signs tickets of format 2. The default is for
	// format 1. LoginURL is the URL of the service where people enter, for IssuingPart.
	IssuerName, LoginURL string

	Skew        time.Duration   // the Verifier's
	MaxLifetime time.Duration   // longest lifetime of a ticket, the same as the Issuer's and the Verifier's
	Limit       ratelimit.Limit // the limit of API keys without a limit of their own
	Proxies     Proxies         // the proxies in front of the service; default none
	Checks      []Check         // the checks of /readyz; default none
	Looks       looks.Folder    // texts and logos of the pages; default the built-in texts
	Headers     web.Headers     // names of the headers of the proxies' checks; default as in package web

	// AnyBrandCheck lets the sessions of every brand pass at /auth/check and
	// /auth/check-customer. The default is nobody: usernames are unique within a brand only.
	AnyBrandCheck bool

	// NamelessTicket also accepts tickets in the old form ?=TA<ticket>.
	NamelessTicket bool

	RefusalTime time.Duration // least time that a page's refusal of a ticket takes; default as in package web

	AgentHome      string // path to which agents go after the entry; default the entry's own path
	AgentSignInURL string // page where agents sign in, as web.Page.SignIn, if their brand has none; default none

	Tracer trace.Tracer // makes a span of each request; default no spans

	// IntegerStatus makes the status in answers a number, as newer clients of the API
	// expect. The default is text.
	IntegerStatus bool
}

type server struct {
	Config
	failures ratelimit.Limiter // requests without a good API key, by address
	floods   *floods
	ready    readiness
	paths    map[string]string // the paths without parameters, by their lower case

	agents, customers           http.Handler // the pages where they enter
	checkAgents, checkCustomers check
}

// New returns the service's handler. The error is a *token.ConfigError.
func New(c Config) (http.Handler, error) {
	if !(c.Limit.Rate > 0) || c.Limit.Burst < 1 {
		return nil, &token.ConfigError{
			Field: "api.Config.Limit", Reason: "is no limit; give a rate above 0 and a burst of 1 or more",
		}
	}
	s := newServer(c)
	if c.Part != IssuingPart {
		if err := s.makeEntries(); err != nil {
			return nil, err
		}
	}
	routes, err := s.routes()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.paths = make(map[string]string)
	for _, r := range routes {
		mux.Handle(r.pattern, r.handler)
		if path := r.pattern[strings.Index(r.pattern, "/"):]; !strings.Contains(path, "{") {
			s.paths[lower(path)] = path
		}
	}
	mux.HandleFunc("/auth/", s.noOperation)
	mux.HandleFunc("/core/", s.noOperation)
	for _, page := range []string{"GET /login", "POST /login", "POST /logout", "GET /chat/{code}", "POST /chat/{code}"} {
		if c.Part != IssuingPart {
			mux.HandleFunc(page+"/{$}", withoutSlash)
		}
	}
	return s.guard(mux), nil
}

// newServer returns a server without routes.
func newServer(c Config) *server {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = JoiningLog(c.Log)
	return &server{Config: c, failures: ratelimit.NewLocal(failureClients, c.Now), floods: newFloods(c.Log, c.Now)}
}

type route struct {
	pattern string // of http.ServeMux
	handler http.Handler
}

// routes returns all routes but noOperation's. openapi.yaml describes each of them.
func (s *server) routes() ([]route, error) {
	docs, err := newDocuments(s.IntegerStatus, s.Headers, s.Part)
	return slices.Concat(s.issuing(), s.entering(), []route{
		{"/auth/revoke", s.operation("revoke", directory.ScopeIssue, s.revoke)},
		{"/core/systemstatus", s.answered("status", s.systemStatus)},
		{"GET /healthz", http.HandlerFunc(healthz)},
		{"GET /readyz", http.HandlerFunc(s.readyz)},
		{"GET /.well-known/admitone/{file}", http.HandlerFunc(s.bundle)},
		{"GET /openapi.yaml", http.HandlerFunc(docs.serveYAML)},
		{"GET /docs", http.HandlerFunc(docs.servePage)},
		{"GET /docs.css", http.HandlerFunc(serveStyle)},
	}), err
}

// issuing returns the routes that a service of LoginPart does not have.
func (s *server) issuing() []route {
	if s.Part == LoginPart {
		return s.elsewhere("this service makes no tickets: ask the service of your deployment that does", "/auth/ticket")
	}
	return []route{{"/auth/ticket", s.operation("issue", directory.ScopeIssue, s.ticket)}}
}

// entering returns the routes that a service of IssuingPart does not have.
func (s *server) entering() []route {
	if s.Part == IssuingPart {
		return s.elsewhere("people enter, and tickets are opened, at "+s.LoginURL+" only",
			"/auth/inspect", "/auth/redeem", "/login", "/login/", "/logout", "/chat/", "/auth/brand/",
			"/auth/check", "/auth/check/", "/auth/check-customer", "/auth/check-customer/")
	}
	return []route{
		{"/auth/inspect", s.operation("inspect", directory.ScopeRedeem, s.inspect)},
		{"/auth/redeem", s.operation("redeem", directory.ScopeRedeem, s.redeem)},
		{"GET /login", s.agents},
		{"POST /login", s.agents},
		{"GET /chat/{code}", s.customers},
		{"POST /chat/{code}", s.customers},
		// A proxy asks the checks with any path and method. The client must choose neither
		// the brand nor the audience: some proxies append the client's path to theirs.
		{"/auth/brand/{brand}/check", s.checkAgents.ofBrand},
		{"/auth/brand/{brand}/check/{path...}", s.checkAgents.ofBrand},
		{"/auth/brand/{brand}/check-customer", s.checkCustomers.ofBrand},
		{"/auth/brand/{brand}/check-customer/{path...}", s.checkCustomers.ofBrand},
		{"/auth/check", s.checkAgents.bare},
		{"/auth/check/{path...}", s.checkAgents.bare},
		{"/auth/check-customer", s.checkCustomers.bare},
		{"/auth/check-customer/{path...}", s.checkCustomers.bare},
		{"POST /logout", s.Sessions.Logout("login?signin=1")},
	}
}

// inKnownCase returns r with a path of the service's own in the service's spelling, since
// older clients send /Auth/Ticket. A channel's code in a path, a slash at the end, and all
// other paths stay.
func (s *server) inKnownCase(r *http.Request) *http.Request {
	const chat = "/chat/"
	sent := r.URL.EscapedPath()
	path, raw := r.URL.Path, r.URL.RawPath
	if known := s.paths[lower(strings.TrimSuffix(sent, "/"))]; known != "" {
		if path, raw = known, ""; strings.HasSuffix(sent, "/") {
			path += "/"
		}
	} else if len(sent) > len(chat) && lower(sent[:len(chat)]) == chat && strings.HasPrefix(path, sent[:len(chat)]) {
		path = chat + path[len(chat):]
		if raw != "" {
			raw = chat + raw[len(chat):]
		}
	}
	if path == r.URL.Path {
		return r
	}
	u := *r.URL
	u.Path, u.RawPath = path, raw
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// withoutSlash redirects to the same page without the slash at the end of the path. The
// pages' own addresses are relative, and so is the redirect: a proxy in front may have taken
// off a part of the path.
func withoutSlash(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = u.EscapedPath()
	}
	path = strings.TrimRight(path, "/")
	to := "../" + path[strings.LastIndexByte(path, '/')+1:]
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusPermanentRedirect)
}

// noOperation answers a misspelt path under /auth/ or /core/ in the form that backends read.
func (s *server) noOperation(w http.ResponseWriter, _ *http.Request) {
	s.refuse(w, notFound("there is no operation at this path; "+
		"tickets are issued at /auth/ticket, and /docs has all others", "no operation"))
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// answerTime is the time limit of a request, whether or not the client waits. Half a
// redemption helps nobody; a client that closed only its side of the connection may still
// read; and a client that has gone must not look like a failure of the directory.
const answerTime = 20 * time.Second

// Values of the headers that every answer has. Nobody changes them.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"no-store"}
)

// guard sets the headers that every answer has, writes the access log and turns a panic
// into a 500. The log has the route and not the URL, since paths and queries may carry
// tickets.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		v := &visit{id: [1]string{requestID(r)}, client: s.Proxies.client(r), remote: unknownClient}
		v.Parent, v.Until = context.Background(), start.Add(answerTime)
		defer v.End()
		r, span := s.startSpan(s.inKnownCase(r.WithContext(v)))
		// In place of the proxy's address, for handlers that know of no proxies.
		r.RemoteAddr = ""
		if v.client.IsValid() {
			v.remote = v.client.String()
			r.RemoteAddr = v.remote
		}
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Referrer-Policy"] = noReferrer
		h["Cache-Control"] = noStore
		h[requestIDHeader] = v.id[:]
		a := &v.answer
		a.ResponseWriter = w
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler {
				s.Log.Error("panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()), "request_id", v.id[0])
				if a.status == 0 {
					s.refuse(a, internal(errors.New("panic")))
				}
			}
			status, took := cmp.Or(a.status, http.StatusOK), time.Since(start)
			if s.Tracer != nil {
				endSpan(span, r, status)
			}
			s.Metrics.Request(pattern(r), status, took)
			s.logVisit(r, v, status, took)
			s.floods.tell()
			if p == http.ErrAbortHandler {
				panic(p)
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// method and pattern return the parts of a request that may be logged: a stranger chooses
// neither freely.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
		return r.Method
	}
	return "other"
}

func pattern(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}
