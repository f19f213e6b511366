package signed_test

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/hybrid"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An organisation issues tickets for a login service. Each side keeps a private key, and gives
// the other side the public half.
func Example() {
	signing := must(keyset.NewHandle(signature.ED25519KeyTemplate()))
	login := must(keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template()))

	// At the organisation:
	recipient := must(signed.NewSealingKey(must(login.Public())))
	sealer := must(signed.NewSealer("acme", must(signed.NewSigner(signing)), recipient))
	issuer := must(token.NewIssuer(token.Config{Signed: sealer, Realm: "prod"}))
	ticket := must(issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "acme", Username: "ann"}))

	// At the login service. In production, verify.Verifier opens the ticket, and decides.
	keys := must(signed.NewOpeningKeys(login))
	trusted := must(signed.NewTrusted(must(signed.NewVerifyingKeys("acme", must(signing.Public())))...))
	var t token.Ticket
	if _, err := signed.Open(keys, trusted, "prod", ticket, &t); err != nil {
		panic(err)
	}
	fmt.Println(t.Issuer, t.Brand, t.Username, ticket[:5])
	// Output: acme acme ann tkt2_
}
