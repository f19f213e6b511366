package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/admitone/admitone/internal/spelling"
)

// member is a field of a JSON object.
type member struct {
	name  string   // as it was sent
	value []byte   // JSON, a part of the body
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
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if kind := d.PeekKind(); kind != '{' && kind != jsontext.KindInvalid {
		return nil, fmt.Errorf("the body is not a JSON object; send one like %s", example)
	}
	all, err := readMembers(d, body)
	if err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("the body goes on after the JSON object; send one object only")
	}
	return all, nil
}

// readMembers reads the object that comes next in d, and the members of its member data.
func readMembers(d *jsontext.Decoder, body []byte) ([]member, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	outermost := d.StackDepth() == 1
	all := make([]member, 0, 12)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		if len(all) == maxFields {
			return nil, errFields
		}
		m := member{name: name.String()}
		if outermost && sameName(m.name, "data") && d.PeekKind() == '{' {
			m.value = []byte("{")
			m.inner, err = readMembers(d, body)
		} else {
			m.value, err = d.ReadValue()
			// The decoder's own copy is good until its next call only.
			end := int(d.InputOffset())
			m.value = body[end-len(m.value) : end]
		}
		if err != nil {
			return nil, err
		}
		all = withMember(all, m)
	}
	_, err := d.ReadToken()
	return all, err
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
