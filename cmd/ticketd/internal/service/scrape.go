package service

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
)

// metricsPath is where Prometheus finds the metrics.
const metricsPath = "/metrics"

// scrapeHandler serves the metrics, and the state of the keyrings. Both have a
// listener of their own or none: behind a proxy on this machine every request comes
// from the loopback interface, so nothing about a request to the main listener tells
// an operator from a stranger.
func scrapeHandler(m *metrics.Metrics, k *state.Keyrings, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, m.Handler(log))
	mux.HandleFunc("GET /keyring", func(w http.ResponseWriter, _ *http.Request) { writeKeyrings(w, k) })
	return mux
}

// keyringReport is the answer that "keyring status" and "keyring promote --wait-for"
// read.
type keyringReport struct {
	Time     time.Time        `json:"time"` // by the clock of this service
	Keyrings []keyring.Report `json:"keyrings"`
}

// writeKeyrings writes the IDs and states of the keys in use. The report holds no key.
func writeKeyrings(w http.ResponseWriter, k *state.Keyrings) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(keyringReport{Time: time.Now().UTC(), Keyrings: k.Report()})
}
