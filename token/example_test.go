package token_test

import (
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A backend issues a ticket for an agent and sends the agent's browser to the login page
// with the ticket. In production, the Sealer is a keyring.Ring.
func Example() {
	keys := must(token.NewKeyset(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	issuer := must(token.NewIssuer(token.Config{Sealer: keys, Realm: "prod"}))

	t := token.Ticket{Audience: token.Agent, OneTime: true, Brand: "acme", Username: "ann"}
	ticket := must(issuer.Issue(&t))
	url := must(token.LoginURL("https://apps.example.com/login", ticket))

	// The log gets the ticket's ID, never the ticket.
	before, _, _ := strings.Cut(url, "tkt1_")
	fmt.Println(before+"tkt1_…", t.Lifetime, len(t.ID.String()))
	// Output: https://apps.example.com/login?ta=tkt1_… 1m0s 32
}

// Open reads a ticket, and does not decide whether the ticket admits: verify.Verifier does.
func ExampleOpen() {
	keys := must(token.NewKeyset(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	issuer := must(token.NewIssuer(token.Config{Sealer: keys, Realm: "prod"}))
	ticket := must(issuer.Issue(&token.Ticket{Audience: token.Customer, Brand: "acme", Email: "bo@example.org"}))

	var t token.Ticket
	if err := token.Open(keys, must(token.AssociatedData("prod")), ticket, &t); err != nil {
		panic(err)
	}
	fmt.Println(t.Audience, t.Brand, t.Email, t.Lifetime)

	err := token.Open(keys, must(token.AssociatedData("test")), ticket, &t)
	fmt.Println(strings.HasPrefix(err.Error(), token.ErrForged.Error()))
	// Output:
	// customer acme bo@example.org 5m0s
	// true
}

// A channel's code stands in the URL of the chat instead of the internal channel ID.
func ExampleChannels() {
	keys := must(daead.New(must(keyset.NewHandle(daead.AESSIVKeyTemplate()))))
	channels := must(token.NewChannels(keys, "prod"))

	code := must(channels.Code("acme", "whatsapp-7"))
	fmt.Println(must(channels.ID("acme", code)))
	_, err := channels.ID("another brand", code)
	fmt.Println(err)
	// Output:
	// whatsapp-7
	// no such channel code
}
