//go:build unix

package admitone_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// Commands of the documents that no test can run as they stand, each with the reason.
var notRun = map[string]string{
	"go run ./cmd/ticketd demo":                                 "serves until Ctrl-C; TestReadmeDemo runs it",
	"cd bench && go run .":                                      "measures for minutes; bench has tests with tiny rounds",
	"cd bench && go run . -only soak":                           "measures for minutes; bench has tests with tiny rounds",
	"cd bench && go run . -only replay":                         "measures for a minute; bench has tests with tiny rounds",
	"cd bench && go run . -only http -clients 64 -route redeem": "measures for a minute; bench has tests with tiny rounds",
	"cd bench && go run . -only shared -clients 64,256":         "measures for a minute; bench has tests with tiny rounds",
	"cd bench && go run . -only start,size":                     "builds and measures for a minute; bench has tests with tiny rounds",
	"cd verify/internal/histories && go run . -histories 1000 -seed 1": "" +
		"runs for half an hour; histories has tests with few",
	"cd release && go run . -o ../dist":                                                "builds for minutes; release has tests with one system",
	"go run golang.org/x/vuln/cmd/govulncheck@v1.8.0 -db file:///var/lib/vulndb ./...": "needs a copy of the database",
	"ADMITONE_API_KEY=$KEY ticket bench --url $URL --brand commbox --rate 20 --duration 30s": "" +
		"fails if the machine is too busy for the rate; cmd/ticket has tests of bench",
}

// Programs whose lines no test can run, each with the reason.
var programsNotRun = map[string]string{
	"kubectl":                         "needs a cluster; TestKubernetes runs the pods of the manifests",
	".ci/fuzz":                        "runs for an hour; .ci/run runs it with fewer inputs",
	"GOVULNDB=file:///var/lib/vulndb": "needs a copy of the database",
}

// The page whose commands TestInstalled of module release runs, in a root of their own.
const installPage = "docs/install.md"

// continues matches the sentence of a page whose commands continue those of another page. The test runs the other
// page's first, in the same shell.
var continues = regexp.MustCompile(`The commands on this page continue those of the \[[^]]+\]\(([^)#]+)[^)]*\)`)

func TestMain(m *testing.M) {
	_ = os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // Debian's place of haproxy, off the PATH of users
	code := m.Run()
	servers.End()
	_ = os.RemoveAll(programs.dir)
	_ = os.RemoveAll(image.dir)
	os.Exit(code)
}

// programs is the folder of the commands, built once.
var programs struct {
	sync.Once
	dir string
	err error
}

// buildPrograms installs all commands as the README does, and returns their folder.
func buildPrograms(t *testing.T) string {
	t.Helper()
	programs.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "admitone-test-"); programs.err != nil {
			return
		}
		cmd := exec.Command("go", "install", "./cmd/...")
		cmd.Env = append(os.Environ(), "GOBIN="+programs.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	require.NoError(t, programs.err)
	return programs.dir
}

// needs skips the test where a program is missing, and fails it on CI.
func needs(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed, and CI is set", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

// documents returns all pages of the repository.
func documents(t *testing.T) (all []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			all = append(all, path)
		}
		return nil
	}))
	for _, page := range []string{"README.md", "docs/ticketd.md", "docs/handbook/README.md", "examples/node/README.md",
		"token/SPEC.md"} {
		require.Contains(t, all, page)
	}
	return all
}

// allBlocks returns the blocks of a document, after those of the pages that it continues.
func allBlocks(t *testing.T, file string) []block {
	t.Helper()
	if m := continues.FindStringSubmatch(squeeze(read(t, file))); m != nil {
		return append(allBlocks(t, filepath.Join(filepath.Dir(file), m[1])), blocks(t, file)...)
	}
	return blocks(t, file)
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}

// block is a fenced block of a document.
type block struct {
	file, language, text string
	line                 int
}

// blocks returns the fenced blocks of a document, in order.
func blocks(t *testing.T, file string) (all []block) {
	t.Helper()
	b, inside := block{}, false
	for i, line := range strings.Split(read(t, file), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			all, inside = append(all, b), false
		case fence:
			b, inside = block{file: file, language: language, line: i + 2}, true
		case inside:
			b.text += line + "\n"
		}
	}
	require.False(t, inside, "%s: a block is not closed", file)
	return all
}

// Every block says what it is, so that no command escapes the tests.
func TestBlocksHaveALanguage(t *testing.T) {
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			assert.Contains(t, []string{"sh", "go", "json", "text"}, b.language, "%s:%d", file, b.line)
		}
		if file != "token/SPEC.md" { // its indented blocks are bytes and grammars
			assert.NotRegexp(t, `(?m)^\n {4}\S`, read(t, file), "%s: fence the block, and name its language", file)
		}
	}
}

// A block of output has no commands: those would escape the tests.
func TestBlocksOfTextHaveNoCommand(t *testing.T) {
	command := regexp.MustCompile(`(?m)^(\$ |sudo |export |ticketd [a-z-]+ |keyring [a-z-]+ |ticket [a-z-]+ |` +
		`(curl|go|systemctl|psql|redis-cli|kubectl|docker|dpkg|apt|rpm|mkdir|cp|mv) |[A-Z_]+=\S)`)
	output := regexp.MustCompile(`^ticketd version `)
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if b.language == "text" && file != installPage && !output.MatchString(b.text) {
				assert.NotRegexp(t, command, b.text, "%s:%d: make the block sh, so that the tests run it", file, b.line)
			}
		}
	}
}

// Commands that are not run are still in a document, and each has a reason.
func TestNotRunIsStillThere(t *testing.T) {
	var all strings.Builder
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			all.WriteString(b.text)
		}
	}
	for line, reason := range notRun {
		assert.Contains(t, all.String(), line+"\n")
		assert.NotEmpty(t, reason)
	}
	for program, reason := range programsNotRun {
		assert.Contains(t, all.String(), "\n"+program+" ")
		assert.NotEmpty(t, reason)
	}
}

// Each document's shell blocks run in order, in one shell, and print what the blocks
// after them show. In those, … stands for anything.
func TestDocumentedCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts services")
	}
	needs(t, "bash", "curl", "openssl")
	for _, file := range documents(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var env []string
			switch file {
			case "docs/handbook/alarms.md":
				needs(t, "psql", "redis-cli", "prlimit")
			case "docs/handbook/machines.md":
				needs(t, "haproxy")
			case "docs/upgrading.md":
				needs(t, "psql")
			case "examples/node/README.md", "examples/webcrypto/README.md":
				needs(t, "node")
			case "examples/signed-php/README.md", "examples/php/README.md":
				needs(t, "php")
			case "examples/python/README.md":
				needs(t, "python3")
			case "examples/java/README.md":
				needs(t, "java")
			case "docs/containers.md":
				env = withDocker(t)
			}
			all := allBlocks(t, file)
			if !slices.ContainsFunc(all, func(b block) bool { return b.language == "sh" }) {
				return
			}
			outputs := run(t, all, env...)
			for i := 1; i < len(all); i++ {
				shown, before := all[i], all[i-1]
				if before.language == "sh" && (shown.language == "text" || shown.language == "json") {
					assert.Regexp(t, pattern(shown), squeeze(outputs[i-1]), "%s:%d", shown.file, shown.line)
				}
			}
		})
	}
}

// squeeze leaves one space for any white space, since documents break long lines.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// pattern is a regular expression for what a block shows.
func pattern(b block) string {
	text := regexp.QuoteMeta(squeeze(b.text))
	if b.language == "json" {
		text = strings.ReplaceAll(text, " ", " ?")
	}
	return strings.ReplaceAll(text, "…", ".*")
}

// run runs the shell blocks with more in the environment, and returns the standard output of each.
func run(t *testing.T, all []block, env ...string) []string {
	t.Helper()
	bin, dir := buildPrograms(t), t.TempDir()
	repository, err := os.Getwd()
	require.NoError(t, err)
	var script strings.Builder
	// The commands of Go are the checkout's. Installing gives the programs built by the same command. The stand-ins for
	// systemd run one unit, with the variables of the shell.
	script.WriteString(`set -euo pipefail
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
go() {
  if [ "$*" = "install ./cmd/..." ]; then mkdir -p "$GOBIN"; ln -sf "$PROGRAMS"/* "$GOBIN"; else (cd "$REPOSITORY" && command go "$@"); fi
}
systemctl() {
  if [ "$1" != start ] && kill "$UNIT"; then wait "$UNIT"; fi
  if [ "$1" != stop ]; then
    ticketd serve --listen localhost:8080 --metrics-listen localhost:9464 2>>"$TMPDIR/journal" &
    UNIT=$!
  fi
}
journalctl() { cat "$TMPDIR/journal"; }
docker() { "$REPOSITORY/testdata/container/docker" "$@"; }
`)
	for i, b := range all {
		if b.language == "sh" {
			fmt.Fprintf(&script, "exec >'%s/out/%d'\n%s", dir, i, runnable(t, b))
		}
	}
	text := onSparePorts(t, script.String())
	for _, sub := range []string{"out", "tmp", "work"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(t, os.Symlink(filepath.Join(repository, "examples"), filepath.Join(dir, "work", "examples")))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", text)
	cmd.Dir = filepath.Join(dir, "work")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ADMITONE_") && !strings.HasPrefix(variable, "GOBIN=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"), "GOBIN="+bin, "PROGRAMS="+bin,
		"REPOSITORY="+repository, "TMPDIR="+dir+"/tmp")
	cmd.Env = append(cmd.Env, env...)
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	require.NoError(t, err)
	defer stderr.Close()
	cmd.Stderr = stderr
	inGroup(cmd)
	defer endGroup(t, cmd)
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(stderr.Name())
		require.NoError(t, err, string(said))
	}
	outputs := make([]string, len(all))
	for i, b := range all {
		if b.language == "sh" {
			outputs[i] = read(t, filepath.Join(dir, "out", fmt.Sprint(i)))
		}
	}
	return outputs
}

// inGroup starts a command in a process group of its own, which stops with it.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// endGroup stops the processes that a command left in its group.
func endGroup(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	if cmd.ProcessState == nil {
		go func() { _ = cmd.Wait() }()
	}
	assert.Eventually(t, func() bool { return syscall.Kill(-cmd.Process.Pid, 0) != nil }, time.Minute, 10*time.Millisecond)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// runnable is a shell block without the lines that cannot run. Of "go test" lines,
// which would run the suite within itself, it checks the names.
func runnable(t *testing.T, b block) string {
	t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(b.text) {
		program, _, _ := strings.Cut(line, " ")
		switch {
		case notRun[strings.TrimSpace(line)] != "", programsNotRun[program] != "":
		case strings.Contains(line, "go test "):
			checkGoTest(t, b, line)
		default:
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// checkGoTest checks that a "go test" line names tests, benchmarks and packages that there are.
func checkGoTest(t *testing.T, b block, line string) {
	t.Helper()
	_, line, _ = strings.Cut(line, "go test ")
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(strings.ReplaceAll(line, "'", ""))
	var names []string
	var packages []string
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "-run", "-bench":
			kind := map[string]string{"-run": "Test", "-bench": "Benchmark"}[words[i]]
			i++
			if words[i] != "^$" {
				names = append(names, "func "+kind+`\w*`+strings.Trim(strings.TrimPrefix(words[i], kind), "$^"))
			}
		case "-v":
		case "-timeout":
			i++
		default:
			packages = append(packages, words[i])
		}
	}
	require.NotEmpty(t, packages, "%s:%d", b.file, b.line)
	for _, pkg := range packages {
		files, err := filepath.Glob(strings.TrimSuffix(pkg, "/...") + "/*_test.go")
		require.NoError(t, err)
		require.NotEmpty(t, files, "%s:%d: %s", b.file, b.line, pkg)
		var code strings.Builder
		for _, file := range files {
			code.WriteString(read(t, file))
		}
		for _, name := range names {
			assert.Regexp(t, name, code.String(), "%s:%d: %s", b.file, b.line, pkg)
		}
	}
}

// onSparePorts replaces the addresses in a script: spare ports for the documents' own
// and for those that containers publish, and the URLs of databases by those of servers started for the test.
func onSparePorts(t *testing.T, script string) string {
	t.Helper()
	if url := "redis://localhost:6379"; strings.Contains(script, url) {
		script = strings.ReplaceAll(script, url, servers.Redis(t, "").URL)
	}
	if url := "postgres://localhost/ticketd"; strings.Contains(script, url) {
		script = strings.ReplaceAll(script, url, servers.Database(t))
	}
	ports := make(map[string]string)
	return regexp.MustCompile(`(localhost:| -p )\d+`).ReplaceAllStringFunc(script, func(address string) string {
		at := strings.LastIndexAny(address, ": ") + 1
		port := address[at:]
		if ports[port] == "" {
			ports[port] = fmt.Sprint(servers.Port(t))
		}
		return address[:at] + ports[port]
	})
}

// The README's first command serves a whole deployment, and the curl lines that it
// prints give tickets that admit.
func TestReadmeDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a service")
	}
	needs(t, "bash", "curl")
	t.Parallel()
	buildPrograms(t) // so that go run has only to link
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	first := blocks(t, "README.md")[0]
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.SplitN(first.text, "\n", 2)[0])
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	inGroup(cmd)
	require.NoError(t, cmd.Start())
	defer endGroup(t, cmd)
	var curls, pages []string
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != "Ctrl-C ends it."; {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "curl "):
			curls = append(curls, line)
		case strings.HasSuffix(line, "?ta=TICKET"):
			pages = append(pages, strings.TrimSuffix(line, "TICKET"))
		}
	}
	require.Len(t, curls, 2, stderr.String())
	require.Len(t, pages, 2)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i := range curls {
		out, err := exec.CommandContext(ctx, "bash", "-c", curls[i]).Output()
		require.NoError(t, err)
		ticket := regexp.MustCompile(`tkt1_[A-Za-z0-9_-]+`).FindString(string(out))
		require.NotEmpty(t, ticket, string(out))
		for _, want := range []int{http.StatusSeeOther, http.StatusForbidden} {
			answer, err := client.Get(pages[i] + ticket)
			require.NoError(t, err)
			_ = answer.Body.Close()
			assert.Equal(t, want, answer.StatusCode, pages[i])
		}
	}
}

// Every command and flag that a document names in its text is one that the programs have.
func TestNamedCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	help := make(map[string]string)
	var visit func(words string)
	visit = func(words string) {
		args := strings.Fields(words)
		out, err := exec.Command(filepath.Join(buildPrograms(t), args[0]), append(args[1:], "--help")...).Output()
		require.NoError(t, err, words)
		help[words] = string(out)
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) +[A-Z]`).FindAllStringSubmatch(help[words], -1) {
			if m[1] != "help" && help[words+" "+m[1]] == "" && len(args) < 3 {
				visit(words + " " + m[1])
			}
		}
	}
	for _, program := range []string{"ticketd", "keyring", "ticket"} {
		visit(program)
	}
	var all strings.Builder
	for _, text := range help {
		all.WriteString(text)
	}
	require.Greater(t, len(help), 40)
	command := regexp.MustCompile(`^(ticketd|keyring|ticket)( [a-z][a-z-]*)*`)
	event := regexp.MustCompile(`^ticket (issued|redeemed|refused|not decided|inspected|revoked)$`)
	flag := regexp.MustCompile(`--[a-z][a-z0-9-]+`)
	for _, file := range documents(t) {
		text := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(read(t, file), "")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
			span := squeeze(m[1])
			if strings.HasPrefix(span, "redis-cli ") { // another's program
				continue
			}
			of := all.String()
			if name := command.FindString(span); strings.Contains(name, " ") && !event.MatchString(span) {
				for help[name] == "" { // arguments
					name = name[:strings.LastIndex(name, " ")]
				}
				assert.Contains(t, name, " ", "%s: `%s`: no such command", file, span)
				of = help[name]
			}
			for _, name := range flag.FindAllString(span, -1) {
				assert.Regexp(t, regexp.QuoteMeta(name)+`\b`, of, "%s: `%s`", file, span)
			}
		}
	}
}

// Links of the documents within the repository lead somewhere, and so do the pages of the alerts.
func TestLinks(t *testing.T) {
	for _, file := range documents(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(m[1], "://") {
				leads(t, file, m[1])
			}
		}
	}
	const rules, page = "examples/prometheus/rules.yml", "runbook_url: https://github.com/admitone/admitone/blob/main/"
	pages := regexp.MustCompile(page+`(\S+#\S+)`).FindAllStringSubmatch(read(t, rules), -1)
	assert.Len(t, pages, strings.Count(read(t, rules), "- alert: "))
	for _, m := range pages {
		leads(t, rules, "../../"+m[1])
	}
}

var heading = regexp.MustCompile(`(?m)^#+ (.*)$`)

// leads checks a link of a file to another file, or to a heading.
func leads(t *testing.T, file, link string) {
	t.Helper()
	path, anchor, _ := strings.Cut(link, "#")
	target := file
	if path != "" {
		target = filepath.Join(filepath.Dir(file), path)
	}
	if _, err := os.Stat(target); !assert.NoError(t, err, file) || anchor == "" {
		return
	}
	var anchors []string
	for _, h := range heading.FindAllStringSubmatch(read(t, target), -1) {
		words := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		anchors = append(anchors, strings.ReplaceAll(words, " ", "-"))
	}
	assert.Contains(t, anchors, anchor, "%s: %s", file, link)
}

// namedTest matches a test as docs/guarantees.md names it: its package and its function.
var namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")

// Each promise names tests that exist.
func TestGuaranteesHaveTests(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "docs/guarantees.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise |") {
			continue
		}
		rows++
		named := namedTest.FindAllStringSubmatch(line, -1)
		assert.NotEmpty(t, named, "names no test: %s", line)
		for _, n := range named {
			files, err := filepath.Glob(filepath.Join(n[1], "*_test.go"))
			require.NoError(t, err)
			assert.True(t, slices.ContainsFunc(files, func(file string) bool {
				source, err := os.ReadFile(file)
				return err == nil && bytes.Contains(source, []byte("\nfunc "+n[2]+"("))
			}), "package %s has no %s", n[1], n[2])
		}
	}
	assert.NotZero(t, rows)
}
