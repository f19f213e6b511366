package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
)

// kind describes a kind of record of the directory. Its commands add, set, list, show
// and remove records.
type kind[T any] struct {
	noun    string // name of the command: brand
	what    string // name in a sentence: a brand
	arg     string // argument that names a record: NAME
	ofBrand bool   // each record belongs to a brand, which --brand names
	given   bool   // the directory chooses the name, and add takes none
	fields  []attribute.Field[T]
	example map[string]string // by verb

	name func(*T) string

	// The methods of the store for the kind, as method expressions; add and remove are nil
	// for a kind with commands of its own.
	add    func(db store, ctx context.Context, brand, name string, record T) (T, error)
	get    func(db store, ctx context.Context, brand, name string) (T, error)
	update func(db store, ctx context.Context, brand, name string, edit func(*T) error) (T, error)
	list   func(db store, ctx context.Context, brand, after string) iter.Seq2[T, error]
	remove func(db store, ctx context.Context, brand, name string) error

	// none returns the text of an empty field in a list; may be nil, which stands for -.
	none func(name string, record *T) string

	// prepare completes a record after its flags are set; may be nil.
	prepare func(ctx context.Context, db store, cmd *cobra.Command, brand string, record *T) error

	// note returns a line about a record that was added or changed, "" for none; may be nil.
	note func(ctx context.Context, db store, cmd *cobra.Command, record *T) (string, error)

	// remind returns a line about a record in a list, "" for none; may be nil.
	remind func(record *T) string
}

// verb describes one command of a kind.
type verb struct {
	name, short, long string
	named             bool // takes the name of a record
}

// recordBody is what a command does. The name is empty if the verb takes none.
type recordBody func(ctx context.Context, db store, cmd *cobra.Command, brand, name string) error

// verb makes a command of the kind.
func (k *kind[T]) verb(s *shell, v verb, do recordBody) *cobra.Command {
	use, args := v.name, cobra.NoArgs
	if v.named {
		use, args = v.name+" "+k.arg, cobra.ExactArgs(1)
	}
	var brand string
	if k.ofBrand {
		use += " --brand BRAND"
	}
	cmd := &cobra.Command{Use: use, Short: v.short, Long: v.long, Example: k.example[v.name], Args: args}
	if k.ofBrand {
		s.addBrandFlag(cmd, &brand)
	}
	if v.named && v.name != "add" {
		cmd.ValidArgsFunction = k.offer(s, &brand)
	}
	return s.command(cmd, func(ctx context.Context, db store, cmd *cobra.Command, args []string) error {
		name := ""
		if v.named {
			name = args[0]
		}
		return do(ctx, db, cmd, brand, name)
	})
}

// offer completes the name of a record.
func (k *kind[T]) offer(s *shell, brand *string) cobra.CompletionFunc {
	offer := s.offerNames(func(ctx context.Context, db store, after string) (names []string, err error) {
		for record, err := range k.list(db, ctx, *brand, after) {
			if err != nil || len(names) == maxOffered {
				return names, err
			}
			names = append(names, k.name(&record))
		}
		return names, nil
	})
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(cmd, args, typed)
	}
}

// command returns the command of the kind, to which further verbs can be added.
func (k *kind[T]) command(s *shell, short, long string) *cobra.Command {
	parent := &cobra.Command{
		Use: k.noun, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(k.setCommand(s), k.listCommand(s), k.showCommand(s))
	if k.remove != nil {
		parent.AddCommand(k.removeCommand(s))
	}
	if k.add != nil {
		parent.AddCommand(k.addCommand(s))
	}
	return parent
}

func (k *kind[T]) addCommand(s *shell) *cobra.Command {
	v := verb{"add", "Add " + k.what, "add adds " + k.what + ", and prints the record.", !k.given}
	cmd := k.verb(s, v, func(ctx context.Context, db store, cmd *cobra.Command, brand, name string) error {
		var record T
		if err := k.fill(ctx, s, db, cmd, brand, &record); err != nil {
			return err
		}
		record, err := k.add(db, ctx, brand, name, record)
		if err != nil {
			return err
		}
		return k.printChanged(ctx, s, db, cmd, record)
	})
	addFieldFlags(cmd, k.fields)
	s.addPagesFlag(cmd)
	return cmd
}

// fill puts the given flags into a record, and completes the record.
func (k *kind[T]) fill(
	ctx context.Context, s *shell, db store, cmd *cobra.Command, brand string, record *T,
) error {
	if err := setFields(cmd, k.fields, record); err != nil {
		return err
	}
	if err := s.checkPages(cmd); err != nil {
		return err
	}
	if k.prepare == nil {
		return nil
	}
	return k.prepare(ctx, db, cmd, brand, record)
}

func (k *kind[T]) setCommand(s *shell) *cobra.Command {
	v := verb{"set", "Change " + k.what, "set changes the fields whose flags are given, and prints the changed record.\n" +
		"A running service uses the change within a millisecond, or with PostgreSQL\n" +
		"within a second.", true}
	cmd := k.verb(s, v, func(ctx context.Context, db store, cmd *cobra.Command, brand, name string) error {
		if !anyGiven(cmd, k.fields) {
			return cli.Usagef("nothing to set: give a flag for each field to change")
		}
		// Filled here, because the update must not ask the directory anything else.
		var scratch T
		if err := k.fill(ctx, s, db, cmd, brand, &scratch); err != nil {
			return err
		}
		record, err := k.update(db, ctx, brand, name, func(record *T) error {
			k.copyGiven(cmd, record, &scratch)
			return nil
		})
		if err != nil {
			return err
		}
		return k.printChanged(ctx, s, db, cmd, record)
	})
	addFieldFlags(cmd, k.fields)
	s.addPagesFlag(cmd)
	return cmd
}

// printChanged prints a record that was added or changed, and the note about it.
func (k *kind[T]) printChanged(
	ctx context.Context, s *shell, db store, cmd *cobra.Command, record T,
) error {
	if k.note != nil {
		text, err := k.note(ctx, db, cmd, &record)
		if err != nil {
			return err
		}
		if text != "" {
			fmt.Fprintln(s.stderr, "note:", text)
		}
	}
	return k.print(s, record)
}

// copyGiven copies the fields with a given flag to another record.
func (k *kind[T]) copyGiven(cmd *cobra.Command, to, from *T) {
	for _, f := range k.fields {
		if f.Usage != "" && cmd.Flags().Changed(f.Name) {
			attribute.Assign(f.At(to), f.At(from))
		}
	}
}

func (k *kind[T]) showCommand(s *shell) *cobra.Command {
	v := verb{"show", "Show " + k.what,
		"show prints one record. A field that is not set shows as - and has the default that\n" +
			"the help of its flag names; in JSON it is null or empty.", true}
	return k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, brand, name string) error {
		record, err := k.get(db, ctx, brand, name)
		if err != nil {
			return err
		}
		return k.print(s, record)
	})
}

func (k *kind[T]) listCommand(s *shell) *cobra.Command {
	v := verb{"list", "List all",
		"list prints all records. It reads them page by page, so a change meanwhile may or may\n" +
			"not be in the list.", false}
	return k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, brand, _ string) error {
		return k.printAll(s, k.list(db, ctx, brand, ""))
	})
}

func (k *kind[T]) removeCommand(s *shell) *cobra.Command {
	v := verb{"remove", "Remove " + k.what,
		"remove removes " + k.what + " for good, without a question, and says so.", true}
	return k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, brand, name string) error {
		if err := k.remove(db, ctx, brand, name); err != nil {
			return err
		}
		if s.json {
			return json.NewEncoder(s.stdout).Encode(map[string]string{"removed": name})
		}
		_, err := fmt.Fprintf(s.stdout, "removed %s %q\n", k.noun, name)
		return err
	})
}

// endSessionsCommand returns the command that ends the sessions of one record, by a method
// of the directory.
func (k *kind[T]) endSessionsCommand(
	s *shell, long string, end func(ctx context.Context, db store, brand, name string) (T, error),
) *cobra.Command {
	v := verb{"end-sessions", "End all sessions of " + k.what, long, true}
	return k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, brand, name string) error {
		record, err := end(ctx, db, brand, name)
		if err != nil {
			return err
		}
		return k.print(s, record)
	})
}
