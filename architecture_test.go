package admitone_test

import (
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/admitone/admitone"

// floors are the storeys of the house, from the top. A package's floor is the first element of its path.
var floors = []string{"examples", "cmd", "client", "verify", "keyring", "token", "internal"}

// leaves bring the clients of other services, or serve tests only. No other library package imports them.
var leaves = []string{
	"keyring/kms", "verify/replay/redisstore", "verify/replay/pgstore", "verify/replay/replaytest",
	"verify/replay/internal/claimtest", "verify/internal/exactstore", "internal/servers", "internal/postgres",
	"internal/floor",
}

// imports returns the packages of the module and, for each, those that it imports, without tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err)
	all := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if words[0] == module { // has no code
			continue
		}
		from := strings.TrimPrefix(words[0], module+"/")
		all[from] = nil
		for _, path := range words[1:] {
			if to, ok := strings.CutPrefix(path, module+"/"); ok {
				all[from] = append(all[from], to)
			}
		}
	}
	return all
}

// floor is the number of a package's floor, counted from the top.
func floor(t *testing.T, pkg string) int {
	t.Helper()
	name, _, _ := strings.Cut(pkg, "/")
	n := slices.Index(floors, name)
	require.GreaterOrEqual(t, n, 0, "%s is on no floor", pkg)
	return n
}

// A program that embeds the library gets Tink, golang.org/x and their own dependencies, and
// nothing else. The client has the standard library alone, and its stand-in what the library has.
func TestLibraryDependencies(t *testing.T) {
	tink := `|github\.com/tink-crypto/tink-go/v2(/.*)?|golang\.org/x/.*|google\.golang\.org/protobuf/.*`
	for pkg := range imports(t) {
		if floor(t, pkg) < floor(t, "client") || slices.Contains(leaves, pkg) {
			continue
		}
		allowed := "^(" + module + "/(token|verify|keyring|internal)(/.*)?" + tink + ")$"
		switch {
		case pkg == "client/clienttest":
			allowed = strings.Replace(allowed, "(token|", "(client|token|", 1)
		case floor(t, pkg) == floor(t, "client"):
			allowed = "^" + module + "/client(/admin)?$"
		}
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+pkg).Output()
		require.NoError(t, err)
		for _, dep := range strings.Fields(string(out)) {
			assert.Regexp(t, allowed, dep, "%s needs it", pkg)
			assert.NotContains(t, leaves, strings.TrimPrefix(dep, module+"/"), pkg)
		}
	}
}

// No import leads to a floor above.
func TestFloors(t *testing.T) {
	for from, all := range imports(t) {
		for _, to := range all {
			assert.LessOrEqual(t, floor(t, from), floor(t, to), "%s imports %s, which is above it", from, to)
		}
	}
}

// All modules, and the workflow, are built with the Go of go.mod: an older one may have faults that are known.
func TestToolchain(t *testing.T) {
	line := regexp.MustCompile(`(?m)^toolchain go(.+)$`)
	version := line.FindStringSubmatch(read(t, "go.mod"))
	require.NotNil(t, version)
	for _, name := range []string{"bench", "examples/routers", "image", "release", "verify/internal/histories"} {
		assert.Equal(t, version, line.FindStringSubmatch(read(t, name+"/go.mod")), name)
	}
	containers := regexp.MustCompile(`container: golang:(.+)-bookworm`).FindAllStringSubmatch(
		read(t, ".github/workflows/ci.yml"), -1)
	require.NotEmpty(t, containers)
	for _, container := range containers {
		assert.Equal(t, version[1], container[1])
	}
}

var update = flag.Bool("update", false, "write the drawing of the imports into docs/architecture.md")

// drawing is the picture of the packages and their imports, by floors, in lines of at most 100 columns.
func drawing(imports map[string][]string) string {
	var b strings.Builder
	for _, floor := range floors {
		fmt.Fprintf(&b, "== %s ==\n", floor)
		for _, pkg := range slices.Sorted(maps.Keys(imports)) {
			if name, _, _ := strings.Cut(pkg, "/"); name != floor {
				continue
			}
			line := pkg
			if len(imports[pkg]) > 0 {
				line += " →"
			}
			for _, to := range slices.Sorted(slices.Values(imports[pkg])) {
				if utf8.RuneCountInString(line)+1+len(to) > 100 {
					b.WriteString(line + "\n")
					line = "   "
				}
				line += " " + to
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// docs/architecture.md draws every package and every import, and says of each package what
// lives there.
func TestArchitecture(t *testing.T) {
	data, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	page, all := string(data), imports(t)
	m := regexp.MustCompile("(?s)```text\n(== .*?)```").FindStringSubmatch(page)
	require.NotNil(t, m, "the page has the drawing")
	if *update {
		page = strings.Replace(page, m[1], drawing(all), 1)
		require.NoError(t, os.WriteFile("docs/architecture.md", []byte(page), 0o644))
	} else {
		assert.Equal(t, drawing(all), m[1], "go test -run TestArchitecture . -update draws anew")
	}
	// A paragraph begins with the names of its packages in bold.
	var described []string
	for _, m := range regexp.MustCompile(`(?m)^\*\*(.*?)\*\*`).FindAllStringSubmatch(page, -1) {
		for _, name := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(m[1], -1) {
			described = append(described, name[1])
		}
	}
	slices.Sort(described)
	assert.Equal(t, slices.Sorted(maps.Keys(all)), described, "one paragraph a package")
}

// The README's Go code is the Example's, so that it compiles and runs.
func TestReadmeCodeIsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	example, err := os.ReadFile("verify/example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, blocks, 1)
	assert.Contains(t, string(example), blocks[0][1])
}

// What the specification shows is in the golden vectors.
func TestSpecExampleIsAVector(t *testing.T) {
	spec, err := os.ReadFile("token/SPEC.md")
	require.NoError(t, err)
	vector, err := os.ReadFile("testdata/vectors/good-reference.txt")
	require.NoError(t, err)
	ticket := regexp.MustCompile(`tkt1_[A-Za-z0-9_-]{20,}`).FindString(string(spec))
	require.NotEmpty(t, ticket)
	assert.Contains(t, string(vector), `"`+ticket+`"`)

	// The payload's lines: hexadecimal at the beginning, words after it.
	example, _, ok := strings.Cut(string(spec), "Sealed in the realm")
	require.True(t, ok)
	var payload strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^    ((?:[0-9a-f]{2,} ?)+) {2,}`).FindAllStringSubmatch(example, -1) {
		payload.WriteString(strings.ReplaceAll(m[1], " ", ""))
	}
	assert.Contains(t, string(vector), "payload: "+payload.String()+"\n")
	_, after, _ := strings.Cut(string(spec), "Sealed in the realm")
	after, _, _ = strings.Cut(after, "## Conventions")
	checkValues(t, after, string(vector), ticket, 6)
	_, vectors, ok := strings.Cut(string(spec), "### Random tickets")
	require.True(t, ok)
	hash := strings.TrimSpace(regexp.MustCompile(`(?m)^    [0-9a-f]{64}$`).FindString(vectors))
	require.NotEmpty(t, hash)
	codec, err := os.ReadFile("token/codec_test.go")
	require.NoError(t, err)
	assert.Contains(t, string(codec), hash)

	// Format 2: each value of the example is in its vector, or is a key.
	_, second, ok := strings.Cut(string(spec), "### Example of format 2")
	require.True(t, ok)
	second, _, _ = strings.Cut(second, "###")
	vector, err = os.ReadFile("testdata/signed/good-reference-2.txt")
	require.NoError(t, err)
	ticket = regexp.MustCompile(`tkt2_[A-Za-z0-9_-]{20,}`).FindString(second)
	require.NotEmpty(t, ticket)
	assert.Contains(t, string(vector), `"`+ticket+`"`)
	checkValues(t, second, string(vector), ticket, 20)
}

// checkValues compares the values that an example shows with its vector.
func checkValues(t *testing.T, example, vector, ticket string, count int) {
	t.Helper()
	values := regexp.MustCompile(`(?m)^    ([a-z' -]+?) {2,}([0-9a-f]+(?:\n {6,}[0-9a-f]+)*)$`).FindAllStringSubmatch(example, -1)
	require.Len(t, values, count)
	for _, m := range values {
		name, value := m[1], strings.Join(strings.Fields(m[2]), "")
		switch name {
		case "public key", "issuer's key": // the vector has only the private keys
		case "sealed":
			sealed, err := base64.RawURLEncoding.DecodeString(ticket[5:])
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(sealed), value)
		default:
			assert.Contains(t, vector, name+": "+value+"\n")
		}
	}
}
