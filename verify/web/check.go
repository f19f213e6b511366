package web

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Headers names the headers of a check's answer; empty means the default. They
// reach the upstream service through the proxy, which must be told to replace,
// by each of them, what the client sent under that name.
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
	Actor    string // Admitone-Actor: who asked for the ticket
}

const (
	headerCount  = 10
	groupsHeader = 3 // the place of Groups
)

// names returns the headers' names in canonical form, defaults filled in.
func (h Headers) names() (names [headerCount]string, err error) {
	given := [headerCount]string{h.User, h.Name, h.Email, h.Groups, h.Brand, h.Audience, h.Channel, h.TicketID, h.KeyID, h.Actor}
	names = [headerCount]string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "Admitone-Brand", "Admitone-Audience",
		"Admitone-Channel", "Admitone-Ticket-Id", "Admitone-Key-Id", "Admitone-Actor"}
	seen := map[string]bool{ // the answer has these already, or they are the proxy's
		"Cache-Control": true, "Connection": true, "Content-Length": true, "Content-Type": true, "Set-Cookie": true, "Transfer-Encoding": true,
	}
	fields := [headerCount]string{"User", "Name", "Email", "Groups", "Brand", "Audience", "Channel", "TicketID", "KeyID", "Actor"}
	for i, name := range given {
		field := "web.Headers." + fields[i]
		if name != "" {
			names[i] = textproto.CanonicalMIMEHeaderKey(name)
		}
		if strings.Trim(names[i], tokenCharacters) != "" {
			return names, &token.ConfigError{Field: field, Reason: fmt.Sprintf(
				"is %q, which cannot be a header's name; use letters, digits and '-'", name)}
		}
		if seen[names[i]] {
			return names, &token.ConfigError{Field: field, Reason: fmt.Sprintf(
				"is %s, which is the name of another header; choose another", names[i])}
		}
		seen[names[i]] = true
	}
	return names, nil
}

const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"

// NewCheck returns the handler that a proxy asks whether a request may pass:
// nginx's auth_request, Traefik's ForwardAuth, Caddy's forward_auth, Envoy's
// ext_authz over HTTP. It answers 200 where the request's cookie is a good
// session of the audience (verify.AnyAudience: of an agent, or else of a
// customer), and otherwise 401. It looks at the session only, whatever the method
// and the path: it never reads a ticket, spends none and asks no replay store.
//
// Every answer has all Headers, empty where there is nothing to say, so that a
// proxy that copies them always replaces those that a client made up. Their
// values are printable ASCII. Every other byte, the percent sign, and a space at
// either end are percent-encoded (RFC 3986), and so is a comma in a group's
// name: a name like José arrives as Jos%C3%A9.
//
// Of the largest session an answer has some 13 KB of headers, which is more than
// nginx takes by default: see proxy_buffer_size in examples/nginx.
//
// A 200 may carry Set-Cookie, to renew the session. A proxy that does not pass
// that on (nginx wants auth_request_set and add_header) ends sessions
// SessionConfig.Idle after the entry.
func NewCheck(sessions SessionStore, a token.Audience, h Headers) (http.Handler, error) {
	if sessions == nil {
		return nil, &token.ConfigError{Field: "web.NewCheck.sessions", Reason: "is nil; give a *Sessions or another SessionStore"}
	}
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	audiences := audiencesOf(a)
	if len(audiences) == 0 {
		return nil, &token.ConfigError{Field: "web.NewCheck.a",
			Reason: "is no audience; give token.Agent, token.Customer or verify.AnyAudience"}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// One slice for all values. Their lengths are their capacities: what a
		// wrapper appends to one does not reach the next.
		values := make([]string, headerCount+1)
		values[headerCount] = "no-store"
		ok := false
		for _, audience := range audiences {
			var s Session
			if s, ok = sessions.Current(w, r, audience); ok {
				identify(values, &s)
				break
			}
		}
		header := w.Header()
		for i, name := range names {
			header[name] = values[i : i+1 : i+1]
		}
		header["Cache-Control"] = values[headerCount:]
		if !ok {
			header.Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("not signed in\n"))
		}
	}), nil
}

// identify fills in what the headers say of a session, in the order of names.
func identify(values []string, s *Session) {
	var groups strings.Builder
	for i, g := range s.Groups {
		if i > 0 {
			groups.WriteByte(',')
		}
		groups.WriteString(headerValue(g, ','))
	}
	for i, v := range [...]string{s.User, s.Name, s.Email, groups.String(), s.Brand, s.Audience.String(), s.Channel, s.TicketID.String(), s.KeyID.String(), s.Actor} {
		values[i] = v
		if v != "" && i != groupsHeader {
			values[i] = headerValue(v, 0)
		}
	}
}

// headerValue percent-encodes what a header should not have, and the byte also.
func headerValue(s string, also byte) string {
	plain := true
	for i := range len(s) {
		plain = plain && !encoded(s, i, also)
	}
	if plain {
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
	case verify.AnyAudience:
		return []token.Audience{token.Agent, token.Customer}
	}
	return nil
}
