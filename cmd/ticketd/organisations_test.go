package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// Two organisations issue to three login services, and rotate the keys that sign and the keys
// that open, by the commands of a timer. Each side gets the other's public keys as late as it
// may. No good ticket is refused. Then one organisation is denied, and is out everywhere.
//
// TICKETD_TEST_ROTATIONS sets the number of rotations.
//
// trap F18, trap F10: with real processes and clocks.
func TestOrganisations(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for rotations, and its services do little")
	}
	rotations := 8
	if text := os.Getenv("TICKETD_TEST_ROTATIONS"); text != "" {
		var err error
		rotations, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for seconds := 2; !rotateBetween(t, seconds, rotations); seconds *= 2 {
		t.Log("once more, with more time for public keys to travel")
	}
}

// organisations are two organisations and their services.
type organisations struct {
	t         *testing.T
	dir       string
	unit      time.Duration
	keyring   *command
	pairs     []pair
	processes []*process
	logins    []string // URLs
	rotated   atomic.Int64
	keyrings  atomic.Int64 // which have rotated
	late      atomic.Bool  // public keys came later than they may, on a machine that slow
	stop      chan struct{}
	work      sync.WaitGroup
	mu        sync.Mutex
	readersOf map[string][]func() uint64
	calm      atomic.Bool // no more tickets, and no more lists that are late
	clients   sync.WaitGroup

	admitted, refused, expired atomic.Int64
	faults                     sync.Map
}

// A pair is an issuer and a login service.
type pair struct {
	issuer string
	login  string // URL
	issue  func() (string, error)
}

// The policies, in units.
const published, propagation, lifetime, skew = 4, 1, 2, 1

func (o *organisations) path(name string) string { return filepath.Join(o.dir, name) }

func (o *organisations) ended() bool {
	select {
	case <-o.stop:
		return true
	default:
		return false
	}
}

// again does something until the end.
func (o *organisations) again(do func()) {
	o.work.Go(func() {
		for !o.ended() {
			do()
			time.Sleep(300 * time.Millisecond)
		}
	})
}

// rotateBetween reports whether what it saw tells anything.
func rotateBetween(t *testing.T, seconds, rotations int) bool {
	o := &organisations{t: t, dir: t.TempDir(), unit: time.Duration(seconds) * time.Second, stop: make(chan struct{}),
		readersOf: make(map[string][]func() uint64)}
	o.keyring = &command{t: t, exe: buildKeyring(t), dir: o.dir, env: []string{"ADMITONE_REALM=prod", "ADMITONE_KEK="}}
	end := sync.OnceFunc(func() {
		o.calm.Store(true)
		close(o.stop)
		o.clients.Wait()
		o.work.Wait()
	})
	defer end()
	o.prepare()
	for i := range 4 * len(o.pairs) {
		keep := o.unit * lifetime * 3 / 4 * time.Duration(i) / time.Duration(4*len(o.pairs))
		o.clients.Go(func() { o.client(o.pairs[i%len(o.pairs)], keep) })
	}
	unfit := func() bool { return o.late.Load() && o.refused.Load() > 0 }
	// Rotations begin before the services serve, which can take longer than all of them.
	few := func() bool { return o.refused.Load() == 0 && o.admitted.Load() <= int64(10*rotations) }
	last, seen := time.Now(), int64(0)
	for (o.rotated.Load() < int64(rotations) || o.keyrings.Load() < 5 || few()) && !unfit() {
		if n := o.rotated.Load(); n > seen {
			last, seen = time.Now(), n
		}
		require.Less(t, time.Since(last), time.Minute+30*o.unit, "nothing is promoted")
		time.Sleep(50 * time.Millisecond)
	}
	o.calm.Store(true)
	o.clients.Wait()
	t.Logf("%d rotations; %d entered, %d too late to tell, %d refused", o.rotated.Load(), o.admitted.Load(),
		o.expired.Load(), o.refused.Load())
	if unfit() {
		end()
		for _, p := range o.processes {
			_ = p.end(syscall.SIGTERM)
		}
		return false
	}
	if o.refused.Load() > 0 {
		o.faults.Range(func(_, text any) bool { t.Error(text); return true })
		for _, p := range o.processes {
			for line := range strings.Lines(p.stderr.String()) {
				if strings.Contains(line, "refused") || strings.Contains(line, "level=ERROR") {
					t.Log(line)
				}
			}
		}
	}
	assert.Zero(t, o.refused.Load())
	assert.Greater(t, o.admitted.Load(), int64(10*rotations))
	o.deny()
	end()
	for _, p := range o.processes {
		assert.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
	}
	return true
}

// prepare makes the organisations a and b. a has one login service and b has two.
func (o *organisations) prepare() {
	t := o.t
	cert, key := writePair(t)
	pem, err := os.ReadFile(cert)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	o.keyring.env = append(o.keyring.env, "SSL_CERT_FILE="+cert)

	self, err := os.Executable()
	require.NoError(t, err)
	ticketd := &command{t: t, exe: self, dir: o.dir, env: environ("ADMITONE_REALM=prod", "ADMITONE_DATABASE=directory.db")}
	logins := map[string]string{"login1": "a", "login2": "b", "login3": "b"} // by their organisations
	names := []string{"login1", "login2", "login3"}
	for _, org := range []string{"a", "b"} {
		o.keyring.run(0, "identity", org+".id", "--new", "-o", org+".id.pub")
	}
	for _, name := range names {
		ticketd.run(0, "init", "--role", "login", "--data", name)
		o.rotate(name+"/recipient.keyring", name+".pub", logins[name], name, 3)
	}
	ticketd.run(0, "brand", "add", "acme")
	ticketd.run(0, "agent", "add", "mary", "--brand", "acme", "--email", "mary@example.com")
	out := ticketd.run(0, "apikey", "add", "--brands", "acme", "--json")
	var made struct{ Key string }
	require.NoError(t, json.NewDecoder(strings.NewReader(out[strings.Index(out, "{"):])).Decode(&made))
	directory, err := os.ReadFile(o.path("directory.db"))
	require.NoError(t, err)

	// The login services' public keys travel to the issuers as files.
	for _, name := range names {
		o.lag(name+".pub", name+".brought", logins[name])
	}
	serve := func(args ...string) (*process, string) {
		address := freeAddress(t)
		database := filepath.Join(t.TempDir(), "directory.db") // of its own, as organisations have
		replace(t, database, directory)
		p := start(t, append([]string{"serve", "--database", database, "--realm", "prod", "--listen", address,
			"--metrics-listen", "127.0.0.1:0", "--max-lifetime", (lifetime * o.unit).String(), "--rate-limit", "1e6",
			"--rate-burst", "1000000", "--log-level", "info"}, args...)...)
		o.processes = append(o.processes, p)
		return p, address
	}
	issueAt := make(map[string]string) // address
	for org, login := range map[string]string{"a": "login1", "b": "login2"} {
		data := org
		ticketd.run(0, "init", "--role", "issue", "--data", data)
		o.keyring.run(0, "init", data+"/channel.keyring", "--kind", "channel", "--kek", "file:"+data+"/kek.key")
		o.rotate(data+"/issuer.keyring", org+".pub", org, org, 6)
		var p *process
		p, issueAt[org] = serve("--role", "issue", "--data", o.path(data), "--recipient", o.path(login+".brought"),
			"--recipient-identity", "verify:"+o.path(logins[login]+".id.pub"), "--issuer-name", org,
			"--login-url", "https://login.example.com", "--bundle", o.path(org+".pub"),
			"--bundle-identity", "verify:"+o.path(org+".id.pub"), "--tls-cert", cert, "--tls-key", key)
		p.logs("msg=listening")
		o.read(data+"/issuer.keyring", o.has(p, keyring.Issuer))
		o.read(login+".brought", o.has(p, keyring.RecipientPublic))
	}
	// Each organisation keeps one list of both, which travels to its login services.
	for _, org := range []string{"a", "b"} {
		for _, issuer := range []string{"a", "b"} {
			o.command("trust", "add", org+".list", issuer+".pub", "--fingerprint", o.fingerprint(issuer),
				"--brands", "acme", "--audiences", "agent", "--many-times", "--kek", "signed:"+org+".id",
				"--url", "https://"+issueAt[issuer]+"/.well-known/admitone/"+issuer+".pub")
		}
		o.again(func() { o.command("trust", "refresh", org+".list", "--now", "--kek", "signed:"+org+".id") })
		o.lag(org+".list", org+".list.brought", org)
	}
	for _, name := range names {
		org := logins[name]
		p, address := serve("--role", "login", "--data", o.path(name), "--trust", o.path(org+".list.brought"),
			"--trust-kek", "verify:"+o.path(org+".id.pub"), "--skew", (skew * o.unit).String())
		healthy(t, p, "http://"+address)
		o.read(name+"/recipient.keyring", o.has(p, keyring.Recipient))
		o.read(org+".list.brought", o.has(p, keyring.Trust))
		o.logins = append(o.logins, "http://"+address)
	}
	client := &http.Client{Transport: transport}
	for _, org := range []string{"a", "b"} {
		for i, name := range names {
			p := pair{issuer: org, login: o.logins[i]}
			if direct := map[string]string{"a": "login1", "b": "login2"}[org]; direct == name {
				p.issue = func() (string, error) { return askFor(client, "https://"+issueAt[org], made.Key) }
			} else {
				p.issue = o.program(org, name, logins[name])
			}
			o.pairs = append(o.pairs, p)
		}
	}
}

// program is an issuer that is no ticketd: a program with the library.
func (o *organisations) program(org, login, of string) func() (string, error) {
	t := o.t
	kek, err := kms.Open("file:"+o.path(org+"/kek.key"), nil)
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	ring, err := keyring.Open(o.path(org+"/issuer.keyring"), keyring.Config{
		Kind: keyring.Issuer, Realm: "prod", KEK: kek, Log: quiet,
	})
	require.NoError(t, err)
	identity, err := keyring.ParseIdentity(o.fingerprint(of))
	require.NoError(t, err)
	recipient, err := keyring.OpenRecipient(o.path(login+".brought"), login, keyring.Config{
		Realm: "prod", KEK: identity, Log: quiet,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = ring.Close(), recipient.Close() })
	o.read(org+"/issuer.keyring", func() uint64 { return ring.Report().Generation })
	o.read(login+".brought", func() uint64 { return recipient.Report().Generation })
	sealer, err := signed.NewSealer(org, ring, recipient)
	if err != nil && o.late.Load() {
		return func() (string, error) { return "", err }
	}
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: "prod", MaxLifetime: lifetime * o.unit})
	require.NoError(t, err)
	return func() (string, error) {
		return issuer.Issue(&token.Ticket{
			Audience: token.Agent, Brand: "acme", Username: "mary", Email: "mary@example.com", Lifetime: lifetime * o.unit,
		})
	}
}

// askFor asks a ticketd for a ticket.
func askFor(c *http.Client, url, key string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, url+"/auth/ticket",
		strings.NewReader(`{"brand":"acme","username":"mary","email":"mary@example.com","oneTimeUse":false}`))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var e struct {
		Description string
		Data        struct{ EncpryptedString string }
	}
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil || res.StatusCode != http.StatusOK {
		return "", errors.Join(fmt.Errorf("status %d: %s", res.StatusCode, e.Description), err)
	}
	return e.Data.EncpryptedString, nil
}

func (o *organisations) fingerprint(org string) string {
	return strings.TrimSpace(o.keyring.run(0, "identity", org+".id"))
}

// command runs a command of a timer, whose exit code says whether something is due.
func (o *organisations) command(args ...string) string {
	out, err := o.keyring.output(args...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && (!ok || exit.ExitCode() != 3 && exit.ExitCode() != 4) && !o.ended() {
		assert.NoError(o.t, err, "%v: %s", args, out)
	}
	return out
}

// rotate gives a keyring its policy, and keeps applying the policy and publishing the public keys.
func (o *organisations) rotate(file, bundle, org, name string, every int) {
	kek := "file:" + filepath.Dir(file) + "/kek.key"
	// A keyring keeps what its first policy promised, so it is made anew with this policy.
	for _, old := range []string{file, file + ".audit"} {
		require.NoError(o.t, os.Remove(o.path(old)))
	}
	key, err := kms.Open("file:"+o.path(filepath.Dir(file)+"/kek.key"), nil)
	require.NoError(o.t, err)
	kind := keyring.Kind(strings.TrimSuffix(filepath.Base(file), ".keyring"))
	require.NoError(o.t, keyring.Create(o.path(file), keyring.Config{Kind: kind, Realm: "prod", KEK: key}, keyring.Policy{
		Lifetime: lifetime * o.unit, Propagation: propagation * o.unit, Published: published * o.unit, Skew: skew * o.unit,
		RotateEvery: time.Duration(every) * o.unit, DestroyAfter: 2 * o.unit,
	}, ""))
	publish := []string{"publish", file, "-o", bundle, "--identity", org + ".id", "--name", name, "--kek", kek}
	o.keyring.run(0, publish...)
	first := true
	o.again(func() {
		began := time.Now()
		out := o.command("apply", file, "--kek", kek, "--json")
		var result struct {
			Generation uint64
			Changed    bool
			Done       []keyring.Step
		}
		if i := strings.Index(out, "{"); i >= 0 && json.NewDecoder(strings.NewReader(out[i:])).Decode(&result) == nil {
			for _, s := range result.Done {
				if s.Do == keyring.Promote {
					o.rotated.Add(1)
					if first {
						o.keyrings.Add(1)
					}
					first = false
				}
			}
		}
		o.command(publish...)
		o.wait(began.Add(skew*o.unit), nil, 0) // new keys have to be published by then
		if result.Changed {
			o.wait(began.Add(propagation*o.unit), o.readers(file), result.Generation)
		}
	})
}

// lag brings a signed file of an organisation to its readers as late as they may have it: the readers
// have the oldest version that is good for some more time.
func (o *organisations) lag(from, to, org string) {
	type version struct {
		data       []byte
		until      time.Time
		generation uint64
	}
	identity := o.identity(org)
	read := func() (v version, err error) {
		if v.data, err = os.ReadFile(o.path(from)); err == nil {
			v.until, v.generation, err = endOf(v.data, identity)
		}
		return v, err
	}
	first, err := read()
	require.NoError(o.t, err)
	replace(o.t, o.path(to), first.data)
	versions := []version{first}
	isList := strings.HasSuffix(from, ".list")
	o.again(func() {
		if isList && o.calm.Load() {
			return
		}
		if v, err := read(); err == nil && v.generation > versions[len(versions)-1].generation {
			versions = append(versions, v)
		}
		before, now := versions[0], time.Now()
		for len(versions) > 1 && now.Add(o.unit*3/2).After(versions[0].until) {
			versions = versions[1:]
		}
		if versions[0].generation == before.generation {
			return
		}
		replace(o.t, o.path(to), versions[0].data)
		o.wait(before.until, o.readers(to), versions[0].generation)
	})
}

// readers returns the readers of a file.
func (o *organisations) readers(file string) []func() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.readersOf[file]
}

// read notes a reader of a file. generation returns that of the file in its use.
func (o *organisations) read(file string, generation func() uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readersOf[file] = append(o.readersOf[file], generation)
}

// wait waits until the readers have a generation. It notes if that took until after a time: then the
// policy does not fit the machine.
func (o *organisations) wait(end time.Time, readers []func() uint64, generation uint64) {
	for _, reader := range readers {
		for reader() < generation && !o.ended() {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if time.Now().After(end) {
		o.late.Store(true)
	}
}

// has returns a reader: a process with the file of a kind.
func (o *organisations) has(p *process, kind keyring.Kind) func() uint64 {
	url := strings.TrimSuffix(p.scrapeURL(), "/metrics") + "/keyring"
	return func() uint64 {
		res, err := http.Get(url)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		var r struct{ Keyrings []keyring.Report }
		_ = json.NewDecoder(res.Body).Decode(&r)
		for _, k := range r.Keyrings {
			if k.Kind == kind {
				return k.Generation
			}
		}
		return 0
	}
}

// endOf returns the end of a bundle, or the first end of the bundles in a trust list, and the generation.
func endOf(file []byte, id keyring.Identity) (end time.Time, generation uint64, err error) {
	var d keyring.Document
	for _, kind := range []keyring.Kind{keyring.Trust, keyring.RecipientPublic} {
		if d, err = keyring.DecodeDocument("", file, keyring.Config{Kind: kind, Realm: "prod", KEK: id}); err == nil {
			break
		}
	}
	if err != nil {
		return end, 0, err
	}
	var content struct {
		Until   time.Time
		Issuers []struct{ Until time.Time }
	}
	err = json.Unmarshal(d.Content, &content)
	end = content.Until
	for _, is := range content.Issuers {
		if end.IsZero() || is.Until.Before(end) {
			end = is.Until
		}
	}
	return end, d.Generation, err
}

func (o *organisations) enter(login, ticket string) int {
	status, _, err := enter(login+"/login", ticket)
	if err != nil {
		return 0
	}
	return status
}

// client enters with tickets that it keeps for a while.
func (o *organisations) client(p pair, keep time.Duration) {
	for !o.calm.Load() {
		began := time.Now()
		ticket, err := p.issue()
		status := 0
		if err == nil {
			time.Sleep(keep)
			status = o.enter(p.login, ticket)
		}
		switch {
		case status == http.StatusSeeOther:
			o.admitted.Add(1)
		case time.Since(began) >= lifetime*o.unit:
			o.expired.Add(1)
		default:
			o.refused.Add(1)
			o.faults.Store(began, fmt.Sprintf("%s at %s after %v: status %d, %v",
				p.issuer, p.login, time.Since(began), status, err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// deny ends the issuer b at all login services: as soon as one has the list, no ticket of b is good
// there, and all of a are.
func (o *organisations) deny() {
	t := o.t
	last := make(map[string]string)
	for _, p := range o.pairs {
		ticket, err := p.issue()
		require.NoError(t, err, p.issuer)
		last[p.issuer+p.login] = ticket
	}
	began := time.Now()
	for _, org := range []string{"a", "b"} {
		o.command("trust", "refresh", org+".list", "--now", "--kek", "signed:"+org+".id") // the last keys
		o.command("trust", "deny", org+".list", "b", "--reason", "ended", "--end-sessions", "--kek", "signed:"+org+".id")
		data, err := os.ReadFile(o.path(org + ".list"))
		require.NoError(t, err)
		_, generation, err := endOf(data, o.identity(org)) // of what was read: the list is refreshed meanwhile
		require.NoError(t, err)
		replace(t, o.path(org+".list.brought"), data)
		brought := time.Now()
		for i, p := range o.processes[2:] {
			if (i == 0) == (org == "a") {
				p.logs(fmt.Sprintf("list.brought generation=%d\n", generation))
				t.Logf("login service %d has the list after %v", i+1, time.Since(brought).Round(time.Millisecond))
			}
		}
	}
	for _, p := range o.pairs {
		status := o.enter(p.login, last[p.issuer+p.login])
		switch {
		case p.issuer == "b":
			assert.Equal(t, http.StatusForbidden, status, p.login)
		case time.Since(began) < lifetime*o.unit:
			assert.Equal(t, http.StatusSeeOther, status, p.login)
		}
	}
}

func (o *organisations) identity(org string) keyring.Identity {
	id, err := keyring.ParseIdentity(o.fingerprint(org))
	require.NoError(o.t, err)
	return id
}
