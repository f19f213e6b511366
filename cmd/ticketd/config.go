package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// maxConfig is far above any configuration.
const maxConfig = 1 << 20

// fromConfig sets the flags that neither the command line nor the environment does
// from a YAML file: one mapping of flags' names to their values.
func fromConfig(cmd *cobra.Command, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if len(data) > maxConfig {
		return fmt.Errorf("--config: %s is over 1 MiB", path)
	}
	faults := applyConfig(cmd, path, data)
	if len(faults) == 0 {
		return nil
	}
	var b strings.Builder
	for _, fault := range faults {
		fmt.Fprintf(&b, "\n%s:%d: %s", path, fault.Line, fault)
	}
	return cli.Usagef("--config is wrong:%s", b.String())
}

// notConfig are the flags that no file sets.
var notConfig = []string{"config"}

// applyConfig returns what is wrong with the file. It quotes no value: some are
// secret.
func applyConfig(cmd *cobra.Command, path string, data []byte) (faults []fault) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	err := d.Decode(&document)
	if err == io.EOF {
		return nil // empty, or comments only
	}
	if err != nil {
		return []fault{syntaxFault(err)}
	}
	var more yaml.Node
	if err := d.Decode(&more); err != io.EOF {
		return []fault{{more.Line, "", "there is a second document; write one"}}
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return []fault{{root.Line, "", "write one setting on each line, such as listen: 127.0.0.1:8080"}}
	}
	names := slices.DeleteFunc(serviceFlags(cmd), func(name string) bool { return slices.Contains(notConfig, name) })
	seen := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := key.Value
		switch first, twice := seen[name]; {
		case key.Kind != yaml.ScalarNode || !slices.Contains(names, name):
			hint := "the keys are the names of serve's flags, without --"
			if near := nearest(name, names); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			faults = append(faults, fault{key.Line, "", fmt.Sprintf("unknown key %q; %s", printable(name), hint)})
			continue
		case twice:
			faults = append(faults, fault{key.Line, name, fmt.Sprintf("is set in line %d as well", first)})
			continue
		}
		seen[name] = key.Line
		text, wrong := scalar(value)
		if wrong == "" && !cmd.Flags().Changed(name) {
			if err := setFrom(cmd, fmt.Sprintf("%s:%d", path, value.Line), name, text); err != nil {
				wrong = reason(cmd.Flag(name), err).Error()
			}
		}
		if wrong != "" {
			faults = append(faults, fault{value.Line, name, wrong})
		}
	}
	return faults
}

// scalar returns a value as a flag takes it; a list is as one separated by commas.
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

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): (.*)`)

// syntaxFault takes a line number out of an error of the parser's.
func syntaxFault(err error) fault {
	f := fault{Line: 1, Reason: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &f.Line) // digits
		f.Reason = m[2]
	}
	return f
}

// printable shortens a name that may be anything.
func printable(name string) string {
	if len(name) > 64 {
		return strings.ToValidUTF8(name[:64], "") + "…"
	}
	return name
}
