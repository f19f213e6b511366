// Package metrics counts what ticketd does, and shows it to Prometheus.
//
// No label has a value that strangers or callers choose: no ticket, brand, key,
// address or URL. Values are words of ours (a verify.Reason, a replay.Status), the
// routes of the service, and HTTP status codes.
package metrics

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Metrics are the service's. They are safe for concurrent use.
type Metrics struct {
	registry      *prometheus.Registry
	issued        *prometheus.CounterVec
	verifications *prometheus.CounterVec
	age           prometheus.Histogram
	requests      *prometheus.CounterVec
	durations     *prometheus.HistogramVec
	claims        *prometheus.CounterVec
	claimDuration prometheus.Histogram
}

// Call is how a ticket was verified.
type Call string

// The calls of a verify.Verifier.
const (
	Redeem  Call = "redeem"
	Inspect Call = "inspect"
)

// accepted stands where others have a verify.Reason.
const accepted = "accepted"

// other stands for a word that is none of ours.
const other = "other"

var reasons = []verify.Reason{
	verify.Malformed, verify.UnsupportedVersion, verify.UnknownKey, verify.Forged,
	verify.NotYetValid, verify.Expired, verify.LifetimeTooLong, verify.WrongBrand, verify.WrongAudience, verify.WrongChannel,
	verify.RefusedByCaller, verify.AlreadyUsed, verify.PossiblyUsed, verify.IssuedBeforeStart,
	verify.StoreUnavailable, verify.StoreFull, verify.ClockBehind,
}

// New returns metrics in a registry of their own, with those of the Go runtime,
// the process and the build.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticketd_tickets_issued_total",
			Help: "Tickets issued, by audience and whether they are good once.",
		}, []string{"audience", "one_time"}),
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticketd_ticket_verifications_total",
			Help: "Tickets that were redeemed or inspected, by what came of it: accepted, or the reason why not.",
		}, []string{"call", "result"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ticketd_redeemed_ticket_age_ratio",
			Help:    "Age of tickets when they were redeemed, as a fraction of their lifetime.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1},
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticketd_http_requests_total",
			Help: "Requests answered, by route and status code.",
		}, []string{"route", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ticketd_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by route.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticketd_replay_claims_total",
			Help: "Claims of one-time tickets in the replay store, by its answer; repeated is an admission told again to its own binding, unavailable and invalid are errors.",
		}, []string{"result"}),
		claimDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ticketd_replay_claim_duration_seconds",
			Help:    "Time that the replay store took for a claim.",
			Buckets: []float64{1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
		}),
	}
	m.registry.MustRegister(m.issued, m.verifications, m.age, m.requests, m.durations, m.claims, m.claimDuration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	// What is to be alarmed at is there before it happens.
	for _, audience := range []token.Audience{token.Agent, token.Customer} {
		for _, oneTime := range []bool{false, true} {
			m.issued.WithLabelValues(audience.String(), strconv.FormatBool(oneTime))
		}
	}
	for _, reason := range reasons {
		m.verifications.WithLabelValues(string(Redeem), string(reason))
	}
	m.verifications.WithLabelValues(string(Redeem), accepted)
	for _, result := range claimResults() {
		m.claims.WithLabelValues(result)
	}
	return m
}

// Handler answers scrapes. It is not for strangers: the numbers tell how much is
// going on.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
	})
}

// Issued counts a ticket.
func (m *Metrics) Issued(t *token.Ticket) {
	m.issued.WithLabelValues(t.Audience.String(), strconv.FormatBool(t.OneTime)).Inc()
}

// Verified counts what a verify.Verifier said at now: of t, or why not.
func (m *Metrics) Verified(call Call, t token.Ticket, err error, now time.Time) {
	m.verifications.WithLabelValues(string(call), result(err)).Inc()
	if call == Redeem && err == nil {
		m.age.Observe(max(0, now.Sub(t.IssuedAt).Seconds()/t.Lifetime.Seconds()))
	}
}

// Request counts a request. The route is the pattern that it matched.
func (m *Metrics) Request(route string, status int, duration time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(duration.Seconds())
}
