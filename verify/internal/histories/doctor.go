package main

import (
	"math/rand/v2"
	"slices"

	"github.com/anishathalye/porcupine"
)

// doctored returns copies of an accepted history that no correct store can give, by what was
// done to them: after all other claims, another binding is admitted; a claim of a used ticket
// is admitted; the first admission and a later refusal change places; and an answer names
// another time of the first use. A history without the necessary answers lacks some of these.
func (h *history) doctored() map[string]*history {
	r := rand.New(rand.NewPCG(h.seed, 1))
	all := make(map[string]*history)
	// edit has change edit a copy of the operations.
	edit := func(what string, change func(ops []porcupine.Operation) []porcupine.Operation) {
		if ops := change(slices.Clone(h.operations)); ops != nil {
			all[what] = &history{seed: h.seed, operations: ops, faults: h.faults, mayForget: h.mayForget}
		}
	}
	// pick returns the place of a random operation that fits, or -1.
	pick := func(fits func(in claim, out answer) bool) int {
		var places []int
		for i, op := range h.operations {
			if fits(op.Input.(claim), op.Output.(answer)) {
				places = append(places, i)
			}
		}
		if places == nil {
			return -1
		}
		return places[r.IntN(len(places))]
	}
	last := int64(0)
	for _, op := range h.operations {
		if last = max(last, op.Call); op.Return != never {
			last = max(last, op.Return)
		}
	}
	first := pick(func(_ claim, out answer) bool { return out.result == admitted })
	anyUsed := pick(func(_ claim, out answer) bool { return out.result == used })
	edit("second admission", func(ops []porcupine.Operation) []porcupine.Operation {
		if first < 0 {
			return nil
		}
		in := claim{ticket: ops[first].Input.(claim).ticket, binding: bindings + 1, call: last + 1, end: last + 2}
		return append(ops, porcupine.Operation{Input: in, Call: in.call, Output: answer{result: admitted}, Return: in.end})
	})
	edit("admission after used", func(ops []porcupine.Operation) []porcupine.Operation {
		if anyUsed < 0 {
			return nil
		}
		in := claim{ticket: ops[anyUsed].Input.(claim).ticket, call: last + 1, end: last + 2}
		return append(ops, porcupine.Operation{Input: in, Call: in.call, Output: answer{result: admitted}, Return: in.end})
	})
	edit("answers exchanged", func(ops []porcupine.Operation) []porcupine.Operation {
		if first < 0 {
			return nil
		}
		winner := ops[first].Input.(claim)
		later := pick(func(in claim, out answer) bool {
			return in.ticket == winner.ticket && out.result == used && in.call > winner.end
		})
		if later < 0 {
			return nil
		}
		ops[first].Output, ops[later].Output = ops[later].Output, ops[first].Output
		return ops
	})
	edit("another first use", func(ops []porcupine.Operation) []porcupine.Operation {
		if anyUsed < 0 {
			return nil
		}
		out := ops[anyUsed].Output.(answer)
		out.first -= int64(patience)
		ops[anyUsed].Output = out
		return ops
	})
	return all
}
