package settings

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// reloadable are the settings with an immediate effect: the fields of service.Live, and
// the level of the log.
var reloadable = []string{
	"log-level", "rate-limit", "rate-burst", "trusted-proxies", "proxy-header", "integer-status", "nameless-ticket",
	"agent-home", "agent-sign-in-url", "check-headers", "check-any-brand",
}

// reloadEvery is the time between two looks at the files.
const reloadEvery = time.Second

// Source is where the settings of a running service come from.
type Source struct {
	flags       *Service
	cmd         *cobra.Command    // its flags have the values in effect
	commandLine map[string]string // flags of the command line
	file        *watch            // configuration file
	certificate *watch            // TLS certificate and its key
	issuers     *watch            // file of the named issuers
	pages       *watch            // folders of the pages' texts and logos
	log         *slog.Logger
}

// Open loads the settings of serve, whose flags cmd has parsed, and opens the log on w.
// The files are watched from before they are read.
func Open(cmd *cobra.Command, flags *Service, w io.Writer) (*Source, service.Config, error) {
	s := &Source{flags: flags, cmd: cmd, commandLine: make(map[string]string)}
	cmd.Flags().Visit(func(f *pflag.Flag) { s.commandLine[f.Name] = f.Value.String() })
	if err := FromEnvironment(cmd, "config"); err != nil {
		return nil, service.Config{}, err
	}
	s.file = watchFiles(flags.configFile)
	c, err := flags.Load(cmd)
	if err != nil {
		return nil, c, err
	}
	s.certificate = watchFiles(c.CertFile, c.KeyFile)
	s.issuers = watchFiles(c.Issuers)
	s.pages = watchFiles()
	if c.Pages != "" {
		s.pages = watchFiles(looks.Folders(c.Pages)...)
	}
	s.log = flags.OpenLog(w)
	c.Log = s.log
	return s, c, nil
}

// watchFiles watches the files; empty names are left out.
func watchFiles(paths ...string) *watch {
	return newWatch(slices.DeleteFunc(paths, func(path string) bool { return path == "" })...)
}

// Keep puts settings, the certificate, the named issuers, and texts and logos into effect again whenever their
// files change, and on each hangup, until ctx is done.
func (s *Source) Keep(ctx context.Context, hangup <-chan os.Signal, running *service.Service) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			asked = true
		case <-tick.C:
		}
		if s.file.changed(asked) {
			s.reload(running)
		}
		if s.certificate.changed(asked) {
			s.reloadCertificate(running)
		}
		if s.issuers.changed(asked) {
			s.reloadIssuers(running)
		}
		if s.pages.changed(asked) {
			s.reloadPages(running)
		}
	}
}

// reread reads the settings anew.
func (s *Source) reread() (*Service, service.Config, *cobra.Command, error) {
	cmd, flags := &cobra.Command{Use: "serve"}, new(Service)
	flags.AddServeFlags(cmd.Flags())
	for name, text := range s.commandLine {
		if err := cmd.Flags().Set(name, text); err != nil {
			return flags, service.Config{}, cmd, err
		}
	}
	c, err := flags.Load(cmd)
	return flags, c, cmd, err
}

// reload puts the changed live settings into effect. If a setting is wrong, all
// settings stay in effect as before.
func (s *Source) reload(running *service.Service) {
	flags, c, cmd, err := s.reread()
	now, restart := difference(s.cmd, cmd)
	if err == nil && len(now) > 0 {
		err = running.Apply(c.Live)
	}
	if err != nil {
		s.log.Error("the settings were not taken; those before stay in effect", "error", Explain(cmd, err))
		return
	}
	s.flags.log.setLevel(flags.log.level)
	s.log.Info("settings read", "changed", strings.Join(now, " "))
	if len(restart) > 0 {
		s.log.Warn("settings that changed take effect at the next start", "settings", strings.Join(restart, " "))
	}
	// Settings that need a restart keep the value in effect, so the next change is
	// logged again.
	for _, name := range now {
		_ = s.cmd.Flags().Set(name, cmd.Flags().Lookup(name).Value.String()) // the flag took this value before
	}
}

// reloadCertificate reads the TLS certificate again.
func (s *Source) reloadCertificate(running *service.Service) {
	if err := running.ReloadCertificate(); err != nil {
		s.log.Error("the certificate was not taken; the one before stays in use", "error", Explain(s.cmd, err))
	}
}

// reloadIssuers reads the named issuers again.
func (s *Source) reloadIssuers(running *service.Service) {
	if err := running.ReloadIssuers(); err != nil {
		s.log.Error("the issuers were not taken; those before stay in use", "error", Explain(s.cmd, err))
	}
}

// reloadPages reads the pages' texts and logos again.
func (s *Source) reloadPages(running *service.Service) {
	if err := running.ReloadPages(); err != nil {
		s.log.Error("texts and logos were not taken; those before stay in use", "error", Explain(s.cmd, err))
	}
}

// difference returns the names of the flags with different values, in two lists:
// settings for now, and settings for the next start.
func difference(a, b *cobra.Command) (now, restart []string) {
	a.Flags().VisitAll(func(f *pflag.Flag) {
		other := b.Flags().Lookup(f.Name)
		switch {
		case other == nil || other.Value.String() == f.Value.String():
		case slices.Contains(reloadable, f.Name):
			now = append(now, f.Name)
		default:
			restart = append(restart, f.Name)
		}
	})
	return now, restart
}
