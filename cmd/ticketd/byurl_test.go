package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"
)

// byURL are the scripts that administer. They run twice: on a directory, and on a running
// service.
var byURL = []string{
	"administrator", "agent", "apikey", "audit", "brand", "byurl", "channel", "customer", "import", "issuer", "ticket",
}

// The commands that administer do the same with --url, in the same words. Each command runs on
// the service, and on a copy of its data folder.
func TestScriptsByURL(t *testing.T) {
	if testing.Short() {
		t.Skip("they start many processes, each of which does little")
	}
	var files []string
	for _, name := range byURL {
		files = append(files, filepath.Join("testdata", name+".txt"))
	}
	var seen comparisons
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Files: files, RequireExplicitExec: true,
			Setup: func(e *testscript.Env) error {
				e.Setenv("GORACE", "atexit_sleep_ms=10")
				e.Setenv("TICKETD_COMPARE", filepath.Join(e.WorkDir, "compared"))
				e.Defer(func() { seen.add(filepath.Join(e.WorkDir, "compared")) })
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"apikeyid": cmdAPIKeyID, "issue": cmdIssue, "seeissuers": cmdSeeIssuers,
				"administer": func(ts *testscript.TestScript, _ bool, args []string) { cmdAdministerByURL(t, ts, args) },
			},
			Condition: func(cond string) (bool, error) { return true, checkCondition(cond) },
		})
	})
	if seen.scripts == len(byURL) { // else only some of them were asked for
		assert.Greater(t, len(seen.all), 100)
	}
	for _, c := range seen.all {
		assert.Equal(t, c.Here, c.Service, "ticketd %s", strings.Join(c.Args, " "))
	}
}

// Commands that change one record at the same time lose nothing of each other.
func TestByURLTogether(t *testing.T) {
	t.Parallel()
	data, console, keyFile := t.TempDir(), freeAddress(t), filepath.Join(t.TempDir(), "key")
	administer(t, "init", "--data", data)
	administer(t, "brand", "add", "commbox", "--data", data)
	key := administer(t, "apikey", "add", "--brands", "commbox", "--scopes", "admin", "--data", data)
	require.NoError(t, os.WriteFile(keyFile, []byte(key), 0o600))
	p := start(t, "serve", "--data", data, "--listen", freeAddress(t), "--console-listen", console)
	p.logs("serving the console")
	byURL := func(args ...string) string {
		return administer(t, append(args, "--brand", "commbox", "--url", "http://"+console, "--api-key-file", keyFile)...)
	}
	byURL("agent", "add", "ann")
	var wg sync.WaitGroup
	for _, field := range []string{"first-name", "last-name", "unique-id", "groups"} {
		wg.Go(func() { byURL("agent", "set", "ann", "--"+field, "x") })
	}
	wg.Wait()
	assert.Equal(t, `{"active":true,"brand":"commbox","email":"","firstName":"x","groups":["x"],"lastName":"x",`+
		`"phone1":"","uniqueId":"x","username":"ann"}`, byURL("agent", "show", "ann", "--json"))
}

// checkCondition refuses conditions other than url.
func checkCondition(cond string) error {
	if cond != "url" {
		return fmt.Errorf("there is no condition %q", cond)
	}
	return nil
}

// cmdAdminister makes the following commands administer a data folder, directly:
// administer DATA [FLAGS OF SERVE]. DATA is then in $DATA, and $BY begins an actor of events.
func cmdAdminister(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DATA", args[0])
	ts.Setenv("ADMITONE_DATA", args[0])
	ts.Setenv("BY", "shell:[^ ]+ machine=[^ ]+")
}

// cmdAdministerByURL makes the following commands administer a service of the data folder.
func cmdAdministerByURL(t *testing.T, ts *testscript.TestScript, args []string) {
	data := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(data+".copy", os.DirFS(data)))
	files, err := filepath.Glob(data + ".copy/*")
	ts.Check(err)
	for _, file := range files {
		ts.Check(os.Chmod(file, 0o600))
	}
	key := administer(t, "apikey", "add", "--all-brands", "--scopes", "admin,console", "--data", data)
	// The copy has an API key as well, and as many events.
	administer(t, "apikey", "add", "--all-brands", "--scopes", "admin,console", "--data", data+".copy")
	public, console := freeAddress(t), freeAddress(t)
	exe, err := os.Executable()
	ts.Check(err)
	var log lockedBuffer
	cmd := exec.Command(exe, append([]string{
		"serve", "--data", data, "--listen", public, "--console-listen", console, "--rate-limit", "1000",
	}, args[1:]...)...)
	cmd.Env, cmd.Stderr = environ(), &log
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); !log.contains("serving the console"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("no console: %s", log.String())
		}
	}
	ts.Setenv("DATA", "")
	ts.Setenv("ADMITONE_URL", "http://"+console)
	ts.Setenv("ADMITONE_API_KEY", key)
	ts.Setenv("PUBLIC_URL", "http://"+public)
	ts.Setenv("BY", "key:"+strings.Split(key, "_")[1]+" from=127.0.0.1")
	ts.Setenv("TICKETD_COPY", data+".copy")
	for i := 1; i+1 < len(args); i += 2 { // for commands on the copy
		ts.Setenv("ADMITONE_"+strings.ToUpper(strings.ReplaceAll(args[i][2:], "-", "_")), args[i+1])
	}
}

// comparisons are what the commands of scripts printed.
type comparisons struct {
	mu      sync.Mutex
	scripts int
	all     []comparison
}

// A comparison is what a command printed on a service and on a copy of its data folder.
type comparison struct {
	Args          []string
	Here, Service string
}

func (c *comparisons) add(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scripts++
	data, err := os.ReadFile(path)
	for line := range bytes.Lines(data) {
		var one comparison
		if json.Unmarshal(line, &one) == nil && err == nil {
			c.all = append(c.all, one)
		}
	}
}

// mainByURL is main. For commands that administer a service by its URL, it also runs the
// command on the copy of the service's data folder, and writes what both printed to a file.
func mainByURL() {
	path, data := os.Getenv("TICKETD_COMPARE"), os.Getenv("TICKETD_COPY")
	elsewhere := func(arg string) bool {
		return slices.Contains([]string{"--data", "--database", "--realm", "--public-url", "--last"}, arg)
	}
	if path == "" || data == "" || slices.ContainsFunc(os.Args, elsewhere) || term.IsTerminal(2) {
		main()
		return
	}
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	in, err := io.ReadAll(os.Stdin)
	check(err)
	once := func(args []string, stdout, stderr io.Writer) (int, string) {
		r, w, err := os.Pipe()
		check(err)
		go func() { _, _ = w.Write(in); w.Close() }()
		os.Stdin = r
		var out, errs bytes.Buffer
		code := run(context.Background(), args, io.MultiWriter(stdout, &out), io.MultiWriter(stderr, &errs))
		return code, fmt.Sprintf("%d\n%s%s", code, out.String(), errs.String())
	}
	code, service := once(os.Args[1:], os.Stdout, os.Stderr)
	url := os.Getenv("ADMITONE_URL")
	check(os.Unsetenv("ADMITONE_URL"))
	check(os.Setenv("ADMITONE_DATA", data))
	args := slices.Clone(os.Args[1:])
	ids, _ := os.ReadFile(path + ".ids") // of API keys in both places
	for pair := range strings.FieldsSeq(string(ids)) {
		was, is, _ := strings.Cut(pair, "=")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], was, is)
		}
	}
	_, here := once(args, io.Discard, io.Discard)
	made := regexp.MustCompile(`adm_([a-z2-7]{10})_`)
	if a, b := made.FindStringSubmatch(service), made.FindStringSubmatch(here); a != nil && b != nil {
		check(os.WriteFile(path+".ids", append(ids, a[1]+"="+b[1]+" "...), 0o600))
	}
	service = strings.ReplaceAll(service, url, "URL")
	text, err := json.Marshal(comparison{os.Args[1:], stable(here), stable(service)})
	check(err)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)
	_, err = f.Write(append(text, '\n'))
	check(err)
	check(f.Close())
	os.Exit(code)
}

// random has the parts of outputs that differ from run to run: API keys and their IDs, tickets,
// times, how long an import took, and in events who did it, by which request.
var random = regexp.MustCompile(strings.Join([]string{
	`adm_[a-z2-7_]+`, `\b[a-z2-7]{10}\b`, `20\d\d-\d\d-\d\d[T0-9:.]*Z?`, `in [\d.]+m?s$`, `"seconds":[\d.e-]+`,
	`"details":\{"requestId":"[^"]*"\},`, `\{"requestId":"[^"]*"\}`, `,"requestId":"[^"]*"`,
	`by=\w+:\S+ (machine|from)=\S+`, `"actor":"[^"]*","actorKind":"\w+"`, `"machine":"[^"]*",`, `,"remote":"[^"]*"`,
	`"lastUsed":(null|"[^"]*")`, // of the API key that calls the service
	`no ticket of this service: .*;`, `, or (give|use) .*--last.*`,
	`ta=tkt1_[\w-]+`, `"ticketId":"[0-9a-f]{32}"`, `until \d\d:\d\d:\d\d`,
}, "|"))

// stable returns an output without the parts that differ from run to run, in the order of
// its lines.
func stable(output string) string {
	var lines []string
	for line := range strings.SplitSeq(output, "\n") {
		if strings.Contains(line, "ticket.inspect") { // the service opened a ticket, and not the command
			continue
		}
		// The width of columns differs as well.
		line = strings.Join(strings.Fields(random.ReplaceAllString(line, "")), " ")
		if strings.HasPrefix(line, "admin,console all ") { // the API key that has just been used
			continue
		}
		lines = append(lines, line)
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}
