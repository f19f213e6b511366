package api

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Part says which operations a service has.
type Part int

// The parts of a deployment. Services of IssuingPart and LoginPart share a directory.
const (
	Whole       Part = iota
	IssuingPart      // makes tickets, opens none
	LoginPart        // lets people in, and makes no tickets
)

// ErrNoRecipient is wrapped by the error of an Issuer whose public keys of the login service
// are too old.
var ErrNoRecipient = errors.New("no ticket can be made for the login service")

// elsewhere returns the routes of operations that another service of the deployment has.
func (s *server) elsewhere(where string, patterns ...string) (all []route) {
	for _, pattern := range patterns {
		all = append(all, route{pattern, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.refuse(w, notFound(where, "operation of another service"))
		})})
	}
	return all
}

// ofPart returns the OpenAPI document without the operations that a part does not have.
func ofPart(doc []byte, p Part) []byte {
	var out []byte
	left := false
	for line := range bytes.Lines(doc) {
		path, isPath := bytes.CutPrefix(line, []byte("  /"))
		switch {
		case isPath:
			left = leftOut(p, "/"+strings.TrimSuffix(string(bytes.TrimSpace(path)), ":"))
		case len(line) > 0 && line[0] != ' ' && line[0] != '\n':
			left = false // the next section
		}
		if !left {
			out = append(out, line...)
		}
	}
	return out
}

// leftOut reports whether a part has no operation at a path of the document.
func leftOut(p Part, path string) bool {
	switch p {
	case IssuingPart:
		return slices.Contains([]string{"/auth/inspect", "/auth/redeem", "/login", "/chat/{code}", "/logout"}, path) ||
			strings.HasPrefix(path, "/auth/brand/") || strings.HasPrefix(path, "/auth/check")
	case LoginPart:
		return path == "/auth/ticket"
	}
	return false
}
