package admin

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

// column is a column of a file of agents.
type column struct {
	name string
	set  func(a *directory.Agent, text, region string) error
}

// textColumn returns a column that takes its text as written.
func textColumn(name string, at func(*directory.Agent) *string) column {
	return column{name, func(a *directory.Agent, text, _ string) error { *at(a) = text; return nil }}
}

var columns = []column{
	textColumn("username", func(a *directory.Agent) *string { return &a.Username }),
	textColumn("email", func(a *directory.Agent) *string { return &a.Email }),
	{"phone1", func(a *directory.Agent, text, region string) (err error) {
		if text != "" {
			a.Phone1, err = directory.E164(text, region)
		}
		return err
	}},
	textColumn("uniqueId", func(a *directory.Agent) *string { return &a.UniqueID }),
	textColumn("firstName", func(a *directory.Agent) *string { return &a.FirstName }),
	textColumn("lastName", func(a *directory.Agent) *string { return &a.LastName }),
	{"groups", func(a *directory.Agent, text, _ string) error { a.Groups = settings.SplitList(text); return nil }},
	{"active", func(a *directory.Agent, text, _ string) (err error) {
		if text != "" {
			a.Active, err = parseBool(strings.ToLower(text)) // spreadsheets write TRUE
		}
		return err
	}},
}

func columnNames() string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// lineError is a mistake in a line of the file, as --json shows it.
type lineError struct {
	Line   int    `json:"line"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

// String returns the column and the reason.
func (e lineError) String() string {
	if e.Column == "" {
		return e.Reason
	}
	return e.Column + ": " + e.Reason
}

// maxLineErrors is the largest number of wrong lines reported. More wrong lines come
// from a single mistake.
const maxLineErrors = 50

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
	return s.command(cmd, func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error {
		b, err := db.Brand(ctx, brand)
		if err != nil {
			return err
		}
		file, mistakes, err := readAgents(args[0], cmd.InOrStdin(), b)
		if err != nil {
			return err
		}
		if len(mistakes) > 0 {
			return s.reportMistakes(args[0], mistakes)
		}
		return s.importAgents(ctx, db, brand, file, dryRun)
	})
}

// readAgents reads a file, or standard input.
func readAgents(path string, stdin io.Reader, b directory.Brand) (agentFile, []lineError, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return agentFile{}, nil, err
		}
		defer f.Close()
		in = f
	}
	return parseAgents(in, b)
}

// An agentFile is the contents of a file of agents.
type agentFile struct {
	agents     []directory.Agent // in the order of their usernames
	lacks      []string          // the columns that the file does not have
	activeOpen map[string]bool   // by username: the column active is empty
}

// missing returns the fields of an agent about which the file says nothing.
func (f agentFile) missing(a directory.Agent) []string {
	if f.activeOpen[directory.UsernameKey(a.Username)] {
		return append(slices.Clone(f.lacks), "active")
	}
	return f.lacks
}

// parseAgents returns the contents of a file, or the mistakes in its lines.
func parseAgents(in io.Reader, b directory.Brand) (f agentFile, mistakes []lineError, err error) {
	r := csv.NewReader(withoutMark(in))
	used, mistakes, err := readHeader(r)
	if err != nil || len(mistakes) > 0 {
		return f, mistakes, err
	}
	for _, c := range columns {
		if !hasColumn(used, c.name) {
			f.lacks = append(f.lacks, c.name)
		}
	}
	f.activeOpen = make(map[string]bool)
	r.ReuseRecord = true
	lines := make(map[string]int) // by username, as usernames are compared
	for len(mistakes) < maxLineErrors {
		record, err := r.Read()
		if err == io.EOF {
			// Another import at the same time must update the agents in the same order.
			slices.SortFunc(f.agents, func(a, b directory.Agent) int {
				return strings.Compare(directory.UsernameKey(a.Username), directory.UsernameKey(b.Username))
			})
			return f, mistakes, nil
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			if !errors.Is(err, csv.ErrFieldCount) {
				// Lines can no longer be told apart.
				return f, append(mistakes, lineError{syntax.StartLine, "", syntax.Err.Error()}), nil
			}
			reason := fmt.Sprintf("has %d values, and there are %d columns", len(record), len(used))
			mistakes = append(mistakes, lineError{syntax.StartLine, "", reason})
			continue
		}
		if err != nil {
			return f, nil, fmt.Errorf("reading the agents: %w", err)
		}
		line, _ := r.FieldPos(0)
		a, wrong := parseAgent(record, used, b)
		key := directory.UsernameKey(a.Username)
		if first, twice := lines[key]; wrong == nil && twice {
			wrong = &lineError{0, "username", fmt.Sprintf("is that of line %d as well; give each agent once", first)}
		}
		if wrong != nil {
			wrong.Line = line
			mistakes = append(mistakes, *wrong)
			continue
		}
		lines[key] = line
		f.agents = append(f.agents, a)
		if at := slices.IndexFunc(used, isActive); at >= 0 && strings.TrimSpace(record[at]) == "" {
			f.activeOpen[key] = true
		}
	}
	return f, mistakes, nil
}

// withoutMark skips the byte order mark that spreadsheets write at the start of a file.
// Before a quote, the mark would not be CSV.
func withoutMark(in io.Reader) io.Reader {
	const mark = "\ufeff"
	r := bufio.NewReader(in)
	if start, _ := r.Peek(len(mark)); string(start) == mark { // Read returns an error again
		_, _ = r.Discard(len(mark))
	}
	return r
}

// readHeader reads the first line, and returns the columns of the file.
func readHeader(r *csv.Reader) (used []column, mistakes []lineError, err error) {
	header, err := r.Read()
	if err == io.EOF {
		return nil, []lineError{{1, "", "the file is empty; its first line names the columns: " + columnNames()}}, nil
	}
	if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, []lineError{{syntax.Line, "", syntax.Err.Error()}}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the agents: %w", err)
	}
	used, mistakes = parseHeader(header)
	return used, mistakes, nil
}

// parseHeader returns the columns of a header.
func parseHeader(header []string) (used []column, mistakes []lineError) {
	wrong := func(column, reason string) { mistakes = append(mistakes, lineError{1, column, reason}) }
	for i, name := range header {
		name = strings.TrimSpace(name)
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		switch {
		case at < 0 && len(header) == 1 && strings.ContainsAny(name, ";\t"):
			wrong("", "the columns are separated by semicolons or tabs; save the file with commas")
		case at < 0 && !utf8.ValidString(name):
			wrong("", "the file is not UTF-8; save it as UTF-8")
			return nil, mistakes
		case at < 0:
			wrong("", fmt.Sprintf("column %d is none of %s; check its spelling and case", i+1, columnNames()))
		case hasColumn(used, name):
			wrong(name, "comes twice")
		default:
			used = append(used, columns[at])
		}
	}
	if len(mistakes) == 0 && !hasColumn(used, "username") {
		wrong("", "there is no column username")
	}
	return used, mistakes
}

func hasColumn(all []column, name string) bool {
	return slices.ContainsFunc(all, func(c column) bool { return c.name == name })
}

func isActive(c column) bool { return c.name == "active" }

// parseAgent reads a line.
func parseAgent(record []string, used []column, b directory.Brand) (directory.Agent, *lineError) {
	a := directory.Agent{Brand: b.Name, Active: true}
	for i, c := range used {
		err := c.set(&a, strings.TrimSpace(strings.Clone(record[i])), b.Region)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			return a, &lineError{Column: c.name, Reason: wrong.Reason}
		} else if err != nil {
			return a, &lineError{Column: c.name, Reason: err.Error()}
		}
	}
	err := a.Validate()
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return a, &lineError{Column: wrong.Field, Reason: wrong.Reason}
	}
	if err != nil {
		return a, &lineError{Reason: cli.Message(err)}
	}
	return a, nil
}

// reportMistakes prints the mistakes as FILE:LINE on standard error, or as JSON.
func (s *shell) reportMistakes(path string, mistakes []lineError) error {
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
	case maxLineErrors:
		lines = fmt.Sprintf("%d or more lines are", maxLineErrors)
	}
	return fmt.Errorf("%s wrong; nothing was imported", lines)
}

// importAgents writes the agents, and shows the progress.
func (s *shell) importAgents(
	ctx context.Context, db *directory.DB, brand string, file agentFile, dryRun bool,
) error {
	start := time.Now()
	bar := s.progress(len(file.agents))
	all := iter.Seq2[directory.Agent, error](func(yield func(directory.Agent, error) bool) {
		for _, a := range file.agents {
			if !yield(a, nil) {
				return
			}
		}
	})
	did, err := db.ImportAgents(ctx, brand, all, &directory.ImportOptions{
		Missing: file.missing, DryRun: dryRun, Progress: func(n int) { _ = bar.Set(n) },
	})
	if err != nil {
		_ = bar.Exit()
		if errors.Is(err, context.Canceled) {
			return errors.New("nothing was imported: interrupted")
		}
		return fmt.Errorf("nothing was imported: %w", err)
	}
	_ = bar.Finish()
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
	if s.json || !isTerminal(s.stderr) {
		return progressbar.DefaultSilent(int64(n))
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(s.stderr),
		progressbar.OptionSetDescription("importing agents"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	_ = bar.RenderBlank()
	return bar
}
