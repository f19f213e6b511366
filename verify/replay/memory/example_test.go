package memory_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// A verifier spends a nonce, once.
func Example() {
	ctx := context.Background()
	store, err := memory.Open(ctx, memory.Config{NoBarrier: true}) // this process made the keys
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	issued, skew, lifetime := time.Now(), 10*time.Second, time.Minute
	claim := replay.Claim{
		Issued:      issued,
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(lifetime),
		RetainUntil: issued.Add(lifetime + 3*skew + time.Minute),
	}
	rand.Read(claim.Nonce[:])
	for range 2 {
		answer, err := store.Claim(ctx, claim)
		fmt.Println(answer.Status, err)
	}
	// Output:
	// admitted <nil>
	// already_used <nil>
}

// A bound for 500 one-time tickets a second, each with a lifetime of 5 minutes.
func ExamplePlan() {
	needs, err := memory.Plan(replay.Load{Rate: 500, Retain: 5*time.Minute + 3*10*time.Second + time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(needs.MaxBytes == memory.DefaultBytes, needs.ErrorRate < 1e-6)
	// Output: true true
}
