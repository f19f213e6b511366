package attribute

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/spelling"
)

// maxMistakes is the largest number of mistakes that a PatchError has.
const maxMistakes = 20

// A PatchError has the mistakes in the members of a patch.
type PatchError []directory.FieldError

func (e PatchError) Error() string {
	parts := make([]string, len(e))
	for i := range e {
		parts[i] = e[i].Error()
	}
	return strings.Join(parts, "; ")
}

// ParsePatch reads a JSON object of members, as a merge patch (RFC 7396) of a record: null
// takes a field's value away. It knows the fields that people set, and those that the names
// give. The result changes a record; nothing else of the record changes.
//
// A field that nobody sets may be there as the record has it. Names may come once. The error
// is a PatchError, or about the text as a whole.
func ParsePatch[T any](fields []Field[T], text []byte, names ...string) (func(*T) error, error) {
	members, err := ReadObject(text)
	if err != nil {
		return nil, err
	}
	var wrong PatchError
	var set []func(*T)
	var same []func(*T) error
	for _, m := range members {
		i := slices.IndexFunc(fields, func(f Field[T]) bool { return f.Member() == m.Name })
		switch {
		case i < 0:
			wrong = append(wrong, directory.FieldError{Field: spelling.Printable(m.Name), Reason: unknown(fields, m.Name)})
		case fields[i].Usage == "" && !slices.Contains(names, fields[i].Name):
			same = append(same, func(record *T) error { return unchanged(fields[i], record, m.Value) })
		default:
			f, scratch := fields[i], new(T)
			err := parse(f.At(scratch), m.Value)
			if t, ok := f.At(scratch).(*time.Time); ok && err == nil && string(m.Value) != "null" && !isYear(t.Year()) {
				err = fmt.Errorf("is not from the years %d to %d", minYear, maxYear)
			}
			if err != nil {
				wrong = append(wrong, directory.FieldError{Field: m.Name, Reason: err.Error()})
			}
			set = append(set, func(record *T) { Assign(f.At(record), f.At(scratch)) })
		}
		if len(wrong) == maxMistakes {
			break
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return func(record *T) error {
		for _, check := range same {
			if err := check(record); err != nil {
				return err
			}
		}
		for _, change := range set {
			change(record)
		}
		return nil
	}, nil
}

// Read reads a record that Members wrote, also into the fields that nobody sets. Other members
// are left out.
func Read[T any](fields []Field[T], text []byte, record *T) error {
	members, err := ReadObject(text)
	if err != nil {
		return err
	}
	for _, m := range members {
		i := slices.IndexFunc(fields, func(f Field[T]) bool { return f.Member() == m.Name })
		if i < 0 {
			continue
		}
		if err := parse(fields[i].At(record), m.Value); err != nil {
			return PatchError{{Field: m.Name, Reason: err.Error()}}
		}
	}
	return nil
}

// unknown is what is wrong with a name that no field has.
func unknown[T any](fields []Field[T], name string) string {
	var known []string
	for _, f := range fields {
		known = append(known, f.Member())
	}
	if near := spelling.Nearest(name, known); near != "" {
		return fmt.Sprintf("is not a known field; did you mean %s?", near)
	}
	return "is not a known field; check its spelling"
}

// unchanged refuses another value for a field that nobody sets.
func unchanged[T any](f Field[T], record *T, given []byte) error {
	has, err := json.Marshal(value(f.At(record)))
	if err != nil {
		return err
	}
	if !equalJSON(has, given) {
		return PatchError{{Field: f.Member(), Reason: "cannot be set; leave it out"}}
	}
	return nil
}

// equalJSON reports whether two values have the same canonical form.
func equalJSON(a, b []byte) bool {
	x, y := jsontext.Value(slices.Clone(a)), jsontext.Value(slices.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}

// A Member is a member of a JSON object.
type Member struct {
	Name  string
	Value []byte
}

// ReadObject reads a text that is one JSON object in UTF-8, where no name comes twice. The
// error does not repeat the text.
func ReadObject(text []byte) ([]Member, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("the body is empty; send a JSON object")
	}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if kind := d.PeekKind(); kind != '{' && kind != jsontext.KindInvalid {
		return nil, errors.New("the body is not a JSON object; send one")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	var all []Member
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, notJSON(err)
		}
		m := Member{Name: name.String()}
		v, err := d.ReadValue()
		if err != nil {
			return nil, notJSON(err)
		}
		m.Value = bytes.Clone(v)
		all = append(all, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("the body goes on after the JSON object; send one object only")
	}
	return all, nil
}

// notJSON describes a syntax error without repeating the text.
func notJSON(err error) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("the body has a name twice; send it once")
	case ok && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the body is not JSON in UTF-8: there is an error at byte %d", syntax.ByteOffset+1)
	}
	return errors.New("the body is not JSON: it ends too early")
}

// parse reads a JSON value into the field at p, which is zero.
func parse(p any, v []byte) error {
	null := string(v) == "null"
	wrong := func(err error, reason string) error {
		if err != nil {
			return errors.New(reason)
		}
		return nil
	}
	switch p := p.(type) {
	case *bool: // has no value to go back to
		if null {
			return errors.New("is neither true nor false; write it without quotation marks")
		}
		return wrong(json.Unmarshal(v, p), "is neither true nor false; write it without quotation marks")
	case **bool:
		return wrong(json.Unmarshal(v, p), "is neither true, false nor null; write it without quotation marks")
	case *string:
		return wrong(json.Unmarshal(v, p), "is not a string; write it in quotation marks")
	case *directory.Role:
		return wrong(json.Unmarshal(v, p), "is not a string; write it in quotation marks")
	case *time.Duration:
		var seconds float64
		err := json.Unmarshal(v, &seconds)
		if null || err == nil && seconds > 0 && seconds < 1e9 {
			if *p = time.Duration(seconds * float64(time.Second)).Round(time.Microsecond); null || *p > 0 {
				return nil
			}
		}
		return errors.New("is not a number of seconds above 0; write it without quotation marks, or null")
	case *time.Time:
		if null {
			return nil
		}
		var text string
		err := json.Unmarshal(v, &text)
		if err == nil {
			*p, err = time.Parse(time.RFC3339, text)
			*p = p.UTC()
		}
		return wrong(err, "is not a time of RFC 3339; write it like 2030-01-31T00:00:00Z, or null")
	case *float64:
		return wrong(json.Unmarshal(v, p), "is not a number; write it without quotation marks")
	case *int64:
		return wrong(json.Unmarshal(v, p), "is not a whole number; write it without quotation marks")
	case *int:
		return wrong(json.Unmarshal(v, p), "is not a whole number; write it without quotation marks")
	case *[]string:
		return wrong(parseTexts(v, p), "is not a list of strings")
	case *[]directory.Scope:
		return wrong(parseTexts(v, p), "is not a list of strings")
	case *[]directory.KeyUse:
		return wrong(json.Unmarshal(v, p), "is not a list of uses of keys")
	case *directory.Addresses:
		var list []string
		if err := parseTexts(v, &list); err != nil {
			return errors.New("is not a list of strings")
		}
		for _, text := range list {
			switch {
			case strings.Contains(text, ","):
				return errors.New("has a comma in an address; write a string for each address")
			case strings.TrimSpace(text) == "": // an empty list would allow every address
				return errors.New("has an empty address; leave it out")
			}
		}
		var err error
		if *p, err = directory.ParseAddresses(strings.Join(list, ",")); err != nil {
			return fmt.Errorf("is refused: %w", err)
		}
		return nil
	}
	return fmt.Errorf("a field is a %T", p)
}

// parseTexts reads a list of strings, or null. An empty list is nil.
func parseTexts[S ~string](v []byte, to *[]S) error {
	var all []*S
	if err := json.Unmarshal(v, &all); err != nil {
		return err
	}
	for _, text := range all {
		if text == nil {
			return errors.New("null is no string")
		}
		*to = append(*to, *text)
	}
	return nil
}
