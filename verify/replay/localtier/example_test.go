package localtier_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
)

// The second replay of a nonce is refused without a question to the shared store. In
// this example, a memory stands for the shared store.
func Example() {
	ctx := context.Background()
	shared, err := memory.Open(ctx, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	store, err := localtier.Open(ctx, localtier.Config{Store: shared})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	issued := time.Now().Add(time.Second)
	for range 3 {
		answer, err := store.Claim(ctx, replay.Claim{
			Nonce:       [16]byte{1, 2, 3},
			NotBefore:   issued,
			Expires:     issued.Add(time.Minute),
			RetainUntil: issued.Add(2 * time.Minute),
		})
		fmt.Println(answer.Status, err)
	}
	asked, spared := store.RoundTrips()
	fmt.Println("asked:", asked, "spared:", spared)

	// Output:
	// admitted <nil>
	// already_used <nil>
	// already_used <nil>
	// asked: 2 spared: 1
}
