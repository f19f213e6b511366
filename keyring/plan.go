package keyring

import (
	"fmt"
	"slices"
	"time"
)

// Urgency tells whether the time of a planned step has come.
type Urgency string

// The urgencies.
const (
	Upcoming Urgency = "upcoming" // the time has not come
	Due      Urgency = "due"      // the time has come
	Overdue  Urgency = "overdue"  // late by more than a tenth of rotate-every; without rotate-every, an hour
)

// Plan holds the steps that the policy wants for a generation of a keyring.
type Plan struct {
	Generation  uint64        `json:"generation"`
	Fingerprint string        `json:"fingerprint"` // of the file
	Made        time.Time     `json:"made"`
	Steps       []PlannedStep `json:"steps"` // in the order of time
}

// PlannedStep is a step and the time from which the step is due.
type PlannedStep struct {
	Step
	At      time.Time `json:"at"`
	Urgency Urgency   `json:"urgency"`
}

// Plan returns the steps that the policy wants, now and later:
//
//   - rotate when the primary has been the primary for rotate-every, less the time for which
//     the new key will be pending
//   - promote the pending key that was enabled first
//   - disable a retiring key when its ciphertexts have run out
//   - destroy a disabled key after destroy-after
//
// Plan never promotes a held key, and never enables a key.
func (i Info) Plan(now time.Time) Plan {
	now = now.UTC().Truncate(time.Millisecond)
	p := Plan{Generation: i.Generation, Fingerprint: i.Fingerprint, Made: now}
	add := func(at time.Time, s Step) {
		if at.IsZero() {
			return
		}
		u := Upcoming
		switch {
		case now.After(at.Add(i.Policy.slack())):
			u = Overdue
		case !now.Before(at):
			u = Due
		}
		p.Steps = append(p.Steps, PlannedStep{s, at, u})
	}
	var next, primary *Key
	for j := range i.Keys {
		k := &i.Keys[j]
		add(i.Policy.DestroyFrom(*k), Step{Do: Destroy, Key: k.ID})
		add(i.Policy.DisableFrom(*k), Step{Do: Disable, Key: k.ID})
		switch {
		case k.State == Primary:
			primary = k
		case k.State == Pending && !k.Held && (next == nil || k.Enabled.Before(next.Enabled)):
			next = k
		}
	}
	switch {
	case next != nil:
		add(i.Policy.PromoteFrom(*next), Step{Do: Promote, Key: next.ID})
	case primary != nil && i.Policy.RotateEvery != 0:
		add(primary.Promoted.Add(i.Policy.RotateEvery-i.Policy.spread(i.Kind)), Step{Do: Rotate})
	}
	slices.SortStableFunc(p.Steps, func(a, b PlannedStep) int { return a.At.Compare(b.At) })
	return p
}

func (p Policy) slack() time.Duration {
	if p.RotateEvery == 0 {
		return time.Hour
	}
	return p.RotateEvery / 10
}

// Due returns the steps of p that are due or overdue.
func (p Plan) Due() []Step {
	var due []Step
	for _, s := range p.Steps {
		if s.Urgency != Upcoming {
			due = append(due, s.Step)
		}
	}
	return due
}

// Check reports whether Apply would accept the plan for the keyring i at the time now. The
// error wraps ErrStalePlan if p is for another file or generation, or if a step that was due
// is not due any more.
func (p Plan) Check(i Info, now time.Time) error {
	switch {
	case p.Generation != i.Generation:
		return fmt.Errorf("the plan is for generation %d, and the keyring is generation %d: %w",
			p.Generation, i.Generation, ErrStalePlan)
	case p.Fingerprint != i.Fingerprint:
		return fmt.Errorf("the plan is for another file of generation %d: %w", p.Generation, ErrStalePlan)
	}
	due := i.Plan(now).Due()
	for _, s := range p.Due() {
		at := slices.Index(due, s)
		if at < 0 {
			return fmt.Errorf("%s of the plan is not due: %w", s.Do, ErrStalePlan)
		}
		due = slices.Delete(due, at, at+1)
	}
	return nil
}

// Apply does the steps that are due, in one write, and returns the new content and the steps.
// If nothing is due, Apply writes nothing, and asks the KEK once.
//
// With a plan, which people may have approved, Apply does the steps that were due when the
// plan was made. The error wraps ErrStalePlan if Plan.Check refuses the plan.
func Apply(path string, c Config, plan *Plan) (Info, []Step, error) {
	var done []Step
	info, err := change(path, &c, "policy", changeOptions{anyClock: c.UnsafeClockBehind}, func(e *edit, now Info) error {
		due := now.Plan(e.now).Due()
		if plan != nil {
			if err := plan.Check(now, e.now); err != nil {
				return err
			}
			due = plan.Due()
		}
		// Destroyed keys make room for new keys.
		slices.SortStableFunc(due, func(a, b Step) int {
			switch {
			case a.Do == Destroy && b.Do != Destroy:
				return -1
			case b.Do == Destroy && a.Do != Destroy:
				return 1
			}
			return 0
		})
		e.why = "" // is not the reason of any key
		err := e.do(due)
		done = e.done
		return err
	})
	if err != nil {
		return Info{}, nil, err
	}
	return info, done, nil
}

// Live returns the period in which the key k made ciphertexts that may still be good at the
// time now, by the policy. Revoking or disabling k refuses these ciphertexts. from is the
// zero time if there are none. In a Channel keyring all ciphertexts of k stay good.
func (i Info) Live(k Key, now time.Time) (from, to time.Time) {
	now = now.UTC()
	if k.Promoted.IsZero() || k.State == Disabled {
		return time.Time{}, time.Time{}
	}
	from, to = k.Promoted, now
	if k.State == Retiring {
		// Other processes seal with the key until they have the new file.
		if to = i.Policy.sealedUntil(k); to.After(now) {
			to = now
		}
	}
	if i.Kind == Channel {
		return from, to
	}
	// A verifier whose clock is behind accepts ciphertexts since this time.
	since := now.Add(-i.Policy.Lifetime - 2*i.Policy.Skew)
	switch {
	case from.After(now):
		from = since // a clock that was ahead recorded from; the true time is unknown
	case k.Needed.Before(now):
		from = later(from, since)
	}
	if from.After(to) {
		return time.Time{}, time.Time{}
	}
	return from, to
}
