package adminapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// A resource describes a kind of records at a path. The operations are methods of Desk.
type resource[T any] struct {
	path      string // of the list
	parameter string // of the path of one record
	one, many string // in the names of operations: Agent, Agents
	fields    []attribute.Field[T]
	names     []string // fields that are set once, when the record is added
	revision  func(*T) *int64
	name      func(*T) string
	initial   T // a new record before its fields are set

	parameters []string // of the list's query, beside limit and after
	removal    []string // parameters of the query of a removal

	list   func(c *call, q map[string]string, p manage.Page) (manage.List[T], error)
	get    func(ctx context.Context, d *manage.Desk, brand, name string) (T, error)
	add    func(ctx context.Context, d *manage.Desk, brand string, record T) (T, error)
	change func(ctx context.Context, d *manage.Desk, brand, name string, edit func(*T) error) (T, error)
	remove func(c *call, q map[string]string, name string) error
	end    func(ctx context.Context, d *manage.Desk, brand, name string) (T, error) // nil: no sessions
}

// routes returns the routes of the resource.
func (k resource[T]) routes() []route {
	one := k.path + "/{" + k.parameter + "}"
	all := []route{
		{http.MethodGet, k.path, k.many, directory.ScopeAdmin, k.serveList},
		{http.MethodGet, one, k.one, directory.ScopeAdmin, k.serveGet},
		{http.MethodPatch, one, "Change" + k.one, directory.ScopeAdmin, k.serveChange},
		{http.MethodDelete, one, "Remove" + k.one, directory.ScopeAdmin, k.serveRemove},
	}
	if k.add != nil {
		all = append(all, route{http.MethodPost, k.path, "Add" + k.one, directory.ScopeAdmin, k.serveAdd})
	}
	if k.end != nil {
		name := "End" + k.one + "Sessions"
		all = append(all, route{http.MethodPost, one + "/end-sessions", name, directory.ScopeAdmin, k.serveEnd})
	}
	return all
}

// members returns the fields of a record in JSON: also its revision, as in the ETag.
func (k resource[T]) members() []attribute.Field[T] {
	return append(slices.Clone(k.fields), attribute.Field[T]{
		Name: "revision", At: func(record *T) any { return k.revision(record) },
	})
}

// show returns a record as JSON.
func (k resource[T]) show(record *T) any { return attribute.Members(k.members(), record) }

// reply answers with a record.
func (k resource[T]) reply(c *call, status int, record T, err error) *api.Refusal {
	if err != nil {
		return failed(err)
	}
	c.w.Header().Set("ETag", `"`+strconv.FormatInt(*k.revision(&record), 10)+`"`)
	return c.reply(status, k.show(&record))
}

func (k resource[T]) named(c *call) string { return c.r.PathValue(k.parameter) }

func (k resource[T]) serveList(c *call) *api.Refusal {
	q, denied := c.query(append([]string{"limit", "after"}, k.parameters...)...)
	if denied != nil {
		return denied
	}
	p, denied := page(q)
	if denied != nil {
		return denied
	}
	l, err := k.list(c, q, p)
	if err != nil {
		return failed(err)
	}
	return replyList(c, l, k.show)
}

func (k resource[T]) serveGet(c *call) *api.Refusal {
	if _, denied := c.query(); denied != nil {
		return denied
	}
	record, err := k.get(c.r.Context(), c.desk, c.brand, k.named(c))
	return k.reply(c, http.StatusOK, record, err)
}

// read returns the record of a request that adds it.
func (k resource[T]) read(c *call) (T, *api.Refusal) {
	record := k.initial
	set, err := attribute.ParsePatch(k.members(), c.body, k.names...)
	if err == nil {
		err = set(&record)
	}
	if err != nil {
		return record, wrongBody(err)
	}
	return record, nil
}

// wrongBody returns the Refusal for an error of a patch.
func wrongBody(err error) *api.Refusal {
	if _, ok := errors.AsType[attribute.PatchError](err); ok {
		return failed(err)
	}
	return api.RefuseBody(err)
}

func (k resource[T]) serveAdd(c *call) *api.Refusal {
	record, denied := k.read(c)
	if denied != nil {
		return denied
	}
	record, err := k.add(c.r.Context(), c.desk, c.brand, record)
	if again, ok := errors.AsType[*directory.RepeatedError](err); ok && again.Same {
		record, err = k.get(c.r.Context(), c.desk, c.brand, again.Name)
	}
	if err == nil {
		c.w.Header().Set("Location", c.r.URL.EscapedPath()+"/"+url.PathEscape(k.name(&record)))
	}
	return k.reply(c, http.StatusCreated, record, err)
}

func (k resource[T]) serveChange(c *call) *api.Refusal {
	set, err := attribute.ParsePatch(k.members(), c.body)
	if err != nil {
		return wrongBody(err)
	}
	record, err := k.change(c.r.Context(), c.desk, c.brand, k.named(c), set)
	return k.reply(c, http.StatusOK, record, err)
}

func (k resource[T]) serveRemove(c *call) *api.Refusal {
	q, denied := c.query(k.removal...)
	if denied != nil {
		return denied
	}
	if err := k.remove(c, q, k.named(c)); err != nil {
		return failed(err)
	}
	return c.reply(http.StatusOK, map[string]string{"removed": k.named(c)})
}

func (k resource[T]) serveEnd(c *call) *api.Refusal {
	record, err := k.end(c.r.Context(), c.desk, c.brand, k.named(c))
	return k.reply(c, http.StatusOK, record, err)
}
