// Package ratelimit bounds how many requests a caller makes: so many a second in
// the long run, and so many at once. One process counts in its memory (Local),
// several count together in Redis (OpenRedis).
//
// It is about load, not about who may enter. So where Redis cannot be asked, each
// process counts for itself until it can be again: neither does an outage of Redis
// stop all logins, nor are callers free of any limit; at worst each has its limit
// once for each process.
package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limit is what a caller may do. Both are more than zero.
type Limit struct {
	Rate  float64 // requests a second in the long run
	Burst int     // requests at once, after a pause
}

// Window is the time in which a caller who has used up all may do so again.
func (l Limit) Window() time.Duration { return l.after(float64(l.Burst)) }

// after is the time in which so many requests become allowed.
func (l Limit) after(requests float64) time.Duration {
	return time.Duration(math.Ceil(max(0, requests) / l.Rate * float64(time.Second)))
}

// An Answer says whether a request is within its caller's limit.
type Answer struct {
	OK        bool
	Remaining int           // how many more are allowed now
	Retry     time.Duration // when one is allowed again; 0 if OK
	Reset     time.Duration // when as many as the Burst are allowed again
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
	// Take counts a request of the caller that key names. A request that is
	// refused counts nothing. A limit that has changed holds at once.
	Take(ctx context.Context, key string, l Limit) Answer
}

// Local counts in memory, by token buckets (golang.org/x/time/rate).
type Local struct {
	now func() time.Time
	max int

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

// NewLocal returns a Local that remembers at least the last max callers, and at
// most twice as many. Who is forgotten begins anew, with a whole burst. A nil now
// is time.Now.
func NewLocal(max int, now func() time.Time) *Local {
	if now == nil {
		now = time.Now
	}
	return &Local{now: now, max: max, young: make(map[string]*rate.Limiter)}
}

// Take implements Limiter.
func (l *Local) Take(_ context.Context, key string, limit Limit) Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.young[key]
	if !ok {
		if bucket, ok = l.old[key]; !ok {
			bucket = rate.NewLimiter(rate.Limit(limit.Rate), limit.Burst)
		}
		// Two generations: what was not asked for while the young one filled up is
		// forgotten with the old one.
		if len(l.young) >= l.max {
			l.old, l.young = l.young, make(map[string]*rate.Limiter)
		}
		l.young[key] = bucket
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
