package directory

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The stamp is read in the middle of a checkpoint, too: the first page says already how
// long the file will be.
//
// trap R38
func TestStampDuringACheckpoint(t *testing.T) {
	file := sqliteFile.place(t)
	db := open(t, file)
	require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
	do(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
	want, err := stampOf(t.Context(), file)
	require.NoError(t, err)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	const pages = 28 // where the header has the length
	length := binary.BigEndian.Uint32(content[pages:])
	require.EqualValues(t, len(content)/4096, length)
	binary.BigEndian.PutUint32(content[pages:], length+1000)
	growing := filepath.Join(t.TempDir(), "growing.db")
	require.NoError(t, os.WriteFile(growing, content, 0o600))
	got, err := stampOf(t.Context(), growing)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NoError(t, os.Truncate(growing, 0))
	_, err = stampOf(t.Context(), growing)
	assert.Error(t, err)
}
