package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"
)

// Encoding is the form of a Tink keyset outside keyring files.
type Encoding string

// The encodings, with the names of Tink's tools.
const (
	JSON   Encoding = "json"
	Binary Encoding = "binary"
)

// Export returns the keyset in the form of Tink and Tinkey: encrypted under kek without
// associated data, or not encrypted if kek is InsecureCleartext. The keyset opens and seals
// like the keyring, and follows no rotation. Export is a change of the keyring, so that the
// audit log records who exported the keys, and when.
func Export(path string, c Config, e Encoding, kek KEK, why string) ([]byte, error) {
	if err := checkKEK("keyring.Export.kek", kek); err != nil {
		return nil, err
	}
	if e != JSON && e != Binary {
		return nil, fmt.Errorf("encoding %q is neither json nor binary", string(e))
	}
	var out bytes.Buffer
	_, err := change(path, &c, why, changeOptions{anyClock: c.UnsafeClockBehind}, func(ed *edit, _ Info) error {
		handle, err := ed.m.Handle()
		if err != nil {
			return err
		}
		var w keyset.Writer = keyset.NewBinaryWriter(&out)
		if e == JSON {
			w = keyset.NewJSONWriter(&out)
		}
		if kek == InsecureCleartext {
			err = insecurecleartextkeyset.Write(handle, w)
		} else {
			k := &errorKeeper{KEK: kek}
			if err = handle.Write(w, k); k.err != nil {
				err = k.err
			}
		}
		if err != nil {
			return fmt.Errorf("encrypting the keyset: %w", err)
		}
		ed.done = append(ed.done, Step{Do: exported, KEK: kek.Hint()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ExportPublic returns the public halves of an Issuer or Recipient keyring's keys, in the form of
// Tink and Tinkey. Keys that are pending and held are disabled there. The public halves are no
// secret. Who relies on them must know that they are the right keys: transfer them so that nobody
// can exchange them.
func ExportPublic(path string, c Config, e Encoding) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f, _, err := readBoth(path, &c)
	if err != nil {
		return nil, err
	}
	if f.header.Kind != Issuer && f.header.Kind != Recipient {
		return nil, fmt.Errorf("the keys of a %s keyring have no public half", f.header.Kind)
	}
	m := keyset.NewManagerFromHandle(f.handle)
	for _, k := range f.header.Keys {
		if k.withheld() {
			if err := m.Disable(uint32(k.ID)); err != nil {
				return nil, err
			}
		}
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, err
	}
	public, err := handle.Public()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	var w keyset.Writer = keyset.NewBinaryWriter(&out)
	if e == JSON {
		w = keyset.NewJSONWriter(&out)
	}
	if err := public.WriteWithNoSecrets(w); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// errorKeeper keeps a KEK's error. Tink would keep only the text.
type errorKeeper struct {
	KEK
	err error
}

func (k *errorKeeper) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	out, err := k.KEK.Encrypt(plaintext, associatedData)
	k.err = err
	return out, err
}

// CreateFrom makes a keyring file, as Create does, with the keys of a Tink keyset, in JSON or
// binary: encrypted under kek without associated data, or not encrypted if kek is
// InsecureCleartext. The keyset's primary becomes the primary, and its other enabled keys
// are retiring. All keys must have an algorithm of Algorithms, the output prefix TINK, and
// different IDs.
func CreateFrom(path string, c Config, p Policy, tinkKeyset []byte, kek KEK) error {
	handle, err := readTink(tinkKeyset, kek)
	if err != nil {
		return err
	}
	return create(path, &c, p, func(e *edit) error {
		if err := e.takeAll(handle, kek, func(k *Key, primary bool) {
			k.State, k.Promoted = Primary, e.now
			if !primary {
				k.State, k.Demoted = Retiring, e.now
			}
		}); err != nil {
			return err
		}
		e.done = append([]Step{{Do: created, Policy: &p}}, e.done...)
		return nil
	})
}

// Import adds the keys of a Tink keyset, in the forms of CreateFrom, to the keyring at path.
// The new keys open their ciphertexts from elsewhere, and are held: only people make them
// the primary (Unhold, Promote), and the policy does not disable them. Bundles of an Issuer
// keyring have them after Unhold only. Import refuses keys whose IDs are or were in the keyring.
func Import(path string, c Config, tinkKeyset []byte, kek KEK, why string) (Info, error) {
	handle, err := readTink(tinkKeyset, kek)
	if err != nil {
		return Info{}, err
	}
	return change(path, &c, why, changeOptions{anyClock: c.UnsafeClockBehind}, func(e *edit, _ Info) error {
		return e.takeAll(handle, kek, func(k *Key, _ bool) { k.Held, k.Reason = true, why })
	})
}

// takeAll adds all keys of a handle. entry completes the header's entry of an enabled key,
// which is pending before.
func (e *edit) takeAll(handle *keyset.Handle, kek KEK, entry func(k *Key, primary bool)) error {
	for i := range handle.Len() {
		from, err := handle.Entry(i)
		if err != nil {
			return err
		}
		id := KeyID(from.KeyID())
		algorithm, err := algorithmOf(e.h.Kind, from.Key().Parameters())
		switch {
		case err != nil:
			return fmt.Errorf("the keyset's key %v %w; allowed are %v", id, err, Algorithms(e.h.Kind))
		case slices.Contains(e.h.Tombstones, id):
			return fmt.Errorf("the keyset's key %v has the ID of a destroyed key; such IDs are never given again", id)
		case e.h.key(id) != nil:
			return fmt.Errorf("the keyset's key %v has the ID of a key of the keyring", id)
		}
		if _, err := e.m.AddKey(from.Key()); err != nil {
			return err
		}
		k := Key{ID: id, Algorithm: algorithm, State: Pending, Created: e.now, Enabled: e.now}
		if from.KeyStatus() == keyset.Enabled {
			entry(&k, from.IsPrimary())
		} else {
			// The hold keeps the policy from promoting the key after people enable it.
			k.State, k.Enabled, k.Disabled, k.Held, k.Reason = Disabled, time.Time{}, e.now, true, e.why
			if err := e.m.Disable(uint32(id)); err != nil {
				return err
			}
		}
		if k.State == Primary {
			if err := e.m.SetPrimary(uint32(id)); err != nil {
				return err
			}
		}
		e.h.Keys = append(e.h.Keys, k)
		e.done = append(e.done, Step{Do: imported, Key: id, Algorithm: algorithm, KEK: kek.Hint()})
	}
	return e.checkRoom()
}

// readTink reads a keyset, and checks the rules for the keys of a keyring.
func readTink(data []byte, kek KEK) (*keyset.Handle, error) {
	if err := checkKEK("keyring.Import.kek", kek); err != nil {
		return nil, err
	}
	var r keyset.Reader = keyset.NewBinaryReader(bytes.NewReader(data))
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		r = keyset.NewJSONReader(bytes.NewReader(data))
	}
	var ks *tinkpb.Keyset
	var err error
	if kek != InsecureCleartext {
		ks, err = decryptTink(r, kek)
	} else if ks, err = r.Read(); err != nil {
		err = errors.New("the keyset is not an unencrypted Tink keyset in JSON or binary; " +
			"give the KEK if it is encrypted")
	}
	if err != nil {
		return nil, err
	}
	if ferr := checkKeys(ks); ferr != nil {
		return nil, fmt.Errorf("the keyset %w", ferr.Cause)
	}
	for _, k := range ks.GetKey() {
		switch id := KeyID(k.GetKeyId()); {
		case id == 0:
			return nil, errors.New("the keyset has a key with the ID 0, which a keyring refuses; rotate the key away first")
		case k.GetStatus() == tinkpb.KeyStatusType_DESTROYED:
			return nil, fmt.Errorf("the keyset's key %v (%d) is destroyed; take the key out of the keyset (tinkey delete-key)",
				id, k.GetKeyId())
		}
	}
	plain, err := proto.Marshal(ks)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, fmt.Errorf("the keyset is refused by Tink: %w", err)
	}
	return handle, nil
}

func decryptTink(r keyset.Reader, kek KEK) (*tinkpb.Keyset, error) {
	encrypted, err := r.ReadEncrypted()
	if err != nil || len(encrypted.GetEncryptedKeyset()) == 0 {
		return nil, errors.New("the keyset is not an encrypted Tink keyset in JSON or binary; " +
			"if it is not encrypted, say so")
	}
	plain, err := kek.Decrypt(encrypted.GetEncryptedKeyset(), nil)
	if errors.Is(err, ErrKEKUnavailable) {
		return nil, fmt.Errorf("the keyset cannot be opened now, whether good or not: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the keyset does not open: it is under another %s KEK than the given KEK, or was changed: %w",
			kek.Hint(), err)
	}
	defer clear(plain)
	ks := new(tinkpb.Keyset)
	if err := proto.Unmarshal(plain, ks); err != nil {
		return nil, errors.New("the decrypted data is not a Tink keyset")
	}
	return ks, nil
}
