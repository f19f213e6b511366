package main

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

// A store that was not asked for a while does not know what another one admitted
// meanwhile. So the data folder remembers which store is in use, and since when:
// older one-time tickets are refused. It remembers as well the largest clock
// tolerance that was ever served with: where a store lost its memory, tickets of
// an issuer who is ahead by that much may have been admitted before. And it remembers
// from when on the store's memory was complete, to tell of a loss.
type storeRecord struct {
	Store   string    `json:"store"`
	Since   time.Time `json:"since,omitzero"`
	Epoch   time.Time `json:"epoch,omitzero"`
	MaxSkew int64     `json:"maxSkewMillis"`
}

// barrier is a store behind such a moment.
type barrier struct {
	replay.Store
	since time.Time
}

func (b barrier) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if !c.NotBefore.After(b.since) {
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	}
	return b.Store.Claim(ctx, c)
}

func (b barrier) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if !c.NotBefore.After(b.since) {
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	}
	return b.Store.Peek(ctx, c)
}

// sinceLastChange puts a barrier before the store, if the data folder was used
// with another one before. maxSkew is what the verifier has to know as such. The log
// is told what is refused from now on.
func sinceLastChange(o options, store openedStore, now time.Time, log *slog.Logger) (_ replay.Store, maxSkew time.Duration, err error) {
	path := o.dataFile("replay.json")
	var last storeRecord
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &last); err != nil || last.Store == "" || last.MaxSkew < 0 || last.MaxSkew > maxSkewMillis {
			return nil, 0, fmt.Errorf("%s is damaged: it says which replay store was in use; remove it when all tickets issued so far have expired", path)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("reading which replay store was in use: %w", err)
	}
	next := last
	next.Store, next.Epoch = o.replay.name(), store.epoch.UTC().Round(0)
	switch {
	case last.Store == "": // the first start
	case last.Store != next.Store:
		next.Since = now.UTC()
		log.Warn("another replay store than before is in use: it does not know what that one admitted, so one-time tickets issued before now are refused",
			"replay", next.Store, "before", last.Store, "since", next.Since)
	case !last.Epoch.IsZero() && !next.Epoch.IsZero() && !next.Epoch.Equal(last.Epoch):
		log.Warn("the replay store has lost what it knew, in part or in whole: it was emptied, restored or restarted without its data; one-time tickets issued before its epoch are refused",
			"replay", next.Store, "epoch", next.Epoch, "before", last.Epoch)
	}
	// Rounded up: what is remembered is never less than what was.
	next.MaxSkew = max(last.MaxSkew, (o.skew + time.Millisecond - 1).Milliseconds())
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
		maxSkew = max(maxSkew, verify.Skew) // which other services of the realm need not say
	}
	if next.Since.IsZero() {
		return store.Store, maxSkew, nil
	}
	return barrier{store.Store, next.Since}, maxSkew, nil
}

// maxSkewMillis is more than any --skew.
const maxSkewMillis = int64(maxMaxLifetime / time.Millisecond)
