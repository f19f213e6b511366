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

// startSpan begins the span of a request, in the caller's trace if the request names one
// (W3C Trace Context). Like the log, a span has the route and not the URL, and the
// ticket's ID and not the ticket. Names are those of OpenTelemetry's semantic conventions
// for HTTP servers.
func (s *server) startSpan(r *http.Request) (*http.Request, trace.Span) {
	if s.Tracer == nil {
		return r, trace.SpanFromContext(r.Context()) // a span without effect
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.Tracer.Start(ctx, method(r), trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), span
}

// endSpan adds the outcome of the request and ends the span.
func endSpan(span trace.Span, r *http.Request, status int) {
	route := pattern(r)
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	span.SetName(method(r) + " " + route)
	span.SetAttributes(
		attribute.String("http.request.method", method(r)), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status), attribute.String("client.address", remote(r)),
		attribute.String("admitone.request.id", visitOf(r).id[0]))
	if status >= http.StatusInternalServerError {
		span.SetStatus(otelcodes.Error, "")
	}
	span.End()
}

// traceTicket adds the ticket's ID to the span of a request.
func traceTicket(r *http.Request, t *token.Ticket) {
	span := trace.SpanFromContext(r.Context())
	if t == nil || t.ID == (token.ID{}) || !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("admitone.ticket.id", t.ID.String()))
}
