package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

// noteEvery is the time between two looks at the generations of the keyrings.
const noteEvery = 5 * time.Second

// generations notes the highest generation seen of each keyring in a file. So an older
// keyring file, with a key disabled since, is refused after a restart.
type generations struct {
	path  string
	rings map[keyring.Kind]*keyring.Ring
	log   *slog.Logger

	mu   sync.Mutex
	seen map[keyring.Kind]uint64

	stop chan struct{}
	done sync.WaitGroup
}

// readGenerations returns the generations noted in the file at path, and none if the
// file does not exist.
func readGenerations(path string) (map[keyring.Kind]uint64, error) {
	seen := make(map[keyring.Kind]uint64)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &seen)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which says how new the keyrings must be, cannot be read: %w; "+
			"if the keyrings are the newest, remove it", path, err)
	}
	return seen, nil
}

// watchGenerations notes the generations now, every noteEvery, and at Close.
func watchGenerations(
	path string, seen map[keyring.Kind]uint64, rings map[keyring.Kind]*keyring.Ring, log *slog.Logger,
) (*generations, error) {
	g := &generations{path: path, rings: rings, log: log, seen: seen, stop: make(chan struct{})}
	if err := g.note(); err != nil {
		return nil, err
	}
	g.done.Go(func() {
		tick := time.NewTicker(noteEvery)
		defer tick.Stop()
		for {
			select {
			case <-g.stop:
				return
			case <-tick.C:
				if err := g.note(); err != nil {
					g.log.Error("keyring generations not noted", "error", err)
				}
			}
		}
	})
	return g, nil
}

// note writes the file if a keyring has a newer generation than the file says.
func (g *generations) note() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	newer := false
	for kind, ring := range g.rings {
		if now := ring.Report().Generation; now > g.seen[kind] {
			g.seen[kind], newer = now, true
		}
	}
	if !newer {
		return nil
	}
	data, err := json.Marshal(g.seen)
	if err != nil {
		return err
	}
	return durable.WriteFile(g.path, append(data, '\n'), 0o600)
}

// Close notes the generations once more.
func (g *generations) Close() error {
	close(g.stop)
	g.done.Wait()
	return g.note()
}
