package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var expiring = prometheus.NewDesc(namespace+"api_keys_expiring",
	"Good API keys that expire within 1, 7 or 30 days; a key that was replaced with a grace is one of them.",
	[]string{"within"}, nil)

// WatchAPIKeys shows how many API keys expire soon. within returns how many do so within a
// time from now, and false if nobody knows.
func (m *Metrics) WatchAPIKeys(within func(time.Duration) (int, bool)) {
	m.registry.MustRegister(state{[]*prometheus.Desc{expiring}, func(e *emitter) {
		const day = 24 * time.Hour
		for name, d := range map[string]time.Duration{"1d": day, "7d": 7 * day, "30d": 30 * day} {
			if n, ok := within(d); ok {
				e.gauge(expiring, float64(n), name)
			}
		}
	}})
}
