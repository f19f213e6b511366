package journal_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
)

// A restart forgets no redemption.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx, later := context.Background(), time.Now().Add(time.Minute)
	claim := replay.Claim{
		Nonce:       [16]byte{1},
		Issued:      later,
		NotBefore:   later,
		Expires:     later.Add(time.Minute),
		RetainUntil: later.Add(3 * time.Minute),
	}
	for range 2 {
		store, err := journal.Open(ctx, journal.Config{Dir: dir})
		if err != nil {
			log.Fatal(err)
		}
		answer, err := store.Claim(ctx, claim)
		fmt.Println(answer.Status, err)
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// admitted <nil>
	// already_used <nil>
}
