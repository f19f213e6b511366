package replay_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// A client that lost the answer sends the same binding again, and gets the same answer.
func ExampleStore() {
	ctx := context.Background()
	var store replay.Store
	store, err := memory.Open(ctx, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	issued := time.Now().Add(time.Second)
	claim := replay.Claim{
		Nonce:       [16]byte{1, 2, 3},
		Issued:      issued,
		NotBefore:   issued,
		Expires:     issued.Add(time.Minute),
		RetainUntil: issued.Add(2 * time.Minute),
		Binding:     [32]byte{7},
	}
	for range 2 {
		answer, err := store.Claim(ctx, claim)
		fmt.Println(answer.Status, answer.Repeated, err)
	}
	claim.Binding = [32]byte{8}
	answer, err := store.Claim(ctx, claim)
	fmt.Println(answer.Status, err)

	// Output:
	// admitted false <nil>
	// admitted true <nil>
	// already_used <nil>
}

// The numbers of any store, for a page or a scrape.
func ExampleManaged() {
	ctx := context.Background()
	var store replay.Managed
	store, err := memory.Open(ctx, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	stats, err := store.Stats(ctx)
	if err != nil {
		log.Fatal(err) // a shared store may be out of reach
	}
	fmt.Println(stats.Live, "nonces;", stats.Answers[replay.AlreadyUsed], "replays; alarm:", stats.Err != nil)
	// Output: 0 nonces; 0 replays; alarm: false
}
