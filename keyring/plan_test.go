package keyring

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlan walks through a life by the policy, and holds the plan at each moment
// against what it should be.
func TestPlan(t *testing.T) {
	path, c, clock := timed(t)
	begun := clock.t
	p := Policy{Lifetime: 15 * time.Minute, Propagation: 2 * time.Minute, Skew: 10 * time.Second,
		RotateEvery: 10 * time.Hour, DestroyAfter: 5 * time.Hour}
	info := mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	first := info.Primary
	plan := func(want ...PlannedStep) Plan {
		t.Helper()
		info, err := Read(path, c)
		require.NoError(t, err)
		got := info.Plan(clock.t)
		assert.Equal(t, Plan{Generation: info.Generation, Fingerprint: info.Fingerprint, Made: clock.t, Steps: want}, got)
		return got
	}
	apply := func(want ...Step) Info {
		t.Helper()
		before := mustRead(t, path)
		info, done, err := Apply(path, c, nil)
		require.NoError(t, err)
		assert.Equal(t, want, done)
		if len(want) == 0 {
			assert.Equal(t, before, mustRead(t, path), "it writes nothing")
		}
		return info
	}
	rotateAt := begun.Add(10*time.Hour - 130*time.Second)
	plan(PlannedStep{Step{Do: Rotate}, rotateAt, Upcoming})
	apply()
	clock.t = rotateAt.Add(-time.Millisecond)
	plan(PlannedStep{Step{Do: Rotate}, rotateAt, Upcoming})
	apply()
	clock.t = rotateAt
	plan(PlannedStep{Step{Do: Rotate}, rotateAt, Due})
	clock.t = rotateAt.Add(time.Hour)
	plan(PlannedStep{Step{Do: Rotate}, rotateAt, Due})
	clock.t = rotateAt.Add(time.Hour + time.Millisecond)
	plan(PlannedStep{Step{Do: Rotate}, rotateAt, Overdue})
	clock.t = rotateAt
	info, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	second := info.Keys[1].ID
	assert.Equal(t, []Step{{Do: Rotate, Key: second, Algorithm: "AES256_GCM"}}, done)
	apply()

	promoteAt := begun.Add(10 * time.Hour)
	plan(PlannedStep{Step{Do: Promote, Key: second}, promoteAt, Upcoming})
	clock.t = promoteAt
	apply(Step{Do: Promote, Key: second})
	apply()
	disableAt, nextAt := promoteAt.Add(17*time.Minute+30*time.Second), promoteAt.Add(10*time.Hour-130*time.Second)
	plan(PlannedStep{Step{Do: Disable, Key: first}, disableAt, Upcoming}, PlannedStep{Step{Do: Rotate}, nextAt, Upcoming})
	clock.t = disableAt
	apply(Step{Do: Disable, Key: first})
	destroyAt := disableAt.Add(5 * time.Hour)
	plan(PlannedStep{Step{Do: Destroy, Key: first}, destroyAt, Upcoming}, PlannedStep{Step{Do: Rotate}, nextAt, Upcoming})
	clock.t = nextAt.Add(time.Minute)
	info, done, err = Apply(path, c, nil)
	require.NoError(t, err)
	assert.Equal(t, Destroy, done[0].Do)
	assert.Equal(t, Rotate, done[1].Do, "all that is due, in one write")
	assert.Equal(t, uint64(6), info.Generation)
	third := info.Keys[1].ID

	// What is held is not picked, and another is made in its stead.
	mustChange(t, path, c, Step{Do: Hold, Key: third})
	plan(PlannedStep{Step{Do: Rotate}, nextAt, Due})
	mustChange(t, path, c, Step{Do: Unhold, Key: third})
	plan(PlannedStep{Step{Do: Promote, Key: third}, clock.t.Add(130 * time.Second), Upcoming})
	entries, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, "policy", entries[2].Why)
}

// TestApplyPlan applies plans that were made before.
func TestApplyPlan(t *testing.T) {
	path, c, clock := timed(t)
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	clock.t = info.Policy.DisableFrom(info.Keys[0])
	plan := info.Plan(clock.t)
	data, err := json.Marshal(plan)
	require.NoError(t, err)
	var read Plan
	require.NoError(t, json.Unmarshal(data, &read))
	assert.Equal(t, plan, read)

	refused := func(p Plan) {
		t.Helper()
		before := mustRead(t, path)
		_, _, err := Apply(path, c, &p)
		assert.ErrorIs(t, err, ErrStalePlan)
		assert.Equal(t, before, mustRead(t, path))
	}
	edited := func(f func(p *Plan)) Plan { p := read; p.Steps = slices.Clone(p.Steps); f(&p); return p }
	refused(edited(func(p *Plan) { p.Generation++ }))
	refused(edited(func(p *Plan) { p.Fingerprint = info.Audit }))
	refused(edited(func(p *Plan) { p.Steps[0].Unsafe = true }))
	refused(edited(func(p *Plan) { p.Steps[0].Do = Destroy }))
	refused(edited(func(p *Plan) { p.Steps[1].Urgency = Due })) // the rotation, a month too soon
	clock.t = clock.t.Add(-time.Millisecond)
	refused(read)
	clock.t = clock.t.Add(time.Minute)

	after, done, err := Apply(path, c, &read)
	require.NoError(t, err)
	assert.Equal(t, []Step{{Do: Disable, Key: info.Keys[0].ID}}, done)
	assert.Equal(t, info.Generation+1, after.Generation)
	refused(read)
	later := after.Plan(clock.t)
	after, done, err = Apply(path, c, &later)
	require.NoError(t, err)
	assert.Empty(t, done)
	assert.Equal(t, info.Generation+1, after.Generation)
}

// TestRollbackAndThePolicy goes back to a key that is due for replacement: the
// policy makes a new one, and takes neither of the two.
//
// trap K12
func TestRollbackAndThePolicy(t *testing.T) {
	path, c, clock := timed(t)
	for clock.t = clock.t.AddDate(0, 0, 30); ; clock.t = clock.t.Add(time.Minute) {
		info, _, err := Apply(path, c, nil)
		require.NoError(t, err)
		if info.Keys[0].State == Retiring {
			break
		}
	}
	info := mustChange(t, path, c, Step{Do: Rollback})
	good, bad := info.Keys[0].ID, info.Keys[1].ID
	require.Equal(t, good, info.Primary)
	for range 19 {
		clock.t = clock.t.Add(time.Minute)
		var err error
		info, _, err = Apply(path, c, nil)
		require.NoError(t, err)
	}
	assert.Len(t, info.Keys, 3)
	assert.Equal(t, info.Keys[2].ID, info.Primary)
	assert.Equal(t, Disabled, stateOf(t, info, bad).State)
	assert.Equal(t, Retiring, stateOf(t, info, good).State)
}

func TestLive(t *testing.T) {
	path, c, clock := timed(t)
	begun := clock.t
	info, err := Read(path, c)
	require.NoError(t, err)
	live := func(k Key) [2]time.Time { from, to := info.Live(k, clock.t); return [2]time.Time{from, to} }
	clock.t = begun.Add(time.Minute)
	assert.Equal(t, [2]time.Time{begun, clock.t}, live(info.Keys[0]))
	clock.t = begun.Add(time.Hour)
	assert.Equal(t, [2]time.Time{clock.t.Add(-15*time.Minute - 20*time.Second), clock.t}, live(info.Keys[0]))
	info = mustChange(t, path, c, Step{Do: Rotate, Now: true})
	demoted := clock.t
	clock.t = demoted.Add(10 * time.Minute)
	assert.Equal(t, [2]time.Time{demoted.Add(-5*time.Minute - 20*time.Second), demoted.Add(2 * time.Minute)},
		live(info.Keys[0]))
	clock.t = info.Policy.DisableFrom(info.Keys[0])
	assert.Equal(t, [2]time.Time{}, live(info.Keys[0]))
	info = mustChange(t, path, c, Step{Do: Rotate}, Step{Do: Disable, Key: info.Keys[0].ID})
	assert.Equal(t, [2]time.Time{}, live(info.Keys[0]), "disabled")
	assert.Equal(t, [2]time.Time{}, live(info.Keys[2]), "pending")

	// What a machine whose clock is ahead made the primary may have sealed much by now.
	now := clock.t
	clock.t = now.Add(365 * 24 * time.Hour)
	info = mustChange(t, path, c, Step{Do: Rotate, Now: true})
	clock.t = now
	assert.Equal(t, [2]time.Time{now.Add(-15*time.Minute - 20*time.Second), now}, live(info.Keys[3]))
}

func TestWarnings(t *testing.T) {
	with := func(rate int64, rotate time.Duration, algorithm string) []string {
		p := DefaultPolicy(Ticket)
		p.ExpectedRate, p.RotateEvery = rate, rotate
		require.NoError(t, p.Check(Ticket))
		return Info{Policy: p, Keys: []Key{{State: Primary, Algorithm: algorithm}}}.Warnings()
	}
	const month = 30 * 24 * time.Hour
	assert.Empty(t, with(0, month, "AES256_GCM"))
	assert.Empty(t, with(1657, month, "AES256_GCM"))
	w := with(1658, month, "AES256_GCM")
	require.Len(t, w, 1)
	assert.Contains(t, w[0], "2^32")
	assert.Contains(t, w[0], "XAES_256_GCM or XCHACHA20_POLY1305")
	assert.Contains(t, w[0], "rotate-every to less than 719h")
	assert.Empty(t, with(1658, month, "XAES_256_GCM"))
	assert.Empty(t, with(1658, 10*24*time.Hour, "AES256_GCM"))
	assert.Empty(t, with(1, 0, "AES256_GCM"), "in more than ten years")
	assert.Contains(t, with(100, 0, "AES256_GCM")[0], "never rotates")
	assert.NotEmpty(t, with(1<<39, month, "AES256_GCM"))
}

func TestPolicyTogether(t *testing.T) {
	good := DefaultPolicy(Ticket)
	for text, edit := range map[string]func(p *Policy){
		"keyring.Policy.RotateEvery is 2m10s; it must be longer than propagation + skew": func(p *Policy) {
			p.RotateEvery = 130 * time.Second
		},
		"the file would hold about":           func(p *Policy) { p.RotateEvery = time.Hour },
		"keyring.Policy.ExpectedRate is -1":   func(p *Policy) { p.ExpectedRate = -1 },
		"keyring.Policy.DestroyAfter is -1s":  func(p *Policy) { p.DestroyAfter = -time.Second },
		"keyring.Policy.RotateEvery is 500ms": func(p *Policy) { p.RotateEvery = time.Second / 2 },
	} {
		p := good
		edit(&p)
		assert.ErrorContains(t, p.Check(Ticket), text)
	}
	p := good
	p.RotateEvery, p.DestroyAfter = 131*time.Second, time.Hour
	assert.NoError(t, p.Check(Ticket))
	p = DefaultPolicy(Channel)
	p.RotateEvery = 365 * 24 * time.Hour
	assert.NoError(t, p.Check(Channel))
}

// An Apply with nothing to do costs one call of the KEK: a timer runs Apply every few
// minutes, and a KMS may charge for each call.
func TestIdleApplyAsksTheKEKOnce(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	before := mustRead(t, path)
	var opened atomic.Int64
	c.KEK = countingKEK{c.KEK, &opened}
	_, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	assert.Empty(t, done)
	assert.Equal(t, int64(1), opened.Load())
	assert.Equal(t, before, mustRead(t, path))

	// What another process changed while this one waited for the lock is opened.
	first, err := read(path, &c)
	require.NoError(t, err)
	info, err := rotate(path, config(Ticket))
	require.NoError(t, err)
	again, err := reread(path, &c, first)
	require.NoError(t, err)
	assert.Equal(t, info.Generation, again.header.Generation)
	assert.Equal(t, int64(3), opened.Load())
}
