package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/hybrid/hpke"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	"github.com/tink-crypto/tink-go/v2/signature/ed25519"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// PublicKey is the public half of a key in a Bundle.
type PublicKey struct {
	ID        KeyID  `json:"id"`
	Algorithm string `json:"algorithm"`
	State     State  `json:"state"`  // Pending, Primary or Retiring
	Public    []byte `json:"public"` // 32 bytes, an uncompressed point, or as RFC 9180 serializes the key

	// Proof is a signature of the key itself over the realm, the name and the public half. So
	// nobody can publish another issuer's key as their own. A recipient's key has none.
	Proof []byte `json:"proof,omitempty"`

	// LastIssue is the time after which a retiring signing key signed no ticket: a ticket that
	// is issued later is a thief's.
	LastIssue time.Time `json:"lastIssue,omitzero"`
}

// Bundle is the content of a signed file with the public keys of an Issuer or Recipient
// keyring. Publish makes it. Holders of a Bundle look for a new one every Refresh, and do not
// use it any more at Until.
type Bundle struct {
	Kind        Kind        `json:"kind"` // IssuerPublic or RecipientPublic
	Realm       string      `json:"realm"`
	Generation  uint64      `json:"generation"`
	Fingerprint string      `json:"fingerprint"` // SHA-256 of the file, in hexadecimal
	Identity    Identity    `json:"identity"`    // which signed the file
	Name        string      `json:"name"`
	Published   time.Time   `json:"published"`
	Until       time.Time   `json:"until"`
	Refresh     int64       `json:"refresh"` // seconds
	Keys        []PublicKey `json:"keys"`    // oldest first; exactly one is primary
	Source      string      `json:"source"`  // the Info.Audit of the keyring at the time of Publish
}

// bundleContent is the JSON in the file. The rest of a Bundle is in the header.
type bundleContent struct {
	Name      string      `json:"name"`
	Published time.Time   `json:"published"`
	Until     time.Time   `json:"until"`
	Refresh   int64       `json:"refresh"`
	Keys      []PublicKey `json:"keys"`
}

// Bounds of bundles.
const (
	// MaxIssuerKeys is how many keys the bundle of an Issuer keyring may have. So one issuer cannot
	// fill the lists of others, nor make the verifiers try many keys.
	MaxIssuerKeys = 16

	// MaxBundleGeneration is the highest generation of a bundle: one a second for 136 years. A thief
	// of an identity key could otherwise publish the last generation that there is.
	MaxBundleGeneration = 1<<32 - 1
)

// Publication says how Publish publishes the keys of a keyring.
type Publication struct {
	Name     string        // of the issuer or the recipient, as others know it; "" means that of Before
	Identity KEK           // of NewIdentity
	Valid    time.Duration // from now to Bundle.Until; 0 means the policy's Published, which is the most
	// Refresh is how often others look for a new bundle, at most Valid. 0 means an hour, or a third
	// of Valid if that is shorter.
	Refresh time.Duration

	// Before is the file that was published last, or nil. The new generation is higher.
	Before []byte
	// MinGeneration is the lowest generation of the new file.
	MinGeneration uint64
}

// Publish returns a signed file with the public keys of the Issuer or Recipient keyring at path:
// the keys that are pending and not held, primary or retiring. The keyring is not changed. Run
// Publish after every change of the keyring, and at least every few hours, since a file is good until its
// Bundle.Until only.
func Publish(path string, c Config, p Publication) ([]byte, Bundle, error) {
	if err := c.check(); err != nil {
		return nil, Bundle{}, err
	}
	now := c.now() // not after a change that the file does not have yet
	f, _, err := readBoth(path, &c)
	if err != nil {
		return nil, Bundle{}, err
	}
	kind, ok := map[Kind]Kind{Issuer: IssuerPublic, Recipient: RecipientPublic}[f.header.Kind]
	if !ok {
		return nil, Bundle{}, &FileError{path, WrongKind, fmt.Errorf("is of kind %s, which has no public keys; "+
			"give an issuer or recipient keyring", f.header.Kind)}
	}
	valid := p.Valid
	switch most := f.header.Policy.Published; {
	case most == 0:
		return nil, Bundle{}, fmt.Errorf("the policy of %s has no published time: others could not use its public keys "+
			"for any time; set it with keyring policy --published", path)
	case valid == 0:
		valid = most
	case valid < 0 || valid > most:
		return nil, Bundle{}, &token.ConfigError{Field: "keyring.Publication.Valid", Reason: fmt.Sprintf(
			"is %v, and the policy retires keys by the time %v for which others go on with older public keys; "+
				"give at most that, or change the policy", valid, most)}
	}
	if p.Refresh > valid {
		return nil, Bundle{}, &token.ConfigError{Field: "keyring.Publication.Refresh", Reason: fmt.Sprintf(
			"is %v, and the bundle is good for %v only: others would look for the next bundle too late; give less",
			p.Refresh, valid)}
	}
	out := Config{Kind: kind, Realm: c.Realm, KEK: p.Identity, Now: c.Now}
	if err := out.check(); err != nil {
		return nil, Bundle{}, err
	}
	h := &header{Format: format, Kind: kind, Realm: c.Realm, Generation: max(1, p.MinGeneration), KEK: p.Identity.Hint(),
		Audit: f.header.Audit, Keys: []Key{}}
	if p.Before != nil {
		before, err := ParseBundle("the file that was published last", p.Before, out)
		if err != nil {
			return nil, Bundle{}, err
		}
		if p.Name == "" {
			p.Name = before.Name
		}
		if before.Name != p.Name {
			return nil, Bundle{}, &token.ConfigError{Field: "keyring.Publication.Name", Reason: fmt.Sprintf(
				"is %q, and the file was published for %q; give that name, or another file", p.Name, before.Name)}
		}
		h.Generation = max(h.Generation, before.Generation+1)
	}
	if h.Generation > MaxBundleGeneration {
		return nil, Bundle{}, fmt.Errorf("the bundle would be of generation %d, and the last is %d: make a new identity key "+
			"(keyring identity --new), publish another file under it, and let the others deny the old identity "+
			"and add the new one", h.Generation, uint64(MaxBundleGeneration))
	}
	if err := token.CheckIssuer("keyring.Publication.Name", p.Name); err != nil {
		return nil, Bundle{}, err
	}
	content := bundleContent{Name: p.Name, Published: now, Until: now.Add(valid), Refresh: int64(p.Refresh / time.Second)}
	if p.Refresh == 0 {
		content.Refresh = max(1, int64(min(time.Hour, valid/3)/time.Second))
	}
	if content.Keys, err = f.publicKeys(p.Name); err != nil {
		return nil, Bundle{}, err
	}
	if n := len(content.Keys); kind == IssuerPublic && n > MaxIssuerKeys {
		return nil, Bundle{}, fmt.Errorf("%s has %d keys that open, and others take at most %d of an issuer: "+
			"disable retiring keys whose tickets have expired, and rotate less often", path, n, MaxIssuerKeys)
	}
	data, _, err := encodeDocument(h, content, &out)
	if err != nil {
		return nil, Bundle{}, err
	}
	b, err := ParseBundle("the new file", data, out)
	return data, b, err
}

// publicKeys returns the public halves of the keys of f that others may know.
func (f *contents) publicKeys(name string) ([]PublicKey, error) {
	public, err := f.handle.Public()
	if err != nil {
		return nil, err
	}
	halves := make(map[KeyID][]byte)
	for i := range public.Len() {
		entry, err := public.Entry(i)
		if err != nil {
			return nil, err
		}
		switch k := entry.Key().(type) {
		case *ed25519.PublicKey:
			halves[KeyID(entry.KeyID())] = k.KeyBytes()
		case *ecdsa.PublicKey:
			halves[KeyID(entry.KeyID())] = k.PublicPoint()
		case *hpke.PublicKey:
			halves[KeyID(entry.KeyID())] = k.PublicKeyBytes()
		}
	}
	p := f.header.Policy
	var keys []PublicKey
	for _, k := range f.header.Keys {
		if !k.opens() || k.withheld() {
			continue
		}
		half := PublicKey{ID: k.ID, Algorithm: k.Algorithm, State: k.State, Public: halves[k.ID]}
		if f.header.Kind == Issuer {
			if half.Proof, err = f.prove(half, name); err != nil {
				return nil, err
			}
			if k.State == Retiring {
				half.LastIssue = p.sealedUntil(k).Add(p.Skew)
			}
		}
		keys = append(keys, half)
	}
	return keys, nil
}

// proofData is what a signing key signs to prove that its owner published it. No ticket begins
// so.
func (k PublicKey) proofData(realm, name string) []byte {
	return slices.Concat([]byte("admitone/key/1\x00"+realm+"\x00"+name+"\x00"+k.Algorithm+"\x00"), k.Public)
}

// prove signs proofData under the private half of k.
func (f *contents) prove(k PublicKey, name string) ([]byte, error) {
	m := keyset.NewManagerFromHandle(f.handle)
	if err := m.SetPrimary(uint32(k.ID)); err != nil {
		return nil, err
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, err
	}
	signer, err := signed.NewSigner(handle)
	if err != nil {
		return nil, err
	}
	return signer.Sign(k.proofData(f.header.Realm, name))
}

// ParseBundle opens the bytes of a signed file of Publish, under the Identity that c.KEK is. The
// keys are not checked: see PublicKey.VerifyingKey and SealingKey. name stands for the path in
// errors, which are *FileErrors.
func ParseBundle(name string, data []byte, c Config) (Bundle, error) {
	d, err := DecodeDocument(name, data, c)
	if err != nil {
		return Bundle{}, err
	}
	b, err := d.bundle(c.KEK)
	if err != nil {
		return Bundle{}, &FileError{name, BadContent, fmt.Errorf("is signed, and cannot be used: %w", err)}
	}
	return b, nil
}

// ReadBundle is ParseBundle for the file at path.
func ReadBundle(path string, c Config) (Bundle, error) {
	data, _, err := readFile(path)
	if err != nil {
		return Bundle{}, err
	}
	return ParseBundle(path, data, c)
}

func (d Document) bundle(k KEK) (Bundle, error) {
	if d.Kind == Trust {
		return Bundle{}, errors.New("it is a trust list, and not the public keys of an issuer or recipient")
	}
	identity, ok := IdentityOf(k)
	if !ok {
		return Bundle{}, errors.New("it was opened without an identity key")
	}
	var content bundleContent
	if err := CanonicalJSON(d.Content, &content); err != nil {
		return Bundle{}, err
	}
	b := Bundle{d.Kind, d.Realm, d.Generation, d.Fingerprint, identity, content.Name,
		content.Published, content.Until, content.Refresh, content.Keys, d.Audit}
	return b, b.check()
}

func (b *Bundle) check() error {
	if err := token.CheckIssuer("name", b.Name); err != nil {
		return err
	}
	for _, t := range []time.Time{b.Published, b.Until} {
		if t.IsZero() || !isStamp(t) {
			return errors.New("its times are not all UTC in whole milliseconds")
		}
	}
	if !b.Published.Before(b.Until) || b.Until.Sub(b.Published) > maxPolicy {
		return errors.New("it does not end after its publication, or later than ten years")
	}
	if b.Refresh < 1 || b.Refresh > int64(maxPolicy/time.Second) {
		return fmt.Errorf("its refresh is %d seconds; it must be from a second to ten years", b.Refresh)
	}
	if b.Generation > MaxBundleGeneration {
		return fmt.Errorf("it is of generation %d; the last is %d: let its owner make a new identity key, "+
			"and begin again", b.Generation, uint64(MaxBundleGeneration))
	}
	if most := map[Kind]int{IssuerPublic: MaxIssuerKeys, RecipientPublic: maxKeys}[b.Kind]; len(b.Keys) > most {
		return fmt.Errorf("it has %d keys; the most is %d: let its owner disable keys, and rotate less often",
			len(b.Keys), most)
	}
	primaries := 0
	seen := make(map[KeyID]bool)
	for _, k := range b.Keys {
		switch {
		case k.ID == 0 || seen[k.ID]:
			return fmt.Errorf("key %v is there twice, or has the ID 0", k.ID)
		case k.State != Pending && k.State != Primary && k.State != Retiring:
			return fmt.Errorf("key %v is %q; a public key is pending, primary or retiring", k.ID, string(k.State))
		case !k.LastIssue.IsZero() && (k.State != Retiring || b.Kind != IssuerPublic || k.LastIssue.Location() != time.UTC):
			return fmt.Errorf("key %v has a time of its last ticket, and is no retiring key of an issuer", k.ID)
		}
		seen[k.ID] = true
		if k.State == Primary {
			primaries++
		}
	}
	if primaries != 1 {
		return fmt.Errorf("%d keys are primary; exactly one must be", primaries)
	}
	return nil
}

// Primary returns the primary key.
func (b *Bundle) Primary() PublicKey {
	return b.Keys[slices.IndexFunc(b.Keys, func(k PublicKey) bool { return k.State == Primary })]
}

// handle returns a keyset of k alone.
func (k PublicKey) handle(kind Kind) (*keyset.Handle, error) {
	params, err := parameters(kind, k.Algorithm)
	if err != nil {
		return nil, err
	}
	if k.Algorithm == "" {
		return nil, errors.New("it has no algorithm")
	}
	var public key.Key
	switch p := params.(type) {
	case *ed25519.Parameters:
		public, err = ed25519.NewPublicKey(k.Public, uint32(k.ID), *p)
	case *ecdsa.Parameters:
		public, err = ecdsa.NewPublicKey(k.Public, uint32(k.ID), p)
	case *hpke.Parameters:
		public, err = hpke.NewPublicKey(k.Public, uint32(k.ID), p)
	default:
		err = fmt.Errorf("the algorithm %s has no public keys", k.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	if _, err := m.AddKey(public); err != nil {
		return nil, err
	}
	if err := m.SetPrimary(uint32(k.ID)); err != nil {
		return nil, err
	}
	return m.Handle()
}

// VerifyingKey checks the public half and the proof of a signing key, and returns it as a key of
// an issuer in a realm.
func (k PublicKey) VerifyingKey(realm, issuer string) (*signed.VerifyingKey, error) {
	key, err := k.verifyingKey(realm, issuer)
	if err != nil {
		return nil, fmt.Errorf("key %v is refused: %w", k.ID, err)
	}
	return key, nil
}

func (k PublicKey) verifyingKey(realm, issuer string) (*signed.VerifyingKey, error) {
	handle, err := k.handle(Issuer)
	if err != nil {
		return nil, err
	}
	keys, err := signed.NewVerifyingKeys(issuer, handle)
	if err != nil {
		return nil, err
	}
	v, err := signature.NewVerifier(handle)
	if err != nil {
		return nil, err
	}
	if err := v.Verify(k.Proof, k.proofData(realm, issuer)); err != nil {
		return nil, fmt.Errorf("its proof does not show that %q has the private key: another issuer's key?", issuer)
	}
	return keys[0], nil
}

// SealingKey checks the public half of a recipient's key, and returns it.
func (k PublicKey) SealingKey() (*signed.SealingKey, error) {
	handle, err := k.handle(Recipient)
	if err == nil {
		var s *signed.SealingKey
		if s, err = signed.NewSealingKey(handle); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("key %v is refused: %w", k.ID, err)
}

// Same reports whether k and other are the same key, whatever their IDs and states.
func (k PublicKey) Same(other PublicKey) bool {
	return k.Algorithm == other.Algorithm && bytes.Equal(k.Public, other.Public)
}

// RecipientKeys is a signed.Recipient over the signed file of a login service, for issuers. It
// follows the file, which other means bring up to date: it fetches nothing.
type RecipientKeys struct {
	follower *Follower[recipientKey]
	now      func() time.Time
}

type recipientKey struct {
	Bundle
	key *signed.SealingKey
}

// OpenRecipient loads the file at path, of kind RecipientPublic, of the recipient with this name.
// c.KEK is the Identity of the login service's organisation. An organisation may have several login
// services: a bundle of another name or realm is refused, since tickets would be sealed for the wrong
// service. Close ends the polling.
func OpenRecipient(path, name string, c Config) (*RecipientKeys, error) {
	if err := token.CheckIssuer("keyring.OpenRecipient.name", name); err != nil {
		return nil, err
	}
	c.Kind = RecipientPublic
	f, err := Follow(path, c, func(d Document) (recipientKey, error) {
		b, err := d.bundle(c.KEK)
		if err != nil {
			return recipientKey{}, err
		}
		if b.Name != name {
			return recipientKey{}, fmt.Errorf("it is for the recipient %q, and %q is wanted; get the right file", b.Name, name)
		}
		k, err := b.Primary().SealingKey()
		return recipientKey{b, k}, err
	})
	if err != nil {
		return nil, err
	}
	return &RecipientKeys{f, c.now}, nil
}

// SealingKey implements signed.Recipient. It fails if the file is past its end: the login
// service may have retired the key.
func (r *RecipientKeys) SealingKey() (*signed.SealingKey, error) {
	k := r.follower.Load()
	if now := r.now(); !now.Before(k.Until) {
		return nil, fmt.Errorf("the public keys of %q were good until %s: the login service may open their tickets no more; "+
			"get its new file, and see why nobody has replaced %s",
			k.Name, k.Until.Format(time.RFC3339), r.follower.ring.path)
	}
	return k.key, nil
}

// Bundle returns the content of the file in use.
func (r *RecipientKeys) Bundle() Bundle { return r.follower.Load().Bundle }

// Reload, Report and Close are those of the Follower.
func (r *RecipientKeys) Reload() error { return r.follower.Reload() }

// Report returns the state of the file, without a look at it.
func (r *RecipientKeys) Report() Report { return r.follower.Report() }

// Close ends the polling.
func (r *RecipientKeys) Close() error { return r.follower.Close() }
