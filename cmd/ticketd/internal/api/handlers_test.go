//go:build !race

package api

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// repeated is a request that a handler answers again and again. It allocates nothing itself.
type repeated struct {
	h      http.Handler
	r      *http.Request
	text   string
	body   strings.Reader
	header http.Header
	status int
}

func newRepeated(h http.Handler, method, path, body string, header map[string]string) *repeated {
	q := &repeated{h: h, r: httptest.NewRequest(method, path, nil), text: body, header: make(http.Header)}
	for name, value := range header {
		q.r.Header.Set(name, value)
	}
	if body != "" {
		q.r.Body, q.r.ContentLength = q, int64(len(body))
	}
	return q
}

func (q *repeated) Read(p []byte) (int, error)  { return q.body.Read(p) }
func (q *repeated) Close() error                { return nil }
func (q *repeated) Header() http.Header         { return q.header }
func (q *repeated) Write(p []byte) (int, error) { return len(p), nil }
func (q *repeated) WriteHeader(status int)      { q.status = status }

func (q *repeated) answer(t testing.TB) {
	q.body.Reset(q.text)
	clear(q.header)
	q.status = http.StatusOK
	q.h.ServeHTTP(q, q.r)
	if q.status != http.StatusOK {
		t.Fatalf("status %d", q.status)
	}
}

// repeatedIssue and repeatedCheck ask for an agent's ticket, and about an agent's session.
func repeatedIssue(w *world) *repeated {
	return newRepeated(w.server.Config.Handler, http.MethodPost, "/auth/ticket", benchTicket,
		map[string]string{"Authorization": "Bearer " + w.key, "Content-Type": "application/json"})
}

func repeatedCheck(w *world) *repeated {
	c := w.client()
	c.get("/login?ta=" + w.ticket(w.key, reference))
	w.ns.Add(int64(time.Second)) // an answer of the directory from before the entry does not count
	return newRepeated(w.server.Config.Handler, http.MethodGet, "/auth/brand/commbox/check", "",
		map[string]string{"Cookie": c.cookies[0].Name + "=" + c.cookies[0].Value})
}

// A handler allocates little for a request, with the directory in memory. A look at the directory's file or
// another goroutine only adds to a run, so the least of many runs counts.
func TestHandlerAllocations(t *testing.T) {
	w := newWorld(t, unlimited)
	for name, row := range map[string]struct {
		most float64
		*repeated
	}{
		"issue": {31, repeatedIssue(w)},
		"check": {11, repeatedCheck(w)}, // one is the request's ID
	} {
		least := math.Inf(1)
		for range 100 {
			least = min(least, testing.AllocsPerRun(1, func() { row.answer(t) }))
		}
		t.Log(name, least)
		assert.LessOrEqual(t, least, row.most, name)
	}
}

// BenchmarkIssueHandler and BenchmarkCheckHandler measure handlers without the request and the
// writer.
func BenchmarkIssueHandler(b *testing.B) { repeatedIssue(newWorld(b, unlimited)).benchmark(b) }

func BenchmarkCheckHandler(b *testing.B) { repeatedCheck(newWorld(b, unlimited)).benchmark(b) }

func (q *repeated) benchmark(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		q.answer(b)
	}
}
