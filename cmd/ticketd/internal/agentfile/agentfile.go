// Package agentfile reads files of agents: comma-separated values (RFC 4180) in UTF-8, whose
// first line names the columns.
package agentfile

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
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
	{"groups", func(a *directory.Agent, text, _ string) error { a.Groups = attribute.SplitList(text); return nil }},
	{"active", func(a *directory.Agent, text, _ string) (err error) {
		if text != "" {
			a.Active, err = attribute.ParseBool(strings.ToLower(text)) // spreadsheets write TRUE
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

// A Mistake is a wrong line of a file, or a wrong value.
type Mistake struct {
	Line   int    `json:"line"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

// String returns the column and the reason.
func (e Mistake) String() string {
	if e.Column == "" {
		return e.Reason
	}
	return e.Column + ": " + e.Reason
}

// MaxMistakes is the largest number of wrong lines reported. More wrong lines come
// from a single mistake.
const MaxMistakes = 50

// A File is the contents of a file of agents.
type File struct {
	Agents     []directory.Agent // in the order of their usernames
	lacks      []string          // the columns that the file does not have
	lines      map[string]int    // by UsernameKey
	activeOpen map[string]bool   // by UsernameKey: the column active is empty
}

// All returns the agents as an import takes them.
func (f File) All() iter.Seq2[directory.Agent, error] {
	return func(yield func(directory.Agent, error) bool) {
		for _, a := range f.Agents {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Line returns the line that names an agent, counted from 1; 0 for none.
func (f File) Line(username string) int { return f.lines[directory.UsernameKey(username)] }

// Missing returns the fields of an agent about which the file says nothing.
func (f File) Missing(a directory.Agent) []string {
	if f.activeOpen[directory.UsernameKey(a.Username)] {
		return append(slices.Clone(f.lacks), "active")
	}
	return f.lacks
}

// Read returns the contents of a file for a brand, and the mistakes in its lines: at most
// MaxMistakes. Lines with mistakes have no agent. An error means that the file could not be
// read.
func Read(in io.Reader, b directory.Brand) (f File, mistakes []Mistake, err error) {
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
	f.lines = make(map[string]int)
	for len(mistakes) < MaxMistakes {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			if !errors.Is(err, csv.ErrFieldCount) {
				// Lines can no longer be told apart.
				mistakes = append(mistakes, Mistake{syntax.StartLine, "", syntax.Err.Error()})
				break
			}
			reason := fmt.Sprintf("has %d values, and there are %d columns", len(record), len(used))
			mistakes = append(mistakes, Mistake{syntax.StartLine, "", reason})
			continue
		}
		if err != nil {
			return f, nil, fmt.Errorf("reading the agents: %w", err)
		}
		line, _ := r.FieldPos(0)
		a, wrong := parseAgent(record, used, b)
		key := directory.UsernameKey(a.Username)
		if first, twice := f.lines[key]; wrong == nil && twice {
			wrong = &Mistake{0, "username", fmt.Sprintf("is that of line %d as well; give each agent once", first)}
		}
		if wrong != nil {
			wrong.Line = line
			mistakes = append(mistakes, *wrong)
			continue
		}
		f.lines[key] = line
		f.Agents = append(f.Agents, a)
		if at := slices.IndexFunc(used, isActive); at >= 0 && strings.TrimSpace(record[at]) == "" {
			f.activeOpen[key] = true
		}
	}
	// Another import at the same time must update the agents in the same order.
	slices.SortFunc(f.Agents, func(a, b directory.Agent) int {
		return strings.Compare(directory.UsernameKey(a.Username), directory.UsernameKey(b.Username))
	})
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
func readHeader(r *csv.Reader) (used []column, mistakes []Mistake, err error) {
	header, err := r.Read()
	if err == io.EOF {
		return nil, []Mistake{{1, "", "the file is empty; its first line names the columns: " + columnNames()}}, nil
	}
	if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, []Mistake{{syntax.Line, "", syntax.Err.Error()}}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the agents: %w", err)
	}
	used, mistakes = parseHeader(header)
	return used, mistakes, nil
}

// parseHeader returns the columns of a header.
func parseHeader(header []string) (used []column, mistakes []Mistake) {
	wrong := func(column, reason string) { mistakes = append(mistakes, Mistake{1, column, reason}) }
	for i, name := range header {
		if len(mistakes) == MaxMistakes {
			break
		}
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
func parseAgent(record []string, used []column, b directory.Brand) (directory.Agent, *Mistake) {
	a := directory.Agent{Brand: b.Name, Active: true}
	for i, c := range used {
		err := c.set(&a, strings.TrimSpace(strings.Clone(record[i])), b.Region)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			return a, &Mistake{Column: c.name, Reason: wrong.Reason}
		} else if err != nil {
			return a, &Mistake{Column: c.name, Reason: err.Error()}
		}
	}
	err := a.Validate()
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return a, &Mistake{Column: wrong.Field, Reason: wrong.Reason}
	}
	if err != nil {
		return a, &Mistake{Reason: cli.Message(err)}
	}
	return a, nil
}
