package main

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/admitone/admitone/verify/replay"
)

// claim is the input of an operation. Times are in nanoseconds since the history's start.
type claim struct {
	ticket  int
	binding byte // 0: none
	call    int64
	end     int64 // never, if the result is unknown
}

// never is the end of a claim whose result is unknown: the claim can take effect at any time.
const never = math.MaxInt64

// result says what a store answered.
type result uint8

const (
	unknown  result = iota // an error: the claim had an effect, has none, or will have an effect later
	admitted               // for the first time
	repeated               // the same binding again
	used
	refused // the ticket may be older than the store's memory
	foreign // an answer that no history may have
)

var resultNames = [...]string{"unknown", "admitted", "repeated", "used", "refused", "foreign"}

func (r result) String() string { return resultNames[r] }

// answer is the output of an operation.
type answer struct {
	result result
	first  int64  // FirstUsed, in nanoseconds since the history's start; 0 if the store named no time
	text   string // of an error, or of a foreign answer
}

// spent is the model's state: what a correct store knows about one ticket.
type spent struct {
	claimed   bool
	binding   byte
	call, end int64 // of the claim that spent the ticket
	first     int64 // as the first answer with a time named it; 0 before
	forgotten bool  // the store refused the ticket, and so cannot admit it later
}

// tolerance is how far the store's clock may be from the history's.
const tolerance = int64(50 * time.Millisecond)

// spend is the state after the claim that spends the ticket.
func (s spent) spend(in claim) spent {
	s.claimed, s.binding, s.call, s.end = true, in.binding, in.call, in.end
	return s
}

// named compares FirstUsed with the claim that spent the ticket and with earlier answers.
func (s spent) named(first int64) (spent, bool) {
	ok := first != 0 && (s.first == 0 || s.first == first) && first >= s.call-tolerance &&
		(s.end == never || first <= s.end+tolerance)
	s.first = first
	return s, ok
}

// step is the specification of a store. mayForget: in this history a fault took the store's
// memory, so the store may refuse tickets from before.
func (s spent) step(in claim, out answer, mayForget bool) (spent, bool) {
	bound := in.binding != 0 && in.binding == s.binding
	switch out.result {
	case unknown:
		if !s.claimed && !s.forgotten {
			s = s.spend(in)
		}
		return s, true
	case admitted:
		return s.spend(in), !s.claimed && !s.forgotten
	case repeated:
		next, ok := s.named(out.first)
		inTime := s.end == never || in.call-s.end < int64(replay.Grace)+tolerance
		return next, ok && s.claimed && bound && inTime
	case used:
		next, ok := s.named(out.first)
		graceOver := in.end-s.call >= int64(replay.Grace)-tolerance
		return next, ok && s.claimed && (!bound || graceOver)
	case refused:
		s.forgotten = true
		return s, mayForget
	}
	return s, false
}

// specification is the model of a ticket for porcupine.
func specification(mayForget bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return spent{} },
		Step: func(state, in, out any) (bool, any) {
			next, ok := state.(spent).step(in.(claim), out.(answer), mayForget)
			return ok, next
		},
		DescribeOperation: func(in, out any) string { return describe(in.(claim), out.(answer)) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

func describe(in claim, out answer) string {
	text := fmt.Sprintf("ticket %d, binding %d: %v", in.ticket, in.binding, out.result)
	if out.first != 0 {
		text += fmt.Sprintf(", first used at %v", time.Duration(out.first))
	}
	if out.text != "" {
		text += " (" + out.text + ")"
	}
	return text
}
