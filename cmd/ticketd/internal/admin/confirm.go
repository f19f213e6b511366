package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// confirm asks at a terminal whether a command may go on: the person types the name.
// Without a terminal for the question and the answer, the error says to give --yes.
func (s *shell) confirm(ctx context.Context, in io.Reader, question, name string) error {
	if !cli.IsTerminal(in) || !cli.IsTerminal(s.stderr) {
		return cli.Usagef("%s: give --yes to do so without a question, which needs a terminal", question)
	}
	fmt.Fprintf(s.stderr, "%s.\nType the name %s to go on: ", question, cli.Printable(name))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // an end without a line is another answer
		answer <- strings.TrimRight(line, "\r\n")
	}()
	select {
	case typed := <-answer:
		if typed != name {
			return errors.New("that is not the name; nothing was removed")
		}
		return nil
	case <-ctx.Done():
		fmt.Fprintln(s.stderr)
		return errors.New("nothing was removed: interrupted")
	}
}
