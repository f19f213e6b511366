package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Check asks a part of the service without which no request can be answered.
type Check struct {
	Name string // shown to everybody
	Ask  func(context.Context) error
}

const (
	readyTime = 3 * time.Second // for the checks, all at once
	readyKept = time.Second     // time for which an answer is good, since anybody may ask
)

// readiness is the last answer of the checks.
type readiness struct {
	mu     sync.Mutex
	at     time.Time
	failed []string
}

// readyz says whether requests can be answered now. If not, the log has the errors, and
// requests should go elsewhere; a restart would not help.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	failed := s.notReady(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(failed) > 0 {
		w.Header().Set("Retry-After", seconds(notNow))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready: " + strings.Join(failed, ", ") + "\n"))
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// notReady returns the names of the failed checks.
func (s *server) notReady(ctx context.Context) (failed []string) {
	s.ready.mu.Lock()
	defer s.ready.mu.Unlock()
	if now := time.Now(); s.ready.at.IsZero() || now.Sub(s.ready.at) > readyKept {
		// Other clients get the same answer, so a client's departure must not spoil it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
		defer cancel()
		errs := make([]error, len(s.Checks))
		var wg sync.WaitGroup
		for i, c := range s.Checks {
			wg.Go(func() { errs[i] = c.Ask(ctx) })
		}
		wg.Wait()
		s.ready.failed = nil
		for i, err := range errs {
			if err != nil {
				s.Log.Warn("not ready", "check", s.Checks[i].Name, "error", err)
				s.ready.failed = append(s.ready.failed, s.Checks[i].Name)
			}
		}
		s.ready.at = time.Now()
	}
	return s.ready.failed
}
