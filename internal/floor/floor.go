// Package floor measures code beside its floor: the least work that any code for the task must
// do. Only benchmarks import the package.
package floor

import (
	"slices"
	"testing"
	"time"
)

// A batch is a number of calls in a row: at most largest, and fewer if they take longer than
// longest. The clock's own cost vanishes in a batch, and a batch is short enough that a slow
// moment of the machine meets the floor and the code alike.
const (
	largest = 64
	longest = 200 * time.Microsecond
)

// Beside runs batches of floor and of ours in turns. It reports the median times of a call
// as floor-ns and ours-ns, and the quotient of the two as x-floor. prepare, if not nil, runs
// before each batch of ours and is not measured; it gets the number of the calls to come.
func Beside(b *testing.B, floor, ours func() error, prepare func(calls int)) {
	b.Helper()
	batch := largest
	for batch > 1 && measure(b, floor, batch) > longest {
		batch /= 2
	}
	var floors, all []time.Duration
	for b.Loop() {
		if prepare != nil {
			prepare(batch)
		}
		floors = append(floors, measure(b, floor, batch))
		all = append(all, measure(b, ours, batch))
	}
	f, o := median(floors, batch), median(all, batch)
	b.ReportMetric(0, "ns/op") // of both together: tells nothing
	b.ReportMetric(f, "floor-ns")
	b.ReportMetric(o, "ours-ns")
	b.ReportMetric(o/f, "x-floor")
}

func measure(b *testing.B, call func() error, batch int) time.Duration {
	start := time.Now()
	for range batch {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// median returns the median of the times of batches, in nanoseconds a call.
func median(times []time.Duration, batch int) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2]) / float64(batch)
}
