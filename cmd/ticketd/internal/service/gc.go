package service

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// leastGrowth is how much a service allocates, in bytes, before the garbage collector runs
// again. By the default of Go, a service with little in memory would collect dozens of times a
// second under load. A larger heap grows by its own size, as is Go's default.
const leastGrowth = 32 << 20

// collectLess sets the garbage collector's percentage after each collection, unless the
// environment sets the variable GOGC. A limit by GOMEMLIMIT holds all the same.
var collectLess = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		adjustGC(new(int))
	}
})

// adjustGC sets the percentage for the present heap, now and after each collection.
func adjustGC(percent *int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	// Each setting stops the program for a moment, so small changes are left out.
	if p := gcPercent(live[0].Value.Uint64()); math.Abs(float64(p-*percent)) > float64(*percent)/10 {
		*percent = p
		debug.SetGCPercent(p)
	}
	runtime.AddCleanup(new([16]byte), adjustGC, percent)
}

// gcPercent returns the percentage for a heap of so many bytes.
func gcPercent(live uint64) int {
	return int(max(100, leastGrowth*100/max(live, 1<<20)))
}
