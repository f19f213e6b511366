package pgstore_test

import (
	"context"
	"log"
	"os"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/pgstore"
)

// Any number of login services share one database, and each one-time ticket
// admits once among them all.
func Example() {
	ctx := context.Background()
	store, err := pgstore.Open(ctx, pgstore.Config{
		URL:   os.Getenv("REPLAY_URL"), // postgres://service@db.example/replay?sslmode=verify-full
		Realm: "production",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	var opener tink.AEAD // the keyring
	verifier, err := verify.New(verify.Config{
		Opener: opener,
		Realm:  "production",
		Brands: []string{"acme"},
		Store:  store,
		Skew:   verify.Skew,
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}
