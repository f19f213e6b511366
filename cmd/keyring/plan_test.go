package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReadPlan: a file is refused with words, or is a plan that is written and read as the same.
func FuzzReadPlan(f *testing.F) {
	f.Add([]byte(`{"generation":7,"fingerprint":"00ff","made":"2026-11-21T12:00:00Z","steps":[{"do":"rotate",` +
		`"at":"2026-11-21T12:00:00Z","urgency":"due"},{"do":"disable","key":"0000002a","at":"2026-11-22T12:00:00Z",` +
		`"urgency":"upcoming"}]}`))
	f.Add([]byte(`{"generation":0}`))
	f.Add([]byte(`{"generation":1,"fingerprint":"x"}{}`))
	f.Add([]byte{})
	dir := f.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(first, data, 0o600))
		p, err := readPlan(first)
		if err != nil {
			require.ErrorContains(t, err, first)
			return
		}
		require.NoError(t, os.RemoveAll(second))
		require.NoError(t, writePlan(second, *p))
		again, err := readPlan(second)
		require.NoError(t, err)
		require.Equal(t, p.Due(), again.Due())
		require.Equal(t, len(p.Steps), len(again.Steps))
	})
}
