package issuers

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/internal/spelling"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// An entry is an issuer as the file describes it.
type entry struct {
	name    string
	keyring string // path of the keyring
	kek     string // URI of the key-encryption key; "" for the service's
	denied  bool
	grant   verify.Grant
}

// maxFile is the largest file, in bytes, and far above any.
const maxFile = 1 << 20

// A mistake is a mistake in a line of the file. The reason quotes no value, since a value may
// be a secret in the wrong place.
type mistake struct {
	line   int
	reason string
}

// A file is what a file says.
type file struct {
	entries []entry // in the order of the file; nil after a mistake

	// denied names the entries that are denied, also those with a mistake, or beside one.
	denied []string
}

// readFile reads a file. The error names every mistake with its line, and leaves the file's
// denials good.
func readFile(path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return file{}, err
	}
	if len(data) > maxFile {
		return file{}, fmt.Errorf("%s is over 1 MiB", path)
	}
	is, mistakes := parse(data)
	if len(mistakes) > 0 {
		var b strings.Builder
		for _, m := range mistakes {
			fmt.Fprintf(&b, "\n%s:%d: %s", path, m.line, m.reason)
		}
		return file{denied: is.denied}, errors.New("the file is wrong:" + b.String())
	}
	for i, e := range is.entries {
		if e.keyring != "" && !filepath.IsAbs(e.keyring) {
			is.entries[i].keyring = filepath.Join(filepath.Dir(path), e.keyring)
		}
	}
	return is, nil
}

// parse reads the entries in a YAML mapping of issuers' names to their fields. After a mistake, each
// part of the text that can be an entry is read alone, so that denials count.
func parse(data []byte) (is file, wrong []mistake) {
	is, wrong, ok := parseMapping(data)
	if ok && len(wrong) == 0 {
		return is, nil
	}
	for _, part := range parts(data) {
		one, mistakes, _ := parseMapping(part)
		is.denied = append(is.denied, one.denied...)
		if name := firstName(part); len(mistakes) > 0 && name != "" && saysDenied(part) {
			is.denied = append(is.denied, name)
		}
	}
	return is, wrong
}

var (
	denial    = regexp.MustCompile(`(?i)(?:^|[^\w.-])denied["']?\s*:\s*["']?(?:true|yes|on)\b`)
	flowEntry = regexp.MustCompile(`["']?[a-z0-9_.-]+["']?\s*:\s*\{`)
	lineEnds  = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\ufeff", "")
)

// saysDenied reports whether a line of a part denies, outside of comments.
func saysDenied(part []byte) bool {
	for line := range bytes.Lines(part) {
		line, _, _ = bytes.Cut(append([]byte(" "), line...), []byte(" #"))
		if denial.Match(line) {
			return true
		}
	}
	return false
}

// parts splits a text into what can be entries: in braces, from one name to the next one; else each
// from a line at the smallest indentation.
func parts(data []byte) (all [][]byte) {
	text := lineEnds.Replace(string(data))
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		end := len(text)
		for _, at := range slices.Backward(flowEntry.FindAllStringIndex(text, -1)) {
			all = append(all, []byte(text[at[0]:end]))
			end = at[0]
		}
		return all
	}
	left := len(text)
	for line := range strings.Lines(text) {
		if n, ok := begins(line); ok {
			left = min(left, n)
		}
	}
	for line := range strings.Lines(text) {
		if n, ok := begins(line); len(all) == 0 || ok && n <= left {
			all = append(all, nil)
		}
		last := len(all) - 1
		all[last] = append(all[last], line...)
	}
	return all
}

// begins returns the indentation of a line, and whether the line can begin an entry. A field with a
// value cannot: it stands too far to the left.
func begins(line string) (indentation int, ok bool) {
	text := strings.TrimLeft(line, " \t")
	name, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	isField := fields[strings.Trim(name, " \t\"'")] != nil && value != "" && !strings.ContainsAny(value[:1], "{#")
	return len(line) - len(text), strings.TrimSpace(text) != "" && text[0] != '#' && !isField
}

// firstName returns the issuer's name in the first line of a part, or "".
func firstName(part []byte) string {
	name, _, _ := strings.Cut(string(part), ":")
	name = strings.Trim(name, " \t\"'")
	if token.CheckIssuer("", name) != nil {
		return ""
	}
	return name
}

// parseMapping reads a mapping. ok is false if the text is no document of YAML.
func parseMapping(data []byte) (is file, wrong []mistake, ok bool) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := d.Decode(&document); {
	case err == io.EOF:
		return is, nil, true // empty, or comments only
	case err != nil:
		return is, []mistake{{1, "is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}, false
	case d.Decode(new(yaml.Node)) != io.EOF:
		return is, []mistake{{1, "there is a second document; write one"}}, false
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return is, nil, true
	}
	if root.Kind != yaml.MappingNode {
		wrong = []mistake{{root.Line, "write one issuer's name on each line of the first level, such as acme:"}}
		return is, wrong, false
	}
	seen := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		e := entry{name: key.Value}
		if key.Kind != yaml.ScalarNode || token.CheckIssuer("", e.name) != nil {
			wrong = append(wrong, mistake{key.Line, "an issuer's name is 1 to 64 characters of a-z, 0-9, '_', '.' and '-'"})
			continue
		}
		wrong = append(wrong, e.read(key.Line, value)...)
		if first, twice := seen[e.name]; twice {
			wrong = append(wrong, mistake{key.Line, fmt.Sprintf("%s is in line %d as well", e.name, first)})
		}
		seen[e.name] = key.Line
		if e.denied {
			is.denied = append(is.denied, e.name)
		}
		is.entries = append(is.entries, e)
	}
	return is, wrong, true
}

// fields are the keys of an issuer in the file. A setter returns what is wrong with the value,
// or "".
var fields = map[string]func(e *entry, n *yaml.Node) string{
	"keyring": func(e *entry, n *yaml.Node) string { return text(n, &e.keyring) },
	"kek": func(e *entry, n *yaml.Node) string {
		wrong := text(n, &e.kek)
		if wrong == "" && kms.CheckURI(e.kek) != nil {
			return "is no URI of a key-encryption key; see keyring --help"
		}
		return wrong
	},
	"denied": func(e *entry, n *yaml.Node) string {
		if n.Kind == yaml.ScalarNode && strings.EqualFold(n.Value, "true") { // also in quotes
			e.denied = true
			return ""
		}
		return flag(n, &e.denied)
	},
	"brands": func(e *entry, n *yaml.Node) string {
		var all string
		if n.Kind == yaml.ScalarNode && text(n, &all) == "" && all == "all" {
			e.grant.AnyBrand = true
			return ""
		}
		return list(n, &e.grant.Brands)
	},
	"audiences": func(e *entry, n *yaml.Node) string {
		var names []string
		if wrong := list(n, &names); wrong != "" {
			return wrong
		}
		for _, name := range names {
			i := slices.IndexFunc(audiences, func(a token.Audience) bool { return a.String() == name })
			if i < 0 {
				return "has a value other than agent and customer; administrators enter by the service's own links only"
			}
			e.grant.Audiences = append(e.grant.Audiences, audiences[i])
		}
		return ""
	},
	"max-lifetime": func(e *entry, n *yaml.Node) string {
		var s string
		wrong := text(n, &s)
		d, err := time.ParseDuration(s)
		if wrong == "" && (err != nil || d < time.Second || d > 24*time.Hour) {
			return "is no time from 1s to 24h, such as 90s or 5m"
		}
		e.grant.MaxLifetime = d
		return wrong
	},
	"many-times": func(e *entry, n *yaml.Node) string { return flag(n, &e.grant.ManyTimes) },
	"override":   func(e *entry, n *yaml.Node) string { return flag(n, &e.grant.Override) },
	"claims":     func(e *entry, n *yaml.Node) string { return list(n, &e.grant.Claims) },
	"until": func(e *entry, n *yaml.Node) string {
		var s string
		wrong := text(n, &s)
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			at, err = time.Parse(time.DateOnly, s)
		}
		if wrong == "" && err != nil {
			return "is no date, such as 2027-01-01 (from its beginning, UTC) or 2027-01-01T12:00:00Z"
		}
		e.grant.Until = at
		return wrong
	},
	"rate": func(e *entry, n *yaml.Node) string {
		var s string
		wrong := text(n, &s)
		r, err := strconv.ParseFloat(s, 64)
		if wrong == "" && (err != nil || !(r >= 0.001 && r <= 1e9)) {
			return "is no number of tickets a second, such as 20"
		}
		e.grant.Rate = r
		return wrong
	},
}

var audiences = []token.Audience{token.Agent, token.Customer}

// read reads the fields of an issuer.
func (e *entry) read(line int, n *yaml.Node) (wrong []mistake) {
	if n.Kind != yaml.MappingNode {
		return []mistake{{line, e.name + " has no fields; write keyring, brands and audiences below it"}}
	}
	seen := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		set := fields[key.Value]
		reason := ""
		switch first, twice := seen[key.Value]; {
		case set == nil:
			reason = unknownField(key.Value)
		case twice:
			reason = fmt.Sprintf("is in line %d as well", first)
			if denied := new(entry); key.Value == "denied" && set(denied, value) == "" {
				e.denied = e.denied || denied.denied
			}
		default:
			reason = set(e, value)
		}
		if seen[key.Value] = key.Line; reason != "" {
			if set != nil {
				reason = key.Value + " " + reason
			}
			wrong = append(wrong, mistake{cmp.Or(value.Line, key.Line), e.name + ": " + reason})
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	missing := func(field, remedy string) {
		if seen[field] == 0 {
			wrong = append(wrong, mistake{line, e.name + ": " + field + " is missing; " + remedy})
		}
	}
	if !e.denied { // a denied issuer may issue nothing, whatever else stands there
		missing("keyring", "give the path of the issuer's keyring of kind ticket")
		missing("brands", "list the brands whose tickets the issuer may issue, or write all")
		missing("audiences", "write [agent], [customer] or both")
	}
	return wrong
}

func unknownField(name string) string {
	var names []string
	for known := range fields {
		names = append(names, known)
	}
	slices.Sort(names)
	if near := spelling.Nearest(name, names); near != "" {
		return fmt.Sprintf("there is no field %q; did you mean %s?", spelling.Printable(name), near)
	}
	return fmt.Sprintf("there is no field %q; the fields are %s", spelling.Printable(name), strings.Join(names, ", "))
}

func text(n *yaml.Node, to *string) (wrong string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		return "has no value; write one, or remove the line"
	}
	*to = n.Value
	return ""
}

func flag(n *yaml.Node, to *bool) (wrong string) {
	if n.Kind != yaml.ScalarNode || n.Decode(to) != nil {
		return "is neither true nor false"
	}
	return ""
}

func list(n *yaml.Node, to *[]string) (wrong string) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return "is no list; write one, such as [acme, acme-de]"
	}
	for _, item := range n.Content {
		var s string
		if wrong := text(item, &s); wrong != "" {
			return "has an item without a value"
		}
		*to = append(*to, s)
	}
	return ""
}
