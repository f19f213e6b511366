package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// absent is the value of a fact about a record that does not exist.
const absent = "absent"

// A fact is a part of a directory, such as one agent. Commands change its value.
type fact struct {
	name   string
	values []factValue // the last is the present value
}

// A factValue is a value of a fact, made by a command that ran from begin to end. Both are
// zero for the value at the start.
type factValue struct {
	is         string
	begin, end time.Time
}

func newFact(name, is string) *fact { return &fact{name, []factValue{{is: is}}} }

// now returns the present value.
func (f *fact) now() string { return f.values[len(f.values)-1].is }

// between returns the places of the values by which a service may answer a request that
// took from one time to another. The service may remember a value for a time after its end,
// but never that a record is absent.
func (f *fact) between(from, to time.Time, remembered time.Duration) (places []int) {
	for i, v := range f.values {
		since := from
		if v.is != absent {
			since = from.Add(-remembered)
		}
		last := i+1 == len(f.values)
		if !v.begin.After(to) && (last || !f.values[i+1].end.Before(since)) {
			places = append(places, i)
		}
	}
	return places
}

// returned returns the command that made the value at a place, if the name was away before.
// Tickets from before that command are not good any more.
func (f *fact) returned(place int) (factValue, bool) {
	for _, v := range f.values[:place] {
		if v.is != absent {
			return f.values[place], true
		}
	}
	return factValue{}, false
}

func (f *fact) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", f.name)
	for _, v := range f.values {
		fmt.Fprintf(&b, " %s (%s to %s)", v.is, clock(v.begin), clock(v.end))
	}
	return b.String()
}

func clock(t time.Time) string { return t.Format("05.000000") }

// An answer is a service's answer to a request.
type answer struct {
	what     string
	from, to time.Time
	status   int
	on       []condition
	right    int // status if all conditions hold
}

// A condition of a request is a fact by which the service answers, and how long the service
// may remember the fact's value.
type condition struct {
	*fact
	remembered time.Duration
	wrong      int // status if the condition does not hold

	// holds reports whether the condition holds with the value at a place, and whether it may
	// fail. Both are true where the model cannot tell.
	holds func(place int) (may, mayNot bool)
}

// is returns a condition that holds with the values.
func (f *fact) is(remembered time.Duration, wrong int, values ...string) condition {
	return condition{f, remembered, wrong, func(place int) (bool, bool) {
		good := slices.Contains(values, f.values[place].is)
		return good, !good
	}}
}

// mistake describes an answer that the facts do not allow, or is "". With latest, only the
// present values count.
func (a *answer) mistake(latest bool) string {
	good, wrong := true, []int(nil) // whether all may hold, and the statuses of those that may not
	for _, c := range a.on {
		places := c.between(a.from, a.to, c.remembered)
		if latest {
			places = []int{len(c.values) - 1}
		}
		possible := false
		for _, place := range places {
			may, mayNot := c.holds(place)
			possible = possible || may
			if mayNot {
				wrong = append(wrong, c.wrong)
			}
		}
		good = good && possible
	}
	if good && a.status == a.right || slices.Contains(wrong, a.status) {
		return ""
	}
	if good {
		wrong = append(wrong, a.right)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, from %s to %s: answered %d, want one of %v\n", a.what, clock(a.from), clock(a.to), a.status,
		wrong)
	for _, c := range a.on {
		fmt.Fprintf(&b, "  remembered for %v, %v\n", c.remembered, c.fact)
	}
	return b.String()
}

// A changeTicket is a ticket for an agent, or for a customer of a channel.
type changeTicket struct {
	text     string
	owner    *fact // the agent or the channel
	agent    bool
	from, to time.Time // of the request
	revoked  *fact
}

// good is the condition that the ticket's owner exists, and that the ticket is not from
// before the owner's return. Directories and tickets have whole milliseconds.
func (t *changeTicket) good(remembered time.Duration, wrong int) condition {
	return condition{t.owner, remembered, wrong, func(place int) (may, mayNot bool) {
		if t.owner.values[place].is != "present" {
			return false, true
		}
		back, was := t.owner.returned(place)
		if !was {
			return true, false
		}
		milli := func(t time.Time) int64 { return t.UnixMilli() }
		return milli(t.to) > milli(back.begin), milli(t.from) <= milli(back.end)
	}}
}

// A changeSession is a session of an agent's record.
type changeSession struct {
	cookie     string
	agent      *fact
	from, to   time.Time // of the entry
	remembered time.Duration
}

// good is the condition that the session's record is still there. A record that was away or
// inactive is another record when it returns.
func (s *changeSession) good(remembered time.Duration, wrong int) condition {
	return condition{s.agent, remembered, wrong, func(place int) (may, mayNot bool) {
		entered := slices.DeleteFunc(s.agent.between(s.from, s.to, s.remembered),
			func(place int) bool { return s.agent.values[place].is != "present" })
		may = slices.Contains(entered, place)
		return may, !may || len(entered) > 1
	}}
}
