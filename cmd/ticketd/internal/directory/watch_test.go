package directory

import (
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// Of several processes that watch a file, one writes a stamp, and the others wait until all have seen
// it: a stamp that is written shortly before a checkpoint would look like a copy over the file.
//
// trap R38
func TestOneStampForACheckpoint(t *testing.T) {
	file := sqliteFile.place(t)
	ctx := t.Context()
	var all []*watch
	var first *DB
	for range 3 {
		db := open(t, file)
		if first == nil {
			first = db
		}
		w := db.file
		info, err := os.Stat(file)
		require.NoError(t, err)
		w.log = slog.New(slog.DiscardHandler)
		require.NoError(t, w.remember(ctx, w.file, info))
		all = append(all, w)
	}
	stamp := func() (text string) {
		var id string
		require.NoError(t, all[0].file.guard.QueryRowContext(ctx, stampQuery).Scan(&id, &text))
		return text
	}
	require.NoError(t, first.AddBrand(ctx, Brand{Name: "acme"}))
	for _, w := range all { // of which stamps are in the WAL already
		w.look()
	}
	for _, w := range all {
		w.pending = time.Time{} // as after a checkpoint
	}
	before := stamp()
	all[0].look()
	want := stamp()
	require.NotEqual(t, before, want)
	for _, w := range all[1:] {
		w.look()
		assert.Equal(t, want, stamp())
		assert.False(t, w.pending.IsZero())
	}
}
