package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
)

// reloadable are the settings that take effect while the service runs.
var reloadable = []string{"log-level", "rate-limit", "rate-burst", "trusted-proxies", "proxy-header", "integer-status", "nameless-ticket", "agent-home", "check-headers"}

// reloadEvery is how often files are looked at.
const reloadEvery = time.Second

// settings are where the options of a running service come from.
type settings struct {
	given map[string]string // on the command line
	cmd   *cobra.Command    // the flags as they are in effect
	level *slog.LevelVar
	files *watch
}

// given returns the flags of the command line.
func givenFlags(cmd *cobra.Command) map[string]string {
	given := make(map[string]string)
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	return given
}

// complete takes from the environment, and then from the configuration file, what
// the command line does not say, and checks the whole.
func (o *options) complete(cmd *cobra.Command) error {
	if err := fromEnvironment(cmd, serviceFlags(cmd)...); err != nil {
		return err
	}
	if o.config != "" {
		if err := fromConfig(cmd, o.config); err != nil {
			return err
		}
	}
	return o.check(cmd)
}

// reread reads the options anew.
func (c *settings) reread() (o options, cmd *cobra.Command, err error) {
	cmd = &cobra.Command{Use: "serve"}
	o.serveFlags(cmd)
	for name, text := range c.given {
		if err := cmd.Flags().Set(name, text); err != nil {
			return o, cmd, err
		}
	}
	return o, cmd, o.complete(cmd)
}

// difference returns the names of the flags that differ: those that take effect
// now, and those that need a restart.
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

// reload puts the options into effect that can be while the service runs. Requests
// that are being answered go by those of before.
func (s *service) reload(c *settings) {
	o, cmd, err := c.reread()
	if err != nil {
		s.log.Error("the settings were not taken; those before stay in effect", "error", locate(cmd, err))
		return
	}
	now, restart := difference(c.cmd, cmd)
	handler, err := s.newAPI(o)
	if err != nil {
		s.log.Error("the settings were not taken; those before stay in effect", "error", err)
		return
	}
	if len(now) > 0 {
		s.front.api.Store(&handler)
	}
	c.level.Set(levels[o.log.level])
	s.log.Info("settings read", "changed", strings.Join(now, " "))
	if len(restart) > 0 {
		s.log.Warn("settings that changed take effect at the next start", "settings", strings.Join(restart, " "))
	}
	// Those of a restart stay as they are, and are told again when they change again.
	for _, name := range now {
		_ = c.cmd.Flags().Set(name, cmd.Flags().Lookup(name).Value.String()) // it came from there
	}
}

// newAPI returns the API under the options.
func (s *service) newAPI(o options) (_ http.Handler, err error) {
	c := s.api
	c.Limit = ratelimit.Limit{Rate: o.limits.rate, Burst: o.limits.burst}
	c.Proxies, c.IntegerStatus = o.limits.parsed, o.limits.intStatus
	c.NamelessTicket, c.AgentHome, c.Headers = o.doors.nameless, o.doors.home, o.doors.parsed
	return api.New(c)
}

// keepFresh reads settings and certificate again when their files change, and on
// SIGHUP.
func (s *service) keepFresh(ctx context.Context, c *settings, hangup <-chan os.Signal) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	var pair *watch
	if s.certificate != nil {
		pair = s.certificate.files
	}
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			asked = true
		case <-tick.C:
		}
		if c.files.changed(asked) {
			s.reload(c)
		}
		if pair != nil && pair.changed(asked) {
			s.certificate.reload()
		}
	}
}
