package signed

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/floor"
	"github.com/admitone/admitone/token"
)

// bare is the least work for a ticket of a suite: base64, crypto/ed25519 or crypto/ecdsa, and
// crypto/hpke, with keys that were parsed once and with everything else ready.
func bare(t testing.TB, by signing, to decryption) (issue, open func() error) {
	encoding := base64.RawURLEncoding.Strict()
	kem := must(hpke.NewKEM(to.kem.id))
	private := must(kem.NewPrivateKey(to.private))
	public := private.PublicKey()
	info := []byte("admitone/ticket/2\x00prod")
	signed := slices.Concat(info, []byte("\x00acme\x00"), to.hash(), agentPayload)
	ec := by.ec()
	ed := ed25519.NewKeyFromSeed(by.private)
	edPublic := ed.Public().(ed25519.PublicKey)
	sign := func() ([]byte, error) {
		if !by.ecdsa {
			return ed25519.Sign(ed, signed), nil
		}
		hash := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(rand.Reader, ec, hash[:])
		sig := make([]byte, 64)
		if err == nil {
			r.FillBytes(sig[:32])
			s.FillBytes(sig[32:])
		}
		return sig, err
	}
	verify := func(sig []byte) bool {
		if !by.ecdsa {
			return ed25519.Verify(edPublic, signed, sig)
		}
		hash := sha256.Sum256(signed)
		return ecdsa.Verify(&ec.PublicKey, hash[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	issue = func() error {
		sig, err := sign()
		if err != nil {
			return err
		}
		plain := append(append(append(make([]byte, 0, sigSize+len(agentPayload)), 1, 2, 3, 4, 5), sig...), agentPayload...)
		sealed, err := hpke.Seal(public, kdf, aead, info, plain)
		_ = encoding.EncodeToString(sealed)
		return err
	}
	sig, err := sign()
	require.NoError(t, err)
	sealed, err := hpke.Seal(public, kdf, aead, info, slices.Concat(keyPrefix(by.id), sig, agentPayload))
	require.NoError(t, err)
	text := encoding.EncodeToString(sealed)
	open = func() error {
		sealed, err := encoding.DecodeString(text)
		if err != nil {
			return err
		}
		plain, err := hpke.Open(private, kdf, aead, info, sealed)
		if err == nil && !verify(plain[5:sigSize]) {
			err = errors.New("forged")
		}
		return err
	}
	return issue, open
}

// packaged are the two tasks of bare, done by this package.
func packaged(t testing.TB, by signing, to decryption) (issue, open func() error) {
	issuer := newIssuer(t, "acme", by, sealingKeyOf(t, to))
	keys, trusted := openingKeys(t, to), trust(t, map[string][]any{"acme": {by}})
	tk := reference()
	tk.LastName = "Do" // one of 32 tickets of the reference's length is sealed again, for its ending
	s, err := issuer.Issue(tk)
	require.NoError(t, err)
	issue = func() error {
		_, err := issuer.Issue(tk)
		return err
	}
	return issue, func() error {
		_, err := Open(keys, trusted, "prod", s, new(token.Ticket))
		return err
	}
}

// BenchmarkBudget measures issuing and opening beside their floor. docs/speed.md has the budgets.
//
//	go test -run '^$' -bench Budget ./token/signed
func BenchmarkBudget(b *testing.B) {
	for name, suite := range suites() {
		floorIssue, floorOpen := bare(b, suite.by, suite.to)
		issue, open := packaged(b, suite.by, suite.to)
		b.Run("issue/"+name, func(b *testing.B) { floor.Beside(b, floorIssue, issue, nil) })
		b.Run("open/"+name, func(b *testing.B) { floor.Beside(b, floorOpen, open, nil) })
	}
}

// TestAllocations holds issuing and opening to two allocations more than their floor.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	of := func(f func() error) float64 { return testing.AllocsPerRun(200, func() { require.NoError(t, f()) }) }
	for name, suite := range suites() {
		floorIssue, floorOpen := bare(t, suite.by, suite.to)
		issue, open := packaged(t, suite.by, suite.to)
		require.LessOrEqual(t, of(issue), of(floorIssue)+2, name)
		require.LessOrEqual(t, of(open), of(floorOpen)+2, name)
	}
}
