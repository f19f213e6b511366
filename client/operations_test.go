package client

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each operation that the service's document has for API keys is a method of the client, and no
// method asks for anything else. The other operations are for browsers, proxies and operators.
func TestEachOperationHasAMethod(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../cmd/ticketd/internal/api/openapi.yaml")
	require.NoError(t, err)
	var described []string
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if o.Security != nil && len(*o.Security) > 0 {
				described = append(described, method+" "+path)
			}
		}
	}
	require.NotEmpty(t, described)
	var called []string
	c := newClient(t, func(r *http.Request) (*http.Response, error) {
		called = append(called, r.Method+" "+r.URL.Path[len("/base"):])
		return answer(http.StatusBadRequest, ""), nil
	})
	for m, call := range reflect.ValueOf(c).Methods() {
		if slices.Contains([]string{"Call", "String"}, m.Name) {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for i := 1; i < call.Type().NumIn(); i++ {
			args = append(args, reflect.Zero(call.Type().In(i)))
		}
		call.Call(args)
	}
	assert.ElementsMatch(t, described, called)
}
