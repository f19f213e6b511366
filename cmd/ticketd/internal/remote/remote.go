// Package remote is the directory of a running service, by its administration. The methods are
// those of package directory and return its records and errors, so that a command works on
// either. A list is of all records, and takes no name to begin after.
//
// A change reads the record, edits it, and writes it back if the record has not changed
// meanwhile; else it begins again.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Directory is the directory of a running service.
type Directory struct {
	office *admin.Client
	url    string // for errors
}

// New returns the directory of the service that c names.
func New(c client.Config) (*Directory, error) {
	service, err := client.New(c)
	if err != nil {
		return nil, err
	}
	return &Directory{admin.New(service), c.URL}, nil
}

// attempts is the number of times that a change is tried if others change the same record.
const attempts = 5

// record returns a record of the administration as one of the directory.
func record[T any](fields []attribute.Field[T], from any) (to T, err error) {
	text, err := json.Marshal(from)
	if err == nil {
		err = attribute.Read(fields, text, &to)
	}
	return to, err
}

// sent returns a record of the directory as one of the administration, with the revision that
// the record was read with.
func sent[C, T any](fields []attribute.Field[T], from *T, revision int64) (to C, err error) {
	object := attribute.Members(fields, from)
	object["revision"] = revision
	text, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(text, &to)
	}
	return to, err
}

// one returns a record that a call returned.
func one[T, C any](d *Directory, fields []attribute.Field[T], from C, err error) (T, error) {
	if err != nil {
		return *new(T), d.told(err)
	}
	return record(fields, from)
}

// all returns the records of a list.
func all[T, C any](d *Directory, fields []attribute.Field[T], from iter.Seq2[C, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for c, err := range from {
			if !yield(one(d, fields, c, err)) {
				return
			}
		}
	}
}

// add sends a new record.
func add[T, C any](
	ctx context.Context, d *Directory, fields []attribute.Field[T], r T, send func(context.Context, C) (C, error),
) (T, error) {
	c, err := sent[C](fields, &r, 0)
	if err != nil {
		return r, err
	}
	c, err = send(ctx, c)
	return one(d, fields, c, err)
}

// update edits a record, and begins again if somebody else changed the record meanwhile.
func update[T, C any](
	d *Directory, fields []attribute.Field[T], edit func(*T) error, revision func(*C) int64,
	get func() (C, error), change func(C) (C, error),
) (T, error) {
	for attempt := 1; ; attempt++ {
		c, err := get()
		r, err := one(d, fields, c, err)
		if err == nil {
			err = edit(&r)
		}
		if err == nil {
			c, err = sent[C](fields, &r, revision(&c))
		}
		if err != nil {
			return r, err
		}
		c, err = change(c)
		if failed, ok := errors.AsType[*client.Error](err); ok && attempt < attempts &&
			failed.Status == http.StatusPreconditionFailed {
			continue
		}
		return one(d, fields, c, err)
	}
}

// told returns the error of the directory that an error of a call tells about.
func (d *Directory) told(err error) error {
	failed, ok := errors.AsType[*client.Error](err)
	if !ok || err == nil {
		return err
	}
	text := func(status string) string { return strings.TrimPrefix(failed.Description, status+": ") }
	switch {
	case failed.Status == 0:
		return fmt.Errorf("no answer from %s: %w; check --url and that the service runs", d.url, cause(failed))
	case failed.Status == http.StatusUnauthorized:
		return fmt.Errorf("%s; the key is that of --api-key-file or ADMITONE_API_KEY", text("Unauthorized"))
	case len(failed.Fields) > 0:
		return &directory.FieldError{Field: failed.Fields[0].Field, Reason: failed.Fields[0].Reason}
	case failed.Status == http.StatusNotFound && strings.HasSuffix(failed.Description, directory.ErrNotFound.Error()):
		return &toldError{text("Not found"), directory.ErrNotFound}
	case failed.Status == http.StatusConflict:
		if has, ok := admin.InUse(err); ok {
			return &directory.InUseError{
				Agents: has.Agents, Channels: has.Channels, Customers: has.Customers, Keys: has.APIKeys,
			}
		}
		return &toldError{text("Conflict"), directory.ErrExists}
	case failed.Status == http.StatusPreconditionFailed:
		return &toldError{text("Precondition failed"), directory.ErrChanged}
	case failed.Status == http.StatusForbidden && failed.Description != "":
		return errors.New(text("Forbidden"))
	case failed.Description == "" || failed.Status == http.StatusNotFound:
		return fmt.Errorf("there is no administration at %s (status %d); give the URL of the console's listener, "+
			"--console-listen of ticketd serve", d.url, failed.Status)
	}
	return failed
}

// cause returns why no answer came, at the last attempt.
func cause(e *client.Error) error {
	err := e.Cause
	if attempts, ok := err.(interface{ Unwrap() []error }); ok {
		err = attempts.Unwrap()[0]
	}
	if asked, ok := err.(*url.Error); ok { // has the whole address
		err = asked.Err
	}
	return err
}

// A toldError is an error in the words of the service.
type toldError struct {
	text string
	kind error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.kind }
