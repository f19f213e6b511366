// Package admin administers a ticketd from Go: brands, agents, customers, channels, API keys,
// and the audit trail. It needs the standard library and package client only.
//
// The URL is that of the console's listener, --console-listen of ticketd serve. The API key
// needs the scope admin. A key for named brands administers these brands; a record of another
// brand is answered as one that does not exist.
//
//	service, err := client.New(client.Config{URL: "https://console.example.com", APIKey: key})
//	office := admin.New(service)
//	john, err := office.AddAgent(ctx, admin.Agent{Brand: "commbox", Username: "john.d", Active: true})
//	john.Groups = []string{"sales"}
//	john, err = office.ChangeAgent(ctx, john)
//
// # Changes
//
// A change writes all fields that can be set. Read the record, change fields, and give the
// record back. If somebody else changed the record meanwhile, the record has another Revision:
// the change fails with status 412, and nothing is changed. Read the record again then, and
// repeat the change. With Revision 0, the change is made whatever the record has.
//
// Other changes, such as removals, are made whatever the record has, unless
// [Client.IfRevision] says otherwise.
//
// # Lists
//
// A list asks for a part after the other while the caller goes through it. It has each record
// once that is there all the time. If the API key's limit of requests is reached, the list waits.
// After an error, the list ends.
//
// # Errors
//
// Errors are of type [*client.Error], where Fields has the wrong fields. The status is 404 for a
// missing record, 409 if another record is in the way (see [InUse] and [Repeated]), and 412 for
// another revision.
//
// # Lost answers
//
// An addition has a random idempotency key. If no answer comes, the addition is repeated once
// with the same key, and the service adds nothing twice. Reading is repeated once, too. All
// other calls are not: their answers may be lost.
package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
)

// Client administers a service. A Client is safe for concurrent use.
type Client struct {
	service  *client.Client
	revision int64 // 0: any
}

// New returns a Client that calls the service.
func New(service *client.Client) *Client { return &Client{service: service} }

// IfRevision returns a Client whose changes and removals are made only if the record has this
// Revision. It takes the place of the Revision in a record that is given.
func (c *Client) IfRevision(revision int64) *Client { return &Client{c.service, revision} }

// A kind describes the records of a type.
type kind struct {
	noun  string   // in errors: agent
	fixed []string // members that only an addition sets
	never []string // members that the service sets
}

// path returns the path of names. Each argument is a segment.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/admin")
	for _, s := range segments {
		b.WriteString("/" + strings.ReplaceAll(url.PathEscape(s), ".", "%2E"))
	}
	return b.String()
}

// reachable returns an error for a name that no path can have.
func reachable(operation string, names ...string) error {
	for _, name := range names {
		if name == "" || name == "." || name == ".." {
			return &client.Error{Operation: operation, Cause: fmt.Errorf("%q is no name of a record", name)}
		}
	}
	return nil
}

// read gets a value.
func read[T any](
	ctx context.Context, c *Client, operation string, query url.Values, segments ...string,
) (v T, err error) {
	if err := reachable(operation, segments...); err != nil {
		return v, err
	}
	err = c.service.Call(ctx, client.Request{
		Operation: operation, Method: http.MethodGet, Path: path(segments...), Query: query, Repeat: true,
	}, &v)
	return v, err
}

// part is a part of a list.
type part[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // "" (null): this is the last part
}

// list returns all records of a list.
func list[T any](
	ctx context.Context, c *Client, operation string, query url.Values, segments ...string,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("limit", "500") // the most that the service takes
		for {
			p, err := read[part[T]](ctx, c, operation, query, segments...)
			if tooMany(ctx, err) {
				continue
			}
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, record := range p.Items {
				if !yield(record, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			query.Set("after", p.Next)
		}
	}
}

// tooMany reports whether the service asks to wait, as it does for long lists, after waiting as
// long.
func tooMany(ctx context.Context, err error) bool {
	var failed *client.Error
	if !errors.As(err, &failed) || failed.Status != http.StatusTooManyRequests {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(failed.RetryAfter, time.Second)):
		return true
	}
}

// write sends a change, and returns the answer.
func write[T any](
	ctx context.Context, c *Client, operation, method string, body any, revision int64, segments ...string,
) (v T, err error) {
	if err := reachable(operation, segments...); err != nil {
		return v, err
	}
	r := client.Request{Operation: operation, Method: method, Path: path(segments...), Header: http.Header{}}
	if body != nil {
		if r.Body, err = json.Marshal(body); err != nil {
			return v, &client.Error{Operation: operation, Cause: err}
		}
	}
	if revision != 0 {
		r.Header.Set("If-Match", `"`+strconv.FormatInt(revision, 10)+`"`)
	}
	err = c.service.Call(ctx, r, &v)
	return v, err
}

// add sends an addition, and returns the answer.
func add[T any](ctx context.Context, c *Client, operation string, body any, segments ...string) (v T, err error) {
	if err := reachable(operation, segments...); err != nil {
		return v, err
	}
	sent, err := json.Marshal(body)
	if err != nil {
		return v, &client.Error{Operation: operation, Cause: err}
	}
	r := client.Request{
		Operation: operation, Method: http.MethodPost, Path: path(segments...), Body: sent, Repeat: true,
		Header: http.Header{"Idempotency-Key": {rand.Text()}},
	}
	if c.revision != 0 {
		r.Header.Set("If-Match", `"`+strconv.FormatInt(c.revision, 10)+`"`)
	}
	err = c.service.Call(ctx, r, &v)
	return v, err
}

// change sends the fields of a record that can be set.
func change[T any](ctx context.Context, c *Client, k kind, record T, revision int64, segments ...string) (T, error) {
	if c.revision != 0 {
		revision = c.revision
	}
	body := members(record, slices.Concat(k.fixed, k.never))
	return write[T](ctx, c, "change "+k.noun, http.MethodPatch, body, revision, segments...)
}

// remove removes a record.
func remove(ctx context.Context, c *Client, k kind, query url.Values, segments ...string) error {
	operation := "remove " + k.noun
	if err := reachable(operation, segments...); err != nil {
		return err
	}
	r := client.Request{
		Operation: operation, Method: http.MethodDelete, Path: path(segments...), Query: query, Header: http.Header{},
	}
	if c.revision != 0 {
		r.Header.Set("If-Match", `"`+strconv.FormatInt(c.revision, 10)+`"`)
	}
	return c.service.Call(ctx, r, new(any))
}

// members returns a record as a JSON object without some members.
func members(record any, without []string) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	text, err := json.Marshal(record)
	if err == nil {
		err = json.Unmarshal(text, &object)
	}
	if err != nil {
		panic(err) // a record has nothing that has no JSON
	}
	for _, name := range without {
		delete(object, name)
	}
	for name, value := range object {
		if string(value) == `"0001-01-01T00:00:00Z"` { // the zero time
			object[name] = json.RawMessage("null")
		}
	}
	return object
}
