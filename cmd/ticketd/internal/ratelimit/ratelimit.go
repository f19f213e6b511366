// Package ratelimit bounds how many requests a caller makes: a rate in the long run,
// and a burst. With Local each process counts in memory; with OpenRedis several
// processes count together in Redis.
//
// A limit is about load and decides nothing about access. If Redis does not answer,
// each process counts for itself until Redis answers again. So an outage of Redis stops
// no login, and no caller is without a limit: at worst each caller has the limit once
// for each process.
package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limit bounds the requests of a caller. Both fields are more than zero.
type Limit struct {
	Rate  float64 // requests a second in the long run
	Burst int     // requests at once, after a pause
}

// Window returns the time in which a caller with no requests left may make a whole
// burst again.
func (l Limit) Window() time.Duration { return l.after(float64(l.Burst)) }

// after returns the time in which so many requests become allowed.
func (l Limit) after(requests float64) time.Duration {
	return time.Duration(math.Ceil(max(0, requests) / l.Rate * float64(time.Second)))
}

// An Answer tells whether a request is within the limit of its caller.
type Answer struct {
	OK        bool
	Remaining int           // requests that are allowed now
	Retry     time.Duration // time until a request is allowed again; 0 if OK
	Reset     time.Duration // time until a whole burst is allowed again
}

func (l Limit) answer(ok bool, tokens float64) Answer {
	a := Answer{OK: ok, Remaining: int(max(0, math.Floor(tokens))), Reset: l.after(float64(l.Burst) - tokens)}
	if !ok {
		a.Retry = l.after(1 - tokens)
	}
	return a
}

// A Limiter counts requests. It is safe for concurrent use.
type Limiter interface {
	// Take counts a request of the caller with the key. A refused request does not count.
	// A changed limit holds at once.
	Take(ctx context.Context, key string, l Limit) Answer
}

// Local counts in memory, with token buckets (golang.org/x/time/rate).
type Local struct {
	now func() time.Time
	max int

	mu               sync.Mutex
	recent, previous map[string]*rate.Limiter
}

// NewLocal returns a Local that remembers at least the last max callers, and at most
// twice as many. A forgotten caller begins anew, with a whole burst. If now is nil, the
// clock is time.Now.
func NewLocal(max int, now func() time.Time) *Local {
	if now == nil {
		now = time.Now
	}
	return &Local{now: now, max: max, recent: make(map[string]*rate.Limiter)}
}

// Take implements Limiter.
func (l *Local) Take(_ context.Context, key string, limit Limit) Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.recent[key]
	if !ok {
		if bucket, ok = l.previous[key]; !ok {
			bucket = rate.NewLimiter(rate.Limit(limit.Rate), limit.Burst)
		}
		// Two generations: a caller who makes no request while the recent one fills up is
		// forgotten with the previous one.
		if len(l.recent) >= l.max {
			l.previous, l.recent = l.recent, make(map[string]*rate.Limiter)
		}
		l.recent[key] = bucket
	}
	now := l.now()
	if bucket.Limit() != rate.Limit(limit.Rate) {
		bucket.SetLimitAt(now, rate.Limit(limit.Rate))
	}
	if bucket.Burst() != limit.Burst {
		bucket.SetBurstAt(now, limit.Burst)
	}
	allowed := bucket.AllowN(now, 1)
	return limit.answer(allowed, bucket.TokensAt(now))
}
