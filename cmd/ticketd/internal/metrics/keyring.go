package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/admitone/admitone/keyring"
)

// The state of the keyrings, read at each scrape.
var (
	generation = keyringDesc("generation", "Generation of the keyring that is in use.", "kind")
	primaryAge = keyringDesc("primary_age_seconds", "Time since the sealing key first became the primary.", "kind")
	stale      = keyringDesc("stale_seconds", "Time since the keyring's file was last read without an error.", "kind")
	keys       = keyringDesc("keys", "Keys of the keyring that is in use, by state.", "kind", "state")
	sealed     = keyringDesc("sealed_total", "Values sealed, by the state of their key when counted.", "kind", "state")
	opened     = keyringDesc("opened_total", "Values opened, by the state of their key when counted.", "kind", "state")
)

func keyringDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ticketd_keyring_"+name, help, labels, nil)
}

var keyStates = []keyring.State{keyring.Staged, keyring.Pending, keyring.Primary, keyring.Retiring, keyring.Disabled}

// ringWatch counts the uses of a Ring by the states of its keys. The Ring itself counts
// by key, and begins at 0 when a key is enabled again.
type ringWatch struct {
	ring *keyring.Ring

	mu             sync.Mutex
	seen           map[keyring.KeyID]keyring.KeyUse
	sealed, opened map[keyring.State]uint64
}

// WatchRings shows the state of keyrings, one for each kind.
func (m *Metrics) WatchRings(rings map[keyring.Kind]*keyring.Ring) {
	var all []*ringWatch
	for _, r := range rings {
		all = append(all, &ringWatch{
			ring: r, seen: make(map[keyring.KeyID]keyring.KeyUse),
			sealed: make(map[keyring.State]uint64), opened: make(map[keyring.State]uint64),
		})
	}
	m.registry.MustRegister(state{
		[]*prometheus.Desc{generation, primaryAge, stale, keys, sealed, opened},
		func(e *emitter) {
			for _, w := range all {
				w.collect(e)
			}
		},
	})
}

// count adds the uses since the last count.
func (w *ringWatch) count(r keyring.Report) {
	for _, use := range r.Use {
		i := slices.IndexFunc(r.Keys, func(k keyring.Key) bool { return k.ID == use.ID })
		if i < 0 {
			continue
		}
		before := w.seen[use.ID]
		if use.Sealed < before.Sealed || use.Opened < before.Opened {
			before = keyring.KeyUse{}
		}
		w.sealed[r.Keys[i].State] += use.Sealed - before.Sealed
		w.opened[r.Keys[i].State] += use.Opened - before.Opened
		w.seen[use.ID] = use
	}
}

func (w *ringWatch) collect(e *emitter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ring.Report()
	w.count(r)
	kind, now := string(r.Kind), time.Now()
	e.gauge(generation, float64(r.Generation), kind)
	e.gauge(stale, max(0, now.Sub(r.Good).Seconds()), kind)
	count := make(map[keyring.State]int)
	for _, k := range r.Keys {
		count[k.State]++
		if k.State == keyring.Primary {
			e.gauge(primaryAge, max(0, now.Sub(k.Promoted).Seconds()), kind)
		}
	}
	for _, s := range keyStates {
		e.gauge(keys, float64(count[s]), kind, string(s))
	}
	// A key that seals is the primary, or was the primary a moment ago. Keys in other
	// states only open.
	for _, s := range []keyring.State{keyring.Primary, keyring.Retiring} {
		e.counter(sealed, w.sealed[s], kind, string(s))
	}
	for _, s := range []keyring.State{keyring.Pending, keyring.Primary, keyring.Retiring} {
		e.counter(opened, w.opened[s], kind, string(s))
	}
}
