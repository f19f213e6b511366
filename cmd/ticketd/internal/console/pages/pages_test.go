package pages

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/api/apitest"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/web"
)

const script = `<script>alert("x")</script>`

// world is the pages of a directory with two brands, for a caller whom tests set.
type world struct {
	t       *testing.T
	db      *directory.DB
	tickets apitest.Service
	caller  manage.Caller
	visit   Visit
	err     error
	h       http.Handler
	body    string
}

var actor = directory.Actor{Kind: directory.ActorAdministrator, Name: "root"}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	db, err := directory.Open(t.Context(), t.TempDir()+"/directory.db")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	w := &world{t: t, db: db, visit: Visit{Name: script, SignOut: "/console/logout"}}
	for _, brand := range []string{"acme", "other"} {
		require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: brand,
			Settings: directory.Settings{DisplayName: script}}))
		require.NoError(t, db.AddAgent(t.Context(), directory.Agent{Brand: brand, Username: "ann", FirstName: script,
			Active: true}))
		require.NoError(t, db.AddChannel(t.Context(), directory.Channel{Brand: brand, ID: "web", Name: script}))
		_, err := db.AddCustomer(t.Context(), directory.Customer{Brand: brand, UniqueID: "1", LastName: script})
		require.NoError(t, err)
		require.NoError(t, db.AddAdministrator(t.Context(), directory.Administrator{Username: brand, Name: script,
			Role: directory.RoleAdmin, Brands: []string{brand}, Active: true}))
	}
	require.NoError(t, db.SeeIssuers(t.Context(), "service", time.Now(), []directory.IssuerEntry{
		{Name: "other", Brands: []string{"other"}, Audiences: []string{"agent"}, Format: 1, Keys: []string{"0000000f"}},
		{Name: "partner", Brands: []string{"acme", "other"}, Audiences: []string{"agent", "customer"}, Format: 2,
			MaxLifetime: 5 * time.Minute, ManyTimes: true, Override: true, Claims: []string{"plan", script}, Rate: 2.5,
			Until: time.Now().Add(9*24*time.Hour + time.Hour), Keys: []string{"0000000a", "0000000b"},
			DeniedKeys: []string{"0000000c"}, Generation: 3, BundleUntil: time.Now().Add(24 * time.Hour)},
		{Name: "portal", AllBrands: true, Audiences: []string{"agent"}, Format: 1, Keys: []string{"0000000d"}},
		{Name: "stolen", Brands: []string{"acme"}, Denied: true, Format: 1},
	}))
	require.NoError(t, db.NoteIssuerUses(t.Context(), map[directory.IssuerKey]time.Time{
		{Issuer: "partner", Key: "0000000a"}: time.Unix(1.8e9, 0),
	}))
	w.tickets = apitest.New(t, db)
	w.h = New(Config{
		Office: &manage.Office{
			Directory: db, Now: time.Now, Tickets: w.tickets.Tickets, LoginURL: "https://x.test/login",
			ChatURL: func(brand, channel string) (string, error) {
				return "https://x.test/chat/" + brand + "." + channel, nil
			},
			Keyrings: func() []keyring.Report { return []keyring.Report{{Info: keyring.Info{Kind: "ticket", Generation: 7}}} },
			Health: []manage.Check{{Name: "store", Ask: func(context.Context) error {
				return errors.New("away " +
					"" + script)
			}}},
		},
		Caller: func(*http.Request) (manage.Caller, Visit, error) { return w.caller, w.visit, w.err },
		Log:    slog.New(slog.DiscardHandler),
	})
	w.caller = manage.Caller{Actor: actor, Role: directory.RoleAdmin, Brands: []string{"acme"}}
	return w
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	w.body = rec.Body.String()
	assert.NotContains(w.t, w.body, "<script", "%s", r.URL)
	assert.NotContains(w.t, w.body, "style=", "%s", r.URL)
	assert.NotContains(w.t, w.body, "ZgotmplZ", "%s", r.URL)
	assert.NotContains(w.t, rec.Header().Get("Content-Security-Policy"), "unsafe")
	return rec
}

func (w *world) get(path string) int {
	w.t.Helper()
	return w.do(httptest.NewRequest(http.MethodGet, path, nil)).Code
}

func (w *world) post(path string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(r)
}

// record writes events of tickets.
func (w *world) record(events []directory.Event) {
	w.t.Helper()
	r, err := w.db.StartRecorder(w.t.Context(), "test")
	require.NoError(w.t, err)
	require.NoError(w.t, w.db.RecordEvents(w.t.Context(), r, events, time.Now()))
}

// accepts sends a form that leads to another page.
func (w *world) accepts(path string, form url.Values) {
	w.t.Helper()
	require.Equal(w.t, http.StatusSeeOther, w.post(path, form).Code, path)
}

// refuses sends a form that is shown again.
func (w *world) refuses(path string, form url.Values) {
	w.t.Helper()
	require.Equal(w.t, http.StatusUnprocessableEntity, w.post(path, form).Code, path)
}

var hidden = regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]+)"`)

// with returns the hidden fields of the last page with the given ones.
func (w *world) with(pairs ...string) url.Values {
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(w.body, -1) {
		form.Set(m[1], m[2])
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// paths are all pages of acme and the deployment.
var paths = []string{
	"/console/administrators", "/console/administrators/add", "/console/administrators/edit?name=acme",
	"/console/administrators/remove?name=acme", "/console/administrators/end-sessions?name=acme",
	"/console/api-keys", "/console/api-keys/add", "/console/brands", "/console/brands/acme",
	"/console/brands/acme/settings",
	"/console/brands/acme/end-sessions",
	"/console/brands/acme/agents", "/console/brands/acme/agents?q=ann", "/console/brands/acme/agents/add",
	"/console/brands/acme/agents/edit?name=ann", "/console/brands/acme/agents/import",
	"/console/brands/acme/agents/remove?name=ann", "/console/brands/acme/agents/end-sessions?name=ann",
	"/console/brands/acme/customers", "/console/brands/acme/customers?q=1", "/console/brands/acme/customers/add",
	"/console/brands/acme/customers/edit?id=1", "/console/brands/acme/customers/remove?id=1",
	"/console/brands/acme/customers/end-sessions?id=1",
	"/console/brands/acme/channels", "/console/brands/acme/channels/add", "/console/brands/acme/channels/edit?id=web",
	"/console/brands/acme/channels/remove?id=web",
	"/console/brands/acme/try", "/console/brands/acme/try/customer", "/console/explain", "/console/issuers",
	"/console/brands/acme/audit", "/console/brands/acme/audit?kind=agent&name=ann",
	"/console/brands/acme/audit/export?format=csv", "/console/brands/acme/audit/export?format=json",
}

var deploymentPaths = []string{
	"/console/issuers/end-sessions?name=partner", "/console/audit", "/console/audit/export?format=json", "/console/keyrings", "/console/brands/add",
	"/console/brands/acme/remove",
}

// isForm tells the pages that are for admins only.
var isForm = regexp.MustCompile(`/(add|remove|end-sessions|import|try|try/customer)($|\?)`)

func TestPagesOfARole(t *testing.T) {
	for _, role := range []directory.Role{directory.RoleAdmin, directory.RoleAuditor} {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t)
			w.caller.Role = role
			before, err := w.db.LastEvent(t.Context())
			require.NoError(t, err)
			for _, path := range paths {
				want := http.StatusOK
				if role == directory.RoleAuditor && isForm.MatchString(path) {
					want = http.StatusForbidden
				}
				assert.Equal(t, want, w.get(path), path)
				assert.NotContains(t, w.body, `>other<`, path)
				if role == directory.RoleAuditor && path != "/console/explain" { // which changes nothing
					forms := strings.Count(w.body, `method="post"`) - strings.Count(w.body, `class="who"`)
					assert.Zero(t, forms, path)
					code := w.post(path, url.Values{"confirm": {"ann"}}).Code
					assert.Contains(t, []int{http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed}, code, path)
				}
			}
			for _, path := range deploymentPaths {
				assert.Equal(t, http.StatusForbidden, w.get(path), path)
			}
			after, err := w.db.LastEvent(t.Context())
			require.NoError(t, err)
			assert.Equal(t, before, after, "nothing was changed")
		})
	}
}

func TestPagesOfTheDeployment(t *testing.T) {
	w := newWorld(t)
	w.caller.AllBrands, w.caller.Brands = true, nil
	for _, path := range append(deploymentPaths, paths...) {
		assert.Equal(t, http.StatusOK, w.get(path), path)
	}
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme"))
	assert.Contains(t, w.body, "The store does not answer: away")
	assert.Contains(t, w.body, "no allow-list")
	w.accepts("/console/brands/add", url.Values{"brand": {"new"}})
	require.Equal(t, http.StatusOK, w.get("/console/brands/new/settings?did=added"))
	assert.Contains(t, w.body, "Added.")
	assert.Equal(t, http.StatusUnprocessableEntity, w.post("/console/brands/add", url.Values{"brand": {"new"}}).Code)
	assert.Equal(t, http.StatusUnprocessableEntity, w.post("/console/brands/new/remove",
		url.Values{"confirm": {"acme"}}).Code)
	assert.Equal(t, http.StatusSeeOther, w.post("/console/brands/new/remove", url.Values{"confirm": {"new"}}).Code)
}

// A page of another brand is exactly the page of a brand that does not exist.
func TestOtherBrandsAreUnknown(t *testing.T) {
	w := newWorld(t)
	made, err := w.db.CreateAPIKey(t.Context(), directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue},
		Brands: []string{"other"}})
	require.NoError(t, err)
	same := func(path, unknown string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w.do(httptest.NewRequest(method, unknown, nil))
			want := w.body
			rec := w.do(httptest.NewRequest(method, path, nil))
			if rec.Code != http.StatusMethodNotAllowed {
				assert.Equal(t, http.StatusNotFound, rec.Code, "%s %s", method, path)
			}
			assert.Equal(t, want, w.body, "%s %s", method, path)
		}
	}
	for _, path := range paths {
		if strings.Contains(path, "brands/acme") {
			same(strings.Replace(path, "acme", "other", 1), strings.Replace(path, "acme", "unknown", 1))
		}
	}
	same("/console/switch?brand=other", "/console/switch?brand=unknown")
	same("/console/api-keys?brand=other", "/console/api-keys?brand=unknown")
	for _, page := range []string{"replace", "revoke"} {
		same("/console/api-keys/"+page+"?id="+directory.APIKeyID(made), "/console/api-keys/"+page+"?id=aaaaaaaaaa")
	}
	require.Equal(t, http.StatusOK, w.get("/console/api-keys"))
	assert.NotContains(t, w.body, directory.APIKeyID(made))
	require.NoError(t, w.db.AddAdministrator(t.Context(), directory.Administrator{Username: "all",
		Role: directory.RoleAdmin, AllBrands: true, Active: true}))
	require.NoError(t, w.db.AddAdministrator(t.Context(), directory.Administrator{Username: "both",
		Role: directory.RoleAuditor, Brands: []string{"acme", "other"}, Active: true}))
	for _, name := range []string{"all", "both", "other"} {
		for _, page := range []string{"edit", "remove", "end-sessions"} {
			same("/console/administrators/"+page+"?name="+name, "/console/administrators/"+page+"?name=unknown")
		}
	}
	require.Equal(t, http.StatusOK, w.get("/console/administrators"))
	assert.Equal(t, 1, strings.Count(w.body, "<th scope=\"row\">"))
}

func TestAdministrators(t *testing.T) {
	w := newWorld(t)
	const add, edit = "/console/administrators/add", "/console/administrators/edit?name=bob"
	form := func(username, role string, brands ...string) url.Values {
		return url.Values{"username": {username}, "role": {role}, "active": {"true"}, "brands": brands}
	}
	assert.Equal(t, http.StatusNotFound, w.post(add, form("bob", "admin", "acme", "other")).Code)
	assert.Equal(t, http.StatusForbidden, w.post(add, form("bob", "auditor", "*")).Code)
	w.refuses(add, form("bob", "admin"))
	assert.Contains(t, w.body, `id="e-brands"`)
	w.refuses(add, form("bob", "owner", "acme"))
	assert.Contains(t, w.body, `id="e-role"`)
	w.refuses(add, form("ACME", "auditor", "acme"))
	w.accepts(add, form("bob", "auditor", "acme"))
	require.Equal(t, http.StatusOK, w.get(edit))
	assert.Contains(t, w.body, "ticketd console link --user bob")
	w.accepts(edit, w.with("name", script, "role", "admin", "brands", "acme", "active", "true"))
	b, err := w.db.Administrator(t.Context(), "bob")
	require.NoError(t, err)
	assert.Equal(t, directory.RoleAdmin, b.Role)
	w.accepts("/console/administrators/end-sessions?name=bob", url.Values{"confirm": {"bob"}})
	w.accepts("/console/administrators/remove?name=bob", url.Values{"confirm": {"bob"}})

	w.caller.Actor.Name = "ACME" // the record is their own
	const own = "/console/administrators/edit?name=acme"
	require.Equal(t, http.StatusOK, w.get(own))
	assert.Contains(t, w.body, "your own record")
	assert.NotContains(t, w.body, "administrators/remove")
	w.refuses(own, w.with("role", "auditor", "brands", "acme", "active", "true"))
	assert.Contains(t, w.body, `id="e-role"`)
	w.refuses(own, w.with("role", "admin", "brands", "acme"))
	assert.Contains(t, w.body, `id="e-active"`)
	assert.Equal(t, http.StatusForbidden,
		w.post("/console/administrators/remove?name=acme", url.Values{"confirm": {"acme"}}).Code)
	require.Equal(t, http.StatusOK, w.get(own))
	w.accepts(own, w.with("name", "Ann", "role", "admin", "brands", "acme", "active", "true"))

	// Of the deployment: the last admin of all brands stays, also if the caller went meanwhile.
	w.caller.AllBrands, w.caller.Brands = true, nil
	w.accepts(add, form("all", "admin", "*"))
	require.Equal(t, http.StatusOK, w.get("/console/administrators/edit?name=all"))
	w.refuses("/console/administrators/edit?name=all", w.with("role", "auditor", "brands", "*", "active", "true"))
	assert.Contains(t, w.body, "the last active admin")
	w.refuses("/console/administrators/remove?name=all", url.Values{"confirm": {"all"}})
	assert.Contains(t, w.body, "the last active admin")
	w.caller.Role = directory.RoleAuditor
	require.Equal(t, http.StatusOK, w.get("/console/administrators/edit?name=all"))
	assert.Contains(t, w.body, "every brand")
}

func TestNobody(t *testing.T) {
	w := newWorld(t)
	w.err = web.ErrNoSession
	assert.Equal(t, http.StatusUnauthorized, w.get("/console/brands/acme"))
	assert.NotContains(t, w.body, "acme")
	w.err = errors.New("away")
	assert.Equal(t, http.StatusInternalServerError, w.get("/console/brands/acme"))
	assert.NotContains(t, w.body, "away")
	assert.NotContains(t, w.body, "Quote this ID")
	rec := httptest.NewRecorder()
	rec.Header().Set("X-Request-Id", "r-1") // as the service does
	w.h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/console/brands/acme", nil))
	assert.Contains(t, rec.Body.String(), "Quote this ID when you ask for help: <code>r-1</code>")
}

var keyForm = regexp.MustCompile(`value="(adm_[a-z2-7]{10}_[a-z2-7]{52})"`)

func TestAPIKeys(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, http.StatusOK, w.get("/console/api-keys/add"))
	for _, scope := range []string{"issue", "redeem", "admin", "console"} {
		assert.Contains(t, w.body, `name="scopes" value="`+scope+`"`)
	}
	form := w.with("note", script, "scopes", "issue", "brands", "acme", "expires", "10d")
	bad := url.Values{"once": {"x"}, "note": {script}, "expires": {"soon"}, "scopes": {"issue"}, "brands": {"acme"}}
	w.refuses("/console/api-keys/add", bad)
	assert.Contains(t, w.body, `value="soon"`)
	assert.Contains(t, w.body, `&lt;script&gt;`)
	assert.Contains(t, w.body, `id="e-expires"`)
	assert.Equal(t, http.StatusNotFound, w.post("/console/api-keys/add", url.Values{
		"once": {"y"}, "expires": {"never"}, "scopes": {"issue"}, "brands": {"other"}}).Code)
	assert.Equal(t, http.StatusForbidden, w.post("/console/api-keys/add", url.Values{
		"once": {"z"}, "expires": {"never"}, "scopes": {"issue"}, "brands": {"*"}}).Code)

	require.Equal(t, http.StatusOK, w.post("/console/api-keys/add", form).Code)
	m := keyForm.FindStringSubmatch(w.body)
	require.NotNil(t, m, w.body)
	assert.Contains(t, w.body, "/auth/ticket -H")
	id := directory.APIKeyID(m[1])
	require.Equal(t, http.StatusConflict, w.post("/console/api-keys/add", form).Code, "a reload makes no second key")
	assert.Contains(t, w.body, id)
	assert.NotContains(t, w.body, m[1])

	require.Equal(t, http.StatusOK, w.get("/console/api-keys"))
	assert.Contains(t, w.body, "expires in 9 days")
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme"))
	assert.Contains(t, w.body, "expires in 9 days")

	replace := "/console/api-keys/replace?id=" + id
	require.Equal(t, http.StatusOK, w.get(replace))
	assert.Equal(t, http.StatusUnprocessableEntity, w.post(replace, w.with("grace", "31")).Code)
	require.Equal(t, http.StatusOK, w.post(replace, w.with("grace", "1")).Code)
	next := directory.APIKeyID(keyForm.FindStringSubmatch(w.body)[1])
	require.NotEqual(t, id, next)

	revoke := "/console/api-keys/revoke?id=" + next
	w.visit.Age = FreshSession
	assert.Equal(t, http.StatusForbidden, w.get(revoke))
	assert.Equal(t, http.StatusForbidden, w.post(revoke, url.Values{"confirm": {next}}).Code)
	assert.Contains(t, w.body, "fresh link")
	w.visit.Age = FreshSession - time.Second
	assert.Equal(t, http.StatusUnprocessableEntity, w.post(revoke, url.Values{"confirm": {id}}).Code)
	k, err := w.db.APIKey(t.Context(), next)
	require.NoError(t, err)
	require.Zero(t, k.Revoked)
	w.accepts(revoke, url.Values{"confirm": {next}})
	k, err = w.db.APIKey(t.Context(), next)
	require.NoError(t, err)
	assert.NotZero(t, k.Revoked)
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	const page = "/console/brands/acme/settings"
	require.Equal(t, http.StatusOK, w.get(page))
	assert.Contains(t, w.body, "Inherited: no")
	old := w.with("oneTime", "", "colour", "#000000")
	bad := w.with("oneTime", "true", "apiAddresses", "192.0.2.7\n"+script, "maxLifetime", "long", "colour", "red")
	w.refuses(page, bad)
	for _, want := range []string{"&lt;script&gt;", `id="e-apiAddresses"`, `id="e-maxLifetime"`, `value="long"`} {
		assert.Contains(t, w.body, want)
	}
	w.refuses(page, w.with("colour", "red"))
	assert.Contains(t, w.body, `id="e-colour"`)
	form := w.with("oneTime", "true", "apiAddresses", "192.0.2.7\r\n198.51.100.0/24", "maxLifetime", "10m",
		"otherUser", "refuse")
	w.accepts(page, form)
	b, err := w.db.Brand(t.Context(), "acme")
	require.NoError(t, err)
	assert.True(t, *b.OneTime)
	assert.Nil(t, b.TicketLogin)
	assert.Equal(t, 10*time.Minute, b.MaxLifetime)
	assert.Equal(t, "192.0.2.7, 198.51.100.0/24", b.APIAddresses.String())
	require.Equal(t, http.StatusUnprocessableEntity, w.post(page, old).Code, "of an older revision")
	assert.Contains(t, w.body, "Somebody else changed")

	channel := "/console/brands/acme/channels/edit?id=web"
	require.Equal(t, http.StatusOK, w.get(channel))
	assert.Contains(t, w.body, "Inherited: yes", "of the brand")
	assert.Contains(t, w.body, "https://x.test/chat/acme.web")
	w.accepts(channel, w.with("oneTime", "false", "name", "Web"))
	c, err := w.db.Channel(t.Context(), "acme", "web")
	require.NoError(t, err)
	assert.False(t, *c.OneTime)
	w.accepts("/console/brands/acme/channels/add", url.Values{"channel": {"app"}})
	w.accepts("/console/brands/acme/channels/remove?id=app", url.Values{"confirm": {"app"}})
	w.accepts("/console/brands/acme/end-sessions", url.Values{"confirm": {"acme"}})
}

func TestPeople(t *testing.T) {
	w := newWorld(t)
	add := "/console/brands/acme/agents/add"
	bad := url.Values{"username": {"bob"}, "phone1": {"12"}, "firstName": {script}, "active": {"true"}}
	w.refuses(add, bad)
	assert.Contains(t, w.body, `id="e-phone1"`)
	assert.Contains(t, w.body, "&lt;script&gt;")
	w.accepts(add, url.Values{"username": {"a/b"}, "active": {"true"}, "groups": {"x\r\ny"}})
	edit := "/console/brands/acme/agents/edit?name=a%2Fb"
	require.Equal(t, http.StatusOK, w.get(edit))
	w.accepts(edit, w.with("email", "b@example.com"))
	a, err := w.db.Agent(t.Context(), "acme", "a/b")
	require.NoError(t, err)
	assert.False(t, a.Active)
	assert.Equal(t, "b@example.com", a.Email)
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/agents?q=B%40EXAMPLE"))
	assert.Contains(t, w.body, "<a href=\"/console/brands/acme/agents/edit?name=a%2Fb\">")
	assert.Equal(t, 1, strings.Count(w.body, `<th scope="row">`))
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/agents?q=xampl"))
	assert.Contains(t, w.body, "No agent matches.")
	w.accepts("/console/brands/acme/agents/end-sessions?name=ann", url.Values{"confirm": {"ann"}})
	w.accepts("/console/brands/acme/agents/remove?name=ann", url.Values{"confirm": {"ann"}})
	require.Equal(t, http.StatusNotFound, w.get("/console/brands/acme/agents/edit?name=ann"))

	w.refuses("/console/brands/acme/customers/add", url.Values{"remark": {script}})
	w.accepts("/console/brands/acme/customers/add", url.Values{"uniqueId": {"9"}})
	w.refuses("/console/brands/acme/customers/add", url.Values{"uniqueId": {"9"}})
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/customers/edit?id=1"))
	w.accepts("/console/brands/acme/customers/edit?id=1", w.with("uniqueId", "8"))
	w.accepts("/console/brands/acme/customers/end-sessions?id=1", url.Values{"confirm": {"1"}})
	w.accepts("/console/brands/acme/customers/remove?id=1", url.Values{"confirm": {"1"}})
	assert.Equal(t, http.StatusNotFound, w.get("/console/brands/acme/customers/edit?id=2"), "of the other brand")
}

// upload sends a file of agents.
func (w *world) upload(text string) int {
	w.t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	file, err := m.CreateFormFile("file", "agents.csv")
	require.NoError(w.t, err)
	_, err = io.WriteString(file, text)
	require.NoError(w.t, err)
	require.NoError(w.t, m.Close())
	r := httptest.NewRequest(http.MethodPost, "/console/brands/acme/agents/import", &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	return w.do(r).Code
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	const page = "/console/brands/acme/agents/import"
	require.Equal(t, http.StatusUnprocessableEntity, w.upload("username,active\nbob,true\n"+script+",maybe\n"))
	assert.Contains(t, w.body, "1 lines are wrong")
	assert.NotContains(t, w.body, "Import these agents")
	const good = "username,firstName\nbob,B\nann,A\n"
	require.Equal(t, http.StatusOK, w.upload(good))
	assert.Contains(t, w.body, "1 agents would be added, 1 changed")
	_, err := w.db.Agent(t.Context(), "acme", "bob")
	require.ErrorIs(t, err, directory.ErrNotFound, "a preview changes nothing")
	w.accepts(page, url.Values{"confirmed": {"yes"}, "csv": {good}})
	_, err = w.db.Agent(t.Context(), "acme", "bob")
	require.NoError(t, err)
	w.refuses(page, url.Values{})
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	event := func(action, reason string) directory.Event {
		return directory.Event{At: now, Brand: "acme", Action: action, Reason: reason, Ticket: "0a", Count: 1,
			Actor: directory.Actor{Kind: directory.ActorTicket, Name: "=1+1"}}
	}
	w.record([]directory.Event{
		event(directory.ActionIssueTicket, ""), event(directory.ActionEnter, ""),
		event(directory.ActionRefuseTicket, "spent"), event(directory.ActionRefuseTicket, script),
	})
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme"))
	for _, want := range []string{"1 issued, 1 admitted, 2 refused", `<th scope="row">spent</th>`,
		`<rect class="refused"`} {
		assert.Contains(t, w.body, want)
	}
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/audit?ticket=0a"))
	assert.Less(t, strings.Index(w.body, "ticket.issue"), strings.LastIndex(w.body, "ticket.refuse"))
	assert.Equal(t, http.StatusUnprocessableEntity, w.get("/console/brands/acme/audit?since=yesterday"))
	assert.Contains(t, w.body, `value="yesterday"`)
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/audit/export?format=csv&action=ticket.issue"))
	assert.Equal(t, 2, strings.Count(w.body, "\n"))
	assert.Contains(t, w.body, "'=1+1", "a spreadsheet computes nothing")
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/audit/export?format=json&action=ticket.issue"))
	assert.Contains(t, w.body, `"ticket":"0a"`)
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme/audit/export?format=json&ticket=none"))
	assert.Equal(t, "[]\n", w.body)
}

// The page of the issuers says who may issue what, and an administrator of a brand sees that
// brand's part. The overview of the brand has what needs attention.
func TestIssuersPage(t *testing.T) {
	w := newWorld(t)
	words := func() string {
		return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(w.body, " ")), " ")
	}
	require.Equal(t, http.StatusOK, w.get("/console/issuers"))
	text := words()
	for _, want := range []string{
		"partner may issue acme for agent and customer at most 5m also for many uses may change customers&#39; records claims plan,",
		"2.5 a second format 2 until", "last used 15 Jan 2027 08:00 UTC 0000000a, used 15 Jan 2027 08:00 UTC 0000000b",
		"0000000c, denied bundle 3 until", "portal may issue acme for agent format 1 never used 0000000d",
		"stolen denied acme", "Issuer stolen is denied", "Issuer portal was never used", "The grant of issuer partner ends in 9 days, at",
		"The bundle with the keys of issuer partner ends in",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "0000000f")
	assert.NotContains(t, text, "End sessions")
	require.Equal(t, http.StatusOK, w.get("/console/brands/acme"))
	assert.Contains(t, words(), "Issuer stolen is denied: none of its tickets is good. Look")

	w.caller.AllBrands, w.caller.Brands = true, nil
	require.Equal(t, http.StatusOK, w.get("/console/issuers"))
	assert.Contains(t, words(), "portal may issue End sessions all brands for agent")
	assert.Contains(t, words(), "0000000f")
	require.Equal(t, http.StatusOK, w.get("/console/brands/other"))
	assert.NotContains(t, words(), "Issuer stolen is denied")
	assert.Contains(t, words(), "Issuer other was never used")
	const end = "/console/issuers/end-sessions?name=partner"
	require.Equal(t, http.StatusOK, w.get(end))
	assert.Equal(t, http.StatusUnprocessableEntity, w.post(end, url.Values{"confirm": {"wrong"}}).Code)
	assert.Equal(t, http.StatusSeeOther, w.post(end, url.Values{"confirm": {"partner"}}).Code)
	since, err := w.db.IssuerSessionsSince(t.Context(), "partner")
	require.NoError(t, err)
	assert.NotZero(t, since)
	assert.Equal(t, http.StatusNotFound, w.get("/console/issuers/end-sessions?name=nobody"))
}
