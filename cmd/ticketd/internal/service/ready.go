package service

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/verify/replay"
)

// checks returns the checks of /readyz: everything that issuing or redeeming a ticket
// needs. The keyrings are not among them: if a keyring cannot be read again, the last
// good keys stay in use.
func checks(db *directory.DB, store *inTime) []api.Check {
	return []api.Check{
		{Name: "directory", Ask: db.Ping},
		{Name: "replay store", Ask: func(ctx context.Context) error {
			now := time.Now()
			c := replay.Claim{Issued: now, NotBefore: now, Expires: now.Add(time.Minute), RetainUntil: now.Add(2 * time.Minute)}
			_, _ = rand.Read(c.Nonce[:]) // of no ticket; rand.Read never fails
			// A store that can be read may be unable to write, as on a full disk. A claim takes
			// room in the store, so it is made only where one has failed.
			ask := store.Peek
			if store.failed.Load() {
				ask = store.Claim
			}
			_, err := ask(ctx, c)
			return err
		}},
	}
}
