//go:build unix

package api

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// A historyWriter makes up a history.
type historyWriter struct {
	*rand.Rand
	steps   []step
	tickets []int  // the steps that issue
	entries []step // checks of sessions that may be there
}

func (w *historyWriter) oneIn(n int) bool { return w.IntN(n) == 0 }

func (w *historyWriter) emit(s step) {
	s.id = len(w.steps) + 1
	if s.op == "issue to agent" || s.op == "issue to customer" {
		w.tickets = append(w.tickets, s.id)
	}
	w.steps = append(w.steps, s)
}

// newHistory returns random steps.
func newHistory(r *rand.Rand, length int) []step {
	w := &historyWriter{Rand: r, tickets: []int{0}}
	for _, s := range historyPrologue {
		w.emit(s)
	}
	if w.oneIn(2) {
		w.emit(step{op: "set brand", brand: w.IntN(2), detail: w.IntN(2), value: 1 + w.IntN(2)})
	}
	names := slices.Sorted(maps.Keys(historyOps))
	total := 0
	for _, weight := range historyOps {
		total += weight
	}
	for len(w.steps) < length {
		n, i := w.IntN(total), 0
		for ; n >= historyOps[names[i]]; i++ {
			n -= historyOps[names[i]]
		}
		s := w.random(names[i])
		w.emit(s)
		if !w.oneIn(4) {
			w.follow(s)
		}
	}
	return w.steps
}

// random returns a step of a kind.
func (w *historyWriter) random(op string) step {
	s := step{op: op, who: w.IntN(2), detail: w.IntN(3), value: w.IntN(3), channel: w.IntN(3), browser: w.IntN(2),
		on: w.oneIn(2), odd: w.oneIn(8), ticket: w.tickets[len(w.tickets)-1]}
	if w.oneIn(4) {
		s.brand = 1
	}
	if w.oneIn(12) {
		s.key = w.IntN(3)
	}
	if w.oneIn(3) {
		s.ticket = w.tickets[w.IntN(len(w.tickets))]
	}
	switch op {
	case "wait":
		s.wait = w.wait()
	case "set brand", "set channel":
		s.detail, s.value = max(0, w.IntN(len(historySettings)+3)-3), w.IntN(3)
		if s.detail < 2 {
			s.detail = w.IntN(2)
		}
	case "add channel", "remove channel":
		s.channel = 1 + w.IntN(2)
	case "add agent":
		s.on = !w.oneIn(6)
	case "import agent":
		s.who, s.detail = w.IntN(8), w.IntN(6) // and the columns that are left out
	case "add customer", "edit customer", "issue to customer":
		s.detail, s.odd = w.IntN(5*27), w.oneIn(2)
		if !w.oneIn(3) {
			s.channel = 0
		}
		if w.oneIn(2) {
			s.value = 0
		}
	case "remove customer", "end sessions of customer":
		s.who = w.IntN(4)
	case "issue to agent":
		if !w.oneIn(8) {
			s.detail = 3
		}
		if w.oneIn(2) {
			s.value = 0
		}
	case "add key":
		s.key, s.value = w.IntN(3), w.IntN(4)
	case "redeem", "inspect":
		s.binding = w.IntN(3)
	case "enter":
		if !w.oneIn(8) {
			s.channel = 0
		}
	case "check", "look":
		if n := len(w.entries); n > 0 && !w.oneIn(8) {
			s = w.entries[n-1-min(w.IntN(n), w.IntN(3))]
			s.op = op
			if w.oneIn(3) {
				s.value = w.IntN(3)
			}
		}
	}
	return s
}

// wait returns a time: mostly a short one, or hardly anything stays in time.
func (w *historyWriter) wait() time.Duration {
	n := len(historyWaits)
	if !w.oneIn(8) {
		n = 9
	}
	return historyWaits[w.IntN(n)]
}

// follow goes on with what a step began.
func (w *historyWriter) follow(s step) {
	pause := func() {
		if w.oneIn(2) {
			w.emit(step{op: "wait", wait: w.wait()})
		}
	}
	again := func(op string) {
		next := s
		next.op, next.on = op, true
		w.emit(next)
	}
	switch s.op {
	case "issue to agent", "issue to customer":
		next := w.random([]string{"enter", "redeem"}[w.IntN(2)])
		next.ticket, next.odd = len(w.steps), false
		w.emit(next)
		check := step{op: "check", browser: next.browser, on: s.op == "issue to agent", value: s.brand}
		if next.op == "enter" {
			if w.oneIn(2) {
				w.emit(step{op: "press", browser: next.browser})
			}
			w.entries = append(w.entries, check)
			w.emit(check)
			if w.oneIn(3) { // another user in the same browser
				other := w.random(s.op)
				other.brand = w.IntN(2)
				w.emit(other)
				next.ticket = len(w.steps)
				w.emit(next)
				check.value = other.brand
				w.entries = append(w.entries, check)
				w.emit(check)
			}
		}
		if s.op == "issue to customer" && w.oneIn(4) { // whose channel is made again
			again("remove channel")
			w.steps[len(w.steps)-1].channel = max(1, s.channel)
			w.follow(w.steps[len(w.steps)-1])
		}
		if pause(); w.oneIn(2) { // once more
			next.browser = w.IntN(2)
			w.emit(next)
		}
	case "remove agent":
		pause()
		again([]string{"add agent", "import agent"}[w.IntN(2)])
		w.follow(step{op: "edit agent"})
	case "remove channel":
		for _, op := range []string{"check", "add channel", "check", "enter"} {
			next := s
			if pause(); op != "add channel" {
				next = w.random(op)
			}
			next.op = op
			w.emit(next)
		}
	case "remove brand":
		pause()
		for _, op := range []string{"add brand", "add channel", "add agent"} {
			next := s
			next.op, next.channel, next.on = op, 1, true
			w.emit(next)
		}
	case "activate agent":
		if !s.on {
			pause()
			if again("activate agent"); w.oneIn(2) {
				back := &w.steps[len(w.steps)-1]
				back.op, back.who = "import agent", s.who|w.IntN(4)<<1
				issue := step{op: "issue to agent", brand: s.brand, who: s.who, detail: 3}
				w.emit(issue)
			}
		}
		w.follow(step{op: "edit agent"})
	case "directory silent":
		for range 2 {
			w.emit(step{op: "wait", wait: historyWaits[6+w.IntN(7)]})
			w.emit(w.random([]string{"check", "check", "check", "enter"}[w.IntN(4)]))
		}
		w.emit(step{op: "directory answers"})
	case "edit agent", "end sessions of agent", "end sessions of brand", "import agent", "edit customer",
		"remove customer", "end sessions of customer":
		for range 1 + w.IntN(2) {
			w.emit(step{op: "wait", wait: w.wait()})
			w.emit(w.random([]string{"check", "check", "check", "enter"}[w.IntN(4)]))
		}
	}
}

// shortest drops steps from a failing history as long as it fails.
func (h *historyWorld) shortest(steps []step) []step {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for again := true; again; {
			again = false
			for i := 0; i+size <= len(steps); {
				if less := slices.Delete(slices.Clone(steps), i, i+size); h.run(less) != "" {
					steps, again = less, size == 1
				} else {
					i += size
				}
			}
		}
	}
	return steps
}
