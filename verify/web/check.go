package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Headers names the headers of a check's answer; empty means the default. They reach the
// upstream service through the proxy. Configure the proxy to replace any header of these
// names that the client sends.
type Headers struct {
	User     string // default Remote-User
	Name     string // Remote-Name
	Email    string // Remote-Email
	Groups   string // Remote-Groups, separated by commas
	Brand    string // Admitone-Brand
	Audience string // Admitone-Audience: agent or customer
	Channel  string // Admitone-Channel
	TicketID string // Admitone-Ticket-Id: 32 hexadecimal digits
	KeyID    string // Admitone-Key-Id: 8 hexadecimal digits, of the key that sealed the ticket
	Actor    string // Admitone-Actor: the API key that asked for the ticket; ISSUER/KEY for a named issuer's
	Issuer   string // Admitone-Issuer: the issuer's name; empty for the service's own tickets

	// SigningKey is Admitone-Signing-Key: 8 hexadecimal digits, of the issuer's key that signed
	// the ticket; empty for format 1.
	SigningKey string
}

const (
	headerCount  = 12
	groupsHeader = 3 // the place of Groups
)

// names returns the headers' names in canonical form, with the defaults filled in.
func (h Headers) names() (names [headerCount]string, err error) {
	given := [headerCount]string{
		h.User, h.Name, h.Email, h.Groups, h.Brand, h.Audience, h.Channel, h.TicketID, h.KeyID, h.Actor,
		h.Issuer, h.SigningKey,
	}
	names = [headerCount]string{
		"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "Admitone-Brand", "Admitone-Audience",
		"Admitone-Channel", "Admitone-Ticket-Id", "Admitone-Key-Id", "Admitone-Actor",
		"Admitone-Issuer", "Admitone-Signing-Key",
	}
	taken := map[string]bool{ // by the answer itself, or by the proxy
		"Cache-Control": true, "Connection": true, "Content-Length": true,
		"Content-Type": true, "Set-Cookie": true, "Transfer-Encoding": true,
	}
	for i, name := range given {
		if name != "" {
			names[i] = textproto.CanonicalMIMEHeaderKey(name)
		}
		if strings.Trim(names[i], tokenCharacters) != "" {
			return names, invalidHeader(i, "is %q, which cannot be a header's name; use letters, digits and '-'", name)
		}
		if taken[names[i]] {
			return names, invalidHeader(i, "is %s, which is the name of another header; choose another", names[i])
		}
		taken[names[i]] = true
	}
	return names, nil
}

// invalidHeader returns an error about the field of Headers at place i.
func invalidHeader(i int, format string, args ...any) error {
	field := reflect.TypeFor[Headers]().Field(i).Name
	return &token.ConfigError{Field: "web.Headers." + field, Reason: fmt.Sprintf(format, args...)}
}

const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"

// CheckConfig says whose sessions pass a check. Sessions, Audience and one of Brands,
// BrandOf and AnyBrand are mandatory.
type CheckConfig struct {
	Sessions SessionStore // a *Sessions, or the service's own sessions
	// Audience is token.Agent, token.Customer, or verify.AnyAudience: an agent, or else a
	// customer. Administrators pass no check: their sessions are for their console alone.
	Audience token.Audience

	// Brands are the brands whose sessions pass. Usernames are unique within a brand only:
	// an application should name the brand to which it belongs.
	Brands []string

	// BrandOf returns the brand whose sessions pass at a request, for a service that
	// answers for many brands. The brand must come from the proxy's configuration, such as
	// a path, and never from the proxy's client. With "" nobody passes.
	BrandOf func(r *http.Request) string

	// AnyBrand lets the sessions of every brand pass, for applications that look at
	// Headers.Brand beside Headers.User.
	AnyBrand bool

	// EntryOf returns the path of the page where somebody without a session enters, such as
	// "/login?brand=acme", for a proxy that passes the check's answer on to its client. The
	// answer to nobody is then 303 instead of 401, and leads to the page. The path in the
	// request's X-Forwarded-Uri is the way on from there. With "" the answer is 401.
	EntryOf func(r *http.Request) string

	Headers Headers
}

// NewCheck returns the handler that a proxy asks whether a request may pass: nginx's
// auth_request, Traefik's ForwardAuth, Caddy's forward_auth, Envoy's ext_authz over HTTP.
// The answer is 200 if the request's cookie is a good session of the audience and of a
// brand of c, 503 with Retry-After if the SessionStore cannot tell, and otherwise 401, or
// 303 with EntryOf.
// nginx turns the 503 into a 500: see error_page in examples/nginx. Except for BrandOf and
// EntryOf, the handler looks only at the session, whatever the method and the path. It never
// reads or spends a ticket, and asks no replay store.
//
// Every answer has all Headers, and a header without a value is empty. So a proxy that
// copies them always replaces headers that a client made up. Values are printable ASCII.
// Every other byte, the percent sign, and a space at either end are percent-encoded (RFC
// 3986), and so is a comma in a group's name: a name like José arrives as Jos%C3%A9.
//
// For the largest session, an answer has some 13 KB of headers. By default nginx takes
// less: see proxy_buffer_size in examples/nginx.
//
// An answer of 200 may carry Set-Cookie, to renew the session. Behind a proxy that drops
// the cookie (nginx wants auth_request_set and add_header), sessions end
// SessionConfig.Idle after the entry.
//
// The error is a *token.ConfigError.
func NewCheck(c CheckConfig) (http.Handler, error) {
	names, err := c.Headers.names()
	if err != nil {
		return nil, err
	}
	audiences := audiencesOf(c.Audience)
	invalid := func(field, reason string) (http.Handler, error) {
		return nil, &token.ConfigError{Field: "web.CheckConfig." + field, Reason: reason}
	}
	switch {
	case c.Sessions == nil:
		return invalid("Sessions", "is nil; give a *Sessions or another SessionStore")
	case len(audiences) == 0 || c.Audience == token.Administrator:
		return invalid("Audience", "is no audience; give token.Agent, token.Customer or verify.AnyAudience")
	case c.BrandOf == nil && !c.AnyBrand && len(c.Brands) == 0:
		return invalid("Brands", "is empty; list the brands whose sessions pass, or set BrandOf or AnyBrand")
	case c.AnyBrand && (c.BrandOf != nil || len(c.Brands) > 0):
		return invalid("AnyBrand", "stands beside Brands or BrandOf; choose one of the three")
	case c.BrandOf != nil && len(c.Brands) > 0:
		return invalid("BrandOf", "stands beside Brands; choose one of the two")
	case slices.Contains(c.Brands, ""):
		return invalid("Brands", "has an empty brand; leave it out")
	}
	c.Brands = slices.Clone(c.Brands)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// All values share one slice. The capacity of each value's part is its length, so
		// that a wrapper's append to one part does not reach the next.
		values := make([]string, headerCount+1)
		values[headerCount] = "no-store"
		status := http.StatusUnauthorized
		for _, audience := range audiences {
			s, err := c.Sessions.Current(w, r, audience)
			if err == nil && c.passes(r, s.Brand) {
				identify(values, &s)
				status = http.StatusOK
				break
			}
			if err != nil && !errors.Is(err, ErrNoSession) {
				status = http.StatusServiceUnavailable
			}
		}
		header := w.Header()
		for i, name := range names {
			header[name] = values[i : i+1 : i+1]
		}
		header["Cache-Control"] = values[headerCount:]
		switch status {
		case http.StatusUnauthorized:
			header.Set("Content-Type", "text/plain; charset=utf-8")
			if entry := c.entry(r); entry != "" {
				header.Set("Location", entry)
				status = http.StatusSeeOther
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte("not signed in\n"))
		case http.StatusServiceUnavailable:
			header.Set("Content-Type", "text/plain; charset=utf-8")
			header.Set("Retry-After", retryAfter)
			w.WriteHeader(status)
			_, _ = w.Write([]byte("cannot tell now who is signed in; try again\n"))
		}
	}), nil
}

// passes reports whether sessions of a brand pass at a request.
func (c *CheckConfig) passes(r *http.Request, brand string) bool {
	if c.BrandOf != nil {
		return brand != "" && brand == c.BrandOf(r)
	}
	return c.AnyBrand || slices.Contains(c.Brands, brand)
}

// entry returns where nobody's request goes on, "" for nowhere.
func (c *CheckConfig) entry(r *http.Request) string {
	if c.EntryOf == nil {
		return ""
	}
	entry, ok := safeNext(c.EntryOf(r))
	if !ok {
		return ""
	}
	wanted, ok := safeNext(r.Header.Get("X-Forwarded-Uri"))
	switch {
	case !ok:
		return entry
	case strings.Contains(entry, "?"):
		return entry + "&" + rawNext + wanted[1:]
	}
	return entry + "?" + rawNext + wanted[1:]
}

// identify fills in the headers' values for a session, in the order of names.
func identify(values []string, s *Session) {
	var groups strings.Builder
	for i, g := range s.Groups {
		if i > 0 {
			groups.WriteByte(',')
		}
		groups.WriteString(headerValue(g, ','))
	}
	for i, v := range [headerCount]string{
		s.User, s.Name, s.Email, groups.String(), s.Brand, s.Audience.String(),
		s.Channel, s.TicketID.String(), s.KeyID.String(), actorOf(s), s.Issuer, signingKey(s),
	} {
		values[i] = v
		if v != "" && i != groupsHeader {
			values[i] = headerValue(v, 0)
		}
	}
}

func signingKey(s *Session) string {
	if s.SigningKey == 0 {
		return ""
	}
	return s.SigningKey.String()
}

// actorOf returns the actor of a session as a check tells it. The actor of a named issuer is
// that issuer's word, and never looks like an API key of this service.
func actorOf(s *Session) string {
	if s.Issuer == "" {
		return s.Actor
	}
	return s.Issuer + "/" + s.Actor
}

// headerValue percent-encodes the bytes that a header should not have, and the byte also.
func headerValue(s string, also byte) string {
	if !mustEncode(s, also) {
		return s
	}
	b := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		if c := s[i]; encoded(s, i, also) {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func mustEncode(s string, also byte) bool {
	for i := range len(s) {
		if encoded(s, i, also) {
			return true
		}
	}
	return false
}

func encoded(s string, i int, also byte) bool {
	c := s[i]
	return c < ' ' || c > '~' || c == '%' || c == also || c == ' ' && (i == 0 || i == len(s)-1)
}

// audiencesOf returns the audiences whose sessions are looked for, in order: none if
// a is no audience.
func audiencesOf(a token.Audience) []token.Audience {
	switch a {
	case token.Agent, token.Customer:
		return []token.Audience{a}
	case token.Administrator:
		return []token.Audience{a}
	case verify.AnyAudience: // never administrators
		return []token.Audience{token.Agent, token.Customer}
	}
	return nil
}
