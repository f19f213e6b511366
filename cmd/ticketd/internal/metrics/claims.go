package metrics

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// Store returns s with its claims counted.
func (m *Metrics) Store(s replay.Store) replay.Store { return counting{s, m} }

type counting struct {
	replay.Store
	m *Metrics
}

// Claim implements replay.Store.
func (c counting) Claim(ctx context.Context, claim replay.Claim) (replay.Answer, error) {
	begun := time.Now()
	a, err := c.Store.Claim(ctx, claim)
	c.m.claimDuration.Observe(time.Since(begun).Seconds())
	c.m.claims.WithLabelValues(claimResult(a, err)).Inc()
	return a, err
}

// Results of a claim beside the words of replay.Status.
const (
	repeated    = "repeated"
	unavailable = "unavailable"
	invalid     = "invalid"
)

func claimResult(a replay.Answer, err error) string {
	switch {
	case errors.Is(err, replay.ErrUnavailable):
		return unavailable
	case err != nil:
		return invalid
	case a.Repeated:
		return repeated
	case a.Status < replay.Admitted || a.Status > replay.ClockBehind:
		return other
	}
	return a.Status.String()
}

func claimResults() []string {
	all := []string{repeated, unavailable, invalid}
	for status := replay.Admitted; status <= replay.ClockBehind; status++ {
		all = append(all, status.String())
	}
	return all
}

// result returns the label for an answer of a Verifier.
func result(err error) string {
	if err == nil {
		return accepted
	}
	var e *verify.Error
	if errors.As(err, &e) && slices.Contains(reasons, e.Reason) {
		return string(e.Reason)
	}
	return other
}
