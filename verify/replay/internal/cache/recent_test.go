package cache

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

func TestSizes(t *testing.T) {
	assert.EqualValues(t, EntryBytes, unsafe.Sizeof(Entry{}))
	assert.EqualValues(t, BlockBytes, unsafe.Sizeof(Block{}))
}
