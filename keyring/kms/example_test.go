package kms_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// A keyring under a key file. For a service of a cloud, only the URI differs.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	keyFile, file := filepath.Join(dir, "kek"), filepath.Join(dir, "tickets.keyring")
	if err := kms.CreateKeyFile(keyFile); err != nil {
		log.Fatal(err)
	}

	kek, err := kms.Open("file:"+keyFile, nil)
	if err != nil {
		log.Fatal(err)
	}
	c := keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek}
	if err := keyring.Create(file, c, keyring.DefaultPolicy(c.Kind), ""); err != nil {
		log.Fatal(err)
	}
	info, err := keyring.Read(file, c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Kind, info.KEK, info.Generation)
	// Output: ticket file 1
}

// A URI of a wrong form is found before anything is opened. The error does not repeat the
// URI, which may be a passphrase.
func ExampleCheckURI() {
	err := kms.CheckURI("passphrase:correct horse")
	if wrong, ok := errors.AsType[*token.ConfigError](err); ok {
		fmt.Println(wrong.Field)
	}
	fmt.Println(err)
	// Output:
	// kms.URI
	// kms.URI must not hold the passphrase; give passphrase:, passphrase:env:NAME or passphrase:file:PATH
}
