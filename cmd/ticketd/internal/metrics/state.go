package metrics

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/localtier"
)

// The state of the replay store, read when it is asked for.
var (
	up          = desc("up", "Whether the replay store answered when it was asked for these metrics; of a journal, whether its latest commit succeeded.", "store")
	live        = desc("live_nonces", "Nonces of one-time tickets that the replay store remembers.")
	usedBytes   = desc("used_bytes", "Memory that the replay store uses; on Redis, all that the servers use.")
	boundBytes  = desc("bound_bytes", "Bound of that memory; nobody with a one-time ticket is admitted when it is reached.")
	headroom    = desc("headroom_ratio", "What is left below the bound, as a fraction of it.")
	diskBytes   = desc("disk_bytes", "Disk space that the replay store takes.")
	errorRate   = desc("filter_error_ratio", "Probability that a good one-time ticket is refused as possibly_used.")
	maybes      = desc("maybe_total", "Claims of nonces that the filters took for seen, by whether the table of recent ones settled it; those it did not are possibly_used.", "settled")
	clockBehind = desc("clock_behind_seconds", "How far the clock stands behind its highest reading.")
	epoch       = desc("epoch_timestamp_seconds", "Moment from which the replay store's memory is complete; one-time tickets issued before it are refused.")
	commits     = desc("commits_total", "Group commits of the journal.")
	failures    = desc("commit_failures_total", "Group commits of the journal that failed.")
	damaged     = desc("damaged_slices", "Slices of the journal of which a record cannot be read.")
	dead        = desc("dead_nonces", "Nonces that were purged and wait for PostgreSQL to vacuum them.")
	asked       = desc("round_trips_total", "Claims and looks that went to the shared replay store.")
	spared      = desc("round_trips_spared_total", "Replays that were refused without asking the shared replay store.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ticketd_replay_"+name, help, labels, nil)
}

// A state is a collector of numbers that somebody else keeps.
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

func (e *emitter) up(store string, ok bool) {
	v := 0.0
	if ok {
		v = 1
	}
	e.gauge(up, v, store)
}

// memory emits what is in use, and how much that leaves. A bound of 0 is none.
func (e *emitter) memory(used, bound int64) {
	e.gauge(usedBytes, float64(used))
	if bound > 0 {
		e.gauge(boundBytes, float64(bound))
		e.gauge(headroom, max(0, 1-float64(used)/float64(bound)))
	}
}

// since emits an epoch, unless there is none.
func (e *emitter) since(t time.Time) {
	if !t.IsZero() {
		e.gauge(epoch, float64(t.UnixMilli())/1000)
	}
}

// settled are the claims that the exact table decided: only that table says
// AlreadyUsed, and knows a repetition.
func settled(st replay.Stats) uint64 { return st.Answers[replay.AlreadyUsed] + st.Repeated }

// A kind of replay store has these numbers beside up and live.
type kind struct {
	descs   []*prometheus.Desc
	collect func(e *emitter, st replay.Stats)
}

var kinds = map[string]kind{
	"memory": {
		[]*prometheus.Desc{usedBytes, boundBytes, headroom, errorRate, maybes, clockBehind},
		func(e *emitter, st replay.Stats) {
			e.memory(st.Bytes, st.MaxBytes)
			e.gauge(errorRate, st.ErrorRate)
			e.counter(maybes, settled(st), strconv.FormatBool(true))
			e.counter(maybes, st.Answers[replay.PossiblyUsed], strconv.FormatBool(false))
			e.gauge(clockBehind, st.ClockBehind.Seconds())
		},
	},
	"journal": {
		[]*prometheus.Desc{
			usedBytes, boundBytes, headroom, diskBytes, commits, failures, damaged, clockBehind,
		},
		func(e *emitter, st replay.Stats) {
			e.memory(st.Bytes, st.MaxBytes)
			e.gauge(diskBytes, float64(st.DiskBytes))
			e.counter(commits, st.Commits)
			e.counter(failures, st.Failures)
			e.gauge(damaged, float64(st.Damaged))
			e.gauge(clockBehind, st.ClockBehind.Seconds())
		},
	},
	"redis": {
		[]*prometheus.Desc{usedBytes, boundBytes, headroom},
		func(e *emitter, st replay.Stats) { e.memory(st.Bytes, st.MaxBytes) },
	},
	"postgres": {
		[]*prometheus.Desc{dead, diskBytes},
		func(e *emitter, st replay.Stats) {
			e.gauge(dead, float64(st.Dead))
			e.gauge(diskBytes, float64(st.DiskBytes))
		},
	},
}

// ofOneProcess are the kinds of store whose epoch does not change while they run.
var ofOneProcess = []string{"memory", "journal"}

// WatchStore shows the state of a store, which is asked for it: a memory, journal,
// redis or postgres.
func (m *Metrics) WatchStore(name string, s replay.Managed) {
	k := kinds[name]
	m.registry.MustRegister(state{
		append([]*prometheus.Desc{up, live, epoch}, k.descs...),
		func(e *emitter) {
			st, err := s.Stats(context.Background()) // it has a time limit of its own
			e.up(name, err == nil && st.Err == nil)
			if err != nil {
				return
			}
			e.gauge(live, float64(st.Live))
			k.collect(e, st)
			if slices.Contains(ofOneProcess, name) {
				e.since(s.Epoch())
			}
		},
	})
}

// WatchLocalTier shows the round trips to a shared store.
func (m *Metrics) WatchLocalTier(s *localtier.Store) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{asked, spared},
		func(e *emitter) {
			toStore, without := s.RoundTrips()
			e.counter(asked, toStore)
			e.counter(spared, without)
		},
	})
}
