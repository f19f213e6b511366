// Package spelling finds the name that a person or a program probably meant.
package spelling

import "strings"

// Nearest returns the name closest to the written name. If every name differs in a
// third of its letters or more, Nearest returns "".
func Nearest(written string, names []string) (found string) {
	least := 0
	for _, name := range names {
		if d := distance(written, name); 3*d < len(name) && (found == "" || d < least) {
			found, least = name, d
		}
	}
	return found
}

// distance returns the number of letters to insert, remove or replace between two texts, or
// of neighbours to exchange (optimal string alignment).
func distance(a, b string) int {
	var before, last []int // the rows of a[:i-1] and a[:i]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// Printable shortens a name from outside.
func Printable(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	return name
}
