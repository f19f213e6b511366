package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// The second implementation of the tickets' formats, in TypeScript on WebCrypto. The programs in
// testdata/webcrypto run it in Node, from the JavaScript beside it.
const (
	webcrypto = "../examples/webcrypto"
	module    = webcrypto + "/admitone.mjs"
)

// needs returns the path of a program. It skips the test where the program is missing, and fails
// the test on CI.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(program, "is not installed")
	}
	require.NoError(t, err)
	return path
}

// node runs a program of testdata/webcrypto and returns its output. A program that has something
// to complain of writes to the standard error.
func node(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	args[0] = filepath.Join("testdata", "webcrypto", args[0])
	cmd := exec.CommandContext(t.Context(), needs(t, "node"), append([]string{"--no-warnings"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	require.Empty(t, stderr.String())
	return strings.TrimSpace(stdout.String())
}

// The vectors of keys whose algorithms WebCrypto lacks.
var notInWebCrypto = []string{
	"signed/good-ecdsa-xwing", "signed/good-ed25519-xwing",
	"vectors/forged-gcm-siv-changed", "vectors/forged-gcm-siv-realm", "vectors/forged-gcm-siv-short",
	"vectors/good-gcm-siv",
	"vectors/forged-xchacha-changed", "vectors/forged-xchacha-realm", "vectors/forged-xchacha-short",
	"vectors/good-xchacha",
}

// The second implementation agrees with every golden vector.
func TestForeignVectors(t *testing.T) {
	t.Parallel()
	var got struct {
		Agreed       int
		NotSupported []string
	}
	require.NoError(t, json.Unmarshal([]byte(node(t, "", "vectors.mjs", "../testdata", module)), &got))
	assert.ElementsMatch(t, notInWebCrypto, got.NotSupported)
	all, err := filepath.Glob("../testdata/*/*.txt")
	require.NoError(t, err)
	assert.Equal(t, len(all)-len(notInWebCrypto), got.Agreed)
	assert.Greater(t, got.Agreed, 500)
}

// Each fault of testdata/webcrypto/mutants.json in the second implementation is caught by a golden vector, or it is
// no fault, for the reason given there.
func TestForeignMutants(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs hundreds of decoders")
	}
	var counts struct{ Caught, Survived int }
	out := node(t, "", "mutants.mjs", "../testdata", module, "testdata/webcrypto/mutants.json")
	require.NoError(t, json.Unmarshal([]byte(out), &counts))
	assert.GreaterOrEqual(t, counts.Caught, 320)
	assert.LessOrEqual(t, counts.Survived, 15)
}

// The second implementation makes the random tickets of SPEC.md from the page's draws.
func TestForeignRandomTickets(t *testing.T) {
	t.Parallel()
	spec, err := os.ReadFile("../token/SPEC.md")
	require.NoError(t, err)
	out := strings.Fields(node(t, "", "random.mjs", module))
	require.Len(t, out, 2)
	for _, value := range out {
		assert.True(t, strings.Contains(string(spec), "    "+value+"\n"), "SPEC.md does not have %s", value)
	}
}

// The second implementation opens what this one issues, and the other way round, in each algorithm.
func TestForeignTickets(t *testing.T) {
	t.Parallel()
	read := func(name string) json.RawMessage {
		b, err := os.ReadFile(filepath.Join("../testdata", name))
		require.NoError(t, err)
		return b
	}
	people := []token.Ticket{
		{Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "john.d"},
		{Audience: token.Customer, OverrideUserInfo: true, Brand: "b", Email: "zoë@example.com", FirstName: "日本",
			Phone1: "+12121234567", Remark: strings.Repeat("<b>", 100), Channel: "web",
			Claims: map[string]string{"tier": "gold", "10": "x"}},
		{Audience: token.Customer, Brand: "b", UniqueID: strings.Repeat("u", 255),
			Claims: map[string]string{"__proto__": "x"}},
	}
	// A way is a pair of keys, by which both implementations issue and open tickets.
	type way struct {
		name   string
		config map[string]any // of the other issuer
		issuer *token.Issuer
		verify Config
	}
	var ways []way
	add := func(name string, config map[string]any, c token.Config, v Config) {
		c.Realm, config["realm"] = "größe", "größe"
		issuer, err := token.NewIssuer(c)
		require.NoError(t, err)
		v.Realm, v.AnyBrand, v.Store, v.Skew = "größe", true, newStore(t, time.Now), Skew
		ways = append(ways, way{name, config, issuer, v})
	}
	for _, primary := range []uint32{primaryKey, xaesKey, xaesKey2} {
		keys := withPrimary(t, read("vectors/keyset.json"), primary)
		opener := keysetOf(t, keys)
		add(token.KeyID(primary).String(), map[string]any{"keys": keys}, token.Config{Sealer: opener}, Config{Opener: opener})
	}
	for _, to := range []uint32{0x0a0a0a0a, 0x0a0a0a10} {
		for _, by := range []uint32{0x0b0b0b0b, 0x0b0b0b10} {
			recipient, signing := withPrimary(t, read("signed/recipient.json"), to), withPrimary(t, read("signed/acme.json"), by)
			service, acme := serviceOf(t, handleOf(t, recipient)), organisationOf(t, "acme", handleOf(t, signing))
			sealer, err := signed.NewSealer("acme", acme.signer, service.public)
			require.NoError(t, err)
			grant := Grant{AnyBrand: true, Audiences: []token.Audience{token.Agent, token.Customer}, ManyTimes: true,
				Override: true,
				Claims:   []string{"tier", "10", "__proto__"}}
			add(token.KeyID(by).String()+" to "+token.KeyID(to).String(),
				map[string]any{"issuer": "acme", "signing": signing, "recipient": recipient}, token.Config{Signed: sealer},
				Config{Unsealer: service.keys, Issuers: issuersOf(t, acme.with(grant))})
		}
	}
	var request struct {
		Issue []map[string]any `json:"issue"`
		Open  []map[string]any `json:"open"`
	}
	var contents []string
	for _, w := range ways {
		config := map[string]any{"realm": "größe", "brands": "*", "skew": 10_000, "keys": w.config["keys"]}
		if w.config["issuer"] != nil {
			config = map[string]any{"realm": "größe", "brands": "*", "skew": 10_000, "recipient": w.config["recipient"],
				"issuers": []any{map[string]any{"name": "acme", "signing": w.config["signing"],
					"grant": map[string]any{"brands": "*",
						"audiences": []string{"agent", "customer"}, "manyTimes": true, "override": true, "claims": []string{"tier",
							"10", "__proto__"}}}}}
		}
		for _, p := range people {
			request.Issue = append(request.Issue, map[string]any{"config": w.config, "person": json.RawMessage(decodedJSON(p))})
			ticket, err := w.issuer.Issue(&p)
			require.NoError(t, err)
			request.Open = append(request.Open, map[string]any{"config": config, "ticket": ticket})
			contents = append(contents, decodedJSON(p))
		}
	}
	in, err := json.Marshal(request)
	require.NoError(t, err)
	var answer struct {
		Issued []string
		Opened []json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(node(t, string(in), "exchange.mjs", module)), &answer))
	require.Len(t, answer.Opened, len(contents))
	for i, want := range contents {
		assert.JSONEq(t, want, string(answer.Opened[i]), request.Open[i]["ticket"])
	}
	require.Len(t, answer.Issued, len(contents))
	for i, ticket := range answer.Issued {
		w, want := ways[i/len(people)], people[i%len(people)]
		assert.NotRegexp(t, "[-_]$", ticket)
		ver, err := New(w.verify)
		require.NoError(t, err)
		got, err := ver.Redeem(t.Context(), ticket, Use{Audience: AnyAudience, Channel: "web"})
		require.NoError(t, err, w.name)
		assert.WithinDuration(t, time.Now(), got.IssuedAt, time.Minute)
		want.Lifetime = map[token.Audience]time.Duration{token.Agent: token.AgentLifetime,
			token.Customer: token.CustomerLifetime}[want.Audience]
		want.ID, want.IssuedAt, want.KeyID, want.Issuer, want.SigningKey = got.ID, got.IssuedAt, got.KeyID,
			got.Issuer, got.SigningKey
		assert.Equal(t, want, got, w.name)
	}
}

// Both implementations decode the same payloads, and to the same content: those of the vectors, each with random
// changes.
func TestForeignPayloads(t *testing.T) {
	t.Parallel()
	var bases [][]byte
	for _, v := range append(vectors(), issuerVectors()...) {
		if v.payload != nil {
			bases = append(bases, v.payload)
		}
	}
	r := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("changed payloads"))))
	var in strings.Builder
	var want []string
	good := 0
	for range 20_000 {
		p := slices.Clone(bases[r.IntN(len(bases))])
		for range 1 + r.IntN(2) {
			p = changed(r, p, bases)
		}
		fmt.Fprintf(&in, "%x\n", p)
		var tk token.Ticket
		if tk.DecodePayload(string(p)) != nil {
			want = append(want, "malformed")
			continue
		}
		good++
		want = append(want, decodedJSON(tk))
	}
	assert.Greater(t, good, 1000)
	got := strings.Split(node(t, in.String(), "decode.mjs", module), "\n")
	require.Len(t, got, len(want))
	payloads := strings.Fields(in.String())
	for i := range want {
		if want[i] == got[i] {
			continue
		}
		if want[i] == "malformed" || got[i] == "malformed" {
			require.Equal(t, want[i], got[i], payloads[i])
		}
		require.JSONEq(t, want[i], got[i], payloads[i]) // claims may be in another order
	}
}

// changed returns a payload with a random change.
func changed(r *rand.Rand, p []byte, others [][]byte) []byte {
	if len(p) == 0 {
		return []byte{byte(r.Uint32())}
	}
	at := r.IntN(len(p))
	switch r.IntN(6) {
	case 0: // a bit
		p[at] ^= 1 << r.IntN(8)
	case 1: // a byte
		p[at] = byte(r.Uint32())
	case 2: // a byte by one
		p[at] += byte(r.IntN(2))*2 - 1
	case 3: // a byte more
		p = slices.Insert(p, at, byte(r.Uint32()))
	case 4: // some bytes less
		p = slices.Delete(p, at, min(len(p), at+1+r.IntN(3)))
	case 5: // the rest of another
		if other := others[r.IntN(len(others))]; len(other) > 28 {
			p = append(p[:at:at], other[28+r.IntN(len(other)-28):]...)
		}
	}
	return p
}

// The JavaScript is what the TypeScript compiler makes of the source.
func TestForeignIsCompiled(t *testing.T) {
	t.Parallel()
	node, modules := needs(t, "node"), os.Getenv("TYPESCRIPT_MODULES")
	if modules == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TYPESCRIPT_MODULES is not set")
		}
		t.Skip("TYPESCRIPT_MODULES names no folder node_modules; npm ci in cmd/ticketd/testdata/typescript makes one")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), node, filepath.Join(modules, "typescript", "bin", "tsc"), "-p",
		webcrypto, "--outDir", dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	made, err := os.ReadFile(filepath.Join(dir, "admitone.mjs"))
	require.NoError(t, err)
	kept, err := os.ReadFile(module)
	require.NoError(t, err)
	assert.Equal(t, string(made), string(kept), "compile it: tsc -p examples/webcrypto")
}

// withPrimary is a keyset in JSON with another primary key.
func withPrimary(t *testing.T, keys json.RawMessage, id uint32) json.RawMessage {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(keys))
	d.UseNumber()
	require.NoError(t, d.Decode(&m))
	m["primaryKeyId"] = id
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return b
}

func handleOf(t *testing.T, keys json.RawMessage) *keyset.Handle {
	t.Helper()
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(keys)))
	require.NoError(t, err)
	return h
}

func keysetOf(t *testing.T, keys json.RawMessage) *token.Keyset {
	t.Helper()
	k, err := token.NewKeyset(handleOf(t, keys))
	require.NoError(t, err)
	return k
}
