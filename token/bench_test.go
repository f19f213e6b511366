package token

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// The floor of issuing and opening is base64 and the bare Tink call on the same
// bytes: run all four together and compare.
//
//	go test -run '^$' -bench 'Issue|Open' ./token

func BenchmarkIssue(b *testing.B) {
	keys := newKeyset(b, 3)
	issuer := newIssuer(b, keys, "prod")
	a := ad(b, "prod")
	tk := reference()
	_, err := issuer.Issue(tk)
	require.NoError(b, err)
	payload := tk.appendPayload(nil)
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed, err := keys.AEAD.Encrypt(payload, a)
			if err != nil {
				b.Fatal(err)
			}
			_ = base64.RawURLEncoding.EncodeToString(sealed)
		}
	})
	b.Run("issue", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := issuer.Issue(tk); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	keys := newKeyset(b, 3)
	a := ad(b, "prod")
	s, err := newIssuer(b, keys, "prod").Issue(reference())
	require.NoError(b, err)
	body := s[len(prefix):]
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed, err := base64.RawURLEncoding.DecodeString(body)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := keys.AEAD.Decrypt(sealed, a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var tk Ticket
			if err := Open(keys, a, s, &tk); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAllocations holds the hot paths to their budget, which does not depend on
// the machine as a time would.
func TestAllocations(t *testing.T) {
	keys := newKeyset(t, 3)
	issuer := newIssuer(t, keys, "")
	a := ad(t, "")
	tk := reference()
	s, err := issuer.Issue(tk)
	require.NoError(t, err)
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = issuer.Issue(tk) }), 3.0)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = Open(keys, a, s, new(Ticket)) }), 3.0)
}
