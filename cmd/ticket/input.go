package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// maxLine bounds a line of standard input, in bytes. A ticket has at most 2,048.
const maxLine = 64 << 10

// eachTicket calls do for every argument, with a number that counts from 1. In place
// of "-", and if there are no arguments, do gets the lines of standard input, each as
// soon as the line is complete. eachTicket ends at the first error.
func (a *app) eachTicket(args []string, do func(number int, ticket string) error) error {
	if len(args) == 0 {
		args = []string{"-"}
	}
	number := 0
	for _, arg := range args {
		next := func(ticket string) error {
			number++
			return do(number, ticket)
		}
		var err error
		if arg == "-" {
			err = a.eachLine(next)
		} else {
			err = next(arg)
		}
		if err != nil {
			return err
		}
	}
	if number == 0 {
		return cli.Usagef("no ticket: give tickets on standard input, one a line, or as arguments")
	}
	return nil
}

// eachLine calls do for every line of standard input that is not blank.
func (a *app) eachLine(do func(string) error) error {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		a.note("reading tickets from the terminal, one a line; end with Ctrl-D")
	}
	lines := bufio.NewScanner(a.stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := do(lines.Text()); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line of standard input is longer than %d bytes, and no ticket; give one ticket a line", maxLine)
	} else if err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	return nil
}
