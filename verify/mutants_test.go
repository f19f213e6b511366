package verify_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// exactCapacity is how many nonces an exactStore holds.
const exactCapacity = 24

// An exactStore is a store as it should be, in plain maps, but for one fault.
type exactStore struct {
	fault string
	now   func() time.Time
	epoch time.Time

	mu      sync.Mutex
	slices  map[int64]*exactSlice
	dropped map[int64]bool
}

type exactSlice struct {
	retain time.Time
	used   map[[16]byte]spend
}

// The faults that an exactStore may have.
const (
	none                = "none"
	evictWhenFull       = "evicts when full"
	edgeOfRetention     = "> for >= at the end of retention"
	checkThenSet        = "checks, then sets"
	retainForLifetime   = "retains for the lifetime, without the skew"
	sliceTooShort       = "drops a slice before its last ticket is over"
	barrierWithoutSkew  = "barrier without the skew"
	lateClaimAdmitted   = "admits a late claim"
	sliceRecreated      = "makes a slice again after a backward step"
	refreshOnHit        = "refreshes on a hit"
	graceWithoutBinding = "grace without a binding"
	graceForAnyBinding  = "grace for any binding"
	graceBeforeFirst    = "grace before the first use"
	spendsRefused       = "spends what it refuses"
)

var storeFaults = []string{
	evictWhenFull, edgeOfRetention, checkThenSet, retainForLifetime, sliceTooShort, barrierWithoutSkew, lateClaimAdmitted,
	sliceRecreated, refreshOnHit, graceWithoutBinding, graceForAnyBinding, graceBeforeFirst, spendsRefused,
}

func (s *exactStore) Claim(_ context.Context, c replay.Claim) (replay.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.drop(now)
	a := s.judge(&c, now)
	if s.fault == checkThenSet {
		s.mu.Unlock()
		for range 20 {
			runtime.Gosched() // others look, too
		}
		s.mu.Lock()
	}
	switch {
	case a.Repeated:
		if s.fault == refreshOnHit {
			sl := s.slices[c.Expires.Unix()>>4]
			sl.used[c.Nonce] = spend{c.Binding, now}
		}
	case a.Status == replay.Admitted, a.Status == replay.Full && s.fault == spendsRefused:
		s.insert(&c, now)
	}
	return a, nil
}

func (s *exactStore) Peek(_ context.Context, c replay.Claim) (replay.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge(&c, s.now()), nil
}

func (s *exactStore) drop(now time.Time) {
	for index, sl := range s.slices {
		if !now.Before(sl.retain) {
			delete(s.slices, index)
			s.dropped[index] = s.fault != sliceRecreated
		}
	}
}

func (s *exactStore) judge(c *replay.Claim, now time.Time) replay.Answer {
	late := !now.Before(c.RetainUntil)
	switch s.fault {
	case edgeOfRetention:
		late = now.After(c.RetainUntil)
	case lateClaimAdmitted:
		late = false
	}
	issued := c.NotBefore
	if s.fault == barrierWithoutSkew {
		issued = issued.Add((c.RetainUntil.Sub(c.Expires) - time.Minute) / 3)
	}
	index := c.Expires.Unix() >> 4
	sl := s.slices[index]
	if sl != nil && !late {
		if first, ok := sl.used[c.Nonce]; ok {
			return s.spent(c, first, now)
		}
	}
	switch {
	case late:
		return replay.Answer{Status: replay.TooLate}
	case !issued.After(s.epoch):
		return replay.Answer{Status: replay.IssuedBeforeStart}
	case s.dropped[index]:
		return replay.Answer{Status: replay.ClockBehind}
	case s.count() >= exactCapacity && s.fault != evictWhenFull:
		return replay.Answer{Status: replay.Full}
	}
	return replay.Answer{Status: replay.Admitted}
}

func (s *exactStore) spent(c *replay.Claim, first spend, now time.Time) replay.Answer {
	a := c.Spent(first.at, first.binding, now)
	none, soon := [32]byte{}, !now.Before(first.at) && now.Before(first.at.Add(replay.Grace))
	switch {
	case s.fault == graceWithoutBinding && soon && c.Binding == none && first.binding == none,
		s.fault == graceForAnyBinding && soon && c.Binding != none,
		s.fault == graceBeforeFirst && now.Before(first.at) && c.Binding != none && c.Binding == first.binding:
		a.Status, a.Repeated = replay.Admitted, true
	}
	return a
}

func (s *exactStore) count() (n int) {
	for _, sl := range s.slices {
		n += len(sl.used)
	}
	return n
}

func (s *exactStore) insert(c *replay.Claim, now time.Time) {
	if s.fault == evictWhenFull && s.count() >= exactCapacity {
		s.evict()
	}
	index, retain := c.Expires.Unix()>>4, c.RetainUntil
	if s.fault == retainForLifetime {
		retain = c.Expires
	}
	sl := s.slices[index]
	if sl == nil {
		sl = &exactSlice{retain: retain, used: map[[16]byte]spend{}}
		s.slices[index] = sl
	}
	if s.fault != sliceTooShort {
		sl.retain = later(sl.retain, retain)
	}
	sl.used[c.Nonce] = spend{c.Binding, now}
}

// evict forgets the oldest admission.
func (s *exactStore) evict() {
	var oldest [16]byte
	var from *exactSlice
	for _, sl := range s.slices {
		for nonce, u := range sl.used {
			if from == nil || u.at.Before(from.used[oldest].at) {
				oldest, from = nonce, sl
			}
		}
	}
	delete(from.used, oldest)
}

// An outageTold makes something of an outage that it is not.
type outageTold struct {
	replay.Store
	as replay.Status
}

func (s outageTold) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	a, err := s.Store.Claim(ctx, c)
	if err != nil {
		return replay.Answer{Status: s.as}, nil
	}
	return a, nil
}

// claimFirst redeems a ticket, and looks only then whether it is the right one.
func claimFirst(v *verify.Verifier, ctx context.Context, ticket string, use verify.Use) (token.Ticket, error) {
	t, err := v.Redeem(ctx, ticket, verify.Use{Audience: verify.AnyAudience, Channel: use.Channel, Binding: use.Binding})
	if err == nil && t.Audience != use.Audience {
		err = &verify.Error{Reason: verify.WrongAudience}
	}
	if err == nil && use.Check != nil && use.Check(t) != nil {
		err = &verify.Error{Reason: verify.RefusedByCaller}
	}
	return t, err
}

func exactKind(fault string) *kind {
	return &kind{
		name: fault, schedules: memoryKind.schedules, redeem: (*verify.Verifier).Redeem,
		mayBeFull: func(m *model) bool { return m.records >= exactCapacity },
		open: func(s *schedule) (replay.Store, error) {
			return &exactStore{fault: fault, now: s.clock.store, epoch: s.clock.store(),
				slices: map[int64]*exactSlice{}, dropped: map[int64]bool{}}, nil
		},
	}
}

// The check that the stores pass is one that known faults do not.
func TestMutants(t *testing.T) {
	var mutants []*kind
	for _, fault := range storeFaults {
		mutants = append(mutants, exactKind(fault))
	}
	for name, status := range map[string]replay.Status{
		"tells an outage as admitted": replay.Admitted,
		"tells an outage as a replay": replay.AlreadyUsed,
	} {
		k := exactKind(none)
		k.name, k.wrap = name, func(s replay.Store) replay.Store { return outageTold{s, status} }
		mutants = append(mutants, k)
	}
	k := exactKind(none)
	k.name, k.redeem = "claims before it checks", claimFirst
	mutants = append(mutants, k)
	k = exactKind(none)
	k.name, k.ownSkew = "has barriers by each verifier's own skew", true
	mutants = append(mutants, k)

	if testing.Short() {
		t.Skip("with -short: it takes many schedules to catch every mutant")
	}
	seed, right := seedOf(t), exactKind(none)
	n := right.schedules
	if *modelSchedules > 0 {
		n = *modelSchedules
	}
	_, _, err := runSchedules(right, seed, n, t.TempDir())
	require.NoError(t, err, "the store without a fault")
	if n < right.schedules {
		t.Skip("too few schedules to catch every mutant; give -model.schedules none, or more")
	}
	for _, k := range mutants {
		_, _, err := runSchedules(k, seed, n, t.TempDir())
		if assert.Error(t, err, "the mutant that %s survives", k.name) {
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("%s: %s", k.name, first)
		}
	}
}
