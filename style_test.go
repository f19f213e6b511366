package admitone_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxColumns is the length of a Go line. A tab counts as 1.
const maxColumns = 120

// source is a parsed Go file.
type source struct {
	path, pkg string // pkg is the folder
	fset      *token.FileSet
	file      *ast.File
	lines     []string
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources are the Go files of the repository, with tests and the nested modules, without testdata.
func sources(t *testing.T) (all []*source) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s := &source{path: path, pkg: filepath.Dir(path), fset: token.NewFileSet(), lines: strings.Split(string(data), "\n")}
		s.file, err = parser.ParseFile(s.fset, path, data, parser.ParseComments)
		all = append(all, s)
		return err
	}))
	require.Greater(t, len(all), 200)
	return all
}

// rawLines are the numbers of the lines that a raw string touches. Nothing can break those.
func (s *source) rawLines() map[int]bool {
	lines := make(map[int]bool)
	ast.Inspect(s.file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, "`") {
			for l := s.fset.Position(lit.Pos()).Line; l <= s.fset.Position(lit.End()).Line; l++ {
				lines[l] = true
			}
		}
		return true
	})
	return lines
}

// longWord is a URL, a vector or a regular expression, which no line break may split.
var longWord = regexp.MustCompile(`\S{60}`)

// row is one line of a table of cases: it begins with a brace, a text or a name, and ends with a comma.
var row = regexp.MustCompile(`^\s*(\w+: *\{|[{"]).*,( *//.*)?$`)

// A Go line has at most 120 columns. The reasons for a longer one: a word of 60 characters, a raw
// string, and in tests a row of a table.
func TestLineLength(t *testing.T) {
	for _, s := range sources(t) {
		raw := s.rawLines()
		for i, line := range s.lines {
			reason := longWord.MatchString(line) || raw[i+1] || s.test() && row.MatchString(line)
			if utf8.RuneCountInString(line) > maxColumns && !reason {
				t.Errorf("%s:%d: %d columns", s.path, i+1, utf8.RuneCountInString(line))
			}
		}
	}
}

// No error text of a library begins with a package's name: an error names a Go field, and the
// caller says where it came from.
func TestErrorsHaveNoPackagePrefix(t *testing.T) {
	for _, s := range sources(t) {
		library, _, _ := strings.Cut(s.pkg, "/")
		if s.test() || !slices.Contains([]string{"token", "keyring", "verify", "client", "internal"}, library) {
			continue
		}
		names := regexp.MustCompile(`^(token|keyring|kms|verify|web|replay|replaytest|client|` + s.file.Name.Name + `): `)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); assert.NoError(t, err) && names.MatchString(text) {
					t.Errorf("%s: %q", s.fset.Position(lit.Pos()), text)
				}
			}
			return true
		})
	}
}

// Each library package shows its use in an Example.
func TestLibrariesHaveExamples(t *testing.T) {
	examples := make(map[string]int)
	for _, s := range sources(t) {
		library, _, _ := strings.Cut(s.pkg, "/")
		public := slices.Contains([]string{"token", "keyring", "verify", "client"}, library)
		if !public || strings.Contains(s.pkg, "/internal/") {
			continue
		}
		examples[s.pkg] += 0
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test() && strings.HasPrefix(f.Name.Name, "Example") {
				examples[s.pkg]++
			}
		}
	}
	require.Greater(t, len(examples), 10)
	for pkg, n := range examples {
		assert.NotZero(t, n, pkg)
	}
}

// The README is short: everything else is in docs.
func TestReadmeWords(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(strings.Fields(string(readme))), 900)
	first, _, _ := strings.Cut(string(readme), "go run ./cmd/ticketd demo")
	assert.Less(t, strings.Count(first, "\n"), 20, "the first command is on the first screen")
}
