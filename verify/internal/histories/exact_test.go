package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/internal/exactstore"
	"github.com/admitone/admitone/verify/replay"
)

// exactDeployment has a store in this process, with a fault.
func exactDeployment(faulty exactstore.Fault) func(*servers.Host) *deployment {
	return func(*servers.Host) *deployment {
		capacity := 0
		if faulty == exactstore.EvictsWhenFull {
			capacity = 2
		}
		store := exactstore.New(time.Now, capacity, faulty)
		d := &deployment{}
		for range clients {
			d.clients = append(d.clients, &handle{open: func() (replay.Store, func(), error) { return store, func() {}, nil }})
		}
		at := func(name string, forgets bool, begin func() func()) fault {
			return fault{name: name, weight: 1, server: true, lasts: 20 * time.Millisecond, forgets: forgets,
				begin: func(*rand.Rand) func() { return begin() }}
		}
		d.faults = []fault{
			at("outage", false, func() func() { return store.Outage() }),
			at("restarted", false, func() func() { store.Restart(); return func() {} }),
			at("wiped", true, func() func() { store.Reset(); return func() {} }),
		}
		return d
	}
}

// found is the number of histories within which a fault of a store has to be found.
const found = 100

// histories makes histories until one is rejected, and returns its number, or 0.
func histories(t *testing.T, d *deployment, most uint64) uint64 {
	t.Helper()
	for seed := uint64(1); seed <= most; seed++ {
		h, err := d.run(seed)
		require.NoError(t, err)
		if !h.check() {
			t.Logf("rejected: %v", h)
			return seed
		}
	}
	return 0
}

// Faults of a store that several clients can see are found, and a store without a fault is
// accepted. Doctored histories are rejected.
func TestFaultyStores(t *testing.T) {
	for _, faulty := range []exactstore.Fault{
		exactstore.ChecksThenSets, exactstore.EvictsWhenFull, exactstore.ForgetsAtRestart, exactstore.ForgetsInOutage,
		exactstore.EpochStays, exactstore.BarrierAtRestart, exactstore.OutageAdmits, exactstore.OutageIsReplay,
		exactstore.GraceToAnybody, exactstore.GraceForAnyBinding, exactstore.GraceWithoutBinding, exactstore.NoGrace,
		exactstore.FirstUseForgotten, exactstore.PossiblyUsed,
	} {
		t.Run(string(faulty), func(t *testing.T) {
			t.Parallel()
			d, err := deploy("exact", t.TempDir(), exactDeployment(faulty))
			require.NoError(t, err)
			defer d.end()
			assert.NotZero(t, histories(t, d, found), "not found in %d histories", found)
		})
	}
}

func TestExactStoreIsAccepted(t *testing.T) {
	t.Parallel()
	d, err := deploy("exact", t.TempDir(), exactDeployment(exactstore.None))
	require.NoError(t, err)
	defer d.end()
	w := newRow("exact", 1)
	for seed := uint64(1); seed <= 20; seed++ {
		h, err := d.run(seed)
		require.NoError(t, err)
		w.add(h, t.Logf)
	}
	assert.Empty(t, w.Rejected)
	assert.Zero(t, w.Missed)
	assert.GreaterOrEqual(t, w.Doctored, 20)
	for _, r := range []result{admitted, repeated, used, refused, unknown} {
		assert.NotZero(t, w.Answers[r.String()], r)
	}
}
