package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/remote"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
)

// shell holds the streams and the common flags of a command.
type shell struct {
	stdout, stderr io.Writer
	place          state.Place
	service        client.Config // with a URL: the running service, in place of a directory
	keyFile        string
	json           bool
	pages          string // folder of texts, of commands that set a language
}

// body runs a command on the open store.
type body func(ctx context.Context, db store, cmd *cobra.Command, args []string) error

// command gives cmd the common flags, and a body.
func (s *shell) command(cmd *cobra.Command, do body) *cobra.Command {
	settings.AddPlaceFlags(cmd.Flags(), &s.place, "data `folder` of the service")
	settings.AddServiceFlags(cmd.Flags(), &s.service, &s.keyFile)
	cmd.Flags().BoolVar(&s.json, "json", false, "print JSON instead of text: a line for each record, durations in seconds")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) (err error) {
		db, end, err := s.open(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
		err = do(cmd.Context(), db, cmd, args)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			if flag := cmd.Flags().Lookup(flagName(wrong.Field)); flag != nil {
				return cli.Usage(cli.ForFlag(flag.Name, wrong))
			}
			return cli.Usage(wrong)
		}
		return err
	})
}

// flagName returns the name that a flag for the field of a record has: unique-id for
// uniqueId.
func flagName(field string) string {
	var b strings.Builder
	for _, r := range field {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// open opens the store that the flags and the environment name. It makes no directory: a
// mistyped name must not look like an empty directory.
func (s *shell) open(cmd *cobra.Command) (db store, end func() error, err error) {
	names := []string{"data", "database", "url"}
	if cmd.Flags().Lookup("pages") != nil {
		names = append(names, "pages")
	}
	if err := settings.FromEnvironment(cmd, names...); err != nil {
		return nil, nil, err
	}
	if err := settings.CheckService(cmd); err != nil {
		return nil, nil, err
	}
	switch {
	case s.service.URL != "":
		service, err := s.call()
		return service, func() error { return nil }, err
	case s.place.Data == "" && s.place.Database == "":
		return nil, nil, cli.Usagef("no directory: give --data DIR or --database URL, or set ADMITONE_DATA or " +
			"ADMITONE_DATABASE; or give --url URL for a running service")
	}
	if err := settings.CheckDatabase(s.place); err != nil {
		return nil, nil, err
	}
	if err := s.place.FindDirectory(); err != nil {
		return nil, nil, err
	}
	opened, err := directory.Open(cmd.Context(), s.place.Directory())
	if err != nil {
		return nil, nil, fmt.Errorf("opening the directory: %w", err)
	}
	return here{opened.As(Actor())}, opened.Close, nil
}

// call returns the store of a running service.
func (s *shell) call() (store, error) {
	var err error
	if s.service.APIKey, err = cli.APIKey(s.keyFile); err != nil {
		return nil, err
	}
	service, err := remote.New(s.service)
	if err != nil {
		return nil, cli.ForService(err)
	}
	return service, nil
}
