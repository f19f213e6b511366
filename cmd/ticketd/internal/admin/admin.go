// Package admin has the commands that manage the records of the directory at a shell:
// brands, agents, customers, channels, API keys and administrators; and the commands that
// show the named issuers and the audit trail. Each kind of record has a file with
// its fields; record.go makes the commands that all kinds have from such a table.
//
// The commands work on a store: the directory itself, beside a ticketd that may be running, or
// with --url a running service, by package remote. The rules for records belong to package
// directory. Starting a service or making a data folder belongs to package main.
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
		administratorCommand(s), issuerCommand(s), consoleCommand(s), auditCommand(s),
	}
}
