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
	if len(s) > limit {
		return "is longer than " + strconv.Itoa(limit) + " bytes; shorten it"
	}
	if printableASCII(s) {
		return ""
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

// printableASCII reports whether all bytes of s are from ' ' to '~'. It takes eight bytes
// at a time: v+0x01… sets a byte's top bit from 0x7f on, and v-0x20… below 0x20. A borrow
// can only make it report false, and the loop over runes decides then.
func printableASCII(s string) bool {
	const ones = 0x0101010101010101
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (v|(v+ones)|(v-0x20*ones))&(0x80*ones) != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
