package admitone_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var profiles = flag.String("coverage", "", "coverage `PROFILES` of the tests, separated by commas, for TestCoverage")

// leastCoverage is the least share of a library package's statements that the tests run.
const leastCoverage = 0.9

// kits are library packages for tests.
var kits = []string{
	"client/clienttest", "verify/replay/replaytest", "verify/replay/internal/claimtest", "verify/internal/exactstore",
}

// covered is a part of a file whose statements run together.
type covered struct {
	fromLine, fromColumn, toLine, toColumn int
	statements, runs                       int
}

// has reports whether a position is in the part.
func (b covered) has(line, column int) bool {
	return (line > b.fromLine || line == b.fromLine && column >= b.fromColumn) &&
		(line < b.toLine || line == b.toLine && column <= b.toColumn)
}

// innermost returns the block that has a position, and lies in no other such block.
func innermost(blocks []covered, line, column int) (b covered, ok bool) {
	for _, one := range blocks {
		if one.has(line, column) && (!ok || b.has(one.fromLine, one.fromColumn)) {
			b, ok = one, true
		}
	}
	return b, ok
}

var profileLine = regexp.MustCompile(`^` + module + `/(\S+\.go):((\d+)\.(\d+),(\d+)\.(\d+)) (\d+) (\d+)$`)

// coverage returns the blocks of each file. Several tests may have run a block.
func coverage(t *testing.T, files string) map[string][]covered {
	t.Helper()
	merged := make(map[string]map[string]covered)
	for file := range strings.SplitSeq(files, ",") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			m := profileLine.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				require.True(t, strings.HasPrefix(line, "mode: "), "%s: %s", file, line)
				continue
			}
			var n [6]int
			for i := range n {
				n[i], err = strconv.Atoi(m[3+i])
				require.NoError(t, err)
			}
			if merged[m[1]] == nil {
				merged[m[1]] = make(map[string]covered)
			}
			merged[m[1]][m[2]] = covered{n[0], n[1], n[2], n[3], n[4], merged[m[1]][m[2]].runs + n[5]}
		}
	}
	all := make(map[string][]covered)
	for file, blocks := range merged {
		all[file] = slices.Collect(maps.Values(blocks))
	}
	return all
}

// TestCoverage reads the profiles of the flag -coverage. The tests run 90 % of the statements of
// each library package, and every refusal of a ticket, a configuration or a file: each place in
// the code that names a reason, an exported error or a literal of an error's type.
func TestCoverage(t *testing.T) {
	if *profiles == "" {
		t.Skip("has no coverage profiles; .ci/run gives them with -coverage")
	}
	all := coverage(t, *profiles)
	statements, ran := make(map[string]int), make(map[string]int)
	for file, blocks := range all {
		for _, b := range blocks {
			statements[filepath.Dir(file)] += b.statements
			if b.runs > 0 {
				ran[filepath.Dir(file)] += b.statements
			}
		}
	}
	for pkg := range imports(t) {
		if floor(t, pkg) < floor(t, "client") || floor(t, pkg) == floor(t, "internal") || slices.Contains(kits, pkg) {
			continue
		}
		files, err := fs.Glob(os.DirFS(pkg), "*.go")
		require.NoError(t, err)
		if !slices.ContainsFunc(files, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
			continue // has tests alone
		}
		share := float64(ran[pkg]) / float64(statements[pkg])
		t.Logf("%-32s %5.1f %%", pkg, 100*share)
		assert.GreaterOrEqual(t, share, leastCoverage, "%s: %d of %d statements", pkg, ran[pkg], statements[pkg])
	}
	found := 0
	for _, pkg := range []string{"token", "token/internal/armor", "token/signed", "verify", "verify/trust", "keyring"} {
		for _, r := range refusals(t, pkg) {
			b, ok := innermost(all[r.file], r.line, r.column)
			if !ok {
				continue // a comparison in a case, which refuses nothing
			}
			found++
			assert.Positive(t, b.runs, "%s:%d: no test runs into this refusal (%s)", r.file, r.line, r.what)
		}
	}
	assert.Greater(t, found, 100, "the refusals are found")
}

// refusal is a place in the code that refuses something.
type refusal struct {
	file         string
	line, column int
	what         string
}

// refusals returns the refusals of a package.
func refusals(t *testing.T, pkg string) (all []refusal) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	names := make(map[string]bool) // of reasons and exported errors
	entries, err := fs.Glob(os.DirFS(pkg), "*.go")
	require.NoError(t, err)
	for _, name := range entries {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, filepath.Join(pkg, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				maps.Copy(names, errorNames(g))
			}
		}
	}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if what := refusalIn(n, names); what != "" {
					at := set.Position(n.Pos())
					all = append(all, refusal{at.Filename, at.Line, at.Column, what})
				}
				return true
			})
		}
	}
	return all
}

// errorNames returns the reasons and the exported errors that a declaration declares.
func errorNames(g *ast.GenDecl) map[string]bool {
	names := make(map[string]bool)
	for _, s := range g.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		kind, _ := v.Type.(*ast.Ident)
		for _, name := range v.Names {
			if g.Tok == token.CONST && kind != nil && strings.HasSuffix(kind.Name, "Reason") ||
				g.Tok == token.VAR && strings.HasPrefix(name.Name, "Err") {
				names[name.Name] = true
			}
		}
	}
	return names
}

// errorTypes are the types of errors that callers tell apart.
var errorTypes = []string{"Error", "FieldError", "ConfigError", "FileError"}

// refusalIn returns the name of the refusal that a node is, or "".
func refusalIn(n ast.Node, names map[string]bool) string {
	switch n := n.(type) {
	case *ast.Ident:
		if names[n.Name] {
			return n.Name
		}
	case *ast.CompositeLit:
		name := fmt.Sprint(n.Type)
		if s, ok := n.Type.(*ast.SelectorExpr); ok {
			name = s.Sel.Name
		}
		if slices.Contains(errorTypes, name) {
			return name
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "fileError" {
			return f.Name
		}
	}
	return ""
}
