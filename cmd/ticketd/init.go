package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

func initCommand(stdout io.Writer) *cobra.Command {
	var o options
	asJSON := false
	cmd := &cobra.Command{
		Use:   "init --data DIR",
		Short: "Make an empty data folder, for serve",
		Long: `init makes the folder with what serve needs: the keyrings ticket.keyring,
session.keyring and channel.keyring, the key-encryption key kek.key unless --kek
names another, and an empty directory. With --database the directory is there, and
may have been made before.

It changes nothing that is there: where it finds one of its files, it fails, and
where it fails it leaves none behind. A further service of the same deployment gets
copies of the keyrings, not new ones.`,
		Example: `  ticketd init --data /var/lib/ticketd
  ticketd init --data /var/lib/ticketd --realm prod --kek aws-kms://arn:aws:kms:eu-west-1:123456789012:key/ID
  ticketd init --data /var/lib/ticketd --database postgres://ticketd@db.internal/ticketd`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "`folder` to make (environment: ADMITONE_DATA)")
	f.StringVar(&o.database, "database", "", databaseUsage)
	o.keyFlags(cmd)
	f.DurationVar(&o.maxLifetime, "max-lifetime", token.MaxLifetime, "longest lifetime of a ticket that serve will be told of; keys are kept for as long")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd, serviceFlags(cmd)...); err != nil {
			return err
		}
		if o.data == "" {
			return cli.Usagef("no data folder: give --data DIR")
		}
		if err := o.checkState(); err != nil {
			return err
		}
		made, err := makeData(cmd.Context(), o)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(stdout).Encode(map[string]any{"made": made})
		}
		where := []string{"--data", o.data}
		if o.database != "" {
			where = []string{"--database", "…"}
		}
		_, err = fmt.Fprintf(stdout, "made %s\nnext: %s\n", strings.Join(made, "\n     "), cli.Line(append([]string{"ticketd", "brand", "add", "NAME"}, where...)...))
		return err
	})
}

// checkDatabase refuses a --database that is none. Its error quotes nothing of it.
func (o *options) checkDatabase() error {
	err := directory.Check(o.database)
	if _, ok := errors.AsType[*fs.PathError](err); ok || err == nil {
		return nil // a file that cannot be read may be there later: opening will tell
	}
	if wrong, ok := errors.AsType[*token.ConfigError](err); ok {
		return cli.Usagef("--database %s", wrong.Reason)
	}
	return cli.Usagef("--database: %w", err)
}

// checkState refuses what is wrong with the options that the directory and the keys
// depend on.
func (o *options) checkState() error {
	if err := o.checkDatabase(); err != nil {
		return err
	}
	if err := token.CheckRealm("keyring.Config.Realm", o.realm); err != nil {
		return cli.Usage(cli.ForFlag("realm", err))
	}
	if o.kek != "" {
		if err := kms.CheckURI(o.kek); err != nil {
			return cli.Usage(cli.ForFlag("kek", err))
		}
	}
	if o.maxLifetime < time.Second || o.maxLifetime > maxMaxLifetime {
		return cli.Usagef("--max-lifetime %v is not from 1s to %v", o.maxLifetime, maxMaxLifetime)
	}
	return nil
}

// makeData makes a data folder and all that is in it, and returns the files.
func makeData(ctx context.Context, o options) (made []string, err error) {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := lockData(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if o.kek == "" {
		made = append(made, o.dataFile("kek.key"))
	}
	for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel} {
		made = append(made, o.dataFile(keyringFile(kind)))
	}
	if !strings.Contains(o.directory(), "://") {
		made = append(made, o.directory())
	}
	for _, path := range made {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s is there already: nothing was changed; remove what is left of an init that failed, or give another --data", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	// What an init that fails has made goes again, so that the next one finds nothing.
	undo := absent(made)
	defer func() {
		if err == nil {
			return
		}
		for _, path := range undo {
			if failed := os.Remove(path); !errors.Is(failed, fs.ErrNotExist) {
				err = errors.Join(err, failed)
			}
		}
	}()
	db, err := directory.Open(ctx, o.directory())
	if err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	_, err = makeKeys(o)
	return made, err
}

// absent returns which of the files, and of those that are kept beside them, are not
// there.
func absent(paths []string) (all []string) {
	for _, path := range paths {
		for _, suffix := range []string{"", ".audit", ".lock", "-wal", "-shm"} {
			if _, err := os.Lstat(path + suffix); errors.Is(err, fs.ErrNotExist) {
				all = append(all, path+suffix)
			}
		}
	}
	return all
}
