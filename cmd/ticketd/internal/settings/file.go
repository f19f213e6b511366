package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/spelling"
)

// maxFile is the largest configuration file, in bytes, and far above any.
const maxFile = 1 << 20

// lineError is a mistake in a line of the configuration file.
type lineError struct {
	line   int
	key    string // "" if the line is wrong as a whole
	reason string // quotes no value
}

// String returns the key and the reason.
func (e lineError) String() string {
	if e.key == "" {
		return e.reason
	}
	return e.key + ": " + e.reason
}

// fromFile sets the flags that neither the command line nor the environment sets, from
// a YAML file: one mapping of flags' names to their values.
func fromFile(cmd *cobra.Command, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return cli.ForFlag("config", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return cli.ForFlag("config", err)
	}
	if len(data) > maxFile {
		return &cli.FlagError{Flag: "config", Reason: path + " is over 1 MiB"}
	}
	mistakes := applyFile(cmd, path, data)
	if len(mistakes) == 0 {
		return nil
	}
	var b strings.Builder
	for _, m := range mistakes {
		fmt.Fprintf(&b, "\n%s:%d: %s", path, m.line, m)
	}
	return cli.Flagf("config", "is wrong:%s", b.String())
}

// applyFile sets flags from the contents of a file, and returns the mistakes in it.
func applyFile(cmd *cobra.Command, path string, data []byte) []lineError {
	root, wrong := parseFile(data)
	if wrong != nil {
		return []lineError{*wrong}
	}
	if root == nil {
		return nil
	}
	names := slices.DeleteFunc(Names(cmd), func(name string) bool { return name == "config" })
	var mistakes []lineError
	seen := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := key.Value
		if key.Kind != yaml.ScalarNode || !slices.Contains(names, name) {
			mistakes = append(mistakes, lineError{key.Line, "", unknownKey(name, names)})
			continue
		}
		if first, twice := seen[name]; twice {
			mistakes = append(mistakes, lineError{key.Line, name, fmt.Sprintf("is set in line %d as well", first)})
			continue
		}
		seen[name] = key.Line
		text, wrong := scalar(value)
		if wrong == "" && !cmd.Flags().Changed(name) {
			wrong = setFromLine(cmd, name, text, fmt.Sprintf("%s:%d", path, value.Line))
		}
		if wrong != "" {
			mistakes = append(mistakes, lineError{value.Line, name, wrong})
		}
	}
	return mistakes
}

// setFromLine sets a flag, and returns why the flag does not take the value.
func setFromLine(cmd *cobra.Command, name, text, source string) (wrong string) {
	err := cli.SetFrom(cmd.Flags(), name, text, source)
	if e, ok := errors.AsType[*cli.FlagError](err); ok {
		return e.Cause.Error() // the key takes the place of the flag
	}
	return ""
}

// parseFile returns the mapping in a file, and nil if the file has no content.
func parseFile(data []byte) (*yaml.Node, *lineError) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := d.Decode(&document)
	if err == io.EOF {
		return nil, nil // empty, or comments only
	}
	if err != nil {
		return nil, syntaxError(err)
	}
	if err := d.Decode(&second); err != io.EOF {
		return nil, &lineError{second.Line, "", "there is a second document; write one"}
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, &lineError{root.Line, "", "write one setting on each line, such as listen: 127.0.0.1:8080"}
	}
	return root, nil
}

// unknownKey returns the reason for refusing a key.
func unknownKey(name string, names []string) string {
	hint := "the keys are the names of serve's flags, without --"
	if near := spelling.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return fmt.Sprintf("unknown key %q; %s", spelling.Printable(name), hint)
}

// scalar returns a value as text for a flag. A list becomes its items separated by
// commas.
func scalar(n *yaml.Node) (text, wrong string) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", "has no value; write one, or remove the line"
	case n.Kind == yaml.ScalarNode:
		return n.Value, ""
	case n.Kind == yaml.SequenceNode:
		var all []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return "", "has an item that is not plain text"
			}
			all = append(all, item.Value)
		}
		return strings.Join(all, ","), ""
	}
	return "", "is neither a plain value nor a list of them"
}

// syntaxText matches the text of the YAML parser's errors: the parser has no other
// place for the line.
var syntaxText = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxError returns an error of the YAML parser with its line.
func syntaxError(err error) *lineError {
	e := &lineError{line: 1, reason: err.Error()}
	if m := syntaxText.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &e.line) // digits, or nothing
		e.reason = m[2]
	}
	return e
}
