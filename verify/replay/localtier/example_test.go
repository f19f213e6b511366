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

// Of three replays, only the first asks the shared store. In a service the shared store
// is redisstore's or pgstore's.
func Example() {
	ctx := context.Background()
	shared, err := memory.Open(ctx, memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	tier, err := localtier.Open(ctx, localtier.Config{Store: shared})
	if err != nil {
		log.Fatal(err)
	}
	defer tier.Close()

	later := time.Now().Add(time.Minute)
	claim := replay.Claim{
		Issued: later, NotBefore: later, Expires: later.Add(time.Minute), RetainUntil: later.Add(3 * time.Minute),
	}
	for range 4 {
		answer, err := tier.Claim(ctx, claim)
		fmt.Println(answer.Status, err)
	}
	fmt.Println(tier.RoundTrips())
	// Output:
	// admitted <nil>
	// already_used <nil>
	// already_used <nil>
	// already_used <nil>
	// 2 2
}
