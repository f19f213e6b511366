package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/internal/spelling"
)

// body is a JSON object of a request while its fields are read. It collects the mistakes,
// so that the caller learns all of them at once.
type body struct {
	fields []member // those that were not taken yet
	known  []string // the fields that were asked for
	room   [16]string
	wrong  []client.FieldError
}

// readBody reads an object with the fields in its member data, or with the fields
// themselves. The error is about the body as a whole.
//
// A byte order mark is passed over, as RFC 8259 (section 8.1) allows, since some platforms
// always write one.
func readBody(raw []byte, example string) (*body, error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, fmt.Errorf("the body is empty; send a JSON object like %s", example)
	}
	outer, err := readObject(raw, example)
	if err != nil {
		return nil, err
	}
	b := &body{fields: outer}
	b.known = b.room[:0]
	data := b.find("data")
	switch {
	case data == nil:
	case len(outer) > 1:
		return nil, errors.New("the body has fields both inside data and beside it; put all of them in one place")
	case data.twice != "":
	case data.value[0] != '{':
		b.fields = nil
		b.wrong = []client.FieldError{{Field: "data", Reason: "is not an object; put the fields in it"}}
	default:
		b.fields = data.inner
	}
	return b, nil
}

func (b *body) find(name string) *member {
	for i := range b.fields {
		if sameName(b.fields[i].name, name) {
			return &b.fields[i]
		}
	}
	return nil
}

// value takes a field out of the body: its JSON, or "" if the field is absent. Many clients
// write null for an absent field, and so null counts as absent. A field that comes twice
// stays for finish.
func (b *body) value(name string) string {
	b.known = append(b.known, name)
	m := b.find(name)
	if m == nil || m.twice != "" {
		return ""
	}
	m.taken = true
	if m.value == "null" {
		return ""
	}
	return m.value
}

func (b *body) refuse(name, reason string) {
	b.wrong = append(b.wrong, client.FieldError{Field: name, Reason: reason})
}

// text takes a string. With digits, a whole number counts as its digits, since loosely
// typed clients send numbers.
func (b *body) text(name string, digits bool) string {
	v := b.value(name)
	switch {
	case v == "":
	case v[0] == '"' && strings.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	case v[0] == '"':
		return b.escaped(name, v)
	case digits && isDigits(v):
		return v
	case digits:
		b.refuse(name, "is neither a string nor a whole number; write it as a string")
	default:
		b.refuse(name, "is not a string; write it in quotation marks")
	}
	return ""
}

// escaped reads a string with escapes.
func (b *body) escaped(name, v string) (text string) {
	if err := json.Unmarshal([]byte(v), &text); err != nil || loneSurrogate(v) {
		b.refuse(name, "is not a well-formed string; write characters beyond U+FFFF as they are, or as two escapes")
	}
	return text
}

// identifier takes a text by which somebody is found. A text of white space names nobody:
// some clients send it for everybody without an identifier.
func (b *body) identifier(name string, digits bool) string {
	v := b.text(name, digits)
	if v != "" && strings.TrimSpace(v) == "" {
		b.refuse(name, "is blank; leave it out if there is none")
	}
	return v
}

func (b *body) flag(name string) *bool {
	v := b.value(name)
	switch v {
	case "":
		return nil
	case "true", "false":
		set := v[0] == 't'
		return &set
	}
	b.refuse(name, "is neither true nor false; write it without quotation marks")
	return nil
}

// seconds takes a whole number of seconds. The result is capped, and still exceeds any
// maximum, which is checked later.
func (b *body) seconds(name string) time.Duration {
	v := b.value(name)
	if v == "" {
		return 0
	}
	seconds, err := strconv.ParseUint(v, 10, 64)
	if !isDigits(v) || err == nil && seconds == 0 {
		b.refuse(name, "is not a whole number of seconds, 1 or more; write it without quotation marks")
	}
	return time.Duration(min(seconds, 1<<32)) * time.Second
}

// finish returns the mistakes in the fields, in the order of reading, then the repeated
// fields and the unknown fields.
func (b *body) finish() []client.FieldError {
	left := slices.DeleteFunc(b.fields, func(m member) bool { return m.taken })
	if len(left) == 0 {
		return b.wrong
	}
	slices.SortFunc(left, func(m, n member) int { return strings.Compare(lower(m.name), lower(n.name)) })
	var twice, unknown []client.FieldError
	for _, m := range left {
		if m.twice != "" {
			twice = append(twice, client.FieldError{Field: m.name, Reason: m.twice})
			continue
		}
		hint := "check its spelling"
		if near := spelling.Nearest(m.name, b.known); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		unknown = append(unknown, client.FieldError{Field: m.name, Reason: "is not a known field; " + hint})
	}
	b.list(twice, "comes twice; send it once")
	b.list(unknown, "is not a known field; check its spelling")
	return b.wrong
}

// list adds mistakes, and one reason for all beyond maxNamed.
func (b *body) list(all []client.FieldError, reason string) {
	for i, f := range all {
		if i == maxNamed {
			b.refuse("…", fmt.Sprintf("and %d more: each %s", len(all)-i, reason))
			break
		}
		b.refuse(spelling.Printable(f.Field), f.Reason)
	}
}

// parseTicket reads the body of POST /auth/ticket. The error is about the body as a whole,
// the list about its fields.
func parseTicket(raw []byte) (q client.IssueRequest, _ []client.FieldError, err error) {
	b, err := readBody(raw, `{"data":{"brand":…}}`)
	if err != nil {
		return q, nil, err
	}
	q.Brand = b.text("brand", false)
	q.Username, q.Email = b.identifier("username", false), b.identifier("email", false)
	q.UniqueID = b.identifier("uniqueId", true)
	q.FirstName, q.LastName = b.text("firstName", false), b.text("lastName", false)
	q.Phone1 = b.identifier("phone1", true)
	q.Remark, q.Channel = b.text("remark", false), b.text("channel", false)
	if set := b.flag("overrideUserInfo"); set != nil {
		q.OverrideUserInfo = *set
	}
	q.OneTimeUse = b.flag("oneTimeUse")
	q.ExpiresIn = b.seconds("expiresIn")
	wrong := b.finish()
	if q.Brand == "" && !mentions(wrong, "brand") && !mentions(wrong, "data") {
		missing := client.FieldError{Field: "brand", Reason: "is missing; name the business account"}
		wrong = append(wrong, missing)
	}
	return q, wrong, nil
}

// maxNamed is how many unknown or repeated fields an answer names at most.
const maxNamed = 10

// loneSurrogate reports whether a JSON string has half of a surrogate pair as an escape.
// encoding/json reads every such half as U+FFFD, and so two identifiers as the same.
func loneSurrogate(raw string) bool {
	high := false // the last escape was the first half of a pair
	for i := 0; i < len(raw); i++ {
		unit := uint64(0)
		if raw[i] == '\\' {
			if i+5 < len(raw) && raw[i+1] == 'u' {
				unit, _ = strconv.ParseUint(raw[i+2:i+6], 16, 16)
				i += 4
			}
			i++
		}
		low := unit >= 0xdc00 && unit <= 0xdfff
		if high != low {
			return true
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	return high
}

func mentions(all []client.FieldError, field string) bool {
	for _, f := range all {
		if f.Field == field {
			return true
		}
	}
	return false
}

func isDigits(v string) bool {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return len(v) > 0
}
