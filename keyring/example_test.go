package keyring_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// A service opens a Ring and seals with it, while the security team rotates the
// file underneath.
func Example() {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file, keyFile := filepath.Join(dir, "tickets.keyring"), filepath.Join(dir, "kek")

	if err := kms.CreateKeyFile(keyFile); err != nil {
		panic(err)
	}
	kek, err := kms.Open("file:"+keyFile, nil)
	if err != nil {
		panic(err)
	}
	c := keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek}
	if err := keyring.Create(file, c, keyring.DefaultPolicy(c.Kind), ""); err != nil {
		panic(err)
	}

	ring, err := keyring.Open(file, c)
	if err != nil {
		panic(err)
	}
	defer ring.Close()
	sealed, err := ring.Encrypt([]byte("hello"), []byte("context"))
	if err != nil {
		panic(err)
	}

	if _, err := keyring.Change(file, c, "", keyring.Step{Do: keyring.Rotate, Now: true}); err != nil {
		panic(err)
	}
	if err := ring.Reload(); err != nil { // or wait a second
		panic(err)
	}
	plain, err := ring.Decrypt(sealed, []byte("context"))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, generation %d\n", plain, ring.Report().Generation)
	// Output: hello, generation 2
}
