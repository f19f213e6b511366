package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
)

// shell holds the streams and the common flags of a command.
type shell struct {
	stdout, stderr io.Writer
	place          state.Place
	json           bool
}

// body runs a command on the open directory.
type body func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error

// command gives cmd the common flags, and a body.
func (s *shell) command(cmd *cobra.Command, do body) *cobra.Command {
	settings.AddPlaceFlags(cmd.Flags(), &s.place, "data `folder` of the service")
	cmd.Flags().BoolVar(&s.json, "json", false, "print JSON instead of text: a line for each record, durations in seconds")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) (err error) {
		if err := settings.FromEnvironment(cmd, "data", "database"); err != nil {
			return err
		}
		db, err := s.open(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
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

// open opens the directory, and makes none: a mistyped name must not look like an empty
// directory.
func (s *shell) open(ctx context.Context) (*directory.DB, error) {
	if s.place.Data == "" && s.place.Database == "" {
		return nil, cli.Usagef("no directory: give --data DIR or --database URL, or set ADMITONE_DATA or ADMITONE_DATABASE")
	}
	if err := settings.CheckDatabase(s.place); err != nil {
		return nil, err
	}
	if err := s.place.FindDirectory(); err != nil {
		return nil, err
	}
	db, err := directory.Open(ctx, s.place.Directory())
	if err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	return db.As(shellActor()), nil
}
