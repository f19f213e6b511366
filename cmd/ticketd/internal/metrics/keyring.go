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
	rotation   = keyringDesc("rotation_left_seconds",
		"Time until the policy wants another primary; below 0, the rotation is late. Absent if the policy never rotates.",
		"kind")
	overdue  = keyringDesc("overdue", "1 if a change by the policy is late: keyring apply does not run.", "kind")
	stale    = keyringDesc("stale_seconds", "Time since the keyring's file was last read without an error.", "kind")
	keys     = keyringDesc("keys", "Keys of the keyring that is in use, by state.", "kind", "state")
	sealed   = keyringDesc("sealed_total", "Values sealed, by the state of their key when counted.", "kind", "state")
	opened   = keyringDesc("opened_total", "Values opened, by the state of their key when counted.", "kind", "state")
	byIssuer = prometheus.NewDesc("ticketd_issuer_key_tickets_total",
		"Verified tickets of format 2, by issuer, the issuer's signing key and the key that opened them.",
		[]string{"issuer", "signing_key", "recipient_key"}, nil)
	lastOfIssuer = prometheus.NewDesc("ticketd_issuer_key_last_ticket_timestamp_seconds",
		"Time of the last verified ticket of format 2, by issuer and keys.",
		[]string{"issuer", "signing_key", "recipient_key"}, nil)
)

func keyringDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ticketd_keyring_"+name, help, labels, nil)
}

var keyStates = []keyring.State{keyring.Staged, keyring.Pending, keyring.Primary, keyring.Retiring, keyring.Disabled}

// A Reporter reports the state of a keyring, as a *keyring.Ring does.
type Reporter interface{ Report() keyring.Report }

// ringWatch counts the uses of a Ring by the states of its keys. The Ring itself counts
// by key, and begins at 0 when a key is enabled again.
type ringWatch struct {
	ring Reporter

	mu             sync.Mutex
	seen           map[keyring.KeyID]keyring.KeyUse
	sealed, opened map[keyring.State]uint64
}

// WatchRings shows the state of keyrings, one for each kind. A Ring may be another Reporter: of
// a file without keys of its own, such as a *trust.Ring.
func (m *Metrics) WatchRings(rings map[keyring.Kind]Reporter) {
	var all []*ringWatch
	for _, r := range rings {
		all = append(all, &ringWatch{
			ring: r, seen: make(map[keyring.KeyID]keyring.KeyUse),
			sealed: make(map[keyring.State]uint64), opened: make(map[keyring.State]uint64),
		})
	}
	m.registry.MustRegister(state{
		[]*prometheus.Desc{generation, primaryAge, rotation, overdue, stale, keys, sealed, opened, byIssuer, lastOfIssuer},
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
	if len(r.Keys) == 0 {
		return
	}
	count := make(map[keyring.State]int)
	for _, k := range r.Keys {
		count[k.State]++
		if k.State == keyring.Primary {
			e.gauge(primaryAge, max(0, now.Sub(k.Promoted).Seconds()), kind)
			if every := r.Policy.RotateEvery; every > 0 {
				e.gauge(rotation, k.Promoted.Add(every).Sub(now).Seconds(), kind)
			}
		}
	}
	late := 0.0
	for _, s := range r.Plan(now).Steps {
		if s.Urgency == keyring.Overdue {
			late = 1
		}
	}
	e.gauge(overdue, late, kind)
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
	for _, use := range r.Use {
		for _, by := range use.By {
			labels := []string{by.Issuer, by.SigningKey.String(), use.ID.String()}
			e.counter(byIssuer, by.Opened, labels...)
			e.gauge(lastOfIssuer, float64(by.LastUse.UnixMilli())/1000, labels...)
		}
	}
}

var bundleLeft = prometheus.NewDesc("ticketd_bundle_left_seconds",
	"Time until the bundle of public keys ends; below 0 nobody uses the bundle any more.", []string{"bundle", "use"}, nil)

// WatchBundles shows the time that is left of bundles of public keys. The use is what this
// service does with them.
func (m *Metrics) WatchBundles(use string, all func() []keyring.Bundle) {
	m.registry.MustRegister(state{nil, func(e *emitter) {
		for _, b := range all() {
			e.gauge(bundleLeft, time.Until(b.Until).Seconds(), b.Name, use)
		}
	}})
}

var issuerLeft = prometheus.NewDesc("ticketd_issuer_left_seconds",
	"Time until the tickets of a named issuer are refused, because its grant or its bundle of public keys ends. "+
		"Absent if neither has an end.", []string{"issuer"}, nil)

// WatchIssuers shows the time that is left of named issuers. ends returns when the grant or the
// bundle of each of them ends.
func (m *Metrics) WatchIssuers(ends func() map[string]time.Time) {
	m.registry.MustRegister(state{[]*prometheus.Desc{issuerLeft}, func(e *emitter) {
		for issuer, end := range ends() {
			e.gauge(issuerLeft, time.Until(end).Seconds(), issuer)
		}
	}})
}
