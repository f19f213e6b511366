package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// A kind is a kind of record of the directory, with what the commands add, set,
// list, show and remove do with one.
type kind[T any] struct {
	noun    string // the command: brand
	what    string // in a sentence: a brand
	arg     string // what names a record: NAME
	ofBrand bool   // whether records are a brand's, which --brand names
	given   bool   // whether the directory gives the name, and add takes none
	fields  []field[T]
	example map[string]string // of each verb

	name   func(*T) string
	add    func(ctx context.Context, db *directory.DB, brand, name string, record T) (T, error)
	get    func(ctx context.Context, db *directory.DB, brand, name string) (T, error)
	update func(ctx context.Context, db *directory.DB, brand, name string, edit func(*T) error) (T, error)
	list   func(ctx context.Context, db *directory.DB, brand, after string, limit int) ([]T, error)
	remove func(ctx context.Context, db *directory.DB, brand, name string) error

	// prepare completes a record of which flags were set, if it is not nil.
	prepare func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand string, record *T) error
}

// pageSize is how many records are read at a time.
const pageSize = 500

// verb makes one of the kind's commands.
func (k *kind[T]) verb(a *admin, verb, short, long string, named bool, body func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand, name string) error) *cobra.Command {
	use, args := verb, cobra.NoArgs
	if named {
		use, args = verb+" "+k.arg, cobra.ExactArgs(1)
	}
	var brand *string
	if k.ofBrand {
		use += " --brand BRAND"
	}
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: k.example[verb], Args: args}
	if k.ofBrand {
		brand = cmd.Flags().String("brand", "", "the `brand` that it is of")
		_ = cmd.MarkFlagRequired("brand") // the flag exists
		a.offerBrands(cmd, "brand")
	}
	if named && verb != "add" {
		cmd.ValidArgsFunction = k.offer(a, brand)
	}
	return a.command(cmd, func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error {
		var ofBrand, name string
		if brand != nil {
			ofBrand = *brand
		}
		if named {
			name = args[0]
		}
		return body(ctx, db, cmd, ofBrand, name)
	})
}

// command returns the command of the kind, to which others can be added.
func (k *kind[T]) command(a *admin, short, long string) *cobra.Command {
	parent := &cobra.Command{
		Use: k.noun, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(k.setCommand(a), k.listCommand(a), k.showCommand(a), k.removeCommand(a))
	if k.add != nil {
		parent.AddCommand(k.addCommand(a))
	}
	return parent
}

func (k *kind[T]) addCommand(a *admin) *cobra.Command {
	cmd := k.verb(a, "add", "Add "+k.what, "add adds "+k.what+", and prints it.", !k.given,
		func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand, name string) error {
			var record T
			if err := k.fill(ctx, db, cmd, brand, &record); err != nil {
				return err
			}
			record, err := k.add(ctx, db, brand, name, record)
			if err != nil {
				return err
			}
			return k.print(a, record)
		})
	addFieldFlags(cmd, k.fields)
	return cmd
}

// fill puts what flags say into a record.
func (k *kind[T]) fill(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand string, record *T) error {
	if err := setFields(cmd, k.fields, record); err != nil {
		return err
	}
	if k.prepare == nil {
		return nil
	}
	return k.prepare(ctx, db, cmd, brand, record)
}

func (k *kind[T]) setCommand(a *admin) *cobra.Command {
	cmd := k.verb(a, "set", "Change "+k.what,
		"set changes what flags are given for, and prints the record as it is then.\nA running service goes by it from its next request on.", true,
		func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand, name string) error {
			if !anyGiven(cmd, k.fields) {
				return cli.Usagef("nothing to set: give a flag for what is to change")
			}
			// Outside the change, which must ask nothing else of the directory.
			var scratch T
			if err := k.fill(ctx, db, cmd, brand, &scratch); err != nil {
				return err
			}
			record, err := k.update(ctx, db, brand, name, func(record *T) error {
				k.copyGiven(cmd, record, &scratch)
				return nil
			})
			if err != nil {
				return err
			}
			return k.print(a, record)
		})
	addFieldFlags(cmd, k.fields)
	return cmd
}

// copyGiven puts the fields whose flags were given from one record into another.
func (k *kind[T]) copyGiven(cmd *cobra.Command, to, from *T) {
	for _, f := range k.fields {
		if f.usage != "" && cmd.Flags().Changed(f.name) {
			assign(f.at(to), f.at(from))
		}
	}
}

func (k *kind[T]) showCommand(a *admin) *cobra.Command {
	return k.verb(a, "show", "Show "+k.what, "show prints one record. What is not set shows as -, and is as its flag's help\nsays; in JSON it is null or empty.", true,
		func(ctx context.Context, db *directory.DB, _ *cobra.Command, brand, name string) error {
			record, err := k.get(ctx, db, brand, name)
			if err != nil {
				return err
			}
			return k.print(a, record)
		})
}

func (k *kind[T]) listCommand(a *admin) *cobra.Command {
	return k.verb(a, "list", "List all", "list prints all records, those that were there when it came to them.", false,
		func(ctx context.Context, db *directory.DB, _ *cobra.Command, brand, _ string) error {
			return k.printAll(a, func(after string) ([]T, error) { return k.list(ctx, db, brand, after, pageSize) })
		})
}

// printAll prints page after page.
func (k *kind[T]) printAll(a *admin, page func(after string) ([]T, error)) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 3, ' ', 0)
	if !a.json {
		fmt.Fprintln(t, strings.Join(k.columns(func(f field[T]) string { return strings.ToUpper(f.name) }), "\t"))
	}
	for after := ""; ; {
		records, err := page(after)
		if err != nil {
			return err
		}
		for _, record := range records {
			if a.json {
				if err := k.writeJSON(a.stdout, record); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintln(t, strings.Join(k.columns(func(f field[T]) string { return dash(shown(f.at(&record))) }), "\t"))
		}
		if len(records) < pageSize {
			return t.Flush()
		}
		after = k.name(&records[len(records)-1])
	}
}

func (k *kind[T]) columns(text func(field[T]) string) (all []string) {
	for _, f := range k.fields {
		if f.list {
			all = append(all, text(f))
		}
	}
	return all
}

func (k *kind[T]) removeCommand(a *admin) *cobra.Command {
	return k.verb(a, "remove", "Remove "+k.what, "remove removes "+k.what+" for good.", true,
		func(ctx context.Context, db *directory.DB, _ *cobra.Command, brand, name string) error {
			return k.remove(ctx, db, brand, name)
		})
}

// print prints one record: for people in two columns.
func (k *kind[T]) print(a *admin, record T) error {
	if a.json {
		return k.writeJSON(a.stdout, record)
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 3, ' ', 0)
	for _, f := range k.fields {
		fmt.Fprintf(t, "%s\t%s\n", f.name, dash(shown(f.at(&record))))
	}
	return t.Flush()
}

func (k *kind[T]) writeJSON(w io.Writer, record T) error {
	return json.NewEncoder(w).Encode(k.members(record))
}

func (k *kind[T]) members(record T) map[string]any {
	object := make(map[string]any, len(k.fields))
	for _, f := range k.fields {
		name, value := member(f.name, f.at(&record))
		object[name] = value
	}
	return object
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
