package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var certificateRemaining = prometheus.NewDesc(namespace+"certificate_remaining_seconds",
	"Time until the end of the TLS certificate in use; below 0, the certificate has ended.", nil, nil)

// WatchCertificate shows how long the TLS certificate is good. ends returns its end.
func (m *Metrics) WatchCertificate(ends func() time.Time) {
	m.registry.MustRegister(state{[]*prometheus.Desc{certificateRemaining}, func(e *emitter) {
		e.gauge(certificateRemaining, time.Until(ends()).Seconds())
	}})
}
