package service

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestProcs(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 3, procs(2, ""))
	assert.Equal(t, 2, procs(2, "2"), "the environment decides")
}
