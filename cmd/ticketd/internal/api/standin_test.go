package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/clienttest"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// side is a service under comparison: ticketd, or its stand-in of package clienttest.
type side struct {
	do      func(method, path, key, body string) response
	keys    map[string]string // API keys: any, commbox, acme
	values  map[string]string // by which the table's texts are completed
	advance func(time.Duration)
	remove  func() // the agent gone.d
}

// goneBy are the members by whose values programs go.
var goneBy = []string{".status", ".data.result", ".data.reason", ".data.errors[].field", ".data.channel", ".request_id"}

// shape returns the paths of the members of JSON with their types, and the values of those that
// programs go by.
func shape(path string, v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			all = append(all, shape(path+"."+name, member)...)
		}
	case []any:
		for _, item := range v {
			all = append(all, shape(path+"[]", item)...)
		}
	default:
		text := fmt.Sprintf("%s %T", path, v)
		if slices.Contains(goneBy, path) {
			text = fmt.Sprintf("%s %v", path, v)
		}
		all = []string{text}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// outcome is what a caller can tell of an answer, without the words for people.
func (r response) outcome(t *testing.T) string {
	t.Helper()
	var body any
	require.NoError(t, json.Unmarshal([]byte(r.body), &body), r.body)
	return fmt.Sprintf("%d %q %q %q %q %q\n%s", r.status, r.header.Get("Content-Type"), r.header.Get("Retry-After"),
		r.header.Get("WWW-Authenticate"), r.header.Get("Allow"), r.header.Get(requestIDHeader),
		strings.Join(shape("", body), "\n"))
}

func realSide(t *testing.T) *side {
	w := newWorld(t)
	require.NoError(t, w.directory.AddAgent(t.Context(), directory.Agent{
		Brand: "commbox", Username: "gone.d", Email: "gone.d@example.com", Active: true,
	}))
	both := []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}
	return &side{
		do: func(method, path, key, body string) response {
			var sent io.Reader
			if body != "" {
				sent = strings.NewReader(body)
			}
			header := map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"}
			return w.client().do(method, path, sent, header)
		},
		keys: map[string]string{
			"any":     w.apiKey(directory.APIKey{Scopes: both, AllBrands: true}),
			"commbox": w.bothKey(),
			"acme":    w.apiKey(directory.APIKey{Scopes: both, Brands: []string{"acme"}}),
		},
		values:  map[string]string{"code": w.chatPath("commbox", "web")[len("/chat/"):]},
		advance: func(d time.Duration) { w.ns.Add(int64(d)) },
		remove:  func() { require.NoError(t, w.directory.RemoveAgent(t.Context(), "commbox", "gone.d")) },
	}
}

func standInSide(t *testing.T) *side {
	s := clienttest.New()
	s.AddBrand("acme")
	s.AddAgent("commbox", client.AgentRecord{
		Username: "john.d", Email: "john.d@gmail.com", Phone1: "+442501234567", UniqueID: "123456",
		FirstName: "John", LastName: "Doe",
	})
	s.AddAgent("commbox", client.AgentRecord{Username: "gone.d", Email: "gone.d@example.com"})
	described, err := loadContract()
	require.NoError(t, err)
	return &side{
		do: func(method, path, key, body string) response {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+key)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set(requestIDHeader, "a-test") // as the browser of realSide does
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			got := w.Body.String()
			require.NoError(t, described.check(r, []byte(body), w.Result(), []byte(got)), "%s %s", path, got)
			return response{w.Code, w.Header(), got, r.URL}
		},
		keys:    map[string]string{"any": s.AddKey(), "commbox": s.AddKey("commbox"), "acme": s.AddKey("acme")},
		values:  map[string]string{"code": s.AddChannel("commbox", "web")},
		advance: s.Advance,
		remove:  func() { s.RemoveAgent("commbox", "gone.d") },
	}
}

// The stand-in of package clienttest answers as ticketd does: the same status, headers, form,
// reasons and names of wrong fields. Its answers are held against openapi.yaml, as ticketd's are.
func TestStandIn(t *testing.T) {
	sides := []*side{realSide(t), standInSide(t)}
	const agent, customer = `"brand":"commbox","username":"John.D","email":"john.d@gmail.com"`, `"brand":"commbox","uniqueId":"7"`
	for i, c := range []struct {
		method, path, key, body string
		save                    string // name of the value: the ticket of the answer
		status                  int
	}{
		{"GET", "/core/systemstatus", "commbox", "", "", 200},
		{"GET", "/core/systemstatus", "none", "", "", 401},
		{"POST", "/core/systemstatus", "commbox", "", "", 501},
		{"POST", "/auth/nothing", "commbox", "{}", "", 404},

		{"POST", "/auth/ticket", "commbox", `{"data":` + reference + `}`, "used", 200},
		{"POST", "/auth/ticket", "commbox", reference, "revoked", 200},
		{"POST", "/auth/ticket", "any", `{` + agent + `,"oneTimeUse":true,"expiresIn":90}`, "bound", 200},
		{"POST", "/auth/ticket", "any", `{` + agent + `}`, "many", 200},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox","username":"gone.d","email":"gone.d@example.com"}`, "gone", 200},
		{"POST", "/auth/ticket", "any", `{` + customer + `,"firstName":"Jane","overrideUserInfo":true,"channel":"web"}`, "jane", 200},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox","email":"a@b.example","phone1":"+442501234568"}`, "anywhere", 200},
		{"GET", "/auth/ticket", "commbox", "", "", 501},
		{"POST", "/auth/ticket", "none", reference, "", 401},
		{"POST", "/auth/ticket", "acme", reference, "", 401},
		{"POST", "/auth/ticket", "any", `{"brand":"nobody","uniqueId":"7"}`, "", 404},
		{"POST", "/auth/ticket", "acme", `{"brand":"nobody","uniqueId":"7"}`, "", 404},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox","username":"nobody","email":"x@y.example"}`, "", 404},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox","username":"john.d","email":"x@y.example"}`, "", 404},
		{"POST", "/auth/ticket", "any", `{` + customer + `,"channel":"nothing"}`, "", 404},
		{"POST", "/auth/ticket", "any", `{"uniqueId":"7"}`, "", 400},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox"}`, "", 400},
		{"POST", "/auth/ticket", "any", `{"brand":"commbox","username":"john.d"}`, "", 400},
		{"POST", "/auth/ticket", "any", `{` + agent + `,"channel":"web"}`, "", 400},
		{"POST", "/auth/ticket", "any", `{` + customer + `,"expiresIn":100000}`, "", 400},
		{"POST", "/auth/ticket", "any", `{` + customer + `,"lastName":"` + strings.Repeat("x", 101) + `"}`, "", 400},
		{"POST", "/auth/ticket", "any", `{"brand":`, "", 400},
		{"POST", "/auth/ticket", "any", ``, "", 400},

		{"POST", "/auth/inspect", "commbox", `{"ticket":"{used}","audience":"agent"}`, "", 200},
		{"POST", "/auth/inspect", "acme", `{"ticket":"{used}","audience":"agent"}`, "", 200},
		{"POST", "/auth/inspect", "any", `{"ticket":"{used}","audience":"customer"}`, "", 200},
		{"POST", "/auth/inspect", "any", `{"ticket":"tkt1_x","audience":"agent"}`, "", 200},
		{"POST", "/auth/inspect", "any", `{"ticket":"{used}"}`, "", 400},
		{"POST", "/auth/inspect", "none", `{"ticket":"{used}","audience":"agent"}`, "", 401},
		{"POST", "/auth/redeem", "acme", `{"ticket":"{used}","audience":"agent"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{used}","audience":"customer"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{used}","audience":"agent","channel":"web"}`, "", 400},
		{"POST", "/auth/redeem", "any", `{"ticket":"{used}","audience":"agent","binding":"short"}`, "", 400},
		{"POST", "/auth/redeem", "any", `{"ticket":"{used}","audience":"friend"}`, "", 400},
		{"POST", "/auth/redeem", "any", `{"audience":"agent"}`, "", 400},
		{"POST", "/auth/redeem", "commbox", `{"ticket":"{used}","audience":"agent","address":"192.0.2.7"}`, "", 200},
		{"POST", "/auth/redeem", "commbox", `{"ticket":"{used}","audience":"agent"}`, "", 403},
		{"POST", "/auth/inspect", "commbox", `{"ticket":"{used}","audience":"agent"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{bound}","audience":"agent","binding":"0123456789abcdef"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{bound}","audience":"agent","binding":"0123456789abcdef"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{bound}","audience":"agent","binding":"another-binding-1"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{many}","audience":"agent"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{many}","audience":"agent"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{changed}","audience":"agent"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{other}","audience":"agent"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"tkt9_` + strings.Repeat("x", 80) + `","audience":"agent"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer","channel":"closed"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer","channelCode":"AAAA"}`, "", 403},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer","channel":"web","channelCode":"{code}"}`, "", 400},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer","channelCode":"{code}"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{jane}","audience":"customer","channel":"web"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{anywhere}","audience":"customer"}`, "", 200},
		{"POST", "/auth/redeem", "any", `{"ticket":"{anywhere}","audience":"customer","channel":"nothing"}`, "", 403},

		{"POST", "/auth/revoke", "acme", `{"ticket":"{revoked}"}`, "", 400},
		{"POST", "/auth/revoke", "commbox", `{"ticket":"{revoked}","brand":"commbox"}`, "", 400},
		{"POST", "/auth/revoke", "commbox", `{}`, "", 400},
		{"POST", "/auth/revoke", "commbox", `{"brand":"commbox","ticketId":"x"}`, "", 400},
		{"POST", "/auth/revoke", "commbox", `{"ticketId":"00112233445566778899aabbccddeeff"}`, "", 400},
		{"POST", "/auth/revoke", "acme", `{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`, "", 401},
		{"POST", "/auth/revoke", "any", `{"brand":"nobody","ticketId":"00112233445566778899aabbccddeeff"}`, "", 404},
		{"POST", "/auth/revoke", "commbox", `{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`, "", 200},
		{"POST", "/auth/revoke", "commbox", `{"ticket":"{revoked}"}`, "", 200},
		{"POST", "/auth/redeem", "commbox", `{"ticket":"{revoked}","audience":"agent"}`, "", 403},
		{"POST", "/auth/inspect", "commbox", `{"ticket":"{revoked}","audience":"agent"}`, "", 200},

		{"remove", "", "", "", "", 0},
		{"POST", "/auth/redeem", "any", `{"ticket":"{gone}","audience":"agent"}`, "", 403},
		{"advance", "", "", "", "", 0},
		{"POST", "/auth/redeem", "any", `{"ticket":"{many}","audience":"agent"}`, "", 403},
		{"POST", "/auth/inspect", "any", `{"ticket":"{many}","audience":"agent"}`, "", 200},
		{"POST", "/auth/revoke", "any", `{"ticket":"{many}"}`, "", 200},
	} {
		switch c.method {
		case "remove":
			for _, s := range sides {
				s.remove()
			}
			continue
		case "advance":
			for _, s := range sides {
				s.advance(2 * time.Minute)
			}
			continue
		}
		var outcomes []string
		for _, s := range sides {
			body := c.body
			for name, value := range s.values {
				body = strings.ReplaceAll(body, "{"+name+"}", value)
			}
			res := s.do(c.method, c.path, s.keys[c.key], body)
			require.Equal(t, c.status, res.status, "row %d: %s %s %s\n%s", i, c.method, c.path, c.body, res.body)
			outcomes = append(outcomes, res.outcome(t))
			if c.save != "" {
				var e struct{ Data client.Issued }
				require.NoError(t, json.Unmarshal([]byte(res.body), &e))
				s.values[c.save] = e.Data.Ticket
				middle, other := len(e.Data.Ticket)/2, "A"
				if e.Data.Ticket[middle] == 'A' {
					other = "B"
				}
				s.values["changed"] = e.Data.Ticket[:middle] + other + e.Data.Ticket[middle+1:]
			}
		}
		sides[0].values["other"], sides[1].values["other"] = sides[1].values["used"], sides[0].values["used"]
		assert.Equal(t, outcomes[0], outcomes[1], "row %d: %s %s", i, c.path, c.body)
	}
	assert.Subset(t, slices.Collect(maps.Keys(sides[0].values)), []string{"changed", "other", "code"})
}
