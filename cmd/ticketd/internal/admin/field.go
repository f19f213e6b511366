package admin

import (
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
)

// fieldValue is the value of a field's flag. The value becomes part of a record later,
// but Set parses the text at once, so a mistake is an error of the flag.
type fieldValue[T any] struct {
	field attribute.Field[T]
	text  string
}

// String returns the text of the flag.
func (v *fieldValue[T]) String() string { return v.text }

// Set takes the text of the flag.
func (v *fieldValue[T]) Set(text string) error {
	v.text = text
	return attribute.Parse(v.field.At(new(T)), text)
}

// Type returns the name of the kind of value in help.
func (v *fieldValue[T]) Type() string { return "value" }

// addFieldFlags adds the flags of the fields.
func addFieldFlags[T any](cmd *cobra.Command, fields []attribute.Field[T]) {
	for _, f := range fields {
		if f.Usage == "" {
			continue
		}
		flag := cmd.Flags().VarPF(&fieldValue[T]{field: f}, f.Name, "", f.Usage)
		switch f.At(new(T)).(type) {
		case *bool, **bool:
			flag.NoOptDefVal = "true"
		}
	}
}

// setFields puts the given flags into a record.
func setFields[T any](cmd *cobra.Command, fields []attribute.Field[T], record *T) error {
	for _, f := range fields {
		if f.Usage == "" || !cmd.Flags().Changed(f.Name) {
			continue
		}
		if err := attribute.Parse(f.At(record), cmd.Flag(f.Name).Value.String()); err != nil {
			return cli.Usage(cli.ForFlag(f.Name, err))
		}
	}
	return nil
}

// anyGiven reports whether the flag of a field was given.
func anyGiven[T any](cmd *cobra.Command, fields []attribute.Field[T]) bool {
	for _, f := range fields {
		if f.Usage != "" && cmd.Flags().Changed(f.Name) {
			return true
		}
	}
	return false
}
