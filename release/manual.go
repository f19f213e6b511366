package main

import (
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// writeManual writes a page man1/NAME.1.gz for each command of each program into dir, and
// returns dir. A page is the command's --help, set for man.
func writeManual(dir, bin string, r *release) (string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "man1"), 0o755); err != nil {
		return "", err
	}
	for _, p := range programs {
		c := command{page: p.page, words: []string{p.name}, summary: p.summary}
		if err := c.write(dir, filepath.Join(bin, p.name), r); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// A command is a command of a program.
type command struct {
	page    string   // name of the manual page: ticketd-agent-add
	words   []string // ticketd agent add
	summary string
	parent  string // its page, or ""
}

// write writes the page of a command, and the pages of its subcommands.
func (c command) write(dir, file string, r *release) error {
	out, err := exec.Command(file, append(c.words[1:], "--help")...).Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(c.words, " "), err)
	}
	h, err := parseHelp(string(out))
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(c.words, " "), err)
	}
	var subs []command
	for _, e := range h.commands() {
		// Both are of all programs.
		if e.name != "help" && e.name != "completion" {
			words := slices.Concat(c.words, []string{e.name})
			subs = append(subs, command{c.page + "-" + e.name, words, e.text, c.page})
		}
	}
	if err := writeGzip(filepath.Join(dir, "man1", c.page+".1.gz"), c.roff(h, subs, r)); err != nil {
		return err
	}
	for _, sub := range subs {
		if err := sub.write(dir, file, r); err != nil {
			return err
		}
	}
	return nil
}

func writeGzip(file, text string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write([]byte(text)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// help is the text of --help: what the command does, and sections with a title.
type help struct {
	long     string
	sections []section
}

type section struct{ title, text string }

// An entry is a command or a flag in a list.
type entry struct{ name, text string }

func parseHelp(text string) (*help, error) {
	long, rest, ok := strings.Cut(text, "\nUsage:\n")
	if !ok {
		return nil, fmt.Errorf("no usage in %q", text)
	}
	h := &help{long: strings.TrimSpace(long)}
	current := section{title: "Usage"}
	for line := range strings.Lines(rest) {
		title, isTitle := strings.CutSuffix(strings.TrimSuffix(line, "\n"), ":")
		switch {
		case isTitle && !strings.HasPrefix(line, " "):
			h.sections = append(h.sections, current)
			current = section{title: title}
		case strings.HasPrefix(line, `Use "`): // the last line: how to find the help of other commands
		default:
			current.text += line
		}
	}
	h.sections = append(h.sections, current)
	return h, nil
}

// listLine is a line of a list of commands.
var listLine = regexp.MustCompile(`(?m)^ +(\S+) +(\S.*)$`)

// flagLine is a line of a list of flags.
var flagLine = regexp.MustCompile(`(?m)^ +((?:-\w, )?--\S+(?: \S+)*?) {2,}(\S.*)$`)

func isCommands(title string) bool {
	switch title {
	case "Usage", "Examples", "Flags", "Global Flags", "Aliases":
		return false
	}
	return true
}

// commands returns the subcommands, of all groups.
func (h *help) commands() (all []entry) {
	for _, s := range h.sections {
		if isCommands(s.title) {
			all = append(all, entries(listLine, s.text)...)
		}
	}
	return all
}

func entries(line *regexp.Regexp, text string) (all []entry) {
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		all = append(all, entry{m[1], m[2]})
	}
	return all
}

// roff returns the page in the macros of man(7).
func (c command) roff(h *help, subs []command, r *release) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s %q %q\n", escape(strings.ToUpper(c.page)), r.time.UTC().Format("2006-01-02"),
		"admitone "+escape(r.version), "admitone")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(c.page), escape(c.summary))
	var options, examples strings.Builder
	for _, s := range h.sections {
		switch s.title {
		case "Usage":
			b.WriteString(".SH SYNOPSIS\n.nf\n")
			for line := range strings.Lines(s.text) {
				if line = strings.TrimSpace(line); line != "" {
					fmt.Fprintf(&b, ".B %s\n", escape(line))
				}
			}
			b.WriteString(".fi\n.SH DESCRIPTION\n")
			describeTo(&b, h.long)
		case "Examples":
			examples.WriteString(".SH EXAMPLES\n.nf\n")
			for line := range strings.Lines(strings.Trim(s.text, "\n")) {
				examples.WriteString(literal(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "  ")))
			}
			examples.WriteString(".fi\n")
		case "Flags", "Global Flags":
			if options.Len() == 0 {
				options.WriteString(".SH OPTIONS\n")
			}
			for _, e := range entries(flagLine, s.text) {
				flag, value, _ := strings.Cut(e.name, " ")
				if strings.HasSuffix(flag, ",") { // -h, --help
					short := flag
					flag, value, _ = strings.Cut(value, " ")
					flag = short + " " + flag
				}
				fmt.Fprintf(&options, ".TP\n\\fB%s\\fR", escape(flag))
				if value != "" {
					fmt.Fprintf(&options, " \\fI%s\\fR", escape(value))
				}
				fmt.Fprintf(&options, "\n%s", literal(e.text))
			}
		}
	}
	commands := ".SH COMMANDS\n"
	for _, s := range h.sections {
		if !isCommands(s.title) {
			continue
		}
		if s.title != "Available Commands" {
			commands += ".SS " + escape(s.title) + "\n"
		}
		for _, e := range entries(listLine, s.text) {
			commands += fmt.Sprintf(".TP\n\\fB%s\\fR\n%s", escape(e.name), literal(e.text))
		}
	}
	if len(h.commands()) > 0 {
		b.WriteString(commands)
	}
	b.WriteString(options.String() + examples.String() + c.seeAlso(subs))
	return b.String()
}

// seeAlso names the pages above and below.
func (c command) seeAlso(subs []command) string {
	var pages []string
	if c.parent != "" {
		pages = append(pages, c.parent)
	} else {
		for _, p := range programs {
			if p.page != c.page {
				pages = append(pages, p.page)
			}
		}
	}
	for _, sub := range subs {
		pages = append(pages, sub.page)
	}
	var b strings.Builder
	b.WriteString(".SH SEE ALSO\n")
	for i, page := range pages {
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", escape(page), end)
	}
	return b.String()
}

// describeTo writes paragraphs. Lines that are indented, such as those of a table, stay lines.
func describeTo(b *strings.Builder, text string) {
	asIs := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		indented := strings.HasPrefix(line, " ")
		switch {
		case indented && !asIs:
			b.WriteString(".nf\n")
		case !indented && asIs:
			b.WriteString(".fi\n.PP\n")
		case line == "":
			b.WriteString(".PP\n")
		}
		asIs = indented
		if line != "" {
			b.WriteString(literal(line))
		}
	}
	if asIs {
		b.WriteString(".fi\n")
	}
}

// literal returns a line of text that roff takes for no request.
func literal(line string) string {
	line = escape(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line + "\n"
}

// escape escapes what has a meaning in roff, and leaves ASCII alone: not every man shows more.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}

// writeCompletions writes the completions of each program for each shell into dir, under the
// names that the shells look for, and returns dir.
func writeCompletions(dir, bin string) (string, error) {
	for _, p := range programs {
		for shell, name := range map[string]string{"bash": p.name, "fish": p.name + ".fish", "zsh": "_" + p.name} {
			out, err := exec.Command(filepath.Join(bin, p.name), "completion", shell).Output()
			if err != nil {
				return "", fmt.Errorf("%s completion %s: %w", p.name, shell, err)
			}
			if err := os.MkdirAll(filepath.Join(dir, shell), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(filepath.Join(dir, shell, name), out, 0o644); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}
