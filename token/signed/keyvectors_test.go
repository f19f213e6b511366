package signed

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

// The vectors of keys stand in testdata/keys: which keys and lists of keys may be used. -update
// writes the files anew.
const keysDir = "../../testdata/keys"

// keyVector is a scenario: keysets of as many issuers, or a keyset of a login service.
type keyVector struct {
	name, expect, comment string
	kind                  string // signing, recipient or ticket
	keysets               []any
}

func (v keyVector) text() string {
	return fmt.Sprintf("comment: %s\nexpect: %s\nkind: %s\nkeysets: %s\n", v.comment, v.expect, v.kind,
		must(json.Marshal(v.keysets)))
}

// message is a protobuf message: numbers, and fields of bytes, in the order of their tags.
func message(fields ...any) []byte {
	var b []byte
	for i, f := range fields {
		switch f := f.(type) {
		case int:
			if f != 0 {
				b = binary.AppendUvarint(append(b, byte(i+1)<<3), uint64(f))
			}
		case []byte:
			b = append(binary.AppendUvarint(append(b, byte(i+1)<<3|2), uint64(len(f))), f...)
		}
	}
	return b
}

type entry struct {
	typ    string
	value  []byte
	id     uint32
	prefix string
}

func keysetOf(entries ...entry) any {
	var all []any
	for _, e := range entries {
		kind := "ASYMMETRIC_PUBLIC"
		if strings.HasPrefix(e.typ, "Aes") {
			kind = "SYMMETRIC"
		}
		all = append(all, map[string]any{"keyId": e.id, "status": "ENABLED", "outputPrefixType": e.prefix,
			"keyData": map[string]any{
				"typeUrl": "type.googleapis.com/google.crypto.tink." + e.typ, "keyMaterialType": kind, "value": e.value}})
	}
	return map[string]any{"primaryKeyId": entries[0].id, "key": all}
}

func keyVectors() (all []keyVector) {
	add := func(kind, name, expect, comment string, keysets ...any) {
		all = append(all, keyVector{kind + "-" + name, expect, comment, kind, keysets})
	}
	const tink = "TINK"
	ed := func(public []byte, id uint32) entry { return entry{"Ed25519PublicKey", message(0, public), id, tink} }
	littleEndian := func(n *big.Int) []byte {
		b := n.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		return b
	}
	signed := func(comment, name string, public []byte) {
		add("signing", name, "refused", comment, keysetOf(ed(public, acme.id)))
	}
	good := ed(acme.public(), acme.id)
	add("signing", "good-ed25519", "good", "Ed25519", keysetOf(good))
	signed("31 bytes", "short", acme.public()[:31])
	signed("33 bytes", "long", append(slices.Clone(acme.public()), 0))
	isPoint := func(y *big.Int) bool {
		b := littleEndian(y)
		err := checkEd25519(b)
		return err == nil || !strings.Contains(err.Error(), "no point")
	}
	for n := int64(2); ; n++ {
		if y := big.NewInt(n); !isPoint(y) {
			signed(fmt.Sprintf("y is %d, which no point has", n), "no-point", littleEndian(y))
			break
		}
	}
	for n := int64(2); ; n++ {
		if y := big.NewInt(n); isPoint(y) { // also as y + p, which is below 2^255 for n < 19
			add("signing", "good-small-y", "good", fmt.Sprintf("y is %d", n), keysetOf(ed(littleEndian(y), acme.id)))
			signed(fmt.Sprintf("y is p + %d", n), "not-canonical", littleEndian(y.Add(y, curveP)))
			break
		}
	}
	for i, y := range smallOrder {
		signed("a point of small order", fmt.Sprintf("small-order-%d", i), littleEndian(y))
		negative := littleEndian(y)
		negative[31] |= 0x80
		signed("a point of small order, with the other sign", fmt.Sprintf("small-order-negative-%d", i), negative)
	}
	ec := func(hash, curve, encoding int, x, y []byte) any {
		value := message(0, message(hash, curve, encoding), x, y)
		return keysetOf(entry{"EcdsaPublicKey", value, acmeECDSA.id, tink})
	}
	const sha256ID, sha512ID, p256ID, p384ID, ieee, der = 3, 4, 2, 3, 1, 2
	point := acmeECDSA.public()
	x, y := point[1:33], point[33:]
	add("signing", "good-ecdsa", "good", "ECDSA on P-256", ec(sha256ID, p256ID, ieee, x, y))
	add("signing", "good-ecdsa-zero", "good", "a zero byte before each coordinate, as Tink writes them",
		ec(sha256ID, p256ID, ieee, append([]byte{0}, x...), append([]byte{0}, y...)))
	add("signing", "ecdsa-no-point", "refused", "no point of the curve", ec(sha256ID, p256ID, ieee, x, x))
	add("signing", "ecdsa-der", "refused", "signatures in DER", ec(sha256ID, p256ID, der, x, y))
	add("signing", "ecdsa-sha512", "refused", "SHA-512", ec(sha512ID, p256ID, ieee, x, y))
	add("signing", "ecdsa-p384", "refused", "P-384", ec(sha512ID, p384ID, ieee, append(x[:32:32], x[:16]...),
		append(y[:32:32], y[:16]...)))
	for _, prefix := range []string{"RAW", "CRUNCHY", "LEGACY"} {
		add("signing", strings.ToLower(prefix), "refused", "another output prefix",
			keysetOf(entry{"Ed25519PublicKey", good.value, acme.id, prefix}))
	}
	add("signing", "same-id", "refused", "two keys of a keyset with one ID", keysetOf(good, ed(beta.public(), acme.id)))
	add("signing", "hpke", "refused", "a key for encryption",
		keysetOf(entry{"HpkePublicKey", message(0, message(1, 1, 2), x25519.public(ours.private)), acme.id, tink}))
	add("signing", "two-issuers", "refused", "a key of two issuers", keysetOf(good), keysetOf(good))
	add("signing", "two-issuers-two-ids", "refused", "a key of two issuers, under two IDs", keysetOf(good),
		keysetOf(ed(acme.public(), beta.id)))
	var sharing []any
	for i := range byte(5) {
		sharing = append(sharing, keysetOf(ed(signing{false, acme.id, run(i, 32)}.public(), acme.id)))
	}
	add("signing", "good-four-issuers", "good", "four issuers have one ID", sharing[:4]...)
	add("signing", "five-issuers", "refused", "five issuers have one ID", sharing...)

	recipient := func(name, expect, comment string, kem, kdf, aead int, public []byte) {
		value := message(0, message(kem, kdf, aead), public)
		add("recipient", name, expect, comment, keysetOf(entry{"HpkePublicKey", value, ours.id, tink}))
	}
	const kemX, kemP, hkdf256, hkdf512, aes128, aes256, chacha = 1, 2, 1, 3, 1, 2, 3
	xKey, pKey := x25519.public(ours.private), p256.public(oursP256.private)
	recipient("good-x25519", "good", "X25519", kemX, hkdf256, aes256, xKey)
	recipient("good-p256", "good", "P-256", kemP, hkdf256, aes256, pKey)
	recipient("short", "refused", "31 bytes", kemX, hkdf256, aes256, xKey[:31])
	recipient("high-bit", "refused", "the bit that nobody reads", kemX, hkdf256, aes256, append(xKey[:31:31],
		xKey[31]|0x80))
	recipient("not-canonical", "refused", "p + 9", kemX, hkdf256, aes256, littleEndian(new(big.Int).Add(curveP,
		big.NewInt(9))))
	recipient("zero", "refused", "a point of small order", kemX, hkdf256, aes256, make([]byte, 32))
	recipient("one", "refused", "a point of small order", kemX, hkdf256, aes256, append([]byte{1}, make([]byte, 31)...))
	recipient("p256-no-point", "refused", "no point of the curve", kemP, hkdf256, aes256, append(pKey[:33:33],
		pKey[1:33]...))
	recipient("p256-compressed", "refused", "a compressed point", kemP, hkdf256, aes256, append([]byte{2 +
		pKey[64]&1}, pKey[1:33]...))
	recipient("p256-hybrid", "refused", "a point in hybrid form", kemP, hkdf256, aes256, append([]byte{6 +
		pKey[64]&1}, pKey[1:]...))
	recipient("hkdf-sha512", "refused", "another KDF", kemX, hkdf512, aes256, xKey)
	recipient("aes128", "refused", "another AEAD", kemX, hkdf256, aes128, xKey)
	recipient("chacha", "refused", "another AEAD", kemX, hkdf256, chacha, xKey)
	recipient("two-kems", "refused", "X25519's key as one of P-256", kemP, hkdf256, aes256, xKey)
	add("recipient", "raw", "refused", "another output prefix",
		keysetOf(entry{"HpkePublicKey", message(0, message(kemX, hkdf256, aes256), xKey), ours.id, "RAW"}))
	add("recipient", "signing-key", "refused", "a key for signing", keysetOf(good))

	aes := func(id uint32, prefix string) entry { return entry{"AesGcmKey", message(0, 0, run(1, 32)), id, prefix} }
	add("ticket", "good-aes256", "good", "AES256_GCM", keysetOf(aes(1, tink)))
	add("ticket", "raw", "refused", "another output prefix", keysetOf(aes(1, "RAW")))
	add("ticket", "second-raw", "refused", "another output prefix of a key that is not primary", keysetOf(aes(1,
		tink), aes(2, "RAW")))
	add("ticket", "same-id", "refused", "two keys with one ID", keysetOf(aes(1, tink), aes(1, tink)))
	return all
}

// The golden vectors of keys, each from its text alone.
func TestKeyVectors(t *testing.T) {
	all := keyVectors()
	if *update {
		require.NoError(t, os.RemoveAll(keysDir))
		require.NoError(t, os.MkdirAll(keysDir, 0o755))
		for _, v := range all {
			require.NoError(t, os.WriteFile(filepath.Join(keysDir, v.name+".txt"), []byte(v.text()), 0o644))
		}
	}
	entries, err := os.ReadDir(keysDir)
	require.NoError(t, err)
	require.Equal(t, len(all), len(entries), "each file has its scenario")
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(keysDir, v.name+".txt"))
			require.NoError(t, err)
			require.Equal(t, v.text(), string(text), "run with -update if the scenario was meant to change")
			line := lineOf(string(text), "keysets")
			var keysets []json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(line), &keysets))
			err = useKeys(v.kind, keysets)
			if v.expect == "good" {
				assert.NoError(t, err)
			} else {
				assert.Error(t, err)
			}
		})
	}
}

func lineOf(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}

// useKeys does with keysets what an issuer or a login service does.
func useKeys(kind string, keysets []json.RawMessage) error {
	var all []*VerifyingKey
	for i, k := range keysets {
		r := keyset.NewJSONReader(bytes.NewReader(k))
		if kind == "ticket" {
			h, err := insecurecleartextkeyset.Read(r)
			if err == nil {
				_, err = token.NewKeyset(h)
			}
			return err
		}
		h, err := keyset.ReadWithNoSecrets(r)
		if err != nil {
			return err
		}
		if kind == "recipient" {
			_, err := NewSealingKey(h)
			return err
		}
		keys, err := NewVerifyingKeys(string(rune('a'+i)), h)
		if err != nil {
			return err
		}
		all = append(all, keys...)
	}
	_, err := NewTrusted(all...)
	return err
}
