package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// service is a service in this process. Its answers take time, and it may be faulty.
type service struct {
	issueTime, redeemTime time.Duration
	oneAtATime            bool
	hangs                 int // the number of the issue that takes a second more

	// issue and redeem, if not nil, answer in place of the service. A status of 0 leaves the
	// answer to it. n counts the requests of the kind; tries those for the ticket.
	issue  func(n int) (status int, data string)
	redeem func(ticket string, n, tries int) (status int, data string)

	place           chan struct{} // for oneAtATime
	mu              sync.Mutex
	issues, redeems int
	tries           map[string]int
	owner           map[string]string // the binding for which a ticket was admitted
	people          map[string]int    // how often a ticket was for whom
	uses            map[string]int    // tickets for one use and others
}

const (
	admits  = `{"result":"admitted","ticket":{"id":"%s"}}`
	refuses = `{"result":"refused","reason":"already_used","ticketId":"%s"}`
)

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	wait, answer := s.issueTime, s.answerIssue
	if strings.HasSuffix(r.URL.Path, "/auth/redeem") {
		wait, answer = s.redeemTime, s.answerRedeem
	}
	if s.oneAtATime {
		select {
		case s.place <- struct{}{}:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		defer func() { <-s.place }()
	}
	s.mu.Lock()
	if s.issues+1 == s.hangs && strings.HasSuffix(r.URL.Path, "/auth/ticket") {
		wait += time.Second
	}
	s.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, data := answer(body)
	if status == -1 {
		return nil, io.ErrUnexpectedEOF
	}
	text := fmt.Sprintf(`{"status":"%d","description":"by the test","data":%s}`, status, data)
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}, nil
}

func (s *service) answerIssue(body []byte) (int, string) {
	var request client.IssueRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return http.StatusBadRequest, "{}"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issues++
	s.people[request.Username+request.UniqueID]++
	s.uses[fmt.Sprint(*request.OneTimeUse)]++
	if s.issue != nil {
		if status, data := s.issue(s.issues); status != 0 {
			return status, data
		}
	}
	return http.StatusOK, fmt.Sprintf(`{"encpryptedString":"ticket-%032x"}`, s.issues)
}

func (s *service) answerRedeem(body []byte) (int, string) {
	var request client.RedeemRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return http.StatusBadRequest, "{}"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redeems++
	s.tries[request.Ticket]++
	if s.redeem != nil {
		if status, data := s.redeem(request.Ticket, s.redeems, s.tries[request.Ticket]); status != 0 {
			return status, data
		}
	}
	if owner, spent := s.owner[request.Ticket]; spent && owner != request.Binding {
		return http.StatusForbidden, fmt.Sprintf(refuses, id(request.Ticket))
	}
	s.owner[request.Ticket] = request.Binding
	return http.StatusOK, fmt.Sprintf(admits, id(request.Ticket))
}

// id returns the ID of a ticket.
func id(ticket string) string { return strings.TrimPrefix(ticket, "ticket-") }

// run makes a load against the service, at a clock that costs no time.
func run(t *testing.T, s *service, change func(*Config)) Report {
	t.Helper()
	return interrupted(t, s, change, time.Hour)
}

// interrupted is run with an end after a time.
func interrupted(t *testing.T, s *service, change func(*Config), after time.Duration) (r Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.tries, s.owner = make(map[string]int), make(map[string]string)
		s.people, s.uses = make(map[string]int), make(map[string]int)
		s.place = make(chan struct{}, 1)
		c := Config{
			Service: client.Config{URL: "https://tickets.example.com", APIKey: "key", Transport: s},
			Person:  client.IssueRequest{Brand: "commbox"}, Customers: 3,
			Rate: 100, Duration: 2 * time.Second, Replays: 0.1, InFlight: 1000,
		}
		if change != nil {
			change(&c)
		}
		l, err := New(c)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		l.Run(ctx, nil)
		r = l.Report()
	})
	return r
}

func TestGood(t *testing.T) {
	s := &service{issueTime: 20 * time.Millisecond, redeemTime: 5 * time.Millisecond}
	r := run(t, s, nil)
	assert.Equal(t, Good, r.Verdict)
	assert.Equal(t, Counts{Begun: 200, Issued: 200, AdmittedOnce: 200, Replayed: 20, ReplaysRefused: 40}, r.Counts)
	assert.Equal(t, 200, r.Planned)
	assert.Zero(t, r.NotBegun+r.InFlight+r.Repeated)
	assert.Empty(t, r.Failures)
	assert.InDelta(t, 2, r.Seconds, 1e-6)
	assert.InDelta(t, 100, r.BegunRate, 1e-6)
	assert.Equal(t, 200, r.Issue.Count)
	assert.Equal(t, 240, r.Redeem.Count)
	for _, ms := range []float64{r.Issue.P50, r.Issue.P90, r.Issue.P99, r.Issue.P999, r.Issue.Max} {
		assert.InEpsilon(t, 20, ms, 0.002)
	}
	assert.InEpsilon(t, 5, r.Redeem.Max, 0.002)
	assert.Equal(t, map[string]int{"bench-0": 67, "bench-1": 67, "bench-2": 66}, s.people)
	assert.Equal(t, map[string]int{"true": 200}, s.uses)
}

func TestAgent(t *testing.T) {
	s := &service{}
	r := run(t, s, func(c *Config) { c.Person.Username, c.Customers = "john.d", 0 })
	assert.Equal(t, Good, r.Verdict)
	assert.Equal(t, map[string]int{"john.d": 200}, s.people)
}

func TestReplaysShare(t *testing.T) {
	for share, want := range map[float64]int{0: 0, 0.005: 1, 0.1: 20, 1.0 / 3: 66, 0.5: 100, 1: 200} {
		assert.Equal(t, want, run(t, &service{}, func(c *Config) { c.Replays = share }).Replayed, share)
	}
}

// A slow service delays no ticket.
func TestSlowServiceIsNoBrake(t *testing.T) {
	r := run(t, &service{issueTime: 3 * time.Second, redeemTime: 3 * time.Second}, nil)
	assert.Equal(t, Good, r.Verdict)
	assert.Zero(t, r.Late)
	assert.InDelta(t, 100, r.BegunRate, 1e-6)
	assert.InEpsilon(t, 3000, r.Issue.P50, 0.002)
	assert.InEpsilon(t, 3000, r.Redeem.P50, 0.002)
}

// A service that answers 50 requests a second falls behind a rate of 100: the last ticket
// waits for all those before. A caller that waits for each answer would see 20 ms.
func TestQueueIsInTheLatency(t *testing.T) {
	r := run(t, &service{issueTime: 20 * time.Millisecond, oneAtATime: true}, func(c *Config) {
		c.Replays = 0
	})
	assert.Equal(t, Good, r.Verdict)
	assert.InDelta(t, 2010, r.Issue.Max, 20)
	assert.InDelta(t, 1000, r.Issue.P50, 30)
}

// With a bound, a ticket that waits for a place is late, and the wait is in its latency.
func TestBoundIsInTheLatency(t *testing.T) {
	s := &service{issueTime: 200 * time.Millisecond} // with 5 places, 25 tickets a second
	r := run(t, s, func(c *Config) { c.InFlight, c.Replays = 5, 0 })
	assert.Equal(t, RateNotKept, r.Verdict)
	assert.InDelta(t, 50, r.Begun, 6)
	assert.Equal(t, 200, r.Planned)
	assert.Equal(t, 200-r.Begun, r.NotBegun)
	assert.Greater(t, r.Late, 35)
	assert.Greater(t, r.AtBound, 35)
	assert.Greater(t, r.Issue.Max, 1000.0)
	assert.Equal(t, r.Begun, r.AdmittedOnce, "what began is judged to the end")
}

// A service that hangs for a second hangs for all tickets of this second.
func TestHangIsInTheLatency(t *testing.T) {
	s := &service{oneAtATime: true, hangs: 50}
	r := run(t, s, func(c *Config) { c.Replays = 0 })
	assert.Less(t, r.Issue.P50, 50.0, "half of the tickets were due before or after")
	assert.Greater(t, r.Issue.P90, 700.0)
	assert.InEpsilon(t, 1000, r.Issue.Max, 0.02)
}

// What has no answer at the end of an interrupted load counts for nothing.
func TestInterrupted(t *testing.T) {
	s := &service{redeemTime: 505 * time.Millisecond}
	r := interrupted(t, s, func(c *Config) { c.Replays = 0 }, 1003*time.Millisecond)
	assert.Equal(t, Good, r.Verdict)
	assert.True(t, r.Interrupted)
	assert.Equal(t, Counts{Begun: 101, Issued: 101, AdmittedOnce: 50, CutOff: 51}, r.Counts)
	assert.Equal(t, 101, r.Planned)
	assert.Equal(t, 50, r.Redeem.Count)
	assert.InDelta(t, 1.003, r.Seconds, 1e-6)
	assert.Empty(t, r.Failures)

	// A double entry is one, although a third answer is missing.
	s = &service{redeemTime: 505 * time.Millisecond, redeem: func(ticket string, _, _ int) (int, string) {
		return http.StatusOK, fmt.Sprintf(admits, id(ticket))
	}}
	r = interrupted(t, s, func(c *Config) { c.Replays = 1 }, 603*time.Millisecond)
	assert.Equal(t, Failed, r.Verdict)
	assert.Equal(t, 10, r.DoubleEntries)

	r = interrupted(t, &service{}, nil, 0)
	assert.Equal(t, CannotTell, r.Verdict, "nothing was measured")
}

func TestTry(t *testing.T) {
	s := &service{
		tries: make(map[string]int), owner: make(map[string]string),
		people: make(map[string]int), uses: make(map[string]int),
	}
	c := Config{
		Service: client.Config{URL: "https://tickets.example.com", APIKey: "key", Transport: s},
		Person:  client.IssueRequest{Brand: "commbox"}, Customers: 1,
	}
	l, err := New(c)
	require.NoError(t, err)
	require.NoError(t, l.Try(t.Context()))
	r := l.Report()
	assert.Zero(t, r.Counts, "the trial does not count")
	assert.Zero(t, r.Repeated)
	s.redeem = func(string, int, int) (int, string) { return 401, "{}" }
	assert.EqualError(t, l.Try(t.Context()), "redeem: status 401: by the test")
	s.issue = func(int) (int, string) { return 404, "{}" }
	assert.EqualError(t, l.Try(t.Context()), "issue: status 404: by the test")

	c.Service.URL = "tickets.example.com"
	_, err = New(c)
	var fault *client.ConfigError
	assert.ErrorAs(t, err, &fault)
}
