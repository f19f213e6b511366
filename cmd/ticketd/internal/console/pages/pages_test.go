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

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/web"
)

const script = `<script>alert("x")</script>`

// world is the pages of a directory with two brands, for a caller whom tests set.
type world struct {
	t      *testing.T
	db     *directory.DB
	caller manage.Caller
	visit  Visit
	err    error
	h      http.Handler
	body   string
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
	}
	w.h = New(Config{
		Office: &manage.Office{
			Directory: db, Now: time.Now,
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
	w.caller = manage.Caller{Actor: actor, Role: manage.Admin, Brands: []string{"acme"}}
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
	"/console/api-keys", "/console/api-keys/add", "/console/brands", "/console/brands/acme",
	"/console/brands/acme/settings",
	"/console/brands/acme/end-sessions",
	"/console/brands/acme/agents", "/console/brands/acme/agents?q=script", "/console/brands/acme/agents/add",
	"/console/brands/acme/agents/edit?name=ann", "/console/brands/acme/agents/import",
	"/console/brands/acme/agents/remove?name=ann", "/console/brands/acme/agents/end-sessions?name=ann",
	"/console/brands/acme/customers", "/console/brands/acme/customers?q=1", "/console/brands/acme/customers/add",
	"/console/brands/acme/customers/edit?id=1", "/console/brands/acme/customers/remove?id=1",
	"/console/brands/acme/customers/end-sessions?id=1",
	"/console/brands/acme/channels", "/console/brands/acme/channels/add", "/console/brands/acme/channels/edit?id=web",
	"/console/brands/acme/channels/remove?id=web",
	"/console/brands/acme/audit", "/console/brands/acme/audit?kind=agent&name=ann",
	"/console/brands/acme/audit/export?format=csv", "/console/brands/acme/audit/export?format=json",
}

var deploymentPaths = []string{
	"/console/audit", "/console/audit/export?format=json", "/console/keyrings", "/console/brands/add",
	"/console/brands/acme/remove",
}

// isForm tells the pages that are for admins only.
var isForm = regexp.MustCompile(`/(add|remove|end-sessions|import)($|\?)`)

func TestPagesOfARole(t *testing.T) {
	for _, role := range []manage.Role{manage.Admin, manage.Auditor} {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t)
			w.caller.Role = role
			before, err := w.db.LastEvent(t.Context())
			require.NoError(t, err)
			for _, path := range paths {
				want := http.StatusOK
				if role == manage.Auditor && isForm.MatchString(path) {
					want = http.StatusForbidden
				}
				assert.Equal(t, want, w.get(path), path)
				assert.NotContains(t, w.body, `>other<`, path)
				if role == manage.Auditor {
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
}

func TestNobody(t *testing.T) {
	w := newWorld(t)
	w.err = web.ErrNoSession
	assert.Equal(t, http.StatusUnauthorized, w.get("/console/brands/acme"))
	assert.NotContains(t, w.body, "acme")
	w.err = errors.New("away")
	assert.Equal(t, http.StatusInternalServerError, w.get("/console/brands/acme"))
	assert.NotContains(t, w.body, "away")
}

var keyForm = regexp.MustCompile(`value="(adm_[a-z2-7]{10}_[a-z2-7]{52})"`)

func TestAPIKeys(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, http.StatusOK, w.get("/console/api-keys/add"))
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
