package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/backup"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
)

// placed gives a command the flags of a place, and checks them. FILE is the argument.
func placed(
	cmd *cobra.Command, asJSON *bool, do func(ctx context.Context, p state.Place, file string) error,
) *cobra.Command {
	var place state.Place
	settings.AddPlaceFlags(cmd.Flags(), &place, "")
	settings.AddKeyFlags(cmd.Flags(), &place)
	cmd.Flags().BoolVar(asJSON, "json", false, "print one line of JSON instead of text")
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if err := settings.FromEnvironment(cmd, "data", "database", "keyrings", "realm", "kek"); err != nil {
			return err
		}
		if place.Data == "" {
			return cli.Usagef("no data folder: give --data DIR, or set ADMITONE_DATA")
		}
		if err := settings.CheckPlace(place); err != nil {
			return err
		}
		err := do(cmd.Context(), place, args[0])
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("nothing is left of it: %w", err)
		}
		return err
	})
}

func backupCommand(stdout, stderr io.Writer) *cobra.Command {
	var o backup.Options
	asJSON := false
	cmd := &cobra.Command{
		Use:   "backup FILE --data DIR",
		Short: "Write directory and keyrings into an encrypted file",
		Long: `backup writes the state of a ticketd into FILE: the directory, as it is at one
moment, with all records, the hashes of API keys and the audit trail; all keyrings
of the folder with their audit logs; the generations of the keyrings; and replay.json,
which says which replay store was in use. A service may run meanwhile, and answers as
ever. FILE must not exist, and appears when it is whole; - is standard output.

FILE is encrypted under the key-encryption key (KEK), and bound to the realm. The KEK
is not in FILE: keep the KEK in another place, since without it FILE is useless. Redeemed
tickets are not in FILE either; see "ticketd restore --help" for what this means.`,
		Example: `  ticketd backup /backup/ticketd-monday --data /var/lib/ticketd
  ssh login.internal ticketd backup - --data /var/lib/ticketd
  ticketd backup /backup/ticketd-monday --database postgres://ticketd@db.internal/ticketd --data /var/lib/ticketd`,
	}
	cmd.Flags().BoolVar(&o.WithoutEvents, "without-events", false, "leave the audit trail out")
	return placed(cmd, &asJSON, func(ctx context.Context, p state.Place, file string) (err error) {
		if err := p.FindDirectory(); err != nil {
			return err
		}
		rows := rowCount(stderr, asJSON, "rows saved")
		o.Progress = rows.set
		var did backup.Written
		out := stdout
		if file == "-" {
			out = stderr
			did, err = backup.Write(ctx, stdout, p, o)
		} else {
			did, err = backup.WriteFile(ctx, file, p, o)
		}
		rows.end()
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(out).Encode(did)
		}
		_, err = fmt.Fprintf(out, "saved %s rows, %s\nnext, if they are needed: %s\n", humanize.Comma(did.Rows),
			strings.Join(did.Keyrings, ", "), cli.Line("ticketd", "restore", cli.Operand(file), "--data", "NEW"))
		return err
	})
}

func restoreCommand(stdout, stderr io.Writer) *cobra.Command {
	var o backup.RestoreOptions
	asJSON := false
	cmd := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Put a backup in place",
		Long: `restore puts the directory and the keyrings of FILE into the data folder, or the
directory into the database of --database. FILE may be a backup of the other kind of
database; - is standard input. Stop all services first.

Nothing is overwritten: the directory must not exist, and a database must have no
records. Keyrings that are there stay, if they are no older than those of FILE. Nothing
is put in place before the whole of FILE was read and found good. The key-encryption key
must be there: as DIR/kek.key, or by --kek.

What happened after the backup is lost: which tickets were redeemed or revoked, who
signed out, which agents and API keys were removed. So restore ends all sessions, and
refuses all tickets issued before it, in brands of the time since the backup as well.
Customers get numbers behind a gap of 1,000,000, since numbers given after the backup
would come again. What was removed or revoked after the backup is good again: remove
and revoke it anew before you start the service.

--keep-sessions is for a move to another database: sessions and tickets stay good.
Nothing may have happened since the backup, so it must have been made while no
service ran, and none may have run since.

If restore is interrupted, no service starts from the folder: run restore again with
the same FILE.`,
		Example: `  ticketd restore /backup/ticketd-monday --data /var/lib/ticketd
  ticketd restore /backup/ticketd-monday --data /var/lib/ticketd --database postgres://ticketd@db.internal/ticketd
  ticketd restore - --data /var/lib/ticketd </backup/ticketd-monday`,
	}
	cmd.Flags().BoolVar(&o.KeepSessions, "keep-sessions", false,
		"keep sessions and tickets: nothing happened since the backup, which was made while no service ran")
	return placed(cmd, &asJSON, func(ctx context.Context, p state.Place, file string) error {
		in := cmd.InOrStdin()
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		rows := rowCount(stderr, asJSON, "rows restored")
		o.Progress, o.Actor = rows.set, admin.Actor()
		did, err := restore(ctx, in, p, o)
		rows.end()
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(stdout).Encode(did)
		}
		return reportRestore(stdout, did, p, o.KeepSessions)
	})
}

// restore makes the folders, and restores under the lock of the data folder.
func restore(
	ctx context.Context, in io.Reader, p state.Place, o backup.RestoreOptions,
) (did backup.Restored, err error) {
	for _, folder := range []string{p.Data, p.Keyrings} {
		if folder == "" {
			continue
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return did, fmt.Errorf("making the folder: %w", err)
		}
	}
	lock, err := p.LockForRestore()
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return backup.Restore(ctx, in, p, o)
}

func reportRestore(w io.Writer, did backup.Restored, p state.Place, kept bool) error {
	text := fmt.Sprintf("restored %s rows, as they were at %s\n", humanize.Comma(did.Rows), did.Made.Format(time.RFC3339))
	for _, path := range did.Restored {
		text += "made " + path + "\n"
	}
	for _, path := range did.Kept {
		text += "kept " + path + "\n"
	}
	if !kept {
		text += "all sessions are over, and so are all tickets issued before now\n" +
			"before you start the service: remove and revoke again what was removed or revoked since the backup\n"
	}
	_, err := fmt.Fprintf(w, "%snext: %s\n", text, cli.Line("ticketd", "serve", "--data", p.Data))
	return err
}

// A counter shows a number of rows on a terminal.
type counter struct{ bar *progressbar.ProgressBar }

func rowCount(stderr io.Writer, silent bool, what string) counter {
	if silent || !cli.IsTerminal(stderr) {
		stderr = io.Discard
	}
	return counter{progressbar.NewOptions64(-1, progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0))} // its goroutine has a data race
}

func (c counter) set(rows int64) { _ = c.bar.Set64(rows) }

func (c counter) end() { _ = c.bar.Exit() }
