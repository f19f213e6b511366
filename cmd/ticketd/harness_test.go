package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// The tests run this very binary as ticketd, in processes of its own.
func TestMain(m *testing.M) {
	if os.Getenv("TICKETD_TEST_AS_MAIN") != "" {
		main()
		return
	}
	// Most of them wait for processes, time-outs and polls. The flag -parallel wins.
	_ = flag.Set("test.parallel", "6")
	transport := http.DefaultTransport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 100 // of as many clients at once
	// All share it, so no httptest.Server may close its idle connections: one on which
	// an answer without a body has just come is idle before its client has the answer.
	http.DefaultTransport = struct{ http.RoundTripper }{transport}
	testscript.Main(everything{m}, map[string]func(){"ticketd": mainByURL})
}

// everything is all tests, and removes in the end what they share.
type everything struct{ *testing.M }

func (e everything) Run() int {
	defer servers.End()
	defer func() { _ = os.RemoveAll(shared.dir) }()
	return e.M.Run()
}

// shared is what is built once for all tests.
var shared struct {
	sync.Mutex
	dir   string
	built map[string]bool
}

// buildKeyring builds the keyring command, and returns its path.
func buildKeyring(t *testing.T) string {
	t.Helper()
	return build(t, "keyring")
}

// build builds another command of this module, and returns its path.
func build(t *testing.T, name string) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "ticketd-test-")
		require.NoError(t, err)
		shared.dir, shared.built = dir, make(map[string]bool)
	}
	exe := filepath.Join(shared.dir, name)
	if !shared.built[name] {
		out, err := exec.Command("go", "build", "-o", exe, "../"+name).CombinedOutput()
		require.NoError(t, err, string(out))
		shared.built[name] = true
	}
	return exe
}

// needs skips a test where a program is missing; in CI that is a failure.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// freeAddress returns an address of the loopback interface that nobody listens on,
// nor is given by chance.
func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
}
