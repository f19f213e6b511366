package load

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/admitone/admitone/client"
)

// Verdict is the judgement of a load. The worst one counts.
type Verdict string

const (
	Good        Verdict = "good"          // each ticket was admitted once, at the rate
	RateNotKept Verdict = "rate_not_kept" // over LateShare of the tickets began late, or did not begin
	CannotTell  Verdict = "cannot_tell"   // requests failed
	Failed      Verdict = "failed"        // a double entry, or a good ticket was refused
)

// Report has the figures of a load.
type Report struct {
	Verdict     Verdict `json:"verdict"`
	Interrupted bool    `json:"interrupted"` // the load ended before its time

	Rate      float64 `json:"rate"`      // tickets a second, as asked for
	BegunRate float64 `json:"begunRate"` // tickets a second, as begun
	Seconds   float64 `json:"seconds"`
	Planned   int     `json:"planned"` // tickets up to the end, or up to the interruption
	NotBegun  int     `json:"notBegun"`
	InFlight  int     `json:"inFlight"` // tickets now

	Counts

	Issue    Latency   `json:"issue"`
	Redeem   Latency   `json:"redeem"`
	Repeated int       `json:"repeated"` // redemptions sent again after no answer, 502, 503 or 504
	Failures []Failure `json:"failures"` // the most frequent first
}

// Counts has numbers of tickets.
type Counts struct {
	Begun   int `json:"begun"`
	Late    int `json:"late"`    // began over Tolerance after their moment
	AtBound int `json:"atBound"` // found the bound of Config.InFlight reached
	Issued  int `json:"issued"`

	NotIssued     int `json:"notIssued"` // the issue failed
	AdmittedOnce  int `json:"admittedOnce"`
	DoubleEntries int `json:"doubleEntries"`
	GoodRefused   int `json:"goodRefused"`
	CannotTell    int `json:"cannotTell"` // no caller was admitted, and at least one got no verdict
	CutOff        int `json:"cutOff"`     // by the interruption

	Replayed       int `json:"replayed"`
	ReplaysRefused int `json:"replaysRefused"` // rightly, after or beside an admission

	DoubleEntryIDs []Example `json:"doubleEntryExamples,omitempty"`
	GoodRefusedIDs []Example `json:"goodRefusedExamples,omitempty"`
}

// Example is a ticket to look for in the service's log.
type Example struct {
	ID     string        `json:"ticketId,omitempty"`
	Reason client.Reason `json:"reason,omitempty"`
}

// Failure has requests that failed in the same way.
type Failure struct {
	Request string `json:"request"` // issue or redeem
	Status  int    `json:"status"`  // of HTTP; 0: no answer came
	Count   int    `json:"count"`
	Example string `json:"example"` // the error of the first
}

// Latency has percentiles in milliseconds, over all answers and failures.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// results collects the figures of a Report.
type results struct {
	Counts
	start         time.Time
	took          time.Duration // of the schedule, once it ended
	interrupted   bool
	issue, redeem histogram
	failures      map[failureKey]Failure
}

type failureKey struct {
	request string
	status  int
}

func newResults() results {
	return results{issue: newHistogram(), redeem: newHistogram(), failures: make(map[failureKey]Failure)}
}

// fail counts a failed request.
func (r *results) fail(request string, err error) {
	key := failureKey{request: request}
	if e, ok := errors.AsType[*client.Error](err); ok {
		key.status = e.Status
	}
	f, ok := r.failures[key]
	if !ok {
		f = Failure{Request: key.request, Status: key.status, Example: err.Error()}
	}
	f.Count++
	r.failures[key] = f
}

// example keeps the first few tickets.
func (r *results) example(all *[]Example, e Example) {
	if len(*all) < 5 {
		*all = append(*all, e)
	}
}

// Report returns the figures so far, also during Run.
func (l *Load) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.results
	took := r.took
	if took == 0 && !r.start.IsZero() {
		took = time.Since(r.start)
	}
	p := Report{
		Interrupted: r.interrupted, Rate: l.config.Rate, Seconds: took.Seconds(), Counts: r.Counts,
		Issue: r.issue.latency(), Redeem: r.redeem.latency(),
		Repeated: max(0, int(l.sent.Load()-l.redeems.Load())),
		Failures: slices.AppendSeq([]Failure{}, maps.Values(r.failures)),
	}
	slices.SortFunc(p.Failures, func(a, b Failure) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Request, b.Request), a.Status-b.Status)
	})
	p.DoubleEntryIDs, p.GoodRefusedIDs = slices.Clone(r.DoubleEntryIDs), slices.Clone(r.GoodRefusedIDs)
	p.Planned = l.config.Planned()
	if r.interrupted || r.took == 0 {
		p.Planned = min(p.Planned, max(r.Begun, int(l.config.Rate*took.Seconds())))
	}
	p.NotBegun = p.Planned - r.Begun
	if took > 0 {
		p.BegunRate = float64(r.Begun) / took.Seconds()
	}
	p.InFlight = r.Begun - r.NotIssued - r.AdmittedOnce - r.DoubleEntries - r.GoodRefused - r.CannotTell - r.CutOff
	p.Verdict = p.verdict()
	return p
}

func (p *Report) verdict() Verdict {
	switch {
	case p.DoubleEntries > 0 || p.GoodRefused > 0:
		return Failed
	case p.CannotTell > 0 || len(p.Failures) > 0 || p.AdmittedOnce == 0:
		return CannotTell
	case float64(p.Late+p.NotBegun) > LateShare*float64(p.Planned):
		return RateNotKept
	}
	return Good
}

// histogram counts latencies, with three significant digits.
type histogram struct{ *hdrhistogram.Histogram }

// longest is the upper bound of a histogram. Longer latencies count as longest.
const longest = time.Hour

func newHistogram() histogram { return histogram{hdrhistogram.New(1, longest.Microseconds(), 3)} }

func (h histogram) add(d time.Duration) {
	_ = h.RecordValue(min(d, longest).Microseconds()) // no error: within the bounds
}

func (h histogram) latency() Latency {
	ms := func(percentile float64) float64 { return float64(h.ValueAtPercentile(percentile)) / 1000 }
	return Latency{
		Count: int(h.TotalCount()), P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: float64(h.Max()) / 1000,
	}
}
