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

// Imports come to the agents in one order, whatever that of the file, so that of two
// at the same time none ends in a deadlock.
func TestImportOrder(t *testing.T) {
	file, mistakes, err := parseAgents(strings.NewReader("username,email\nzoe,z@x\nann,a@x\nZoey,b@x\nÄnne,c@x\n"),
		directory.Brand{Name: "acme"})
	require.NoError(t, err)
	require.Empty(t, mistakes)
	var names []string
	for _, a := range file.agents {
		names = append(names, a.Username)
	}
	assert.Equal(t, []string{"ann", "zoe", "Zoey", "Änne"}, names)
}

// Who interrupts an import is told that nothing was imported.
func TestImportInterrupted(t *testing.T) {
	db, err := directory.Open(t.Context(), t.TempDir()+"/directory.db")
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: "acme"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &shell{stdout: io.Discard, stderr: io.Discard}
	err = a.importAgents(ctx, db, "acme", agentFile{agents: []directory.Agent{{Username: "ann"}}}, false)
	assert.EqualError(t, err, "nothing was imported: interrupted")
	all, err := db.Agents(t.Context(), "acme", "", 1)
	require.NoError(t, err)
	assert.Empty(t, all)
}
