package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// soakClients is the number of clients of the soak.
const soakClients = 64

// soakLifetime is the lifetime of the tickets. A short lifetime keeps the replay store
// small, so that a leak shows.
const soakLifetime = 2 * time.Minute

// soakBatch is the number of tickets in a batch: all are issued, then all are redeemed.
const soakBatch = 10_000

// soakTable issues and redeems many tickets over HTTP. Every tenth ticket is redeemed twice
// at the same time. The table shows the memory, the goroutines and the descriptors of the
// service. The error reports a double entry, a refused good ticket, or a leak.
func (b *bench) soakTable(emit func(*table) error) error {
	t := &table{
		Name: "soak", Title: "The soak",
		Columns: []string{"seconds", "admitted", "replays refused", "resident MB", "goroutines", "descriptors"},
	}
	s, err := b.service()
	if err != nil {
		return err
	}
	store := b.stores[0]
	flag, err := b.store(store)
	if err != nil {
		return err
	}
	p, err := s.serve(flag)
	if err != nil {
		return err
	}
	defer p.end()
	t.note("Replay store: %s. Tickets live for %v. The first and the last line are after the end of all connections.",
		store, soakLifetime)
	short := *s
	short.lifetime = soakLifetime
	k := &soak{service: &short, process: p, start: time.Now()}
	// Everything is used once before the first line.
	if err := k.batch(min(soakBatch, b.soak)); err != nil {
		return err
	}
	k.admitted, k.refused = 0, 0
	first, err := k.idle(nil)
	if err != nil {
		return err
	}
	t.row(first.cells()...)
	var line []*soakLine
	for k.admitted < int64(b.soak) {
		if err := k.batch(min(soakBatch, b.soak-int(k.admitted))); err != nil {
			return err
		}
		if k.admitted*10/int64(b.soak) > int64(len(line)) {
			now, err := k.look()
			if err != nil {
				return err
			}
			line = append(line, now)
			t.row(now.cells()...)
			b.progress("soak: %d tickets, %.0f MB", now.admitted, now.resident)
		}
	}
	last, err := k.idle(first)
	if err != nil {
		return err
	}
	t.row(last.cells()...)
	return errors.Join(emit(t), grown(line), leaked(first, last))
}

// grown reports growing memory. The first three tenths are warm-up.
func grown(line []*soakLine) error {
	if len(line) < 6 {
		return nil // too short to tell
	}
	var warm, late []float64
	for i, l := range line[3:] {
		if i < (len(line)-3)/2 {
			warm = append(warm, l.resident)
		} else {
			late = append(late, l.resident)
		}
	}
	if a, b := median(warm), median(late); b > 1.2*a+8 {
		return fmt.Errorf("the service leaks memory: %.0f MB after the warm-up, and %.0f MB later", a, b)
	}
	return nil
}

// pooled is the number of descriptors that the service may still open after the warm-up and
// keep: its pool of connections to the directory's file grows with the most requests that
// ever read at the same time. A connection has two descriptors.
const pooled = 2 * 8

// leaked reports more goroutines or descriptors than before.
func leaked(first, last *soakLine) (err error) {
	if last.goroutines > first.goroutines {
		err = fmt.Errorf("the service leaks goroutines: %.0f before, %.0f after", first.goroutines, last.goroutines)
	}
	if last.descriptors > first.descriptors+pooled {
		err = errors.Join(err, fmt.Errorf("the service leaks descriptors: %d before, %d after", first.descriptors,
			last.descriptors))
	}
	return err
}

// soak is a service under the soak.
type soak struct {
	*service
	*process
	start             time.Time
	admitted, refused int64
}

// soakLine has the state of the service at a moment.
type soakLine struct {
	seconds           float64
	admitted, refused int64
	resident          float64 // MB
	goroutines        float64
	descriptors       int
}

func (l *soakLine) cells() []any {
	return []any{int(l.seconds), l.admitted, l.refused, l.resident, int(l.goroutines), l.descriptors}
}

func (k *soak) look() (*soakLine, error) {
	u, err := k.usage()
	if err != nil {
		return nil, err
	}
	n, err := k.scrape("go_goroutines")
	return &soakLine{
		time.Since(k.start).Seconds(), k.admitted, k.refused, float64(u.resident) / 1e6, n, u.descriptors,
	}, err
}

// idle waits until the service has no more goroutines and descriptors than before, or until
// the patience ends. Without before, idle waits for the end of the connections.
func (k *soak) idle(before *soakLine) (now *soakLine, err error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if now, err = k.look(); err != nil || time.Now().After(deadline) {
			return now, err
		}
		if before != nil && leaked(before, now) == nil || before == nil && now.goroutines < soakClients {
			return now, nil
		}
	}
}

// batch issues and redeems n tickets. Each ticket must be admitted once.
func (k *soak) batch(n int) error {
	conns, err := clients(k.address, soakClients)
	if err != nil {
		return err
	}
	defer hangUp(conns)
	tickets, err := k.issue(conns, n)
	if err != nil {
		return err
	}
	l := load{conns: conns, once: true, time: lifetime, want: 200, also: 403}
	var owner []int // of each request, the ticket
	for i, t := range tickets {
		request := k.redeemRequest(t)
		l.requests, owner = append(l.requests, request), append(owner, i)
		if i%10 == 0 {
			l.requests, owner = append(l.requests, request), append(owner, i)
		}
	}
	admitted := make([]atomic.Int32, n)
	l.answered = func(i, status int, _ []byte) {
		if status == 200 {
			admitted[owner[i]].Add(1)
		}
	}
	r, err := l.run()
	if err != nil {
		return err
	}
	for i := range admitted {
		switch a := admitted[i].Load(); {
		case a > 1:
			err = errors.Join(err, fmt.Errorf("double entry: a ticket was admitted %d times", a))
		case a == 0:
			err = errors.Join(err, errors.New("a good ticket was refused"))
		}
		k.admitted++
	}
	k.refused += int64(r.n - n)
	return err
}
