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
	w     http.ResponseWriter
	began time.Time
}

// watch replaces the request's body. The handler must call arrived before it returns.
func (b *bodies) watch(w http.ResponseWriter, r *http.Request) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	arriving := &body{ReadCloser: r.Body, of: b, w: w, began: time.Now()}
	r.Body = arriving
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = make(map[*body]bool)
	}
	b.open[arriving] = true
	return arriving
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.arrived()
	}
	return n, err
}

// arrived notes that nobody reads the body any more. The body may be nil.
func (b *body) arrived() {
	if b == nil {
		return
	}
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
			_ = http.NewResponseController(late.w).SetReadDeadline(time.Now()) // its reads fail from now on
		}
	}
}
