package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// admin is what the commands that look after the directory have in common. They
// work beside a service that runs: it caches nothing of the directory.
type admin struct {
	stdout, stderr io.Writer
	opts           options
	json           bool
}

// flags adds the flags that say where the directory is.
func (a *admin) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.opts.data, "data", "", "data `folder` of the service (environment: ADMITONE_DATA)")
	cmd.Flags().StringVar(&a.opts.database, "database", "", databaseUsage)
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON instead of text, one line for each record; durations are in seconds")
}

// command gives cmd the common flags, and a body that has the directory.
func (a *admin) command(cmd *cobra.Command, body func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error) *cobra.Command {
	a.flags(cmd)
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) (err error) {
		if err := fromEnvironment(cmd, "data", "database"); err != nil {
			return err
		}
		db, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		err = body(cmd.Context(), db, cmd, args)
		if field, ok := errors.AsType[*directory.FieldError](err); ok {
			return cli.Usagef("%w", field)
		}
		return err
	})
}

// open opens a directory that is there. It makes none: one that is mistyped must
// not look like an empty one.
func (a *admin) open(ctx context.Context) (*directory.DB, error) {
	if a.opts.data == "" && a.opts.database == "" {
		return nil, cli.Usagef("no directory: give --data DIR or --database URL, or set ADMITONE_DATA or ADMITONE_DATABASE")
	}
	if err := a.opts.checkDatabase(); err != nil {
		return nil, err
	}
	if err := a.opts.findDirectory(); err != nil {
		return nil, err
	}
	db, err := directory.Open(ctx, a.opts.directory())
	if err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	return db, nil
}

// findDirectory fails if the directory is a file that is not there, or has nothing
// in it: it would become a new one.
func (o *options) findDirectory() error {
	path := o.directory()
	if strings.Contains(path, "://") {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no directory: %w; mount the data folder, or make one with: ticketd init --data DIR", err)
	case err != nil:
		return fmt.Errorf("no directory: %w", err)
	case info.Size() == 0:
		return fmt.Errorf("no directory: %s is empty; restore it from a copy", path)
	}
	return nil
}
