package main

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

var (
	changeSeed  = flag.Uint64("seed", 0, "seed of TestRandomChanges; 0: a random one")
	changeCount = flag.Int("changes", 60, "changes of TestRandomChanges on each database")
)

// How old an answer may be, as the documents promise.
const (
	rememberedFile   = time.Millisecond
	rememberedServer = time.Second
	rememberedOwner  = 5 * time.Second // of a session
)

// changeStart are the values of the facts at the start.
var changeStart = map[string]string{
	"ticket login": "on", "API addresses": "any", "login addresses": "any", "longest lifetime": "long",
	"agent0": absent, "agent1": absent, "agent2": absent, "channel0": absent, "channel1": absent,
}

// changeWorld is a directory that commands of this process change, while services in other
// processes answer requests.
type changeWorld struct {
	t          *testing.T
	remembered time.Duration
	where      []string // flags of commands
	processes  []*process
	services   []demoInfo
	*rand.Rand // of the changes

	mu      sync.Mutex // of facts and their values, keys and answers
	facts   map[string]*fact
	keys    []changeKey
	answers []*answer
}

// A changeKey is an API key, and whether the key is good.
type changeKey struct {
	text string
	*fact
}

// newChangeWorld starts services on a directory: one on SQLite, or two on PostgreSQL.
func newChangeWorld(t *testing.T, database string, seed uint64) *changeWorld {
	t.Helper()
	w := &changeWorld{t: t, remembered: rememberedFile, Rand: rand.New(rand.NewPCG(seed, 0)), facts: map[string]*fact{}}
	for name, is := range changeStart {
		w.facts[name] = newFact(name, is)
	}
	dir := t.TempDir()
	w.where = []string{"--data", dir}
	args := []string{"--rate-limit", "1e6", "--rate-burst", "1000000", "--skew", "0s",
		"--trusted-proxies", "127.0.0.1", "--proxy-header", "X-Forwarded-For"}
	folders := []string{dir}
	if database == "postgres" {
		w.remembered = rememberedServer
		w.where = append(w.where, "--database", servers.Database(t))
		args = append(args, "--replay", servers.Database(t), "--replicas", "2")
		folders = append(folders, filepath.Join(t.TempDir(), "data"))
	}
	args = append(args, w.where[2:]...)
	p, info := startDemo(t, append([]string{"--listen", freeAddress(t)}, w.where...)...)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	for i, folder := range folders {
		if i > 0 {
			require.NoError(t, os.CopyFS(folder, os.DirFS(dir)))
			require.NoError(t, os.Chmod(filepath.Join(folder, "kek.key"), 0o600))
		}
	}
	for _, folder := range folders {
		address := freeAddress(t)
		p := start(t, append([]string{"serve", "--data", folder, "--listen", address}, args...)...)
		info.URL = "http://" + address
		info.LoginURL = info.URL + "/login"
		healthy(t, p, info.URL)
		w.processes, w.services = append(w.processes, p), append(w.services, info)
	}
	for range 2 {
		w.addKey()
	}
	return w
}

// trigger runs SQL on the directory, for a fault.
func (w *changeWorld) trigger(text string) {
	driver, place := "sqlite", "file:"+filepath.Join(w.where[1], "admitone.db")+"?_pragma=busy_timeout(10000)"
	if len(w.where) > 2 {
		driver, place = "pgx", w.where[3]
	}
	db, err := sql.Open(driver, place)
	require.NoError(w.t, err)
	defer db.Close()
	_, err = db.ExecContext(w.t.Context(), text)
	require.NoError(w.t, err)
}

// command runs a command in this process, and notes the new value of a fact.
func (w *changeWorld) command(f *fact, is string, args ...string) (stdout string) {
	w.mu.Lock()
	f.values = append(f.values, factValue{is: is, begin: time.Now()})
	w.mu.Unlock()
	stdout = administer(w.t, append(args, w.where...)...)
	w.mu.Lock()
	f.values[len(f.values)-1].end = time.Now()
	w.mu.Unlock()
	return stdout
}

func (w *changeWorld) addKey() changeKey {
	f := newFact(fmt.Sprintf("key %d", len(w.keys)), absent)
	k := changeKey{fact: f}
	k.text = w.command(f, "good", "apikey", "add", "--brands", "commbox", "--scopes", "issue,redeem",
		"--rate", "1000000", "--burst", "1000000")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = append(w.keys, k)
	return k
}

// change makes a random change, and wants requests about it answered: at once with SQLite
// and for a record that was added, else within a second.
func (w *changeWorld) change() (wrong string) {
	names := slices.Sorted(maps.Keys(changeStart))
	name := names[w.IntN(len(names))]
	// While the brand lets nobody in, there is little to see: that does not last.
	for _, n := range names {
		if is := w.facts[n].now(); strings.Contains(n, " ") && is != changeStart[n] && w.IntN(2) == 0 {
			name = n
		}
	}
	if w.IntN(6) == 0 {
		return w.changeKey()
	}
	if w.IntN(8) == 0 {
		return w.revoke()
	}
	f := w.facts[name]
	next := map[string][]string{
		"on": {"off"}, "off": {"on"},
		"any": {"here", "elsewhere"}, "here": {"any", "elsewhere"}, "elsewhere": {"any", "here"},
		"long": {"short"}, "short": {"long"}, absent: {"present"}, "present": {absent}, "inactive": {"present", absent},
	}[f.now()]
	if strings.HasPrefix(name, "agent") && f.now() == "present" {
		next = append(next, "inactive")
	}
	is := next[w.IntN(len(next))]
	args := map[string][]string{
		"on": {"--ticket-login=true"}, "off": {"--ticket-login=false"},
		"any": {""}, "here": {"10.0.0.0/8"}, "elsewhere": {"192.0.2.0/24"},
		"long": {"--max-lifetime=default"}, "short": {"--max-lifetime=30s"},
	}[is]
	switch {
	case strings.HasSuffix(name, "addresses"):
		args = []string{"brand", "set", "commbox", "--" + strings.ToLower(strings.ReplaceAll(name, " ", "-")) + "=" + args[0]}
	case args != nil:
		args = append([]string{"brand", "set", "commbox"}, args...)
	case strings.HasPrefix(name, "channel") && is == absent:
		args = []string{"channel", "remove", name, "--brand", "commbox"}
	case strings.HasPrefix(name, "channel"):
		args = []string{"channel", "add", name, "--brand", "commbox"}
	case is == absent:
		args = []string{"agent", "remove", name, "--brand", "commbox"}
	case f.now() == absent:
		args = []string{"agent", "add", name, "--brand", "commbox", "--email", "agent@example.com"}
	default:
		args = []string{"agent", "set", name, "--brand", "commbox", "--active=" + strconv.FormatBool(is == "present")}
	}
	w.command(f, is, args...)
	key := w.goodKey()
	return w.settle(func(c *changeClient) *answer {
		owner := f
		if strings.Contains(name, " ") {
			owner = w.facts["agent0"]
		}
		a, t := c.issue(key, owner)
		if t != nil && strings.HasPrefix(name, "login") {
			return c.redeem(key, t)
		}
		return a
	})
}

// changeKey revokes a key, or makes a new key in place of one that was revoked.
func (w *changeWorld) changeKey() string {
	k := w.keys[len(w.keys)-1-w.IntN(2)]
	if k.now() == "good" {
		w.command(k.fact, "revoked", "apikey", "revoke", strings.Split(k.text, "_")[1])
	} else {
		k = w.addKey()
	}
	return w.settle(func(c *changeClient) *answer { a, _ := c.issue(k, w.facts["agent0"]); return a })
}

// goodKey returns a key that is not revoked.
func (w *changeWorld) goodKey() changeKey {
	for _, k := range w.keys {
		if k.now() == "good" {
			return k
		}
	}
	return w.addKey()
}

// revoke revokes a new ticket, if somebody can have one. No service remembers that a ticket
// was not revoked.
func (w *changeWorld) revoke() string {
	key, c := w.goodKey(), w.client(w.IntN(1<<30))
	a, t := c.issue(key, w.facts[fmt.Sprintf("agent%d", w.IntN(3))])
	if t == nil {
		return a.mistake(false)
	}
	w.command(t.revoked, "revoked", "ticket", "revoke", t.text)
	return c.redeem(key, t).mistake(false)
}

// settle asks each service until its answer is right by the newest values, or wrong.
func (w *changeWorld) settle(ask func(*changeClient) *answer) string {
	for _, s := range w.services {
		c := w.client(w.IntN(1 << 30))
		c.services = []demoInfo{s}
		for {
			a := ask(c)
			if wrong := a.mistake(false); wrong != "" {
				return wrong
			}
			if a.mistake(true) == "" {
				break
			}
			time.Sleep(2 * time.Millisecond) // only spares the processor
		}
	}
	return ""
}

// run makes changes while clients ask, and returns the first mistake, or "".
func (w *changeWorld) run(changes int) string {
	work := make(chan bool, 2*20)
	var wg sync.WaitGroup
	for i := range 2 {
		c := w.client(i)
		wg.Go(func() {
			for range work {
				c.something()
			}
		})
	}
	stop := sync.OnceFunc(func() { close(work); wg.Wait() })
	defer stop()
	wrong := ""
	for i := range changes {
		for range cap(work) {
			select {
			case work <- true:
			default: // the clients are behind
			}
		}
		if wrong = w.change(); wrong != "" {
			wrong = fmt.Sprintf("after change %d: %s", i+1, wrong)
			break
		}
	}
	stop()
	for _, a := range w.answers {
		if wrong == "" {
			wrong = a.mistake(false)
		}
	}
	return wrong
}

// changeClient is a backend and a browser. Its requests are random.
type changeClient struct {
	*changeWorld
	*rand.Rand
	services []demoInfo
	tickets  []*changeTicket
	sessions []*changeSession
}

func (w *changeWorld) client(number int) *changeClient {
	return &changeClient{w, rand.New(rand.NewPCG(uint64(number), 1)), w.services, nil, nil}
}

// something sends a random request.
func (c *changeClient) something() {
	c.mu.Lock()
	n := c.Rand.IntN(2)
	key, other := c.keys[len(c.keys)-1-n], c.keys[len(c.keys)-2+n]
	if key.now() != "good" && c.Rand.IntN(3) > 0 {
		key = other
	}
	c.mu.Unlock()
	if n := len(c.sessions); n > 0 && c.Rand.IntN(3) == 0 {
		c.check(c.sessions[c.Rand.IntN(n)])
		return
	}
	if n := len(c.tickets); n > 0 && c.Rand.IntN(2) == 0 {
		i := n - 1 - min(c.Rand.IntN(n), c.Rand.IntN(n))
		t := c.tickets[i]
		c.tickets = slices.Delete(c.tickets, i, i+1)
		enter := t.agent && c.Rand.IntN(2) == 0
		a := (*answer)(nil)
		if enter {
			a = c.enter(t)
		} else {
			a = c.redeem(key, t)
		}
		if a.status != a.right && a.status != http.StatusServiceUnavailable { // the ticket is unspent
			c.tickets = append(c.tickets, t)
		}
		return
	}
	owner := fmt.Sprintf("agent%d", c.Rand.IntN(3))
	if c.Rand.IntN(4) == 0 {
		owner = fmt.Sprintf("channel%d", c.Rand.IntN(2))
	}
	if _, t := c.issue(key, c.facts[owner]); t != nil {
		c.tickets = append(c.tickets, t)
	}
}

// ask sends a request to one of the services, and notes the answer.
func (c *changeClient) ask(
	what, method, path, key, cookie, body string, right int, on ...condition,
) (*answer, *http.Response, []byte) {
	i := c.Rand.IntN(len(c.services))
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.services[i].URL+path, strings.NewReader(body))
	if !assert.NoError(c.t, err) {
		return &answer{}, nil, nil
	}
	// Each request has another client: a client that sends many bad keys is kept waiting.
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.1.%d.%d", c.Rand.IntN(256), c.Rand.IntN(256)))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	a := &answer{what: fmt.Sprintf("%s at %s", what, c.services[i].URL), from: time.Now(), right: right, on: on}
	res, err := http.DefaultTransport.RoundTrip(r)
	if !assert.NoError(c.t, err) {
		return &answer{}, nil, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	assert.NoError(c.t, err)
	a.to, a.status = time.Now(), res.StatusCode
	if a.status == http.StatusServiceUnavailable && slices.ContainsFunc(c.processes, (*process).busy) {
		a.on, a.right = nil, a.status
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, a)
	return a, res, text
}

// backend are the conditions of a request with an API key. expired is the status if the
// brand has a shorter longest lifetime, and off the status if the brand's ticket login is
// off.
func (c *changeClient) backend(key changeKey, lifetime, off int) []condition {
	return []condition{
		key.is(c.remembered, http.StatusUnauthorized, "good"),
		c.facts["API addresses"].is(c.remembered, http.StatusUnauthorized, "any", "here"),
		c.facts["ticket login"].is(c.remembered, off, "on"),
		c.facts["longest lifetime"].is(c.remembered, lifetime, "long"),
	}
}

// issue asks for a ticket for an agent, or for a customer of a channel.
func (c *changeClient) issue(key changeKey, owner *fact) (*answer, *changeTicket) {
	agent := strings.HasPrefix(owner.name, "agent")
	who := fmt.Sprintf(`"uniqueId":"c-%d","channel":%q`, c.Rand.IntN(100), owner.name)
	if agent {
		who = fmt.Sprintf(`"username":%q,"email":"agent@example.com"`, owner.name)
	}
	on := append(c.backend(key, http.StatusBadRequest, http.StatusNotImplemented),
		owner.is(c.remembered, http.StatusNotFound, "present"))
	a, _, body := c.ask("a ticket for "+owner.name, http.MethodPost, "/auth/ticket", key.text, "",
		`{"brand":"commbox","expiresIn":600,"oneTimeUse":true,`+who+`}`, http.StatusOK, on...)
	var e struct {
		Data struct{ EncpryptedString string }
	}
	if a.status != http.StatusOK || !assert.NoError(c.t, json.Unmarshal(body, &e)) {
		return a, nil
	}
	return a, &changeTicket{e.Data.EncpryptedString, owner, agent, a.from, a.to, newFact("the ticket", "good")}
}

// admission are the conditions of a ticket beside those of the place.
func (c *changeClient) admission(t *changeTicket) []condition {
	on := []condition{t.good(c.remembered, http.StatusForbidden), t.revoked.is(0, http.StatusForbidden, "good")}
	if t.agent {
		on = append(on, c.facts["login addresses"].is(c.remembered, http.StatusForbidden, "any", "here"))
	}
	return on
}

// redeem redeems a ticket as a backend.
func (c *changeClient) redeem(key changeKey, t *changeTicket) *answer {
	where := `"audience":"customer","channel":"` + t.owner.name + `"`
	if t.agent {
		where = `"audience":"agent"`
	}
	on := append(c.backend(key, http.StatusForbidden, http.StatusForbidden), c.admission(t)...)
	a, _, _ := c.ask(fmt.Sprintf("to redeem the ticket of %s for %s", clock(t.from), t.owner.name), http.MethodPost,
		"/auth/redeem", key.text, "", `{"ticket":"`+t.text+`","address":"10.1.1.1",`+where+`}`, http.StatusOK, on...)
	return a
}

// enter opens the login page with an agent's ticket.
func (c *changeClient) enter(t *changeTicket) *answer {
	on := append(c.admission(t), c.facts["ticket login"].is(c.remembered, http.StatusForbidden, "on"),
		c.facts["longest lifetime"].is(c.remembered, http.StatusForbidden, "long"))
	a, res, _ := c.ask(fmt.Sprintf("to enter with the ticket of %s for %s", clock(t.from), t.owner.name), http.MethodGet,
		"/login?ta="+t.text, "", "", "", http.StatusSeeOther, on...)
	if a.status == http.StatusSeeOther && assert.NotEmpty(c.t, res.Cookies()) {
		cookie := res.Cookies()[0]
		c.sessions = append(c.sessions,
			&changeSession{cookie.Name + "=" + cookie.Value, t.owner, a.from, a.to, c.remembered})
	}
	return a
}

// check asks as a proxy does.
func (c *changeClient) check(s *changeSession) {
	c.ask(fmt.Sprintf("the check of the session of %s for %s", clock(s.from), s.agent.name), http.MethodGet,
		"/auth/brand/commbox/check", "", s.cookie, "", http.StatusOK, s.good(rememberedOwner, http.StatusUnauthorized))
}

// tally counts the answers by request and status.
func (w *changeWorld) tally() map[string]int {
	n := make(map[string]int)
	for _, a := range w.answers {
		what, _, _ := strings.Cut(a.what, " at ")
		n[fmt.Sprint(what[:min(12, len(what))], "… ", a.status)]++
	}
	return n
}

// Random changes by commands of one process, while services in others issue tickets, redeem
// them, let people in and check sessions: no answer is older than the documents promise. A
// record that was added counts at once.
func TestRandomChanges(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			seed := *changeSeed
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("repeat with -seed %d", seed)
			changes := *changeCount
			if testing.Short() {
				changes /= 3
			}
			w := newChangeWorld(t, database, seed)
			wrong := w.run(changes)
			t.Log(w.tally())
			require.Empty(t, wrong)
			for _, p := range w.processes {
				assert.Equal(t, 0, p.end(syscall.SIGTERM))
			}
		})
	}
}

// TestRandomChanges finds a service that goes on with what it remembers.
func TestRandomChangesFind(t *testing.T) {
	t.Parallel()
	const keep = `CREATE TRIGGER kept AFTER UPDATE ON directory_state BEGIN
		UPDATE directory_state SET changes = OLD.changes; END`
	faults := map[string]string{
		"sqlite: changes do not count": keep,
		"postgres: changes do not count": `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
			CREATE TRIGGER kept BEFORE UPDATE ON directory_state FOR EACH ROW EXECUTE FUNCTION keep()`,
	}
	for name, text := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, _, _ := strings.Cut(name, ":")
			w := newChangeWorld(t, database, 1)
			w.trigger(text)
			wrong := w.run(200)
			t.Log(wrong)
			require.NotEmpty(t, wrong)
		})
	}
}
