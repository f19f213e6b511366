package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run runs the command line until it is done or ctx is, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "ticketd: %s\n", cli.Message(settings.Explain(cmd, err)))
	if !cli.IsUsage(err) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "next: %s --help\n", cmd.CommandPath())
	return exitUsage
}

// rootCommand returns the whole command.
func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "ticketd",
		Short: "Issue login tickets, and let each in once",
		Long: `ticketd is the HTTP service of admitone. Backends ask ticketd for tickets with an
API key (POST /auth/ticket); people enter with their tickets at /login (agents) and
/chat/{code} (customers).

Exit codes: 0 ended as asked; 1 failed, also if a file or server that a flag names
cannot be used; 2 wrong usage: a command line, variable or configuration file that
is wrong as written.`,
		Example: `  ticketd demo
  ticketd init --data /var/lib/ticketd
  ticketd brand add commbox --data /var/lib/ticketd
  ticketd agent add john.d --brand commbox --email john.d@example.com --data /var/lib/ticketd
  ticketd apikey add --brands commbox --data /var/lib/ticketd
  ticketd serve --data /var/lib/ticketd --listen 127.0.0.1:8080`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(stderr), demoCommand(stdout, stderr), initCommand(stdout), replayCommand(stdout))
	root.AddCommand(checkConfigCommand(stdout), doctorCommand(stdout), healthCommand(stdout))
	root.AddCommand(backupCommand(stdout, stderr), restoreCommand(stdout, stderr))
	root.AddCommand(admin.Commands(stdout, stderr)...)
	cli.Finish(root)
	completeAll(root)
	return root
}
