package keyring

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// identityOf returns an identity key of 32 equal bytes, and its public half.
func identityOf(t *testing.T, b byte) (KEK, Identity) {
	t.Helper()
	k, err := NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)))
	require.NoError(t, err)
	id, ok := IdentityOf(k)
	require.True(t, ok)
	return k, id
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	kek, id := identityOf(t, 1)
	signed, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	for _, k := range []KEK{kek, id} {
		plain, err := k.Decrypt(signed, []byte("ad"))
		require.NoError(t, err)
		assert.Equal(t, "text", string(plain))
		assert.Equal(t, "signed", k.Hint())
	}
	_, err = id.Encrypt([]byte("text"), nil)
	assert.ErrorContains(t, err, "signs nothing")
	_, other := identityOf(t, 2)
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		_, err := id.Decrypt(changed, []byte("ad"))
		assert.Error(t, err)
	}
	for _, ad := range []string{"", "a", "ae", "adt"} {
		_, err := id.Decrypt(signed, []byte(ad))
		assert.Error(t, err, ad)
	}
	_, err = other.Decrypt(signed, []byte("ad"))
	assert.ErrorContains(t, err, other.String())
	_, err = id.Decrypt(signed[:63], nil)
	assert.Error(t, err)
	_, err = NewIdentity(nil)
	assert.Error(t, err)
	_, ok := IdentityOf(InsecureCleartext)
	assert.False(t, ok)

	for _, wrong := range []string{"", id.String()[1:], strings.ToUpper(id.String()), id.String() + "00", "zz"} {
		_, err := ParseIdentity(wrong)
		assert.Error(t, err, wrong)
	}
	// trap F7: under a key of small order, strangers could sign.
	weak := Identity{1}
	plain, err := weak.Decrypt(append([]byte("text"), append([]byte{1}, make([]byte, 63)...)...), nil)
	require.NoError(t, err)
	require.Equal(t, "text", string(plain), "anybody's signature")
	_, err = ParseIdentity(weak.String())
	assert.ErrorContains(t, err, "small order")
	_, err = ParseIdentity(Identity{2}.String())
	assert.ErrorContains(t, err, "no point of the curve")

	var back Identity
	text, err := json.Marshal(id)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, id, back)
}

// A KEK that signs does not encrypt: no secret is put under one, and no signed file under another.
func TestSignedKEK(t *testing.T) {
	t.Parallel()
	kek, id := identityOf(t, 1)
	dir := t.TempDir()
	for _, kind := range []Kind{Ticket, Session, Channel, Issuer, Recipient} {
		c := config(kind)
		c.KEK = kek
		assert.ErrorContains(t, Create(dir+"/x", c, DefaultPolicy(kind), ""), "does not encrypt")
	}
	c := config(Ticket)
	path := newFile(t, c)
	_, err := Rewrap(path, c, kek, "")
	assert.ErrorContains(t, err, "does not encrypt")
	for _, k := range []KEK{InsecureCleartext, newKEK(7, "test"), id} {
		_, err := CreateDocument(dir+"/y", Config{Kind: Trust, Realm: "prod", KEK: k}, struct{}{})
		assert.Error(t, err, k.Hint())
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(entries), 1, "a lock at most")
}

type note struct {
	Text string `json:"text"`
}

func TestDocument(t *testing.T) {
	t.Parallel()
	kek, id := identityOf(t, 1)
	path := filepath.Join(t.TempDir(), "trust.list")
	owner := Config{Kind: Trust, Realm: "prod", KEK: kek, Poll: time.Hour}
	reader := owner
	reader.KEK = id
	info, err := CreateDocument(path, owner, note{"one"})
	require.NoError(t, err)
	assert.EqualValues(t, 1, info.Generation)
	assert.Zero(t, info.Primary)
	_, err = CreateDocument(path, owner, note{"two"})
	require.ErrorIs(t, err, os.ErrExist)

	f, err := Follow(path, reader, func(d Document) (string, error) {
		var n note
		if err := CanonicalJSON(d.Content, &n); err != nil {
			return "", err
		}
		return n.Text, nil
	})
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, "one", f.Load())
	write := func(c Config, text string) error {
		_, err := ChangeDocument(path, c, "a test", func(d Document) (any, []Step, error) {
			return note{text}, []Step{{Do: TrustGrant, Issuer: "acme", Detail: string(d.Content)}}, nil
		})
		return err
	}
	require.NoError(t, write(owner, "two"))
	require.NoError(t, f.Reload())
	assert.Equal(t, "two", f.Load())
	assert.EqualValues(t, 2, f.Report().Generation)
	old := mustRead(t, path)
	require.ErrorContains(t, write(reader, "thief"), "signs nothing")
	require.NoError(t, write(owner, "three"))
	require.NoError(t, f.Reload())

	// The log has what was done, and the reader's key vouches for it.
	log, err := Audit(path, &reader)
	require.NoError(t, err)
	assert.Len(t, log, 3)
	assert.Equal(t, []Step{{Do: TrustGrant, Issuer: "acme", Detail: `{"text":"one"}`}}, log[1].Steps)

	// An older file, another of the same generation, and a changed one: the last good list stays.
	good := mustRead(t, path)
	require.NoError(t, os.WriteFile(path, old, 0o600))
	assert.Equal(t, RolledBack, reasonOf(f.Reload()))
	d, err := DecodeDocument("x", good, reader)
	require.NoError(t, err)
	h := &header{Format: 1, Kind: Trust, Realm: "prod", Generation: d.Generation, KEK: "signed",
		Audit: d.Audit, Keys: []Key{}}
	forked, _, err := encodeDocument(h, note{"other"}, &owner)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, forked, 0o600))
	assert.Equal(t, Forked, reasonOf(f.Reload()))
	stranger, _ := identityOf(t, 9)
	h.Generation = 9
	theirs := owner
	theirs.KEK = stranger
	forged, _, err := encodeDocument(h, note{"thief"}, &theirs)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, forged, 0o600))
	assert.Equal(t, NotOpened, reasonOf(f.Reload()))
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		_, err := DecodeDocument("x", changed, reader)
		require.Error(t, err, i)
	}
	bad, _, err := encodeDocument(h, map[string]string{"text": "x", "more": "y"}, &owner)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bad, 0o600))
	assert.Equal(t, BadContent, reasonOf(f.Reload()))
	assert.Equal(t, "three", f.Load())

	// A signed file is no keyring, and a keyring no signed file.
	require.NoError(t, os.WriteFile(path, good, 0o600))
	_, err = Change(path, owner, "", Step{Do: Rotate})
	assert.Equal(t, WrongKind, reasonOf(err))
	_, _, err = Apply(path, owner, nil)
	assert.Equal(t, WrongKind, reasonOf(err))
	_, err = Open(path, reader)
	assert.ErrorContains(t, err, "has no Ring")
	c := config(Ticket)
	ticket := newFile(t, c)
	_, err = ReadDocument(ticket, c)
	assert.ErrorContains(t, err, "no signed file")
	_, err = ChangeDocument(ticket, c, "", func(Document) (any, []Step, error) { return nil, nil, nil })
	assert.Equal(t, WrongKind, reasonOf(err))
	_, err = Follow(ticket, c, func(Document) (int, error) { return 0, nil })
	assert.ErrorContains(t, err, "kind of a signed file")

	// Another identity key takes the list over, while its owner has the old key.
	_, err = Rewrap(path, owner, stranger, "the key was lost")
	require.NoError(t, err)
	_, err = ReadDocument(path, reader)
	assert.Equal(t, NotOpened, reasonOf(err))
}

func TestPublish(t *testing.T) {
	t.Parallel()
	clock := newClock()
	kek, id := identityOf(t, 1)
	for kind, algorithms := range map[Kind][]string{Issuer: Algorithms(Issuer), Recipient: Algorithms(Recipient)} {
		for _, algorithm := range algorithms {
			c := config(kind)
			c.Now = clock.now
			path := filepath.Join(t.TempDir(), "keyring")
			require.NoError(t, Create(path, c, DefaultPolicy(kind), algorithm))
			_, err := Change(path, c, "", Step{Do: Rotate, Now: true})
			require.NoError(t, err)
			_, err = Change(path, c, "", Step{Do: Rotate})
			require.NoError(t, err)
			_, err = Change(path, c, "", Step{Do: Stage})
			require.NoError(t, err)
			data, b, err := Publish(path, c, Publication{Name: "acme", Identity: kek})
			require.NoError(t, err)
			assert.NotContains(t, string(data), "wrapped")
			assert.EqualValues(t, 1, b.Generation)
			assert.Equal(t, clock.t.Add(7*24*time.Hour), b.Until)
			assert.EqualValues(t, 3600, b.Refresh)
			assert.Equal(t, id, b.Identity)
			require.Len(t, b.Keys, 3, "a staged key is not published")
			assert.Equal(t, []State{Retiring, Primary, Pending}, []State{b.Keys[0].State, b.Keys[1].State, b.Keys[2].State})
			for i, k := range b.Keys {
				if kind == Recipient {
					_, err = k.SealingKey()
					assert.Empty(t, k.Proof)
					assert.Zero(t, k.LastIssue)
				} else {
					_, err = k.VerifyingKey("prod", "acme")
					assert.Equal(t, i == 0, !k.LastIssue.IsZero())
					for _, of := range [][2]string{{"prod", "beta"}, {"test", "acme"}} {
						_, err := k.VerifyingKey(of[0], of[1])
						assert.ErrorContains(t, err, "another issuer's key?")
					}
				}
				require.NoError(t, err)
			}

			// The next is newer, under the same name.
			data, b, err = Publish(path, c, Publication{Identity: kek, Before: data, Valid: time.Hour, Refresh: 5 * time.Minute})
			require.NoError(t, err)
			assert.EqualValues(t, 2, b.Generation)
			assert.Equal(t, clock.t.Add(time.Hour), b.Until)
			assert.EqualValues(t, 300, b.Refresh)
			_, short, err := Publish(path, c, Publication{Identity: kek, Before: data, Valid: time.Minute})
			require.NoError(t, err)
			assert.EqualValues(t, 20, short.Refresh, "others look again before the end")
			other, _ := identityOf(t, 2)
			for what, p := range map[string]Publication{
				"published for \"acme\"":            {Name: "beta", Identity: kek, Before: data},
				"is signed by another identity":     {Identity: other, Before: data},
				"give at most that":                 {Name: "acme", Identity: kek, Valid: 8 * 24 * time.Hour},
				"look for the next bundle too late": {Name: "acme", Identity: kek, Valid: time.Hour, Refresh: 61 * time.Minute},
				"rename":                            {Name: "Acme!", Identity: kek},
				"is nil":                            {Name: "acme"},
				"give signed:PATH":                  {Name: "acme", Identity: newKEK(7, "test")},
				"signs nothing":                     {Name: "acme", Identity: id},
			} {
				_, _, err := Publish(path, c, p)
				assert.ErrorContains(t, err, what)
			}
		}
	}
	c := config(Ticket)
	_, _, err := Publish(newFile(t, c), c, Publication{Name: "acme", Identity: kek})
	assert.Equal(t, WrongKind, reasonOf(err))
}

// A pending key that is held is published nowhere. After the end of the hold it waits as a new key does.
func TestHeldKeysOfIssuers(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := config(Issuer)
	c.Now = clock.now
	path := newFile(t, c)
	kek, _ := identityOf(t, 1)
	published := func() (ids []KeyID) {
		t.Helper()
		_, b, err := Publish(path, c, Publication{Name: "acme", Identity: kek})
		require.NoError(t, err)
		var enabled []KeyID
		h := public(t, path, c)
		for i := range h.Len() {
			entry, err := h.Entry(i)
			require.NoError(t, err)
			if entry.KeyStatus() == keyset.Enabled {
				enabled = append(enabled, KeyID(entry.KeyID()))
			}
		}
		for _, k := range b.Keys {
			ids = append(ids, k.ID)
		}
		assert.ElementsMatch(t, ids, enabled, "ExportPublic")
		return ids
	}
	info := mustChange(t, path, c, Step{Do: Rotate})
	first, pending := info.Primary, info.Keys[1].ID
	assert.Equal(t, []KeyID{first, pending}, published())
	clock.t = clock.t.Add(30 * 24 * time.Hour)
	info = mustChange(t, path, c, Step{Do: Revoke, Key: first})
	next := info.Primary
	assert.Equal(t, []KeyID{next}, published())

	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: Unhold, Key: pending})
	assert.Equal(t, []KeyID{pending, next}, published())
	from := clock.t.Add(info.Policy.Published + info.Policy.Skew)
	_, err := Change(path, c, "", Step{Do: Promote, Key: pending})
	assertBlocked(t, &BlockedError{Do: Promote, ID: pending, State: Pending, From: from}, err)
	clock.t = from
	mustChange(t, path, c, Step{Do: Promote, Key: pending})

	// A key that has signed is published, held or not.
	mustChange(t, path, c, Step{Do: Rollback})
	assert.Equal(t, []KeyID{pending, next}, published())
}

// An issuer has a bounded number of keys, and no policy leads over the bound.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	kek, _ := identityOf(t, 1)
	c := config(Issuer)
	path := newFile(t, c)
	steps := make([]Step, MaxIssuerKeys-1)
	for i := range steps {
		steps[i] = Step{Do: Rotate, Now: true}
	}
	info := mustChange(t, path, c, steps...)
	_, b, err := Publish(path, c, Publication{Name: "acme", Identity: kek})
	require.NoError(t, err)
	assert.Len(t, b.Keys, MaxIssuerKeys)
	mustChange(t, path, c, Step{Do: Rotate})
	_, _, err = Publish(path, c, Publication{Name: "acme", Identity: kek})
	require.ErrorContains(t, err, "has 17 keys that open, and others take at most 16 of an issuer: disable")
	mustChange(t, path, c, Step{Do: Disable, Key: info.Keys[0].ID, Unsafe: true})
	_, _, err = Publish(path, c, Publication{Name: "acme", Identity: kek})
	require.NoError(t, err)

	p := DefaultPolicy(Issuer)
	p.Published, p.Lifetime, p.RotateEvery = time.Minute, 24*time.Hour, time.Hour
	require.ErrorContains(t, p.Check(Issuer), "they take at most 16 of an issuer: rotate less often")
	p.RotateEvery = 2 * time.Hour
	require.NoError(t, p.Check(Issuer))
	p.RotateEvery, p.Published, p.DestroyAfter = time.Hour, 0, time.Hour
	require.NoError(t, p.Check(Issuer), "without bundles there is no bound")
}

// trap F7: bad public keys are refused, each alone. trap F11: a bundle has times.
func TestBadBundles(t *testing.T) {
	t.Parallel()
	kek, id := identityOf(t, 1)
	small := make([]byte, 32)
	small[0] = 1
	for _, k := range []PublicKey{
		{Algorithm: "ED25519", Public: small},
		{Algorithm: "ED25519", Public: bytes.Repeat([]byte{0xff}, 32)},
		{Algorithm: "ED25519", Public: small[:31]},
		{Algorithm: "ED25519"},
		{Algorithm: "ECDSA_P256", Public: append([]byte{4}, make([]byte, 64)...)},
		{Algorithm: "ECDSA_P256", Public: append([]byte{2}, small...)},
		{Algorithm: "HPKE_X25519_AES256_GCM", Public: make([]byte, 32)},
		{Algorithm: "HPKE_P256_AES256_GCM", Public: append([]byte{4}, make([]byte, 64)...)},
		{Algorithm: "HPKE_XWING_AES256_GCM", Public: bytes.Repeat([]byte{0xff}, 1216)},
		{Algorithm: "AES256_GCM", Public: small},
		{Public: small},
	} {
		k.ID = 7
		_, err := k.VerifyingKey("prod", "acme")
		assert.ErrorContains(t, err, "key 00000007 is refused", k.Algorithm)
		_, err = k.SealingKey()
		assert.ErrorContains(t, err, "key 00000007 is refused", k.Algorithm)
	}

	c := Config{Kind: IssuerPublic, Realm: "prod", KEK: kek}
	now := newClock().t
	good := bundleContent{"acme", now, now.Add(time.Hour), 60, []PublicKey{{ID: 1, State: Primary, Public: small}}}
	h := &header{Format: 1, Kind: IssuerPublic, Realm: "prod", Generation: 1, KEK: "signed",
		Audit: strings.Repeat("0", 64), Keys: []Key{}}
	parse := func(content any) error {
		data, _, err := encodeDocument(h, content, &c)
		require.NoError(t, err)
		reader := c
		reader.KEK = id
		_, err = ParseBundle("acme.pub", data, reader)
		return err
	}
	require.NoError(t, parse(good))
	for name, change := range map[string]func(*bundleContent){
		"name":              func(b *bundleContent) { b.Name = "" },
		"no end":            func(b *bundleContent) { b.Until = time.Time{} },
		"ends before":       func(b *bundleContent) { b.Until = now.Add(-1 * time.Hour) },
		"ends late":         func(b *bundleContent) { b.Until = now.Add(11 * 365 * 24 * time.Hour) },
		"microseconds":      func(b *bundleContent) { b.Until = b.Until.Add(time.Microsecond) },
		"refresh":           func(b *bundleContent) { b.Refresh = 0 },
		"no keys":           func(b *bundleContent) { b.Keys = nil },
		"two primaries":     func(b *bundleContent) { b.Keys = append(b.Keys, PublicKey{ID: 2, State: Primary}) },
		"no primary":        func(b *bundleContent) { b.Keys = []PublicKey{{ID: 1, State: Pending}} },
		"twice":             func(b *bundleContent) { b.Keys = append(b.Keys, PublicKey{ID: 1, State: Pending}) },
		"ID 0":              func(b *bundleContent) { b.Keys = append(b.Keys, PublicKey{State: Pending}) },
		"disabled":          func(b *bundleContent) { b.Keys = append(b.Keys, PublicKey{ID: 2, State: Disabled}) },
		"last of a primary": func(b *bundleContent) { b.Keys = []PublicKey{{ID: 1, State: Primary, LastIssue: now}} },
	} {
		b := good
		change(&b)
		assert.Equal(t, BadContent, reasonOf(parse(b)), name)
	}
	// trap F9: a bundle has no field for what it may be good for.
	assert.ErrorContains(t, parse(struct {
		bundleContent
		Brands []string `json:"brands"`
	}{good, []string{"beta"}}), "brands")
	// A signed file has no keys in its header, and no policy.
	line, err := h.encode()
	require.NoError(t, err)
	for _, other := range []string{`"keys":null`, `"keys":[{"id":"00000001"}]`} {
		_, err := parseHeader([]byte(strings.Replace(string(line), `"keys":[]`, other, 1)))
		assert.Error(t, err)
	}
	_, err = parseHeader([]byte(strings.Replace(string(line), `"policy":{}`, `"policy":{"skew":1}`, 1)))
	assert.ErrorContains(t, err, "do not have")
	_, err = parseHeader([]byte(strings.Replace(string(line), `"kek":"signed"`, `"kek":"file"`, 1)))
	assert.ErrorContains(t, err, "is signed by an identity key")
}

// trap F11, F18: an issuer with the recipient's bundle makes tickets until the bundle's end, and
// fails then at Issue.
func TestRecipientKeys(t *testing.T) {
	t.Parallel()
	clock := newClock()
	kek, id := identityOf(t, 1)
	c := config(Recipient)
	c.Now = clock.now
	path := newFile(t, c)
	out := filepath.Join(t.TempDir(), "login.pub")
	least := uint64(4)
	publish := func(name string) Bundle {
		least++
		before, _ := os.ReadFile(out)
		if name != "" {
			before = nil
		}
		data, b, err := Publish(path, c, Publication{Name: name, Identity: kek, Before: before, MinGeneration: least})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(out, data, 0o644))
		return b
	}
	publish("login.example.com")
	reader := Config{Realm: "prod", KEK: id, Now: clock.now, Poll: time.Hour}
	// The organisation's other login services, other realms, its issuers, and its trust list.
	_, err := OpenRecipient(out, "www.example.com", reader)
	require.ErrorContains(t, err, `for the recipient "login.example.com", and "www.example.com" is wanted`)
	_, err = OpenRecipient(out, "", reader)
	require.ErrorContains(t, err, "keyring.OpenRecipient.name")
	other := reader
	other.Realm = "test"
	_, err = OpenRecipient(out, "login.example.com", other)
	require.Equal(t, WrongRealm, reasonOf(err))
	issuer := config(Issuer)
	data, _, err := Publish(newFile(t, issuer), issuer, Publication{Name: "login.example.com", Identity: kek})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(out+".issuer", data, 0o644))
	_, err = OpenRecipient(out+".issuer", "login.example.com", reader)
	require.Equal(t, WrongKind, reasonOf(err))
	_, err = CreateDocument(out+".trust", Config{Kind: Trust, Realm: "prod", KEK: kek}, note{})
	require.NoError(t, err)
	_, err = OpenRecipient(out+".trust", "login.example.com", reader)
	require.Equal(t, WrongKind, reasonOf(err))
	wanted := reader
	wanted.Kind = RecipientPublic
	b, err := ReadBundle(out, wanted)
	require.NoError(t, err)
	assert.Equal(t, "login.example.com", b.Name)
	_, err = ReadBundle(out+".none", wanted)
	require.Equal(t, Missing, reasonOf(err))

	r, err := OpenRecipient(out, "login.example.com", reader)
	require.NoError(t, err)
	defer r.Close()
	first, err := r.SealingKey()
	require.NoError(t, err)
	info, err := Change(path, c, "", Step{Do: Rotate, Now: true})
	require.NoError(t, err)
	publish("")
	require.NoError(t, r.Reload())
	second, err := r.SealingKey()
	require.NoError(t, err)
	assert.Equal(t, info.Primary, second.ID())
	assert.NotEqual(t, first.ID(), second.ID())
	assert.Equal(t, "login.example.com", r.Bundle().Name)
	clock.t = clock.t.Add(7*24*time.Hour - time.Second)
	_, err = r.SealingKey()
	require.NoError(t, err)
	clock.t = clock.t.Add(time.Second)
	_, err = r.SealingKey()
	require.ErrorContains(t, err, "were good until 2026-11-28T12:00:00Z")
	publish("")
	require.NoError(t, r.Reload())
	_, err = r.SealingKey()
	require.NoError(t, err)
	publish("other.example.com")
	require.Error(t, r.Reload())
	assert.Equal(t, "login.example.com", r.Bundle().Name)
	assert.Equal(t, BadContent, r.Report().Reason)
}
