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
	"golang.org/x/term"

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
	cmd := &cobra.Command{
		Use:   "import FILE.csv --brand BRAND",
		Short: "Add or replace many agents, all or none",
		Long: `import reads agents from a file of comma-separated values (RFC 4180, UTF-8; - is
standard input) and adds them to a brand. Agents that the brand has already are
replaced. Agents that the file does not name stay as they are. The first line
names the columns, in any order: username, and any of email, phone1, uniqueId,
firstName, lastName, groups (separated by commas, in quotes) and active (true or
false; true if empty).

The whole file is checked first. If lines are wrong, import prints the number of
each and imports nothing. A service that runs meanwhile answers with the old
agents until all new ones are there.`,
		Example: `  ticketd agent import agents.csv --brand commbox --data /var/lib/ticketd
  crm-export | ticketd agent import - --brand commbox --data /var/lib/ticketd --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions([]string{"csv"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	s.addBrandFlag(cmd, &brand)
	return s.command(cmd, func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error {
		b, err := db.Brand(ctx, brand)
		if err != nil {
			return err
		}
		agents, mistakes, err := readAgents(args[0], cmd.InOrStdin(), b)
		if err != nil {
			return err
		}
		if len(mistakes) > 0 {
			return s.reportMistakes(args[0], mistakes)
		}
		return s.importAgents(ctx, db, brand, agents)
	})
}

// readAgents reads a file, or standard input.
func readAgents(path string, stdin io.Reader, b directory.Brand) ([]directory.Agent, []lineError, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		in = f
	}
	return parseAgents(in, b)
}

// parseAgents returns the agents in the order of their usernames, or the mistakes in
// their lines.
func parseAgents(in io.Reader, b directory.Brand) (agents []directory.Agent, mistakes []lineError, err error) {
	r := csv.NewReader(withoutMark(in))
	used, mistakes, err := readHeader(r)
	if err != nil || len(mistakes) > 0 {
		return nil, mistakes, err
	}
	r.ReuseRecord = true
	lines := make(map[string]int) // by username
	for len(mistakes) < maxLineErrors {
		record, err := r.Read()
		if err == io.EOF {
			// Another import at the same time must update the agents in the same order.
			slices.SortFunc(agents, func(a, b directory.Agent) int { return strings.Compare(a.Username, b.Username) })
			return agents, mistakes, nil
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			if !errors.Is(err, csv.ErrFieldCount) {
				// Lines can no longer be told apart.
				return nil, append(mistakes, lineError{syntax.StartLine, "", syntax.Err.Error()}), nil
			}
			reason := fmt.Sprintf("has %d values, and there are %d columns", len(record), len(used))
			mistakes = append(mistakes, lineError{syntax.StartLine, "", reason})
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the agents: %w", err)
		}
		line, _ := r.FieldPos(0)
		a, wrong := parseAgent(record, used, b)
		if first, twice := lines[a.Username]; wrong == nil && twice {
			wrong = &lineError{0, "username", fmt.Sprintf("is that of line %d as well; give each agent once", first)}
		}
		if wrong != nil {
			wrong.Line = line
			mistakes = append(mistakes, *wrong)
			continue
		}
		lines[a.Username] = line
		agents = append(agents, a)
	}
	return nil, mistakes, nil
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
		case slices.ContainsFunc(used, func(c column) bool { return c.name == name }):
			wrong(name, "comes twice")
		default:
			used = append(used, columns[at])
		}
	}
	if len(mistakes) == 0 && !slices.ContainsFunc(used, func(c column) bool { return c.name == "username" }) {
		wrong("", "there is no column username")
	}
	return used, mistakes
}

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
func (s *shell) importAgents(ctx context.Context, db *directory.DB, brand string, agents []directory.Agent) error {
	start := time.Now()
	bar := s.progress(len(agents))
	all := iter.Seq2[directory.Agent, error](func(yield func(directory.Agent, error) bool) {
		for _, a := range agents {
			if !yield(a, nil) {
				return
			}
		}
	})
	did, err := db.ImportAgents(ctx, brand, all, func(n int) { _ = bar.Set(n) })
	if err != nil {
		_ = bar.Exit()
		if errors.Is(err, context.Canceled) {
			return errors.New("nothing was imported: interrupted")
		}
		return fmt.Errorf("nothing was imported: %w", err)
	}
	_ = bar.Finish()
	imported, took := did.Added+did.Updated, time.Since(start)
	if s.json {
		return json.NewEncoder(s.stdout).Encode(map[string]any{
			"imported": imported, "added": did.Added, "replaced": did.Updated, "seconds": took.Seconds(),
		})
	}
	_, err = fmt.Fprintf(s.stdout, "imported agents: %s, of them new: %s, in %v\n",
		humanize.Comma(int64(imported)), humanize.Comma(int64(did.Added)), took.Round(time.Millisecond))
	return err
}

// progress returns a progress bar, which shows only if standard error is a terminal.
func (s *shell) progress(n int) *progressbar.ProgressBar {
	out, ok := s.stderr.(*os.File)
	if !ok || s.json || !term.IsTerminal(int(out.Fd())) {
		return progressbar.DefaultSilent(int64(n))
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription("importing agents"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	_ = bar.RenderBlank()
	return bar
}
