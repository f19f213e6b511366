package admin

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

// field is a part of a record of the directory. Each field has a flag of the commands
// add and set, a line of show, a column of list, and a member of --json.
type field[T any] struct {
	name  string       // name of the flag, such as unique-id; the member is uniqueId
	usage string       // help of the flag; "" for no flag
	list  bool         // list has a column for the field
	at    func(*T) any // pointer to the field in a record
}

// fieldValue is the value of a field's flag. The value becomes part of a record later,
// but Set parses the text at once, so a mistake is an error of the flag.
type fieldValue[T any] struct {
	field field[T]
	text  string
}

// String returns the text of the flag.
func (v *fieldValue[T]) String() string { return v.text }

// Set takes the text of the flag.
func (v *fieldValue[T]) Set(text string) error {
	v.text = text
	return parseInto(v.field.at(new(T)), text)
}

// Type returns the name of the kind of value in help.
func (v *fieldValue[T]) Type() string { return "value" }

// addFieldFlags adds the flags of the fields.
func addFieldFlags[T any](cmd *cobra.Command, fields []field[T]) {
	for _, f := range fields {
		if f.usage == "" {
			continue
		}
		flag := cmd.Flags().VarPF(&fieldValue[T]{field: f}, f.name, "", f.usage)
		switch f.at(new(T)).(type) {
		case *bool, **bool:
			flag.NoOptDefVal = "true"
		}
	}
}

// setFields puts the given flags into a record.
func setFields[T any](cmd *cobra.Command, fields []field[T], record *T) error {
	for _, f := range fields {
		if f.usage == "" || !cmd.Flags().Changed(f.name) {
			continue
		}
		if err := parseInto(f.at(record), cmd.Flag(f.name).Value.String()); err != nil {
			return cli.Usage(cli.ForFlag(f.name, err))
		}
	}
	return nil
}

// assign copies a field from one record to another. Both arguments point to the field.
func assign(to, from any) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) }

// anyGiven reports whether the flag of a field was given.
func anyGiven[T any](cmd *cobra.Command, fields []field[T]) bool {
	for _, f := range fields {
		if f.usage != "" && cmd.Flags().Changed(f.name) {
			return true
		}
	}
	return false
}

// parseInto reads the text of a flag into the field at p.
func parseInto(p any, text string) (err error) {
	switch p := p.(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = parseBool(text)
	case **bool:
		if *p = nil; text == "default" {
			return nil
		}
		b, err := parseBool(text)
		*p = &b
		if err != nil {
			return errors.New("write true, false or default")
		}
	case *time.Duration:
		if *p = 0; text == "default" {
			return nil
		}
		if *p, err = time.ParseDuration(text); err != nil || *p <= 0 {
			return errors.New("write a duration such as 90s or 5m, or default")
		}
	case *time.Time:
		*p, err = parseTime(text, time.Now())
	case *float64:
		if *p, err = strconv.ParseFloat(text, 64); err != nil {
			return errors.New("write a number")
		}
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			return errors.New("write a whole number")
		}
	case *[]string:
		*p = settings.SplitList(text)
	case *[]directory.Scope:
		*p = nil
		for _, s := range settings.SplitList(text) {
			*p = append(*p, directory.Scope(s))
		}
	case *directory.Addresses:
		*p, err = directory.ParseAddresses(text)
	default:
		panic(fmt.Sprintf("a field is a %T", p))
	}
	return err
}

// parseBool reads true or false, and no other form.
func parseBool(text string) (bool, error) {
	switch text {
	case "true", "false":
		return text == "true", nil
	}
	return false, errors.New("write true or false")
}

// parseTime reads a date, a time of RFC 3339, a time from now such as 90d or 12h, or
// never, which is the zero time.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "never" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return now.AddDate(0, 0, int(n)).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d).UTC(), nil
	}
	return time.Time{}, errors.New(
		"write a date such as 2030-01-31, a time of RFC 3339, a time from now such as 90d or 12h, or never")
}

// shown returns the field at p for people; "" for a field that is not set.
func shown(p any) string {
	switch p := p.(type) {
	case *string:
		return *p
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *bool:
		return strconv.FormatBool(*p)
	case **bool:
		if *p != nil {
			return strconv.FormatBool(**p)
		}
	case *time.Duration:
		if *p != 0 {
			return p.String()
		}
	case *time.Time:
		if !p.IsZero() {
			return p.Format(time.RFC3339)
		}
	case *float64:
		if *p != 0 {
			return strconv.FormatFloat(*p, 'f', -1, 64)
		}
	case *int:
		if *p != 0 {
			return strconv.Itoa(*p)
		}
	case *[]string:
		return strings.Join(*p, ",")
	case *[]directory.Scope:
		var all []string
		for _, s := range *p {
			all = append(all, string(s))
		}
		return strings.Join(all, ",")
	case *directory.Addresses:
		return p.String()
	default:
		panic(fmt.Sprintf("a field is a %T", p))
	}
	return ""
}

// member returns the name and value of a field in JSON. Durations are in seconds. A
// field that is not set is null, or an empty text or list.
func member(name string, p any) (string, any) {
	words := strings.Split(name, "-")
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	name = strings.Join(words, "")
	switch p := p.(type) {
	case *time.Duration:
		if *p == 0 {
			return name + "Seconds", nil
		}
		return name + "Seconds", p.Seconds()
	case *time.Time:
		if p.IsZero() {
			return name, nil
		}
	case *float64:
		if *p == 0 {
			return name, nil
		}
	case *int:
		if *p == 0 {
			return name, nil
		}
	case *[]string:
		return name, append([]string{}, *p...)
	case *directory.Addresses:
		return name, append([]string{}, settings.SplitList(p.String())...)
	}
	return name, p
}
