package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// auditRate is the rate of the audit trail's budget, in tickets a second.
const auditRate = 500

// auditConns is the number of connections that share the rate.
const auditConns = 16

// droppedEvents counts the events that the trail could not take.
const droppedEvents = "ticketd_audit_events_dropped_total"

// withoutTrail takes the place of service/trail.go: a service without a trail forgets the
// events of tickets.
const withoutTrail = `package service

import "context"

func (s *Service) startTrail(context.Context) error { return nil }
`

// buildWithoutTrail builds a ticketd that writes no events of tickets. No setting does this,
// so the build sees another file in place of the trail's.
func buildWithoutTrail(dir string) (exe string, err error) {
	replaced := filepath.Join(repository(), "cmd/ticketd/internal/service/trail.go")
	if _, err := os.Stat(replaced); err != nil {
		return "", err
	}
	file, overlay := filepath.Join(dir, "trail.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{replaced: file}})
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{file: []byte(withoutTrail), overlay: text} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return "", err
		}
	}
	exe = filepath.Join(dir, "ticketd")
	return exe, buildAs(exe, "ticketd", "-trimpath", "-ldflags=-s -w", "-overlay="+overlay)
}

// auditTable measures the issue of tickets with and without the audit trail.
func (b *bench) auditTable(emit func(*table) error) error {
	t := &table{
		Name: "audit", Title: "The audit trail",
		Columns: []string{
			"load of POST /auth/ticket", "requests/s", "without", "× without", "p50 ms", "without", "p99 ms", "without",
			"× without", "CPU µs a request", "without", "× without", "events dropped",
		},
	}
	t.note("Each row sets ticketd beside a ticketd that was built without the trail of tickets' events. Both have a "+
		"directory on SQLite. At %d a second, requests begin by a schedule, and the latency counts from a request's "+
		"moment in the schedule. Each figure is the median of the rounds, and each ratio the median of the rounds' "+
		"ratios. The CPU time has the writing of the events.", auditRate)
	with, err := b.service()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "without")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b.progress("building ticketd without the audit trail")
	exe, err := buildWithoutTrail(dir)
	if err != nil {
		return err
	}
	without, err := newService(dir, exe)
	if err != nil {
		return err
	}
	sides := make([]*side, 2)
	for i, s := range []*service{with, without} {
		p, err := s.serve("memory")
		if err != nil {
			return err
		}
		defer func() { _ = p.end() }()
		sides[i] = &side{process: p, load: func() (load, error) {
			return load{want: 200, time: b.time, requests: [][]byte{s.issueRequest()}}, nil
		}}
	}
	if err := b.auditRow(t, fmt.Sprintf("%d a second", auditRate), auditConns, auditRate, sides); err != nil {
		return err
	}
	for _, n := range b.clients {
		if err := b.auditRow(t, fmt.Sprintf("as much as %d clients can", n), n, 0, sides); err != nil {
			return err
		}
	}
	return emit(t)
}

// auditRow measures a load with n clients, at a rate unless it is 0.
func (b *bench) auditRow(t *table, name string, n int, rate float64, sides []*side) error {
	b.progress("audit: %s", name)
	for _, s := range sides {
		if err := s.start(n); err != nil {
			return err
		}
		defer hangUp(s.conns)
		unpaced := s.load
		s.load = func() (l load, err error) {
			l, err = unpaced()
			if l.rate = rate; rate > 0 {
				l.time *= 5 // else a round has too few requests for a p99
			}
			return l, err
		}
		defer func() { s.load = unpaced }()
		s.figures = figures{}
	}
	with, without := sides[0], sides[1]
	before, err := with.scrape(droppedEvents)
	if err != nil {
		return err
	}
	if err := b.interleave(with, without); err != nil {
		return err
	}
	after, err := with.scrape(droppedEvents)
	if err != nil {
		return err
	}
	t.row(name, median(with.perSecond), median(without.perSecond), ratio(with.perSecond, without.perSecond),
		median(with.p50)/1000, median(without.p50)/1000, median(with.p99)/1000, median(without.p99)/1000,
		ratio(with.p99, without.p99), median(with.cpu), median(without.cpu), ratio(with.cpu, without.cpu), after-before)
	return nil
}
