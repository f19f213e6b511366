package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/admitone/admitone/verify/replay"
)

// history is a record of claims under faults.
type history struct {
	seed       uint64
	operations []porcupine.Operation
	faults     []string
	mayForget  bool // a fault took the store's memory
}

// recorder records the operations of a history.
type recorder struct {
	begin  time.Time
	claims [tickets]replay.Claim

	mu         sync.Mutex
	operations []porcupine.Operation
	wrong      error
}

// claim makes a claim, and records it. It returns false without an answer.
func (r *recorder) claim(worker int, h *handle, c planned) bool {
	ctx := context.Background()
	if c.within > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, c.within)
		defer cancel()
	}
	asked := r.claims[c.ticket]
	asked.Binding[0] = c.binding
	in := claim{ticket: c.ticket, binding: c.binding, call: int64(time.Since(r.begin))}
	a, err := h.claim(ctx, asked)
	in.end = int64(time.Since(r.begin))
	if errors.Is(err, errNotSent) {
		return false
	}
	out := r.answer(a, err)
	if out.result == unknown {
		in.end = never
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations,
		porcupine.Operation{ClientId: worker, Input: in, Call: in.call, Output: out, Return: in.end})
	if err != nil && !unavailable(err) && r.wrong == nil {
		r.wrong = fmt.Errorf("an error that is no outage: %w", err)
	}
	return err == nil
}

func (r *recorder) answer(a replay.Answer, err error) answer {
	out := answer{}
	if !a.FirstUsed.IsZero() {
		out.first = int64(a.FirstUsed.Sub(r.begin))
	}
	switch {
	case err != nil:
		out.text = err.Error()
	case a.Status == replay.Admitted && a.Repeated:
		out.result = repeated
	case a.Status == replay.Admitted:
		out.result = admitted
	case a.Status == replay.AlreadyUsed:
		out.result = used
	case a.Status == replay.IssuedBeforeStart:
		out.result = refused
	default:
		out.result, out.text = foreign, a.Status.String()
	}
	return out
}

// run makes the history of a seed. An error says that the store was wrong in another way than
// by its answers, or that the servers did not start again.
func (d *deployment) run(seed uint64) (*history, error) {
	p := draw(seed, d.faults)
	r := &recorder{}
	for i := range r.claims {
		r.claims[i] = ticket(p.buckets[i])
	}
	r.begin = time.Now()
	h := &history{seed: seed}
	var wg sync.WaitGroup
	errs := make([]error, len(p.faults))
	for i, f := range p.faults {
		h.faults = append(h.faults, f.name)
		h.mayForget = h.mayForget || f.forgets
		wg.Go(func() {
			errs[i] = d.host.Try(func() {
				time.Sleep(f.at)
				end := f.begin(rand.New(rand.NewPCG(f.choice, 0)))
				time.Sleep(f.lasts)
				end()
			})
		})
	}
	for w, claims := range p.claims {
		wg.Go(func() {
			for _, c := range claims {
				time.Sleep(time.Until(r.begin.Add(c.at)))
				r.claim(w, d.clients[w%clients], c)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("seed %d: %s: %w", seed, strings.Join(h.faults, ", "), err)
		}
	}
	buckets := 1
	if h.mayForget {
		buckets = allBuckets
	}
	if err := d.settle(buckets); err != nil {
		return nil, fmt.Errorf("seed %d: %s: %w", seed, strings.Join(h.faults, ", "), err)
	}
	// The last claims get an answer: of each client, for each ticket.
	for i, client := range d.clients {
		for t := range tickets {
			deadline := time.Now().Add(patience)
			for !r.claim(workers+i, client, planned{ticket: t, binding: byte(i + 1)}) {
				if time.Now().After(deadline) {
					return nil, fmt.Errorf("seed %d: client %d is not served %v after the faults", seed, i, patience)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
	h.operations = r.operations
	return h, r.wrong
}

// byTicket divides the operations.
func (h *history) byTicket() (parts [tickets][]porcupine.Operation) {
	for _, op := range h.operations {
		t := op.Input.(claim).ticket
		parts[t] = append(parts[t], op)
	}
	return parts
}

// check reports whether the history is linearizable. Tickets are independent of each other.
//
// A correct store is changed by one claim of a ticket at most. So of the claims with unknown
// results one at most matters, and the others can take effect after all claims. To try each
// alone keeps porcupine from trying all their subsets.
func (h *history) check() bool {
	model := specification(h.mayForget)
	for _, part := range h.byTicket() {
		var known, open []porcupine.Operation
		for _, op := range part {
			if op.Return == never {
				open = append(open, op)
			} else {
				known = append(known, op)
			}
		}
		ok := porcupine.CheckOperations(model, known) || slices.ContainsFunc(open, func(op porcupine.Operation) bool {
			return porcupine.CheckOperations(model, append(slices.Clip(known), op))
		})
		if !ok {
			return false
		}
	}
	return true
}

// counts are the results of the history.
func (h *history) counts() (c [foreign + 1]int) {
	for _, op := range h.operations {
		c[op.Output.(answer).result]++
	}
	return c
}

// String is the history as text, by ticket.
func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, faults: %s\n", h.seed, strings.Join(h.faults, ", "))
	for _, part := range h.byTicket() {
		for _, op := range part {
			in := op.Input.(claim)
			end := "never"
			if in.end != never {
				end = fmt.Sprint(time.Duration(in.end))
			}
			fmt.Fprintf(&b, "%12v to %12s  worker %d  %s\n", time.Duration(in.call), end, op.ClientId,
				describe(in, op.Output.(answer)))
		}
	}
	return b.String()
}
