package admitone_test

import (
	"bytes"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logKey is a key of the log.
var logKey = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// trap S9: each key of the log has one type in all events of the module, since a store of logs takes the
// type of the first. A duration has no unit in JSON, so durations are whole numbers under a key that ends in
// the unit.
func TestLogKeysHaveOneType(t *testing.T) {
	uses := logUses(t)
	require.Greater(t, len(uses), 40)
	require.Contains(t, uses["audience"], "string")
	for _, key := range slices.Sorted(maps.Keys(uses)) {
		kinds := slices.Sorted(maps.Keys(uses[key]))
		if len(kinds) > 1 {
			t.Errorf("%s has several types: %v", key, uses[key])
		}
		switch {
		case slices.Contains([]string{"string", "integer", "bool", "time"}, kinds[0]):
		default:
			t.Errorf("%s is of type %s: %v", key, kinds[0], uses[key][kinds[0]])
		}
		unit := strings.HasSuffix(key, "_ms") || strings.HasSuffix(key, "_us")
		assert.True(t, !unit || kinds[0] == "integer", "%s has a unit and is no whole number", key)
	}
}

// logUses returns the keys in all calls of the log, with their types and the places.
func logUses(t *testing.T) map[string]map[string][]string {
	t.Helper()
	command := exec.Command("go", "list", "-export", "-deps", "-f",
		`{{.ImportPath}}	{{.Export}}	{{if not .Standard}}{{.Dir}}	{{join .GoFiles " "}}{{end}}`, "./...")
	out, err := command.Output()
	require.NoError(t, err)
	exports := make(map[string]string)
	var ours [][]string
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		exports[f[0]] = f[1]
		if strings.HasPrefix(f[0], module+"/") && len(f) == 4 {
			ours = append(ours, f)
		}
	}
	uses := make(map[string]map[string][]string)
	for _, p := range ours {
		fset := token.NewFileSet()
		var files []*ast.File
		for name := range strings.FieldsSeq(p[3]) {
			f, err := parser.ParseFile(fset, filepath.Join(p[2], name), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
		imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
			data, err := os.ReadFile(exports[path])
			return io.NopCloser(bytes.NewReader(data)), err
		})
		info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object)}
		_, err := (&types.Config{Importer: imports}).Check(p[0], fset, files, info)
		require.NoError(t, err)
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				for key, value := range attributes(info, n) {
					kind := kindOf(info.TypeOf(value))
					if uses[key] == nil {
						uses[key] = make(map[string][]string)
					}
					uses[key][kind] = append(uses[key][kind], fset.Position(value.Pos()).String())
				}
				return true
			})
		}
	}
	return uses
}

// attributes returns the keys and values of a call of the log, or of a list of attributes.
func attributes(info *types.Info, n ast.Node) map[string]ast.Expr {
	var list []ast.Expr
	switch n := n.(type) {
	case *ast.CompositeLit:
		if isList(info.TypeOf(n)) {
			list = n.Elts
		}
	case *ast.CallExpr:
		switch f := ast.Unparen(n.Fun).(type) {
		case *ast.Ident:
			_, local := info.Uses[f].(*types.Var) // such as log := s.Log.Info
			if len(n.Args) > 0 && (local && logs(info.TypeOf(f)) || f.Name == "append" && isList(info.TypeOf(n.Args[0]))) {
				list = n.Args[1:]
			}
		case *ast.SelectorExpr:
			of := info.Uses[f.Sel]
			if of != nil && of.Pkg() != nil && (of.Pkg().Path() == "log/slog" || of.Name() == "Log") {
				list = n.Args
			}
		}
	}
	all := make(map[string]ast.Expr)
	for i := 0; i+1 < len(list); i++ {
		if v := info.Types[list[i]].Value; v != nil && v.Kind() == constant.String {
			if key := constant.StringVal(v); logKey.MatchString(key) {
				all[key] = list[i+1]
				i++
			}
		}
	}
	return all
}

// logs reports whether a type is that of slog.Logger's methods.
func logs(of types.Type) bool { return of.String() == "func(msg string, args ...any)" }

// isList reports whether a type is a list of attributes.
func isList(of types.Type) bool {
	list, ok := of.(*types.Slice)
	return ok && types.Identical(list.Elem(), types.Universe.Lookup("any").Type())
}

// kindOf returns the type that a store of logs sees. A type that slog writes in another way
// than its own is returned by name.
func kindOf(of types.Type) string {
	switch {
	case of.String() == "time.Time":
		return "time"
	case of.String() == "time.Duration":
		return "a duration without a unit"
	case types.Implements(of, types.Universe.Lookup("error").Type().Underlying().(*types.Interface)):
		return "string"
	}
	basic, _ := of.Underlying().(*types.Basic)
	_, named := of.(*types.Named)
	switch {
	case basic == nil || named && basic.Info()&types.IsString == 0:
		return of.String()
	case basic.Info()&types.IsString != 0:
		return "string"
	case basic.Info()&types.IsInteger != 0:
		return "integer"
	case basic.Info()&types.IsBoolean != 0:
		return "bool"
	}
	return of.String()
}
