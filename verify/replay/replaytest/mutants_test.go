package replaytest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// When it is set, the test binary puts the store of that name through the suite.
const envMutant = "REPLAYTEST_MUTANT"

// mutants are the faults that the suite must find.
var mutants = []string{
	"evicts when full",
	"forgets at expiry",
	"forgets at retain-until without the skew",
	"forgets in the last millisecond",
	"time to live of a month at most",
	"check, then set",
	"> for >= at the edge",
	"late claim admitted",
	"late claim stored",
	"anchored at the newest",
	"slice made again after a backward step",
	"leap not seen by late claims",
	"no barrier",
	"barrier without the epoch itself",
	"barrier at the restart",
	"first use forgotten",
	"looking spends",
	"nonce cut to 8 bytes",
	"nonce's bytes joined without a separator",
	"zero nonce is none",
	"grace to anybody",
	"grace without a binding",
	"grace for ever",
	"grace before the first use",
	"no grace",
	"grace is extended",
	"replay cuts retention short",
	"invalid claim accepted",
	"invalid claim called an outage",
	"cancelled claim spends",
	"cancelled claim is answered",
	"outage admits",
	"outage told as a replay",
	"outage for ever",
	"forgets in an outage",
	"forgets at a restart",
	"forgets at a reset, and its epoch stays",
	"deadlock of two methods",
	"possibly used",
}

// forgetsEarly says how long before its time a nonce is forgotten. The plain
// store never forgets one, so that there is none to be made again.
var forgetsEarly = map[string]time.Duration{
	"forgets at expiry":                        90 * time.Second,
	"forgets at retain-until without the skew": 10 * time.Second,
	"forgets in the last millisecond":          time.Millisecond / 2,
	"time to live of a month at most":          0,
	"slice made again after a backward step":   0,
	"leap not seen by late claims":             0,
	"replay cuts retention short":              0,
}

// slow are those that the suite gives time to recover.
var slow = map[string]bool{"outage for ever": true, "deadlock of two methods": true}

type use struct {
	first, retain time.Time
	binding       [32]byte
}

// A state is a plain and exact store that several handles share, but for its
// fault.
type state struct {
	fault  string
	mu     sync.Mutex
	now    time.Time
	epoch  time.Time
	used   map[[16]byte]use
	newest time.Time // expiry
	swept  time.Time
	latest time.Time // reading of the clock, for "leap not seen by late claims"
	down   bool
}

func (s *state) clock() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

func (s *state) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

type handle struct{ *state }

func (h handle) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return h.ask(ctx, c, h.fault == "looking spends")
}

func (h handle) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return h.ask(ctx, c, true)
}

// Stats is there to be called beside the others.
func (h handle) Stats() int {
	h.mu.Lock()
	if h.fault == "deadlock of two methods" {
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	return len(h.used)
}

func (h handle) ask(ctx context.Context, c replay.Claim, spend bool) (replay.Answer, error) {
	if err := ctx.Err(); err != nil {
		switch h.fault {
		case "cancelled claim spends":
			_, _ = h.ask(context.Background(), c, spend)
		case "cancelled claim is answered":
			return h.ask(context.Background(), c, spend)
		}
		return replay.Answer{}, errors.Join(replay.ErrUnavailable, err)
	}
	if err := c.Check(); err != nil && h.fault != "invalid claim accepted" {
		if h.fault == "invalid claim called an outage" {
			err = replay.ErrUnavailable
		}
		return replay.Answer{}, err
	}
	if h.fault == "nonce cut to 8 bytes" {
		clear(c.Nonce[8:])
	}
	if h.fault == "nonce's bytes joined without a separator" {
		joined := sha256.Sum256([]byte(strings.NewReplacer(" ", "", "[", "", "]", "").Replace(fmt.Sprint(c.Nonce))))
		c.Nonce = [16]byte(joined[:])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		switch h.fault {
		case "outage admits":
			return replay.Answer{Status: replay.Admitted}, nil
		case "outage told as a replay":
			return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: h.now}, nil
		}
		return replay.Answer{}, replay.ErrUnavailable
	}
	a := h.judge(c)
	if h.fault == "check, then set" {
		h.mu.Unlock()
		runtime.Gosched()
		h.mu.Lock()
	}
	if spend && a == (replay.Answer{Status: replay.Admitted}) || h.fault == "late claim stored" && a.Status == replay.TooLate {
		retain := c.RetainUntil
		if month := h.now.AddDate(0, 1, 0); h.fault == "time to live of a month at most" && retain.After(month) {
			retain = month
		}
		h.used[c.Nonce] = use{h.now, retain, c.Binding}
	}
	if h.fault == "evicts when full" && len(h.used) > 1000 {
		for nonce := range h.used {
			delete(h.used, nonce)
			break
		}
	}
	if c.Expires.After(h.newest) && spend {
		h.newest = c.Expires
	}
	return a, nil
}

func (s *state) judge(c replay.Claim) replay.Answer {
	if early, ok := forgetsEarly[s.fault]; ok && !s.now.Equal(s.swept) {
		s.swept = s.now
		for nonce, u := range s.used {
			if !s.now.Before(u.retain.Add(-early)) {
				delete(s.used, nonce)
			}
		}
	}
	late := !s.now.Before(c.RetainUntil)
	if s.fault == "leap not seen by late claims" {
		if !late && s.now.After(s.latest) {
			s.latest = s.now
		}
		if s.now.Before(s.latest) {
			s.epoch, s.latest = s.now, s.now
		}
	}
	if s.fault == "> for >= at the edge" {
		late = s.now.After(c.RetainUntil)
	}
	if late && s.fault != "late claim admitted" && !(s.fault == "late claim stored" && s.used[c.Nonce].first != time.Time{}) {
		return replay.Answer{Status: replay.TooLate}
	}
	if u, ok := s.used[c.Nonce]; ok && !(s.fault == "zero nonce is none" && c.Nonce == [16]byte{}) {
		return s.spent(c, u)
	}
	barrier := !c.NotBefore.After(s.epoch)
	switch s.fault {
	case "no barrier":
		barrier = false
	case "barrier without the epoch itself":
		barrier = c.NotBefore.Before(s.epoch)
	}
	switch {
	case barrier:
		return replay.Answer{Status: replay.IssuedBeforeStart}
	case s.fault == "anchored at the newest" && c.Expires.Before(s.newest):
		return replay.Answer{Status: replay.ClockBehind}
	}
	return replay.Answer{Status: replay.Admitted}
}

func (s *state) spent(c replay.Claim, u use) replay.Answer {
	now := s.now
	switch s.fault {
	case "grace to anybody":
		c.Binding = u.binding
	case "grace without a binding":
		c.Binding[0]++
		u.binding[0]++
	case "grace for ever":
		now = u.first
	case "grace before the first use":
		if now.Before(u.first) {
			now = u.first
		}
	case "no grace":
		c.Binding = [32]byte{}
	}
	a := c.Spent(u.first, u.binding, now)
	switch {
	case s.fault == "grace is extended" && a.Repeated:
		u.first = s.now
	case s.fault == "replay cuts retention short":
		u.retain = c.RetainUntil
	case s.fault == "first use forgotten":
		a.FirstUsed = s.now
	case s.fault == "possibly used" && a.Status == replay.AlreadyUsed:
		a = replay.Answer{Status: replay.PossiblyUsed}
	}
	s.used[c.Nonce] = u
	return a
}

func (s *state) reset(*testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.used)
	if s.fault != "forgets at a reset, and its epoch stays" {
		s.epoch = s.now
	}
}

func (s *state) restart(*testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.fault {
	case "forgets at a restart":
		clear(s.used)
	case "barrier at the restart":
		s.epoch = s.now
	}
}

func (s *state) outage(*testing.T) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down = s.fault == "outage for ever"
		if s.fault == "forgets in an outage" {
			clear(s.used)
		}
	}
}

func putThrough(t *testing.T, fault string) {
	begun := time.Unix(1_800_000_000, 5)
	s := &state{fault: fault, now: begun, epoch: begun, used: map[[16]byte]use{}}
	patience := 3 * time.Minute
	if slow[fault] {
		patience = 3 * time.Second
	}
	replaytest.RunWithin(t, replaytest.Harness{
		Open:    func(*testing.T) replay.Store { return handle{s} },
		Now:     s.clock,
		Step:    s.step,
		Epoch:   func(*testing.T) time.Time { return s.epoch },
		Reset:   s.reset,
		Restart: s.restart,
		Outage:  s.outage,
		Exact:   true,
	}, patience)
}

// The plain store passes.
func TestPlainStorePasses(t *testing.T) {
	putThrough(t, os.Getenv(envMutant))
}

// With any one fault, it does not.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv(envMutant) != "" {
		t.Skip("this is one of them")
	}
	for _, fault := range mutants {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestPlainStorePasses$", "-test.timeout=5m", "-test.failfast")
			child.Env = append(os.Environ(), envMutant+"="+fault)
			out, err := child.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "not caught: %v\n%s", err, out)
			assert.NotZero(t, exit.ExitCode())
			assert.Regexp(t, `--- FAIL: TestPlainStorePasses/|all goroutines are asleep`, string(out))
		})
	}
}
