package main

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
)

// A field is one part of a record of the directory: add and set have a flag for
// it, show and list show it, --json has it as a member.
type field[T any] struct {
	name  string       // of the flag, such as unique-id; the member is uniqueId
	usage string       // "": no flag sets it
	list  bool         // whether list has a column of it
	at    func(*T) any // a pointer to it in a record
}

// given is a flag's value, which becomes part of a record later. It is tried on
// one at once, so that what is wrong is told as of that flag.
type given[T any] struct {
	field field[T]
	text  string
}

func (g *given[T]) String() string { return g.text }

func (g *given[T]) Set(text string) error {
	g.text = text
	return parseInto(g.field.at(new(T)), text)
}

func (g *given[T]) Type() string { return "value" }

// addFieldFlags gives a command the flags of the fields.
func addFieldFlags[T any](cmd *cobra.Command, fields []field[T]) {
	for _, f := range fields {
		if f.usage == "" {
			continue
		}
		flag := cmd.Flags().VarPF(&given[T]{field: f}, f.name, "", f.usage)
		switch f.at(new(T)).(type) {
		case *bool, **bool:
			flag.NoOptDefVal = "true"
		}
	}
}

// setFields puts the flags that were given into a record.
func setFields[T any](cmd *cobra.Command, fields []field[T], record *T) error {
	for _, f := range fields {
		if f.usage == "" || !cmd.Flags().Changed(f.name) {
			continue
		}
		if err := parseInto(f.at(record), cmd.Flag(f.name).Value.String()); err != nil {
			return cli.Usagef("--%s: %w", f.name, err)
		}
	}
	return nil
}

// assign copies a part of a record to that of another; both are pointers to it.
func assign(to, from any) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) }

// anyGiven reports whether one of the fields' flags was given.
func anyGiven[T any](cmd *cobra.Command, fields []field[T]) bool {
	for _, f := range fields {
		if f.usage != "" && cmd.Flags().Changed(f.name) {
			return true
		}
	}
	return false
}

// parseInto reads a flag's text into the part of a record at p.
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
		*p = splitList(text)
	case *[]directory.Scope:
		*p = nil
		for _, s := range splitList(text) {
			*p = append(*p, directory.Scope(s))
		}
	case *directory.Addresses:
		*p, err = directory.ParseAddresses(text)
	default:
		panic(fmt.Sprintf("a field is a %T", p))
	}
	return err
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true", "false":
		return text == "true", nil
	}
	return false, errors.New("write true or false")
}

// parseTime reads a date, a moment of RFC 3339, a time from now such as 90d or
// 12h, or never.
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
	return time.Time{}, errors.New("write a date such as 2030-01-31, a time of RFC 3339, a time from now such as 90d or 12h, or never")
}

func splitList(text string) (list []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// shown is the part of a record at p for people; "" where it is not set.
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

// member is a field's name and value in JSON. Durations are in seconds; what is
// not set is null, or an empty text or list.
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
		return name, append([]string{}, splitList(p.String())...)
	}
	return name, p
}
