package keyring

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzHeader reads first lines: what is taken has one form.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(goodHeader))
	f.Add([]byte(goodHeader[:len(goodHeader)-1] + `,"tombstones":["00000001"]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := parseHeader(line)
		if err != nil {
			assert.Nil(t, h)
			return
		}
		again, err := h.encode()
		require.NoError(t, err)
		assert.Equal(t, line, again)
		assert.NotNil(t, h.primary())
	})
}

// FuzzAudit reads logs: of one that is taken, each line that is there was, and
// nothing of it can be left out but its end.
func FuzzAudit(f *testing.F) {
	l := &auditLog{}
	var log []byte
	for range 3 {
		line, _, err := l.intent(auditLine{Generation: 1, Time: newClock().t, Steps: []Step{{Do: Rotate, Key: 1}}, Why: "x"},
			"")
		require.NoError(f, err)
		log = append(append(log, line...), '\n')
		*l = auditLog{}
		require.NoError(f, l.parse(log))
		f.Add(bytes.Clone(log))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &auditLog{}
		if l.parse(data) != nil {
			return
		}
		whole := data[:l.size]
		if i := bytes.IndexByte(whole, '\n'); i >= 0 && i+1 < len(whole) {
			assert.Error(t, new(auditLog).parse(whole[i+1:]), "without its first line")
		}
		again := &auditLog{}
		require.NoError(t, again.parse(whole))
		assert.Equal(t, l.entries, again.entries)
	})
}
