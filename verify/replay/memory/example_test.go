package memory_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// A verifier makes such claims: the first claim of a nonce is admitted, and no other.
func Example() {
	ctx := context.Background()
	store, err := memory.Open(ctx, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	issued := time.Now().Add(time.Second)
	claim := replay.Claim{
		Nonce:       [16]byte{1, 2, 3},
		NotBefore:   issued,
		Expires:     issued.Add(time.Minute),
		RetainUntil: issued.Add(2 * time.Minute),
	}
	for range 2 {
		answer, err := store.Claim(ctx, claim)
		fmt.Println(answer.Status, err)
	}

	// A ticket from before the store's memory.
	claim.Nonce, claim.NotBefore = [16]byte{4}, issued.Add(-time.Hour)
	answer, err := store.Claim(ctx, claim)
	fmt.Println(answer.Status, err)

	// Output:
	// admitted <nil>
	// already_used <nil>
	// issued_before_start <nil>
}

// The memory for 5,000 redemptions a second at the peak, each remembered for 6.5 minutes.
func ExamplePlan() {
	needs, err := memory.Plan(replay.Load{Rate: 5000, Retain: 390 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(needs.Bytes <= needs.MaxBytes, needs.MaxBytes>>20, "MiB")
	// Output: true 64 MiB
}
