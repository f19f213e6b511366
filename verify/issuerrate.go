package verify

import (
	"sync"
	"sync/atomic"
	"time"
)

// rates count the redemptions of issuers with a Grant.Rate, by name. The names are those of
// configured issuers, so the map is bounded. The counts outlive a change of the grant.
type rates struct{ byName sync.Map } // string to *bucket

// A bucket is a leaky bucket that holds a second's tickets, or a single one. empty is the
// time, in nanoseconds since 1970, at which the bucket is empty again.
type bucket struct{ empty atomic.Int64 }

// take takes room for a redemption of an issuer at a rate, and reports whether there was
// room. The bucket is for give, if the redemption turns out to have spent nothing.
func (r *rates) take(name string, rate float64, now time.Time) (*bucket, bool) {
	known, ok := r.byName.Load(name)
	if !ok {
		known, _ = r.byName.LoadOrStore(name, new(bucket))
	}
	b := known.(*bucket)
	step, room := sizes(rate)
	for {
		was := b.empty.Load()
		// A clock that was set back must not close the bucket for longer than it takes to
		// empty a full bucket.
		is := min(max(was, now.UnixNano()), now.UnixNano()+room)
		taken := is-now.UnixNano() <= room-step
		if taken {
			is += step
		}
		if b.empty.CompareAndSwap(was, is) {
			return b, taken
		}
	}
}

// give takes back a take at a rate.
func (b *bucket) give(rate float64) {
	step, _ := sizes(rate)
	b.empty.Add(-step)
}

// sizes returns the time that a ticket takes of a bucket, and the bucket's size, in
// nanoseconds.
func sizes(rate float64) (step, room int64) {
	step = max(1, int64(float64(time.Second)/rate))
	return step, max(step, int64(time.Second))
}
