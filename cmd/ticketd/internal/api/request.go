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
)

// request is the body of POST /auth/ticket.
type request struct {
	brand, username, email, uniqueID, firstName, lastName, phone1, remark, channel string

	overrideUserInfo bool
	oneTimeUse       *bool
	expiresIn        time.Duration // 0: not given
}

// parse reads a body: an object with the fields in its member data, or with the
// fields themselves. What is wrong with the body as a whole is the error, what
// is wrong with fields the faults, all of them.
func parse(body []byte) (request, []fault, error) {
	var r request
	if len(bytes.TrimSpace(body)) == 0 {
		return r, nil, errors.New("the body is empty; send a JSON object with at least a brand")
	}
	members, err := object(body)
	if err != nil {
		return r, nil, err
	}
	if inner, ok := members["data"]; ok {
		if len(members) > 1 {
			return r, nil, errors.New("the body has fields both inside data and beside it; put all of them in one place")
		}
		if inner[0] != '{' {
			return r, []fault{{"data", "is not an object; put the fields in it"}}, nil
		}
		if members, err = object(inner); err != nil {
			return r, nil, err
		}
	}
	return r, r.take(members), nil
}

// take sets r's fields from members, and returns what is wrong with them in the
// order in which the fields are documented; unknown ones come last.
func (r *request) take(members map[string]json.RawMessage) (all []fault) {
	value := func(name string) json.RawMessage {
		v := members[name]
		delete(members, name)
		if string(v) == "null" { // as good as absent, and so many clients write it
			return nil
		}
		return v
	}
	for _, f := range []struct {
		name   string
		to     *string
		digits bool // an integer counts as its digits: loosely typed clients send such
	}{
		{"brand", &r.brand, false}, {"username", &r.username, false}, {"email", &r.email, false},
		{"uniqueId", &r.uniqueID, true}, {"firstName", &r.firstName, false}, {"lastName", &r.lastName, false},
		{"phone1", &r.phone1, true}, {"remark", &r.remark, false}, {"channel", &r.channel, false},
	} {
		v := value(f.name)
		switch {
		case v == nil:
		case v[0] == '"':
			if err := json.Unmarshal(v, f.to); err != nil || loneSurrogate(v) {
				all = append(all, fault{f.name, "is not a well-formed string; write characters beyond U+FFFF as they are, or as two escapes"})
			}
		case f.digits && isDigits(v):
			*f.to = string(v)
		case f.digits:
			all = append(all, fault{f.name, "is neither a string nor a whole number; write it as a string"})
		default:
			all = append(all, fault{f.name, "is not a string; write it in quotation marks"})
		}
	}
	flag := func(name string) *bool {
		v := value(name)
		switch string(v) {
		case "":
			return nil
		case "true", "false":
			yes := v[0] == 't'
			return &yes
		}
		all = append(all, fault{name, "is neither true nor false; write it without quotation marks"})
		return nil
	}
	if yes := flag("overrideUserInfo"); yes != nil {
		r.overrideUserInfo = *yes
	}
	r.oneTimeUse = flag("oneTimeUse")
	if v := value("expiresIn"); v != nil {
		seconds, err := strconv.ParseUint(string(v), 10, 64)
		if !isDigits(v) || err == nil && seconds == 0 {
			all = append(all, fault{"expiresIn", "is not a whole number of seconds, 1 or more; write it without quotation marks"})
		}
		// More than any maximum is refused as too long, where the maximum is known.
		r.expiresIn = time.Duration(min(seconds, 1<<32)) * time.Second
	}
	unknown := slices.Sorted(maps.Keys(members))
	for i, name := range unknown {
		if i == maxUnknown {
			all = append(all, fault{"…", fmt.Sprintf("and %d more are not known fields", len(unknown)-i)})
			break
		}
		all = append(all, fault{printable(name), "is not a known field; check its spelling and case"})
	}
	if r.brand == "" && !mentions(all, "brand") {
		all = append(all, fault{"brand", "is missing; name the business account"})
	}
	return all
}

// maxUnknown bounds how many unknown fields an answer names.
const maxUnknown = 10

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

func mentions(all []fault, field string) bool {
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
// tells names apart that differ in case, and refuses a name that comes twice.
func object(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8; send JSON in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	start, err := d.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	if start != json.Delim('{') {
		return nil, errors.New("the body is not a JSON object; send one like {\"data\":{\"brand\":…}}")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, notJSON(err)
		}
		key := name.(string)
		if _, twice := members[key]; twice {
			return nil, fmt.Errorf("the field %s comes twice; send it once", printable(key))
		}
		members[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the body goes on after the JSON object; send one object only")
	}
	return members, nil
}

// notJSON describes a syntax error without repeating the body.
func notJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the body is not JSON: there is an error at byte %d", syntax.Offset)
	}
	return errors.New("the body is not JSON: it ends too early")
}
