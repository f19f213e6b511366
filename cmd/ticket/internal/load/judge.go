package load

import (
	"context"
	"errors"
	"time"

	"github.com/admitone/admitone/client"
)

// answer is the outcome of one caller's redemption.
type answer struct {
	kind   kind
	id     string // of the ticket, if known
	reason client.Reason
}

type kind int

const (
	unknown kind = iota // the service could not tell, or no answer came
	cut                 // the load was ended before the answer
	admitted
	refused
)

// issued counts the outcome of an issue. It reports false without a ticket.
func (l *Load) issued(ctx context.Context, due time.Time, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.results
	switch {
	case err == nil:
		r.Issued++
	case ctx.Err() != nil:
		r.CutOff++
		return false
	default:
		r.NotIssued++
		r.fail("issue", err)
	}
	r.issue.add(time.Since(due))
	return err == nil
}

// redeemed counts the outcome of a redemption.
func (l *Load) redeemed(ctx context.Context, due time.Time, r client.Redemption, err error) answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := classify(r, err)
	if a.kind == unknown && ctx.Err() != nil {
		a.kind = cut
		return a
	}
	if a.kind == unknown {
		l.results.fail("redeem", err)
	}
	l.results.redeem.add(time.Since(due))
	return a
}

// classify turns the result of Client.Redeem into an answer.
func classify(r client.Redemption, err error) answer {
	if err == nil {
		a := answer{kind: admitted}
		if r.Ticket != nil {
			a.id = r.Ticket.ID
		}
		return a
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return answer{}
	}
	a := answer{kind: refused, id: e.TicketID, reason: e.Reason}
	used := e.Reason == client.AlreadyUsed || e.Reason == client.PossiblyUsed
	switch {
	case e.Result != client.Refused:
		a.kind = unknown
	case used && e.Cause != nil:
		a.kind = unknown // the first request of this Redeem may have spent the ticket
	case e.Reason == client.Expired:
		a.kind = unknown // the ticket waited too long, and is good no more
	}
	return a
}

// judge counts a ticket by the answers to all its callers.
func (l *Load) judge(answers []answer, replayed bool) {
	var n [4]int
	id, reason := "", client.Reason("")
	for _, a := range answers {
		n[a.kind]++
		if a.id != "" {
			id = a.id
		}
		if a.reason != "" {
			reason = a.reason
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.results
	if replayed {
		r.Replayed++
		if n[admitted] > 0 {
			r.ReplaysRefused += n[refused]
		}
	}
	switch {
	case n[admitted] > 1:
		r.DoubleEntries++
		r.example(&r.DoubleEntryIDs, Example{ID: id})
	case n[admitted] == 1:
		r.AdmittedOnce++
	case n[cut] > 0:
		r.CutOff++
	case n[unknown] > 0:
		r.CannotTell++
	default:
		r.GoodRefused++
		r.example(&r.GoodRefusedIDs, Example{ID: id, Reason: reason})
	}
}
