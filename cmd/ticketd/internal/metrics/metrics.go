// Package metrics counts what ticketd does and shows the counts to Prometheus.
//
// No label has a value chosen by strangers or callers: no ticket, brand, key, address
// or URL. Label values are the service's own words (a verify.Reason, a replay.Status),
// routes, and HTTP status codes.
package metrics

import (
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Metrics are the metrics of the service. They are safe for concurrent use.
type Metrics struct {
	registry      *prometheus.Registry
	issued        map[issue]prometheus.Counter
	answered      atomic.Pointer[map[outcome]counted]
	verifications *prometheus.CounterVec
	ofIssuers     *prometheus.CounterVec
	revoked       prometheus.Counter
	revokedUses   prometheus.Counter
	age           prometheus.Histogram
	requests      *prometheus.CounterVec
	durations     *prometheus.HistogramVec
	claims        *prometheus.CounterVec
	claimDuration prometheus.Histogram
	shed          prometheus.Counter
	events        prometheus.Counter
	eventsDropped prometheus.Counter
}

// Call tells how a ticket was verified.
type Call string

// The calls of a verify.Verifier.
const (
	Redeem  Call = "redeem"
	Inspect Call = "inspect"
)

// accepted is the result of a ticket without a reason for a refusal.
const accepted = "accepted"

// other stands for a word that is unknown here.
const other = "other"

var reasons = []verify.Reason{
	verify.Malformed, verify.UnsupportedVersion, verify.UnknownKey, verify.UnknownIssuer, verify.Forged,
	verify.IssuerNotAllowed, verify.NotYetValid, verify.Expired, verify.LifetimeTooLong,
	verify.WrongBrand, verify.WrongAudience, verify.WrongChannel,
	verify.RefusedByCaller, verify.AlreadyUsed, verify.PossiblyUsed, verify.IssuedBeforeStart,
	verify.IssuerOverRate, verify.StoreUnavailable, verify.StoreFull, verify.ClockBehind,
}

// New returns metrics in a registry of their own, with those of the Go runtime,
// the process and the build.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		issued:   make(map[issue]prometheus.Counter),
		verifications: counters("ticket_verifications_total",
			"Tickets redeemed or inspected, by result: accepted, or the reason of the refusal.", "call", "result"),
		ofIssuers: counters("issuer_tickets_total",
			"Tickets of named issuers that were redeemed or inspected, by issuer and result.", "issuer", "result"),
		revoked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: namespace + "tickets_revoked_total",
			Help: "Tickets revoked by /auth/revoke, repeated revocations included.",
		}),
		revokedUses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: namespace + "revoked_tickets_refused_total",
			Help: "Redemptions refused because the ticket was revoked.",
		}),
		age: histogram("redeemed_ticket_age_ratio",
			"Age of tickets when they were redeemed, as a fraction of their lifetime.",
			0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1),
		requests: counters("http_requests_total",
			"Requests answered, by route and status code.", "route", "code"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    namespace + "http_request_duration_seconds",
			Help:    "Time from the header of a request to the end of the answer, by route.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		claims: counters("replay_claims_total",
			"Claims of one-time tickets in the replay store, by answer. "+
				"An admission told again to the same binding is repeated; unavailable and invalid are errors.",
			"result"),
		claimDuration: histogram("replay_claim_duration_seconds",
			"Time that the replay store took for a claim.",
			1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
		shed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: namespace + "http_connections_shed_total",
			Help: "Connections without a request that were closed to make room, because the process " +
				"may not open more files. Raise its limit of open files if this rises.",
		}),
	}
	m.events = prometheus.NewCounter(prometheus.CounterOpts{
		Name: namespace + "audit_events_written_total",
		Help: "Uses of tickets that were written into the audit trail. Changes of records do not count.",
	})
	m.eventsDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: namespace + "audit_events_dropped_total",
		Help: "Uses of tickets that are missing in the audit trail, because the directory was away or slow for too long.",
	})
	issued := counters("tickets_issued_total",
		"Tickets issued, by audience and whether they are one-time.", "audience", "one_time")
	m.registry.MustRegister(issued, m.verifications, m.ofIssuers,
		m.revoked, m.revokedUses, m.age, m.requests, m.durations, m.shed,
		m.claims, m.claimDuration, m.events, m.eventsDropped, clock,
		collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.answered.Store(&map[outcome]counted{})
	// Every result has a counter from the start, so that alarms can watch the first rise.
	for _, audience := range []token.Audience{token.Agent, token.Customer} {
		for _, oneTime := range []bool{false, true} {
			m.issued[issue{audience, oneTime}] = issued.WithLabelValues(audience.String(), strconv.FormatBool(oneTime))
		}
	}
	// An administrator's ticket is always one-time.
	m.issued[issue{token.Administrator, true}] = issued.WithLabelValues(token.Administrator.String(), "true")
	for _, reason := range reasons {
		m.verifications.WithLabelValues(string(Redeem), string(reason))
	}
	m.verifications.WithLabelValues(string(Redeem), accepted)
	for _, result := range claimResults() {
		m.claims.WithLabelValues(result)
	}
	return m
}

// clock shows the clock of this machine, so that an alert can compare it with Prometheus's.
var clock = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
	Name: namespace + "clock_timestamp_seconds",
	Help: "The clock of this machine at the scrape.",
}, func() float64 { return float64(time.Now().UnixMilli()) / 1000 })

// namespace begins the names of the metrics.
const namespace = "ticketd_"

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: namespace + name, Help: help}, labels)
}

func histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: namespace + name, Help: help, Buckets: buckets})
}

// Handler answers scrapes. Keep the handler from strangers: the numbers tell how much
// is going on.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
	})
}

// Issued counts a ticket.
func (m *Metrics) Issued(t *token.Ticket) { m.issued[issue{t.Audience, t.OneTime}].Inc() }

// issue is a kind of tickets that are counted.
type issue struct {
	audience token.Audience
	oneTime  bool
}

// Verified counts the answer of a verify.Verifier at the time now: t, or the error.
func (m *Metrics) Verified(call Call, t token.Ticket, err error, now time.Time) {
	m.verifications.WithLabelValues(string(call), result(err)).Inc()
	if err != nil {
		if refused := verify.AsError(err).Refused; refused != nil {
			t.Issuer = refused.Issuer
		}
	}
	if t.Issuer != "" {
		m.ofIssuers.WithLabelValues(t.Issuer, result(err)).Inc()
	}
	if call == Redeem && err == nil {
		m.age.Observe(max(0, now.Sub(t.IssuedAt).Seconds()/t.Lifetime.Seconds()))
	}
}

// Revoked counts a revocation.
func (m *Metrics) Revoked() { m.revoked.Inc() }

// RefusedRevoked counts a redemption of a revoked ticket.
func (m *Metrics) RefusedRevoked() { m.revokedUses.Inc() }

// AuditWritten counts events of the audit trail that were written.
func (m *Metrics) AuditWritten(n int) { m.events.Add(float64(n)) }

// AuditDropped counts events of the audit trail that were dropped.
func (m *Metrics) AuditDropped(n int) { m.eventsDropped.Add(float64(n)) }

// Shed counts a connection that was closed to make room for another.
func (m *Metrics) Shed() { m.shed.Inc() }

// Request counts a request. The route is the pattern of the request.
func (m *Metrics) Request(route string, status int, duration time.Duration) {
	c, ok := (*m.answered.Load())[outcome{route, status}]
	if !ok {
		c = m.count(outcome{route, status})
	}
	c.requests.Inc()
	c.duration.Observe(duration.Seconds())
}

// outcome is an answer that is counted.
type outcome struct {
	route  string
	status int
}

// counted has the metrics of an outcome. To find them by their labels takes longer than to
// count.
type counted struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// count returns the metrics of an outcome and notes them for the next request.
func (m *Metrics) count(o outcome) counted {
	c := counted{
		m.requests.WithLabelValues(o.route, strconv.Itoa(o.status)), m.durations.WithLabelValues(o.route),
	}
	for {
		before := m.answered.Load()
		after := maps.Clone(*before)
		after[o] = c
		if m.answered.CompareAndSwap(before, &after) {
			return c
		}
	}
}
