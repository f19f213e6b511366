package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// The tests run this binary as the process of a journal.
func TestMain(m *testing.M) {
	if dir := os.Getenv(journalVariable); dir != "" {
		if err := serveJournal(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = flag.Set("test.parallel", "8") // most tests wait, for servers and for the times of faults
	os.Exit(m.Run())
}

// skipIfMissing skips the test if its servers are not installed. With CI set, package servers
// makes this another error.
func skipIfMissing(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, servers.ErrMissing) {
		t.Skip(err)
	}
}

// Each store's histories are accepted. The program makes more of them.
func TestStores(t *testing.T) {
	for name := range deployments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := runStore(t.Context(), name, t.TempDir(), rand.Uint64()>>1, 12, t.Logf)
			skipIfMissing(t, err)
			require.NoError(t, err)
			assert.Equal(t, 12, w.Histories)
			assert.Empty(t, w.Rejected)
			assert.Zero(t, w.Missed)
			assert.NotZero(t, w.Doctored)
		})
	}
}

// A promise that a real server does not keep is found: Redis is said to be durable, and comes
// back from a snapshot without the claims after it.
func TestBrokenPromise(t *testing.T) {
	t.Parallel()
	d, err := deploy("snapshots", t.TempDir(), func(h *servers.Host) *deployment {
		server := servers.Redis(h, "", servers.Forgetful...)
		d := &deployment{clients: redisHandles(h, func(int) redisstore.Config {
			return redisstore.Config{URL: server.URL, Durable: true}
		})}
		d.faults = []fault{{name: "back from a snapshot", weight: 1, server: true, lasts: 30 * time.Millisecond,
			takes: 100 * time.Millisecond, begin: func(*rand.Rand) func() {
				server.Do("SAVE")
				return func() { server.Kill(); server.Start() }
			}}}
		return d
	})
	skipIfMissing(t, err)
	require.NoError(t, err)
	defer d.end()
	assert.NotZero(t, histories(t, d, found), "not found in %d histories", found)
}

// at is a claim of ticket 0 in a history of the test's own.
func at(call, end int64, binding byte, r result) porcupine.Operation {
	in := claim{binding: binding, call: call, end: end}
	out := answer{result: r}
	if r == repeated || r == used {
		out.first = 1
	}
	return porcupine.Operation{Input: in, Call: call, Output: out, Return: end}
}

func TestSpecification(t *testing.T) {
	grace := int64(replay.Grace)
	for _, test := range []struct {
		name      string
		ok        bool
		mayForget bool
		ops       []porcupine.Operation
	}{
		{"once", true, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 2, used), at(5, 6, 0, used)}},
		{"twice", false, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 2, admitted)}},
		{"twice to one binding, and not as repeated", false, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 1, admitted)}},
		{"twice at once", false, false, []porcupine.Operation{at(1, 4, 1, admitted), at(2, 3, 2, admitted)}},
		{"used before the admission", false, false, []porcupine.Operation{at(1, 2, 2, used), at(3, 4, 1, admitted)}},
		{"used while the admission is under way", true, false, []porcupine.Operation{at(1, 4, 1, admitted), at(2, 3, 2, used)}},
		{"used, and never admitted", false, false, []porcupine.Operation{at(1, 2, 1, used)}},
		{"used after an unknown claim", true, false, []porcupine.Operation{at(1, never, 1, unknown), at(3, 4, 2, used)}},
		{"an unknown claim has no effect", true, false, []porcupine.Operation{at(1, never, 1, unknown), at(3, 4, 2, admitted)}},
		{"an unknown claim has no second effect", false, false, []porcupine.Operation{at(1, never, 1, unknown), at(3, 4, 2, used), at(5, 6, 2, admitted)}},
		{"an unknown claim's effect before it began", false, false, []porcupine.Operation{at(1, 2, 2, used), at(3, never, 1, unknown)}},
		{"repeated", true, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 1, repeated)}},
		{"repeated after an unknown claim", true, false, []porcupine.Operation{at(1, never, 1, unknown), at(3, 4, 1, repeated)}},
		{"repeated to another binding", false, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 2, repeated)}},
		{"repeated without a binding", false, false, []porcupine.Operation{at(1, 2, 0, admitted), at(3, 4, 0, repeated)}},
		{"used within the grace", false, false, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 1, used)}},
		{"used after the grace", true, false, []porcupine.Operation{at(1, 2, 1, admitted), at(grace, grace+2, 1, used)}},
		{"repeated after the grace", false, false, []porcupine.Operation{at(1, 2, 1, admitted), at(2*grace, 2*grace+1, 1, repeated)}},
		{"refused", false, false, []porcupine.Operation{at(1, 2, 1, refused)}},
		{"refused after a loss", true, true, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 1, refused)}},
		{"admitted after a refusal", false, true, []porcupine.Operation{at(1, 2, 1, refused), at(3, 4, 1, admitted)}},
		{"twice after a loss", false, true, []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 2, admitted)}},
		{"an answer of no history", false, true, []porcupine.Operation{at(1, 2, 1, foreign)}},
	} {
		h := &history{operations: test.ops, mayForget: test.mayForget}
		assert.Equal(t, test.ok, h.check(), test.name)
	}
	other := at(5, 6, 2, used)
	other.Output = answer{result: used, first: 2}
	h := &history{operations: []porcupine.Operation{at(1, 2, 1, admitted), at(3, 4, 2, used), other}}
	assert.False(t, h.check(), "two times of the first use")
}

// A doctored history lacks nothing that the checker sees.
func TestDoctored(t *testing.T) {
	h := &history{operations: []porcupine.Operation{
		at(1, never, 3, unknown), at(1, 4, 1, admitted), at(2, 6, 2, used), at(7, 8, 2, used), at(7, 9, 1, repeated),
	}}
	require.True(t, h.check())
	before := slices.Clone(h.operations)
	all := h.doctored()
	assert.Len(t, all, 4)
	for what, doctored := range all {
		assert.False(t, doctored.check(), what)
	}
	assert.Equal(t, before, h.operations)
}

// A cut holds bytes and the end of a connection, and loses nothing unless the link ends with
// the cut.
func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	host := servers.NewHost(t.TempDir())
	defer host.End()
	p := newProxy(host)
	p.leadTo(server.Addr().String())
	for _, reset := range []bool{false, true} {
		client, err := net.Dial("tcp", p.address())
		require.NoError(t, err)
		served, err := server.Accept()
		require.NoError(t, err)
		send := func(from, to net.Conn, text string) {
			_, err := io.WriteString(from, text)
			require.NoError(t, err)
			got := make([]byte, len(text))
			_, err = io.ReadFull(to, got)
			require.NoError(t, err)
			assert.Equal(t, text, string(got))
		}
		send(client, served, "one")
		r := &rule{toServer: true, share: 1, rand: rand.New(rand.NewPCG(1, 1))}
		p.apply(r)
		_, err = io.WriteString(client, "two")
		require.NoError(t, err)
		send(served, client, "the other way")
		require.NoError(t, client.Close())
		p.lift(r, reset)
		got, _ := io.ReadAll(served)
		assert.Equal(t, map[bool]string{false: "two", true: ""}[reset], string(got))
		require.NoError(t, served.Close())
	}
}

func TestUsage(t *testing.T) {
	var help bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-help"}, io.Discard, &help), flag.ErrHelp)
	assert.Contains(t, help.String(), "go run . -stores")
	for _, args := range []string{"-stores none", "-histories 0", "-seed x", "-wrong", "histories"} {
		assert.ErrorIs(t, run(t.Context(), strings.Fields(args), io.Discard, io.Discard), errUsage, args)
	}
}

func TestTable(t *testing.T) {
	w := newRow("journal", 7)
	w.add(&history{seed: 7, faults: []string{"killed"}, operations: []porcupine.Operation{
		at(1, 2, 1, admitted), at(3, 4, 2, used),
	}}, t.Logf)
	var out bytes.Buffer
	require.NoError(t, write(&out, []*row{w}, false))
	assert.Contains(t, out.String(), "| journal | 7 to 7 | 1 | 1 | 2 | 1 | 0 | 1 | 0 | 0 | 4 | 4 |\n")
	assert.Contains(t, out.String(), "| journal | killed 1 |\n")
	out.Reset()
	require.NoError(t, write(&out, []*row{w}, true))
	assert.Contains(t, out.String(), `"rejected_seeds":[]`)
}
