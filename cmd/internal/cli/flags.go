package cli

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/token"
)

// FlagError tells which flag is at fault. The text is "--flag reason: cause". A value of a
// flag may also come from an environment variable or a file: see SetFrom. A FlagError
// alone is a failure; Flagf and Usage make wrong usage.
type FlagError struct {
	Flag   string   // the flag's name, without the dashes
	Others []string // further flags that Reason names
	Reason string   // continues the flag's name, such as "is less than 1"; may be empty where Cause is set
	Cause  error    // the error behind the reason, if there is one
}

// Error returns the flag and the reason, then the cause.
func (e *FlagError) Error() string {
	text := "--" + e.Flag
	if e.Reason != "" {
		text += " " + e.Reason
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the Cause.
func (e *FlagError) Unwrap() error { return e.Cause }

// ForFlag returns err as the fault of a flag. If err is a *token.ConfigError or
// *token.FieldError, the flag takes the place of the Go field in the text.
func ForFlag(flag string, err error) *FlagError {
	if f, ok := fieldErrorOf(err); ok {
		return &FlagError{Flag: flag, Reason: f.reason, Cause: f.cause}
	}
	return &FlagError{Flag: flag, Cause: err}
}

// fieldError has the common fields of the libraries' error types.
type fieldError struct {
	field, reason string
	cause         error
}

func fieldErrorOf(err error) (fieldError, bool) {
	if e, ok := errors.AsType[*token.ConfigError](err); ok {
		return fieldError{e.Field, e.Reason, e.Cause}, true
	}
	if e, ok := errors.AsType[*token.FieldError](err); ok {
		return fieldError{field: e.Field, reason: e.Reason}, true
	}
	return fieldError{}, false
}

// Fields maps the Go fields of library errors to flags: for instance
// "redisstore.Config.URL" to "replay". The key "claims.*" stands for all fields that begin
// with "claims."; the rest of the field's name then stands before the reason. Each command
// has one table.
type Fields map[string]string

// flag returns the flag of a field and, for a key with *, the rest of the field's name.
func (t Fields) flag(field string) (flag, rest string, ok bool) {
	if flag, ok = t[field]; ok {
		return flag, "", true
	}
	for key, flag := range t {
		if prefix, isPattern := strings.CutSuffix(key, "*"); isPattern {
			if rest, ok = strings.CutPrefix(field, prefix); ok {
				return flag, rest, true
			}
		}
	}
	return "", "", false
}

// Explain returns err in the words of the command line: the flag takes the place of a
// field in the table. If the value of the flag came from an environment variable or a
// file, the text begins with the source: "f.yaml:3: --skew is less than 0s". Explain
// returns other errors unchanged. The result wraps err.
//
// A command calls Explain once, before it prints its final error.
func (t Fields) Explain(flags *pflag.FlagSet, err error) error {
	fault, ok := errors.AsType[*FlagError](err)
	if !ok {
		if fault, ok = t.translate(err); !ok {
			return err
		}
	}
	sources := []string{}
	for _, name := range append([]string{fault.Flag}, fault.Others...) {
		flag := flags.Lookup(name)
		if flag == nil {
			continue
		}
		if source := Source(flag); source != "" && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	text := fault.Error()
	if len(sources) > 0 {
		text = strings.Join(sources, ", ") + ": " + text
	}
	return explained{err, text}
}

// translate returns the FlagError for an error with a field of the table.
func (t Fields) translate(err error) (*FlagError, bool) {
	fault, ok := fieldErrorOf(err)
	if !ok {
		return nil, false
	}
	flag, rest, ok := t.flag(fault.field)
	if !ok {
		return nil, false
	}
	if rest != "" {
		fault.reason = rest + " " + fault.reason
	}
	return &FlagError{Flag: flag, Reason: fault.reason, Cause: fault.cause}, true
}

// explained is an error with a text by Explain.
type explained struct {
	error
	text string
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.error }

// Annotations of flags.
const (
	sourceOf   = "admitone_source"   // the source of the flag's value
	variableOf = "admitone_variable" // the environment variable for the flag
)

// SetFrom sets a flag to a value from elsewhere than the command line, and records the
// source for Explain: an environment variable's name or FILE:LINE. The flag then counts as
// changed. The error is a *FlagError and does not repeat the value, since the value may be
// a secret for another setting.
func SetFrom(flags *pflag.FlagSet, flag, value, source string) error {
	setSource(flags, flag, source)
	if err := flags.Set(flag, value); err != nil {
		return &FlagError{Flag: flag, Cause: valueError(flags.Lookup(flag), err)}
	}
	return nil
}

func setSource(flags *pflag.FlagSet, flag, source string) {
	_ = flags.SetAnnotation(flag, sourceOf, []string{source}) // fails only for an unknown flag
}

// Source returns the source that SetFrom recorded for a flag; "" for a value of the
// command line and for a default.
func Source(flag *pflag.Flag) string { return annotation(flag, sourceOf) }

func annotation(flag *pflag.Flag, key string) string {
	if values := flag.Annotations[key]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// Variable lets an environment variable stand for a flag, and adds the variable to
// the flag's help. A command made by Command reads the variable if the command line
// does not give the flag. An empty variable counts as not set.
func Variable(flags *pflag.FlagSet, flag, variable string) {
	_ = flags.SetAnnotation(flag, variableOf, []string{variable}) // fails only for an unknown flag
	flags.Lookup(flag).Usage += " (environment: " + variable + ")"
}

// ReadVariables sets flags from their environment variables (see Variable), except flags
// that the command line gives. Commands of Command need no call.
func ReadVariables(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(flag *pflag.Flag) {
		variable := annotation(flag, variableOf)
		if value := os.Getenv(variable); variable != "" && value != "" && !flag.Changed && err == nil {
			err = SetFrom(flags, flag.Name, value, variable)
		}
	})
	return err
}

// Former is a pflag.Value with a description of its values for errors: "a duration such as
// 90s or 30d".
type Former interface{ Form() string }

// valueError describes the values of a flag. For the types of pflag and for a Former the
// error does not repeat the value. The Set method of any other type must not repeat the
// value in its error.
func valueError(flag *pflag.Flag, err error) error {
	if f, ok := flag.Value.(Former); ok {
		return errors.New("write " + f.Form())
	}
	switch flag.Value.Type() {
	case "duration":
		return errors.New("write a duration such as 10s or 5m")
	case "int", "int64", "uint64":
		return errors.New("write a whole number")
	case "float64":
		return errors.New("write a number")
	case "bool":
		return errors.New("write true or false")
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return invalid.Unwrap()
	}
	return err
}
