package keyring

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// organisation has an Issuer and a Recipient keyring, and what the one knows of the other.
type organisation struct {
	paths [2]string
	c     [2]Config
	rings [2]*Ring
}

func newOrganisation(t *testing.T, signing, decryption string) *organisation {
	t.Helper()
	o := new(organisation)
	for i, kind := range []Kind{Issuer, Recipient} {
		o.c[i] = config(kind)
		o.c[i].Log = slog.New(slog.DiscardHandler)
		o.paths[i] = t.TempDir() + "/" + string(kind)
		require.NoError(t, Create(o.paths[i], o.c[i], DefaultPolicy(kind), []string{signing, decryption}[i]))
		o.rings[i] = newRing(t, o.paths[i], o.c[i])
	}
	return o
}

// public returns the public keys of a keyring as others read them.
func public(t *testing.T, path string, c Config) *keyset.Handle {
	t.Helper()
	data, err := ExportPublic(path, c, JSON)
	require.NoError(t, err)
	h, err := keyset.ReadWithNoSecrets(keyset.NewJSONReader(bytes.NewReader(data)))
	require.NoError(t, err)
	return h
}

// issue makes a ticket with the present public key of the recipient.
func (o *organisation) issue(t *testing.T) string {
	t.Helper()
	to, err := signed.NewSealingKey(public(t, o.paths[1], o.c[1]))
	require.NoError(t, err)
	sealer, err := signed.NewSealer("acme", o.rings[0], to)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: "prod"})
	require.NoError(t, err)
	s, err := issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "acme", Username: "ann"})
	require.NoError(t, err)
	return s
}

func (o *organisation) open(t *testing.T, ticket string) (token.Ticket, error) {
	t.Helper()
	keys, err := signed.NewVerifyingKeys("acme", public(t, o.paths[0], o.c[0]))
	require.NoError(t, err)
	trusted, err := signed.NewTrusted(keys...)
	require.NoError(t, err)
	var tk token.Ticket
	_, err = signed.Open(o.rings[1], trusted, "prod", ticket, &tk)
	return tk, err
}

// Every algorithm of issuers and recipients goes through a rotation of both, while tickets of
// before stay good.
func TestPublicKeyKinds(t *testing.T) {
	for i, decryption := range Algorithms(Recipient) {
		signing := Algorithms(Issuer)[i%2]
		t.Run(signing+" "+decryption, func(t *testing.T) {
			t.Parallel()
			o := newOrganisation(t, signing, decryption)
			first := o.issue(t)
			tk, err := o.open(t, first)
			require.NoError(t, err)
			assert.Equal(t, o.rings[0].Report().Primary, tk.SigningKey)
			assert.Equal(t, o.rings[1].Report().Primary, tk.KeyID)
			assert.EqualValues(t, 1, o.rings[0].Report().Use[0].Sealed, "the trial does not count")
			use := o.rings[1].Report().Use[0]
			assert.EqualValues(t, 1, use.Opened)
			assert.Equal(t, []IssuerUse{{"acme", tk.SigningKey, 1, use.LastUse}}, use.By)

			for i := range o.paths {
				_, err := rotate(o.paths[i], o.c[i])
				require.NoError(t, err)
			}
			require.NoError(t, o.rings[0].Reload())
			second := o.issue(t) // the recipient's Ring finds the new key when it meets it
			for _, s := range []string{first, second} {
				_, err := o.open(t, s)
				require.NoError(t, err)
			}
			assert.EqualValues(t, 2, o.rings[1].Report().Generation)
			own, err := o.rings[1].SealingKey()
			require.NoError(t, err)
			assert.Equal(t, o.rings[1].Report().Primary, own.ID())

			// A revoked signing key is unknown to those who have the new public keys, and a revoked
			// decryption key opens nothing.
			_, err = Change(o.paths[0], o.c[0], "stolen", Step{Do: Revoke, Key: tk.SigningKey})
			require.NoError(t, err)
			_, err = o.open(t, first)
			assert.ErrorIs(t, err, signed.ErrUnknownIssuer)
			_, err = o.open(t, second)
			require.NoError(t, err)
			_, err = Change(o.paths[1], o.c[1], "stolen", Step{Do: Revoke, Key: tk.KeyID})
			require.NoError(t, err)
			require.NoError(t, o.rings[1].Reload())
			_, err = o.open(t, first)
			assert.ErrorIs(t, err, token.ErrUnknownKey)

			// trap F17: a stranger's junk is no use of a key.
			uses := fmt.Sprint(o.rings[1].Report().Use)
			stranger := newOrganisation(t, signing, decryption)
			stranger.paths[1], stranger.c[1] = o.paths[1], o.c[1]
			_, err = o.open(t, stranger.issue(t))
			assert.ErrorIs(t, err, signed.ErrUnknownIssuer)
			assert.Equal(t, uses, fmt.Sprint(o.rings[1].Report().Use))
		})
	}
}

// trap F2: nothing of a public key stands where a secret is needed.
func TestPublicKeyRingsAreNoAEAD(t *testing.T) {
	o := newOrganisation(t, "", "")
	for i, r := range o.rings {
		var ce *token.ConfigError
		_, err := token.NewIssuer(token.Config{Sealer: r})
		require.ErrorAs(t, err, &ce)
		assert.Equal(t, "token.Config.Sealer", ce.Field)
		_, err = r.Decrypt([]byte("text"), nil)
		assert.ErrorIs(t, err, errNotAEAD)
		_, err = r.AppendEncrypt(nil, []byte("text"), nil)
		assert.ErrorIs(t, err, errNotAEAD)
		_, err = r.EncryptDeterministically([]byte("text"), nil)
		assert.ErrorIs(t, err, errNotDAEAD)
		_, err = r.DecryptDeterministically([]byte("text"), nil)
		assert.ErrorIs(t, err, errNotDAEAD)
		_, err = r.Sign([]byte("text"))
		assert.Equal(t, i != 0, err != nil)
		_, err = r.SealingKey()
		assert.Equal(t, i != 1, err != nil)
		if i == 0 {
			assert.Nil(t, r.OpeningKey(r.Report().Primary))
		}
		for _, e := range []Encoding{JSON, Binary} {
			data, err := ExportPublic(o.paths[i], o.c[i], e)
			require.NoError(t, err)
			assert.NotContains(t, string(data), "PRIVATE")
		}
	}
	c := config(Ticket)
	_, err := ExportPublic(newFile(t, c), c, JSON)
	assert.ErrorContains(t, err, "the keys of a ticket keyring have no public half")
	c.KEK = nil
	_, err = ExportPublic("x", c, JSON)
	assert.ErrorContains(t, err, "keyring.Config.KEK")

	// A file of another keyring of the kind does not take the place of the file in use.
	for i, r := range o.rings {
		other := newOrganisation(t, "", "")
		_, err := rotate(other.paths[i], other.c[i])
		require.NoError(t, err)
		data, _, err := readFile(other.paths[i])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(o.paths[i], data, 0o600))
		assert.Equal(t, LostKey, reasonOf(r.Reload()))
	}
}

// trap F14: tickets of unknown recipients cost looks at the file's status, and no reading.
func TestUnknownRecipients(t *testing.T) {
	c := config(Recipient)
	path := newFile(t, c)
	var n atomic.Int64
	c.KEK = countingKEK{c.KEK, &n}
	r := newRing(t, path, c)
	opened := n.Load()
	var all sync.WaitGroup
	for i := range uint32(8) {
		all.Go(func() {
			for j := range uint32(1250) {
				if id := KeyID(i<<16 | j); id != r.Report().Primary && r.OpeningKey(id) != nil {
					t.Error("a key that nobody made")
				}
			}
		})
	}
	all.Wait()
	assert.Equal(t, opened, n.Load(), "the file is not opened again")
	assert.NotNil(t, r.OpeningKey(r.Report().Primary))
}

func TestPublishedPolicy(t *testing.T) {
	for _, kind := range []Kind{Ticket, Session, Channel} {
		p := DefaultPolicy(kind)
		p.Published = time.Hour
		assert.ErrorContains(t, p.Check(kind), "Published is 1h0m0s; leave it out")
	}
	p := DefaultPolicy(Issuer)
	p.RotateEvery = p.Published
	assert.ErrorContains(t, p.Check(Issuer), "longer than published + skew")
	assert.NoError(t, p.Check(Recipient))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Published = time.Hour
	for _, row := range []struct {
		algorithm        string
		promote, disable time.Duration
	}{
		{"ED25519", time.Hour + 10*time.Second, 17*time.Minute + 30*time.Second},
		{"HPKE_P256_AES256_GCM", 2*time.Minute + 10*time.Second, time.Hour + 15*time.Minute + 30*time.Second},
		{"AES256_GCM", 2*time.Minute + 10*time.Second, 17*time.Minute + 30*time.Second},
	} {
		assert.Equal(t, at.Add(row.promote), p.PromoteFrom(Key{Algorithm: row.algorithm, State: Pending, Enabled: at}))
		assert.Equal(t, at.Add(row.disable), p.DisableFrom(Key{Algorithm: row.algorithm, State: Retiring, Demoted: at}))
	}
	b, err := p.MarshalJSON()
	require.NoError(t, err)
	assert.Contains(t, string(b), `"published":3600`)
}

// generation is what a keyring said from a moment on.
type generation struct {
	from    time.Time
	primary KeyID
	known   []KeyID // that open, or may be verified
}

// trap F18: a hundred rotations by the policy, among others that go on with public keys for as
// long as they may, and own processes that lag as far as they may: every ticket is good from its
// making to its end. With others that lag longer, some are not.
func TestRotationAmongOthers(t *testing.T) {
	for _, kind := range []Kind{Issuer, Recipient} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			c := config(kind)
			c.Now, c.Log = clock.now, slog.New(slog.DiscardHandler)
			path := t.TempDir() + "/keyring"
			p := DefaultPolicy(kind)
			require.NoError(t, Create(path, c, p, ""))
			info, err := Read(path, c)
			require.NoError(t, err)
			var all []generation
			for rotations := 0; rotations < 100; {
				g := generation{clock.t, info.Primary, nil}
				for _, k := range info.Keys {
					if k.opens() {
						g.known = append(g.known, k.ID)
					}
				}
				all = append(all, g)
				steps := info.Plan(clock.t).Steps
				require.NotEmpty(t, steps)
				clock.t = later(clock.t, steps[0].At)
				before := info.Primary
				info, _, err = Apply(path, c, nil)
				require.NoError(t, err)
				if info.Primary != before {
					rotations++
				}
			}
			at := func(when time.Time) generation {
				i, _ := slices.BinarySearchFunc(all, when, func(g generation, w time.Time) int {
					if g.from.After(w) {
						return 1
					}
					return -1
				})
				return all[max(i-1, 0)]
			}
			refused := func(published time.Duration) (n int) {
				makers, readers := p.Propagation, published // of an issuer: its own processes sign, others verify
				if kind == Recipient {
					makers, readers = readers, makers
				}
				for _, g := range all {
					for _, edge := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
						for _, base := range []time.Duration{0, makers, readers, -p.Lifetime, readers - p.Lifetime, makers + readers} {
							made := g.from.Add(base + edge)
							for _, makerLag := range []time.Duration{0, makers} {
								for _, readerLag := range []time.Duration{0, readers} {
									for _, age := range []time.Duration{0, p.Lifetime} {
										if !slices.Contains(at(made.Add(age-readerLag)).known, at(made.Add(-makerLag)).primary) {
											n++
										}
									}
								}
							}
						}
					}
				}
				return n
			}
			assert.Zero(t, refused(p.Published))
			assert.NotZero(t, refused(p.Published+time.Hour), "the test would notice")
			assert.Less(t, len(info.Keys), 5)
		})
	}
}

func TestKindsAreNamed(t *testing.T) {
	assert.Equal(t, []string{"ED25519", "ECDSA_P256"}, Algorithms(Issuer))
	assert.Equal(t, []string{"HPKE_X25519_AES256_GCM", "HPKE_P256_AES256_GCM", "HPKE_XWING_AES256_GCM"},
		Algorithms(Recipient))
	for _, k := range []Kind{Issuer, Recipient} {
		assert.NoError(t, k.check())
		assert.True(t, strings.Contains(Kind("coupon").check().Error(), string(k)))
	}
}
