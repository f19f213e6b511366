package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
)

// Each example of the help is a command line that there is, and each command that does
// something has one.
func TestHelpExamples(t *testing.T) {
	word := regexp.MustCompile(`'[^']*'|\S+`)
	examples := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			visit(c)
		}
		if cmd.Name() == "help" || cmd.HasSubCommands() && cmd.HasParent() {
			return
		}
		assert.NotEmpty(t, cmd.Example, cmd.CommandPath())
		for line := range strings.Lines(cmd.Example) {
			_, line, found := strings.Cut(strings.TrimSpace(line), "ticketd ")
			if !assert.True(t, found, cmd.Example) {
				continue
			}
			var args []string
			for _, arg := range word.FindAllString(line, -1) {
				if strings.HasPrefix(arg, "<") { // standard input
					continue
				}
				args = append(args, strings.Trim(arg, "'"))
			}
			c, rest, err := rootCommand(io.Discard, io.Discard).Find(args)
			if !assert.NoError(t, err, line) {
				continue
			}
			if cmd.HasParent() {
				assert.Equal(t, cmd.CommandPath(), c.CommandPath(), line)
			}
			if assert.NoError(t, c.ParseFlags(rest), line) {
				assert.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
				assert.NoError(t, c.ValidateRequiredFlags(), line)
			}
			examples++
		}
	}
	visit(rootCommand(io.Discard, io.Discard))
	assert.Greater(t, examples, 30)
}
