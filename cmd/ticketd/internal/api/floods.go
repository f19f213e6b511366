package api

import (
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
)

// lineLimit is the limit of log lines about refusals of one kind to one caller. Anybody can
// cause refusals.
var lineLimit = ratelimit.Limit{Rate: 1, Burst: 60}

// floodTold is the time between two lines about the refusals of a kind that got no lines.
const floodTold = time.Minute

// refusalKind is a kind of refusal with a limit of log lines.
type refusalKind string

const (
	ticketRefused refusalKind = "ticket"     // by a page
	callRefused   refusalKind = "api_call"   // without a good API key, or with a wrong method
	rateRefused   refusalKind = "rate_limit" // of the API key
)

// floods bounds the log lines about refusals, by kind and caller. The refusals beyond the
// limit are counted, and the log has their number once a minute.
type floods struct {
	log   *slog.Logger
	now   func() time.Time
	lines ratelimit.Limiter

	waiting atomic.Bool // more is not empty

	mu   sync.Mutex
	more map[refusalKind]*flood
}

// flood counts the refusals of a kind that got no line.
type flood struct {
	since  time.Time // of the first
	count  int
	remote string // client of the last
}

func newFloods(log *slog.Logger, now func() time.Time) *floods {
	return &floods{
		log: log, now: now, lines: ratelimit.NewLocal(failureClients, now), more: make(map[refusalKind]*flood),
	}
}

// mayLog reports whether a refusal gets its lines in the log. Otherwise the refusal is
// counted, and the request leaves no line in the access log.
func (f *floods) mayLog(r *http.Request, kind refusalKind, caller string) bool {
	if f.lines.Take(r.Context(), string(kind)+" "+caller, lineLimit).OK {
		return true
	}
	visitOf(r).quiet = true
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.more[kind] == nil {
		f.more[kind] = &flood{since: f.now()}
	}
	f.more[kind].count++
	f.more[kind].remote = remote(r)
	f.waiting.Store(true)
	return false
}

// tell logs the counts that are a minute old. Each request calls tell.
func (f *floods) tell() {
	if !f.waiting.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for kind, flood := range f.more {
		if now.Sub(flood.since) < floodTold {
			continue
		}
		delete(f.more, kind)
		f.log.Warn("more refusals than are logged one by one; the metrics count all", "kind", string(kind),
			"more", flood.count, "since", flood.since, "last_remote", flood.remote)
	}
	f.waiting.Store(len(f.more) > 0)
}
