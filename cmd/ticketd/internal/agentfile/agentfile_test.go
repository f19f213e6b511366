package agentfile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Imports come to the agents in one order, whatever that of the file, so that of two
// at the same time none ends in a deadlock.
func TestImportOrder(t *testing.T) {
	file, mistakes, err := Read(strings.NewReader("username,email\nzoe,z@x\nann,a@x\nZoey,b@x\nÄnne,c@x\n"),
		directory.Brand{Name: "acme"})
	require.NoError(t, err)
	require.Empty(t, mistakes)
	var names []string
	for _, a := range file.Agents {
		names = append(names, a.Username)
	}
	assert.Equal(t, []string{"ann", "zoe", "Zoey", "Änne"}, names)
}
