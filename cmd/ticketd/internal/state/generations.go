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

// A Reporter reports the state of a keyring or of another file with generations: a
// *keyring.Ring or a *trust.Ring.
type Reporter interface{ Report() keyring.Report }

// generations notes the highest generation seen of each keyring in a file. So an older
// keyring file, with a key disabled since, is refused after a restart. The service's own
// keyrings and the trust list go by their kind, and the keyrings of named issuers by their path.
type generations struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	rings map[string]Reporter
	seen  map[string]uint64

	stop chan struct{}
	done sync.WaitGroup
}

// Generations returns the highest generations seen, by the kind of the service's own keyrings
// and by the path of others.
func (p Place) Generations() (map[string]uint64, error) {
	return readGenerations(p.File("generations.json"))
}

// readGenerations returns the generations noted in the file at path, and none if the
// file does not exist.
func readGenerations(path string) (map[string]uint64, error) {
	seen := make(map[string]uint64)
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
	path string, seen map[string]uint64, rings map[string]Reporter, log *slog.Logger,
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
	for name, ring := range g.rings {
		if now := ring.Report().Generation; now > g.seen[name] {
			g.seen[name], newer = now, true
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

// noted returns the highest generation seen of a keyring.
func (g *generations) noted(name string) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[name]
}

// add notes the generations of a further keyring from now on.
func (g *generations) add(name string, ring Reporter) {
	g.mu.Lock()
	g.rings[name] = ring
	g.mu.Unlock()
	if err := g.note(); err != nil {
		g.log.Error("keyring generations not noted", "error", err)
	}
}

// Close notes the generations once more.
func (g *generations) Close() error {
	close(g.stop)
	g.done.Wait()
	return g.note()
}
