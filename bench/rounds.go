package main

import (
	"math"
	"slices"
	"time"
)

// side is a server under load.
type side struct {
	*process
	conns []*conn

	load func() (load, error) // of the next round
	rate float64              // requests a second in the round before, or 0
	figures
}

// figures has the measurements of a side, with a value for each round.
type figures struct {
	perSecond, p50, p99, p999 []float64 // times in µs
	cpu, allocations          []float64 // for each request; the time in µs
}

// start opens the connections of n clients.
func (s *side) start(n int) (err error) {
	s.conns, err = clients(s.address, n)
	return err
}

// measure runs a round, and notes the outcome.
func (s *side) measure() error {
	l, err := s.load()
	if err != nil {
		return err
	}
	l.conns = s.conns
	// Between the first two scrapes, only a scrape allocates.
	var allocated [3]float64
	for i := range 2 {
		if allocated[i], err = s.scrape(mallocs); err != nil {
			return err
		}
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	r, err := l.run()
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	if allocated[2], err = s.scrape(mallocs); err != nil {
		return err
	}
	n := float64(r.n)
	s.rate = r.perSecond()
	s.perSecond = append(s.perSecond, s.rate)
	s.p50 = append(s.p50, micros(r.quantile(.5)))
	s.p99 = append(s.p99, micros(r.quantile(.99)))
	s.p999 = append(s.p999, micros(r.quantile(.999)))
	s.cpu = append(s.cpu, micros(after.cpu-before.cpu)/n)
	s.allocations = append(s.allocations, max(0, (allocated[2]-allocated[1])-(allocated[1]-allocated[0]))/n)
	return nil
}

// interleave measures the sides in turn, round by round. The first round is warm-up. Each
// round begins with another side.
func (b *bench) interleave(sides ...*side) error {
	for i := range b.rounds + 1 {
		for k := range sides {
			if err := sides[(i+k)%len(sides)].measure(); err != nil {
				return err
			}
		}
		if i == 0 {
			for _, s := range sides {
				s.figures = figures{}
			}
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// median returns the middle value, without changing the order.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio returns the median of the ratios of a to b, round by round.
func ratio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}
