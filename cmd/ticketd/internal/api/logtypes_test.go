package api

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// logTypes sees the JSON log of all tests in this package.
var logTypes typesOfKeys

// typesOfKeys notes the type of each key in a JSON log.
type typesOfKeys struct {
	mu    sync.Mutex
	first map[string]string
	wrong []string
}

func (k *typesOfKeys) Write(line []byte) (int, error) {
	var event map[string]any
	if err := json.Unmarshal(line, &event); err != nil {
		return 0, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first == nil {
		k.first = make(map[string]string)
	}
	for key, value := range event {
		kind := fmt.Sprintf("%T", value)
		if text, ok := value.(string); ok {
			if _, err := time.Parse(time.RFC3339, text); err == nil {
				kind = "time"
			}
		}
		if before := k.first[key]; before == "" {
			k.first[key] = kind
		} else if before != kind {
			k.wrong = append(k.wrong, fmt.Sprintf("%s is of type %s elsewhere: %s", key, before, line))
		}
	}
	return len(line), nil
}

// check holds that each key had one type up to now: trap S9, at run time.
func (k *typesOfKeys) check(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	assert.Empty(t, k.wrong)
}

func TestLogTypes(t *testing.T) {
	var k typesOfKeys
	for _, line := range []string{`{"a":"x","t":"2025-01-19T14:18:47Z"}`, `{"a":"y","n":1,"t":"2025-01-20T14:18:47.5Z"}`} {
		_, err := k.Write([]byte(line))
		assert.NoError(t, err)
	}
	assert.Empty(t, k.wrong)
	_, err := k.Write([]byte(`{"a":1,"t":"x"}`))
	assert.NoError(t, err)
	assert.Len(t, k.wrong, 2)
}
