package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	tickets  = 4 // of a history
	workers  = 6 // of a history; two of each client
	bindings = 3
	calls    = 9 // of a worker
)

// plan is what a seed chooses: who claims what when, and the faults meanwhile.
type plan struct {
	buckets [tickets]byte
	claims  [workers][]planned
	faults  []inflicted
}

// planned is a claim to be made.
type planned struct {
	at      time.Duration
	ticket  int
	binding byte
	within  time.Duration // the caller gives up; 0: waits for the store
}

// inflicted is a fault with its time and its choices.
type inflicted struct {
	fault
	at, lasts time.Duration
	choice    uint64
}

// draw makes a plan from a seed.
func draw(seed uint64, faults []fault) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &plan{}
	for i := range p.buckets {
		p.buckets[i] = byte(r.IntN(256))
	}
	span := 40 * time.Millisecond
	for range 1 + r.IntN(3) {
		f := choose(r, faults)
		if f.server && slices.ContainsFunc(p.faults, func(other inflicted) bool { return other.server }) {
			continue // one at a time
		}
		in := inflicted{fault: f, at: time.Duration(r.Int64N(int64(30 * time.Millisecond))), choice: r.Uint64()}
		if f.lasts > 0 {
			in.lasts = time.Duration(r.Int64N(int64(f.lasts)))
		}
		p.faults = append(p.faults, in)
		span = max(span, in.at+in.lasts+f.takes+20*time.Millisecond)
	}
	// Half of the claims come in rushes: many workers claim the same ticket at once.
	var rushes [6]planned
	for i := range rushes {
		rushes[i] = planned{at: time.Duration(r.Int64N(int64(span))), ticket: r.IntN(tickets)}
	}
	for w := range p.claims {
		for range calls {
			c := planned{at: time.Duration(r.Int64N(int64(span))), ticket: r.IntN(tickets)}
			if r.IntN(2) == 0 {
				c = rushes[r.IntN(len(rushes))]
			}
			c.binding = byte(w%clients + 1)
			switch r.IntN(8) {
			case 0:
				c.binding = 0
			case 1:
				c.binding = byte(1 + r.IntN(bindings))
			case 2, 3:
				c.within = time.Duration(1+r.IntN(60)) * time.Millisecond
			}
			p.claims[w] = append(p.claims[w], c)
		}
		slices.SortFunc(p.claims[w], func(a, b planned) int { return int(a.at - b.at) })
	}
	return p
}

func choose(r *rand.Rand, faults []fault) fault {
	sum := 0
	for _, f := range faults {
		sum += f.weight
	}
	n := r.IntN(sum)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("the weights are above 0")
}
