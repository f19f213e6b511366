package verify_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/memory"
)

var (
	modelSchedules = flag.Int("model.schedules", 0,
		"random schedules per store of TestModel and per mutant of TestMutants; 0: the default")
	modelSeed = flag.Uint64("model.seed", 0, "seed of the first schedule, the next ones' follow; 0: a random one")
)

// A modelTicket is a ticket and all that the model knows of it.
type modelTicket struct {
	token.Ticket
	text string

	// spends are the claims that spent it, or may have: those of which a crash
	// left it open. It is used if one of them did.
	spends []spend
	used   bool
}

type spend struct {
	binding [32]byte
	at      time.Time // by the store's clock
}

// A window is the 16 s of expiry that a store may drop, and remember to have
// dropped, as one.
type window struct {
	retain  time.Time // no record of it is to be let go before
	certain bool      // a claim is known to have been recorded
	gone    bool      // its retention has been over when the store looked at its clock
}

// A model is what may be answered, said with exact lists that forget nothing.
type model struct {
	epoch    time.Time // at or before it, nobody knows what was redeemed
	high     time.Time // the highest reading of the store's clock
	windows  map[int64]*window
	records  int
	mistakes int // of a filter, see mayMistake
}

// looks takes in that the store has looked at its clock.
func (m *model) looks(at time.Time) {
	if at.After(m.high) {
		m.high = at
	}
	for _, w := range m.windows {
		w.gone = w.gone || !at.Before(w.retain)
	}
}

func retainUntil(t *modelTicket, c *verify.Config) time.Time {
	return t.Expires().Add(3*c.MaxSkew + time.Minute)
}

// records that a claim of t by a verifier c has spent it, or may have.
func (m *model) record(t *modelTicket, c *verify.Config, s spend, certain bool) {
	t.spends = append(t.spends, s)
	m.records++
	index, retain := t.Expires().Unix()>>4, retainUntil(t, c)
	w := m.windows[index]
	switch {
	case w == nil:
		m.windows[index] = &window{retain: retain, certain: certain}
	case certain && (!w.certain || retain.After(w.retain)):
		w.retain, w.certain = retain, true
	case !certain && !w.certain && retain.Before(w.retain):
		w.retain = retain
	}
}

// repeats reports whether a claim with the binding may be a retry of t's first.
func (t *modelTicket) repeats(binding [32]byte, at time.Time) bool {
	for _, s := range t.spends {
		if binding != [32]byte{} && s.binding == binding && !at.Before(s.at) && at.Before(s.at.Add(replay.Grace)) {
			return true
		}
	}
	return false
}

// timeFault says when t is in time.
func timeFault(t *modelTicket, c *verify.Config, now time.Time) verify.Reason {
	now = now.Truncate(time.Millisecond)
	switch {
	case now.Add(c.Skew).Before(t.IssuedAt):
		return verify.NotYetValid
	case !now.Before(t.Expires().Add(c.Skew)):
		return verify.Expired
	case t.Lifetime > c.MaxLifetime:
		return verify.LifetimeTooLong
	}
	return ""
}

// early is what a verifier must answer before it asks the store, if anything.
func (o *offer) early() verify.Reason {
	switch fault := timeFault(o.t, o.by, o.begun); {
	case fault != "":
		return fault
	case o.use.Audience != o.t.Audience:
		return verify.WrongAudience
	case o.t.Brand != "acme":
		return verify.WrongBrand
	case o.t.Channel != o.use.Channel:
		return verify.WrongChannel
	case o.use.Check != nil:
		return verify.RefusedByCaller
	}
	return ""
}

// check compares the answer to an offer with the model, and takes it in.
func (m *model) check(o *offer, k *kind) error {
	t, late := o.t, verify.Reason("")
	if timeFault(t, o.by, o.ended) == verify.Expired { // trap R41: no other reason counts after the claim
		late = verify.Expired
	}
	if want := o.early(); want != "" {
		if o.reason != want {
			return fmt.Errorf("answered %q, must be %q before anything is spent", o.reason, want)
		}
		return nil
	}
	if !o.inspect && o.lose != lostNot {
		if o.reason != verify.StoreUnavailable {
			return fmt.Errorf("an outage is told as %q", o.reason)
		}
	}
	if o.reached {
		m.looks(o.at)
	}
	admitted := o.reason == "" || o.status == replay.Admitted && (o.lose == lostAfter || o.reason == late)
	if admitted {
		if t.used && !t.repeats(o.use.Binding, o.at) {
			return errors.New("ADMITTED TWICE")
		}
		if !o.at.Before(retainUntil(t, o.by)) {
			return errors.New("a claim past its end, by the store's clock, is admitted")
		}
		if late != "" && o.reason == "" {
			return fmt.Errorf("admitted, and %s when it was answered", late)
		}
		if !o.inspect && !t.used {
			s := spend{o.use.Binding, o.at}
			if o.repeated { // of a claim that a crash had cut off
				s.at = o.firstUsed
			}
			t.spends, t.used = nil, true
			m.record(t, o.by, s, true)
		}
		return nil
	}
	if o.lose != lostNot && !o.inspect {
		return nil // and spent nothing
	}
	return m.refused(o, k)
}

// refused checks a refusal by the store.
func (m *model) refused(o *offer, k *kind) error {
	t, w := o.t, m.windows[o.t.Expires().Unix()>>4]
	unused := !t.used && len(t.spends) == 0
	possible := false
	switch o.reason {
	case verify.Expired:
		possible = !o.at.Before(retainUntil(t, o.by))
	case verify.AlreadyUsed:
		possible = !unused
		t.used = true
	case verify.PossiblyUsed:
		if unused && k.mayMistake {
			m.mistakes++
			return nil
		}
		possible = !unused && k.mayMistake
	case verify.IssuedBeforeStart:
		possible = !t.IssuedAt.Add(-o.by.MaxSkew).After(m.epoch)
	case verify.ClockBehind:
		possible = w != nil && (w.gone || !o.at.Before(w.retain)) || len(m.windows) >= 64
	case verify.StoreFull:
		possible = (!t.used || o.crowd) && k.mayBeFull(m)
	}
	if !possible {
		return fmt.Errorf("refused as %q, without cause", o.reason)
	}
	return nil
}

// A kind is a store to be checked.
type kind struct {
	name       string
	durable    bool // it outlives the process
	mayMistake bool // it has a filter only, which may err
	ownSkew    bool // a mutant: each verifier's barrier counts with its own skew only
	schedules  int
	mayBeFull  func(*model) bool
	open       func(*schedule) (replay.Store, error)
	redeem     func(*verify.Verifier, context.Context, string, verify.Use) (token.Ticket, error)
	wrap       func(replay.Store) replay.Store // around outages, nil: nothing
}

var memoryKind = kind{
	name: "memory", mayMistake: true, schedules: 2000, redeem: (*verify.Verifier).Redeem,
	mayBeFull: func(m *model) bool { return 736*len(m.windows)+8*m.records > 6<<10 },
	open: func(s *schedule) (replay.Store, error) {
		return memory.Open(context.Background(), memory.Config{MaxBytes: 16 << 10, Recent: 8, Now: s.clock.store})
	},
}

var journalKind = kind{
	name: "journal", durable: true, schedules: 200, redeem: (*verify.Verifier).Redeem,
	mayBeFull: func(m *model) bool { return 1024*(len(m.windows)+2)+200*m.records > 64<<10 },
	open: func(s *schedule) (replay.Store, error) {
		return journal.Open(context.Background(), journal.Config{Dir: s.dir, MaxBytes: 64 << 10, Now: s.clock.store})
	},
}

// modelClock is the time of issuers and verifiers, and of a store whose clock
// may stand elsewhere.
type modelClock struct{ ns, ahead atomic.Int64 }

func (c *modelClock) now() time.Time       { return time.Unix(0, c.ns.Load()).UTC() }
func (c *modelClock) store() time.Time     { return time.Unix(0, c.ns.Load()+c.ahead.Load()).UTC() }
func (c *modelClock) step(d time.Duration) { c.ns.Add(int64(d)) }

const (
	lostNot    = iota
	lostBefore // the claim did not reach the store
	lostAfter  // its answer did not come back
)

// An offer is a ticket presented once, what happens meanwhile, and what came of it.
type offer struct {
	t          *modelTicket
	use        verify.Use
	v          *verify.Verifier
	by         *verify.Config
	inspect    bool
	crowd      bool // others were offered at the same time
	lose       int
	slow, back time.Duration // clock steps before the store's turn, and after

	begun, ended time.Time
	reason       verify.Reason // "" is success
	reached      bool          // the store was asked
	at           time.Time     // then, by its clock
	status       replay.Status
	repeated     bool
	firstUsed    time.Time
}

// A gate stands between the verifiers and a store that is taken away, comes
// again, is slow or loses answers, as the offer in the context says.
type gate struct {
	clock *modelClock
	replay.Store
}

type offerKey struct{}

func (g *gate) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	o := ctx.Value(offerKey{}).(*offer)
	if o.lose == lostBefore {
		return replay.Answer{}, fmt.Errorf("%w: no way there", replay.ErrUnavailable)
	}
	g.clock.step(o.slow)
	defer g.clock.step(o.back)
	o.reached, o.at = true, g.clock.store()
	a, err := g.Store.Claim(ctx, c)
	o.status, o.repeated, o.firstUsed = a.Status, a.Repeated, a.FirstUsed
	if o.lose == lostAfter {
		return replay.Answer{}, fmt.Errorf("%w: no way back", replay.ErrUnavailable)
	}
	return a, err
}

func (s *schedule) present(o *offer) {
	o.begun = s.clock.now()
	ctx := context.WithValue(context.Background(), offerKey{}, o)
	var err error
	if o.inspect {
		o.at = s.clock.store()
		_, err = o.v.Inspect(ctx, o.t.text, o.use)
	} else {
		_, err = s.redeem(o.v, ctx, o.t.text, o.use)
	}
	o.ended = s.clock.now()
	var e *verify.Error
	if errors.As(err, &e) {
		o.reason = e.Reason
	}
}

// judge checks offers against the model. Those presented at once are put into
// an order that explains them, if there is one: first admissions first.
func (s *schedule) judge(offers ...*offer) error {
	order := func(o *offer) int {
		if o.status == replay.Admitted && !o.repeated {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(offers, func(a, b *offer) int { return order(a) - order(b) })
	for _, o := range offers {
		s.tally[o.reason]++
		if o.repeated {
			s.repeated++
		}
		if err := s.model.check(o, s.kind); err != nil {
			return fmt.Errorf("ticket %v, issued %v for %v, offered to skew %v at %v, store's clock %v: %w",
				o.t.ID, o.t.IssuedAt, o.t.Lifetime, o.by.Skew, o.begun, o.at, err)
		}
	}
	return nil
}

// atOnce presents offers at the same time.
func (s *schedule) atOnce(offers []*offer) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, o := range offers {
		o.crowd = true
		wg.Go(func() { <-begin; s.present(o) })
	}
	close(begin)
	wg.Wait()
}

func (s *schedule) redeemOne(t *modelTicket) error {
	o := s.offer(t)
	s.present(o)
	return s.judge(o)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rotations are keysets that have one key more each, the newest being primary.
var rotations = sync.OnceValue(func() (all []*token.Keyset) {
	m := keyset.NewManager()
	for range 6 {
		id, err := m.Add(aead.AES128GCMKeyTemplate())
		noError(err)
		noError(m.SetPrimary(id))
		h, err := m.Handle()
		noError(err)
		k, err := token.NewKeyset(h)
		noError(err)
		all = append(all, k)
	}
	return all
})

func noError(err error) {
	if err != nil {
		panic(err)
	}
}

// runSchedules runs schedules until one fails, in a few goroutines, and returns
// the sum of their tallies.
func runSchedules(k *kind, seed uint64, n int, dir string) (map[verify.Reason]int, int, error) {
	total, repeated, mistakes := map[verify.Reason]int{}, 0, 0
	var failed error
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				sub := filepath.Join(dir, fmt.Sprint(i))
				s, err := newSchedule(k, seed+uint64(i), sub)
				if err == nil {
					err = s.run()
				}
				os.RemoveAll(sub)
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("with -model.seed %d -model.schedules 1: %w", seed+uint64(i), err))
					next.Store(int64(n))
				} else {
					for r, c := range s.tally {
						total[r] += c
					}
					repeated, mistakes = repeated+s.repeated, mistakes+s.model.mistakes
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == nil && mistakes > 2+n/1000 {
		failed = fmt.Errorf("%d good tickets refused as possibly_used: more than the filters' error rate explains", mistakes)
	}
	return total, repeated, failed
}

func seedOf(t *testing.T) uint64 {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-model.seed %d", seed)
	return seed
}

// The invariant, through tickets, verifiers and a store, under all that can
// happen to them.
func TestModel(t *testing.T) {
	for _, k := range []*kind{&memoryKind, &journalKind} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n := k.schedules
			if testing.Short() {
				n /= 10
			}
			if *modelSchedules > 0 {
				n = *modelSchedules
			}
			begun := time.Now()
			tally, repeated, err := runSchedules(k, seedOf(t), n, t.TempDir())
			require.NoError(t, err)
			t.Logf("%d schedules in %v: %v, %d of them repeated", n, time.Since(begun), tally, repeated)
			if n < k.schedules {
				return
			}
			reasons := []verify.Reason{"", verify.NotYetValid, verify.Expired, verify.LifetimeTooLong, verify.WrongBrand,
				verify.WrongAudience, verify.WrongChannel, verify.RefusedByCaller, verify.AlreadyUsed, verify.IssuedBeforeStart,
				verify.StoreUnavailable, verify.StoreFull, verify.ClockBehind}
			for _, r := range reasons {
				require.Positive(t, tally[r], "%q never happened", r)
			}
			require.Positive(t, repeated)
		})
	}
}
