//go:build unix

package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// A historyFault is a rule that a service breaks. The zero historyFault breaks none.
type historyFault struct {
	config  func(*Config)
	trigger string // SQL for SQLite
	wrap    func(*historyWorld, http.Handler) http.Handler
	columns func([]string) []string // changes what an import's file does not have
	// sessions changes how sessions are kept.
	sessions func(*historyWorld, *web.SessionConfig)
}

// historyWorld is a service for many histories, one after the other, each with brands of
// its own.
type historyWorld struct {
	*world
	fault    historyFault
	up       http.Handler
	silent   http.Handler // the same service, while the directory is silent
	owners   *owners
	sessions *web.Sessions
	away     *directory.DB // a directory that answers nothing
	runs     int
	failed   int            // place of the step at which the last run failed
	tally    map[string]int // answers, by the kind of the step
}

func newHistoryWorld(t *testing.T, dsn string, fault historyFault) *historyWorld {
	t.Helper()
	away, err := directory.Open(t.Context(), filepath.Join(t.TempDir(), "away.db"))
	require.NoError(t, err)
	require.NoError(t, away.Close())
	log := slog.New(slog.DiscardHandler)
	h := &historyWorld{fault: fault, away: away, tally: map[string]int{}}
	var config Config
	h.world = newWorldOn(t, dsn, func(c *Config) {
		keys, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
		require.NoError(t, err)
		h.owners = &owners{directory: c.Directory, log: log, now: c.Now, known: map[ownerKey]owner{}}
		sessions := web.SessionConfig{Keys: keys, Realm: "r", Now: c.Now, Insecure: true,
			PublicURL: "http://login.test", Refresh: h.owners.refresh}
		if fault.sessions != nil {
			fault.sessions(h, &sessions)
		}
		c.Sessions, err = web.NewSessions(sessions)
		require.NoError(t, err)
		h.sessions = c.Sessions
		c.Log, c.Skew = log, testSkew
		if fault.config != nil {
			fault.config(c)
		}
		config = *c
	})
	// The jobs of the directory go by the machine's clock: what they delete must not be in
	// time here.
	h.ns.Store(time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	h.up = h.server.Config.Handler
	config.Directory = away
	h.silent, err = New(config)
	require.NoError(t, err)
	if fault.wrap != nil {
		h.up, h.silent = fault.wrap(h, h.up), fault.wrap(h, h.silent)
	}
	return h
}

// historyRun is one history.
type historyRun struct {
	*historyWorld
	model  *historyModel
	step   step
	number int
	jars   map[int]map[string]string
}

// run takes the steps, and returns the first thing that is not as the model has it, or "".
func (h *historyWorld) run(steps []step) string {
	h.runs++
	h.owners.directory = h.directory
	r := &historyRun{historyWorld: h, model: newHistoryModel(h.now()), number: h.runs,
		jars: map[int]map[string]string{0: {}, 1: {}}}
	for i, s := range steps {
		h.failed = i
		r.model.now, r.step = h.now(), s
		wrong := r.do(s)
		if wrong == "" && strings.HasSuffix(s.op, "customer") {
			wrong = r.compareCustomers(nil)
		}
		if wrong != "" {
			return fmt.Sprintf("step %d: %s", s.id, wrong)
		}
	}
	return r.compareCustomers(nil)
}

// brand returns the name of a brand of this history.
func (r *historyRun) brand(i int) string { return fmt.Sprintf("%s-%d", historyBrands[i], r.number) }

// name returns the username of a step as it is spelled there.
func (s step) name() string {
	name := historyNames[s.who%len(historyNames)]
	if s.odd {
		name = strings.ToUpper(name)
	}
	return name
}

// agent returns the record that a step writes.
func (r *historyRun) agent(s step) directory.Agent {
	groups := [][]string{nil, {"staff"}, {"admins", "staff"}}[s.value%3]
	name, detail := historyNames[s.who%len(historyNames)], fmt.Sprint(s.detail%3)
	// A new agent is active if the file has no column for that.
	active := s.on || s.op == "import agent" && slices.Contains(columnsLeftOut(s), "active")
	return directory.Agent{Brand: r.brand(s.brand), Username: s.name(), Email: name + detail + "@example.com",
		FirstName: "F" + detail, LastName: "Doe", Groups: groups, Active: active}
}

// columnsLeftOut are the fields that the file of an import step does not have.
func columnsLeftOut(s step) (missing []string) {
	if s.who&2 != 0 {
		missing = append(missing, "active")
	}
	if s.who&4 != 0 {
		missing = append(missing, "groups")
	}
	if s.detail >= 3 {
		missing = append(missing, "email", "firstName", "lastName")
	}
	return missing
}

// customerOfStep returns the details of a customer: each identifier one of two, or none.
func customerOfStep(s step) directory.Customer {
	pick := func(n int, texts ...string) string { return texts[n%3] }
	c := directory.Customer{
		UniqueID:  pick(s.detail, "", "u1", "u2"),
		Email:     pick(s.detail/3, "", "e1@example.com", "e2@example.com"),
		Phone1:    pick(s.detail/9, "", "+442501234561", "+442501234562"),
		FirstName: fmt.Sprint("C", s.detail/27),
	}
	if s.detail/27 == 4 {
		c.Email = strings.ToUpper(c.Email)
	}
	if c.UniqueID+c.Email+c.Phone1 == "" {
		c.Email = "e1@example.com"
	}
	return c
}

// reply is an answer of the service.
type reply struct {
	status int
	header http.Header
	body   string
	set    map[string]bool // cookies that were set
}

// send sends a request, from a browser if there is one.
func (r *historyRun) send(browser int, method, target, body string, header map[string]string) reply {
	q := httptest.NewRequest(method, "http://login.test"+target, strings.NewReader(body))
	q.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:4711", r.number>>16&0xff, r.number>>8&0xff, r.number&0xff)
	for k, v := range header {
		q.Header.Set(k, v)
	}
	for name, value := range r.jars[browser] {
		q.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	handler := r.up
	if r.model.silent {
		handler = r.silent
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, q)
	res := w.Result()
	text, _ := io.ReadAll(res.Body)
	a := reply{res.StatusCode, res.Header, string(text), map[string]bool{}}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(r.jars[browser], c.Name)
			continue
		}
		r.jars[browser][c.Name], a.set[c.Name] = c.Value, true
	}
	r.tally[fmt.Sprint(r.step.op, " ", a.status)]++
	return a
}

// noBrowser is for requests of backends.
const noBrowser = -1

func (r *historyRun) call(key *modelKey, path, body string) reply {
	text := "adm_aaaaaaaaaa_" + strings.Repeat("a", 52)
	if key != nil {
		text = key.text
	}
	return r.send(noBrowser, http.MethodPost, path, body,
		map[string]string{"Authorization": "Bearer " + text, "Content-Type": "application/json"})
}

// outcomeOf is the kind of an answer of the directory to a change.
func outcomeOf(err error) string {
	var inUse *directory.InUseError
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, directory.ErrNotFound):
		return "not found"
	case errors.Is(err, directory.ErrExists):
		return "exists"
	case errors.As(err, &inUse):
		return "in use"
	}
	return err.Error()
}

// changed compares an answer of the directory with the model's.
func changed(err error, want string) string {
	if got := outcomeOf(err); got != want {
		return fmt.Sprintf("the change is answered %q, want %q", got, want)
	}
	return ""
}

// compareCustomers compares the customers of the history's brands with the model's.
// perhaps, if not nil, is a ticket that may have made a record of its own.
func (r *historyRun) compareCustomers(perhaps *modelTicket) string {
	for _, b := range r.model.brands {
		rows, err := r.directory.Customers(r.t.Context(), b.name, 0, 100)
		if err != nil {
			return err.Error()
		}
		for _, row := range rows {
			row.RecordID, row.Revision, row.Created, row.Updated = "", 0, time.Time{}, time.Time{}
			i := slices.IndexFunc(b.customers, func(c *modelCustomer) bool { return c.ID == row.ID })
			if i < 0 { // a new one
				want := row
				want.ID = 0
				i = slices.IndexFunc(b.customers, func(c *modelCustomer) bool { return c.Customer == want })
			}
			if i < 0 && perhaps != nil && perhaps.brand == b.name {
				if c := b.made(perhaps); b.recordOf(perhaps) == nil && c == withoutID(row) {
					perhaps.changed = r.model.addCustomer(b, c)
					i = len(b.customers) - 1
				}
			}
			if i < 0 {
				return fmt.Sprintf("customer %+v of %s should not be", row, b.name)
			}
			if b.customers[i].ID == 0 {
				b.customers[i].learn(row.ID)
			}
			if row != b.customers[i].Customer {
				return fmt.Sprintf("customer is %+v, want %+v", row, b.customers[i].Customer)
			}
		}
		if len(rows) != len(b.customers) {
			return fmt.Sprintf("%s has %d customers, want %d", b.name, len(rows), len(b.customers))
		}
	}
	return ""
}

func withoutID(c directory.Customer) directory.Customer { c.ID = 0; return c }
