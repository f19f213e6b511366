package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// openTracer opens what sends spans to where OpenTelemetry's own environment
// variables say, or returns nil where they name no place. An exporter that fails
// delays no request; spans are dropped, and the log says so.
func (s *service) openTracer(ctx context.Context) (trace.Tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { s.log.Warn("traces", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the exporter of traces: %w", err)
	}
	// What the environment says of the service wins.
	about, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", "ticketd")), resource.Environment())
	if err != nil {
		return nil, fmt.Errorf("opening the exporter of traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	s.closers = append(s.closers, closerFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			s.log.Warn("the last traces were not sent", "error", err)
		}
	}))
	return provider.Tracer("github.com/admitone/admitone/cmd/ticketd"), nil
}
