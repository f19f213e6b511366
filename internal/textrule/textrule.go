// Package textrule holds the rule for every short text of a ticket, a keyring or a record:
// at most so many bytes of UTF-8, without control characters.
package textrule

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Fault says what is wrong with a text of at most limit bytes, and what to do, or
// returns "". The fault completes a sentence that begins with the field's name.
//
// Control characters are refused because these texts reach HTTP headers and log lines.
// U+2028 and U+2029 end a line in some readers of both.
func Fault(s string, limit int) string {
	if len(s) <= limit && printableASCII(s) {
		return ""
	}
	return fault(s, limit)
}

func fault(s string, limit int) string {
	if len(s) > limit {
		return "is longer than " + strconv.Itoa(limit) + " bytes; shorten it"
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	for _, r := range s {
		if IsControl(r) {
			return "contains a control character; remove it"
		}
	}
	return ""
}

// IsControl reports whether a rune is a control character or ends a line.
func IsControl(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// printableASCII reports whether all bytes of s are from ' ' to '~'. It takes eight bytes at a
// time. The last eight may overlap the eight before, and so may the halves of a short s.
func printableASCII(s string) bool {
	n := len(s)
	switch {
	case n >= 8:
		odd := unprintable(four(s[n-8:]), four(s[n-4:]))
		for i := 0; i < n-8; i += 8 {
			odd |= unprintable(four(s[i:]), four(s[i+4:]))
		}
		return odd == 0
	case n >= 4:
		return unprintable(four(s), four(s[n-4:])) == 0
	}
	for i := range n {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// four returns the first four bytes of s.
func four(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// unprintable is 0 if all eight bytes are from ' ' to '~'. v+0x01… sets the top bit of a byte
// from 0x7f on, and v-0x20… of a byte below 0x20. A borrow can only give another result than 0,
// and then the loop over runes decides.
func unprintable(low, high uint64) uint64 {
	const ones = 0x0101010101010101
	v := low | high<<32
	return (v | (v + ones) | (v - 0x20*ones)) & (0x80 * ones)
}
