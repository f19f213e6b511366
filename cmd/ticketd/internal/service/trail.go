package service

import (
	"context"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
)

// startTrail starts to write the events of tickets and keyrings into the audit trail. The module
// bench builds a ticketd without this file, and with another startTrail.
func (s *Service) startTrail(ctx context.Context) error {
	c := &s.config
	name, machine, err := s.name()
	if err != nil {
		return err
	}
	retention := c.Retention
	if retention == 0 {
		retention = audit.Retention
	}
	trail, err := audit.Start(ctx, audit.Config{
		Directory: s.directory, Name: name, Machine: machine, Retention: retention, Log: s.log,
		Written: s.metrics.AuditWritten, Dropped: s.metrics.AuditDropped, Now: time.Now,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, trail)
	for _, r := range s.report() {
		trail.Keyring(r)
	}
	s.trail.Store(trail)
	return nil
}
