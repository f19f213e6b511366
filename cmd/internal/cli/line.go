package cli

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns the arguments as one command line for a shell, with quotes where necessary.
func Line(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	return strings.Join(quoted, " ")
}

// bare matches arguments without a need for quotes in any shell.
var bare = regexp.MustCompile(`^[\pL\pN_@%+:,./-][\pL\pN_@%+=:,./-]*$`)

func quote(arg string) string {
	switch {
	case bare.MatchString(arg):
		return arg
	case !strings.ContainsFunc(arg, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }):
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	// $'...' of POSIX.1-2024; bash and zsh have had the form for long.
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(arg) {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// Operand returns a file's name in a form that cannot be mistaken for a flag.
func Operand(file string) string {
	if strings.HasPrefix(file, "-") {
		return "./" + file
	}
	return file
}
