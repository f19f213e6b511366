package admitone_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each fuzz target has seeds in its code, so that no target looks for inputs from nothing. The
// folders with found inputs belong to targets that exist, and none is empty.
func TestFuzzSeeds(t *testing.T) {
	targets := make(map[string]bool) // by package and name
	require.NoError(t, filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Fuzz") || fn.Recv != nil {
				continue
			}
			targets[filepath.Join(filepath.Dir(path), "testdata", "fuzz", fn.Name.Name)] = true
			assert.True(t, addsSeed(fn.Body.List), "%s: %s has no f.Add that is always called", path, fn.Name.Name)
		}
		return nil
	}))
	assert.Greater(t, len(targets), 30)
	var kept []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(filepath.Dir(path), filepath.Join("testdata", "fuzz")) {
			kept = append(kept, path)
		}
		return err
	}))
	for _, folder := range kept {
		assert.True(t, targets[folder], "%s is of no fuzz target; rename it or remove it", folder)
		inputs, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.NotEmpty(t, inputs, folder)
	}
}

// addsSeed reports whether statements call f.Add, also in a loop over a list that is not empty.
func addsSeed(all []ast.Stmt) bool {
	for _, s := range all {
		switch s := s.(type) {
		case *ast.ExprStmt:
			call, ok := s.X.(*ast.CallExpr)
			if !ok {
				continue
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Add" {
				return true
			}
		case *ast.RangeStmt:
			list, isList := s.X.(*ast.CompositeLit)
			_, isCount := s.X.(*ast.BasicLit)
			if (isCount || isList && len(list.Elts) > 0) && addsSeed(s.Body.List) {
				return true
			}
		}
	}
	return false
}
