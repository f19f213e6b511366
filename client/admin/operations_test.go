package admin

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// some returns a value of a type, in which each text is "x" and each number 1.
func some(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(some(t.Field(i).Type))
			}
		}
	case reflect.Interface:
		if reader := reflect.ValueOf(strings.NewReader("username\nx\n")); reader.Type().Implements(t) {
			v.Set(reader)
		}
	}
	return v
}

// calls makes every call of a Client once, and returns the errors by the names of the methods.
func calls(t *testing.T, c *Client) map[string]error {
	t.Helper()
	errs := make(map[string]error)
	for m, call := range reflect.ValueOf(c).Methods() {
		if m.Name == "IfRevision" {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for i := 1; i < call.Type().NumIn(); i++ {
			args = append(args, some(call.Type().In(i)))
		}
		results := call.Call(args)
		last := results[len(results)-1]
		if last.Kind() == reflect.Func { // a list
			errs[m.Name] = nil
			for _, err := range last.Seq2() {
				errs[m.Name], _ = err.Interface().(error)
			}
			continue
		}
		errs[m.Name], _ = last.Interface().(error)
	}
	return errs
}

// office returns a Client whose requests the handler answers.
func office(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{URL: server.URL, APIKey: "adm_x"})
	require.NoError(t, err)
	return New(c)
}

// Each operation of the service's document is called by a method, in the form of the document,
// and no method asks for anything else. An answer in the form of the document is no error.
func TestEachOperationHasAMethod(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../cmd/ticketd/internal/adminapi/openapi.yaml")
	require.NoError(t, err)
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	var described []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	require.NotEmpty(t, described)
	called := make(map[string]bool)
	c := office(t, func(w http.ResponseWriter, r *http.Request) {
		route, _, err := router.FindRoute(r)
		if !assert.NoError(t, err, r.URL.Path) {
			return
		}
		called[r.Method+" "+route.Path] = true
		for name := range r.URL.Query() {
			all := slices.Concat(route.PathItem.Parameters, route.Operation.Parameters)
			known := slices.ContainsFunc(all, func(p *openapi3.ParameterRef) bool {
				return p.Value.In == "query" && p.Value.Name == name
			})
			assert.True(t, known, "%s has no parameter %s", route.Path, name)
		}
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		wanted := route.Operation.RequestBody
		if !assert.Equal(t, wanted != nil, len(body) > 0, r.Method+" "+route.Path) || wanted == nil {
			fmt.Fprint(w, `{}`)
			return
		}
		assert.Contains(t, wanted.Value.Content, r.Header.Get("Content-Type"))
		fmt.Fprint(w, `{}`)
	})
	for name, err := range calls(t, c) {
		assert.NoError(t, err, name)
	}
	assert.ElementsMatch(t, described, slices.Collect(maps.Keys(called)))
}

// Every call tells a failure as a *client.Error with the operation and the status.
func TestEachCallFails(t *testing.T) {
	c := office(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for name, err := range calls(t, c) {
		var failed *client.Error
		if assert.ErrorAs(t, err, &failed, name) {
			assert.Equal(t, http.StatusTeapot, failed.Status, name)
			assert.NotEmpty(t, failed.Operation, name)
		}
	}
}
