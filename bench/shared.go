package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// sharedTable sets redemptions over HTTP with a shared store beside redemptions with the
// store in memory, and beside the claims of the store's client without HTTP.
func (b *bench) sharedTable(emit func(*table) error) error {
	t := &table{
		Name: "shared", Title: "Redemptions with a shared store",
		Columns: []string{
			"store", "clients", "redemptions/s", "with memory", "of memory", "claims/s of the client", "of the client",
			"CPU µs a redemption", "with memory",
		},
	}
	t.note("Each row sets POST /auth/redeem of ticketd with a shared store beside the same request with the store in " +
		"memory, and beside claims by as many goroutines with the store's client. The rounds of the three alternate. " +
		"Load generator, ticketd and the store's server share the machine. The CPU time is ticketd's, without the " +
		"store's server.")
	pairs, missing := b.contenders()
	for _, m := range missing {
		t.note("%s", m)
	}
	s, err := b.service()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.dir, "service-")
	if err != nil {
		return err
	}
	beside, err := newService(dir, s.exe)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		store := map[string]string{"Redis": "redis", "PostgreSQL": "postgres"}[p[0].name]
		for _, n := range b.clients {
			if store == "" {
				continue
			}
			b.progress("shared: %s, %d clients", p[0].name, n)
			if err := b.sharedRow(t, [2]*service{s, beside}, store, p[0], n); err != nil {
				return fmt.Errorf("%s, %d clients: %w", p[0].name, n, err)
			}
		}
	}
	return emit(t)
}

// sharedRow measures n clients: of the first service with a shared store, of the second with
// the store in memory, and of the store's client.
func (b *bench) sharedRow(t *table, services [2]*service, store string, client *contender, n int) error {
	var sides [2]*side
	for i, name := range []string{store, "memory"} {
		p, err := b.pair(services[i], name)
		if err != nil {
			return err
		}
		defer p.end()
		for _, r := range services[i].routes(p.cookie) {
			if strings.Contains(r.name, "redeem") {
				sides[i], _ = b.sides(p, r)
			}
		}
		if err := sides[i].start(n); err != nil {
			return err
		}
		defer hangUp(sides[i].conns)
	}
	direct, err := client.open()
	if err != nil {
		return err
	}
	defer direct.end()
	var made atomic.Uint64
	seed, issued := rand.Uint64(), time.Now().Add(time.Second) // after the store's epoch
	var claims []float64
	for i := range b.rounds + 1 {
		for _, s := range sides {
			if err := s.measure(); err != nil {
				return err
			}
		}
		rate, err := direct.rate(n, b.time, issued, seed, func() uint64 { return made.Add(1) }, true)
		if err != nil {
			return err
		}
		claims = append(claims, rate)
		if i == 0 { // warm-up
			claims, sides[0].figures, sides[1].figures = nil, figures{}, figures{}
		}
	}
	ours, memory := sides[0], sides[1]
	t.row(client.name, n, median(ours.perSecond), median(memory.perSecond), ratio(ours.perSecond, memory.perSecond),
		median(claims), ratio(ours.perSecond, claims), median(ours.cpu), median(memory.cpu))
	return nil
}
