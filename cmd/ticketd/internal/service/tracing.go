package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traceTimeout is how long the last spans may take to be sent.
const traceTimeout = 5 * time.Second

// openTracer opens a tracer that sends spans to the place named by OpenTelemetry's own
// environment variables. Without these the tracer is nil. An exporter that fails
// delays no request: spans are dropped, and the log tells. Closing stop sends the last
// spans.
func openTracer(ctx context.Context, log *slog.Logger) (_ trace.Tracer, stop io.Closer, err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, closerFunc(func() {}), nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the exporter of traces: %w", err)
	}
	// The environment may name the service otherwise.
	about, err := resource.Merge(
		resource.NewSchemaless(attribute.String("service.name", "ticketd")), resource.Environment())
	if err != nil {
		return nil, nil, fmt.Errorf("opening the exporter of traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	stop = closerFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), traceTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last traces were not sent", "error", err)
		}
	})
	return provider.Tracer("github.com/admitone/admitone/cmd/ticketd"), stop, nil
}

// closerFunc is a function for closing without an error.
type closerFunc func()

// Close calls the function.
func (f closerFunc) Close() error { f(); return nil }
