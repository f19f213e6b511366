package verify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// A backend issues a ticket; the login service redeems it, once.
func Example() {
	keys := must(token.NewKeyset(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))

	// The backend: who is it for, and where do they enter?
	issuer := must(token.NewIssuer(token.Config{Sealer: keys, Realm: "prod"}))
	ticket := must(issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "commbox", Username: "john.d", OneTime: true}))
	link := must(token.LoginURL("https://commbox.com/login", ticket))

	// The login service, on another machine, remembers redeemed tickets.
	store := must(memory.Open(context.Background(), memory.Config{NoBarrier: true})) // these keys are newer than it
	verifier := must(verify.New(verify.Config{
		Opener: keys, Realm: "prod", Brands: []string{"commbox"}, Store: store, Skew: verify.Skew,
	}))
	t, err := verifier.Redeem(context.Background(), ticket, verify.Use{Audience: token.Agent})
	fmt.Println(t.Username, err)
	_, err = verifier.Redeem(context.Background(), ticket, verify.Use{Audience: token.Agent})
	fmt.Println(err, len(link) < 250)

	// Output:
	// john.d <nil>
	// already_used: the one-time ticket was redeemed before; ask for a new one true
}

// A service knows two organisations as issuers. Each has keys of its own, and issues for its
// own brand only.
func ExampleNewIssuers() {
	newKeys := func() *token.Keyset {
		return must(token.NewKeyset(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	}
	acmeKeys, betaKeys := newKeys(), newKeys()
	issuers := must(verify.NewIssuers(
		verify.Issuer{Name: "acme", Keys: acmeKeys, Grant: verify.Grant{
			Brands: []string{"acme"}, Audiences: []token.Audience{token.Agent},
		}},
		verify.Issuer{Name: "beta", Keys: betaKeys, Grant: verify.Grant{
			Brands: []string{"beta"}, Audiences: []token.Audience{token.Agent},
		}},
	))
	store := must(memory.Open(context.Background(), memory.Config{NoBarrier: true}))
	verifier := must(verify.New(verify.Config{Issuers: issuers, Realm: "prod", AnyBrand: true, Store: store}))

	beta := must(token.NewIssuer(token.Config{Sealer: betaKeys, Realm: "prod"}))
	for _, brand := range []string{"beta", "acme"} {
		ticket := must(beta.Issue(&token.Ticket{Audience: token.Agent, Brand: brand, Username: "john.d", OneTime: true}))
		t, err := verifier.Redeem(context.Background(), ticket, verify.Use{Audience: token.Agent})
		if err != nil {
			fmt.Println(brand, verify.AsError(err).Reason)
			continue
		}
		fmt.Println(brand, "by", t.Issuer)
	}
	// Output:
	// beta by beta
	// acme issuer_not_allowed
}
