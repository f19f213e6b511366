package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// A client that a generator makes of openapi.yaml asks for a ticket and spends it.
func TestGeneratedClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a generator and a client")
	}
	t.Parallel()
	w := newWorld(t)
	key := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}, Brands: []string{"commbox"}})
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "URL="+w.server.URL, "KEY="+key, "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return string(out)
	}
	// What comes from the module proxy: its absence is no fault of the document.
	fetch := func(modules ...string) {
		t.Helper()
		get := func() ([]byte, error) {
			cmd := exec.CommandContext(t.Context(), "go", append([]string{"get"}, modules...)...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
			return cmd.CombinedOutput()
		}
		out, err := get()
		for tries := 1; err != nil && tries < 3; tries++ {
			time.Sleep(time.Second)
			out, err = get()
		}
		if err != nil {
			if os.Getenv("CI") == "" {
				t.Skipf("the module proxy is out of reach: %s", out)
			}
			t.Fatalf("fetching %v: %s", modules, out)
		}
	}
	program, err := os.ReadFile("testdata/client/main.go")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.yaml"), openAPI, 0o600))
	run("go", "mod", "init", "client")
	fetch("-tool", "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2")
	run("go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", "generated.go", "openapi.yaml")
	fetch("github.com/oapi-codegen/runtime@v1.8.0", "go.yaml.in/yaml/v3@v3.0.5")
	assert.Equal(t, "200 admitted john.d already_used\n", run("go", "run", "."))
}
