package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var directoryUp = prometheus.NewDesc(namespace+"directory_up",
	"Whether the directory answered for this scrape. At 0 no ticket is issued or admitted.", nil, nil)

// directoryTime is the time limit of the question for a scrape.
const directoryTime = 2 * time.Second

// WatchDirectory shows whether the directory answers. Each scrape asks.
func (m *Metrics) WatchDirectory(ask func(context.Context) error) {
	m.registry.MustRegister(state{[]*prometheus.Desc{directoryUp}, func(e *emitter) {
		ctx, cancel := context.WithTimeout(context.Background(), directoryTime)
		defer cancel()
		answered := 0.0
		if ask(ctx) == nil {
			answered = 1
		}
		e.gauge(directoryUp, answered)
	}})
}
