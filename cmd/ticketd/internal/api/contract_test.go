package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// contract holds requests and answers against openapi.yaml.
type contract struct{ router routers.Router }

var loadContract = sync.OnceValues(func() (*contract, error) {
	for _, kind := range []string{"text/html", "text/css", "application/yaml"} {
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.FileBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	if !doc.IsOpenAPI31OrLater() {
		return nil, errors.New("the document is not OpenAPI 3.1")
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(doc)
	return &contract{router}, err
})

// isCheck matches the paths of the proxies' checks, up to the part that is the client's.
var isCheck = regexp.MustCompile(`^/auth/(brand/[^/]+/)?check(-customer)?(/|$)`)

// check returns how an answer departs from the document. Of requests it checks
// those that were accepted: what the service takes, the document must allow.
func (c *contract) check(r *http.Request, sent []byte, res *http.Response, got []byte) error {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // the same without a body
	}
	described := r.Clone(r.Context())
	if isCheck.MatchString(r.URL.Path) {
		method = http.MethodGet // which answers as all others do
	}
	described.Method = method
	if prefix := isCheck.FindString(r.URL.Path); strings.HasSuffix(prefix, "/") { // a parameter has no slash in OpenAPI
		rest := cmp.Or(described.URL.Path[len(prefix):], "-")
		described.URL.Path = prefix + strings.ReplaceAll(rest, "/", "-")
	}
	described.URL.Path = exactPath(described.URL.Path)
	if path := described.URL.Path; len(path) > 6 && strings.EqualFold(path[:6], "/chat/") {
		described.URL.Path = "/chat/" + path[6:]
	}
	switch {
	case strings.HasPrefix(string(sent), "{"): // whatever curl says of it
		described.Header.Set("Content-Type", "application/json")
	case method == http.MethodPost && r.Header.Get("Content-Type") == "":
		described.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	sent = dataForm.ReplaceAll(loosened(sent), []byte("${1}data${2}"))
	described.Body, described.GetBody, described.ContentLength = io.NopCloser(bytes.NewReader(sent)), nil, int64(len(sent))
	route, parameters, err := c.router.FindRoute(described)
	if err != nil {
		switch res.StatusCode {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusMovedPermanently,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			return nil
		}
		return fmt.Errorf("%s %s is answered %d, and the document does not have it", r.Method, r.URL.Path, res.StatusCode)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: described, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true, SkipSettingDefaults: true, ExcludeResponseBody: r.Method == http.MethodHead},
	}
	if res.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			return fmt.Errorf("an accepted request departs from the document: %w", err)
		}
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(got)),
		Options: in.Options,
	})
	if err != nil {
		return fmt.Errorf("the answer %d departs from the document: %w", res.StatusCode, err)
	}
	return nil
}

// dataForm matches the name of a form's parameter data, in any case.
var dataForm = regexp.MustCompile(`(?i)^(|[^{]*name=")data([="])`)

// exactPath is a path in the document's spelling, since the service takes paths in any case.
func exactPath(path string) string {
	for _, known := range []string{"/auth/ticket", "/auth/inspect", "/auth/redeem", "/auth/revoke", "/core/systemstatus",
		"/docs", "/login"} {
		if strings.EqualFold(path, known) {
			return known
		}
	}
	return path
}

// documentedName is a field's name in the document's spelling.
func documentedName(name string) string {
	for _, known := range []string{
		"data", "brand", "username", "email", "phone1", "uniqueId", "firstName", "lastName", "remark",
		"overrideUserInfo", "oneTimeUse", "expiresIn", "channel", "ticket", "audience", "channelCode", "address", "binding",
		"ticketId",
	} {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return name
}

// loosened is a JSON body without what the service takes beyond the document, as
// the document's introduction says: null, whole numbers for two of the strings, and
// names in another case.
func loosened(body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil {
		return body
	}
	fields := v
	for name, inner := range v {
		if object, ok := inner.(map[string]any); ok && len(v) == 1 && strings.EqualFold(name, "data") {
			fields = object
			v = map[string]any{"data": object}
		}
	}
	for sentName, value := range fields {
		name := documentedName(sentName)
		delete(fields, sentName)
		fields[name] = value
		number, isNumber := value.(json.Number)
		switch {
		case value == nil:
			delete(fields, name)
		case isNumber && (name == "uniqueId" || name == "phone1"):
			fields[name] = number.String()
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return b
}

// wire is not http.DefaultTransport, for what is idle there is closed whenever an
// httptest.Server is: also the connection on which an answer without a body has just
// come to another test.
var wire = http.DefaultTransport.(*http.Transport).Clone()

// checked is a transport that fails the test where the service departs from the
// document.
type checked struct{ t testing.TB }

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := wire.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	contract, err := loadContract()
	require.NoError(c.t, err)
	assert.NoError(c.t, contract.check(r, sent, res, got), "%s %s: %s", r.Method, r.URL.Path, got)
	res.Body = io.NopCloser(bytes.NewReader(got))
	return res, nil
}

// Every route is in the document, and everything in the document is served: here,
// but for what is for operators only and has a listener of its own.
func TestRoutesAreDocumented(t *testing.T) {
	var w Config
	s := &server{Config: w}
	routes, err := s.routes()
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	documented := make(map[string]bool)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	for _, private := range []string{"GET /metrics", "GET /keyring"} {
		require.True(t, documented[private])
		delete(documented, private)
	}
	for _, r := range routes {
		pattern := r.pattern
		switch {
		case isCheck.MatchString(pattern):
			pattern = http.MethodGet + " " + strings.Replace(pattern, "...", "", 1) // as all other methods are
		case pattern == "/core/systemstatus":
			pattern = http.MethodGet + " " + pattern
		case !strings.Contains(pattern, " "):
			pattern = http.MethodPost + " " + pattern // and 501 for all other methods
		}
		assert.True(t, documented[pattern], "%s is not in the document", pattern)
		delete(documented, pattern)
	}
	assert.Empty(t, documented, "these are not served")
}

// The checks above can fail.
func TestContractIsChecked(t *testing.T) {
	c, err := loadContract()
	require.NoError(t, err)
	check := func(method, path, sent string, status int, header http.Header, got string) error {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(sent))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		return c.check(r, []byte(sent), &http.Response{StatusCode: status, Header: header}, []byte(got))
	}
	html, js := http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	const yes = `{"status":"200","description":"x","response_time":"2025-01-19T14:18:47.63079Z","data":{"encpryptedString":"tkt1_x"}}`
	assert.NoError(t, check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, yes))
	assert.NoError(t, check("POST", "/auth/ticket", `{"data":{"brand":"x","phone1":12,"email":null}}`, 200, js, yes))
	for name, err := range map[string]error{
		"no such route":        check("POST", "/auth/tickets", `{"brand":"x"}`, 200, js, yes),
		"no such status":       check("POST", "/auth/ticket", `{"brand":"x"}`, 418, js, yes),
		"unknown field sent":   check("POST", "/auth/ticket", `{"brand":"x","more":1}`, 200, js, yes),
		"two shapes sent":      check("POST", "/auth/ticket", `{"data":{"brand":"x"},"brand":"x"}`, 200, js, yes),
		"wrong type sent":      check("POST", "/auth/ticket", `{"brand":"x","oneTimeUse":1}`, 200, js, yes),
		"number as status":     check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, strings.Replace(yes, `"200"`, `200`, 1)),
		"eight digits":         check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, strings.Replace(yes, `63079Z`, `63079123Z`, 1)),
		"trailing zero":        check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, strings.Replace(yes, `63079Z`, `63070Z`, 1)),
		"field left out":       check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, strings.Replace(yes, `"description":"x",`, ``, 1)),
		"field added":          check("POST", "/auth/ticket", `{"brand":"x"}`, 200, js, strings.Replace(yes, `"description"`, `"x":1,"description"`, 1)),
		"a page for JSON":      check("POST", "/auth/ticket", `{"brand":"x"}`, 200, html, yes),
		"no Retry-After":       check("GET", "/login", ``, 503, html, "x"),
		"no WWW-Authenticate":  check("POST", "/auth/ticket", ``, 401, js, `{"status":"401","description":"x","response_time":"2025-01-19T14:18:47Z"}`),
		"no Location":          check("GET", "/login", ``, 303, html, ""),
		"another healthz body": check("GET", "/healthz", ``, 200, http.Header{"Content-Type": {"text/plain"}}, "no"),
	} {
		assert.Error(t, err, name)
	}
}
