package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// table is a table of results. A cell is a text, a number, or nil. A float64 is printed with
// three significant digits.
type table struct {
	Name    string   `json:"name"` // as in -only
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
}

// row appends a row. NaN and infinity, such as a ratio to 0, become nil: JSON lacks these
// numbers.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		if f, ok := c.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			cells[i] = nil
		}
	}
	t.Rows = append(t.Rows, cells)
}

func (t *table) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// markdown writes the table for a document.
func (t *table) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n| %s |\n|", t.Title, strings.Join(t.Columns, " | "))
	for range t.Columns {
		b.WriteString("---|")
	}
	b.WriteByte('\n')
	for _, row := range t.Rows {
		for _, c := range row {
			b.WriteString("| " + text(c) + " ")
		}
		b.WriteString("|\n")
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// text returns a cell for people.
func text(cell any) string {
	switch v := cell.(type) {
	case nil:
		return "–"
	case float64:
		switch {
		case v >= 100:
			return strconv.FormatFloat(v, 'f', 0, 64)
		case v >= 10:
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return fmt.Sprint(cell)
}

// writeJSON writes tables for programs: one table a line.
func writeJSON(w io.Writer, t *table) error { return json.NewEncoder(w).Encode(t) }
