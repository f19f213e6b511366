package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admitone/admitone/client"
)

// body is a JSON object of a request, while its fields are read. What is wrong
// with them is collected, so that the caller is told all of it at once.
type body struct {
	members map[string]json.RawMessage
	twice   map[string]bool // fields that come more than once
	wrong   []client.FieldError
}

// readBody reads an object with the fields in its member data, or with the fields
// themselves. The error says what is wrong with the body as a whole.
//
// A byte order mark is passed over, as RFC 8259 (section 8.1) allows: some platforms
// write one before whatever they send.
func readBody(raw []byte, example string) (*body, error) {
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, fmt.Errorf("the body is empty; send a JSON object like %s", example)
	}
	members, twice, err := object(raw, example)
	if err != nil {
		return nil, err
	}
	b := &body{members: members, twice: twice}
	inner, ok := members["data"]
	switch {
	case !ok:
		return b, nil
	case len(members) > 1:
		return nil, errors.New("the body has fields both inside data and beside it; put all of them in one place")
	case twice["data"]:
		return b, nil
	case inner[0] != '{':
		delete(members, "data")
		b.wrong = []client.FieldError{{Field: "data", Reason: "is not an object; put the fields in it"}}
		return b, nil
	}
	b.members, b.twice, err = object(inner, example)
	return b, err
}

// value takes a field out of the body. null is as good as absent, and so many
// clients write it.
func (b *body) value(name string) json.RawMessage {
	v := b.members[name]
	delete(b.members, name)
	if string(v) == "null" {
		return nil
	}
	return v
}

func (b *body) fault(name, reason string) {
	b.wrong = append(b.wrong, client.FieldError{Field: name, Reason: reason})
}

// text takes a string. With digits, a whole number counts as its digits: loosely
// typed clients send such.
func (b *body) text(name string, digits bool) (text string) {
	v := b.value(name)
	switch {
	case v == nil:
	case v[0] == '"':
		if err := json.Unmarshal(v, &text); err != nil || loneSurrogate(v) {
			b.fault(name, "is not a well-formed string; write characters beyond U+FFFF as they are, or as two escapes")
		}
	case digits && isDigits(v):
		return string(v)
	case digits:
		b.fault(name, "is neither a string nor a whole number; write it as a string")
	default:
		b.fault(name, "is not a string; write it in quotation marks")
	}
	return text
}

// identifier is text by which somebody is found. One that is all white space names
// nobody, and everybody for whom a client has nothing better.
func (b *body) identifier(name string, digits bool) string {
	v := b.text(name, digits)
	if v != "" && strings.TrimSpace(v) == "" {
		b.fault(name, "is blank; leave it out where there is none")
	}
	return v
}

func (b *body) flag(name string) *bool {
	v := b.value(name)
	switch string(v) {
	case "":
		return nil
	case "true", "false":
		yes := v[0] == 't'
		return &yes
	}
	b.fault(name, "is neither true nor false; write it without quotation marks")
	return nil
}

// seconds takes a whole number of seconds. More than any maximum is refused as too
// long, where the maximum is known.
func (b *body) seconds(name string) time.Duration {
	v := b.value(name)
	if v == nil {
		return 0
	}
	seconds, err := strconv.ParseUint(string(v), 10, 64)
	if !isDigits(v) || err == nil && seconds == 0 {
		b.fault(name, "is not a whole number of seconds, 1 or more; write it without quotation marks")
	}
	return time.Duration(min(seconds, 1<<32)) * time.Second
}

// faults returns what is wrong with the fields, in the order in which they were
// taken; then those that come twice, and those that were not taken.
func (b *body) faults() []client.FieldError {
	for name := range b.twice {
		delete(b.members, name)
	}
	b.list(slices.Sorted(maps.Keys(b.twice)), "comes twice; send it once")
	b.list(slices.Sorted(maps.Keys(b.members)), "is not a known field; check its spelling and case")
	return b.wrong
}

func (b *body) list(names []string, reason string) {
	for i, name := range names {
		if i == maxNamed {
			b.fault("…", fmt.Sprintf("and %d more: each %s", len(names)-i, reason))
			break
		}
		b.fault(printable(name), reason)
	}
}

// parseTicket reads the body of POST /auth/ticket: what is wrong with it as a
// whole is the error, what is wrong with its fields the faults.
func parseTicket(raw []byte) (q client.IssueRequest, _ []client.FieldError, err error) {
	b, err := readBody(raw, `{"data":{"brand":…}}`)
	if err != nil {
		return q, nil, err
	}
	q.Brand, q.Username, q.Email = b.text("brand", false), b.identifier("username", false), b.identifier("email", false)
	q.UniqueID, q.FirstName, q.LastName = b.identifier("uniqueId", true), b.text("firstName", false), b.text("lastName", false)
	q.Phone1, q.Remark, q.Channel = b.identifier("phone1", true), b.text("remark", false), b.text("channel", false)
	if yes := b.flag("overrideUserInfo"); yes != nil {
		q.OverrideUserInfo = *yes
	}
	q.OneTimeUse = b.flag("oneTimeUse")
	q.ExpiresIn = b.seconds("expiresIn")
	wrong := b.faults()
	if q.Brand == "" && !mentions(wrong, "brand") && !mentions(wrong, "data") {
		missing := client.FieldError{Field: "brand", Reason: "is missing; name the business account"}
		wrong = append(wrong, missing)
	}
	return q, wrong, nil
}

// maxNamed bounds how many unknown or repeated fields an answer names.
const maxNamed = 10

// loneSurrogate reports whether a JSON string has half of a surrogate pair as an
// escape. encoding/json makes U+FFFD of each, and so one identifier of two.
func loneSurrogate(raw []byte) bool {
	high := false // the last escape was the first half of a pair
	for i := 0; i < len(raw); i++ {
		unit := uint64(0)
		if raw[i] == '\\' {
			if i+5 < len(raw) && raw[i+1] == 'u' {
				unit, _ = strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
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

func isDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

// printable shortens a name that a stranger chose.
func printable(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	return name
}

// object reads one JSON object. Unlike encoding/json's own struct decoding it
// tells names apart that differ in case, and says which come twice.
func object(body []byte, example string) (members map[string]json.RawMessage, twice map[string]bool, err error) {
	if !utf8.Valid(body) {
		return nil, nil, errors.New("the body is not UTF-8; send JSON in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	start, err := d.Token()
	if err != nil {
		return nil, nil, notJSON(body, err)
	}
	if start != json.Delim('{') {
		return nil, nil, fmt.Errorf("the body is not a JSON object; send one like %s", example)
	}
	members, twice = make(map[string]json.RawMessage), make(map[string]bool)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, notJSON(body, err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, notJSON(body, err)
		}
		key := name.(string)
		if _, known := members[key]; known {
			twice[key] = true
		}
		members[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, notJSON(body, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, errors.New("the body goes on after the JSON object; send one object only")
	}
	return members, twice, nil
}

// notJSON describes a syntax error without repeating the body. Where it is is looked
// for again, from the start: a Decoder does not count what it returns as tokens.
func notJSON(body []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		_ = errors.As(json.Unmarshal(body, new(json.RawMessage)), &syntax)
		return fmt.Errorf("the body is not JSON: there is an error at byte %d", syntax.Offset)
	}
	return errors.New("the body is not JSON: it ends too early")
}
