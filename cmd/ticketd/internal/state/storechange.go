package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// MaxSkew is the largest tolerance for the clocks of other machines.
const MaxSkew = 24 * time.Hour

// ReplayStore is a replay store just opened for a data folder.
type ReplayStore struct {
	replay.Store
	Name  string    // kind and address, without secrets
	Epoch time.Time // start of the store's complete memory; zero if the store does not tell
}

// ReplayFile is the name of the record in a data folder.
const ReplayFile = "replay.json"

// storeRecord is the contents of ReplayFile, which says how the data folder was
// served before.
//
// A store does not know the tickets that another store admitted meanwhile, so after a
// change of the store tickets issued before the change are refused. And if a store
// lost its memory, tickets of an issuer whose clock was ahead by the tolerance may
// have been admitted before, so the largest tolerance is kept.
type storeRecord struct {
	Store   string    `json:"store"`
	Since   time.Time `json:"since,omitzero"` // the last change of the store
	Epoch   time.Time `json:"epoch,omitzero"` // of the store, to tell of a loss
	MaxSkew int64     `json:"maxSkewMillis"`
}

// ResumeReplay compares the store with the record of the data folder, and updates the
// record. The store it returns refuses one-time tickets issued before the last change
// to another store. maxSkew is the largest tolerance ever served with, for
// verify.Config.MaxSkew. The log is told which tickets are refused from now on.
func (p Place) ResumeReplay(
	store ReplayStore, skew time.Duration, now time.Time, log *slog.Logger,
) (_ replay.Store, maxSkew time.Duration, err error) {
	path := p.File(ReplayFile)
	last, err := readStoreRecord(path)
	if err != nil {
		return nil, 0, err
	}
	next := last
	next.Store, next.Epoch = store.Name, store.Epoch.UTC().Round(0)
	switch {
	case last.Store == "": // the first start
	case last.Store != next.Store:
		next.Since = now.UTC()
		log.Warn("another replay store than before is in use: it does not know the tickets that the other one admitted, "+
			"so one-time tickets issued before now are refused",
			"replay", next.Store, "last_replay", last.Store, "since", next.Since)
	case !last.Epoch.IsZero() && !next.Epoch.IsZero() && !next.Epoch.Equal(last.Epoch):
		log.Warn("the replay store has lost what it knew, in part or in whole: it was emptied, restored or restarted "+
			"without its data; one-time tickets issued before its epoch are refused",
			"replay", next.Store, "epoch", next.Epoch, "last_epoch", last.Epoch)
	}
	// Rounded up: the record never says less than was in use.
	next.MaxSkew = max(last.MaxSkew, (skew + time.Millisecond - 1).Milliseconds())
	if next != last {
		data, err := json.Marshal(next)
		if err != nil {
			return nil, 0, err
		}
		if err := durable.WriteFile(path, append(data, '\n'), 0o600); err != nil {
			return nil, 0, fmt.Errorf("noting which replay store is in use: %w", err)
		}
	}
	if maxSkew = time.Duration(next.MaxSkew) * time.Millisecond; maxSkew > 0 {
		maxSkew = max(maxSkew, verify.Skew) // the default of other services of the realm
	}
	if next.Since.IsZero() {
		return store.Store, maxSkew, nil
	}
	return barrier{store.Store, next.Since}, maxSkew, nil
}

// readStoreRecord reads the record at path. Without a file, the record is empty.
func readStoreRecord(path string) (r storeRecord, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("reading which replay store was in use: %w", err)
	}
	err = json.Unmarshal(data, &r)
	if err != nil || r.Store == "" || r.MaxSkew < 0 || r.MaxSkew > MaxSkew.Milliseconds() {
		return r, fmt.Errorf("%s is damaged: it says which replay store was in use; "+
			"remove it when all tickets issued so far have expired", path)
	}
	return r, nil
}

// barrier refuses tickets issued at or before since.
type barrier struct {
	replay.Store
	since time.Time
}

// Claim claims a nonce, unless its ticket may have been admitted by another store.
func (b barrier) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if !c.NotBefore.After(b.since) {
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	}
	return b.Store.Claim(ctx, c)
}

// Peek answers as Claim would.
func (b barrier) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if !c.NotBefore.After(b.since) {
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	}
	return b.Store.Peek(ctx, c)
}
