package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Check asks one of the things that the service cannot answer without.
type Check struct {
	Name string // told to whoever asks
	Ask  func(context.Context) error
}

const (
	readyTime = 3 * time.Second // for the checks, all at once
	readyKept = time.Second     // an answer is good for so long: anybody may ask
)

// readiness is the last answer of the checks.
type readiness struct {
	mu     sync.Mutex
	at     time.Time
	failed []string
}

// readyz says whether requests can be answered now. While it says no, the errors
// are in the log, and send requests elsewhere; restarting would not help.
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

// notReady returns the names of the checks that fail.
func (s *server) notReady(ctx context.Context) (failed []string) {
	s.ready.mu.Lock()
	defer s.ready.mu.Unlock()
	if now := time.Now(); s.ready.at.IsZero() || now.Sub(s.ready.at) > readyKept {
		// The answer is for others, too: whoever asks and goes must not spoil it.
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
