package replaytest

import (
	"context"
	"reflect"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// once: a ticket is admitted, then refused; looking tells the same and changes
// nothing.
func once(s *suite, t *testing.T) {
	store := s.open(t)
	c := s.ticket()
	for range 2 {
		if a := peek(t, store, c); a != (replay.Answer{Status: replay.Admitted}) {
			t.Fatalf("Peek of a fresh ticket: %+v; want Admitted, and nothing spent by looking", a)
		}
	}
	before := s.Now()
	admit(t, store, c)
	after := s.Now()
	s.wantSpent(t, store, c)
	a := claim(t, store, c)
	if a.Status != replay.AlreadyUsed {
		t.Fatalf("the latest ticket, claimed again: %+v; want AlreadyUsed", a)
	}
	if a.FirstUsed.Before(before.Add(-s.tolerance())) || a.FirstUsed.After(after.Add(s.tolerance())) {
		t.Errorf("FirstUsed is %v; want it between %v and %v, by the store's clock", a.FirstUsed, before, after)
	}
	if looked := peek(t, store, c); looked != a {
		t.Errorf("Peek says %+v, Claim %+v", looked, a)
	}
	admit(t, store, s.ticket())
}

// handles: all handles know the nonces spent by another handle, opened before or after.
func handles(s *suite, t *testing.T) {
	first, second := s.open(t), s.open(t)
	c := s.ticket()
	admit(t, first, c)
	used := claim(t, first, c).FirstUsed
	for _, store := range []replay.Store{second, s.open(t)} {
		a := claim(t, store, c)
		if a.Status != replay.AlreadyUsed || !a.FirstUsed.Equal(used) {
			t.Errorf("another handle answers %+v; want AlreadyUsed at %v", a, used)
		}
		admit(t, store, s.ticket())
	}
}

// race lets many goroutines on several handles claim c at the same moment.
func race(t *testing.T, stores []replay.Store, c replay.Claim) []replay.Answer {
	t.Helper()
	answers := make([]replay.Answer, 4*len(stores))
	errs := make([]error, len(answers))
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range answers {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			answers[i], errs[i] = stores[i%len(stores)].Claim(context.Background(), c)
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatalf("Claim among others of the same nonce: %v", err)
		}
	}
	return answers
}

func (s *suite) handlesForRace(t *testing.T) (stores []replay.Store) {
	t.Helper()
	for range 4 {
		stores = append(stores, s.open(t))
	}
	return stores
}

// oneWinner: a single claim of many at once is admitted.
//
// trap R18
// trap R31
func oneWinner(s *suite, t *testing.T) {
	stores := s.handlesForRace(t)
	for range 100 {
		c := s.ticket()
		winners := 0
		for _, a := range race(t, stores, c) {
			switch {
			case a.Status == replay.Admitted && !a.Repeated:
				winners++
			case a.Status == replay.AlreadyUsed, a.Status == replay.PossiblyUsed && !s.Exact:
			default:
				t.Fatalf("a claim among others of the same nonce is answered %+v", a)
			}
		}
		if winners != 1 {
			t.Fatalf("%d claims of one nonce are admitted; want 1", winners)
		}
	}
}

// oneWinnerBound: with the same binding for all, a single claim is the first, and the
// others repeat the first.
//
// trap R18
// trap R25
func oneWinnerBound(s *suite, t *testing.T) {
	stores := s.handlesForRace(t)
	for range 20 {
		c, begin := bound(s.ticket(), 7), s.Now()
		first := 0
		for _, a := range race(t, stores, c) {
			if a.Status != replay.Admitted && !(a.Status == replay.AlreadyUsed && s.graceOver(begin)) {
				t.Fatalf("a retry with the same binding is answered %+v; want it admitted and Repeated", a)
			}
			if a.Status == replay.Admitted && !a.Repeated {
				first++
			}
		}
		if first != 1 {
			t.Fatalf("%d claims of one nonce are the first; want 1", first)
		}
	}
}

// volume: a ticket redeemed first is still known after many others.
//
// trap R1
// trap R16
func volume(s *suite, t *testing.T) {
	stores := s.handlesForRace(t)
	all := make([]replay.Claim, 2000)
	for i := range all {
		all[i] = s.ticket()
	}
	each := func(what string, ok func(replay.Answer) bool) {
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for i := g; i < len(all); i += 16 {
					if a, err := stores[i%len(stores)].Claim(context.Background(), all[i]); err != nil || !ok(a) {
						t.Errorf("%s is answered %+v, %v", what, a, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	each("a fresh ticket", func(a replay.Answer) bool { return a == (replay.Answer{Status: replay.Admitted}) })
	if t.Failed() {
		return
	}
	each("a spent nonce, after many others,", func(a replay.Answer) bool {
		return a.Status == replay.AlreadyUsed || a.Status == replay.PossiblyUsed && !s.Exact
	})
}

var forgets = regexp.MustCompile(
	`(?i)^(delete|remove|forget|evict|clear|reset|flush|release|undo|unclaim|unspend|invalidate|expire)`)

// nothingRemoves: a store has no method for forgetting a nonce, and no method beside Claim
// and Peek with a nonce as parameter.
//
// trap R20
func nothingRemoves(s *suite, t *testing.T) {
	typ := reflect.TypeOf(s.open(t))
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if m.Name == "Claim" || m.Name == "Peek" {
			continue
		}
		if forgets.MatchString(m.Name) {
			t.Errorf("%v.%s: a store has no method that makes it forget", typ, m.Name)
		}
		for j := 1; j < m.Type.NumIn(); j++ {
			switch m.Type.In(j) {
			case reflect.TypeFor[replay.Claim](), reflect.TypeFor[*replay.Claim](),
				reflect.TypeFor[[16]byte](), reflect.TypeFor[[]byte]():
				t.Errorf("%v.%s takes a %v: nothing but Claim and Peek is about a nonce", typ, m.Name, m.Type.In(j))
			}
		}
	}
}

// noDeadlock: all methods at once, by several handles, and all return.
//
// trap R17
func noDeadlock(s *suite, t *testing.T) {
	stores := []replay.Store{s.open(t), s.open(t)}
	old := s.ticket()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				store := stores[g%len(stores)]
				for range 25 {
					_, _ = store.Claim(context.Background(), s.ticket())
					_, _ = store.Claim(context.Background(), old)
					_, _ = store.Peek(context.Background(), old)
					callOthers(store)
				}
			})
		}
		wg.Wait()
	}()
	select {
	case <-done:
	case <-time.After(s.patience):
		t.Fatalf("after %v not all methods have returned", s.patience)
	}
}

// ends are the usual names of methods that end a handle.
var ends = map[string]bool{"Close": true, "Stop": true, "Shutdown": true}

// callOthers calls the store's methods without arguments, or with a context alone, for
// instance Stats.
func callOthers(store replay.Store) {
	v := reflect.ValueOf(store)
	ctx := reflect.ValueOf(context.Background())
	for i := range v.NumMethod() {
		method := v.Method(i)
		switch in := method.Type(); {
		case ends[v.Type().Method(i).Name]:
		case in.NumIn() == 0:
			method.Call(nil)
		case in.NumIn() == 1 && in.In(0) == reflect.TypeFor[context.Context]():
			method.Call([]reflect.Value{ctx})
		}
	}
}
