package metrics

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
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

// WatchMemory shows the state of a Memory.
func (m *Metrics) WatchMemory(s *replay.Memory) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{up, live, usedBytes, boundBytes, headroom, errorRate, maybes, clockBehind, epoch},
		func(e *emitter) {
			st := s.Stats()
			e.up("memory", true)
			e.gauge(live, float64(st.Live))
			e.memory(st.Bytes, st.MaxBytes)
			e.gauge(errorRate, st.ErrorRate)
			// Only the exact table says AlreadyUsed, and knows a repetition.
			e.counter(maybes, st.Answers[replay.AlreadyUsed]+st.Repeated, strconv.FormatBool(true))
			e.counter(maybes, st.Answers[replay.PossiblyUsed], strconv.FormatBool(false))
			e.gauge(clockBehind, st.ClockBehind.Seconds())
			e.since(st.Epoch)
		},
	})
}

// WatchJournal shows the state of a Journal.
func (m *Metrics) WatchJournal(s *replay.Journal) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{up, live, usedBytes, boundBytes, headroom, diskBytes, commits, failures, damaged, clockBehind, epoch},
		func(e *emitter) {
			st := s.Stats()
			e.up("journal", st.Err == nil)
			e.gauge(live, float64(st.Live))
			e.memory(st.Bytes, st.MaxBytes)
			e.gauge(diskBytes, float64(st.DiskBytes))
			e.counter(commits, st.Commits)
			e.counter(failures, st.Failures)
			e.gauge(damaged, float64(st.Damaged))
			e.gauge(clockBehind, st.ClockBehind.Seconds())
			e.since(st.Epoch)
		},
	})
}

// WatchRedis shows the state of a store on Redis, which it asks for it.
func (m *Metrics) WatchRedis(s *redisstore.Store) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{up, live, usedBytes, boundBytes, headroom},
		func(e *emitter) {
			st, err := s.Stats(context.Background()) // it has a time-out of its own
			e.up("redis", err == nil)
			if err == nil {
				e.gauge(live, float64(st.Live))
				e.memory(st.Bytes, st.MaxBytes)
			}
		},
	})
}

// WatchPostgres shows the state of a store on PostgreSQL, which it asks for it.
func (m *Metrics) WatchPostgres(s *pgstore.Store) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{up, live, dead, diskBytes},
		func(e *emitter) {
			st, err := s.Stats(context.Background()) // it has a time-out of its own
			e.up("postgres", err == nil)
			if err == nil {
				e.gauge(live, float64(st.Live))
				e.gauge(dead, float64(st.Dead))
				e.gauge(diskBytes, float64(st.DiskBytes))
			}
		},
	})
}

// WatchFront shows the state of a Front.
func (m *Metrics) WatchFront(s *replay.Front) {
	m.registry.MustRegister(state{
		[]*prometheus.Desc{asked, spared},
		func(e *emitter) {
			st := s.Stats()
			e.counter(asked, st.Asked)
			e.counter(spared, st.Spared)
		},
	})
}
