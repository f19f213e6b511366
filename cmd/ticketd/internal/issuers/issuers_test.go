package issuers

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

func TestParse(t *testing.T) {
	is, wrong := parse([]byte(`
# who may issue
acme:
  keyring: acme.keyring
  kek: file:/etc/acme.key
  brands: [acme, acme-de]
  audiences: [agent, customer]
  max-lifetime: 5m
  many-times: true
  override: true
  claims: [plan]
  until: 2027-01-01
  rate: 2.5
beta.example.com: {keyring: /b, brands: all, audiences: [agent], until: 2027-01-01T12:00:00+01:00}
gone: {keyring: g, denied: true}
`))
	require.Empty(t, wrong)
	agent, customer := token.Agent, token.Customer
	assert.Equal(t, []entry{
		{"acme", "acme.keyring", "file:/etc/acme.key", false, verify.Grant{
			Brands: []string{"acme", "acme-de"}, Audiences: []token.Audience{agent, customer}, MaxLifetime: 5 * time.Minute,
			ManyTimes: true, Override: true, Claims: []string{"plan"},
			Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Rate: 2.5,
		}},
		{"beta.example.com", "/b", "", false, verify.Grant{
			AnyBrand: true, Audiences: []token.Audience{agent},
			Until: time.Date(2027, 1, 1, 12, 0, 0, 0, time.FixedZone("", 3600)),
		}},
		{"gone", "g", "", true, verify.Grant{}},
	}, is.entries)
	assert.Equal(t, []string{"gone"}, is.denied)
	for _, none := range []string{"", "# nobody yet\n", "null\n"} {
		is, wrong := parse([]byte(none))
		assert.Empty(t, is)
		assert.Empty(t, wrong)
	}
}

// Every mistake is named with its line, and no value is quoted.
func TestMistakes(t *testing.T) {
	const good = "  keyring: k\n  brands: [a]\n  audiences: [agent]\n"
	for text, want := range map[string]string{
		"acme\n":                                                          "1: write one issuer's name on each line",
		"Acme:\n" + good:                                                  "1: an issuer's name is 1 to 64 characters",
		"a:\n" + good + "a:\n" + good:                                     "5: a is in line 1 as well",
		"a:\n":                                                            "1: a has no fields",
		"a:\n  keyring: k\n":                                              "1: a: brands is missing; list the brands",
		"a:\n  brands: [a]\n":                                             "1: a: keyring is missing",
		"a:\n" + good + "  brand: [secret]\n":                             `5: a: there is no field "brand"; did you mean brands?`,
		"a:\n" + good + "  xyzzy: secret\n":                               `5: a: there is no field "xyzzy"; the fields are audiences, brands`,
		"a:\n" + good + "  keyring: secret\n":                             "5: a: keyring is in line 2 as well",
		"a:\n" + good + "  kek: secret\n":                                 "5: a: kek is no URI",
		"a:\n" + good + "  kek:\n":                                        "5: a: kek has no value",
		"a:\n" + good + "  rate: secret\n":                                "5: a: rate is no number",
		"a:\n" + good + "  rate: -1\n":                                    "5: a: rate is no number",
		"a:\n" + good + "  until: secret\n":                               "5: a: until is no date",
		"a:\n" + good + "  denied: secret\n":                              "5: a: denied is neither true nor false",
		"a:\n" + good + "  max-lifetime: 5\n":                             "5: a: max-lifetime is no time",
		"a:\n" + good + "  claims: secret\n":                              "5: a: claims is no list",
		"a:\n" + good + "  claims: []\n":                                  "5: a: claims is no list",
		"a:\n  keyring: k\n  brands: secret\n":                            "3: a: brands is no list",
		"a:\n  keyring: k\n  brands: [a]\n  audiences: [administrator]\n": "4: a: audiences has a value other than agent and customer",
		"a: [":                             "1: is no YAML",
		"a:\n" + good + "---\nb:\n" + good: "1: there is a second document",
	} {
		path := filepath.Join(t.TempDir(), "issuers.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		is, err := readFile(path)
		assert.ErrorContains(t, err, path+":"+want, text)
		assert.Empty(t, is, text)
		assert.NotContains(t, err.Error(), "secret", text)
	}
	_, err := readFile(filepath.Join(t.TempDir(), "missing"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A denial counts with a mistake beside it, in whatever form people write it in a hurry. acme is
// denied, and nobody else.
func TestDenialForms(t *testing.T) {
	const (
		acme   = "acme:\n  keyring: k\n  brands: [a]\n  audiences: [agent]\n"
		beta   = "beta:\n  keyring: l\n  brands: [a]\n  audiences: [agent]\n"
		denied = "  denied: true\n"
	)
	indent := func(s string) string {
		return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
	}
	deep := strings.ReplaceAll(acme, "\n  ", "\n    ")
	for name, text := range map[string]string{
		"less indented":               beta + deep + denied,
		"more indented":               beta + acme + "    denied: true\n",
		"a tab":                       beta + acme + "\tdenied: true\n",
		"at the left edge":            beta + acme + "denied: true\n",
		"at the left edge, and more":  acme + "denied: true\n" + beta,
		"another field at the left":   beta + acme + "rate: 20\n" + denied,
		"no space":                    beta + acme + "  denied:true\n",
		"in quotes":                   beta + acme + "  denied: \"true\"\n",
		"in quotes, with a mistake":   acme + "  denied: 'yes'\n" + beta + "x\n",
		"the name in quotes":          "\"acme\":\n  \"denied\": true\n  brands: [\n" + beta,
		"capitals":                    acme + "  Denied: True\n" + beta,
		"a comment":                   acme + "  denied: true # stolen\n  brands: [\n" + beta,
		"an open list":                "acme:\n  brands: [a\n" + denied + beta,
		"an open list after it":       "acme:\n" + denied + "  brands: [a\n" + beta,
		"an open text":                "acme:\n  keyring: \"k\n" + denied + beta,
		"all indented":                indent(acme+denied+beta) + "  gamma: [\n",
		"all indented, and not it":    indent(beta+acme) + denied,
		"all indented far":            indent(indent(beta+acme)) + denied,
		"braces":                      "acme: {keyring: k, denied: true\n" + beta,
		"all in braces":               "{acme: {keyring: k, denied: true}, beta: {keyring: [}}\n",
		"all in braces, on lines":     "{\n  beta: {brands: [},\n  acme: {keyring: k, 'denied': true}\n}\n",
		"braces, after the brace":     "{beta: {rate: 1}, acme: {keyring: k}, denied: true}}\n",
		"CR":                          strings.ReplaceAll(acme+denied+beta+"x: [\n", "\n", "\r"),
		"CR LF":                       strings.ReplaceAll(beta+deep+denied, "\n", "\r\n"),
		"no newline before":           strings.TrimSuffix(beta+acme, "\n") + denied,
		"no newline before, a list":   beta + strings.ReplaceAll(acme, "[agent]\n", "\n  - agent") + denied,
		"no newline before, braces":   beta + "acme: {keyring: k, brands: [a], audiences: [agent]}" + denied,
		"no newline before, a number": beta + acme + "  rate: 20" + denied,
		"an issuer with the name of a field": "rate:\n  rate: x\nacme:\n" + denied + "claims:\n  xyzzy: 1\n" +
			"brands: {rate: x}\n",
		"comments elsewhere": acme + denied + beta + "  # denied: true\n  rate: x # denied: true\n#denied: true\n",
		"a wrong name":       acme + denied + beta + "Gamma:\n  denied: true\n",
	} {
		is, _ := parse([]byte(text))
		slices.Sort(is.denied)
		assert.Equal(t, []string{"acme"}, slices.Compact(is.denied), name)
	}
	for _, text := range []string{
		beta + "  denied: false\n  rate: x\n", beta + "  not-denied: true\n", beta + "  denied: secret\n",
		"Acme:\n" + denied, "{}: {denied: true", "{", "}\n", "\r", "acme:\n  claims: [denied]\n  rate: x\n",
	} {
		is, _ := parse([]byte(text))
		assert.Empty(t, is.denied, text)
	}
}

// A world is a folder with keyrings of three issuers and of the service, a list over a file,
// and a verifier.
type world struct {
	t     *testing.T
	dir   string
	own   *keyring.Ring
	list  *List
	noted map[string]uint64
	log   logBuffer
	*verify.Verifier
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), noted: map[string]uint64{}}
	for _, name := range []string{"own", "acme", "beta", "gamma"} {
		require.NoError(t, kms.CreateKeyFile(w.path(name+".key")))
		require.NoError(t, keyring.Create(w.path(name+".keyring"), w.config(name), keyring.DefaultPolicy(keyring.Ticket), ""))
	}
	w.own = w.ring("own")
	w.write("acme:\n" + entryOf("acme", "acme") + "beta:\n" + entryOf("beta", "beta"))
	var err error
	w.list, err = w.open()
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.list.Close() })
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true})
	require.NoError(t, err)
	w.Verifier, err = verify.New(verify.Config{Opener: w.own, Issuers: w.list, Realm: "r", AnyBrand: true, Store: store})
	require.NoError(t, err)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) config(name string) keyring.Config {
	kek, err := kms.Open("file:"+w.path(name+".key"), nil)
	require.NoError(w.t, err)
	return keyring.Config{Kind: keyring.Ticket, Realm: "r", KEK: kek, Log: slog.New(slog.DiscardHandler)}
}

// ring opens a keyring as its issuer does.
func (w *world) ring(name string) *keyring.Ring {
	ring, err := keyring.Open(w.path(name+".keyring"), w.config(name))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = ring.Close() })
	return ring
}

func (w *world) open() (*List, error) {
	return Open(Config{
		File: w.path("issuers.yaml"), Realm: "r", KEK: "file:" + w.path("own.key"), Own: w.own,
		Noted: func(path string) uint64 { return w.noted[path] },
		Note:  func(path string, ring *keyring.Ring) { w.noted[path] = ring.Report().Generation },
		Log:   slog.New(slog.NewTextHandler(&w.log, nil)),
	})
}

func (w *world) write(text string) {
	text = strings.ReplaceAll(text, "DIR", w.dir)
	require.NoError(w.t, os.WriteFile(w.path("issuers.yaml"), []byte(text), 0o600))
}

func entryOf(keyring, brand string) string {
	return "  keyring: " + keyring + ".keyring\n  kek: file:DIR/" + keyring + ".key\n  brands: [" + brand +
		"]\n  audiences: [agent]\n"
}

// outcome redeems a new ticket of an issuer for a brand, and returns the name of the issuer,
// or the reason of a refusal.
func (w *world) outcome(keys, brand string) string {
	w.t.Helper()
	i, err := token.NewIssuer(token.Config{Sealer: w.ring(keys), Realm: "r"})
	require.NoError(w.t, err)
	ticket, err := i.Issue(&token.Ticket{Audience: token.Agent, OneTime: true, Brand: brand, Username: "jo"})
	require.NoError(w.t, err)
	tk, err := w.Redeem(context.Background(), ticket, verify.Use{Audience: token.Agent})
	if err != nil {
		return string(verify.AsError(err).Reason)
	}
	return tk.Issuer
}

// The list changes as a whole, and after a mistake stays as it was. Removed and denied issuers
// are out at once, and a change of one issuer touches no other.
//
// trap F9, F10
func TestLoad(t *testing.T) {
	w := newWorld(t)
	acme, beta := "acme:\n"+entryOf("acme", "acme"), "beta:\n"+entryOf("beta", "beta")
	expect := func(step string, want map[[2]string]string) {
		t.Helper()
		for of, outcome := range want {
			assert.Equal(t, outcome, w.outcome(of[0], of[1]), "%s: %v", step, of)
		}
	}
	expect("at first", map[[2]string]string{{"acme", "acme"}: "acme", {"beta", "beta"}: "beta", {"own", "acme"}: "",
		{"acme", "beta"}: "issuer_not_allowed", {"gamma", "acme"}: "unknown_key"})
	assert.True(t, w.list.Knows("acme"))
	assert.False(t, w.list.Knows("gamma"))
	assert.False(t, w.list.Knows(""))
	assert.False(t, (*List)(nil).Knows("acme"))

	other := "issuer gamma: the keyring " + w.path("acme.keyring") + " is another issuer's"
	gamma := "gamma:\n" + entryOf("gamma", "c")
	for text, want := range map[string]string{
		"acme: x\n": "acme has no fields",
		acme + strings.Replace(gamma, "gamma.keyring", "missing.keyring", 1): "issuer gamma: ",
		acme + strings.Replace(gamma, "gamma.key\n", "beta.key\n", 1):        "issuer gamma: ",
		acme + strings.Replace(gamma, "[c]", `[""]`, 1):                      "brands has an item without a value",
		acme + "gamma:\n" + entryOf("acme", "c"):                             other,
		acme + "gamma:\n" + entryOf("own", "c"):                              "has a key of the service's own ticket keyring",
	} {
		w.write(text)
		assert.ErrorContains(t, w.list.Load(), want)
		_, err := w.open()
		assert.ErrorContains(t, err, want)
	}
	// The same key in a copy of the file: trap F6.
	data, err := os.ReadFile(w.path("acme.keyring"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.path("copy.keyring"), data, 0o600))
	w.write(acme + "gamma:\n" + strings.Replace(entryOf("acme", "c"), "acme.keyring", "copy.keyring", 1))
	assert.ErrorContains(t, w.list.Load(), "has a key of the issuer acme")
	expect("after mistakes", map[[2]string]string{{"acme", "acme"}: "acme", {"beta", "beta"}: "beta"})

	w.write(strings.Replace(acme, "[acme]", "[beta]", 1) + beta + "gamma:\n" + entryOf("gamma", "acme"))
	require.NoError(t, w.list.Load())
	expect("other grants", map[[2]string]string{{"acme", "acme"}: "issuer_not_allowed", {"acme", "beta"}: "acme",
		{"beta", "beta"}: "beta", {"gamma", "acme"}: "gamma"})
	assert.Contains(t, w.log.String(), `msg="issuer may issue tickets" issuer=gamma`)
	assert.Equal(t, 1, strings.Count(w.log.String(), "issue tickets\" issuer=beta"), "only what changed is told")

	w.write(acme + "  denied: true\ngamma:\n" + entryOf("gamma", "acme"))
	require.NoError(t, w.list.Load())
	expect("denied and removed", map[[2]string]string{{"acme", "acme"}: "issuer_not_allowed",
		{"beta", "beta"}: "unknown_key", {"gamma", "acme"}: "gamma", {"own", "beta"}: ""})
	assert.False(t, w.list.Knows("acme"))
	assert.False(t, w.list.Knows("beta"))
	assert.True(t, w.list.Knows("gamma"))
	assert.Contains(t, w.log.String(), "issuer removed: its tickets are refused, and its sessions end")
	assert.Contains(t, w.log.String(), "issuer=beta")

	w.write("")
	require.NoError(t, w.list.Load())
	expect("nobody", map[[2]string]string{{"acme", "acme"}: "unknown_key", {"gamma", "acme"}: "unknown_key",
		{"own", "acme"}: ""})
}

// An older file of an issuer's keyring, with a revoked key, is refused after a restart too.
func TestOlderKeyring(t *testing.T) {
	w := newWorld(t)
	older, err := os.ReadFile(w.path("acme.keyring"))
	require.NoError(t, err)
	key := w.ring("acme").KeyIDs()[0]
	_, err = keyring.Change(w.path("acme.keyring"), w.config("acme"), "stolen", keyring.Step{Do: keyring.Revoke, Key: key})
	require.NoError(t, err)
	again, err := w.open()
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoError(t, os.WriteFile(w.path("acme.keyring"), older, 0o600))
	_, err = w.open()
	assert.ErrorContains(t, err, "issuer acme: ")
	var fault *keyring.FileError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, keyring.RolledBack, fault.Reason)
}

// A denial holds at once, whatever else is wrong with the file, or with a keyring.
func TestDenialFirst(t *testing.T) {
	acme, beta := "acme:\n"+entryOf("acme", "acme"), "beta:\n"+entryOf("beta", "beta")
	const denied = "  denied: true\n"
	for name, c := range map[string]struct{ text, wrong string }{
		"alone":                     {acme + denied + beta, ""},
		"without more":              {"acme:\n" + denied + beta, ""},
		"a missing keyring":         {strings.ReplaceAll(acme, "acme.keyring", "gone.keyring") + denied + beta, ""},
		"a missing key":             {strings.ReplaceAll(acme, "acme.key\n", "gone.key\n") + denied + beta, ""},
		"the service's own keyring": {"acme:\n" + entryOf("own", "acme") + denied + beta, ""},
		"an unknown field":          {acme + denied + "  xyzzy: 1\n" + beta, "xyzzy"},
		"a wrong value":             {acme + denied + "  rate: x\n" + beta, "rate is no number"},
		"denied twice":              {acme + "  denied: false\n" + denied + beta, "denied is in line"},
		"named twice":               {acme + denied + acme + beta, "acme is in line 1"},
		"another entry is wrong":    {acme + denied + beta + "  xyzzy: 1\n", "xyzzy"},
		"another keyring is missing": {acme + denied + beta + "gamma:\n" +
			strings.ReplaceAll(entryOf("gamma", "c"), "gamma.keyring", "gone.keyring"), "issuer gamma: "},
		"another has the keyring": {acme + denied + beta + "gamma:\n" + entryOf("acme", "acme"),
			"issuer gamma: the keyring DIR/acme.keyring is that of the denied issuer acme"},
		"no YAML after it":      {acme + denied + beta + "gamma: [\n", "is no YAML"},
		"no YAML before it":     {"gamma: {\n# and\n" + beta + "  a: b: c\n" + acme + denied, "is no YAML"},
		"in a second document":  {beta + "---\n" + acme + denied, "there is a second document"},
		"something in the file": {"x\n" + acme + denied, "is no YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			require.Equal(t, "acme", w.outcome("acme", "acme"))
			w.write(c.text)
			err := w.list.Load()
			assert.Equal(t, 1, strings.Count(w.log.String(), `msg="issuer denied: its tickets are refused`))
			switch c.wrong {
			case "":
				require.NoError(t, err)
				again, err := w.open() // a service that starts with the file
				require.NoError(t, err)
				assert.False(t, again.Knows("acme"))
				assert.True(t, again.Knows("beta"))
				require.NoError(t, again.Close())
			default:
				assert.ErrorContains(t, err, strings.ReplaceAll(c.wrong, "DIR", w.dir))
			}
			assert.False(t, w.list.Knows("acme"))
			assert.Contains(t, []string{"issuer_not_allowed", "unknown_key"}, w.outcome("acme", "acme"))
			assert.Equal(t, "beta", w.outcome("beta", "beta"))
			w.write(acme + beta)
			require.NoError(t, w.list.Load())
			assert.Equal(t, "acme", w.outcome("acme", "acme"))
		})
	}
}

// A denial of an issuer who is not in use yet is no fault, and a file without a denial of
// somebody takes no denial back while the file is wrong.
func TestDenialOfStranger(t *testing.T) {
	w := newWorld(t)
	acme := "acme:\n" + entryOf("acme", "acme")
	w.write(acme + "gamma:\n" + entryOf("gamma", "c") + "  denied: true\n  xyzzy: 1\n")
	require.Error(t, w.list.Load())
	assert.False(t, w.list.Knows("gamma"))
	assert.Equal(t, "unknown_key", w.outcome("gamma", "c"))
	w.write(acme + "gamma:\n" + entryOf("gamma", "c") + "  xyzzy: 1\n")
	require.Error(t, w.list.Load())
	entries := w.list.Entries()
	require.Len(t, entries, 3)
	assert.Equal(t, directory.IssuerEntry{Name: "gamma", Denied: true, Format: 1}, entries[2])
	assert.NotEmpty(t, entries[0].Keys)
	entries[0].Keys = nil
	assert.Equal(t, directory.IssuerEntry{
		Name: "acme", Brands: []string{"acme"}, Audiences: []string{"agent"}, Format: 1,
	}, entries[0])
	_, err := w.open()
	assert.ErrorContains(t, err, "xyzzy", "at the start the whole file must be right")
}

// FuzzFile: each mistake has a line and words, each issuer is there once, and whoever is denied by
// the text as YAML is denied, whatever else is wrong with the file.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"acme:\n  keyring: k\n  brands: [a]\n  audiences: [agent]\n  until: 2027-01-01\n  rate: 2.5\n",
		"acme: {keyring: k, brands: all, audiences: [agent, customer], max-lifetime: 5m, claims: [plan]}\n",
		"gone: {denied: true}\nA: 1\n", "gone:\n  denied: true\n  until: never\n", "{a: {denied: true}, b: {", "a:\n denied: yes\n",
		"a: {denied: true, denied: false}\n", "? a\n: denied: true\n",
	} {
		f.Add(text)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		is, wrong := parse([]byte(text))
		for _, m := range wrong {
			require.GreaterOrEqual(t, m.line, 0)
			require.NotEmpty(t, m.reason)
		}
		seen := make(map[string]bool)
		for _, e := range is.entries {
			require.False(t, seen[e.name] && len(wrong) == 0, "%s is there twice", e.name)
			require.NoError(t, token.CheckIssuer("", e.name))
			seen[e.name] = true
		}
		var other map[string]struct {
			Denied bool           `yaml:"denied"`
			Rest   map[string]any `yaml:",inline"`
		}
		if strings.ContainsAny(text, "*<") || yaml.Unmarshal([]byte(text), &other) != nil {
			return // the file has no aliases and no merge keys
		}
		for name, e := range other {
			if e.Denied && token.CheckIssuer("", name) == nil {
				require.Contains(t, is.denied, name)
			}
		}
	})
}
