package pages

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// A form is a form of a page, with what was typed.
type form struct {
	Intro    string // above the fields
	Submit   string // text of the button
	Cancel   string // address of the page to go back to
	Error    string // of the form as a whole
	Revision int64  // of the record
	Once     string // identifies a creation, so that a repetition makes no second record
	File     bool   // whether a field is a file
	Groups   []group
}

// A group is a part of a form with a heading.
type group struct {
	Title  string
	Fields []*field
}

// A field is a field of a form.
type field struct {
	Name, Label string
	Hint        string // one sentence on what the field means
	Flight      string // what a change does to tickets in flight
	Inherited   string // value that holds if the field is empty
	Value       string
	Error       string
	Kind        string // text, area, select, check, checks, file, fixed
	Options     []option
	Type        string // of an input: text, email, tel
}

// An option is a choice of a field.
type option struct {
	Value, Text string
	Chosen      bool
	Hint        string // one sentence; of checks only
}

// fields returns the fields of all groups.
func (f *form) fields() (all []*field) {
	for _, g := range f.Groups {
		all = append(all, g.Fields...)
	}
	return all
}

// Wrong returns the fields with errors.
func (f *form) Wrong() (all []*field) {
	for _, field := range f.fields() {
		if field.Error != "" {
			all = append(all, field)
		}
	}
	return all
}

// typed puts into the fields what was typed.
func (f *form) typed(r *http.Request) {
	for _, field := range f.fields() {
		switch field.Kind {
		case "file", "fixed":
			continue
		case "check":
			field.Value = strconv.FormatBool(r.PostForm.Has(field.Name))
		case "checks":
			field.Value = strings.Join(r.PostForm[field.Name], ",")
		default:
			field.Value = strings.TrimSpace(r.PostForm.Get(field.Name))
		}
	}
	f.choose()
}

// choose marks the chosen options.
func (f *form) choose() {
	for _, field := range f.fields() {
		chosen := []string{field.Value}
		if field.Kind == "checks" {
			chosen = strings.Split(field.Value, ",")
		}
		for i := range field.Options {
			field.Options[i].Chosen = slices.Contains(chosen, field.Options[i].Value)
		}
	}
}

// revised returns the desk for a change of the record that the form showed.
func (q *request) revised() *manage.Desk {
	n, _ := strconv.ParseInt(q.r.PostForm.Get("revision"), 10, 64) // 0 is no record's
	return q.desk.IfRevision(cmp.Or(n, -1))
}

// refused puts an error of the desk into the form. It returns errors that are not the form's.
func (f *form) refused(err error) error {
	var wrong *directory.FieldError
	var ticket *api.RefusedError
	switch {
	case errors.As(err, &ticket):
		f.refusedTicket(ticket)
	case errors.As(err, &wrong):
		for _, field := range f.fields() {
			if field.Name == wrong.Field {
				field.Error = "This " + wrong.Reason + "."
				return nil
			}
		}
		f.Error = "The field " + wrong.Field + " " + wrong.Reason + "."
	case errors.Is(err, directory.ErrLastAdministrator):
		f.Error = sentence(directory.ErrLastAdministrator.Error())
	case errors.Is(err, directory.ErrExists):
		f.Error = "A record with this name or identifier exists already. Choose another one, or change that record."
	case errors.Is(err, directory.ErrChanged):
		f.Error = "Somebody else changed the record while you edited it. Look at the record in another tab; " +
			"save again to put what is typed here in its place."
	default:
		return err
	}
	return nil
}

// show answers with the form.
func (q *request) show(title string, f *form, above any) error {
	status := http.StatusOK
	if f.Error != "" || len(f.Wrong()) > 0 {
		status = http.StatusUnprocessableEntity
	}
	q.render(status, title, "form", struct {
		*form
		Above any
	}{f, above})
	return nil
}

// posted reports whether the request is a form that was sent.
func (q *request) posted() bool { return q.r.Method == http.MethodPost }

// A meaning describes a field for people.
type meaning struct{ label, hint, flight string }

// errorName returns the name of a field in a directory.FieldError.
func errorName[T any](f attribute.Field[T]) string { return strings.TrimSuffix(f.Member(), "Seconds") }

// fieldsOf returns the fields of a record that have the names, each with its value.
func fieldsOf[T any](table []attribute.Field[T], record *T, means map[string]meaning, names ...string) []*field {
	all := make([]*field, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(table, func(f attribute.Field[T]) bool { return f.Name == name })
		m := means[name]
		f := &field{
			Name: errorName(table[i]), Label: m.label, Hint: m.hint, Flight: m.flight, Kind: "text",
			Value: attribute.Shown(table[i].At(record)),
		}
		switch table[i].At(record).(type) {
		case *bool:
			f.Kind = "check"
		case **bool:
			f.Kind, f.Options = "select", []option{{Value: ""}, {Value: "true", Text: "Yes"}, {Value: "false", Text: "No"}}
		case *[]string, *directory.Addresses:
			f.Kind, f.Value = "area", strings.Join(attribute.SplitList(f.Value), "\n")
		case *time.Duration:
			f.Value = shortly(f.Value)
		}
		all = append(all, f)
	}
	return all
}

// shortly takes the zero parts off a duration: 5m for 5m0s.
func shortly(d string) string {
	if short, ok := strings.CutSuffix(d, "m0s"); ok {
		d = short + "m"
	}
	if short, ok := strings.CutSuffix(d, "h0m"); ok {
		d = short + "h"
	}
	return d
}

// read reads the typed fields for a record. It returns the change of the record, and whether
// all fields could be read.
func read[T any](f *form, table []attribute.Field[T]) (func(*T), bool) {
	var set []func(*T)
	ok := true
	for _, field := range f.fields() {
		i := slices.IndexFunc(table, func(a attribute.Field[T]) bool { return errorName(a) == field.Name })
		if i < 0 || field.Kind == "fixed" {
			continue
		}
		scratch := new(T)
		text := field.Value
		if field.Kind == "area" {
			text = strings.NewReplacer("\r\n", ",", "\n", ",").Replace(text)
		}
		switch table[i].At(scratch).(type) {
		case **bool, *time.Duration:
			text = cmp.Or(text, "default")
		}
		if err := attribute.Parse(table[i].At(scratch), text); err != nil {
			field.Error, ok = sentence(err.Error()), false
		}
		set = append(set, func(record *T) { attribute.Assign(table[i].At(record), table[i].At(scratch)) })
	}
	return func(record *T) {
		for _, change := range set {
			change(record)
		}
	}, ok
}

// A destruction is an action that nobody can take back.
type destruction struct {
	Title  string
	Kind   string // of the record
	Name   string // that must be typed
	Text   string // what happens
	Button string
	Back   string // address to go to, with or without the action
	Code   string // of the message
	do     func() error
}

// destroys returns the page that asks for confirmation and then does what the function says.
func destroys(what func(*request) (destruction, error)) func(*request) error {
	return func(q *request) error {
		d, err := what(q)
		if err != nil {
			return err
		}
		if q.stale() {
			return q.askFresh()
		}
		f := &form{Submit: d.Button, Cancel: d.Back, Groups: []group{{Fields: []*field{{
			Name: "confirm", Label: "Name of the " + d.Kind, Kind: "text", Hint: "Type " + d.Name + " to confirm.",
		}}}}}
		f.Intro = d.Text
		if q.posted() {
			f.typed(q.r)
			if f.Groups[0].Fields[0].Value == d.Name {
				if err = d.do(); err == nil {
					return q.leave(d.Back, d.Code)
				}
				if err := f.refused(err); err != nil {
					return err
				}
			} else {
				f.Groups[0].Fields[0].Error = "This is not the name. Type the name exactly as it is shown."
			}
		}
		return q.show(d.Title, f, nil)
	}
}

// askFresh answers that the session is too old.
func (q *request) askFresh() error {
	q.problem(http.StatusForbidden, "Ask for a fresh link",
		"This cannot be taken back, so it wants a session younger than 10 minutes. "+
			"Sign out, open a fresh link to the console, and come back to this page.")
	return nil
}
