package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
)

// printAll prints all records, and then the reminders about them.
func (k *kind[T]) printAll(s *shell, records iter.Seq2[T, error]) error {
	t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
	if !s.json {
		fmt.Fprintln(t, strings.Join(k.columns(func(f attribute.Field[T]) string { return strings.ToUpper(f.Name) }), "\t"))
	}
	var reminders []string
	for record, err := range records {
		if err != nil {
			return err
		}
		if s.json {
			if err := k.writeJSON(s.stdout, record); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(t, strings.Join(k.columns(func(f attribute.Field[T]) string { return k.cell(f, &record) }), "\t"))
		if k.remind == nil {
			continue
		}
		if line := k.remind(&record); line != "" {
			reminders = append(reminders, line)
		}
	}
	err := t.Flush()
	for _, line := range reminders {
		fmt.Fprintln(s.stderr, "note:", line)
	}
	return err
}

// cell returns the text of a field in the list.
func (k *kind[T]) cell(f attribute.Field[T], record *T) string {
	if text := attribute.Shown(f.At(record)); text != "" || k.none == nil {
		return dash(text)
	}
	return k.none(f.Name, record)
}

// columns returns a text for each field that list has a column for.
func (k *kind[T]) columns(text func(attribute.Field[T]) string) (all []string) {
	for _, f := range k.fields {
		if f.List {
			all = append(all, text(f))
		}
	}
	return all
}

// print prints a record; for people, with a line for each field.
func (k *kind[T]) print(s *shell, record T) error {
	if s.json {
		return k.writeJSON(s.stdout, record)
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
	for _, f := range k.fields {
		fmt.Fprintf(t, "%s\t%s\n", f.Name, dash(attribute.Shown(f.At(&record))))
	}
	return t.Flush()
}

func (k *kind[T]) writeJSON(w io.Writer, record T) error {
	return json.NewEncoder(w).Encode(attribute.Members(k.fields, &record))
}

// dash returns a text, and - for none.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
