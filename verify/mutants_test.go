package verify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/internal/exactstore"
	"github.com/admitone/admitone/verify/replay"
)

// exactCapacity is the number of nonces in a store of exactKind.
const exactCapacity = 24

// storeFaults are the faults that the model must find. Package replaytest finds the others.
var storeFaults = []exactstore.Fault{
	exactstore.EvictsWhenFull, exactstore.EdgeOfRetention, exactstore.ChecksThenSets,
	exactstore.ForgetsAtExpiry, exactstore.WindowTooShort, exactstore.BarrierWithoutSkew,
	exactstore.LateClaimAdmitted, exactstore.WindowMadeAgain, exactstore.GraceExtended,
	exactstore.GraceWithoutBinding, exactstore.GraceForAnyBinding, exactstore.GraceBeforeFirst,
	exactstore.SpendsRefused,
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

// checkAllAgain redeems a ticket, and lets a clock set back meanwhile refuse the ticket.
func checkAllAgain(v *verify.Verifier, ctx context.Context, ticket string, use verify.Use) (token.Ticket, error) {
	t, err := v.Redeem(ctx, ticket, use)
	if err != nil {
		return t, err
	}
	if _, again := v.Inspect(ctx, ticket, use); verify.AsError(again).Reason == verify.NotYetValid {
		return token.Ticket{}, again
	}
	return t, nil
}

func exactKind(fault exactstore.Fault) *kind {
	return &kind{
		name: string(fault), schedules: memoryKind.schedules, redeem: (*verify.Verifier).Redeem,
		mayBeFull: func(m *model) bool { return m.records >= exactCapacity },
		open: func(s *schedule) (replay.Store, error) {
			return exactstore.New(s.clock.store, exactCapacity, fault), nil
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
		k := exactKind(exactstore.None)
		k.name, k.wrap = name, func(s replay.Store) replay.Store { return outageTold{s, status} }
		mutants = append(mutants, k)
	}
	k := exactKind(exactstore.None)
	k.name, k.redeem = "claims before it checks", claimFirst
	mutants = append(mutants, k)
	k = exactKind(exactstore.None)
	k.name, k.redeem = "tells a clock set back during the claim as not_yet_valid", checkAllAgain
	mutants = append(mutants, k)
	k = exactKind(exactstore.None)
	k.name, k.ownSkew = "has barriers by each verifier's own skew", true
	mutants = append(mutants, k)

	if testing.Short() {
		t.Skip("with -short: it takes many schedules to catch every mutant")
	}
	seed, right := seedOf(t), exactKind(exactstore.None)
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
