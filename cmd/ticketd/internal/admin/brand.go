package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/text/language"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/token"
)

// checkPages refuses a --language without texts: the pages would stay in the browser's. A
// running service knows its own texts.
func (s *shell) checkPages(cmd *cobra.Command) error {
	f := cmd.Flags().Lookup("language")
	if f == nil || f.Value.String() == "" || s.service.URL != "" {
		return nil
	}
	folder, err := looks.Open(s.pages)
	if err != nil {
		return err
	}
	if _, err := language.Parse(f.Value.String()); err != nil {
		return nil // which the directory refuses
	}
	if err := folder.CheckLanguage(f.Value.String()); err != nil {
		return cli.Usage(cli.ForFlag("language", err))
	}
	return nil
}

// addPagesFlag adds --pages to a command that has --language.
func (s *shell) addPagesFlag(cmd *cobra.Command) {
	if cmd.Flags().Lookup("language") != nil {
		settings.AddPagesFlag(cmd.Flags(), &s.pages)
	}
}

// lifetimeNote says that a lifetime over the service's default maximum needs a flag of the
// service as well. The directory does not have the maximum of the service.
func lifetimeNote(cmd *cobra.Command) string {
	for _, name := range []string{"max-lifetime", "agent-lifetime", "customer-lifetime"} {
		f := cmd.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if d, err := time.ParseDuration(f.Value.String()); err == nil && d > token.MaxLifetime {
			return fmt.Sprintf("ticketd serve issues no ticket for longer than its own --max-lifetime, "+
				"by default %v; a longer --%s has no effect beyond it, and the log of serve says so", token.MaxLifetime, name)
		}
	}
	return ""
}

func brandCommand(s *shell) *cobra.Command {
	var how brandRemoval
	k := kind[directory.Brand]{
		noun: "brand", what: "a brand", arg: "NAME", fields: attribute.Brands,
		example: map[string]string{
			"add": "  ticketd brand add commbox --data /var/lib/ticketd --region GB --required-agent-fields email",
			"set": "  ticketd brand set commbox --data /var/lib/ticketd --one-time --max-lifetime 10m\n" +
				"  ticketd brand set commbox --data /var/lib/ticketd --one-time=default",
			"list":         "  ticketd brand list --data /var/lib/ticketd --json",
			"show":         "  ticketd brand show commbox --data /var/lib/ticketd",
			"remove":       "  ticketd brand remove commbox --data /var/lib/ticketd --with-all --yes",
			"end-sessions": "  ticketd brand end-sessions commbox --data /var/lib/ticketd",
		},
		name: func(b *directory.Brand) string { return b.Name },
		note: func(_ context.Context, _ store, cmd *cobra.Command, _ *directory.Brand) (string, error) {
			return lifetimeNote(cmd), nil
		},
		add: func(db store, ctx context.Context, _, name string, b directory.Brand) (directory.Brand, error) {
			b.Name = name
			if err := db.AddBrand(ctx, b); err != nil {
				return b, err
			}
			return db.Brand(ctx, name)
		},
		get: func(db store, ctx context.Context, _, name string) (directory.Brand, error) {
			return db.Brand(ctx, name)
		},
		update: func(
			db store, ctx context.Context, _, name string, edit func(*directory.Brand) error,
		) (directory.Brand, error) {
			return db.UpdateBrand(ctx, name, edit)
		},
		list: func(db store, ctx context.Context, _, after string) iter.Seq2[directory.Brand, error] {
			return db.Brands(ctx, after)
		},
	}
	cmd := k.command(s, "Manage brands",
		"A brand is a business account. Agents, customers, channels and API keys belong to a\n"+
			"brand, and no record of one brand is found through another.")
	v := verb{"remove", "Remove a brand", `remove removes a brand for good. A brand that has agents, channels, customers or
API keys is removed only with --with-all. remove then says how many there are, and
asks for the brand's name at a terminal; elsewhere, give --yes. An API key of several
brands stays.`, true}
	remove := k.verb(s, v, func(ctx context.Context, db store, cmd *cobra.Command, _, name string) error {
		how.stdin = cmd.InOrStdin()
		return s.removeBrand(ctx, db, name, how)
	})
	remove.Flags().BoolVar(&how.withAll, "with-all", false,
		"remove the brand's agents, channels, customers and API keys too")
	remove.Flags().BoolVar(&how.yes, "yes", false, "with --with-all: remove these records for good, without a question")
	cmd.AddCommand(remove)
	cmd.AddCommand(k.endSessionsCommand(s, "end-sessions signs out everybody who entered the brand before now.",
		func(ctx context.Context, db store, _, name string) (directory.Brand, error) {
			return db.EndBrandSessions(ctx, name)
		}))
	return cmd
}

// brandRemoval is how ticketd brand remove was called.
type brandRemoval struct {
	withAll, yes bool
	stdin        io.Reader
}

// removeBrand removes a brand, and with all its records only if the caller has
// confirmed that. It prints how much was removed.
func (s *shell) removeBrand(ctx context.Context, db store, name string, how brandRemoval) error {
	err := db.RemoveBrand(ctx, name, false)
	has, inUse := errors.AsType[*directory.InUseError](err)
	if err == nil {
		has = &directory.InUseError{Brand: name}
	} else if !inUse {
		return err
	} else if !how.withAll {
		return fmt.Errorf("%w (--with-all)", err)
	}
	if inUse && !how.yes {
		question := fmt.Sprintf("this removes brand %q with %s, for good", name, has.Records())
		if err := s.confirm(ctx, how.stdin, question, name); err != nil {
			return err
		}
	}
	if inUse {
		if err := db.RemoveBrand(ctx, name, true); err != nil {
			return err
		}
	}
	if s.json {
		return json.NewEncoder(s.stdout).Encode(map[string]any{
			"brand": name, "agents": has.Agents, "channels": has.Channels, "customers": has.Customers, "apiKeys": has.Keys,
		})
	}
	with := ""
	if inUse {
		with = " with " + has.Records()
	}
	_, err = fmt.Fprintf(s.stdout, "removed brand %q%s\n", name, with)
	return err
}
