package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/verify/replay"
)

// A store that was not asked for a while does not know what another one admitted
// meanwhile. So the data folder remembers which store is in use, and since when:
// older one-time tickets are refused.
type storeRecord struct {
	Store string    `json:"store"`
	Since time.Time `json:"since,omitzero"`
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
// with another one before.
func sinceLastChange(o options, store replay.Store, now time.Time) (replay.Store, error) {
	path := o.dataFile("replay.json")
	var last storeRecord
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &last); err != nil || last.Store == "" {
			return nil, fmt.Errorf("%s is damaged: it says which replay store was in use; remove it when all tickets issued so far have expired", path)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading which replay store was in use: %w", err)
	}
	if name := o.replay.name(); last.Store != name {
		if last.Store != "" {
			last.Since = now.UTC()
		}
		last.Store = name
		data, err := json.Marshal(last)
		if err != nil {
			return nil, err
		}
		if err := durable.WriteFile(path, append(data, '\n'), 0o600); err != nil {
			return nil, fmt.Errorf("noting which replay store is in use: %w", err)
		}
	}
	if last.Since.IsZero() {
		return store, nil
	}
	return barrier{store, last.Since}, nil
}
