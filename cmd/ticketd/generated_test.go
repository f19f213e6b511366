package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients that generators make from the description that the service serves administer the
// service.
func TestGeneratedClients(t *testing.T) {
	if testing.Short() {
		t.Skip("the generators take a while; the whole run has them")
	}
	t.Parallel()
	data, console := t.TempDir(), freeAddress(t)
	administer(t, "init", "--data", data)
	administer(t, "administrator", "add", "root", "--role", "admin", "--all-brands", "--data", data)
	key := func(scope string) string {
		return administer(t, "apikey", "add", "--all-brands", "--scopes", scope, "--data", data)
	}
	env := append(os.Environ(), "URL=http://"+console, "ADMIN_KEY="+key("admin"), "CONSOLE_KEY="+key("console"))
	p := start(t, "serve", "--data", data, "--listen", freeAddress(t), "--console-listen", console, "--rate-limit", "1000")
	p.logs("serving the console")
	response, err := http.Get("http://" + console + "/admin/openapi.yaml")
	require.NoError(t, err)
	defer response.Body.Close()
	document, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	// prepare returns a copy of a folder, with the description, and what runs a command in it.
	prepare := func(t *testing.T, name string) (dir string, do func(name string, args ...string) string) {
		dir = t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.yaml"), document, 0o600))
		return dir, func(name string, args ...string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), name, args...)
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
			return string(out)
		}
	}
	t.Run("clients", func(t *testing.T) { generatedClients(t, prepare) })
	// The trail names the API key as who did it.
	assert.Contains(t, administer(t, "audit", "--action", "brand.add", "--data", data), "by=key:")
}

func generatedClients(t *testing.T, prepare func(*testing.T, string) (string, func(string, ...string) string)) {
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		needs(t, "go")
		dir, do := prepare(t, "oapi")
		download := exec.CommandContext(t.Context(), "go", "mod", "download")
		download.Dir = dir
		if out, err := download.CombinedOutput(); err != nil && os.Getenv("CI") != "true" {
			t.Skipf("the generator cannot be had: %v: %s", err, out)
		}
		// The program has another name there, because it cannot be built without what is generated.
		require.NoError(t, os.Rename(filepath.Join(dir, "main.go.txt"), filepath.Join(dir, "main.go")))
		assert.Empty(t, do("gofmt", "-l", "main.go"))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "admin"), 0o700))
		do("go", "tool", "oapi-codegen", "-config", "config.yaml", "-o", "admin/admin.go", "openapi.yaml")
		assert.Equal(t, "administered\n", do("go", "run", "."))
	})
	t.Run("typescript", func(t *testing.T) {
		t.Parallel()
		node, modules := needs(t, "node"), os.Getenv("TYPESCRIPT_MODULES")
		if modules == "" {
			if os.Getenv("CI") == "true" {
				t.Fatal("TYPESCRIPT_MODULES is not set")
			}
			t.Skip("TYPESCRIPT_MODULES names no folder node_modules; npm ci in testdata/typescript makes one")
		}
		dir, do := prepare(t, "typescript")
		require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
		do(node, "node_modules/openapi-typescript/bin/cli.js", "openapi.yaml", "-o", "schema.d.ts")
		do(node, "node_modules/typescript/bin/tsc", "-p", ".") // checks the types as well
		assert.Equal(t, "administered\n", do(node, "administer.js"))
	})
}
