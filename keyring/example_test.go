package keyring_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

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

// A timer runs Apply every few minutes; here the clock is moved instead.
func ExampleApply() {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tickets.keyring")

	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	c := keyring.Config{Kind: keyring.Ticket, KEK: keyring.InsecureCleartext, Now: func() time.Time { return now }}
	if err := keyring.Create(file, c, keyring.DefaultPolicy(c.Kind), ""); err != nil {
		panic(err)
	}
	for range 4 {
		info, done, err := keyring.Apply(file, c, nil)
		if err != nil {
			panic(err)
		}
		for _, step := range done {
			fmt.Println(now.Format(time.DateTime), step.Do)
		}
		now = info.Plan(now).Steps[0].At // when something will be due
	}
	// Output:
	// 2026-02-04 08:57:50 rotate
	// 2026-02-04 09:00:00 promote
	// 2026-02-04 09:17:30 disable
}
