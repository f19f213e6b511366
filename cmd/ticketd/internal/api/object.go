package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/admitone/admitone/internal/spelling"
)

// member is a field of a JSON object.
type member struct {
	name  string   // as it was sent
	value string   // JSON, a part of the body
	inner []member // of the object data
	twice string   // the reason for refusing a repeated field, or ""
	taken bool
}

// maxFields is how many fields an object of a request may have. It bounds the work, as
// each name is compared with those before.
const maxFields = 1000

// errFields is the refusal of a body with more fields.
var errFields = fmt.Errorf("the body has over %d fields; send those that the description names", maxFields)

// readObject reads a body that is one JSON object, in one pass. Unlike encoding/json's struct
// decoding, it notes repeated names.
func readObject(body []byte, example string) ([]member, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8; send JSON in UTF-8")
	}
	// Half a surrogate pair is a mistake of one field, which its reader tells.
	d := decoders.Get().(*decoder)
	defer d.release()
	d.in, d.text = *bytes.NewBuffer(body), string(body)
	d.Reset(&d.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if kind := d.PeekKind(); kind != '{' && kind != jsontext.KindInvalid {
		return nil, fmt.Errorf("the body is not a JSON object; send one like %s", example)
	}
	all, err := d.readMembers()
	if err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("the body goes on after the JSON object; send one object only")
	}
	return all, nil
}

// decoder reads a body.
type decoder struct {
	jsontext.Decoder
	in   bytes.Buffer // the body
	text string       // the body again, whose parts are the members
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// release gives the decoder to other requests, without the body.
func (d *decoder) release() {
	d.in, d.text = bytes.Buffer{}, ""
	d.Reset(&d.in)
	decoders.Put(d)
}

// readMembers reads the object that comes next, and the members of its member data.
func (d *decoder) readMembers() (all []member, err error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	outermost := d.StackDepth() == 1
	for d.PeekKind() != '}' {
		name, err := d.readText()
		if err != nil {
			return nil, err
		}
		if len(all) == maxFields {
			return nil, errFields
		}
		m := member{name: unquoted(name)}
		if outermost && sameName(m.name, "data") && d.PeekKind() == '{' {
			m.value = "{"
			m.inner, err = d.readMembers()
		} else {
			m.value, err = d.readText()
		}
		if err != nil {
			return nil, err
		}
		if all == nil && m.inner == nil {
			all = make([]member, 0, 12)
		}
		all = withMember(all, m)
	}
	_, err = d.ReadToken()
	return all, err
}

// readText reads a name or a value as a part of the body.
func (d *decoder) readText() (string, error) {
	v, err := d.ReadValue()
	end := int(d.InputOffset())
	return d.text[end-len(v) : end], err
}

// unquoted returns the text of a well-formed JSON string. Half a surrogate pair becomes
// U+FFFD.
func unquoted(name string) string {
	if strings.IndexByte(name, '\\') < 0 {
		return name[1 : len(name)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, name)
	return string(text)
}

// withMember adds a member, or notes that its name came before. Older clients send FirstName
// for firstName.
func withMember(all []member, m member) []member {
	for i := range all {
		switch first := &all[i]; {
		case !sameName(first.name, m.name):
			continue
		case first.name == m.name:
			first.twice = "comes twice; send it once"
		default:
			first.twice = fmt.Sprintf("comes twice, also as %s; names in another case are the same field",
				spelling.Printable(m.name))
		}
		return all
	}
	return append(all, m)
}

// notJSON describes a syntax error without repeating the body.
func notJSON(err error) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return errors.New("the body is not JSON: it ends too early")
	case ok:
		return fmt.Errorf("the body is not JSON: there is an error at byte %d", syntax.ByteOffset+1)
	}
	return err
}

// sameName reports whether two names of members are the same but for the case of the letters A to Z.
// No letter outside ASCII equals one inside it.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// lower returns text with the letters A to Z in lower case. All other letters stay.
func lower(text string) string {
	for i := range len(text) {
		if lowerByte(text[i]) != text[i] {
			changed := []byte(text)
			for j := i; j < len(changed); j++ {
				changed[j] = lowerByte(changed[j])
			}
			return string(changed)
		}
	}
	return text
}
