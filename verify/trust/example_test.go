package trust_test

import (
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/trust"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// newIdentity makes an identity key. Programs open theirs with package kms: signed:PATH.
func newIdentity() (keyring.KEK, keyring.Identity) {
	_, private, err := ed25519.GenerateKey(nil)
	kek := must(keyring.NewIdentity(must(private, err)))
	id, _ := keyring.IdentityOf(kek)
	return kek, id
}

// An issuer publishes its public keys, and a login service takes them into its list.
func ExampleAdd() {
	dir := must(os.MkdirTemp("", "example"))
	defer os.RemoveAll(dir)

	// The issuer.
	issuer := keyring.Config{Kind: keyring.Issuer, Realm: "prod", KEK: keyring.InsecureCleartext} // a trial
	keys := filepath.Join(dir, "acme.keyring")
	if err := keyring.Create(keys, issuer, keyring.DefaultPolicy(keyring.Issuer), ""); err != nil {
		log.Fatal(err)
	}
	acmeKey, acme := newIdentity()
	bundle, _, err := keyring.Publish(keys, issuer, keyring.Publication{Name: "acme", Identity: acmeKey})
	if err != nil {
		log.Fatal(err)
	}

	// The login service's organisation, which has compared the fingerprint by telephone.
	ourKey, our := newIdentity()
	path := filepath.Join(dir, "trust.list")
	list, _, err := trust.Add(path, keyring.Config{Realm: "prod", KEK: ourKey}, "a new customer", trust.Enrolment{
		Bundle: bundle, Identity: acme, Grant: trust.Grant{Brands: []string{"acme"}, Audiences: []string{"agent"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list.Of("acme").Grant)

	// The login service: give ring to verify.Config.Issuers.
	ring := must(trust.Open(path, keyring.Config{Realm: "prod", KEK: our}))
	defer ring.Close()
	fmt.Println(len(ring.List().Of("acme").Keys), "key")
	// Output:
	// brands acme; audiences agent; one-time tickets only
	// 1 key
}
