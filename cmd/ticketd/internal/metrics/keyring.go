package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/admitone/admitone/keyring"
)

// The state of the keyrings, read when it is asked for.
var (
	generation = keyringDesc("generation", "Generation of the keyring that is in use.", "kind")
	primaryAge = keyringDesc("primary_age_seconds", "How long ago the key that seals first became the primary.", "kind")
	stale      = keyringDesc("stale_seconds", "How long ago a look at the keyring's file last ended well.", "kind")
	keys       = keyringDesc("keys", "Keys of the keyring that is in use, by state.", "kind", "state")
	sealed     = keyringDesc("sealed_total", "What was sealed, by the state that its key has when that is counted.", "kind", "state")
	opened     = keyringDesc("opened_total", "What was opened, by the state that its key has when that is counted.", "kind", "state")
)

func keyringDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ticketd_keyring_"+name, help, labels, nil)
}

var keyStates = []keyring.State{keyring.Staged, keyring.Pending, keyring.Primary, keyring.Retiring, keyring.Disabled}

// ringWatch counts what a Ring did by the states of its keys. A Ring counts by
// key, and from 0 when a key is enabled again.
type ringWatch struct {
	ring *keyring.Ring

	mu             sync.Mutex
	seen           map[keyring.KeyID]keyring.KeyUse
	sealed, opened map[keyring.State]uint64
}

// WatchRings shows the state of keyrings, of which there is one of a kind.
func (m *Metrics) WatchRings(rings map[keyring.Kind]*keyring.Ring) {
	var all []*ringWatch
	for _, r := range rings {
		all = append(all, &ringWatch{ring: r, seen: make(map[keyring.KeyID]keyring.KeyUse),
			sealed: make(map[keyring.State]uint64), opened: make(map[keyring.State]uint64)})
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

// count adds what was done since the last time.
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
	have := make(map[keyring.State]int)
	for _, k := range r.Keys {
		have[k.State]++
		if k.State == keyring.Primary {
			e.gauge(primaryAge, max(0, now.Sub(k.Promoted).Seconds()), kind)
		}
	}
	for _, s := range keyStates {
		e.gauge(keys, float64(have[s]), kind, string(s))
	}
	// A key that seals is the primary, or was it a moment ago; those of other states open.
	for _, s := range []keyring.State{keyring.Primary, keyring.Retiring} {
		e.counter(sealed, w.sealed[s], kind, string(s))
	}
	for _, s := range []keyring.State{keyring.Pending, keyring.Primary, keyring.Retiring} {
		e.counter(opened, w.opened[s], kind, string(s))
	}
}
