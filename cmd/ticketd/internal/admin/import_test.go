package admin

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Who interrupts an import is told that nothing was imported.
func TestImportInterrupted(t *testing.T) {
	db, err := directory.Open(t.Context(), t.TempDir()+"/directory.db")
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: "acme"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &shell{stdout: io.Discard, stderr: io.Discard}
	err = a.importAgents(ctx, here{db}, "acme", "-", strings.NewReader("username\nann\n"), false)
	assert.EqualError(t, err, "nothing was imported: interrupted")
	all, err := db.Agents(t.Context(), "acme", "", 1)
	require.NoError(t, err)
	assert.Empty(t, all)
}
