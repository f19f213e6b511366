package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/replay"
)

// checks are what /readyz asks: all that a ticket cannot be issued or redeemed
// without. The keys are not among them: a keyring that cannot be read again leaves
// the last good keys in use.
func (s *service) checks(store replay.Store) []api.Check {
	return []api.Check{
		{Name: "directory", Ask: s.directory.Ping},
		{Name: "replay store", Ask: func(ctx context.Context) error {
			now := time.Now()
			c := replay.Claim{NotBefore: now, Expires: now.Add(time.Minute), RetainUntil: now.Add(2 * time.Minute)}
			_, _ = rand.Read(c.Nonce[:]) // of no ticket; it never fails
			_, err := store.Peek(ctx, c)
			return err
		}},
	}
}

// keyringReport is what "keyring status" and "keyring promote --wait-for" read.
type keyringReport struct {
	Time     time.Time        `json:"time"` // by this service's clock
	Keyrings []keyring.Report `json:"keyrings"`
}

// serveKeyrings says which keys are in use. It has none of the keys, and is for
// operators all the same.
func (s *service) serveKeyrings(w http.ResponseWriter, _ *http.Request) {
	r := keyringReport{Time: time.Now().UTC()}
	for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel} {
		r.Keyrings = append(r.Keyrings, s.rings[kind].Report())
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(r) // to a client that may be gone
}
