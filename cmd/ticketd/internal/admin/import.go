package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/agentfile"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func importCommand(s *shell) *cobra.Command {
	var brand string
	dryRun := false
	cmd := &cobra.Command{
		Use:   "import FILE.csv --brand BRAND",
		Short: "Add or change many agents, all or none",
		Long: `import reads agents from a file of comma-separated values (RFC 4180, UTF-8; - is
standard input) and adds them to a brand, or changes those that the brand has.
Agents that the file does not name stay as they are. The first line names the
columns, in any order: username, and any of email, phone1, uniqueId, firstName,
lastName, groups (separated by commas, in quotes) and active (true or false).

An existing agent keeps the fields for which the file has no column. An empty
value removes what the agent had, except in the column active: there it leaves
the agent active or inactive. New agents are active unless the file says false.

The whole file is checked first. If lines are wrong, import prints the number of
each and imports nothing. A service that runs meanwhile answers with the old
agents until all new ones are there. --dry-run does all this and changes nothing.`,
		Example: `  ticketd agent import agents.csv --brand commbox --data /var/lib/ticketd
  ticketd agent import agents.csv --brand commbox --data /var/lib/ticketd --dry-run
  crm-export | ticketd agent import - --brand commbox --data /var/lib/ticketd --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions([]string{"csv"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	s.addBrandFlag(cmd, &brand)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be added and changed, and change nothing")
	return s.command(cmd, func(ctx context.Context, db store, cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		return s.importAgents(ctx, db, brand, args[0], in, dryRun)
	})
}

// reportMistakes prints the mistakes as FILE:LINE on standard error, or as JSON.
func (s *shell) reportMistakes(path string, mistakes []agentfile.Mistake) error {
	if s.json {
		report := map[string]any{"imported": 0, "faults": mistakes}
		if err := json.NewEncoder(s.stdout).Encode(report); err != nil {
			return err
		}
	} else {
		for _, m := range mistakes {
			fmt.Fprintf(s.stderr, "%s:%d: %s\n", path, m.Line, m)
		}
	}
	lines := fmt.Sprintf("%d lines are", len(mistakes))
	switch len(mistakes) {
	case 1:
		lines = "a line is"
	case agentfile.MaxMistakes:
		lines = fmt.Sprintf("%d or more lines are", agentfile.MaxMistakes)
	}
	return fmt.Errorf("%s wrong; nothing was imported", lines)
}

// importAgents imports a file, and shows the progress.
func (s *shell) importAgents(
	ctx context.Context, db store, brand, path string, in io.Reader, dryRun bool,
) error {
	start := time.Now()
	var bar *progressbar.ProgressBar
	did, mistakes, err := db.ImportFile(ctx, brand, in, dryRun, func(done, all int) {
		if bar == nil {
			bar = s.progress(all)
		}
		_ = bar.Set(done)
	})
	if bar != nil && err != nil {
		_ = bar.Exit()
	}
	switch {
	case err != nil:
		return err
	case len(mistakes) > 0:
		return s.reportMistakes(path, mistakes)
	case bar != nil:
		_ = bar.Finish()
	}
	return s.reportImport(did, dryRun, time.Since(start))
}

// reportImport prints how many agents an import changed, and in which way.
func (s *shell) reportImport(did directory.Imported, dryRun bool, took time.Duration) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(map[string]any{
			"imported": did.Total(), "added": did.Added, "changed": did.Changed, "unchanged": did.Unchanged,
			"activated": did.Activated, "deactivated": did.Deactivated, "dryRun": dryRun, "seconds": took.Seconds(),
		})
	}
	n := func(count int) string { return humanize.Comma(int64(count)) }
	text := fmt.Sprintf("imported agents: %s, of them new: %s, changed: %s (made active: %s, made inactive: %s), "+
		"as before: %s, in %v\n", n(did.Total()), n(did.Added), n(did.Changed), n(did.Activated), n(did.Deactivated),
		n(did.Unchanged), took.Round(time.Millisecond))
	if dryRun {
		text = "dry run, nothing was changed; without --dry-run: " + text
	}
	_, err := io.WriteString(s.stdout, text)
	return err
}

// progress returns a progress bar, which shows only if standard error is a terminal.
func (s *shell) progress(n int) *progressbar.ProgressBar {
	if s.json || !cli.IsTerminal(s.stderr) {
		return progressbar.DefaultSilent(int64(n))
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(s.stderr),
		progressbar.OptionSetDescription("importing agents"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	_ = bar.RenderBlank()
	return bar
}
