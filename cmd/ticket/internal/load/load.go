// Package load issues and redeems tickets at a given rate against a running service,
// and judges whether the service admitted each ticket once.
//
// The load is open: tickets begin by a schedule, whether or not earlier requests were
// answered. The latency of an issue counts from the ticket's moment in the schedule. If
// the service falls behind, the latency has the whole wait of a backend, and not only
// the time after a late request was sent.
//
// The redemption begins with the answer to the issue, and its latency counts from there.
// A share of the tickets is replayed: two callers redeem the ticket at the same time,
// and a third caller after both answers. Each caller has a binding of its own, so the
// service must admit one of the three.
package load

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/client"
)

const (
	// Tolerance is how long after its moment a ticket may begin, and not be late.
	Tolerance = 100 * time.Millisecond

	// LateShare is the largest share of late tickets at a rate that was kept.
	LateShare = 0.01
)

// Config describes a load. All fields are mandatory, except as noted.
type Config struct {
	Service client.Config

	// Person is the request for each ticket. Without a Username, the tickets are for
	// made-up customers, in turn: their unique IDs are bench-0, bench-1 and so on.
	Person    client.IssueRequest
	Customers int // number of made-up customers; only without a Username

	Rate     float64       // tickets a second
	Duration time.Duration // of the schedule
	Replays  float64       // the share of tickets to replay, from 0 to 1

	// InFlight bounds the tickets in flight, from the issue to the last answer. Beyond
	// the bound, a ticket waits for a place, and the latency includes the wait.
	InFlight int
}

// Planned returns the number of tickets in the schedule.
func (c Config) Planned() int { return int(math.Round(c.Rate * c.Duration.Seconds())) }

// Load makes the load of a Config, once.
type Load struct {
	config Config
	client *client.Client

	sent, redeems atomic.Int64 // requests on the way to /auth/redeem, and calls of Redeem

	mu      sync.Mutex
	results results
}

// New returns a Load, without calling the service. The error is a *client.ConfigError.
func New(c Config) (*Load, error) {
	l := &Load{config: c, results: newResults()}
	next := c.Service.Transport
	if next == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 2*c.InFlight // a ticket has two requests at most
		next = t
	}
	c.Service.Transport = counter{next, &l.sent}
	var err error
	l.client, err = client.New(c.Service)
	return l, err
}

// counter counts the requests to redeem. A Client repeats a redemption without an answer,
// so there may be more requests than calls.
type counter struct {
	http.RoundTripper
	n *atomic.Int64
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/auth/redeem") {
		c.n.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// Try issues and redeems one ticket, without counting it. After an error, a load would
// measure nothing: the service is not there, or refuses the API key or the person.
func (l *Load) Try(ctx context.Context) error {
	person := l.person(0)
	issued, err := l.client.Issue(ctx, person)
	if err != nil {
		return err
	}
	l.redeems.Add(1)
	_, err = l.client.Redeem(ctx, client.RedeemRequest{Ticket: issued.Ticket, Audience: audience(person)})
	return err
}

// person returns the request for the ticket number n.
func (l *Load) person(n int) client.IssueRequest {
	p := l.config.Person
	p.OneTimeUse = new(true)
	if p.Username == "" {
		p.UniqueID = fmt.Sprintf("bench-%d", n%l.config.Customers)
	}
	return p
}

func audience(p client.IssueRequest) client.Audience {
	if p.Username == "" {
		return client.Customer
	}
	return client.Agent
}

// replayed reports whether the ticket number n is one of the share to replay.
func (l *Load) replayed(n int) bool {
	share := l.config.Replays
	return math.Floor(float64(n+1)*share+1e-9) > math.Floor(float64(n)*share+1e-9)
}

// Run begins tickets by the schedule, and returns when all are answered. The end of ctx
// ends Run at once; requests without an answer then count for nothing. full, if not nil,
// is called when the bound of Config.InFlight is reached for the first time.
func (l *Load) Run(ctx context.Context, full func()) {
	start := time.Now()
	end := start.Add(l.config.Duration)
	l.mu.Lock()
	l.results.start = start
	l.mu.Unlock()
	schedule, stop := context.WithDeadline(ctx, end.Add(Tolerance))
	defer stop()
	places := make(chan struct{}, l.config.InFlight)
	var tickets sync.WaitGroup
	for n := range l.config.Planned() {
		due := start.Add(time.Duration(float64(n) / l.config.Rate * float64(time.Second)))
		if !sleepUntil(schedule, due) || !l.enter(schedule, places, full) {
			break
		}
		l.begun(due)
		tickets.Go(func() {
			l.ticket(ctx, n, due)
			<-places
		})
	}
	sleepUntil(schedule, end)
	l.mu.Lock()
	l.results.took = time.Since(start)
	l.results.interrupted = ctx.Err() != nil
	l.mu.Unlock()
	tickets.Wait()
}

// sleepUntil reports false if ctx ended first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// enter takes a place for a ticket. It reports false if ctx ended first.
func (l *Load) enter(ctx context.Context, places chan struct{}, full func()) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	l.mu.Lock()
	l.results.AtBound++
	first := l.results.AtBound == 1
	l.mu.Unlock()
	if first && full != nil {
		full()
	}
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// begun counts a ticket at its beginning.
func (l *Load) begun(due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results.Begun++
	if time.Since(due) > Tolerance {
		l.results.Late++
	}
}

// ticket issues and redeems the ticket number n.
func (l *Load) ticket(ctx context.Context, n int, due time.Time) {
	person := l.person(n)
	issued, err := l.client.Issue(ctx, person)
	if !l.issued(ctx, due, err) {
		return
	}
	request := client.RedeemRequest{Ticket: issued.Ticket, Audience: audience(person)}
	if !l.replayed(n) {
		l.judge([]answer{l.redeem(ctx, request)}, false)
		return
	}
	answers := make([]answer, 3)
	var callers sync.WaitGroup
	for i := range 2 {
		callers.Go(func() { answers[i] = l.redeem(ctx, request) })
	}
	callers.Wait()
	answers[2] = l.redeem(ctx, request)
	l.judge(answers, true)
}

// redeem redeems a ticket with a new binding.
func (l *Load) redeem(ctx context.Context, request client.RedeemRequest) answer {
	due := time.Now()
	l.redeems.Add(1)
	admitted, err := l.client.Redeem(ctx, request)
	return l.redeemed(ctx, due, admitted, err)
}
