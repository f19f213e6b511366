// Package api is the HTTP surface of ticketd: issuing tickets for backends, and
// redeeming them for people.
package api

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// Config is what the service is made of. All fields are mandatory.
type Config struct {
	Directory *directory.DB
	Issuer    *token.Issuer
	Opener    token.Opener // opens tickets, as the Verifier does
	Realm     string
	Verifier  *verify.Verifier
	Channels  *token.Channels
	Sessions  *web.Sessions
	Metrics   *metrics.Metrics
	Log       *slog.Logger
	Now       func() time.Time

	MaxLifetime time.Duration // the longest of any ticket here, which the Issuer and the Verifier have as well
}

type server struct {
	Config
	ad []byte // of tickets
}

// New returns the service's handler.
func New(c Config) (http.Handler, error) {
	ad, err := token.AssociatedData(c.Realm)
	if err != nil {
		return nil, err
	}
	s := &server{c, ad}
	mux := http.NewServeMux()
	mux.HandleFunc("/auth/ticket", s.ticket)
	mux.HandleFunc("GET /login", s.login)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /chat/{code}", s.chat)
	mux.HandleFunc("POST /chat/{code}", s.chat)
	mux.HandleFunc("GET /page.css", stylesheet)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	return s.guard(mux), nil
}

// answer notes the status of a response, for the log.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// guard sets the headers that every answer has, writes the access log and turns
// a panic into a 500. The log has the route, not the URL: paths and queries may
// carry tickets.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		a := &answer{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.Log.Error("panic", "panic", p, "stack", string(debug.Stack()))
				if a.status == 0 {
					s.reply(a, http.StatusInternalServerError, "Internal error; try again later", nil)
				}
			}
			duration := s.Now().Sub(start)
			s.Metrics.Request(route(r), cmp.Or(a.status, http.StatusOK), duration)
			s.Log.Info("request", "method", method(r), "route", route(r), "status", a.status, "remote", remote(r), "duration", duration)
		}()
		next.ServeHTTP(a, r)
	})
}

// method and route are the parts of a request that may be logged: a stranger
// chooses neither freely.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
