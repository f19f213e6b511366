package adminapi

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/api/apitest"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/token"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// Every operation has a route, and every route an operation and a place in the document.
func TestRoutesAreDocumented(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	require.NoError(t, err)
	documented := make(map[string]bool)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	// Effective and IssueTicket are the console's: programs have /auth/ticket. The others share a
	// route.
	served := map[string]bool{
		"Effective": true, "IssueTicket": true, "PreviewAgents": true, "SearchAgents": true, "SearchCustomers": true,
		"FindCustomers": true,
	}
	// A link to the console is no operation of manage.
	for _, r := range routes() {
		served[r.operation] = true
		assert.True(t, documented[r.method+" "+r.path], "%s %s is not in the document", r.method, r.path)
		delete(documented, r.method+" "+r.path)
	}
	assert.Empty(t, documented, "these are not served")
	delete(served, "")
	for _, o := range manage.Operations {
		assert.True(t, served[o.Name], "%s has no route", o.Name)
		delete(served, o.Name)
	}
	assert.Empty(t, served, "these are no operations")
}

// bodies are what the routes that take a body are sent.
var bodies = map[string]string{
	"AddBrand": `{"name":"new"}`, "ChangeBrand": `{"oneTime":true}`,
	"AddAgent": `{"username":"bob"}`, "ChangeAgent": `{"lastName":"B"}`, "ImportAgents": "username\nbob\n",
	"AddCustomer": `{"uniqueId":"2"}`, "ChangeCustomer": `{"remark":"r"}`,
	"AddChannel": `{"id":"new"}`, "ChangeChannel": `{"name":"n"}`,
	"RevokeTicket":        `{"ticketId":"0123456789abcdef0123456789abcdef"}`,
	"ChangeAdministrator": `{"name":"n"}`,
	"ChangeAPIKey":        `{"note":"n"}`, "ReplaceAPIKey": `{"grace":60}`,
}

// Each scope and kind of brands of an API key × each route × own and another brand.
func TestIsolation(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a directory for each case, in one goroutine; the whole run has it")
	}
	operations := make(map[string]manage.Operation)
	for _, o := range manage.Operations {
		operations[o.Name] = o
	}
	for name, caller := range map[string]struct {
		brands []string
		scopes []directory.Scope
	}{
		"deployment": {nil, []directory.Scope{directory.ScopeAdmin}},
		"brand":      {[]string{"own"}, []directory.Scope{directory.ScopeAdmin}},
		"issue":      {nil, []directory.Scope{directory.ScopeIssue}},
		"redeem":     {nil, []directory.Scope{directory.ScopeRedeem}},
		"console":    {nil, []directory.Scope{directory.ScopeConsole}},
		"no key":     {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, brand := range []string{"own", "other"} {
				isolation(t, operations, caller.brands, caller.scopes, brand)
			}
		})
	}
}

func isolation(
	t *testing.T, operations map[string]manage.Operation, brands []string, scopes []directory.Scope, brand string,
) {
	var w *world
	var key, record string
	for _, r := range routes() {
		if r.operation == "" { // has a test of its own
			continue
		}
		if w == nil { // the one before was changed
			w = newWorld(t, t.TempDir()+"/directory.db")
			key = "adm_no"
			if scopes != nil {
				key = w.key(brands, scopes...)
			}
			record = directory.APIKeyID(w.key([]string{brand}, directory.ScopeIssue))
		}
		o := operations[r.operation]
		path := strings.ReplaceAll(r.path, "{brand}", brand)
		if strings.Contains(path, "administrators") {
			path = strings.ReplaceAll(path, "{username}", brand)
		}
		path = strings.ReplaceAll(path, "{username}", "ann")
		path = strings.ReplaceAll(path, "{name}", brand)
		switch {
		case strings.Contains(path, "api-keys"):
			path = strings.ReplaceAll(path, "{id}", record)
		case strings.Contains(path, "customers"):
			path = strings.ReplaceAll(path, "{id}", fmt.Sprint(slices.Index([]string{"", "own", "other"}, brand)))
		default:
			path = strings.ReplaceAll(path, "{id}", "web")
		}
		body := bodies[r.operation]
		switch r.operation {
		case "RemoveBrand":
			path += "?with-all=true"
		case "AddAPIKey":
			body = fmt.Sprintf(`{"brands":[%q]}`, brand)
		case "AddAdministrator":
			body = fmt.Sprintf(`{"username":"new","role":"auditor","brands":[%q]}`, brand)
		case "Events":
			path += "?brand=" + brand
		case "ExplainTicket":
			body = fmt.Sprintf(`{"ticket":%q}`, w.service.Ticket(t, token.Ticket{
				Audience: token.Customer, Brand: brand, UniqueID: "1",
			}))
		case "NewEvents":
			path += "?last=0&brand=" + brand
		}
		before, err := w.directory.LastEvent(t.Context())
		require.NoError(t, err)
		kind := "application/json"
		if r.operation == "ImportAgents" {
			kind = "text/csv"
		}
		got := w.ask(key, r.method, path, body, "Content-Type", kind)
		want := http.StatusOK
		if strings.HasPrefix(r.operation, "Add") || r.operation == "ReplaceAPIKey" {
			want = http.StatusCreated
		}
		has := brands == nil || slices.Contains(brands, brand)
		switch {
		case scopes == nil:
			want = http.StatusUnauthorized
		case !slices.Contains(scopes, r.scope), o.Of == manage.OfDeployment && brands != nil:
			want = http.StatusForbidden
		case !has && r.operation != "Brands" && r.operation != "APIKeys" && r.operation != "Administrators" &&
			r.operation != "Issuers":
			want = http.StatusNotFound
		}
		assert.Equal(t, want, got.status, "%v %v: %s %s %s", scopes, brands, r.method, path, got.body)
		if !has && got.status < 300 { // a refusal repeats the ID that was asked for
			assert.NotContains(t, got.body, record, "nothing of another brand")
		}
		events, _, err := w.directory.NewEvents(t.Context(), directory.EventFilter{AllBrands: true}, before, 100)
		require.NoError(t, err)
		changes := 0
		for _, e := range events {
			if strings.HasPrefix(e.Action, "stranger.") {
				continue
			}
			changes++
			by := directory.Actor{Kind: directory.ActorKey, Name: directory.APIKeyID(key), Remote: "127.0.0.1"}
			assert.Equal(t, by, e.Actor)
		}
		if o.Does == manage.Reads || want >= 300 {
			assert.Zero(t, changes, "%s %s", r.method, path)
		}
		if changes > 0 {
			w = nil
		}
	}
}

// onBoth runs a test on both kinds of database.
func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { f(t, newWorld(t, t.TempDir()+"/directory.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, newWorld(t, servers.Database(t))) })
}

// Two people who change one record learn of each other.
func TestETag(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key := w.key(nil, directory.ScopeAdmin)
		const path = "/admin/brands/own/agents/ann"
		tag := w.ask(key, "GET", path, "").header.Get("ETag")
		require.NotEmpty(t, tag)
		var wg sync.WaitGroup
		var made atomic.Int32
		for i := range 6 {
			wg.Go(func() {
				got := w.ask(key, "PATCH", path, fmt.Sprintf(`{"lastName":"%d"}`, i), "If-Match", tag)
				if got.status == http.StatusOK {
					made.Add(1)
				} else {
					assert.Equal(t, http.StatusPreconditionFailed, got.status, got.body)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, made.Load())
		assert.Equal(t, http.StatusPreconditionFailed, w.ask(key, "DELETE", path, "", "If-Match", tag).status)
		now := w.ask(key, "GET", path, "").header.Get("ETag")
		assert.Equal(t, http.StatusPreconditionFailed, w.ask(key, "DELETE", path, "", "If-Match", "W/"+now).status, "weak")
		for _, bad := range []string{"x", `"a"`, now + ", " + tag} {
			assert.Equal(t, http.StatusBadRequest, w.ask(key, "DELETE", path, "", "If-Match", bad).status, bad)
		}
		assert.Equal(t, http.StatusOK, w.ask(key, "PATCH", path, `{"lastName":null}`, "If-Match", "*").status)
		now = w.ask(key, "GET", path, "").header.Get("ETag")
		assert.Equal(t, http.StatusOK, w.ask(key, "DELETE", path, "", "If-Match", now).status)
		id := directory.APIKeyID(w.key(nil, directory.ScopeIssue))
		tag = w.ask(key, "GET", "/admin/api-keys/"+id, "").header.Get("ETag")
		require.Equal(t, http.StatusOK, w.ask(key, "PATCH", "/admin/api-keys/"+id, `{"note":"n"}`, "If-Match", tag).status)
		assert.Equal(t, http.StatusPreconditionFailed,
			w.ask(key, "POST", "/admin/api-keys/"+id+"/revoke", "", "If-Match", tag).status)
	})
}

// A repeated creation makes one record, and tells no secret again.
func TestIdempotency(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key, another := w.key(nil, directory.ScopeAdmin), w.key(nil, directory.ScopeAdmin)
		const agents = "/admin/brands/own/agents"
		var wg sync.WaitGroup
		bodies := make([]string, 5)
		for i := range bodies {
			wg.Go(func() {
				got := w.ask(key, "POST", agents, `{"username":"bob"}`, "Idempotency-Key", `"one"`)
				assert.Equal(t, http.StatusCreated, got.status, got.body)
				bodies[i] = got.body
			})
		}
		wg.Wait()
		assert.Len(t, slices.Compact(bodies), 1, "the same answer")
		assert.Equal(t, http.StatusUnprocessableEntity,
			w.ask(key, "POST", agents, `{"username":"eve"}`, "Idempotency-Key", "one").status, "another body")
		assert.Equal(t, http.StatusConflict,
			w.ask(another, "POST", agents, `{"username":"bob"}`, "Idempotency-Key", "one").status, "another caller")

		made := w.ask(key, "POST", "/admin/api-keys", `{"brands":["own"]}`, "Idempotency-Key", "two")
		require.Equal(t, http.StatusCreated, made.status, made.body)
		again := w.ask(key, "POST", "/admin/api-keys", `{"brands":["own"]}`, "Idempotency-Key", "two")
		assert.Equal(t, http.StatusConflict, again.status)
		assert.Equal(t, made.object(t)["id"], again.object(t)["data"].(map[string]any)["id"])
		assert.NotContains(t, again.body, "adm_")
	})
}

// A list has each record once that is there all the time, whatever changes meanwhile.
func TestPaging(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key := w.key([]string{"own"}, directory.ScopeAdmin)
		for i := range 5 {
			require.Equal(t, http.StatusCreated,
				w.ask(key, "POST", "/admin/brands/own/agents", fmt.Sprintf(`{"username":"m%d"}`, i)).status)
		}
		var seen []string
		query := ""
		for page := 0; ; page++ {
			got := w.ask(key, "GET", "/admin/brands/own/agents?limit=2"+query, "").object(t)
			for _, item := range got["items"].([]any) {
				seen = append(seen, item.(map[string]any)["username"].(string))
			}
			if page == 1 { // before, after, and the one that the cursor names
				require.Equal(t, http.StatusCreated, w.ask(key, "POST", "/admin/brands/own/agents", `{"username":"a0"}`).status)
				require.Equal(t, http.StatusCreated, w.ask(key, "POST", "/admin/brands/own/agents", `{"username":"z0"}`).status)
				require.Equal(t, http.StatusOK, w.ask(key, "DELETE", "/admin/brands/own/agents/m2", "").status)
			}
			if got["next"] == nil {
				break
			}
			query = "&after=" + got["next"].(string)
		}
		assert.Equal(t, []string{"ann", "m0", "m1", "m2", "m3", "m4", "z0"}, seen)
		for _, bad := range []string{"limit=0", "limit=501", "limit=x", "after=%25", "more=1", "limit=1&limit=2"} {
			assert.Equal(t, http.StatusBadRequest, w.ask(key, "GET", "/admin/brands/own/agents?"+bad, "").status, bad)
		}
	})
}

// Wrong bodies and headers are told, and nothing personal or secret reaches the log.
func TestWrongRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir()+"/directory.db")
	key := w.key(nil, directory.ScopeAdmin)
	for body, field := range map[string]string{
		``: "", `[]`: "", `{`: "", `{"username":"x"`: "", `{"username":"x"} {}`: "", "\xff": "", `{"username":"\ud800"}`: "",
		`{"username":"x","username":"y"}`: "", `null`: "",
		`{"username":1}`:                           "username",
		`{"username":"x","usernam":1}`:             "usernam",
		`{"username":"x","active":"true"}`:         "active",
		`{"username":"x","active":null}`:           "active",
		`{"username":"x","groups":["a",null]}`:     "groups",
		`{"username":"x","brand":"other"}`:         "brand",
		`{"username":"x","email":"secret@@x"}`:     "email",
		`{"username":"x","phone1":"nosuchnumber"}`: "phone1",
		`{}`: "username",
	} {
		got := w.ask(key, "POST", "/admin/brands/own/agents", body)
		assert.Equal(t, http.StatusBadRequest, got.status, "%s: %s", body, got.body)
		if field != "" {
			assert.Contains(t, got.body, `"field":"`+field+`"`, body)
		}
	}
	got := w.ask(key, "PATCH", "/admin/brands/own", `{"maxLifetimeSeconds":-1,"apiAddresses":["no"],"returnOrigins":"x"}`)
	assert.Len(t, got.object(t)["data"].(map[string]any)["errors"], 3, got.body)
	assert.Equal(t, http.StatusBadRequest, w.ask(key, "PATCH", "/admin/brands/own", `{"name":"x"}`).status)
	got = w.ask(key, "PUT", "/admin/brands/own", `{}`)
	assert.Equal(t, http.StatusMethodNotAllowed, got.status)
	assert.Equal(t, "DELETE, GET, PATCH", got.header.Get("Allow"))
	assert.Equal(t, http.StatusNotFound, w.ask(key, "GET", "/admin/none", "").status)
	assert.Equal(t, http.StatusConflict, w.ask(key, "DELETE", "/admin/brands/own", "").status)
	for _, secret := range []string{"secret@@x", "nosuchnumber", key[15:]} {
		assert.NotContains(t, w.log.String(), secret)
	}
	assert.Contains(t, w.log.String(), directory.APIKeyID(key))
}

// A wrong query is told: it chooses nothing else, and nothing is done.
func TestWrongQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir()+"/directory.db")
	key := w.key(nil, directory.ScopeAdmin)
	for request, field := range map[string]string{
		"POST /admin/brands/own/agents?dry-run=true":           "query",
		"PATCH /admin/brands/own?dry-run=true":                 "query",
		"GET /admin/brands/own?brand=other":                    "query",
		"DELETE /admin/brands/own/channels/none?dry-run=true":  "query",
		"GET /admin/brands/own/customers?email=":               "email",
		"GET /admin/brands/own/customers?phone1=&uniqueId=100": "phone1",
		"GET /admin/brands/own/customers?uniqueId=":            "uniqueId",
		"GET /admin/events?ticketId=37e1":                      "ticketId",
		"GET /admin/events/new?ticketId=37e1&last=0":           "ticketId",
		"GET /admin/events?after=Zm9v":                         "after",
	} {
		method, path, _ := strings.Cut(request, " ")
		body := ""
		if method == "POST" || method == "PATCH" {
			body = `{"username":"dry"}`
		}
		got := w.ask(key, method, path, body)
		assert.Equal(t, http.StatusBadRequest, got.status, "%s: %s", request, got.body)
		assert.Contains(t, got.body, `"field":"`+field+`"`, request)
		assert.NotContains(t, got.body, "other than \"", request)
	}
	assert.Equal(t, http.StatusNotFound, w.ask(key, "GET", "/admin/brands/own/agents/dry", "").status)

	id := "37e1a6413719c9386583ff9c492b9039"
	got := w.ask(key, "POST", "/admin/brands/own/revocations", `{"ticketId":"`+id+`"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	got = w.ask(key, "GET", "/admin/events?ticketId="+strings.ToUpper(id), "")
	assert.Contains(t, got.body, id, "the ID in capital letters")
}

// A preview and the import say the same, line by line.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir()+"/directory.db")
	key := w.key([]string{"own"}, directory.ScopeAdmin)
	const path = "/admin/brands/own/agents/import"
	csv := "username,firstName,email\nann,Ann,ann@example.com\nbob,Bob,\ncleo,Cleo,@\nbob,Twice,\n"
	got := w.ask(key, "POST", path+"?dry-run=true", csv, "Content-Type", "text/csv")
	require.Equal(t, http.StatusOK, got.status, got.body)
	report := got.object(t)
	assert.Equal(t, `[{"line":4,"column":"email"`, got.body[strings.Index(got.body, `[{"line":4`):][:27])
	assert.EqualValues(t, 1, report["added"])
	assert.EqualValues(t, 1, report["changed"])
	assert.Len(t, report["faults"], 2)
	lines := report["lines"].([]any)
	require.Len(t, lines, 2)
	assert.Equal(t, map[string]any{
		"line": 2.0, "username": "ann", "action": "change", "fields": []any{"email", "firstName"},
	}, lines[0])
	got = w.ask(key, "POST", path, csv, "Content-Type", "text/csv")
	assert.Equal(t, http.StatusBadRequest, got.status)
	assert.Len(t, got.object(t)["data"].(map[string]any)["faults"], 2)
	good := "username,firstName,email\nann,Ann,ann@example.com\nbob,Bob,\n"
	preview := w.ask(key, "POST", path+"?dry-run=true", good, "Content-Type", "text/csv").body
	did := w.ask(key, "POST", path, good, "Content-Type", "text/csv").body
	assert.Equal(t, strings.Replace(preview, `"dryRun":true`, `"dryRun":false`, 1), did)
}

// A patch changes what it names, and null takes values away.
func TestPatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir()+"/directory.db")
	key := w.key([]string{"own"}, directory.ScopeAdmin)
	const path = "/admin/brands/own"
	set := `{"oneTime":true,"maxLifetimeSeconds":600,"apiAddresses":["10.0.0.0/8"],` +
		`"returnOrigins":["https://a.example"],"colour":"#112233"}`
	got := w.ask(key, "PATCH", path, set, "Content-Type", "application/merge-patch+json").object(t)
	assert.Equal(t, true, got["oneTime"])
	assert.Equal(t, 600.0, got["maxLifetimeSeconds"])
	unset := `{"oneTime":null,"maxLifetimeSeconds":null,"apiAddresses":null,"name":"own"}`
	got = w.ask(key, "PATCH", path, unset).object(t)
	assert.Nil(t, got["oneTime"])
	assert.Nil(t, got["maxLifetimeSeconds"])
	assert.Empty(t, got["apiAddresses"])
	assert.Equal(t, "#112233", got["colour"], "stays")
	channel := w.ask(key, "GET", "/admin/brands/own/channels/web", "").object(t)
	assert.Equal(t, "https://x/chat/own.web", channel["url"])
	for _, path := range []string{"customers?q=1", "agents?q=AN"} {
		found := w.ask(key, "GET", "/admin/brands/own/"+path, "").object(t)
		assert.Len(t, found["items"], 1, path)
	}
	found := w.ask(key, "GET", "/admin/brands/own/agents?q=nn", "").object(t)
	assert.Empty(t, found["items"])
	for query, want := range map[string]int{
		"uniqueId=1": 1, "uniqueId=2": 0, "email=a@example.com&phone1=02079460000": 0,
	} {
		found := w.ask(key, "GET", "/admin/brands/own/customers?"+query, "").object(t)
		assert.Len(t, found["items"], want, query)
	}
	for _, query := range []string{"q=1&uniqueId=1", "email=@", "phone1=x"} {
		assert.Equal(t, http.StatusBadRequest, w.ask(key, "GET", "/admin/brands/own/customers?"+query, "").status, query)
	}
	for _, query := range []string{"last=-1", "last=x", "last=1&since=2030-01-31T00:00:00Z"} {
		assert.Equal(t, http.StatusBadRequest, w.ask(key, "GET", "/admin/events/new?brand=own&"+query, "").status, query)
	}
}

// Everybody may read the description.
func TestDescription(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "admitone.db"))
	res, err := http.Get(w.url + "/admin/openapi.yaml")
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "application/yaml", res.Header.Get("Content-Type"))
	assert.Equal(t, string(OpenAPI), string(body))
}

// A ticket of another brand and a text that is no genuine ticket have one answer.
func TestExplainTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir()+"/directory.db")
	own, all := w.key([]string{"own"}, directory.ScopeAdmin), w.key(nil, directory.ScopeAdmin)
	explain := func(key, text string) reply {
		return w.ask(key, http.MethodPost, "/admin/tickets/explain", fmt.Sprintf(`{"ticket":%q}`, text))
	}
	ticket := func(brand string) string {
		return w.service.Ticket(t, token.Ticket{Audience: token.Customer, Brand: brand, UniqueID: "secret"})
	}
	foreign := ticket("other")
	forged := []byte(foreign)
	if forged[40]++; !strings.ContainsRune("BCDEFGHIJKLMNOPQRSTUVWXYZbcdefghijklmnopqrstuvwxyz", rune(forged[40])) {
		forged[40] = 'A' // another character of the alphabet
	}
	administrator := w.service.Ticket(t, token.Ticket{
		Audience: token.Administrator, OneTime: true, Username: "root", Lifetime: time.Minute,
	})
	want := explain(own, foreign)
	assert.Equal(t, http.StatusNotFound, want.status)
	stranger := apitest.New(t, w.directory)
	unknown := stranger.Ticket(t, token.Ticket{Audience: token.Customer, Brand: "own", UniqueID: "1"})
	for _, text := range []string{string(forged), "tkt1_AAAA", "tkt9_AAAA", administrator, unknown} {
		got := explain(own, text)
		assert.Equal(t, want.status, got.status)
		assert.Equal(t, want.object(t)["description"], got.object(t)["description"])
	}
	assert.Equal(t, http.StatusBadRequest, explain(own, "https://x/login").status)
	assert.Contains(t, explain(all, string(forged)).body, `"ticket":null,"result":"refused","reason":"forged"`)
	assert.Equal(t, "administrator", explain(all, administrator).object(t)["ticket"].(map[string]any)["audience"])
	got := explain(own, "https://x/chat/y?ta="+ticket("own")).object(t)
	assert.Equal(t, "acceptable", got["result"])
	assert.Equal(t, "secret", got["ticket"].(map[string]any)["uniqueId"])
}

// The audit trail and the answer speak of the same request.
func TestEventsHaveTheRequest(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "admitone.db"))
	key := w.key(nil, directory.ScopeAdmin)
	got := w.ask(key, "POST", "/admin/brands", `{"name":"new"}`, "X-Request-Id", "r-1")
	require.Equal(t, http.StatusCreated, got.status, got.body)
	assert.Equal(t, "r-1", got.header.Get("X-Request-Id"))
	got = w.ask(key, "GET", "/admin/events?brand=new", "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	event := got.object(t)["items"].([]any)[0].(map[string]any)
	assert.Equal(t, map[string]any{"requestId": "r-1"}, event["details"])
}

// Only an API key of scope console makes links, and the link is for this key and client.
func TestLinks(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "admitone.db"))
	key := w.key([]string{"own"}, directory.ScopeConsole)
	got := w.ask(key, http.MethodPost, "/admin/links", `{"username":"ann"}`)
	assert.Equal(t, http.StatusCreated, got.status, got.body)
	assert.Equal(t, "https://console.example/"+directory.APIKeyID(key)+"/127.0.0.1", got.object(t)["url"])
	assert.Equal(t, http.StatusNotFound, w.ask(key, http.MethodPost, "/admin/links", `{"username":"bob"}`).status)
	assert.Equal(t, http.StatusBadRequest, w.ask(key, http.MethodPost, "/admin/links", `{"user":"ann"}`).status)
	assert.Equal(t, http.StatusForbidden, w.ask(key, http.MethodGet, "/admin/brands", "").status)
	for _, scopes := range [][]directory.Scope{
		{directory.ScopeAdmin}, {directory.ScopeIssue, directory.ScopeRedeem, directory.ScopeAdmin},
	} {
		got := w.ask(w.key(nil, scopes...), http.MethodPost, "/admin/links", `{"username":"ann"}`)
		assert.Equal(t, http.StatusForbidden, got.status, scopes)
	}
}

// Administrators are kept by HTTP as the other records are, and the last admin of the
// deployment stays.
func TestAdministrators(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		whole, own := w.key(nil, directory.ScopeAdmin), w.key([]string{"own"}, directory.ScopeAdmin)
		const path = "/admin/administrators"
		got := w.ask(whole, "POST", path, `{"username":"Root","role":"admin","allBrands":true}`, "Idempotency-Key", "1")
		require.Equal(t, http.StatusCreated, got.status, got.body)
		assert.Equal(t, path+"/Root", got.header.Get("Location"))
		assert.Equal(t, true, got.object(t)["active"])
		again := w.ask(whole, "POST", path, `{"username":"Root","role":"admin","allBrands":true}`, "Idempotency-Key", "1")
		assert.Equal(t, got.body, again.body, "the same answer")
		for body, status := range map[string]int{
			`{"username":"x","role":"admin","allBrands":true}`:              http.StatusForbidden,
			`{"username":"x","role":"auditor","brands":["own","other"]}`:    http.StatusNotFound,
			`{"username":"x","role":"owner","brands":["own"]}`:              http.StatusBadRequest,
			`{"username":"x","role":null,"brands":["own"]}`:                 http.StatusBadRequest,
			`{"username":"x","role":"admin"}`:                               http.StatusBadRequest,
			`{"username":"root","role":"admin","brands":["own"]}`:           http.StatusConflict,
			`{"username":"x","role":"admin","brands":["own"],"record":"r"}`: http.StatusBadRequest,
		} {
			assert.Equal(t, status, w.ask(own, "POST", path, body).status, body)
		}
		for _, p := range []string{"/Root", "/other", "/none"} {
			assert.Equal(t, http.StatusNotFound, w.ask(own, "GET", path+p, "").status, p)
			assert.Equal(t, http.StatusNotFound, w.ask(own, "PATCH", path+p, `{"brands":["own"]}`).status, p)
			assert.Equal(t, http.StatusNotFound, w.ask(own, "DELETE", path+p, "").status, p)
			assert.Equal(t, http.StatusNotFound, w.ask(own, "POST", path+p+"/end-sessions", "").status, p)
		}
		assert.Len(t, w.ask(own, "GET", path, "").object(t)["items"], 1)
		assert.Len(t, w.ask(whole, "GET", path+"?limit=2", "").object(t)["items"], 2)
		for _, denied := range []reply{
			w.ask(whole, "DELETE", path+"/root", ""), w.ask(whole, "PATCH", path+"/root", `{"active":false}`),
			w.ask(whole, "PATCH", path+"/root", `{"allBrands":false,"brands":["own"]}`),
		} {
			assert.Equal(t, http.StatusConflict, denied.status, denied.body)
			assert.Contains(t, denied.body, "--last")
		}
		tag := w.ask(own, "GET", path+"/own", "").header.Get("ETag")
		require.Equal(t, http.StatusOK, w.ask(own, "POST", path+"/own/end-sessions", "").status)
		assert.Equal(t, http.StatusPreconditionFailed, w.ask(own, "DELETE", path+"/own", "", "If-Match", tag).status)
		assert.Equal(t, http.StatusOK, w.ask(own, "DELETE", path+"/own", "").status)

		assert.Equal(t, http.StatusForbidden,
			w.ask(own, "POST", "/admin/api-keys", `{"brands":["own"],"scopes":["console"]}`).status)
	})
}
