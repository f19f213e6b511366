package service

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// BodyGrace is how long a request's body may take to arrive after the service stopped
// listening. Such a request has done nothing yet.
const BodyGrace = 5 * time.Second

// bodies are the request bodies that have not arrived completely.
type bodies struct {
	mu   sync.Mutex
	open map[*body]bool
}

// body is the body of a request.
type body struct {
	io.ReadCloser
	of    *bodies
	began time.Time
	end   func() // makes reads fail from now on
}

// watch replaces the request's body. The handler must call done before it returns.
func (b *bodies) watch(w http.ResponseWriter, r *http.Request) (done func()) {
	if r.Body == nil || r.Body == http.NoBody {
		return func() {}
	}
	arriving := &body{ReadCloser: r.Body, of: b, began: time.Now()}
	arriving.end = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) }
	r.Body = arriving
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = make(map[*body]bool)
	}
	b.open[arriving] = true
	return arriving.arrived
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.arrived()
	}
	return n, err
}

func (b *body) arrived() {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	delete(b.of.open, b)
}

// endLate ends the bodies that began before a time.
func (b *bodies) endLate(before time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for late := range b.open {
		if late.began.Before(before) {
			delete(b.open, late)
			late.end()
		}
	}
}
