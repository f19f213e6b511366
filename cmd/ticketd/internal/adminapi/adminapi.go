// Package adminapi serves /admin/…: the administration by HTTP, for API keys of scope admin,
// and links to the console, for API keys of scope console.
// The operations and the rights belong to package manage; the API key with its limits, the
// form of refusals and the log to package api. openapi.yaml describes all routes.
//
// Records are JSON objects with the names that the commands print with --json. A change is a
// merge patch (RFC 7396). An answer with one record has the record's revision as its ETag,
// which If-Match compares. Lists come in parts. A POST that adds a record honours
// Idempotency-Key.
package adminapi

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// OpenAPI describes the routes, in OpenAPI 3.1. Tests check every answer against the
// description.
//
//go:embed openapi.yaml
var OpenAPI []byte

const (
	maxBody = 64 << 10 // bytes of JSON
	maxCSV  = 16 << 20 // bytes of a file of agents
)

// New returns the handler of /admin/, which stands behind gate.Guard. The gate authenticates the
// callers of the office.
// Everybody may read the description, at /admin/openapi.yaml.
func New(office *manage.Office, gate *api.Gate, links Links) http.Handler {
	s := &server{office, links}
	mux := http.NewServeMux()
	for path, methods := range s.byPath() {
		mux.Handle(path, gate.Operation("admin", s.answer(methods)))
	}
	mux.HandleFunc("GET /admin/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(OpenAPI)
	})
	mux.Handle("/admin/", gate.Operation("admin", func(http.ResponseWriter, *http.Request, directory.APIKey) *api.Refusal {
		return api.Refuse(http.StatusNotFound, "Not found: there is no operation at this path; "+
			"/admin/openapi.yaml has all", "no operation", nil)
	}))
	return mux
}

// Links makes a link that lets an administrator into the console, for the holder of an API
// key of scope console, who is recorded as the actor. The error wraps directory.ErrNotFound if there
// is no such administrator, or none whom the key may let in.
type Links func(ctx context.Context, key directory.APIKey, by directory.Actor, username string) (Link, error)

// A Link lets an administrator into the console, once.
type Link struct {
	URL      string    `json:"url"` // whoever has the URL is let in
	TicketID string    `json:"ticketId"`
	Expires  time.Time `json:"expires"`
}

type server struct {
	office *manage.Office
	links  Links
}

// A route is an operation of manage at a path.
type route struct {
	method, path string // the path as http.ServeMux and OpenAPI write it
	operation    string // a method of manage.Desk; "" of a link to the console
	scope        directory.Scope
	do           func(*call) *api.Refusal
}

// byPath returns the routes of each path, by method.
func (s *server) byPath() map[string]map[string]route {
	all := make(map[string]map[string]route)
	for _, r := range routes() {
		if all[r.path] == nil {
			all[r.path] = make(map[string]route)
		}
		all[r.path][r.method] = r
	}
	return all
}

// A call is a request with a good API key.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	key   directory.APIKey
	by    directory.Actor // the API key
	desk  *manage.Desk
	links Links
	brand string // of the path
	body  []byte // JSON
}

// answer answers the requests of a path.
func (s *server) answer(
	methods map[string]route,
) func(http.ResponseWriter, *http.Request, directory.APIKey) *api.Refusal {
	return func(w http.ResponseWriter, r *http.Request, key directory.APIKey) *api.Refusal {
		route, ok := methods[r.Method]
		if !ok {
			var allow []string
			for method := range methods {
				allow = append(allow, method)
			}
			slices.Sort(allow)
			w.Header().Set("Allow", strings.Join(allow, ", "))
			return api.Refuse(http.StatusMethodNotAllowed, "Method not allowed: use "+strings.Join(allow, " or "), "method", nil)
		}
		if !slices.Contains(key.Scopes, route.scope) {
			return api.Refuse(http.StatusForbidden, fmt.Sprintf(
				"Forbidden: the API key may not do this; use one with the scope %s",
				route.scope), "API key without scope "+string(route.scope), nil)
		}
		by := api.Actor(r, directory.ActorKey, key.ID)
		c := &call{
			w: w, r: r, key: key, by: by, desk: s.office.For(manage.KeyCaller(key, by)), links: s.links,
			brand: r.PathValue("brand"),
		}
		if denied := c.prepare(route); denied != nil {
			return denied
		}
		return route.do(c)
	}
}

// prepare reads the headers and the body that all operations have.
func (c *call) prepare(route route) *api.Refusal {
	if route.operation == "ImportAgents" { // has a body of its own
		return nil
	}
	body, denied := readBody(c.w, c.r, maxBody)
	if denied != nil {
		return denied
	}
	c.body = body
	if c.r.Method == http.MethodPost || c.r.Method == http.MethodPatch {
		if _, denied := c.query(); denied != nil {
			return denied
		}
	}
	if key := c.r.Header.Get("Idempotency-Key"); key != "" && c.r.Method == http.MethodPost {
		unprintable := func(r rune) bool { return r < ' ' || r > '~' }
		if len(key) > 255 || strings.Trim(key, `"`) == "" || strings.ContainsFunc(key, unprintable) {
			return badHeader("Idempotency-Key", "is not 1 to 255 printable ASCII characters")
		}
		text := c.r.Method + " " + c.r.URL.EscapedPath() + "\n" + string(body)
		c.desk = c.desk.Once(strings.Trim(key, `"`), sha256.Sum256([]byte(text)))
	}
	if tag := c.r.Header.Values("If-Match"); len(tag) > 0 && (len(tag) > 1 || tag[0] != "*") {
		// A weak ETag never matches (RFC 9110, section 13.1.1).
		revision, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(tag[0], `"`), `"`), 10, 64)
		if weak := strings.HasPrefix(tag[0], "W/"); len(tag) > 1 || err != nil && !weak {
			return badHeader("If-Match", "is not the ETag of one answer; send the ETag as it was given")
		}
		c.desk = c.desk.IfRevision(revision)
	}
	return nil
}

func badHeader(name, reason string) *api.Refusal {
	return api.RefuseFields([]client.FieldError{{Field: name, Reason: reason}})
}

// readBody reads a body of at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *api.Refusal) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, api.RefuseBody(errors.New("the body is compressed; send it as it is, without Content-Encoding"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, api.RefuseBody(fmt.Errorf("the body is over %d bytes; send less", most))
	}
	if err != nil {
		return nil, api.RefuseBody(errors.New("the body could not be read to its end"))
	}
	return body, nil
}

// reply answers with a JSON value.
func (c *call) reply(status int, v any) *api.Refusal {
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.WriteHeader(status)
	e := json.NewEncoder(c.w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // to a client that may be gone
	return nil
}

// query returns the parameters of the query, which may be these and come once.
func (c *call) query(known ...string) (map[string]string, *api.Refusal) {
	all := make(map[string]string)
	for name, values := range c.r.URL.Query() {
		switch {
		case len(known) == 0:
			return nil, badHeader("query", "has a parameter, and this operation takes none; leave the query out")
		case !slices.Contains(known, name):
			return nil, badHeader("query", fmt.Sprintf("has a parameter other than %s", strings.Join(known, ", ")))
		case len(values) > 1:
			return nil, badHeader(name, "comes twice; send it once")
		}
		all[name] = values[0]
	}
	return all, nil
}

// page returns the part of the list that is asked for, by the parameters limit and after.
func page(q map[string]string) (manage.Page, *api.Refusal) {
	var p manage.Page
	if text, ok := q["limit"]; ok {
		var err error
		if p.Limit, err = strconv.Atoi(text); err != nil || p.Limit < 1 || p.Limit > manage.MaxLimit {
			return p, badHeader("limit", fmt.Sprintf("is not a number from 1 to %d", manage.MaxLimit))
		}
	}
	after, err := base64.RawURLEncoding.DecodeString(q["after"])
	if err != nil {
		return p, badHeader("after", "is not of a list; send the text next as it was given")
	}
	p.After = string(after)
	return p, nil
}

// list is a part of a list, as JSON.
type list struct {
	Items []any   `json:"items"`
	Next  *string `json:"next"`
}

// replyList answers with a part of a list.
func replyList[T any](c *call, l manage.List[T], show func(*T) any) *api.Refusal {
	answer := list{Items: make([]any, len(l.Items))}
	for i := range l.Items {
		answer.Items[i] = show(&l.Items[i])
	}
	if l.Next != "" {
		next := base64.RawURLEncoding.EncodeToString([]byte(l.Next))
		answer.Next = &next
	}
	return c.reply(http.StatusOK, answer)
}

// failed returns the Refusal for an error of an operation.
func failed(err error) *api.Refusal {
	if forbidden, ok := errors.AsType[*manage.ForbiddenError](err); ok {
		return api.Refuse(http.StatusForbidden, "Forbidden: "+forbidden.Reason, "not allowed", nil)
	}
	if wrong, ok := errors.AsType[attribute.PatchError](err); ok {
		var all []client.FieldError
		for _, f := range wrong {
			all = append(all, client.FieldError{Field: f.Field, Reason: f.Reason})
		}
		return api.RefuseFields(all)
	}
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return api.RefuseFields([]client.FieldError{{Field: wrong.Field, Reason: wrong.Reason}})
	}
	if has, ok := errors.AsType[*directory.InUseError](err); ok {
		return api.Refuse(http.StatusConflict, "Conflict: "+has.Error(), "in use", map[string]int{
			"agents": has.Agents, "channels": has.Channels, "customers": has.Customers, "apiKeys": has.Keys,
		})
	}
	if again, ok := errors.AsType[*directory.RepeatedError](err); ok {
		return repeated(again)
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return api.Refuse(http.StatusNotFound, "Not found: "+err.Error(), "not found", nil)
	case errors.Is(err, directory.ErrExists):
		return api.Refuse(http.StatusConflict, "Conflict: "+err.Error(), "exists", nil)
	case errors.Is(err, directory.ErrLastAdministrator):
		return api.Refuse(http.StatusConflict, "Conflict: "+directory.ErrLastAdministrator.Error()+
			", or use ticketd administrator with --last where the service runs", "last administrator", nil)
	case errors.Is(err, directory.ErrChanged):
		return api.Refuse(http.StatusPreconditionFailed, "Precondition failed: "+err.Error(), "changed meanwhile", nil)
	}
	return api.Undecided(err)
}

// repeated returns the Refusal of a request that came before.
func repeated(e *directory.RepeatedError) *api.Refusal {
	if !e.Same {
		return api.Refuse(http.StatusUnprocessableEntity, "Unprocessable: "+e.Error(),
			"idempotency key of another request", nil)
	}
	return api.Refuse(http.StatusConflict, "Conflict: "+e.Error()+"; its secret is not told again", "repeated",
		map[string]string{"id": e.Name})
}
