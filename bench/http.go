package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"
)

// route is a kind of request to measure.
type route struct {
	name  string
	want  int                        // status of the answer
	write func(ticket string) []byte // writes a request
	spend bool                       // each request spends a ticket
}

const issueRoute, checkRoute = "POST /auth/ticket", "GET /auth/brand/…/check"

// routes are the requests to measure, with the cookie of a session.
func (s *service) routes(cookie string) []route {
	return []route{
		{issueRoute, 200, func(string) []byte { return s.issueRequest() }, false},
		{"POST /auth/redeem", 200, s.redeemRequest, true},
		{"GET /login?ta=…", 303, s.loginRequest, true},
		{checkRoute, 200, func(string) []byte { return s.checkRequest(cookie) }, false},
	}
}

// pair is a running service beside the bare server.
type pair struct {
	*service
	ours, bare *process
	cookie     string // of a session
}

// pair starts the service with a replay store, and the bare server.
func (b *bench) pair(s *service, store string) (*pair, error) {
	flag, err := b.store(store)
	if err != nil {
		return nil, err
	}
	p := &pair{service: s}
	if p.ours, err = s.serve(flag); err != nil {
		return nil, err
	}
	samples, err := p.samples()
	if err == nil {
		p.bare, err = serveBare(b.dir, samples)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

func (p *pair) end() {
	for _, x := range []*process{p.ours, p.bare} {
		if x != nil {
			_ = x.end()
		}
	}
}

// samples asks the service once for each answer, and notes the cookie of the session.
func (p *pair) samples() (all []sample, err error) {
	conns, err := clients(p.ours.address, 1)
	if err != nil {
		return nil, err
	}
	defer hangUp(conns)
	for _, r := range p.routes("") {
		tickets, err := p.issue(conns, 1)
		if err != nil {
			return nil, err
		}
		request := r.write(tickets[0])
		if r.name == checkRoute {
			request = p.checkRequest(p.cookie)
		}
		status, head, body, err := conns[0].do(request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if status != r.want {
			return nil, fmt.Errorf("%s: status %d in place of %d: %s%s", r.name, status, r.want, head, body)
		}
		if _, rest, ok := bytes.Cut(head, []byte("\r\nSet-Cookie: ")); ok {
			pair, _, _ := bytes.Cut(rest, []byte(";"))
			p.cookie = string(pair)
		}
		s, err := newSample(request, status, head, body)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// sides returns the service and the bare server under the load of a route.
func (b *bench) sides(p *pair, r route) (ours, bare *side) {
	bare = &side{process: p.bare, load: func() (load, error) {
		return load{want: r.want, time: b.time, requests: [][]byte{r.write(strings.Repeat("x", 240))}}, nil
	}}
	if !r.spend {
		return &side{process: p.ours, load: bare.load}, bare
	}
	ours = &side{process: p.ours}
	ours.load = func() (l load, err error) {
		l = load{want: r.want, time: b.time, once: true}
		// Some more than the rounds before needed; a round ends early when all are spent.
		tickets, err := p.issue(ours.conns, max(1000, int(1.5*ours.rate*b.time.Seconds())))
		for _, t := range tickets {
			l.requests = append(l.requests, r.write(t))
		}
		return l, err
	}
	return ours, bare
}

// httpTable measures the service over HTTP beside the bare server.
func (b *bench) httpTable(emit func(*table) error) error {
	t := &table{
		Name: "http", Title: "The service over HTTP",
		Columns: []string{
			"request", "store", "clients", "requests/s", "of bare", "p50 ms", "p99 ms", "p99.9 ms", "p99 × bare",
			"CPU µs a request", "× bare", "allocations", "bare", "most by fsync/s",
		},
	}
	t.note("Each row sets ticketd beside a bare handler: net/http that decodes and encodes JSON, and answers with the " +
		"same headers and a body of the same size. The directory is on SQLite. Server and load generator share the " +
		"machine. Each figure is the median of the rounds, and each ratio the median of the rounds' ratios.")
	t.note("The last column is a bound of the disk with a journal: the fsyncs a second of one file that grows, measured " +
		"alone before and after the rounds, times the clients. The journal's own fsyncs take less. Each request waits " +
		"for an fsync that began after the request's claim, and an fsync serves a client once. Usually half of the " +
		"clients wait for the present fsync and half for the next. If half of this figure is above the requests a " +
		"second, the processor is the bound.")
	s, err := b.service()
	if err != nil {
		return err
	}
	for i, store := range b.stores {
		if err := b.httpRows(t, s, store, i == 0); err != nil {
			return fmt.Errorf("replay store %s: %w", store, err)
		}
	}
	return emit(t)
}

// httpRows measures the routes with a replay store: all of them, or those that ask the
// store.
func (b *bench) httpRows(t *table, s *service, store string, all bool) error {
	p, err := b.pair(s, store)
	if err != nil {
		return err
	}
	defer p.end()
	for _, r := range s.routes(p.cookie) {
		if !r.spend && !all || !strings.Contains(r.name, b.route) {
			continue
		}
		name := store
		if !r.spend {
			name = "any"
		}
		for _, n := range b.clients {
			b.progress("http: %s, replay store %s, %d clients", r.name, name, n)
			if err := b.httpRow(t, p, r, name, n); err != nil {
				return fmt.Errorf("%s, %d clients: %w", r.name, n, err)
			}
		}
	}
	return nil
}

// httpRow measures a route with n clients.
func (b *bench) httpRow(t *table, p *pair, r route, store string, n int) error {
	ours, bare := b.sides(p, r)
	for _, x := range []*side{ours, bare} {
		if err := x.start(n); err != nil {
			return err
		}
		defer hangUp(x.conns)
	}
	most := func() (float64, error) { return math.NaN(), nil }
	if store == "journal" && r.spend {
		most = b.fsyncs
	}
	before, err := most()
	if err != nil {
		return err
	}
	if err := b.interleave(ours, bare); err != nil {
		return err
	}
	after, err := most()
	if err != nil {
		return err
	}
	t.row(r.name, store, n, median(ours.perSecond), ratio(ours.perSecond, bare.perSecond),
		median(ours.p50)/1000, median(ours.p99)/1000, median(ours.p999)/1000, ratio(ours.p99, bare.p99),
		median(ours.cpu), ratio(ours.cpu, bare.cpu), median(ours.allocations), median(bare.allocations),
		(before+after)/2*float64(n))
	return nil
}

// fsyncs returns the fsyncs a second of one file, each after a record of the journal's size.
func (b *bench) fsyncs() (float64, error) {
	s, err := b.fsync()
	if err != nil {
		return 0, err
	}
	defer s.end()
	number := uint64(0)
	return s.rate(1, b.time/2, time.Now(), 0, func() uint64 { number++; return number }, true)
}
