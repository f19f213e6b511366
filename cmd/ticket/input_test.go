package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEachTicket(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		in   string
		want []string
	}{
		"arguments":          {[]string{"a", "b"}, "c\n", []string{"a", "b"}},
		"lines":              {nil, "a\nb\n", []string{"a", "b"}},
		"dash":               {[]string{"-"}, "a\nb\n", []string{"a", "b"}},
		"both":               {[]string{"a", "-", "d"}, "b\nc\n", []string{"a", "b", "c", "d"}},
		"dash twice":         {[]string{"-", "-"}, "a\n", []string{"a"}},
		"dash without lines": {[]string{"a", "-"}, "", []string{"a"}},
		"last line open":     {nil, "a\nb", []string{"a", "b"}},
		"CRLF":               {nil, "a\r\nb\r\n", []string{"a", "b"}},
		"blank lines":        {nil, "\n \t\na\n\r\n\nb\n\n", []string{"a", "b"}},
		"nothing is mended":  {nil, " a \nb\r\r\n", []string{" a ", "b\r"}},
		"same twice":         {[]string{"a", "a"}, "", []string{"a", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := &app{stdin: strings.NewReader(c.in)}
			var got []string
			require.NoError(t, a.eachTicket(c.args, func(number int, ticket string) error {
				got = append(got, ticket)
				assert.Equal(t, len(got), number)
				return nil
			}))
			assert.Equal(t, c.want, got)
		})
	}
}

func TestEachTicketErrors(t *testing.T) {
	var got []string
	take := func(_ int, ticket string) error {
		got = append(got, ticket)
		return nil
	}
	for _, in := range []string{"", "\n", " \n\r\n"} {
		err := (&app{stdin: strings.NewReader(in)}).eachTicket(nil, take)
		assert.ErrorContains(t, err, "no ticket")
	}
	assert.Empty(t, got)

	// What came before an error was done.
	err := (&app{stdin: strings.NewReader("a\n" + strings.Repeat("x", maxLine+1) + "\nb\n")}).eachTicket(nil, take)
	assert.ErrorContains(t, err, "longer than 65536 bytes")
	broken := errors.New("broken")
	err = (&app{stdin: io.MultiReader(strings.NewReader("b\n"), iotest.ErrReader(broken))}).eachTicket(nil, take)
	assert.ErrorIs(t, err, broken)
	err = (&app{stdin: strings.NewReader("c\nd\n")}).eachTicket(nil, func(n int, ticket string) error {
		return errors.Join(take(n, ticket), broken)
	})
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, []string{"a", "b", "c"}, got)
}

// Whoever types a ticket sees its result before the next.
func TestEachTicketDoesNotWaitForTheEnd(t *testing.T) {
	in, out := io.Pipe()
	done := make(chan string)
	finished := make(chan error)
	go func() {
		finished <- (&app{stdin: in}).eachTicket(nil, func(_ int, ticket string) error {
			done <- ticket
			return nil
		})
	}()
	for _, ticket := range []string{"a", "b"} {
		_, err := io.WriteString(out, ticket+"\n")
		require.NoError(t, err)
		assert.Equal(t, ticket, <-done)
	}
	require.NoError(t, out.Close())
	require.NoError(t, <-finished)
}
