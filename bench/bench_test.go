package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests run this binary as the bare server.
func TestMain(m *testing.M) {
	if file := os.Getenv(bareVariable); file != "" {
		fmt.Fprintln(os.Stderr, bare(file))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Every table can be measured. The figures of tiny rounds mean nothing. One run has all
// tables, so that each program is built once.
func TestTables(t *testing.T) {
	least := map[string]int{
		"tickets": 15, "replay": 2, "check": 2, "http": 6, "shared": 0, "audit": 2, "start": 4, "size": 15, "soak": 3,
	}
	if os.Getenv("CI") == "true" { // elsewhere, Redis and PostgreSQL may be missing
		least["shared"] = 2
	}
	if testing.Short() { // check downloads and builds oauth2-proxy
		delete(least, "check")
	}
	var out bytes.Buffer
	names := strings.Join(slices.Sorted(maps.Keys(least)), ",")
	require.NoError(t, run([]string{"-quick", "-json", "-only", names}, &out, io.Discard))
	for d := json.NewDecoder(&out); d.More(); {
		var got table
		require.NoError(t, d.Decode(&got))
		require.Contains(t, least, got.Name)
		assert.GreaterOrEqual(t, len(got.Rows), least[got.Name], got.Name)
		for _, r := range got.Rows {
			assert.Len(t, r, len(got.Columns), got.Name)
		}
		delete(least, got.Name)
	}
	assert.Empty(t, least)
}

func TestUsage(t *testing.T) {
	var help bytes.Buffer
	require.ErrorIs(t, run([]string{"-help"}, io.Discard, &help), flag.ErrHelp)
	assert.Contains(t, help.String(), "go run . -only http")
	for _, args := range []string{
		"-only none", "-clients 0", "-clients x", "-stores disk", "-rounds 0", "-wrong", "tickets",
	} {
		assert.ErrorIs(t, run(strings.Fields(args), io.Discard, io.Discard), errUsage, args)
	}
}

func TestMarkdown(t *testing.T) {
	tab := table{Name: "n", Title: "Title", Columns: []string{"a", "b"}}
	tab.row("x", 1.234)
	tab.row(7, 123.4)
	tab.row(12.34, 1/(tab.Rows[0][1].(float64)-1.234))
	tab.note("A note.")
	var out bytes.Buffer
	require.NoError(t, tab.markdown(&out))
	assert.Equal(t, "## Title\n\n| a | b |\n|---|---|\n| x | 1.23 |\n| 7 | 123 |\n| 12.3 | – |\n\nA note.\n\n",
		out.String())
}

func TestMedians(t *testing.T) {
	values := []float64{3, 1, 2}
	assert.InDelta(t, 2, median(values), 0)
	assert.InDelta(t, 1.5, median(values[1:]), 0)
	assert.Equal(t, []float64{3, 1, 2}, values)
	assert.InDelta(t, 2, ratio([]float64{2, 40, 6}, []float64{1, 10, 3}), 0)
	r := round{latency: []time.Duration{1, 2, 3, 4}}
	assert.Equal(t, time.Duration(3), r.quantile(.5))
	assert.Equal(t, time.Duration(4), r.quantile(.999))
}

// fake is a service whose answers to redemptions are chosen by the test.
func fake(t *testing.T, redeem http.HandlerFunc) *soak {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/auth/ticket", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":{"encpryptedString":"tkt1_x"}}`)
	})
	mux.HandleFunc("/auth/redeem", redeem)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &soak{service: &service{}, process: &process{address: s.Listener.Addr().String()}}
}

// The soak reports each fault.
func TestSoakFinds(t *testing.T) {
	require.ErrorContains(t, fake(t, func(http.ResponseWriter, *http.Request) {}).batch(20), "double entry")
	none := fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	require.ErrorContains(t, none.batch(20), "a good ticket was refused")
	broken := fake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	require.ErrorContains(t, broken.batch(20), "status 503 in place of 200")

	before := &soakLine{goroutines: 10, descriptors: 5}
	require.NoError(t, leaked(before, &soakLine{goroutines: 9, descriptors: 5 + pooled}))
	require.ErrorContains(t, leaked(before, &soakLine{goroutines: 11, descriptors: 5}), "goroutines")
	require.ErrorContains(t, leaked(before, &soakLine{goroutines: 10, descriptors: 6 + pooled}), "descriptors")

	var lines []*soakLine
	for i := range 10 {
		lines = append(lines, &soakLine{resident: 50 + min(30, 10*float64(i))})
	}
	require.NoError(t, grown(lines))
	for i := range lines {
		lines[i].resident = 50 + 20*float64(i)
	}
	require.ErrorContains(t, grown(lines), "memory")
}

// The load generator takes no wrong answer for a good one.
func TestLoad(t *testing.T) {
	var status int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("x", 1500))
	}))
	defer s.Close()
	conns, err := clients(s.Listener.Addr().String(), 3)
	require.NoError(t, err)
	defer hangUp(conns)
	request := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	l := load{conns: conns, requests: [][]byte{request, request}, once: true, time: time.Minute, want: 200}
	status = 200
	r, err := l.run()
	require.NoError(t, err)
	assert.Equal(t, 2, r.n, "each request is sent once")
	l.once, l.rate, l.time = false, 10, time.Second
	r, err = l.run()
	require.NoError(t, err)
	assert.Positive(t, r.n)
	assert.LessOrEqual(t, r.n, 10, "no more than the schedule has; a busy machine may be late for some")
	status = 500
	_, err = l.run()
	require.ErrorContains(t, err, "status 500")
}
