package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/api/apitest"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/keyring"
)

var loadContract = sync.OnceValues(func() (routers.Router, error) {
	openapi3filter.RegisterBodyDecoder("application/merge-patch+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.FileBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// A world is the administration of an own and an other brand.
type world struct {
	*testing.T
	directory *directory.DB
	service   apitest.Service
	url       string
	log       *bytes.Buffer
	mu        sync.Mutex // of log
}

func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// newWorld serves the administration of a directory.
func newWorld(t *testing.T, dsn string) *world {
	t.Helper()
	w := &world{T: t, log: new(bytes.Buffer)}
	var err error
	w.directory, err = directory.Open(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.directory.Close()) })
	for _, brand := range []string{"own", "other"} {
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: brand, Region: "GB"}))
		require.NoError(t, w.directory.AddAgent(t.Context(), directory.Agent{Brand: brand, Username: "ann"}))
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: brand, ID: "web"}))
		_, err := w.directory.AddCustomer(t.Context(), directory.Customer{Brand: brand, UniqueID: "1"})
		require.NoError(t, err)
		require.NoError(t, w.directory.AddAdministrator(t.Context(), directory.Administrator{
			Username: brand, Role: directory.RoleAdmin, Brands: []string{brand}, Active: true}))
	}
	require.NoError(t, w.directory.SeeIssuers(t.Context(), "service", time.Now(), []directory.IssuerEntry{
		{Name: "portal", Brands: []string{"other", "own"}, Audiences: []string{"agent"}, MaxLifetime: 5 * time.Minute,
			Until: time.Unix(2e9, 0).UTC(), Rate: 2.5, Format: 1, Keys: []string{"00000001"}},
		{Name: "own", Brands: []string{"own"}, Format: 1},
		{Name: "other", Brands: []string{"other"}, Format: 2, DeniedKeys: []string{"00000002"}, Generation: 3,
			BundleUntil: time.Unix(2e9, 0).UTC()},
	}))
	require.NoError(t, w.directory.NoteIssuerUses(t.Context(), map[directory.IssuerKey]time.Time{
		{Issuer: "portal", Key: "00000001"}: time.Unix(1, 0),
	}))
	w.service = apitest.New(t, w.directory)
	office := &manage.Office{
		Directory: w.directory, Now: time.Now, Tickets: w.service.Tickets, LoginURL: "https://x/login",
		ChatURL: func(brand, channel string) (string, error) { return "https://x/chat/" + brand + "." + channel, nil },
		Keyrings: func() []keyring.Report {
			return []keyring.Report{{Info: keyring.Info{Keys: []keyring.Key{}}, Use: []keyring.KeyUse{}}}
		},
		Health:   []manage.Check{{Name: "store", Ask: func(context.Context) error { return errors.New("away") }}},
		Settings: []manage.Setting{{Name: "listen", Value: ":8080"}},
	}
	gate := api.NewGate(api.Config{
		Directory: w.directory, Metrics: metrics.New(), Now: time.Now, Log: slog.New(slog.NewTextHandler(w, nil)),
		Limiter: ratelimit.NewLocal(1000, nil), Limit: ratelimit.Limit{Rate: 1e5, Burst: 1e5},
	})
	links := func(_ context.Context, key directory.APIKey, by directory.Actor, username string) (Link, error) {
		if username != "ann" {
			return Link{}, directory.ErrNotFound
		}
		url := "https://console.example/" + by.Name + "/" + by.Remote
		return Link{URL: url, TicketID: strings.Repeat("0a", 16), Expires: time.Unix(1, 0).UTC()}, nil
	}
	server := httptest.NewServer(gate.Guard(New(office, gate, links)))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// key makes an API key and returns it for its holder.
func (w *world) key(brands []string, scopes ...directory.Scope) string {
	w.Helper()
	k := directory.APIKey{Scopes: scopes, Brands: brands, AllBrands: brands == nil}
	bearer, err := w.directory.CreateAPIKey(w.Context(), k)
	require.NoError(w, err)
	return bearer
}

// A reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// object is the body.
func (r reply) object(t *testing.T) (v map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

// ask sends a request, and holds the answer and an accepted request against the document.
// headers are names and values by turns.
func (w *world) ask(key, method, path, body string, headers ...string) reply {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w, err)
	r.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(w, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.NoError(w, err)
	assert.NoError(w, checkContract(r, body, res, got), "%s %s: %d %s", method, path, res.StatusCode, got)
	return reply{res.StatusCode, res.Header, string(got)}
}

// checkContract returns how an answer, or an accepted request, departs from the document.
func checkContract(r *http.Request, sent string, res *http.Response, got []byte) error {
	router, err := loadContract()
	if err != nil {
		return err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(strings.NewReader(sent))
	route, parameters, err := router.FindRoute(r)
	if err != nil {
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return nil
		}
		return err
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true, SkipSettingDefaults: true},
	}
	if res.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			return err
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(got)),
		Options: in.Options,
	})
}
