package api

import (
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/admitone/admitone/token"
)

// A span is of one request. Like the log it has the route and not the URL, and of a
// ticket its ID alone, by which it is found in the audit trail. Names are those of
// OpenTelemetry's semantic conventions for HTTP servers.

// startSpan begins the span of a request, in the caller's trace if it names one
// (W3C Trace Context).
func (s *server) startSpan(r *http.Request) (*http.Request, trace.Span) {
	if s.Tracer == nil {
		return r, trace.SpanFromContext(r.Context()) // one that does nothing
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.Tracer.Start(ctx, method(r), trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), span
}

// endSpan says what came of the request.
func endSpan(span trace.Span, r *http.Request, status int) {
	route := pattern(r)
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	span.SetName(method(r) + " " + route)
	span.SetAttributes(
		attribute.String("http.request.method", method(r)), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status), attribute.String("client.address", remote(r)))
	if status >= http.StatusInternalServerError {
		span.SetStatus(otelcodes.Error, "")
	}
	span.End()
}

// traceTicket names the ticket that a request is about.
func traceTicket(r *http.Request, t *token.Ticket) {
	if t == nil || t.ID == (token.ID{}) {
		return
	}
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("admitone.ticket.id", t.ID.String()))
}
