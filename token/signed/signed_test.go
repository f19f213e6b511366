package signed

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	aeadTemplates "github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	tinkhpke "github.com/tink-crypto/tink-go/v2/hybrid/hpke"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
)

// suites are all pairs of a signing key and a recipient's key.
func suites() map[string]struct {
	by signing
	to decryption
} {
	all := make(map[string]struct {
		by signing
		to decryption
	})
	for s, by := range map[string]signing{"ED25519": acme, "ECDSA_P256": acmeECDSA} {
		for h, to := range map[string]decryption{"X25519": ours, "P256": oursP256, "XWING": oursXW} {
			all[s+" "+h] = struct {
				by signing
				to decryption
			}{by, to}
		}
	}
	return all
}

// reference is the request of the ticket API's documentation.
func reference() *token.Ticket {
	return &token.Ticket{
		Audience: token.Agent, OneTime: true,
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", UniqueID: "123456",
		FirstName: "John", LastName: "Doe", Phone1: "+442501234567",
	}
}

func sealingKeyOf(t testing.TB, k decryption) *SealingKey {
	t.Helper()
	public, err := handleOf(k).Public()
	require.NoError(t, err)
	key, err := NewSealingKey(public)
	require.NoError(t, err)
	return key
}

func openingKeys(t testing.TB, keys ...any) *OpeningKeys {
	t.Helper()
	k, err := NewOpeningKeys(handleOf(keys...))
	require.NoError(t, err)
	return k
}

func trust(t testing.TB, issuers map[string][]any) *Trusted {
	t.Helper()
	var all []*VerifyingKey
	for name, keys := range issuers {
		all = append(all, verifyingKeys(t, name, handleOf(keys...))...)
	}
	trusted, err := NewTrusted(all...)
	require.NoError(t, err)
	return trusted
}

// newIssuer returns an Issuer in the realm prod.
func newIssuer(t testing.TB, name string, by signing, to Recipient) *token.Issuer {
	t.Helper()
	signer, err := NewSigner(handleOf(by))
	require.NoError(t, err)
	sealer, err := NewSealer(name, signer, to)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: "prod"})
	require.NoError(t, err)
	return issuer
}

func issue(t testing.TB, issuer *token.Issuer) (string, *token.Ticket) {
	t.Helper()
	tk := reference()
	s, err := issuer.Issue(tk)
	require.NoError(t, err)
	return s, tk
}

// decode returns a ticket's sealed bytes.
func decode(t testing.TB, ticket string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(ticket[5:])
	require.NoError(t, err)
	return b
}

// encrypt does what everybody with the recipient's public key can do.
func encrypt(t testing.TB, to decryption, plain []byte) string {
	t.Helper()
	public, err := must(hpke.NewKEM(to.kem.id)).NewPublicKey(to.kem.public(to.private))
	require.NoError(t, err)
	sealed, err := hpke.Seal(public, kdf, aead, []byte("admitone/ticket/2\x00prod"), plain)
	require.NoError(t, err)
	return text(slices.Concat(keyPrefix(to.id), sealed))
}

// decrypt does what everybody with the recipient's private key can do.
func decrypt(t testing.TB, to decryption, ticket string) []byte {
	t.Helper()
	private, err := must(hpke.NewKEM(to.kem.id)).NewPrivateKey(to.private)
	require.NoError(t, err)
	plain, err := hpke.Open(private, kdf, aead, []byte("admitone/ticket/2\x00prod"), decode(t, ticket)[5:])
	require.NoError(t, err)
	return plain
}

func TestIssueOpen(t *testing.T) {
	keys := openingKeys(t, ours, oursP256, oursXW)
	trusted := trust(t, map[string][]any{"acme": {acme, acmeECDSA}, "beta": {beta}})
	lengths := map[string]int{"X25519": 297, "P256": 341, "XWING": 1748}
	for name, suite := range suites() {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t, "acme", suite.by, sealingKeyOf(t, suite.to))
			s, tk := issue(t, issuer)
			assert.Regexp(t, "^"+token.Pattern+"$", s)
			assert.Len(t, s, lengths[strings.Fields(name)[1]])
			var got token.Ticket
			require.NoError(t, open(keys, trusted, "prod", s, &got))
			assert.Equal(t, *tk, got, "what was issued, with the fields that Issue fills in, is what is read")
			assert.Equal(t, "acme", got.Issuer)
			assert.Equal(t, token.KeyID(suite.by.id), got.SigningKey)
			assert.Equal(t, token.KeyID(suite.to.id), got.KeyID)
			assert.ErrorIs(t, open(keys, trusted, "test", s, &got), token.ErrForged)
			assert.Zero(t, got)
		})
	}
}

// The longest ticket of each recipient has 2,048 characters.
func TestLongest(t *testing.T) {
	keys, trusted := openingKeys(t, ours, oursP256, oursXW), trust(t, map[string][]any{"acme": {acme}})
	for _, row := range []struct {
		to   decryption
		room int
	}{{ours, 1410}, {oursP256, 1377}, {oursXW, 322}} {
		issuer := newIssuer(t, "acme", acme, sealingKeyOf(t, row.to))
		sizes := make(map[bool]int)
		for size := row.room - 1; size <= row.room+1; size++ {
			tk := &token.Ticket{Audience: token.Agent, Brand: "b", Username: "u", Claims: make(map[string]string)}
			rest := size - 28 - 3 - 3
			for i := 0; rest > 0; i++ {
				n := min(rest, 500)
				if rest > n && rest < n+50 {
					n -= 50
				}
				overhead := 5 // tag, length, the name's length and the name
				if n > 127+2 {
					overhead++
				}
				tk.Claims[string(rune('a'+i))+"c"] = strings.Repeat("v", n-overhead)
				rest -= n
			}
			s, err := issuer.Issue(tk)
			sizes[err == nil] = size
			if err != nil {
				var fe *token.FieldError
				require.ErrorAs(t, err, &fe)
				continue
			}
			require.NoError(t, open(keys, trusted, "prod", s, new(token.Ticket)))
			require.LessOrEqual(t, len(s), 2048)
		}
		assert.Equal(t, map[bool]int{true: row.room, false: row.room + 1}, sizes, row.to.kem.tink.String())
	}
}

// open is Open, without the key that verified the ticket.
func open(keys Unsealer, trusted *Trusted, realm, ticket string, t *token.Ticket) error {
	by, err := Open(keys, trusted, realm, ticket, t)
	if (by == nil) != (err != nil) || by != nil && (by.Issuer() != t.Issuer || by.ID() != t.SigningKey) {
		panic("the key is another")
	}
	return err
}

// trap F1: encrypted is not signed. What anybody makes with the public key alone is refused, and
// its content reaches nobody.
func TestEncryptedIsNotSigned(t *testing.T) {
	keys, trusted := openingKeys(t, ours), trust(t, map[string][]any{"acme": {acme, acmeECDSA}, "beta": {beta}})
	s, _ := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, ours)))
	signature := decrypt(t, ours, s)[:sigSize]
	for name, plain := range map[string][]byte{
		"nothing":           {},
		"no signature":      agentPayload,
		"zeros":             append(append(keyPrefix(acme.id), make([]byte, 64)...), agentPayload...),
		"zeros, ECDSA":      append(append(keyPrefix(acmeECDSA.id), make([]byte, 64)...), agentPayload...),
		"of a stranger":     append(append(keyPrefix(acme.id), stranger.sign(agentPayload)...), agentPayload...),
		"of the payload":    append(append(keyPrefix(acme.id), acme.sign(agentPayload)...), agentPayload...),
		"replayed":          slices.Concat(signature, customerPayload),
		"replayed, shorter": signature,
	} {
		t.Run(name, func(t *testing.T) {
			var got token.Ticket
			err := open(keys, trusted, "prod", encrypt(t, ours, plain), &got)
			require.Error(t, err)
			assert.True(t, errors.Is(err, token.ErrForged) || errors.Is(err, ErrUnknownIssuer), err)
			assert.Zero(t, got)
			for _, word := range []string{"commbox", "john", "zo"} {
				assert.NotContains(t, err.Error(), word)
			}
		})
	}
	// Nobody can get at the content in another way.
	var exported []string
	for _, of := range []any{&Sealer{}, &SealingKey{}, &OpeningKey{}, &OpeningKeys{}, &VerifyingKey{}, &Trusted{}} {
		for i := range reflect.TypeOf(of).NumMethod() {
			exported = append(exported, reflect.TypeOf(of).Elem().Name()+"."+reflect.TypeOf(of).Method(i).Name)
		}
	}
	assert.Equal(t, []string{"Sealer.Lifetime", "Sealer.Seal", "SealingKey.ID", "SealingKey.SealingKey",
		"OpeningKeys.OpeningKey", "OpeningKeys.Opens", "VerifyingKey.ID", "VerifyingKey.Issuer",
		"VerifyingKey.NotAfter"}, exported)
}

// trap F2: a public key is no secret. Nothing of format 2 stands where an AEAD is wanted, and the
// formats do not open each other's tickets.
func TestPublicKeyIsNoSecret(t *testing.T) {
	aeads := []reflect.Type{reflect.TypeFor[tink.AEAD](), reflect.TypeFor[tink.HybridDecrypt]()}
	for _, of := range []any{&Sealer{}, &SealingKey{}, &OpeningKey{}, &OpeningKeys{}, &signer{}} {
		for _, a := range aeads {
			assert.False(t, reflect.TypeOf(of).Implements(a), "%T", of)
		}
	}
	opener := reflect.TypeFor[Unsealer]()
	others := append(aeads, reflect.TypeFor[*token.Keyset](), reflect.TypeFor[tink.HybridEncrypt]())
	for _, other := range others {
		assert.False(t, other.Implements(opener), other)
	}

	keys, trusted := openingKeys(t, ours), trust(t, map[string][]any{"acme": {acme}})
	s, _ := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, ours)))
	err := open(keys, trusted, "prod", "tkt1_"+s[5:], new(token.Ticket))
	assert.ErrorIs(t, err, token.ErrUnsupportedVersion)
	ad, err := token.AssociatedData("prod")
	require.NoError(t, err)
	first, err := token.NewKeyset(must(keyset.NewHandle(aeadTemplates.AES256GCMKeyTemplate())))
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: first, Realm: "prod"})
	require.NoError(t, err)
	s1, _ := issue(t, issuer)
	assert.ErrorIs(t, token.Open(first, ad, s, new(token.Ticket)), token.ErrUnsupportedVersion)
	assert.ErrorIs(t, token.Open(first, ad, "tkt1_"+s[5:], new(token.Ticket)), token.ErrUnknownKey)
	assert.ErrorIs(t, open(keys, trusted, "prod", "tkt2_"+s1[5:], new(token.Ticket)), token.ErrUnknownKey)
	_, err = token.NewIssuer(token.Config{Sealer: first, Signed: &Sealer{}})
	var ce *token.ConfigError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, "token.Config.Sealer", ce.Field)
}

// trap F3: a recipient cannot pass a ticket on, although realm and key ID are the same there.
func TestForwarding(t *testing.T) {
	for _, same := range []struct{ a, b decryption }{
		{ours, others},
		{decryption{p256, 7, run(1, 32)}, decryption{p256, 7, run(2, 32)}},
		{decryption{xwing, 7, run(1, 32)}, decryption{xwing, 7, run(2, 32)}},
		{decryption{x25519, 7, run(1, 32)}, decryption{p256, 7, run(1, 32)}}, // one private key in two suites
	} {
		trusted := trust(t, map[string][]any{"acme": {acme}})
		s, _ := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, same.a)))
		require.NoError(t, open(openingKeys(t, same.a), trusted, "prod", s, new(token.Ticket)))
		forwarded := encrypt(t, same.b, decrypt(t, same.a, s))
		err := open(openingKeys(t, same.b), trusted, "prod", forwarded, new(token.Ticket))
		assert.ErrorIs(t, err, token.ErrForged)
	}
}

func TestEmptyKeys(t *testing.T) {
	for _, k := range []*VerifyingKey{nil, {}} {
		_, err := NewTrusted(k)
		assert.ErrorContains(t, err, "give the keys of NewVerifyingKeys")
	}
	// Nil pointers and zero values are refused before the first ticket.
	signer, err := NewSigner(handleOf(acme))
	require.NoError(t, err)
	to := sealingKeyOf(t, ours)
	var none *rotating
	for field, make := range map[string]func() (*Sealer, error){
		"signer":             func() (*Sealer, error) { return NewSealer("acme", nil, to) },
		"signer, a pointer":  func() (*Sealer, error) { return NewSealer("acme", (*nilSigner)(nil), to) },
		"recipient":          func() (*Sealer, error) { return NewSealer("acme", signer, nil) },
		"recipient, pointer": func() (*Sealer, error) { return NewSealer("acme", signer, none) },
		"recipient, no key":  func() (*Sealer, error) { return NewSealer("acme", signer, (*SealingKey)(nil)) },
		"recipient, zero":    func() (*Sealer, error) { return NewSealer("acme", signer, &SealingKey{}) },
		"recipient, of nil":  func() (*Sealer, error) { return NewSealer("acme", signer, &rotating{}) },
	} {
		_, err := make()
		var ce *token.ConfigError
		require.ErrorAs(t, err, &ce, field)
		part, _, _ := strings.Cut(field, ",")
		assert.Equal(t, "signed.NewSealer."+part, ce.Field)
	}
	_, err = token.NewIssuer(token.Config{Signed: (*Sealer)(nil), Realm: "prod"})
	var ce *token.ConfigError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, "token.Config.Signed", ce.Field)
	empty, err := token.NewIssuer(token.Config{Signed: new(Sealer), Realm: "prod"})
	require.NoError(t, err)
	_, err = empty.Issue(reference())
	assert.ErrorContains(t, err, "take the answer of NewSealer")

	// A key that no function here made opens nothing.
	s, _ := issue(t, newIssuer(t, "acme", acme, to))
	_, err = Open(emptyKeys{}, new(Trusted), "prod", s, new(token.Ticket))
	assert.ErrorIs(t, err, token.ErrUnknownKey)
	_, err = Open(new(OpeningKeys), nil, "prod", s, new(token.Ticket))
	assert.ErrorIs(t, err, token.ErrUnknownKey)
}

type nilSigner struct{}

func (*nilSigner) Sign([]byte) ([]byte, error) { panic("asked a nil signer") }

type emptyKeys struct{}

func (emptyKeys) OpeningKey(token.KeyID) *OpeningKey { return &OpeningKey{} }

// trap F5: the key ID is a hint. Issuers with the same ID do not disturb each other.
// trap F6: a signature names its issuer, and one public key has one issuer.
func TestSameKeyID(t *testing.T) {
	keys := openingKeys(t, ours)
	var all []*VerifyingKey
	issuers := make(map[string]*token.Issuer)
	for i, name := range []string{"a", "b", "c", "d"} {
		k := signing{i%2 == 1, 0x0b0b0b0b, run(byte(0x20+i), 32)}
		all = append(all, verifyingKeys(t, name, handleOf(k))...)
		issuers[name] = newIssuer(t, name, k, sealingKeyOf(t, ours))
	}
	trusted, err := NewTrusted(all...)
	require.NoError(t, err)
	for name, issuer := range issuers {
		s, _ := issue(t, issuer)
		var got token.Ticket
		require.NoError(t, open(keys, trusted, "prod", s, &got))
		assert.Equal(t, name, got.Issuer)
	}
	fifth := verifyingKeys(t, "e", handleOf(signing{false, 0x0b0b0b0b, run(0x30, 32)}))
	_, err = NewTrusted(append(slices.Clone(all), fifth...)...)
	assert.ErrorContains(t, err, `key 0b0b0b0b of issuer "e": 4 other keys have the same ID`)

	_, err = NewTrusted(append(all, all...)...)
	assert.NoError(t, err, "the same key again")
	again := verifyingKeys(t, "f", handleOf(signing{false, 0x0b0b0b0c, run(0x20, 32)}))
	_, err = NewTrusted(append(slices.Clone(all), again...)...)
	assert.EqualError(t, err, `key 0b0b0b0c of issuer "f" is also key 0b0b0b0b of issuer "a"; a key belongs to one issuer`)

	// An issuer that copied another's public key gets nothing, whatever the name.
	s, _ := issue(t, newIssuer(t, "z", acme, sealingKeyOf(t, ours)))
	err = open(keys, trust(t, map[string][]any{"acme": {acme}}), "prod", s, new(token.Ticket))
	assert.ErrorIs(t, err, token.ErrForged)
}

// trap F8, of this package: no keys trust nobody.
func TestNobodyTrusted(t *testing.T) {
	s, _ := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, ours)))
	for _, trusted := range []*Trusted{nil, {}, must(NewTrusted())} {
		assert.ErrorIs(t, open(openingKeys(t, ours), trusted, "prod", s, new(token.Ticket)), ErrUnknownIssuer)
	}
	assert.ErrorIs(t, open(&OpeningKeys{}, nil, "prod", s, new(token.Ticket)), token.ErrUnknownKey)
}

// counting is an Unsealer that counts what a keyring.Ring counts.
type counting struct {
	Unsealer
	opened map[use]int
}

// use is a use of a decryption key by a signing key of an issuer.
type use struct {
	key     token.KeyID
	issuer  string
	signing token.KeyID
}

func (c *counting) Opened(key token.KeyID, issuer string, signing token.KeyID) {
	c.opened[use{key, issuer, signing}]++
}

// trap F17: a stranger's junk does not count as the use of a key.
func TestCountsAfterVerifying(t *testing.T) {
	keys := &counting{openingKeys(t, ours), make(map[use]int)}
	trusted := trust(t, map[string][]any{"acme": {acme}})
	for _, plain := range [][]byte{
		{}, agentPayload, append(append(keyPrefix(acme.id), make([]byte, 64)...), agentPayload...),
		append(append(keyPrefix(stranger.id), make([]byte, 64)...), agentPayload...),
	} {
		require.Error(t, open(keys, trusted, "prod", encrypt(t, ours, plain), new(token.Ticket)))
	}
	malformed := &vector{realm: "prod", issuer: "acme", by: acme, to: ours, payload: []byte("x")}
	malformed.complete()
	err := open(keys, trusted, "prod", malformed.ticket, new(token.Ticket))
	require.ErrorIs(t, err, token.ErrMalformed)
	assert.ErrorContains(t, err, `issuer "acme" signed it with key 0b0b0b0b`, "whom to ask")
	assert.Empty(t, keys.opened)
	s, _ := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, ours)))
	require.NoError(t, open(keys, trusted, "prod", s, new(token.Ticket)))
	assert.Equal(t, map[use]int{{token.KeyID(ours.id), "acme", token.KeyID(acme.id)}: 1}, keys.opened)
}

// Strangers' tickets take the same work, whether the signing key is known or not.
func TestDecoys(t *testing.T) {
	both := [2]bool{true, true}
	for _, row := range []struct {
		issuers map[string][]any
		ran     [2]bool
	}{
		{map[string][]any{"acme": {acme}}, [2]bool{true, false}},
		{map[string][]any{"acme": {acmeECDSA}}, [2]bool{false, true}},
		{map[string][]any{"acme": {acme}, "delta": {signing{true, 9, run(9, 32)}}}, both},
		{nil, [2]bool{}},
	} {
		trusted := trust(t, row.issuers)
		hash := [32]byte(ours.hash())
		for _, id := range []uint32{acme.id, acmeECDSA.id, 9, 10} {
			w := new(scratch)
			plain := append(append(keyPrefix(id), make([]byte, 64)...), agentPayload...)
			_, err := w.verify(trusted, "prod", &hash, plain)
			require.Error(t, err)
			assert.Equal(t, row.ran, w.ran, "%x", id)
		}
	}
	// The decoy's own verdict counts for nothing.
	trusted := trust(t, map[string][]any{"acme": {acme}})
	other := signing{false, 0x11111111, acme.private}
	v := &vector{realm: "prod", issuer: "acme", by: other, to: ours, payload: agentPayload}
	v.complete()
	assert.ErrorIs(t, open(openingKeys(t, ours), trusted, "prod", v.ticket, new(token.Ticket)), ErrUnknownIssuer)
}

// rotating is a Recipient that is rotated all the time.
type rotating struct{ now atomic.Pointer[SealingKey] }

func (r *rotating) SealingKey() (*SealingKey, error) { return r.now.Load(), nil }

// digester signs cheaply, so that the test has time for many tickets.
type digester struct{}

func (digester) Sign(data []byte) ([]byte, error) {
	h := sha256.Sum256(data)
	return append(append(keyPrefix(1), h[:]...), h[:]...), nil
}

// trap F18: in the middle of a rotation, the hash in the signature and the key of the encryption
// are of one snapshot.
func TestRotationInTheMiddle(t *testing.T) {
	t.Parallel()
	tickets := 100_000
	if testing.Short() {
		tickets = 2_000
	}
	var keys []decryption
	to := new(rotating)
	var sealing []*SealingKey
	for i := range 8 {
		k := decryption{x25519, uint32(i + 1), run(byte(i+1), 32)}
		keys, sealing = append(keys, k), append(sealing, sealingKeyOf(t, k))
	}
	to.now.Store(sealing[0])
	sealer, err := NewSealer("acme", digester{}, to)
	require.NoError(t, err)
	hashes := make(map[uint32][]byte)
	private := make(map[uint32]hpke.PrivateKey)
	for _, k := range keys {
		hashes[k.id] = k.hash()
		private[k.id] = must(must(hpke.NewKEM(k.kem.id)).NewPrivateKey(k.private))
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				to.now.Store(sealing[i%len(sealing)])
				time.Sleep(20 * time.Microsecond) // no wait for anything: others want the processor
			}
		}
	})
	var left atomic.Int64
	left.Store(int64(tickets))
	var seen sync.Map
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			var buffer [512]byte
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				var tk token.Ticket
				sealed, err := sealer.Seal(buffer[:0], "prod", agentPayload, &tk)
				if err != nil {
					t.Error(err)
					return
				}
				id := uint32(tk.KeyID)
				if !bytes.HasPrefix(sealed, keyPrefix(id)) {
					t.Errorf("KeyID %v, and the ticket begins with %x", tk.KeyID, sealed[:5])
				}
				seen.Store(id, true)
				if n%16 != 0 { // opening takes nearly as long as sealing
					continue
				}
				plain, err := hpke.Open(private[id], kdf, aead, []byte("admitone/ticket/2\x00prod"), sealed[5:])
				want := sha256.Sum256(slices.Concat([]byte("admitone/ticket/2\x00prod\x00acme\x00"), hashes[id], agentPayload))
				if err != nil || !bytes.Equal(plain[5:5+32], want[:]) {
					t.Errorf("key %v: %v", tk.KeyID, err)
					return
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	all.Wait()
	count := 0
	seen.Range(func(any, any) bool { count++; return true })
	assert.Greater(t, count, 1, "rotated while tickets were made")
}

// trap F19: no bit of a ticket can change. Each ticket has its own enc, over all goroutines.
func TestMalleability(t *testing.T) {
	t.Parallel()
	keys := openingKeys(t, ours, oursP256, oursXW)
	trusted := trust(t, map[string][]any{"acme": {acme, acmeECDSA}})
	for name, suite := range suites() {
		s, _ := issue(t, newIssuer(t, "acme", suite.by, sealingKeyOf(t, suite.to)))
		sealed := decode(t, s)
		step := 1
		if suite.to.kem == xwing || testing.Short() {
			step = 23
		} else if suite.by.ecdsa {
			step = 7 // the signature is within the encryption
		}
		for bit := 0; bit < 8*len(sealed); bit += step {
			changed := slices.Clone(sealed)
			changed[bit/8] ^= 1 << (bit % 8)
			require.Error(t, open(keys, trusted, "prod", text(changed), new(token.Ticket)), "%s: bit %d", name, bit)
		}
		require.NoError(t, open(keys, trusted, "prod", s, new(token.Ticket)))
	}
}

// trap F19: a second ciphertext or a second signature of the same ticket has the same ID, by which
// a verifier spends the ticket.
func TestSecondFormsAreTheSameTicket(t *testing.T) {
	keys, trusted := openingKeys(t, oursP256), trust(t, map[string][]any{"acme": {acmeECDSA}})
	s, tk := issue(t, newIssuer(t, "acme", acmeECDSA, sealingKeyOf(t, oursP256)))
	plain := decrypt(t, oursP256, s)
	twin := slices.Clone(plain)
	n := must(hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"))
	borrow := 0
	for i := 31; i >= 0; i-- { // n - s
		d := int(n[i]) - int(plain[37+i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		twin[37+i] = byte(d)
	}
	require.NotEqual(t, plain, twin)
	for _, p := range [][]byte{plain, twin} {
		second := encrypt(t, oursP256, p)
		require.NotEqual(t, s, second)
		var got token.Ticket
		require.NoError(t, open(keys, trusted, "prod", second, &got))
		assert.Equal(t, tk.ID, got.ID)
		assert.Equal(t, tk.Issuer, got.Issuer)
	}
}

func TestEncNeverRepeats(t *testing.T) {
	issuer := newIssuer(t, "acme", acme, sealingKeyOf(t, ours))
	var seen sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				tk := reference()
				s, err := issuer.Issue(tk)
				if err != nil {
					t.Error(err)
					return
				}
				if _, again := seen.LoadOrStore(s[12:54], true); again {
					t.Error("enc came twice")
				}
				if strings.ContainsAny(s[len(s)-1:], "-_") {
					t.Error("a mark at the end, which programs leave out of links")
				}
			}
		})
	}
	all.Wait()
}

// trap F20: whoever has everything of a login service makes no ticket for another, and changes
// none. What can be done is to write the same ticket again, for the same service.
func TestKeyCompromise(t *testing.T) {
	a, b := ours, decryption{x25519, 2, run(0x90, 32)}
	trusted := trust(t, map[string][]any{"acme": {acme}, "beta": {beta}})
	stolen, tk := issue(t, newIssuer(t, "acme", acme, sealingKeyOf(t, a)))
	plain := decrypt(t, a, stolen)
	for name, p := range map[string][]byte{
		"as it was":         plain,
		"the other's hash":  append(slices.Clone(plain[:sigSize]), append(b.hash(), plain[sigSize:]...)...),
		"another payload":   append(slices.Clone(plain[:sigSize]), customerPayload...),
		"later":             append(slices.Clone(plain[:sigSize+23]), append([]byte{plain[sigSize+23] + 1}, plain[sigSize+24:]...)...),
		"as another issuer": append(keyPrefix(beta.id), plain[5:]...),
	} {
		assert.Error(t, open(openingKeys(t, b), trusted, "prod", encrypt(t, b, p), new(token.Ticket)), name)
		var got token.Ticket
		err := open(openingKeys(t, a), trusted, "prod", encrypt(t, a, p), &got)
		if name == "as it was" {
			require.NoError(t, err)
			assert.Equal(t, tk.ID, got.ID)
		} else {
			assert.Error(t, err, name)
		}
	}
	// The recipient's private key signs nothing. In HPKE's auth mode it would.
	_, err := NewSigner(handleOf(a))
	assert.ErrorContains(t, err, "give private Ed25519 or ECDSA P-256 keys")
}

// Tink makes tickets that are accepted, and reads ours.
func TestTink(t *testing.T) {
	keys := openingKeys(t, ours, oursP256, oursXW)
	trusted := trust(t, map[string][]any{"acme": {acme, acmeECDSA}})
	for name, suite := range suites() {
		t.Run(name, func(t *testing.T) {
			private := handleOf(suite.to)
			public := must(private.Public())
			theirs, err := signature.NewSigner(handleOf(suite.by))
			require.NoError(t, err)
			encrypter, err := hybrid.NewHybridEncrypt(public)
			require.NoError(t, err)
			info := []byte("admitone/ticket/2\x00prod")
			signed := slices.Concat(info, []byte("\x00acme\x00"), suite.to.hash(), agentPayload)
			sig, err := theirs.Sign(signed)
			require.NoError(t, err)
			sealed, err := encrypter.Encrypt(append(sig, agentPayload...), info)
			require.NoError(t, err)
			var got token.Ticket
			require.NoError(t, open(keys, trusted, "prod", text(sealed), &got))
			assert.Equal(t, "john.d", got.Username)

			s, tk := issue(t, newIssuer(t, "acme", suite.by, sealingKeyOf(t, suite.to)))
			decrypter, err := hybrid.NewHybridDecrypt(private)
			require.NoError(t, err)
			plain, err := decrypter.Decrypt(decode(t, s), info)
			require.NoError(t, err)
			verifier, err := signature.NewVerifier(must(handleOf(suite.by).Public()))
			require.NoError(t, err)
			signed = slices.Concat(info, []byte("\x00acme\x00"), suite.to.hash(), plain[69:])
			require.NoError(t, verifier.Verify(plain[:69], signed))
			var theirsRead token.Ticket
			require.NoError(t, theirsRead.DecodePayload(string(plain[69:])))
			assert.Equal(t, tk.ID, theirsRead.ID)

			// Tink's own signer does as the Signer, too.
			sealer, err := NewSealer("acme", theirs, sealingKeyOf(t, suite.to))
			require.NoError(t, err)
			issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: "prod"})
			require.NoError(t, err)
			s, _ = issue(t, issuer)
			require.NoError(t, open(keys, trusted, "prod", s, new(token.Ticket)))
		})
	}
}

// publicHandle is a keyset of one public key.
func publicHandle(t *testing.T, k key.Key, err error) *keyset.Handle {
	t.Helper()
	require.NoError(t, err)
	m := keyset.NewManager()
	id, err := m.AddKey(k)
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(id))
	h, err := m.Handle()
	require.NoError(t, err)
	return h
}

// trap F7: bad public keys are refused when they are loaded.
func TestBadSigningKeys(t *testing.T) {
	params := must(tinked25519.NewParameters(tinked25519.VariantTink))
	point := func(hexadecimal string, high byte) []byte {
		b := must(hex.DecodeString(hexadecimal))
		b[31] |= high
		return b
	}
	for name, b := range map[string][]byte{
		"order 1":                point("0100000000000000000000000000000000000000000000000000000000000000", 0),
		"order 1, sign":          point("0100000000000000000000000000000000000000000000000000000000000000", 0x80),
		"order 2":                point("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", 0),
		"order 2, sign":          point("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", 0x80),
		"order 4":                point("0000000000000000000000000000000000000000000000000000000000000000", 0),
		"order 4, other":         point("0000000000000000000000000000000000000000000000000000000000000000", 0x80),
		"order 8, first":         point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", 0),
		"order 8, second":        point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", 0x80),
		"order 8, third":         point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", 0),
		"order 8, fourth":        point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", 0x80),
		"p, for 0":               point("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", 0),
		"p + 1, for 1":           point("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", 0x80),
		"all ones":               bytes.Repeat([]byte{0xff}, 32),
		"no point of the curve":  point("0200000000000000000000000000000000000000000000000000000000000000", 0),
		"another that is no one": point("0700000000000000000000000000000000000000000000000000000000000000", 0x80),
	} {
		k, err := tinked25519.NewPublicKey(b, 5, params)
		_, err = NewVerifyingKeys("acme", publicHandle(t, k, err))
		var ce *token.ConfigError
		require.ErrorAs(t, err, &ce, name)
		assert.Equal(t, "signed.NewVerifyingKeys.handle", ce.Field)
		assert.Contains(t, ce.Reason, "00000005", name)
	}
	for i := range 500 {
		require.NoError(t, checkEd25519(signing{false, 1, run(byte(i), 32)}.public()), i)
		b := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		b[31] &= 0x7f
		assert.Equal(t, onCurve(b[:]), checkEd25519(b[:]) == nil, "%x", b)
	}
	_, err := tinked25519.NewPublicKey(run(1, 31), 5, params)
	assert.Error(t, err, "Tink refuses a wrong length")

	p := must(tinkecdsa.NewParameters(tinkecdsa.NistP256, tinkecdsa.SHA256, tinkecdsa.DER, tinkecdsa.VariantTink))
	k, err := tinkecdsa.NewPublicKey(acmeECDSA.public(), 5, p)
	_, err = NewVerifyingKeys("acme", publicHandle(t, k, err))
	assert.ErrorContains(t, err, "take P-256, SHA256 and IEEE_P1363")
	_, err = tinkecdsa.NewPublicKey(append([]byte{4}, run(1, 64)...), 5,
		must(tinkecdsa.NewParameters(tinkecdsa.NistP256, tinkecdsa.SHA256, tinkecdsa.IEEEP1363, tinkecdsa.VariantTink)))
	assert.Error(t, err, "Tink refuses a point off the curve")

	for _, private := range []any{acme, acmeECDSA} {
		_, err = NewVerifyingKeys("acme", handleOf(private))
		assert.ErrorContains(t, err, "give public Ed25519 or ECDSA P-256 keys")
	}
	public := must(handleOf(acme, beta).Public())
	for _, name := range []string{"", strings.Repeat("x", 65), "a\x00b", "a\nb", "\xff", "Acme", "a/b"} {
		_, err = NewVerifyingKeys(name, public)
		assert.ErrorContains(t, err, "signed.NewVerifyingKeys.issuer", "%q", name)
	}
	keys, err := NewVerifyingKeys("acme", public)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	assert.Equal(t, "acme", keys[1].Issuer())
	assert.Equal(t, token.KeyID(beta.id), keys[1].ID())
	keys, err = NewVerifyingKeys("acme", must(handleOf(acme, acmeOld).Public()))
	require.NoError(t, err)
	assert.Len(t, keys, 1, "a disabled key is left out")
}

// trap F7, of recipients.
func TestBadRecipientKeys(t *testing.T) {
	params := func(kem tinkhpke.KEMID, kdf tinkhpke.KDFID, aead tinkhpke.AEADID) *tinkhpke.Parameters {
		return must(tinkhpke.NewParameters(tinkhpke.ParametersOpts{
			KEMID: kem, KDFID: kdf, AEADID: aead, Variant: tinkhpke.VariantTink}))
	}
	x := params(x25519.tink, tinkhpke.HKDFSHA256, tinkhpke.AES256GCM)
	xw := params(xwing.tink, tinkhpke.HKDFSHA256, tinkhpke.AES256GCM)
	high := append(bytes.Clone(ours.kem.public(ours.private)[:31]), ours.kem.public(ours.private)[31]|0x80)
	xwPublic := oursXW.kem.public(oursXW.private)
	for name, row := range map[string]struct {
		params *tinkhpke.Parameters
		public []byte
	}{
		"X25519, zero":         {x, make([]byte, 32)},
		"X25519, one":          {x, append([]byte{1}, make([]byte, 31)...)},
		"X25519, order 8":      {x, must(hex.DecodeString("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"))},
		"X25519, p - 1":        {x, must(hex.DecodeString("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))},
		"X25519, p":            {x, must(hex.DecodeString("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))},
		"X25519, p + 9":        {x, must(hex.DecodeString("f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))},
		"X25519, high bit":     {x, high},
		"X-Wing, 0xff":         {xw, bytes.Repeat([]byte{0xff}, 1216)},
		"X-Wing, no lattice":   {xw, append(bytes.Repeat([]byte{0xff}, 1184), xwPublic[1184:]...)},
		"X-Wing, zero X25519":  {xw, append(bytes.Clone(xwPublic[:1184]), make([]byte, 32)...)},
		"X-Wing, high bit":     {xw, append(bytes.Clone(xwPublic[:1215]), xwPublic[1215]|0x80)},
		"AES-128-GCM":          {params(x25519.tink, tinkhpke.HKDFSHA256, tinkhpke.AES128GCM), ours.kem.public(ours.private)},
		"SHA-512":              {params(x25519.tink, tinkhpke.HKDFSHA512, tinkhpke.AES256GCM), ours.kem.public(ours.private)},
		"ML-KEM-768 by itself": {params(tinkhpke.ML_KEM768, tinkhpke.HKDFSHA256, tinkhpke.AES256GCM), xwPublic[:1184]},
	} {
		k, err := tinkhpke.NewPublicKey(row.public, 5, row.params)
		if err != nil {
			continue // Tink refuses it
		}
		_, err = NewSealingKey(publicHandle(t, k, nil))
		var ce *token.ConfigError
		require.ErrorAs(t, err, &ce, name)
		assert.Equal(t, "signed.NewSealingKey.handle", ce.Field)
		assert.Contains(t, ce.Reason, "00000005", name)
	}
	for name, b := range map[string][]byte{
		"X25519, short": run(1, 31), "X25519, long": run(1, 33),
	} {
		_, err := tinkhpke.NewPublicKey(b, 5, x)
		assert.Error(t, err, name)
	}
	off := append([]byte{4}, run(1, 64)...)
	_, err := tinkhpke.NewPublicKey(off, 5, params(p256.tink, tinkhpke.HKDFSHA256, tinkhpke.AES256GCM))
	assert.Error(t, err, "Tink refuses a point off the curve")

	for _, k := range []decryption{ours, oursP256, oursXW} {
		_, err := NewSealingKey(handleOf(k))
		assert.ErrorContains(t, err, "give public HPKE keys")
		_, err = NewOpeningKeys(must(handleOf(k).Public()))
		assert.ErrorContains(t, err, "give private HPKE keys")
		assert.Equal(t, token.KeyID(k.id), sealingKeyOf(t, k).ID())
	}
	_, err = NewOpeningKeys(handleOf(acme))
	assert.ErrorContains(t, err, "give private HPKE keys")
	keys := openingKeys(t, ours, disabled)
	assert.NotNil(t, keys.OpeningKey(token.KeyID(ours.id)))
	assert.Nil(t, keys.OpeningKey(token.KeyID(disabled.id)))
	for name, f := range map[string]func(*keyset.Handle) error{
		"signed.NewSealingKey.handle":    func(h *keyset.Handle) error { _, err := NewSealingKey(h); return err },
		"signed.NewOpeningKeys.handle":   func(h *keyset.Handle) error { _, err := NewOpeningKeys(h); return err },
		"signed.NewSigner.handle":        func(h *keyset.Handle) error { _, err := NewSigner(h); return err },
		"signed.NewVerifyingKeys.handle": func(h *keyset.Handle) error { _, err := NewVerifyingKeys("acme", h); return err },
	} {
		var ce *token.ConfigError
		require.ErrorAs(t, f(nil), &ce)
		assert.Equal(t, name, ce.Field)
		raw := must(tinked25519.NewParameters(tinked25519.VariantNoPrefix))
		k, err := tinked25519.NewPrivateKey(secret(acme.private), 0, raw)
		require.ErrorAs(t, f(publicHandle(t, k, err)), &ce)
		assert.Contains(t, ce.Reason, "TINK prefix")
	}
}

// onCurve reports whether y belongs to a point, by the Montgomery form of the curve:
// u = (1 + y) / (1 - y), and u^3 + 486662 u^2 + u must be a square.
func onCurve(littleEndian []byte) bool {
	b := slices.Clone(littleEndian)
	slices.Reverse(b)
	y, one := new(big.Int).SetBytes(b), big.NewInt(1)
	inverse := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, y), curveP), curveP)
	u := new(big.Int).Mul(new(big.Int).Add(one, y), inverse)
	right := new(big.Int).Add(u, big.NewInt(486662))
	right.Mul(right, u).Add(right, one).Mul(right, u).Mod(right, curveP)
	return new(big.Int).ModSqrt(right, curveP) != nil
}

// TestNewSealer tries what a program may give.
func TestNewSealer(t *testing.T) {
	good, to := must(NewSigner(handleOf(acme))), sealingKeyOf(t, ours)
	for name, row := range map[string]struct {
		issuer    string
		signer    tink.Signer
		recipient Recipient
		field     string
	}{
		"no name":         {"", good, to, "signed.NewSealer.issuer"},
		"zero in a name":  {"a\x00b", good, to, "signed.NewSealer.issuer"},
		"no signer":       {"acme", nil, to, "signed.NewSealer.signer"},
		"broken signer":   {"acme", signs(nil), to, "signed.NewSealer.signer"},
		"raw signature":   {"acme", signs(make([]byte, 64)), to, "signed.NewSealer.signer"},
		"DER":             {"acme", signs(append(keyPrefix(1), make([]byte, 71)...)), to, "signed.NewSealer.signer"},
		"CRUNCHY":         {"acme", signs(make([]byte, 69)), to, "signed.NewSealer.signer"},
		"no recipient":    {"acme", good, nil, "signed.NewSealer.recipient"},
		"recipient fails": {"acme", good, asks{nil, errors.New("the bundle is past its end; fetch it")}, "signed.NewSealer.recipient"},
		"recipient lies":  {"acme", good, asks{}, "signed.NewSealer.recipient"},
	} {
		_, err := NewSealer(row.issuer, row.signer, row.recipient)
		var ce *token.ConfigError
		require.ErrorAs(t, err, &ce, name)
		assert.Equal(t, row.field, ce.Field, name)
	}
	// What fails later is said by Issue.
	late := &asks{to, nil}
	sealer, err := NewSealer("acme", good, late)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer})
	require.NoError(t, err)
	late.key, late.err = nil, errors.New("the bundle is past its end; fetch it")
	_, err = issuer.Issue(reference())
	assert.ErrorContains(t, err, "past its end; fetch it")

	for _, row := range []struct{ signer, recipient, want time.Duration }{
		{0, 0, 0}, {0, time.Minute, time.Minute}, {time.Hour, 0, time.Hour}, {time.Minute, time.Hour, time.Minute},
	} {
		s, err := NewSealer("acme", livesSigner{good, row.signer}, livesRecipient{to, row.recipient})
		require.NoError(t, err)
		assert.Equal(t, row.want, s.Lifetime())
		_, err = token.NewIssuer(token.Config{Signed: s, MaxLifetime: 2 * time.Minute})
		assert.Equal(t, row.want == time.Minute, err != nil, "%v", row)
	}
}

// signs is a signer with one answer for everything.
type signs []byte

func (s signs) Sign([]byte) ([]byte, error) {
	if s == nil {
		return nil, errors.New("broken")
	}
	return s, nil
}

type asks struct {
	key *SealingKey
	err error
}

func (a asks) SealingKey() (*SealingKey, error) { return a.key, a.err }

type livesSigner struct {
	tink.Signer
	d time.Duration
}

func (l livesSigner) Lifetime() time.Duration { return l.d }

type livesRecipient struct {
	Recipient
	d time.Duration
}

func (l livesRecipient) Lifetime() time.Duration { return l.d }

// FuzzOpen: no string but the issuer's opens.
func FuzzOpen(f *testing.F) {
	keys, trusted := openingKeys(f, ours), trust(f, map[string][]any{"acme": {acme, acmeECDSA}})
	s := vectors()[0].ticket // the same in all processes of the fuzzer
	for _, seed := range []string{s, s + "=", "tkt1_AAAA", "tkt2_AQoKCgo", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var got token.Ticket
		if open(keys, trusted, "prod", in, &got) == nil {
			require.Equal(t, s, in)
		} else {
			require.Zero(t, got)
		}
	})
}

// FuzzRoundTrip: what is encrypted opens only if it is signed, and says what its payload says.
func FuzzRoundTrip(f *testing.F) {
	keys, trusted := openingKeys(f, ours), trust(f, map[string][]any{"acme": {acme}})
	signer, err := NewSigner(handleOf(acme))
	require.NoError(f, err)
	sealer, err := NewSealer("acme", signer, sealingKeyOf(f, ours))
	require.NoError(f, err)
	f.Add(agentPayload, []byte{})
	f.Add(customerPayload, []byte{1})
	f.Add([]byte{}, []byte{0, 0, 1})
	f.Fuzz(func(t *testing.T, payload, change []byte) {
		if len(payload) > 1410 {
			return
		}
		var by, got, want token.Ticket
		sealed, err := sealer.Seal(nil, "prod", payload, &by)
		require.NoError(t, err)
		wanted := want.DecodePayload(string(payload))
		err = open(keys, trusted, "prod", text(sealed), &got)
		require.Equal(t, wanted == nil, err == nil)
		if err == nil {
			want.KeyID, want.Issuer, want.SigningKey = by.KeyID, by.Issuer, by.SigningKey
			require.Equal(t, want, got)
		}
		plain := decrypt(t, ours, text(sealed))
		changed := slices.Clone(plain)
		for i, c := range change {
			changed[i%len(changed)] ^= c
		}
		if !bytes.Equal(plain, changed) {
			require.Error(t, open(keys, trusted, "prod", encrypt(t, ours, changed), &got))
			require.Zero(t, got)
		}
	})
}
