package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// output is standard output. It keeps the first error, so that the command fails if its
// result was not written.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// takesColour reports whether w is a terminal on which colours are wanted (no-color.org).
func takesColour(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// print writes v to standard output as JSON.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printJSON prints v if --json was given.
func (a *app) printJSON(v any) error {
	if !a.json {
		return nil
	}
	return a.print(v)
}

// say writes a line for people to standard output. With --json it writes nothing.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.stdout, format+"\n", args...)
	}
}

// warn tells people about unwise states of the keyring.
func (a *app) warn(info keyring.Info) {
	for _, w := range info.Warnings() {
		fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
}

// command returns a command line of this program for the keyring in file. The line can be
// run unchanged.
func (a *app) command(verb, file string, args ...string) string {
	words := append([]string{"keyring"}, strings.Fields(verb)...)
	return a.keys.Command(append(append(words, cli.Operand(file)), args...)...)
}

func (a *app) next(verb, file string, args ...string) string {
	return "next: " + a.command(verb, file, args...)
}

func (a *app) nextFrom(from time.Time, verb, file string, args ...string) string {
	return fmt.Sprintf("next, from %s: %s", stampFrom(from), a.command(verb, file, args...))
}

func (a *app) sayNext(verb, file string, args ...string) {
	fmt.Fprintln(a.stderr, a.next(verb, file, args...))
}

// suggest names the next sensible command for the present state of a keyring.
func (a *app) suggest(file string, info keyring.Info, now time.Time) {
	if isSigned(info.Kind) {
		if info.Kind == keyring.Trust {
			a.sayNext("trust list", file)
		}
		return
	}
	p := info.Plan(now)
	var staged *keyring.Key
	for i := range info.Keys {
		if k := &info.Keys[i]; k.State == keyring.Staged && !k.Held {
			staged = k
		}
	}
	switch {
	case len(p.Due()) > 0:
		a.sayNext("apply", file)
	case staged != nil:
		enable := a.command("enable", file, staged.ID.String())
		fmt.Fprintf(a.stderr, "next, when every service knows %s: %s\n", staged.Algorithm, enable)
	case len(p.Steps) > 0:
		fmt.Fprintln(a.stderr, a.nextFrom(p.Steps[0].At, "apply", file))
	default:
		a.sayNext("rotate", file)
	}
}

// stamp shows a time, to the second.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stampFrom shows the earliest time of a step, rounded up to the second.
func stampFrom(t time.Time) string { return stamp(t.Add(time.Second - 1)) }

// age shows the time from t to now, rounded.
func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// when shows a later time as "in AGE", and an earlier time as "since AGE".
func when(now, t time.Time) string {
	if t.After(now) {
		return "in " + age(t, now)
	}
	return "since " + age(now, t)
}

// span is a flag's duration in the syntax of Go or in days.
type span time.Duration

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	var d time.Duration
	rest := text
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		d, rest = time.Duration(n)*24*time.Hour, m[2]
	}
	if rest != "" || d == 0 && text == "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 && rest != text {
			return errors.New("not " + s.Form())
		}
		d += more
	}
	*s = span(d)
	return nil
}

// Form implements cli.Former.
func (s *span) Form() string { return "a duration such as 90s, 15m, 24h, 30d or 1d12h" }

// Type implements pflag.Value.
func (s *span) Type() string { return "duration" }

// String returns the duration without zero units: 30d, 1h30m, 0s.
func (s span) String() string {
	d := time.Duration(s)
	if d <= 0 || d%time.Second != 0 {
		return d.String()
	}
	var b strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d %= unit.size
		}
	}
	return b.String()
}
