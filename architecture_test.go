package admitone_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who embeds the library gets Tink and golang.org/x with it, and what those
// need, and nothing else.
func TestLibraryDependencies(t *testing.T) {
	allowed := regexp.MustCompile(`^(github\.com/admitone/admitone|github\.com/tink-crypto/tink-go/v2|golang\.org/x/|google\.golang\.org/protobuf)(/|$|[a-z])`)
	for _, pkg := range []string{"token", "verify", "verify/replay", "verify/web", "keyring"} {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+pkg).Output()
		require.NoError(t, err)
		deps := strings.Fields(string(out))
		require.NotEmpty(t, deps)
		for _, dep := range deps {
			assert.Regexp(t, allowed, dep, "%s needs it", pkg)
			assert.NotContains(t, dep, "admitone/cmd/", pkg)
		}
	}
	// A backend that only calls the service gets nothing but the standard library.
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./client").Output()
	require.NoError(t, err)
	assert.Equal(t, "github.com/admitone/admitone/client\n", string(out))
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
	hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(string(spec))
	codec, err := os.ReadFile("token/codec_test.go")
	require.NoError(t, err)
	assert.Contains(t, string(codec), hash)
}
