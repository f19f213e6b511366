package keyring

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gone is the state of a key that is in the file no more.
const gone State = "gone"

// transitions are all ways from one state to another, and what may lead there
// beside the step of that name.
var transitions = map[[2]State][]Action{
	{"", Staged}:         {Stage},
	{"", Pending}:        {Rotate},
	{"", Primary}:        {Rotate, Revoke},
	{Staged, Pending}:    {Enable},
	{Staged, Disabled}:   {Disable, Revoke},
	{Pending, Primary}:   {Promote},
	{Pending, Disabled}:  {Disable, Revoke},
	{Primary, Retiring}:  {Rotate, Promote, Rollback},
	{Primary, Disabled}:  {Revoke},
	{Retiring, Primary}:  {Rollback},
	{Retiring, Disabled}: {Disable, Revoke},
	{Disabled, Retiring}: {Enable},
	{Disabled, Pending}:  {Enable}, // one that never was the primary
	{Disabled, gone}:     {Destroy},
}

// TestTransitions does random steps, now and then what the policy wants, and sees
// that keys go from state to state as they may, and that nothing else happens:
// one primary always, no ID twice, what is blocked leaves the file as it was, a
// Ring follows, and the audit log has it all.
func TestTransitions(t *testing.T) {
	t.Parallel()
	rounds := 600
	if testing.Short() {
		rounds = 100
	}
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	rng := rand.New(rand.NewPCG(3, 5))
	info, err := Read(path, c)
	require.NoError(t, err)
	actions := []Action{Rotate, Rotate, Stage, Promote, Promote, Promote, Hold, Unhold, Unhold, Rollback, Disable, Disable,
		Enable, Enable, Destroy, Revoke}
	happened := make(map[[2]State]int)
	changes := uint64(1)
	var gonePast []KeyID
	for range rounds {
		clock.t = clock.t.Add(time.Duration(rng.Int64N(int64(2 * time.Hour))))
		if rng.IntN(20) == 0 {
			clock.t = clock.t.AddDate(0, 0, 10)
		}
		before := mustRead(t, path)
		s := Step{Do: actions[rng.IntN(len(actions))], Key: info.Keys[rng.IntN(len(info.Keys))].ID, Unsafe: rng.IntN(4) == 0,
			Now: rng.IntN(4) == 0}
		switch s.Do {
		case Rotate, Rollback:
			s.Key = 0
		case Stage:
			s.Key, s.Algorithm = 0, "XAES_256_GCM"
		case Enable:
			disabled := slices.DeleteFunc(slices.Clone(info.Keys), func(k Key) bool { return k.State != Disabled || k.Revoked })
			if len(disabled) > 0 {
				s.Key = disabled[rng.IntN(len(disabled))].ID
			}
		}
		steps := []Step{s}
		after, err := info, error(nil)
		if rng.IntN(5) == 0 {
			after, steps, err = Apply(path, c, nil)
			require.NoError(t, err)
		} else if after, err = Change(path, c, "why", s); err != nil {
			_, blocked := errors.AsType[*BlockedError](err)
			assert.True(t, blocked || errors.Is(err, ErrAlready) || s.Do == Rollback, "%v: %v", s, err)
			assert.Equal(t, before, mustRead(t, path))
			continue
		}
		if len(steps) > 0 {
			changes++
		}
		require.Equal(t, changes, after.Generation)

		was := make(map[KeyID]Key)
		for _, k := range info.Keys {
			was[k.ID] = k
		}
		check := func(k Key, to State) {
			from := was[k.ID]
			if from.State == to {
				return
			}
			move := [2]State{from.State, to}
			happened[move]++
			allowed := transitions[move]
			if !assert.True(t, slices.ContainsFunc(steps, func(s Step) bool { return slices.Contains(allowed, s.Do) }),
				"%v by %v", move, steps) {
				return
			}
			unsafe := slices.ContainsFunc(steps, func(s Step) bool {
				return s.Unsafe || s.Do == Revoke || s.Do == Rotate &&
					s.Now
			})
			p := info.Policy
			if move == [2]State{Pending, Primary} {
				assert.False(t, from.Held)
				assert.True(t, unsafe || !clock.t.Before(from.Enabled.Add(130*time.Second)))
			}
			if move == [2]State{Retiring, Primary} {
				assert.False(t, from.Held)
			}
			if move == [2]State{Retiring, Disabled} {
				assert.True(t, unsafe || !clock.t.Before(from.Demoted.Add(17*time.Minute+30*time.Second)))
			}
			if to == gone {
				assert.True(t, unsafe || !clock.t.Before(from.Disabled.Add(p.DestroyAfter)))
				gonePast = append(gonePast, k.ID)
			}
			if from.Revoked {
				assert.Equal(t, gone, to)
			}
		}
		primaries := 0
		for _, k := range after.Keys {
			check(k, k.State)
			assert.NotContains(t, gonePast, k.ID)
			if k.State == Primary {
				primaries++
				assert.Equal(t, after.Primary, k.ID)
			}
		}
		assert.Equal(t, 1, primaries)
		for _, k := range info.Keys {
			if !slices.ContainsFunc(after.Keys, func(a Key) bool { return a.ID == k.ID }) {
				check(k, gone)
			}
		}
		require.ElementsMatch(t, gonePast, after.Tombstones)
		info = after
		require.NoError(t, r.Reload())
		for _, k := range info.Keys {
			assert.Equal(t, k.opens(), r.HasKey(k.ID))
		}
	}
	for move := range transitions {
		if testing.Short() {
			break
		}
		assert.NotZero(t, happened[move], "%v never happened", move)
	}
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Len(t, log, int(changes))
}
