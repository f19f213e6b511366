// Package admin has the commands that manage the records of the directory at a shell:
// brands, agents, customers, channels, API keys and administrators; and the command that
// shows the audit trail. Each kind of record has a file with
// its fields; record.go makes the commands that all kinds have from such a table.
//
// The commands work on the directory itself, beside a ticketd that may be running. The
// rules for records belong to package directory. Starting a service or making a data
// folder belongs to package main.
package admin

import (
	"io"

	"github.com/spf13/cobra"
)

// Commands returns the commands.
func Commands(stdout, stderr io.Writer) []*cobra.Command {
	s := &shell{stdout: stdout, stderr: stderr}
	return []*cobra.Command{
		brandCommand(s), agentCommand(s), customerCommand(s), channelCommand(s), apiKeyCommand(s), ticketCommand(s),
		administratorCommand(s), consoleCommand(s), auditCommand(s),
	}
}
