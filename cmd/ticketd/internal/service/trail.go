package service

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
)

// startTrail starts to write the events of tickets and keyrings into the audit trail. The
// data folder is locked, so the host and the folder name one service at a time.
func (s *Service) startTrail(ctx context.Context) error {
	c := &s.config
	machine, err := os.Hostname()
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(c.State.Data)
	if err != nil {
		return err
	}
	retention := c.Retention
	if retention == 0 {
		retention = audit.Retention
	}
	trail, err := audit.Start(ctx, audit.Config{
		Directory: s.directory, Name: machine + ":" + folder, Machine: machine, Retention: retention, Log: s.log,
		Written: s.metrics.AuditWritten, Dropped: s.metrics.AuditDropped, Now: time.Now,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, trail)
	for _, r := range s.keyrings.Report() {
		trail.Keyring(r)
	}
	s.trail.Store(trail)
	return nil
}
