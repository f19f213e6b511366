package service

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/keyring"
)

// metricsPath is where Prometheus finds the metrics.
const metricsPath = "/metrics"

// scrapeHandler serves the metrics, and the state of the keyrings. Both have a
// listener of their own or none: behind a proxy on this machine every request comes
// from the loopback interface, so nothing about a request to the main listener tells
// an operator from a stranger.
func scrapeHandler(
	m *metrics.Metrics, report func(context.Context) keyringReport, log *slog.Logger,
) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, m.Handler(log))
	mux.HandleFunc("GET /keyring", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(report(r.Context())) // the client may be gone
	})
	return mux
}

// keyringReport is the answer that "keyring status" and "keyring promote --wait-for"
// read. It has the IDs and states of the keys in use, and no key.
type keyringReport struct {
	Time     time.Time        `json:"time"` // by the clock of this service
	Keyrings []keyring.Report `json:"keyrings"`
	Issuers  []map[string]any `json:"issuers"` // as the administration shows them; null: the directory is away
}

// reportTime is the time limit for the list of issuers.
const reportTime = 2 * time.Second

// keyringReport returns the state of the keyrings, and the named issuers.
func (s *Service) keyringReport(ctx context.Context) keyringReport {
	r := keyringReport{Time: time.Now().UTC(), Keyrings: s.report()}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	_ = s.register.Write(ctx) // else the list is a few seconds old
	all, err := s.directory.Issuers(ctx)
	if err != nil {
		return r
	}
	r.Issuers = []map[string]any{}
	for i := range all {
		r.Issuers = append(r.Issuers, attribute.Members(attribute.Issuers, &all[i]))
	}
	return r
}
