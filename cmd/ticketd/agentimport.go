package main

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
)

// column is what a column of a file of agents is called, and does.
type column struct {
	name string
	set  func(a *directory.Agent, text, region string) error
}

// plainColumn takes the text as it is.
func plainColumn(name string, at func(*directory.Agent) *string) column {
	return column{name, func(a *directory.Agent, text, _ string) error { *at(a) = text; return nil }}
}

var columns = []column{
	plainColumn("username", func(a *directory.Agent) *string { return &a.Username }),
	plainColumn("email", func(a *directory.Agent) *string { return &a.Email }),
	{"phone1", func(a *directory.Agent, text, region string) (err error) {
		if text != "" {
			a.Phone1, err = directory.E164(text, region)
		}
		return err
	}},
	plainColumn("uniqueId", func(a *directory.Agent) *string { return &a.UniqueID }),
	plainColumn("firstName", func(a *directory.Agent) *string { return &a.FirstName }),
	plainColumn("lastName", func(a *directory.Agent) *string { return &a.LastName }),
	{"groups", func(a *directory.Agent, text, _ string) error { a.Groups = splitList(text); return nil }},
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

// maxFaults is how many wrong lines are told: who has more has one mistake in all.
const maxFaults = 50

func importCommand(a *admin) *cobra.Command {
	var brand string
	cmd := &cobra.Command{
		Use:   "import FILE.csv --brand BRAND",
		Short: "Add or replace many agents, all or none",
		Long: `import reads agents from a file of comma-separated values (RFC 4180, UTF-8; - is
standard input) and adds them to a brand; those that it has already are replaced,
and those that the file does not name stay as they are. The first line names the
columns, in any order: username, and any of email, phone1, uniqueId, firstName,
lastName, groups (separated by commas, in quotes) and active (true or false; true
where it is empty).

The whole file is checked first. When a line is wrong, all that are wrong are told
by their numbers, and nothing is imported. A service that runs meanwhile answers
on, with the agents of before until all are there.`,
		Example: `  ticketd agent import agents.csv --brand commbox --data /var/lib/ticketd
  crm-export | ticketd agent import - --brand commbox --data /var/lib/ticketd --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions([]string{"csv"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	cmd.Flags().StringVar(&brand, "brand", "", "the `brand` that they are of")
	_ = cmd.MarkFlagRequired("brand") // the flag exists
	a.offerBrands(cmd, "brand")
	return a.command(cmd, func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error {
		b, err := db.Brand(ctx, brand)
		if err != nil {
			return err
		}
		agents, faults, err := readAgents(args[0], cmd.InOrStdin(), b)
		if err != nil {
			return err
		}
		if len(faults) > 0 {
			return a.reportFaults(args[0], faults)
		}
		return a.importAgents(ctx, db, brand, agents)
	})
}

// readAgents reads a file, or standard input.
func readAgents(path string, stdin io.Reader, b directory.Brand) ([]directory.Agent, []fault, error) {
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

// parseAgents reads agents, in the order of their usernames, and what is wrong with their lines.
func parseAgents(in io.Reader, b directory.Brand) (agents []directory.Agent, faults []fault, err error) {
	r := csv.NewReader(withoutMark(in))
	header, err := r.Read()
	if err == io.EOF {
		return nil, []fault{{1, "", "the file is empty; its first line names the columns: " + columnNames()}}, nil
	}
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return nil, []fault{{syntax.Line, "", syntax.Err.Error()}}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the agents: %w", err)
	}
	used, faults := parseHeader(header)
	if len(faults) > 0 {
		return nil, faults, nil
	}
	r.ReuseRecord = true
	lines := make(map[string]int)
	for len(faults) < maxFaults {
		record, err := r.Read()
		switch {
		case err == io.EOF:
			// Another import at the same time must come to them in the same order.
			slices.SortFunc(agents, func(a, b directory.Agent) int { return strings.Compare(a.Username, b.Username) })
			return agents, faults, nil
		case errors.As(err, &syntax):
			reason := syntax.Err.Error()
			if errors.Is(err, csv.ErrFieldCount) {
				reason = fmt.Sprintf("has %d values, and there are %d columns", len(record), len(used))
			}
			faults = append(faults, fault{syntax.StartLine, "", reason})
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return nil, faults, nil // from here on lines cannot be told apart
		case err != nil:
			return nil, nil, fmt.Errorf("reading the agents: %w", err)
		}
		line, _ := r.FieldPos(0)
		a, wrong := parseAgent(record, used, b)
		if wrong == nil {
			if first, twice := lines[a.Username]; twice {
				wrong = &fault{0, "username", fmt.Sprintf("is that of line %d as well; give each agent once", first)}
			}
		}
		if wrong != nil {
			wrong.Line = line
			faults = append(faults, *wrong)
			continue
		}
		lines[a.Username] = line
		agents = append(agents, a)
	}
	return nil, faults, nil
}

// withoutMark skips the byte order mark that spreadsheets begin a file with; before
// a quote it would not be CSV.
func withoutMark(in io.Reader) io.Reader {
	const mark = "\ufeff"
	r := bufio.NewReader(in)
	if start, _ := r.Peek(len(mark)); string(start) == mark { // an error comes again with Read
		_, _ = r.Discard(len(mark))
	}
	return r
}

// parseHeader returns what the columns of a file are.
func parseHeader(header []string) (used []column, faults []fault) {
	for i, name := range header {
		name = strings.TrimSpace(name)
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		switch {
		case at < 0 && len(header) == 1 && strings.ContainsAny(name, ";\t"):
			faults = append(faults, fault{1, "", "the columns are separated by semicolons or tabs; save the file with commas"})
		case at < 0 && !utf8.ValidString(name):
			faults = append(faults, fault{1, "", "the file is not UTF-8; save it as UTF-8"})
			return nil, faults
		case at < 0:
			faults = append(faults, fault{1, "", fmt.Sprintf("column %d is none of %s; check its spelling and case", i+1, columnNames())})
		case slices.ContainsFunc(used, func(c column) bool { return c.name == name }):
			faults = append(faults, fault{1, name, "comes twice"})
		default:
			used = append(used, columns[at])
		}
	}
	if len(faults) == 0 && !slices.ContainsFunc(used, func(c column) bool { return c.name == "username" }) {
		faults = append(faults, fault{1, "", "there is no column username"})
	}
	return used, faults
}

// parseAgent reads a line.
func parseAgent(record []string, used []column, b directory.Brand) (directory.Agent, *fault) {
	a := directory.Agent{Brand: b.Name, Active: true}
	for i, c := range used {
		err := c.set(&a, strings.TrimSpace(strings.Clone(record[i])), b.Region)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			return a, &fault{Column: c.name, Reason: wrong.Reason}
		} else if err != nil {
			return a, &fault{Column: c.name, Reason: err.Error()}
		}
	}
	err := a.Validate()
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return a, &fault{Column: wrong.Field, Reason: wrong.Reason}
	}
	if err != nil {
		return a, &fault{Reason: cli.Message(err)}
	}
	return a, nil
}

// reportFaults says what is wrong, as FILE:LINE: on standard error, or in JSON.
func (a *admin) reportFaults(path string, faults []fault) error {
	if a.json {
		if err := json.NewEncoder(a.stdout).Encode(map[string]any{"imported": 0, "faults": faults}); err != nil {
			return err
		}
	} else {
		for _, f := range faults {
			fmt.Fprintf(a.stderr, "%s:%d: %s\n", path, f.Line, f)
		}
	}
	lines := fmt.Sprintf("%d lines are", len(faults))
	switch len(faults) {
	case 1:
		lines = "a line is"
	case maxFaults:
		lines = fmt.Sprintf("%d or more lines are", maxFaults)
	}
	return fmt.Errorf("%s wrong; nothing was imported", lines)
}

// importAgents writes the agents, and shows how far it is.
func (a *admin) importAgents(ctx context.Context, db *directory.DB, brand string, agents []directory.Agent) error {
	start := time.Now()
	bar := a.progress(len(agents))
	all := iter.Seq2[directory.Agent, error](func(yield func(directory.Agent, error) bool) {
		for _, one := range agents {
			if !yield(one, nil) {
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
	if a.json {
		return json.NewEncoder(a.stdout).Encode(map[string]any{
			"imported": did.Added + did.Updated, "added": did.Added, "replaced": did.Updated, "seconds": time.Since(start).Seconds(),
		})
	}
	_, err = fmt.Fprintf(a.stdout, "imported agents: %s, of them new: %s, in %v\n",
		humanize.Comma(int64(did.Added+did.Updated)), humanize.Comma(int64(did.Added)), time.Since(start).Round(time.Millisecond))
	return err
}

// progress returns a progress bar, which shows only where standard error is a
// terminal.
func (a *admin) progress(n int) *progressbar.ProgressBar {
	out, ok := a.stderr.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(out.Fd())) {
		return progressbar.DefaultSilent(int64(n))
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("importing agents"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	_ = bar.RenderBlank()
	return bar
}
