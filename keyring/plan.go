package keyring

import (
	"fmt"
	"slices"
	"time"
)

// Urgency says how a planned step stands to the time of its plan.
type Urgency string

// The urgencies.
const (
	Upcoming Urgency = "upcoming" // its time has not come
	Due      Urgency = "due"
	Overdue  Urgency = "overdue" // late by more than a tenth of rotate-every, or, without that, an hour
)

// Plan is what the policy wants done to one generation of a keyring.
type Plan struct {
	Generation  uint64        `json:"generation"`
	Fingerprint string        `json:"fingerprint"` // of the file
	Made        time.Time     `json:"made"`
	Steps       []PlannedStep `json:"steps"` // by time
}

// PlannedStep is a step with the time from which it is due.
type PlannedStep struct {
	Step
	At      time.Time `json:"at"`
	Urgency Urgency   `json:"urgency"`
}

// Plan says what the policy wants done, now and later: rotate when the primary
// has been that for rotate-every less the time to spread; promote the pending
// key that was enabled first; disable what nothing good needs any more; destroy
// what the grace has passed for. It never promotes a held key, and never makes
// a key open that does not.
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
		add(primary.Promoted.Add(i.Policy.RotateEvery-i.Policy.spread()), Step{Do: Rotate})
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

// Check finds what keeps Apply from doing p, at now, to the keyring that i tells
// of: the error wraps ErrStalePlan if p is for another, or for another generation,
// or if not all that was due is due still.
func (p Plan) Check(i Info, now time.Time) error {
	switch {
	case p.Generation != i.Generation:
		return fmt.Errorf("it is for generation %d, and the keyring is generation %d: %w", p.Generation, i.Generation, ErrStalePlan)
	case p.Fingerprint != i.Fingerprint:
		return fmt.Errorf("it is for another file of generation %d: %w", p.Generation, ErrStalePlan)
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

// Apply does what is due, in one write, and returns what the file then says and
// what was done. If nothing is due, it writes nothing. With a plan, made earlier
// and perhaps looked at by someone, it does the steps that were due then; the
// error wraps ErrStalePlan if the file is another by now, or if they are not due.
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
		// What goes makes room for what comes.
		slices.SortStableFunc(due, func(a, b Step) int {
			switch {
			case a.Do == Destroy && b.Do != Destroy:
				return -1
			case b.Do == Destroy && a.Do != Destroy:
				return 1
			}
			return 0
		})
		e.why = "" // no key's own reason
		err := e.do(due)
		done = e.done
		return err
	})
	if err != nil {
		return Info{}, nil, err
	}
	return info, done, nil
}

// Live returns between which times the key k sealed what may still be good at
// now, by the policy; from is the zero time if there is nothing such. To revoke
// or disable k is to refuse that. For a Channel keyring all that k sealed is good.
func (i Info) Live(k Key, now time.Time) (from, to time.Time) {
	now = now.UTC()
	if k.Promoted.IsZero() || k.State == Disabled {
		return time.Time{}, time.Time{}
	}
	from, to = k.Promoted, now
	if k.State == Retiring {
		// Others may seal with it until they have the new file.
		if to = k.Demoted.Add(i.Policy.Propagation); to.After(now) {
			to = now
		}
	}
	if i.Kind == Channel {
		return from, to
	}
	// The oldest that a verifier whose clock is behind would take.
	since := now.Add(-i.Policy.Lifetime - 2*i.Policy.Skew)
	switch {
	case from.After(now):
		from = since // by a clock that was ahead, which says nothing of when that was
	case k.Needed.Before(now):
		from = later(from, since)
	}
	if from.After(to) {
		return time.Time{}, time.Time{}
	}
	return from, to
}
