package main

import (
	"strings"
	"unicode/utf8"
)

// Colours of terminals (ECMA-48). They repeat the words, for readers without colours.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// paint colours a text if standard output shows colours.
func (a *app) paint(colour, text string) string {
	if !a.colour || colour == "" {
		return text
	}
	return colour + text + reset
}

// table writes rows in columns. The function colour, which may be nil, returns the colour
// of a cell by the cell's column and text.
func (a *app) table(rows [][]string, colour func(column int, text string) string) {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		pad := 0
		for i, cell := range row {
			if cell != "" {
				b.WriteString(strings.Repeat(" ", pad))
				pad = 0
				c := ""
				if colour != nil {
					c = colour(i, cell)
				}
				b.WriteString(a.paint(c, cell))
			}
			pad += width[i] - utf8.RuneCountInString(cell) + 2
		}
		a.say("%s", b.String())
	}
}
