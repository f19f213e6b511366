// Package queue sends the claims of many callers together.
//
// A server answers many claims in one statement with far less work than in as many statements. A claim that finds
// the server idle need not wait for others.
package queue

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Flights is the most batches on their way at a time.
	Flights = 2
	// MaxBatch is the most requests in a batch.
	MaxBatch = 256
	// MaxWaiting is the most requests that wait for a batch to come back. A server with 5,000
	// claims a second answers so many in some three seconds.
	MaxWaiting = 16_384
)

// The errors of Do, besides the context's.
var (
	ErrClosed  = errors.New("the store is closed")
	ErrTooMany = fmt.Errorf("%d claims wait for the server already", MaxWaiting)
)

// Queue has requests that wait to be sent. While fewer than Flights batches are on their way,
// a new request is sent at once, alone. Otherwise the request waits for a batch to come back,
// and is sent with the other waiting requests.
type Queue[R any] struct {
	send func(batch []*R)
	late time.Duration

	mu      sync.Mutex
	waiting list.List // of *item[R]
	flying  int
	flown   sync.WaitGroup
	closed  bool
}

type item[R any] struct {
	request *R
	sent    chan struct{} // closed when the request is answered
}

// New returns a queue. send sends a batch, and returns when the requests have their answers.
// It is called by several goroutines. A batch that is on its way for longer than late holds up no
// others any more: the next batch may have another connection. Zero is for ever.
func New[R any](late time.Duration, send func(batch []*R)) *Queue[R] {
	return &Queue[R]{send: send, late: late}
}

// Do has the request sent, and returns when it has its answer. If ctx ends first, the request
// is taken back, or may still be answered: then nobody is to read the answer.
func (q *Queue[R]) Do(ctx context.Context, request *R) error {
	r := &item[R]{request, make(chan struct{})}
	place, err := q.enqueue(r)
	if err != nil {
		return err
	}
	select {
	case <-r.sent:
		return nil
	case <-ctx.Done():
		q.withdraw(place)
		select {
		case <-r.sent:
			return nil
		default:
			return fmt.Errorf("no answer in time: %w", ctx.Err())
		}
	}
}

// enqueue returns r's place, for withdraw.
func (q *Queue[R]) enqueue(r *item[R]) (*list.Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, ErrClosed
	case q.waiting.Len() == MaxWaiting:
		return nil, ErrTooMany
	}
	place := q.waiting.PushBack(r)
	q.start()
	return place, nil
}

// start begins a flight, if there is room for one. It needs the lock.
func (q *Queue[R]) start() {
	if q.flying < Flights {
		q.flying++
		q.flown.Go(q.fly)
	}
}

// withdraw takes back a request not yet sent.
func (q *Queue[R]) withdraw(place *list.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Remove(place) // nothing, if it is not there
}

// fly sends batches as long as requests wait.
func (q *Queue[R]) fly() {
	for {
		items := q.take()
		if len(items) == 0 {
			return
		}
		batch := make([]*R, len(items))
		for i, item := range items {
			batch[i] = item.request
		}
		inTime := q.watch()
		q.send(batch)
		for _, item := range items {
			close(item.sent)
		}
		if !inTime() {
			return
		}
	}
}

// watch gives a flight's room to another when it is late. The result ends the watch, and reports
// whether the flight still has its room.
func (q *Queue[R]) watch() (inTime func() bool) {
	if q.late == 0 {
		return func() bool { return true }
	}
	return time.AfterFunc(q.late, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.flying--
		if q.waiting.Len() > 0 {
			q.start()
		}
	}).Stop
}

// take returns the next batch. An empty batch ends a flight.
func (q *Queue[R]) take() (batch []*item[R]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(batch) < MaxBatch && q.waiting.Len() > 0 {
		batch = append(batch, q.waiting.Remove(q.waiting.Front()).(*item[R]))
	}
	if len(batch) == 0 {
		q.flying--
	}
	return batch
}

// State returns the number of waiting requests, and of batches on their way.
func (q *Queue[R]) State() (waiting, flying int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len(), q.flying
}

// Close refuses new requests, and returns when all earlier ones are answered.
func (q *Queue[R]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.flown.Wait()
}
