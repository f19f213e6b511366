package metrics

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/localtier"
)

// A state is a collector of numbers that are kept elsewhere and read at each scrape.
type state struct {
	descs   []*prometheus.Desc
	collect func(*emitter)
}

func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

func (s state) Collect(ch chan<- prometheus.Metric) { s.collect(&emitter{ch}) }

type emitter struct{ ch chan<- prometheus.Metric }

func (e *emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e *emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func replayDesc(name, help string, labels prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"replay_"+name, help, nil, labels)
}

// A storeMetric is a number in a store's Stats.
type storeMetric struct {
	kinds []string // the kinds of stores with the number
	typ   prometheus.ValueType
	desc  *prometheus.Desc
	value func(replay.Stats) float64 // NaN: the store has no such number now
}

func storeGauge(kinds []string, name, help string, value func(replay.Stats) float64) storeMetric {
	return storeMetric{kinds, prometheus.GaugeValue, replayDesc(name, help, nil), value}
}

func storeCounter(
	kinds []string, name, help string, labels prometheus.Labels, value func(replay.Stats) uint64,
) storeMetric {
	return storeMetric{
		kinds, prometheus.CounterValue, replayDesc(name, help, labels),
		func(st replay.Stats) float64 { return float64(value(st)) },
	}
}

// Kinds of stores.
const (
	memoryStore   = "memory"
	journalStore  = "journal"
	redisStore    = "redis"
	postgresStore = "postgres"
)

var (
	allKinds   = []string{memoryStore, journalStore, redisStore, postgresStore}
	inMemory   = []string{memoryStore, journalStore, redisStore} // with nonces in memory
	oneProcess = []string{memoryStore, journalStore}
	onDisk     = []string{journalStore, postgresStore}
)

const maybeHelp = "Claims of nonces that the filters hold, by whether the exact table of recent nonces " +
	"decided the claim; the other ones are possibly_used."

var storeMetrics = []storeMetric{
	storeGauge(allKinds, "live_nonces",
		"Nonces of one-time tickets that the replay store remembers.",
		func(st replay.Stats) float64 { return float64(st.Live) }),
	storeGauge(inMemory, "used_bytes",
		"Memory that the replay store uses; on Redis, all memory in use by the servers.",
		func(st replay.Stats) float64 { return float64(st.Bytes) }),
	storeGauge(inMemory, "bound_bytes",
		"Bound of the replay store's memory; when the bound is reached, no one-time ticket is admitted.",
		bound),
	storeGauge(inMemory, "headroom_ratio",
		"Free memory below the bound, as a fraction of the bound.",
		headroom),
	storeGauge(onDisk, "disk_bytes",
		"Disk space that the replay store takes.",
		func(st replay.Stats) float64 { return float64(st.DiskBytes) }),
	storeGauge([]string{memoryStore}, "filter_error_ratio",
		"Probability that a good one-time ticket is refused as possibly_used.",
		func(st replay.Stats) float64 { return st.ErrorRate }),
	// The exact table alone answers AlreadyUsed, and knows repetitions.
	storeCounter([]string{memoryStore}, "maybe_total", maybeHelp, prometheus.Labels{"settled": "true"},
		func(st replay.Stats) uint64 { return st.Answers[replay.AlreadyUsed] + st.Repeated }),
	storeCounter([]string{memoryStore}, "maybe_total", maybeHelp, prometheus.Labels{"settled": "false"},
		func(st replay.Stats) uint64 { return st.Answers[replay.PossiblyUsed] }),
	storeGauge(oneProcess, "clock_behind_seconds",
		"How far the clock stands behind its highest reading.",
		func(st replay.Stats) float64 { return st.ClockBehind.Seconds() }),
	storeCounter([]string{journalStore}, "commits_total",
		"Group commits of the journal.", nil,
		func(st replay.Stats) uint64 { return st.Commits }),
	storeCounter([]string{journalStore}, "commit_failures_total",
		"Group commits of the journal that failed.", nil,
		func(st replay.Stats) uint64 { return st.Failures }),
	storeGauge([]string{journalStore}, "damaged_slices",
		"Windows of the journal with an unreadable record.",
		func(st replay.Stats) float64 { return float64(st.Damaged) }),
	storeGauge([]string{postgresStore}, "dead_nonces",
		"Purged nonces that wait for PostgreSQL's vacuum.",
		func(st replay.Stats) float64 { return float64(st.Dead) }),
}

// bound returns the bound of the store's memory, NaN if there is none.
func bound(st replay.Stats) float64 {
	if st.MaxBytes == 0 {
		return math.NaN()
	}
	return float64(st.MaxBytes)
}

// headroom returns the free part of the memory, NaN if the memory has no bound.
func headroom(st replay.Stats) float64 { return max(0, 1-float64(st.Bytes)/bound(st)) }

var (
	up = prometheus.NewDesc(namespace+"replay_up", "Whether the replay store answered for this scrape; "+
		"for a journal, whether the latest commit succeeded.", []string{"store"}, nil)
	epoch = replayDesc("epoch_timestamp_seconds", "Moment from which the replay store's memory is complete; "+
		"one-time tickets issued earlier are refused (with Redis, in a part of its buckets at least).", nil)
	asked  = replayDesc("round_trips_total", "Claims and looks that went to the shared replay store.", nil)
	spared = replayDesc("round_trips_spared_total",
		"Replays that were refused without asking the shared replay store.", nil)
)

// WatchStore shows the state of a store of the kind memory, journal, redis or
// postgres. Each scrape asks the store.
func (m *Metrics) WatchStore(kind string, s replay.Managed) {
	descs := []*prometheus.Desc{up, epoch}
	var metrics []storeMetric
	for _, metric := range storeMetrics {
		if slices.Contains(metric.kinds, kind) {
			descs = append(descs, metric.desc)
			metrics = append(metrics, metric)
		}
	}
	m.registry.MustRegister(state{descs, func(e *emitter) {
		st, err := s.Stats(context.Background()) // the store has a time limit of its own
		answered := 0.0
		if err == nil && st.Err == nil {
			answered = 1
		}
		e.gauge(up, answered, kind)
		if err != nil {
			return
		}
		for _, metric := range metrics {
			if v := metric.value(st); !math.IsNaN(v) {
				e.ch <- prometheus.MustNewConstMetric(metric.desc, metric.typ, v)
			}
		}
		if since := s.Epoch(); !since.IsZero() {
			e.gauge(epoch, float64(since.UnixMilli())/float64(time.Second/time.Millisecond))
		}
	}})
}

// WatchLocalTier shows the round trips to a shared store.
func (m *Metrics) WatchLocalTier(s *localtier.Store) {
	m.registry.MustRegister(state{[]*prometheus.Desc{asked, spared}, func(e *emitter) {
		sent, without := s.RoundTrips()
		e.counter(asked, sent)
		e.counter(spared, without)
	}})
}
