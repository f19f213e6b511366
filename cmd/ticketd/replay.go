package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

const memoryStore = "memory"

// replayKind returns the scheme of --replay, and whether the store is one that
// several processes share.
func replayKind(uri string) (kind string, shared bool, err error) {
	kind, _, _ = strings.Cut(uri, ":")
	switch kind {
	case memoryStore:
		if uri == memoryStore {
			return kind, false, nil
		}
	case "journal":
		if strings.HasPrefix(uri, "journal:") {
			return kind, false, nil
		}
	case "redis", "rediss", "valkey", "valkeys", "postgres", "postgresql":
		if _, err := url.Parse(uri); err == nil && strings.HasPrefix(uri, kind+"://") {
			return kind, true, nil
		}
	}
	return "", false, cli.Usagef("--replay is memory, journal:DIR, redis://…, rediss://… or postgres://…") // it may hold a password
}

// storeName returns what --replay names, without user, password and parameters.
func storeName(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return uri
	}
	return u.Scheme + "://" + u.Host + u.Path
}

type closerFunc func()

func (f closerFunc) Close() error { f(); return nil }

// openStore opens the replay store that --replay names. With ownKeys, this process
// made the ticket keys itself.
func openStore(ctx context.Context, o options, ownKeys bool, log *slog.Logger) (replay.Store, io.Closer, error) {
	kind, _, err := replayKind(o.replay)
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case memoryStore:
		m, err := replay.NewMemory(replay.MemoryConfig{NoBarrier: ownKeys})
		return m, closerFunc(func() {}), err
	case "journal":
		dir := strings.TrimPrefix(o.replay, "journal:")
		if dir == "" {
			dir = o.dataFile("replay")
		}
		j, err := replay.OpenJournal(dir, replay.JournalConfig{})
		if err != nil {
			return nil, nil, err
		}
		return j, j, nil
	case "postgres", "postgresql":
		s, err := pgstore.Open(ctx, pgstore.Config{URL: o.replay, Realm: o.realm, Log: log})
		if err != nil {
			return nil, nil, err
		}
		front, err := replay.NewFront(s, nil)
		return front, closerFunc(s.Close), err
	}
	s, err := redisstore.Open(ctx, redisstore.Config{URL: o.replay, Realm: o.realm})
	if err != nil {
		return nil, nil, err
	}
	front, err := replay.NewFront(s, nil)
	return front, closerFunc(s.Close), err
}

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
	if name := storeName(o.replay); last.Store != name {
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
