package keyring_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// The security team makes a keyring with a policy. A service opens a Ring over the file and
// seals with the Ring, while the security team rotates the keyring.
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
	policy := keyring.DefaultPolicy(c.Kind)
	policy.RotateEvery = 7 * 24 * time.Hour
	if err := keyring.Create(file, c, policy, ""); err != nil {
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

	// The Ring is the Sealer and the Opener of tickets. Their keys must live as long.
	issuer, err := token.NewIssuer(token.Config{Sealer: ring, Realm: "prod", MaxLifetime: ring.Lifetime()})
	if err != nil {
		panic(err)
	}
	t := token.Ticket{Audience: token.Agent, Brand: "acme", Username: "ann"}
	if _, err := issuer.Issue(&t); err != nil {
		panic(err)
	}
	fmt.Println(t.KeyID == ring.Report().Primary, t.Lifetime)
	// Output:
	// hello, generation 2
	// true 1m0s
}

// A timer runs Apply every few minutes. Here, the clock moves instead.
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
