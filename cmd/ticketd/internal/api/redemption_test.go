package api

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// Each field is as encoding/json writes it, also if the others are empty.
func TestAppendRedemption(t *testing.T) {
	t.Parallel()
	check := func(r *client.Redemption) {
		t.Helper()
		want, err := json.Marshal(r)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(appendRedemption(nil, r)))
	}
	check(new(client.Redemption))
	empty := func() *client.Redemption {
		return &client.Redemption{
			Ticket: new(client.Ticket), Agent: new(client.AgentRecord), Customer: new(client.CustomerRecord),
		}
	}
	check(empty())
	all := empty()
	set := func(v reflect.Value) {
		switch v.Interface().(type) {
		case bool:
			v.SetBool(true)
		case time.Time:
			v.Set(reflect.ValueOf(time.Date(2026, 11, 30, 1, 2, 3, 4000, time.UTC)))
		case []string:
			v.Set(reflect.ValueOf([]string{"a", `"b"`, ""}))
		case map[string]string:
			v.Set(reflect.ValueOf(map[string]string{"b": "1", `"a"`: "", "c": "\n"}))
		default:
			v.SetString("<\"\\\n\x00é€\u2028>")
		}
	}
	parts := func(r *client.Redemption) []reflect.Value {
		var all []reflect.Value
		for _, p := range []any{r.Ticket, r.Agent, r.Customer} {
			all = append(all, reflect.ValueOf(p).Elem())
		}
		return all
	}
	for i, part := range parts(all) {
		for field := range part.NumField() {
			one := empty()
			set(parts(one)[i].Field(field))
			check(one)
			set(part.Field(field))
		}
	}
	all.Result, all.Channel = client.Admitted, "c"
	check(all)
}
