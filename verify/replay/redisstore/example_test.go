package redisstore_test

import (
	"context"
	"log"
	"os"

	"github.com/admitone/admitone/verify/replay/redisstore"
)

// Three Sentinels, and the primary that they watch.
func ExampleOpen() {
	store, err := redisstore.Open(context.Background(), redisstore.Config{
		URL: "rediss://admitone:" + os.Getenv("REDIS_PASSWORD") +
			"@redis-1.example:26379?addr=redis-2.example:26379&addr=redis-3.example:26379&master_set=tickets",
		Realm: "prod",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// Give it to verify.New as Config.Store.
}
