package journal_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
)

// A nonce that was spent before a restart is spent after it.
func Example() {
	ctx := context.Background()
	parent, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)

	issued := time.Now().Add(time.Second)
	claim := replay.Claim{
		Nonce:       [16]byte{1, 2, 3},
		NotBefore:   issued,
		Expires:     issued.Add(time.Minute),
		RetainUntil: issued.Add(2 * time.Minute),
	}
	for range 2 {
		store, err := journal.Open(ctx, journal.Config{Dir: filepath.Join(parent, "replay")})
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
