package replaytest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// A table stands for what a key-value database has: rows, and a put that is done
// in one atomic step, if the row is not there and the epoch's row still is what it
// was. That is
//   - in DynamoDB, TransactWriteItems of a ConditionCheck and a Put with
//     attribute_not_exists, whose failure returns the row that is there
//     (ReturnValuesOnConditionCheckFailure: ALL_OLD);
//   - in etcd, Txn().If(ModRevision, CreateRevision = 0).Then(Put).Else(Get);
//   - in Spanner, a read-write transaction.
type table struct {
	now  func() time.Time // the database's own clock, by which it removes rows
	mu   sync.Mutex
	rows map[string]row
	down bool
}

type row struct {
	first   time.Time
	binding [32]byte
	remove  time.Time // DynamoDB's TTL, or etcd's lease
}

var (
	errDown  = errors.New("the database does not answer")
	errEpoch = errors.New("the epoch is not what it was")
)

// put returns the row that is there already, if one is. An epoch of nil is no
// condition.
func (t *table) put(key string, epoch *time.Time, r row) (old row, there bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down {
		return old, false, errDown
	}
	if epoch != nil && !t.rows["epoch"].first.Equal(*epoch) {
		return old, false, errEpoch
	}
	if old, there = t.get(key); !there {
		t.rows[key] = r
	}
	return old, there, nil
}

func (t *table) get(key string) (r row, there bool) {
	r, there = t.rows[key]
	return r, there && (r.remove.IsZero() || t.now().Before(r.remove))
}

func (t *table) look(key string) (r row, there bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down {
		return r, false, errDown
	}
	r, there = t.get(key)
	return r, there, nil
}

// A store is a replay.Store on a table. Its clock is its own machine's.
type store struct {
	table *table
	now   func() time.Time
	epoch atomic.Pointer[time.Time] // as the table had it
}

// margin is how much longer than it must be a row is kept, so that clocks which
// are ahead for less than this remove nothing early.
const margin = 48 * time.Hour

func (s *store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, func(key string, epoch time.Time, now time.Time) (row, bool, error) {
		return s.table.put(key, &epoch, row{now, c.Binding, c.RetainUntil.Add(margin)})
	})
}

func (s *store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, func(key string, _ time.Time, _ time.Time) (row, bool, error) { return s.table.look(key) })
}

func (s *store) ask(
	ctx context.Context, c *replay.Claim, step func(key string, epoch, now time.Time) (row, bool, error),
) (a replay.Answer, err error) {
	if err := c.Check(); err != nil {
		return a, err // a bug of the caller's, and no outage
	}
	if err := ctx.Err(); err != nil {
		return a, replay.Unavailable(err)
	}
	for range 3 {
		now := s.now()
		if !now.Before(c.RetainUntil) {
			return replay.Answer{Status: replay.TooLate}, nil
		}
		var epoch time.Time
		if epoch, err = s.began(now); err != nil {
			break
		}
		key := fmt.Sprintf("nonce/%x", c.Nonce)
		call := step
		if !c.NotBefore.After(epoch) { // it may be older than the table; look, and spend nothing
			call = func(key string, _ time.Time, _ time.Time) (row, bool, error) { return s.table.look(key) }
		}
		old, there, failed := call(key, epoch, now)
		switch err = failed; {
		case errors.Is(err, errEpoch): // the table was lost; judge the claim anew
			s.epoch.Store(nil)
			continue
		case err != nil:
		case there:
			return c.Spent(old.first, old.binding, s.now()), nil
		case !c.NotBefore.After(epoch):
			return replay.Answer{Status: replay.IssuedBeforeStart}, nil
		case !s.now().Before(c.RetainUntil): // it took that long
			return replay.Answer{Status: replay.TooLate}, nil
		default:
			return replay.Answer{Status: replay.Admitted}, nil
		}
		break
	}
	// Sent once, and never again from here: who lost an answer claims again, with
	// the same Binding.
	return replay.Answer{}, replay.Unavailable(err)
}

// began returns the table's epoch, which begins now if there is none.
func (s *store) began(now time.Time) (time.Time, error) {
	if epoch := s.epoch.Load(); epoch != nil {
		return *epoch, nil
	}
	old, there, err := s.table.put("epoch", nil, row{first: now})
	if err != nil {
		return now, err
	}
	if there {
		now = old.first
	}
	s.epoch.Store(&now)
	return now, nil
}

// conformance is what TestConformance of the store's package calls.
func conformance(t *testing.T) {
	var ns atomic.Int64 // a clock that stands until the suite moves it
	ns.Store(time.Now().UnixNano())
	now := func() time.Time { return time.Unix(0, ns.Load()) }
	db := &table{now: now, rows: map[string]row{}}
	set := func(change func()) {
		db.mu.Lock()
		defer db.mu.Unlock()
		change()
	}
	replaytest.Run(t, replaytest.Harness{
		Open: func(*testing.T) replay.Store { return &store{table: db, now: now} },
		Now:  now,
		Step: func(d time.Duration) { ns.Add(int64(d)) },
		Epoch: func(t *testing.T) time.Time {
			r, _, err := db.look("epoch")
			if err != nil {
				t.Fatal(err)
			}
			return r.first
		},
		Reset: func(*testing.T) { set(func() { clear(db.rows) }) },
		Outage: func(*testing.T) func() {
			set(func() { db.down = true })
			return func() { set(func() { db.down = false }) }
		},
		Exact: true,
	})
}

// A store of one's own, on a database with a conditional put, and the test that
// puts it through the suite.
func Example() {
	s := &store{table: &table{now: time.Now, rows: map[string]row{}}, now: time.Now}
	issued := time.Now().Add(time.Minute)
	claim := replay.Claim{
		Nonce:       [16]byte{1},
		Issued:      issued,
		NotBefore:   issued,
		Expires:     issued.Add(time.Minute),
		RetainUntil: issued.Add(3 * time.Minute),
	}
	for range 2 {
		a, err := s.Claim(context.Background(), claim)
		fmt.Println(a.Status, err)
	}
	// Output:
	// admitted <nil>
	// already_used <nil>
}
