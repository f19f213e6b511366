// Package settings turns flags, environment variables and the configuration file into
// the values that ticketd's other packages need, and reads them again while the
// service runs.
//
// A setting has the value of its flag on the command line. Without the flag, the
// setting has the value of its environment variable (--public-url is
// ADMITONE_PUBLIC_URL); without the variable, the value in the file of --config;
// without that, its default. This file is that order.
//
// Each group of flags has a file: where the state is (place.go), listeners
// (listen.go), the replay store (replay.go), limits and proxies (limits.go), how
// people enter (entry.go) and the log (log.go). The values belong to packages state
// and service, which know nothing of flags.
package settings

import (
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// Load completes the flags from the environment and the configuration file, and checks
// all flags.
func (s *Service) Load(cmd *cobra.Command) (service.Config, error) {
	if err := FromEnvironment(cmd, Names(cmd)...); err != nil {
		return service.Config{}, err
	}
	if s.configFile != "" {
		if err := fromFile(cmd, s.configFile); err != nil {
			return service.Config{}, err
		}
	}
	if err := s.check(cmd); err != nil {
		return service.Config{}, err
	}
	return s.config, nil
}

// Mistakes completes the flags as Load does, and returns all mistakes, not only the first. Each
// is an error for Explain. The configuration is that of the settings without a mistake.
func (s *Service) Mistakes(cmd *cobra.Command) (service.Config, []error) {
	var all []error
	add := func(err error) {
		if err != nil {
			all = append(all, err)
		}
	}
	for _, err := range misspelt() {
		add(err)
	}
	for _, name := range Names(cmd) {
		add(setFromEnvironment(cmd, name))
	}
	if s.configFile != "" {
		add(fromFile(cmd, s.configFile))
	}
	for _, check := range s.checks(cmd) {
		add(check())
	}
	return s.config, all
}
