package memory

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// The layout of a shard is as its comment says: a field that moves costs a claim a cache line.
func TestLayout(t *testing.T) {
	const line = 64
	assert.EqualValues(t, line, unsafe.Offsetof(shard{}.recent))
	assert.EqualValues(t, 2*line, unsafe.Offsetof(shard{}.answers))
	assert.EqualValues(t, 3*line, unsafe.Offsetof(shard{}.barrier))
	assert.Zero(t, unsafe.Sizeof(shard{})%line, "shards do not share a line")
	assert.EqualValues(t, windowBytes, unsafe.Sizeof(window{}))
	assert.Zero(t, cache.EntryBytes%line)
}
