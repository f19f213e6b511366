//go:build unix

package api

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// historyFaults are services that break one rule each. TestHistories must find them.
var historyFaults = map[string]historyFault{
	"a session belongs to a name": {sessions: func(h *historyWorld, c *web.SessionConfig) {
		next := c.Refresh
		c.Refresh = func(ctx context.Context, s web.Session) (web.Session, error) {
			if a, _, err := h.directory.AgentOfSession(ctx, s.Brand, s.User); err == nil {
				s.Record = a.RecordID
			}
			return next(ctx, s)
		}
	}},
	"an activated agent keeps the ID": {trigger: `AFTER UPDATE OF active ON agent WHEN NEW.active AND NOT OLD.active BEGIN
		UPDATE agent SET record = OLD.record WHERE brand = NEW.brand AND username_fold = NEW.username_fold; END`},
	"a removed brand leaves no tombstone": {trigger: `AFTER INSERT ON departed WHEN NEW.kind = 'brand' BEGIN
		DELETE FROM departed WHERE brand = NEW.brand AND kind = 'brand'; END`},
	"an agent leaves no tombstone": {trigger: `AFTER INSERT ON departed WHEN NEW.kind = 'agent' BEGIN
		DELETE FROM departed WHERE brand = NEW.brand AND kind = 'agent' AND name = NEW.name; END`},
	"a removed channel leaves no tombstone": {trigger: `AFTER INSERT ON departed WHEN NEW.kind = 'channel' BEGIN
		DELETE FROM departed WHERE brand = NEW.brand AND kind = 'channel' AND name = NEW.name; END`},
	"a channel that was made again keeps its ID": {trigger: `AFTER INSERT ON channel BEGIN
		UPDATE channel SET record = NEW.id WHERE brand = NEW.brand AND id = NEW.id; END`},
	"a name that returned has no skew": {config: func(c *Config) { c.Skew = 0 }},
	"an import without the column active activates": {columns: func(missing []string) []string {
		return slices.DeleteFunc(slices.Clone(missing), func(f string) bool { return f == "active" })
	}},
	"an import without the column groups removes groups": {columns: func(missing []string) []string {
		return slices.DeleteFunc(slices.Clone(missing), func(f string) bool { return f == "groups" })
	}},
	"the check takes any brand": {wrap: func(_ *historyWorld, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i := strings.Index(r.URL.Path, "/check"); strings.HasPrefix(r.URL.Path, "/auth/brand/") {
				r.URL.Path = "/auth" + r.URL.Path[i:]
			}
			next.ServeHTTP(w, r)
		})
	}},
	"the looser policy wins": {wrap: func(h *historyWorld, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t, ok := h.ticketIn(r)
			own, err := h.sessions.Current(nil, r, t.Audience)
			if ok && err == nil && own.Brand != t.Brand {
				theirs, _, _ := h.directory.BrandChannel(r.Context(), own.Brand, own.Channel)
				if b, _, err := h.directory.BrandChannel(r.Context(), t.Brand, ""); err == nil && b.OtherUser == "" &&
					theirs.OtherUser != "" {
					r.Header.Del("Cookie")
				}
			}
			next.ServeHTTP(w, r)
		})
	}},
	"the check tells what was so half a minute ago": {sessions: func(h *historyWorld, c *web.SessionConfig) {
		next, known, asked := c.Refresh, map[string]web.Session{}, map[string]time.Time{}
		c.Refresh = func(ctx context.Context, s web.Session) (fresh web.Session, err error) {
			if s, ok := known[s.ID]; ok && h.now().Sub(asked[s.ID]) < 30*time.Second {
				return s, nil
			}
			if fresh, err = next(ctx, s); err == nil {
				known[s.ID], asked[s.ID] = fresh, h.now()
			}
			return fresh, err
		}
	}},
	"a session lasts a day": {sessions: func(_ *historyWorld, c *web.SessionConfig) {
		c.Lifetime, c.Idle = 24*time.Hour, 2*time.Hour
	}},
	"ended sessions of a customer stay": {trigger: `AFTER UPDATE OF record ON customer BEGIN
		UPDATE customer SET record = OLD.record WHERE id = NEW.id; END`},
	"a revoked ticket admits": {trigger: `AFTER INSERT ON revocation BEGIN
		DELETE FROM revocation WHERE brand = NEW.brand AND ticket = NEW.ticket; END`},
	"a revoked key is good": {trigger: `AFTER UPDATE OF revoked ON api_key WHEN NEW.revoked IS NOT NULL BEGIN
		UPDATE api_key SET revoked = NULL WHERE id = NEW.id; END`},
	"a phone number is enough": {wrap: issueWith(func(body map[string]any) {
		if body["phone1"] != nil {
			delete(body, "uniqueId")
			delete(body, "email")
		}
	})},
	"a ticket overrides unasked": {wrap: issueWith(func(body map[string]any) { body["overrideUserInfo"] = true })},
	"a ticket overrides twice": {trigger: `AFTER INSERT ON redemption BEGIN
		DELETE FROM redemption WHERE brand = NEW.brand AND ticket = NEW.ticket; END`},
	"a ticket overrides before the claim": {wrap: func(h *historyWorld, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if t, ok := h.ticketIn(r); ok && t.Audience == token.Customer && t.OverrideUserInfo {
				_, _, _ = h.directory.ResolveCustomer(r.Context(), t.Brand, customerOf(t),
					directory.Redemption{Ticket: t.ID.String(), Expires: t.Expires(), Override: true})
			}
			next.ServeHTTP(w, r)
		})
	}},
	"an outage is told as a refusal": {wrap: answering(func(r *http.Request, _ string, res, _ *recorder) {
		if res.Code == http.StatusServiceUnavailable && isCheck.MatchString(r.URL.Path) {
			res.Code = http.StatusUnauthorized
		}
	})},
	"the last answer counts for ever": {wrap: answering(func(r *http.Request, _ string, res, last *recorder) {
		if last != nil && res.Code == http.StatusServiceUnavailable && isCheck.MatchString(r.URL.Path) {
			*res = *last
		}
	})},
	"a retry is admitted at any time": {wrap: answering(func(_ *http.Request, body string, res, last *recorder) {
		if last != nil && strings.Contains(res.Body.String(), "already_used") && strings.Contains(body, "binding") {
			*res = *last
		}
	})},
	"a retry needs no binding": {wrap: answering(func(_ *http.Request, _ string, res, last *recorder) {
		if last != nil && strings.Contains(res.Body.String(), "already_used") {
			*res = *last
		}
	})},
}

// ticketIn returns the ticket of a request.
func (h *historyWorld) ticketIn(r *http.Request) (t token.Ticket, ok bool) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	for _, text := range []string{r.URL.RawQuery, string(body)} {
		if i := strings.Index(text, "tkt1_"); i >= 0 {
			text = text[i:]
			if end := strings.IndexAny(text, `"&`); end >= 0 {
				text = text[:end]
			}
			return t, h.open(text, &t) == nil
		}
	}
	return t, false
}

// issueWith changes the requests for tickets.
func issueWith(change func(body map[string]any)) func(*historyWorld, http.Handler) http.Handler {
	return func(_ *historyWorld, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/auth/ticket" {
				body := map[string]any{}
				_ = json.NewDecoder(r.Body).Decode(&body)
				if body["username"] == nil {
					change(body)
				}
				changed, _ := json.Marshal(body)
				r.Body = io.NopCloser(bytes.NewReader(changed))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A changeAnswer changes an answer. last is the last good answer to the same request, or nil.
type changeAnswer func(r *http.Request, body string, res, last *recorder)

type recorder = httptest.ResponseRecorder

// answering changes answers.
func answering(change changeAnswer) func(*historyWorld, http.Handler) http.Handler {
	good := map[string]*httptest.ResponseRecorder{}
	return func(_ *historyWorld, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			request := fmt.Sprint(r.URL, r.Header["Cookie"], string(body))
			res := httptest.NewRecorder()
			next.ServeHTTP(res, r)
			change(r, string(body), res, good[request])
			text := res.Body.String()
			if res.Code == http.StatusOK {
				kept := *res
				kept.Body = bytes.NewBufferString(text)
				good[request] = &kept
			}
			maps.Copy(w.Header(), res.Header())
			w.WriteHeader(res.Code)
			_, _ = io.WriteString(w, text)
		})
	}
}

// find runs histories until one fails, and returns its steps up to the failure.
func (h *historyWorld) find(seed uint64) (steps []step, wrong string) {
	for i := range 3000 {
		steps = newHistory(rand.New(rand.NewPCG(seed, uint64(i))), *historySteps)
		if wrong = h.run(steps); wrong != "" {
			h.t.Logf("found in history %d: %s", i, wrong)
			return steps[:h.failed+1], wrong
		}
	}
	h.t.Fatal("no history finds the fault")
	return nil, ""
}

func newFaultyWorld(t *testing.T, fault historyFault) *historyWorld {
	t.Helper()
	file := filepath.Join(t.TempDir(), "directory.db")
	h := newHistoryWorld(t, file, fault)
	if fault.trigger != "" {
		db, err := sql.Open("sqlite", "file:"+file)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "CREATE TRIGGER fault "+fault.trigger)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	return h
}

// Each service that breaks a rule is found, and by nothing else than the fault: a sound
// service passes the same history.
func TestHistoriesFindFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it tests a test")
	}
	t.Parallel()
	seed := seedOfHistories(t)
	for name, fault := range historyFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps, _ := newFaultyWorld(t, fault).find(seed)
			sound := newFaultyWorld(t, historyFault{})
			require.Empty(t, sound.run(steps))
		})
	}
}

// A failing history is told without the steps that do not matter.
func TestShortestHistory(t *testing.T) {
	t.Parallel()
	h := newFaultyWorld(t, historyFaults["a revoked ticket admits"])
	steps, _ := h.find(seedOfHistories(t))
	steps = h.shortest(steps)
	text := describeHistory(steps)
	t.Logf("%s\n%s", h.run(steps), text)
	require.LessOrEqual(t, len(steps), 9)
	require.Regexp(t, `(?s)add brand.*add key.*issue to.*revoke ticket`, text)
}
