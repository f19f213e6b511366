package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/internal/clitest"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ticket": main})
}

func TestScripts(t *testing.T) {
	// ticketd's main cannot be registered: it is of another package main.
	programs := t.TempDir()
	ticketd := filepath.Join(programs, "ticketd")
	if runtime.GOOS == "windows" {
		ticketd += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", ticketd, "../ticketd").CombinedOutput()
	require.NoError(t, err, string(out))

	clitest.Run(t, 12, func(e *testscript.Env) {
		for _, name := range []string{"ADMITONE_KEYRING", "ADMITONE_REALM", "ADMITONE_KEK", "ADMITONE_API_KEY"} {
			e.Setenv(name, "")
		}
		e.Setenv("TICKETD", ticketd)
		e.Setenv("LONG", strings.Repeat("x", 101))
		e.Setenv("LINES", "two\nlines")
	}, map[string]clitest.Command{
		"cleartext": cmdCleartext,
		"code":      cmdCode,
		"demo":      cmdDemo,
		"faulty":    cmdFaulty,
		"fromfile":  cmdFromFile,
		"interrupt": cmdInterrupt,
		"issued":    cmdIssued,
		"kept":      cmdKept,
		"keyring":   cmdKeyring,
		"logged":    cmdLogged,
		"object":    cmdObject,
		"page":      cmdPage,
		"bundle":    cmdBundle,
		"public":    cmdPublic,
		"shredded":  cmdShredded,
		"write":     cmdWrite,
	})
}

// cmdCode runs a program that must exit with a certain code and print no ticket:
// code N PROGRAM ARGS...
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	clitest.Code(ts, neg, args)
	cmdShredded(ts, false, nil)
}

// cmdKeyring makes a keyring of realm prod, for tickets unless told otherwise, and its key file if need be:
// keyring FILE KEYFILE [LIFETIME [KIND]]
func cmdKeyring(ts *testscript.TestScript, _ bool, args []string) {
	kind := keyring.Ticket
	if len(args) > 3 {
		kind = keyring.Kind(args[3])
	}
	policy := keyring.DefaultPolicy(kind)
	if len(args) > 2 {
		var err error
		policy.Lifetime, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	keyFile := ts.MkAbs(args[1])
	if err := kms.CreateKeyFile(keyFile); !errors.Is(err, os.ErrExist) {
		ts.Check(err)
	}
	kek, err := kms.Open("file:"+keyFile, nil)
	ts.Check(err)
	c := keyring.Config{Kind: kind, Realm: "prod", KEK: kek}
	ts.Check(keyring.Create(ts.MkAbs(args[0]), c, policy, ""))
}

// cmdPublic writes the public keys of a keyring of realm prod: public KEYRING KEYFILE FILE
func cmdPublic(ts *testscript.TestScript, _ bool, args []string) {
	kek, err := kms.Open("file:"+ts.MkAbs(args[1]), nil)
	ts.Check(err)
	c := keyring.Config{Kind: keyring.AnyKind, Realm: "prod", KEK: kek}
	data, err := keyring.ExportPublic(ts.MkAbs(args[0]), c, keyring.JSON)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), data, 0o644))
}

// cmdBundle makes the bundle of a keyring as of a while ago, a new identity key and its public half:
// bundle FILE KEYRING KEYFILE IDENTITY AGO
func cmdBundle(ts *testscript.TestScript, _ bool, args []string) {
	ago, err := time.ParseDuration(args[4])
	ts.Check(err)
	id, err := kms.CreateIdentity(ts.MkAbs(args[3]))
	ts.Check(err)
	data, err := kms.PublicIdentity(id)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]+".pub"), data, 0o644))
	signer, err := kms.Open("signed:"+ts.MkAbs(args[3]), nil)
	ts.Check(err)
	kek, err := kms.Open("file:"+ts.MkAbs(args[2]), nil)
	ts.Check(err)
	now := func() time.Time { return time.Now().Add(-ago) }
	c := keyring.Config{Kind: keyring.AnyKind, Realm: "prod", KEK: kek, Now: now}
	data, _, err = keyring.Publish(ts.MkAbs(args[1]), c,
		keyring.Publication{Name: "login.example.com", Identity: signer})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// cmdCleartext makes a keyring in clear of no realm: cleartext FILE [KIND]
func cmdCleartext(ts *testscript.TestScript, _ bool, args []string) {
	kind := keyring.Ticket
	if len(args) > 1 {
		kind = keyring.Kind(args[1])
	}
	c := keyring.Config{Kind: kind, KEK: keyring.InsecureCleartext}
	ts.Check(keyring.Create(ts.MkAbs(args[0]), c, keyring.DefaultPolicy(kind), ""))
}

// cmdIssued issues an agent's one-time ticket some time ago, or in time to come,
// and sets a variable to it: issued VARIABLE KEYRING KEYFILE AGO [LIFETIME]
func cmdIssued(ts *testscript.TestScript, _ bool, args []string) {
	ago, err := time.ParseDuration(args[3])
	ts.Check(err)
	kek, err := kms.Open("file:"+ts.MkAbs(args[2]), nil)
	ts.Check(err)
	ring, err := keyring.Open(ts.MkAbs(args[1]), keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek})
	ts.Check(err)
	defer ring.Close()
	now := func() time.Time { return time.Now().Add(-ago) }
	issuer, err := token.NewIssuer(token.Config{Sealer: ring, Realm: "prod", Now: now})
	ts.Check(err)
	var lifetime time.Duration
	if len(args) > 4 {
		lifetime, err = time.ParseDuration(args[4])
		ts.Check(err)
	}
	ticket, err := issuer.Issue(&token.Ticket{
		Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "john.d", Lifetime: lifetime,
	})
	ts.Check(err)
	ts.Setenv(args[0], ticket)
}

// cmdWrite writes a file whose lines are the arguments: write FILE LINE...
func cmdWrite(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\n")+"\n"), 0o600))
}

// cmdFromFile sets a variable to what is in a file: fromfile VARIABLE FILE
func cmdFromFile(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// cmdShredded requires that the last program printed nothing of a ticket's form.
func cmdShredded(ts *testscript.TestScript, _ bool, _ []string) {
	if ticketPattern.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
		ts.Fatalf("a ticket was printed")
	}
}

// cmdObject requires standard output to be JSON, an object a line, of which the
// N-th has the given fields: object N NAME=VALUE...
func cmdObject(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	objects := clitest.Stdout(ts)
	if n > len(objects) {
		ts.Fatalf("%d objects of output", len(objects))
	}
	clitest.Fields(ts, objects[n-1], "/", args[1:])
}

// cmdDemo starts ticketd demo, which ends with the script, and sets LOGIN and
// CHAT to its pages and CODE to its channel's code. Its state is in the folder
// demo, its realm is prod, and its log goes to demo.log.
func cmdDemo(ts *testscript.TestScript, _ bool, _ []string) {
	log, err := os.Create(ts.MkAbs("demo.log"))
	ts.Check(err)
	cmd := exec.Command(ts.Getenv("TICKETD"), "demo", "--json", "--realm", "prod", "--data", ts.MkAbs("demo"))
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		if cmd.Process.Signal(os.Interrupt) != nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		log.Close()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	var info struct{ LoginURL, ChatURL, URL string }
	ts.Check(json.Unmarshal([]byte(line), &info))
	ts.Setenv("SITE", info.URL)
	ts.Setenv("LOGIN", info.LoginURL)
	ts.Setenv("CHAT", info.ChatURL)
	ts.Setenv("CODE", info.ChatURL[strings.LastIndex(info.ChatURL, "/")+1:])
}

// cmdLogged waits until a log, which is written a moment after the answer, has a match of a
// regular expression: logged REGEXP FILE
func cmdLogged(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(time.Minute); !want.MatchString(ts.ReadFile(args[1])); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("no %q in %s within a minute", args[0], args[1])
		}
	}
}

// cmdPage serves a page that gives one answer to all, and sets a variable to its
// URL; a status of 0 is a page that nobody serves any more, 1 one that hangs up:
// page VARIABLE STATUS [HEADER:VALUE]... A value's TICKET stands for the ticket
// that came.
func cmdPage(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	if status == 0 {
		ts.Setenv(args[0], "http://127.0.0.1:1/login")
		return
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status == 1 {
			panic(http.ErrAbortHandler)
		}
		for _, header := range args[2:] {
			name, value, _ := strings.Cut(header, ":")
			w.Header().Add(name, strings.ReplaceAll(value, "TICKET", r.URL.Query().Get("ta")))
		}
		w.WriteHeader(status)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL+"/login")
}

// TestHelpExamples sees that the commands in the help are well formed, and that
// no real ticket stands in it.
func TestHelpExamples(t *testing.T) {
	t.Setenv("ADMITONE_KEYRING", "")
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	n := 0
	for _, cmd := range append(a.root().Commands(), a.root()) {
		assert.NotRegexp(t, `tkt1_`, cmd.Long+cmd.Example)
		lines := bufio.NewScanner(strings.NewReader(cmd.Example))
		for lines.Scan() {
			for line := range strings.SplitSeq(strings.TrimSpace(lines.Text()), " | ") {
				line, _, _ = strings.Cut(line, " < ")
				line, _, _ = strings.Cut(line, " > ")
				words := strings.Fields(line)
				require.Equal(t, "ticket", words[0])
				root := a.root() // flags keep what was parsed before
				found, args, err := root.Find(words[1:])
				require.NoError(t, err, line)
				require.NoError(t, found.ParseFlags(args), line)
				require.NoError(t, found.ValidateFlagGroups(), line)
				require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
				n++
			}
		}
	}
	assert.GreaterOrEqual(t, n, 12)
}

func TestWorse(t *testing.T) {
	for i, a := range verdicts {
		for j, b := range verdicts {
			assert.Equal(t, verdicts[max(i, j)], worse(a, b))
		}
	}
	assert.Equal(t, refused, worse(good, refused))
	assert.Equal(t, cannotTell, worse(cannotTell, refused))
	assert.Equal(t, failed, worse(failed, cannotTell))
	for v, code := range map[verdict]int{good: 0, failed: 1, refused: 3, cannotTell: 4, unverified: 4} {
		assert.Equal(t, code, v.exit(), v)
	}
}

func TestPairs(t *testing.T) {
	for value, want := range map[string]string{
		"plain":               ` v=plain`,
		"https://a.b/c":       ` v=https://a.b/c`,
		"zoë":                 ` v=zoë`,
		"two words":           ` v="two words"`,
		"a=b":                 ` v="a=b"`,
		`say "so"`:            ` v="say \"so\""`,
		`back\slash`:          ` v="back\\slash"`,
		"left\u202eright":     ` v="left\u202eright"`, // would turn the rest of the line round
		"line\nnext":          ` v="line\nnext"`,
		"\x1b[31mred":         ` v="\x1b[31mred"`,
		"":                    ` v=""`,
		"no-break\u00a0space": ` v="no-break\u00a0space"`,
	} {
		assert.Equal(t, want, pairs{{"v", value}}.String())
	}
}

func TestScrub(t *testing.T) {
	ticket := "tkt1_" + strings.Repeat("Ab-_", 40)
	for _, text := range []string{
		ticket, "unknown command " + strconv.Quote(ticket), "https://a.b/login?ta=" + ticket + "&x=1", "tkt2_" + ticket[5:],
	} {
		assert.NotContains(t, scrub(text), "Ab-_")
	}
	assert.Equal(t, "nothing to hide: tkt1_ is a prefix", scrub("nothing to hide: tkt1_ is a prefix"))
}
