package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type request struct{ n, answer int }

// server answers batches when it is let, and keeps their sizes.
type server struct {
	mu    sync.Mutex
	sizes []int
	let   chan struct{}
}

func (s *server) send(batch []*request) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(batch))
	s.mu.Unlock()
	<-s.let
	for _, r := range batch {
		r.answer = r.n + 1
	}
}

// The first requests go alone. The others wait for a batch to come back, and go together.
func TestRequestsShareBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{let: make(chan struct{})}
		q := New(0, s.send)
		var answered sync.WaitGroup
		const all = Flights + MaxBatch + 7
		for n := range all {
			answered.Go(func() {
				r := &request{n: n}
				assert.NoError(t, q.Do(context.Background(), r))
				assert.Equal(t, n+1, r.answer)
			})
			synctest.Wait()
		}
		waiting, flying := q.State()
		assert.Equal(t, MaxBatch+7, waiting)
		assert.Equal(t, Flights, flying)
		for range Flights {
			s.let <- struct{}{}
			synctest.Wait()
		}
		assert.Equal(t, []int{1, 1, MaxBatch, 7}, s.sizes)
		close(s.let)
		answered.Wait()
		synctest.Wait()
		waiting, flying = q.State()
		assert.Zero(t, waiting)
		assert.Zero(t, flying)
	})
}

// Who gives up takes a request back that was not yet sent, and nobody else's.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{let: make(chan struct{})}
		q := New(0, s.send)
		var ended sync.WaitGroup
		ask := func(ctx context.Context, want error) {
			ended.Go(func() { assert.ErrorIs(t, q.Do(ctx, &request{}), want) })
			synctest.Wait()
		}
		impatient, cancel := context.WithCancel(context.Background())
		ask(impatient, context.Canceled) // is sent already
		for range Flights {
			ask(context.Background(), nil)
		}
		ask(impatient, context.Canceled) // is not
		cancel()
		synctest.Wait()
		waiting, flying := q.State()
		assert.Equal(t, 1, waiting)
		assert.Equal(t, Flights, flying)
		close(s.let)
		ended.Wait()
		assert.Equal(t, []int{1, 1, 1}, s.sizes)
	})
}

// A full queue and a closed queue say so, and what waits is answered.
func TestFullAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{let: make(chan struct{})}
		q := New(0, s.send)
		var answered sync.WaitGroup
		ask := func() { assert.NoError(t, q.Do(context.Background(), new(request))) }
		for range Flights {
			answered.Go(ask)
			synctest.Wait()
		}
		for range MaxWaiting {
			answered.Go(ask)
		}
		synctest.Wait()
		require.ErrorIs(t, q.Do(context.Background(), new(request)), ErrTooMany)
		closed := make(chan struct{})
		go func() { q.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("requests wait, and Close has returned")
		default:
		}
		require.ErrorIs(t, q.Do(context.Background(), new(request)), ErrClosed)
		close(s.let)
		answered.Wait()
		<-closed
	})
}

// A batch without an answer holds up the others for a while only, and is answered itself when it comes back.
func TestLateFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		var sent atomic.Int64
		q := New(time.Second, func([]*request) {
			if sent.Add(1) <= Flights {
				<-hung
			}
		})
		begin := time.Now()
		var answered sync.WaitGroup
		for range Flights {
			answered.Go(func() { assert.NoError(t, q.Do(context.Background(), new(request))) })
			synctest.Wait()
		}
		for range 3 { // the first waits for late flights, and the others find room
			assert.NoError(t, q.Do(context.Background(), new(request)))
			assert.Equal(t, time.Second, time.Since(begin))
		}
		close(hung)
		answered.Wait()
		q.Close()
		waiting, flying := q.State()
		assert.Zero(t, waiting)
		assert.Zero(t, flying)
	})
}
