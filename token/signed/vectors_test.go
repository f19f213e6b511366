package signed

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tinkhpke "github.com/tink-crypto/tink-go/v2/hybrid/hpke"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"

	"github.com/admitone/admitone/token"
)

// The golden vectors of format 2 stand in testdata/signed, one scenario a file, with every value
// between the keys and the ticket. They are made here without the packages token, signed and
// crypto/hpke, from the scenarios below: fixed keys, and ephemeral keys that the scenario's name
// decides. TestVectors fails where a file and its scenario differ; -update writes the files anew.
var update = flag.Bool("update", false, "write the golden vectors anew")

const vectorDir = "../../testdata/signed"

// run returns n bytes that count up from first.
func run(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// kem is a KEM of RFC 9180, computed from its parts.
type kem struct {
	id     uint16
	tink   tinkhpke.KEMID
	public func(private []byte) []byte
	// encapsulate takes the ephemeral private key: 32 bytes, or the 64 bytes of X-Wing's eseed.
	encapsulate func(public, ephemeral []byte) (secret, enc []byte)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func labeled(suite, label string, rest ...[]byte) []byte {
	return slices.Concat(append([][]byte{[]byte("HPKE-v1" + suite + label)}, rest...)...)
}

func extract(suite, label string, salt, ikm []byte) []byte {
	return must(hkdf.Extract(sha256.New, labeled(suite, label, ikm), salt))
}

func expand(suite, label string, prk, info []byte, length int) []byte {
	full := append(binary.BigEndian.AppendUint16(nil, uint16(length)), labeled(suite, label, info)...)
	return must(hkdf.Expand(sha256.New, prk, string(full), length))
}

func dhkem(id uint16, tink tinkhpke.KEMID, curve ecdh.Curve) *kem {
	k := &kem{id: id, tink: tink}
	k.public = func(private []byte) []byte { return must(curve.NewPrivateKey(private)).PublicKey().Bytes() }
	k.encapsulate = func(public, ephemeral []byte) (secret, enc []byte) {
		e := must(curve.NewPrivateKey(ephemeral))
		enc = e.PublicKey().Bytes()
		dh := must(e.ECDH(must(curve.NewPublicKey(public))))
		_, secret = k.secretOf(dh, enc, public)
		return secret, enc
	}
	return k
}

// secretOf is the shared secret of a Diffie-Hellman secret, and the key between the two.
func (k *kem) secretOf(dh, enc, public []byte) (prk, secret []byte) {
	suite := "KEM" + string(binary.BigEndian.AppendUint16(nil, k.id))
	prk = extract(suite, "eae_prk", nil, dh)
	return prk, expand(suite, "shared_secret", prk, slices.Concat(enc, public), 32)
}

var (
	x25519 = dhkem(0x0020, tinkhpke.DHKEM_X25519_HKDF_SHA256, ecdh.X25519())
	p256   = dhkem(0x0010, tinkhpke.DHKEM_P256_HKDF_SHA256, ecdh.P256())
	xwing  = &kem{
		id: 0x647a, tink: tinkhpke.X_WING,
		public: func(private []byte) []byte {
			both := sha3.SumSHAKE256(private, 96)
			return slices.Concat(must(mlkem.NewDecapsulationKey768(both[:64])).EncapsulationKey().Bytes(), x25519.public(both[64:]))
		},
		encapsulate: func(public, ephemeral []byte) (secret, enc []byte) {
			pq, own := public[:mlkem.EncapsulationKeySize768], public[mlkem.EncapsulationKeySize768:]
			pqSecret, pqEnc, err := mlkemtest.Encapsulate768(must(mlkem.NewEncapsulationKey768(pq)), ephemeral[:32])
			e := must(must(ecdh.X25519().NewPrivateKey(ephemeral[32:])), err)
			dh := must(e.ECDH(must(ecdh.X25519().NewPublicKey(own))))
			sum := sha3.Sum256(slices.Concat(pqSecret, dh, e.PublicKey().Bytes(), own, []byte(`\.//^\`)))
			return sum[:], slices.Concat(pqEnc, e.PublicKey().Bytes())
		},
	}
)

// decryption is a key pair of a recipient.
type decryption struct {
	kem     *kem
	id      uint32
	private []byte
}

func (k decryption) suite() []byte {
	b := binary.BigEndian.AppendUint16(nil, k.kem.id)
	return append(b, 0, 1, 0, 2) // HKDF-SHA256, AES-256-GCM
}

func (k decryption) hash() []byte {
	h := sha256.Sum256(slices.Concat([]byte("admitone/recipient/2\x00"), k.suite(), k.kem.public(k.private)))
	return h[:]
}

// signing is a key pair of an issuer.
type signing struct {
	ecdsa   bool
	id      uint32
	private []byte
}

func (k signing) ed() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.private) }

func (k signing) ec() *ecdsa.PrivateKey {
	return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), k.private))
}

func (k signing) public() []byte {
	if k.ecdsa {
		return must(k.ec().PublicKey.Bytes())
	}
	return k.ed().Public().(ed25519.PublicKey)
}

// sign returns 64 bytes. ECDSA is as RFC 6979 has it.
func (k signing) sign(data []byte) []byte {
	if !k.ecdsa {
		return ed25519.Sign(k.ed(), data)
	}
	hash := sha256.Sum256(data)
	var rs struct{ R, S *big.Int }
	must(asn1.Unmarshal(must(k.ec().Sign(nil, hash[:], crypto.SHA256)), &rs))
	return append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
}

// Keys of the vectors.
var (
	ours     = decryption{x25519, 0x0a0a0a0a, run(1, 32)}
	oursP256 = decryption{p256, 0x0a0a0a10, run(1, 32)}
	oursXW   = decryption{xwing, 0x0a0a0a64, run(1, 32)}
	disabled = decryption{x25519, 0x0a0a0a40, run(0x40, 32)}
	others   = decryption{x25519, 0x0a0a0a0a, run(0x80, 32)} // another service, with the same ID
	nobodys  = decryption{x25519, 0x0a0a0a60, run(0xa0, 32)}

	acme      = signing{false, 0x0b0b0b0b, run(0x21, 32)}
	acmeECDSA = signing{true, 0x0b0b0b10, run(0x21, 32)}
	acmeOld   = signing{false, 0x0b0b0b40, run(0x22, 32)} // disabled
	beta      = signing{false, 0x0c0c0c0c, run(0x41, 32)}
	gamma     = signing{false, 0x0b0b0b0b, run(0x61, 32)} // the ID of acme's key
	delta     = signing{true, 0x0b0b0b0b, run(0x62, 32)}  // likewise
	epsilon   = signing{false, 0x0b0b0b0b, run(0x63, 32)} // likewise
	stranger  = signing{false, 0x0d0d0d0d, run(0x81, 32)}
)

// handleOf returns a keyset of vector keys, the first of them primary.
func handleOf(keys ...any) *keyset.Handle {
	m := keyset.NewManager()
	for i, k := range keys {
		var tinkKey key.Key
		var id uint32
		switch k := k.(type) {
		case decryption:
			id = k.id
			p := must(tinkhpke.NewParameters(tinkhpke.ParametersOpts{KEMID: k.kem.tink, KDFID: tinkhpke.HKDFSHA256,
				AEADID: tinkhpke.AES256GCM, Variant: tinkhpke.VariantTink}))
			tinkKey = must(tinkhpke.NewPrivateKey(secret(k.private), id, p))
		case signing:
			id = k.id
			if k.ecdsa {
				p := must(tinkecdsa.NewParameters(tinkecdsa.NistP256, tinkecdsa.SHA256, tinkecdsa.IEEEP1363, tinkecdsa.VariantTink))
				tinkKey = must(tinkecdsa.NewPrivateKey(secret(k.private), id, p))
			} else {
				p := must(tinked25519.NewParameters(tinked25519.VariantTink))
				tinkKey = must(tinked25519.NewPrivateKey(secret(k.private), id, p))
			}
		}
		must(m.AddKey(tinkKey))
		if i == 0 {
			must(0, m.SetPrimary(id))
		}
		if id == disabled.id || id == acmeOld.id {
			must(0, m.Disable(id))
		}
	}
	return must(m.Handle())
}

func secret(b []byte) secretdata.Bytes {
	return secretdata.NewBytesFromData(b, insecuresecretdataaccess.Token{})
}

// keysets are the files with the keys, all of them private so that issuers can be tried, too.
func keysets() map[string]*keyset.Handle {
	return map[string]*keyset.Handle{
		"recipient.json": handleOf(ours, oursP256, oursXW, disabled),
		"acme.json":      handleOf(acme, acmeECDSA, acmeOld),
		"beta.json":      handleOf(beta),
		"gamma.json":     handleOf(gamma),
		"delta.json":     handleOf(delta),
		"epsilon.json":   handleOf(epsilon),
	}
}

// jsonOf returns a keyset in Tink's JSON form. Tink's own writer varies the white space.
func jsonOf(h *keyset.Handle) string {
	var b, indented bytes.Buffer
	must(0, insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)))
	var compact bytes.Buffer
	must(0, json.Compact(&compact, b.Bytes()))
	must(0, json.Indent(&indented, compact.Bytes(), "", "  "))
	return indented.String() + "\n"
}

// vector is a scenario. Bytes that are nil are computed from those before.
type vector struct {
	name, comment, expect string
	realm                 string // of the verifier
	issuer                string // that signs, or in whose name
	by                    signing
	to                    decryption
	ephemeral             []byte // private
	enc, dh, prk          []byte
	sharedSecret          []byte
	idHash, infoHash      []byte
	secret, key, nonce    []byte
	info, hash, signed    []byte
	signature             []byte // with its prefix
	payload, plain        []byte
	ciphertext            []byte
	ticket                string
	retired               string // the issuer, ID and last time of issue of a retired key
	encIs                 []byte // enc, if not that of the KEM
	dhZero                bool   // the sealer takes zeros for the secret of X25519
	aad                   []byte // of the encryption, where there should be none
}

func keyPrefix(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, id) }

func or(b []byte, computed func() []byte) []byte {
	if b == nil {
		return computed()
	}
	return b
}

// complete computes what is missing.
func (v *vector) complete() {
	v.info = or(v.info, func() []byte { return []byte("admitone/ticket/2\x00" + v.realm) })
	v.hash = or(v.hash, v.to.hash)
	v.signed = or(v.signed, func() []byte {
		return slices.Concat(v.info, []byte{0}, []byte(v.issuer), []byte{0}, v.hash, v.payload)
	})
	v.signature = or(v.signature, func() []byte { return append(keyPrefix(v.by.id), v.by.sign(v.signed)...) })
	v.plain = or(v.plain, func() []byte { return slices.Concat(v.signature, v.payload) })
	v.ephemeral = or(v.ephemeral, func() []byte {
		if v.to.kem == xwing {
			b := sha512.Sum512([]byte(v.name))
			return b[:]
		}
		b := sha256.Sum256([]byte(v.name))
		return b[:]
	})
	public := v.to.kem.public(v.to.private)
	v.sharedSecret, v.enc = v.to.kem.encapsulate(public, v.ephemeral)
	if v.encIs != nil {
		v.enc = v.encIs
	}
	if curve := map[*kem]ecdh.Curve{x25519: ecdh.X25519(), p256: ecdh.P256()}[v.to.kem]; curve != nil {
		if v.dh = make([]byte, 32); !v.dhZero {
			v.dh = must(must(curve.NewPrivateKey(v.ephemeral)).ECDH(must(curve.NewPublicKey(public))))
		}
		v.prk, v.sharedSecret = v.to.kem.secretOf(v.dh, v.enc, public)
	}
	suite := "HPKE" + string(v.to.suite())
	v.idHash, v.infoHash = extract(suite, "psk_id_hash", nil, nil), extract(suite, "info_hash", nil, v.info)
	keyContext := slices.Concat([]byte{0}, v.idHash, v.infoHash)
	v.secret = extract(suite, "secret", v.sharedSecret, nil)
	v.key = expand(suite, "key", v.secret, keyContext, 32)
	v.nonce = expand(suite, "base_nonce", v.secret, keyContext, 12)
	v.ciphertext = must(cipher.NewGCM(must(aes.NewCipher(v.key)))).Seal(nil, v.nonce, v.plain, v.aad)
	v.ticket = text(slices.Concat(keyPrefix(v.to.id), v.enc, v.ciphertext))
}

func text(sealed []byte) string { return "tkt2_" + base64.RawURLEncoding.EncodeToString(sealed) }

func (v *vector) text() string {
	var b strings.Builder
	line := func(k, val string) { fmt.Fprintf(&b, "%s: %s\n", k, val) }
	line("comment", v.comment)
	line("expect", v.expect)
	line("realm", v.realm)
	if v.retired != "" {
		line("retired", v.retired)
	}
	if v.plain != nil {
		line("issuer", v.issuer)
		for _, part := range []struct {
			name  string
			bytes []byte
		}{
			{"payload", v.payload}, {"info", v.info}, {"recipient", v.hash}, {"signed", v.signed},
			{"signature", v.signature}, {"plaintext", v.plain}, {"ephemeral", v.ephemeral}, {"enc", v.enc},
			{"dh", v.dh}, {"eae-prk", v.prk}, {"shared-secret", v.sharedSecret}, {"psk-id-hash", v.idHash},
			{"info-hash", v.infoHash}, {"secret", v.secret}, {"key", v.key}, {"base-nonce", v.nonce},
			{"ciphertext", v.ciphertext},
		} {
			if part.bytes != nil { // X-Wing has no dh
				line(part.name, hex.EncodeToString(part.bytes))
			}
		}
	}
	if v.expect == "good" {
		var tk token.Ticket
		must(0, tk.DecodePayload(string(v.payload)))
		tk.Issuer = v.issuer
		line("nonce", tk.Nonce().String())
		line("decoded", decodedJSON(tk))
	}
	line("ticket", string(must(json.Marshal(v.ticket))))
	return b.String()
}

// decodedJSON is the content of a ticket in JSON. Absent fields are left out.
func decodedJSON(t token.Ticket) string {
	m := struct {
		Audience         string            `json:"audience"`
		OneTimeUse       bool              `json:"oneTimeUse"`
		OverrideUserInfo bool              `json:"overrideUserInfo"`
		ID               token.ID          `json:"id"`
		IssuedAt         int64             `json:"issuedAt"`
		Lifetime         int64             `json:"lifetime"`
		Brand            string            `json:"brand,omitempty"`
		Username         string            `json:"username,omitempty"`
		Email            string            `json:"email,omitempty"`
		UniqueID         string            `json:"uniqueId,omitempty"`
		FirstName        string            `json:"firstName,omitempty"`
		LastName         string            `json:"lastName,omitempty"`
		Phone1           string            `json:"phone1,omitempty"`
		Remark           string            `json:"remark,omitempty"`
		Channel          string            `json:"channel,omitempty"`
		Actor            string            `json:"actor,omitempty"`
		Claims           map[string]string `json:"claims,omitempty"`
	}{t.Audience.String(), t.OneTime, t.OverrideUserInfo, t.ID, t.IssuedAt.UnixMilli(), t.Lifetime.Milliseconds(),
		t.Brand, t.Username, t.Email, t.UniqueID, t.FirstName, t.LastName, t.Phone1, t.Remark, t.Channel, t.Actor, t.Claims}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	must(0, e.Encode(m))
	return strings.TrimSpace(b.String())
}

var vectorNow = time.Date(2025, 1, 19, 14, 18, 47, 630_000_000, time.UTC)

// payloadOf returns a payload with this header and these fields, as SPEC.md has it.
func payloadOf(flags, audience byte, id string, lifetime time.Duration, fields string) []byte {
	b := append([]byte{flags, audience}, id...)
	b = append(b, binary.BigEndian.AppendUint64(nil, uint64(vectorNow.UnixMilli()))[2:]...)
	return append(binary.BigEndian.AppendUint32(b, uint32(lifetime.Milliseconds())), fields...)
}

func fd(tag byte, value string) string { return string([]byte{tag, byte(len(value))}) + value }

var (
	agentPayload = payloadOf(1, 1, "0123456789abcdef", time.Minute, fd(1, "commbox")+fd(2, "john.d")+
		fd(3, "john.d@gmail.com")+fd(4, "123456")+fd(5, "John")+fd(6, "Doe")+fd(7, "+442501234567"))
	customerPayload = payloadOf(3, 2, "fedcba9876543210", 5*time.Minute, fd(1, "commbox")+fd(3, "zoë@example.com")+
		fd(4, "C-1")+fd(5, "Zoë")+fd(6, "日本")+fd(7, "+12121234567")+fd(8, "<b>VIP</b>")+fd(9, "web")+
		fd(10, "k7q2m4x9za")+fd(64, "\x03crmA-17")+fd(64, "\x04tiergold"))
)

// vectors returns the scenarios.
func vectors() []*vector {
	var all []*vector
	add := func(name, expect, comment string, change func(*vector)) *vector {
		v := &vector{name: name, expect: expect, comment: comment, realm: "prod", issuer: "acme", by: acme, to: ours,
			payload: agentPayload}
		if change != nil {
			change(v)
		}
		if v.ticket == "" {
			v.complete()
		}
		all = append(all, v)
		return v
	}
	good := add("good-reference-2", "good", "the reference request: ED25519, HPKE_X25519", nil)
	add("good-ed25519-p256", "good", "ED25519, HPKE_P256", func(v *vector) { v.to = oursP256 })
	add("good-ed25519-xwing", "good", "ED25519, HPKE_XWING; the ephemeral key is X-Wing's eseed",
		func(v *vector) { v.to = oursXW })
	add("good-ecdsa-x25519", "good", "ECDSA_P256, HPKE_X25519", func(v *vector) { v.by = acmeECDSA })
	ec := add("good-ecdsa-p256", "good", "ECDSA_P256, HPKE_P256", func(v *vector) { v.by, v.to = acmeECDSA, oursP256 })
	add("good-ecdsa-xwing", "good", "ECDSA_P256, HPKE_XWING", func(v *vector) { v.by, v.to = acmeECDSA, oursXW })
	add("good-ecdsa-twin", "good", "r and n - s, the other signature of good-ecdsa-p256: the same ticket, the same ID",
		func(v *vector) {
			v.by, v.to = acmeECDSA, oursP256
			s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(ec.signature[37:]))
			v.signature = s.FillBytes(slices.Clone(ec.signature))
			copy(v.signature, ec.signature[:37])
		})
	add("good-every-field", "good", "all fields of a customer's ticket, with claims",
		func(v *vector) { v.payload = customerPayload })
	add("good-other-issuer", "good", "of beta", func(v *vector) { v.issuer, v.by = "beta", beta })
	add("good-same-key-id", "good", "gamma's key has the ID of acme's",
		func(v *vector) { v.issuer, v.by = "gamma", gamma })
	add("good-no-realm", "good", "in the empty realm", func(v *vector) { v.realm = "" })
	add("good-realm-utf8", "good", "a realm is bytes of UTF-8", func(v *vector) { v.realm = "größe-日本" })
	add("good-realm-longest", "good", "in a realm of 64 bytes", func(v *vector) { v.realm = strings.Repeat("r", 64) })
	add("good-same-key-id-ecdsa", "good", "delta's key has the ID of acme's, and another algorithm",
		func(v *vector) { v.issuer, v.by = "delta", delta })
	add("good-same-key-id-fourth", "good", "epsilon's key is the fourth with this ID",
		func(v *vector) { v.issuer, v.by = "epsilon", epsilon })
	add("good-longest", "good", "2,048 characters", func(v *vector) {
		v.payload = payloadOf(1, 1, "0123456789abcdef", time.Minute, fd(1, "commbox")+fd(2, "u")+"\x08\xc0\x02"+
			strings.Repeat("r", 320)+"\x40\x82\x04\x01a"+strings.Repeat("v", 512)+"\x40\xfd\x03\x01b"+strings.Repeat("v", 507))
	})
	lastIssue := fmt.Sprint("acme 0b0b0b0b ", vectorNow.UnixMilli())
	add("good-retired", "good", "signed with a retired key, in the last millisecond",
		func(v *vector) { v.retired = lastIssue })
	add("good-retired-other", "good", "gamma's key has the ID of acme's retired key",
		func(v *vector) {
			v.issuer, v.by, v.retired = "gamma", gamma, fmt.Sprint("acme 0b0b0b0b ", vectorNow.UnixMilli()-1)
		})

	add("forged-retired", "forged", "issued a millisecond after its key was retired", func(v *vector) {
		v.retired = fmt.Sprint("acme 0b0b0b0b ", vectorNow.UnixMilli()-1)
	})

	// Not a ticket.
	raw := func(name, expect, comment, ticket string) {
		add(name, expect, comment, func(v *vector) { v.ticket = ticket })
	}
	raw("malformed-prefix-only", "malformed", "no body", "tkt2_")
	raw("malformed-case", "malformed", "the prefix in capitals", "TKT2_"+good.ticket[5:])
	raw("malformed-padding", "malformed", "base64 padding", good.ticket+"=")
	raw("malformed-standard-alphabet", "malformed", "'+' and '/' are of the other alphabet",
		good.ticket[:20]+"+/"+good.ticket[22:])
	raw("malformed-crlf", "malformed", "a line break at the end", good.ticket+"\r\n")
	raw("malformed-trailing-bits", "malformed", "unused bits of the last character are not zero", nonZeroTail(all))
	raw("malformed-short", "malformed", "no room for a key ID", "tkt2_AQoKCg")
	raw("malformed-raw-prefix", "malformed", "first sealed byte is 0, not 1", "tkt2_AA"+good.ticket[7:])
	raw("malformed-too-long", "malformed", "2,049 characters", good.ticket+strings.Repeat("A", 2049-len(good.ticket)))
	raw("malformed-crlf-inside", "malformed", "a line break within", good.ticket[:40]+"\r\n"+good.ticket[40:])
	raw("malformed-one-byte", "malformed", "no key ID", "tkt2_AQ")
	raw("malformed-percent", "malformed", "percent-encoding that was not undone", good.ticket[:40]+"%2D"+good.ticket[40:])
	raw("malformed-leading-zero", "malformed", "a number does not begin with 0", "tkt02_"+good.ticket[5:])
	raw("unsupported-version", "unsupported_version", "format 3", "tkt3_"+good.ticket[5:])
	raw("unsupported-version-20", "unsupported_version", "a number that begins with 2", "tkt20_"+good.ticket[5:])

	// Not sealed for us.
	add("unknown-key", "unknown_key", "the recipient has no such key", func(v *vector) { v.to = nobodys })
	add("unknown-key-disabled", "unknown_key", "the key is disabled", func(v *vector) { v.to = disabled })
	sealed := must(base64.RawURLEncoding.DecodeString(good.ticket[5:]))
	edit := func(at int, b ...byte) string {
		s := slices.Clone(sealed)
		copy(s[at:], b)
		return text(s)
	}
	raw("forged-changed", "forged", "one bit of the ciphertext changed", edit(100, sealed[100]^1))
	raw("forged-truncated", "forged", "four characters cut off", good.ticket[:len(good.ticket)-4])
	raw("forged-extended", "forged", "four characters more", good.ticket+"AAAA")
	raw("forged-key-id", "forged", "the ID of another key of the recipient", edit(1, keyPrefix(oursP256.id)[1:]...))
	raw("forged-no-enc", "forged", "ends within enc", text(sealed[:30]))
	raw("forged-key-only", "forged", "nothing after the key ID", text(sealed[:5]))
	raw("forged-no-tag", "forged", "15 bytes after enc", text(sealed[:5+32+15]))
	raw("forged-p256-no-enc", "forged", "ends within enc", text(slices.Concat(keyPrefix(oursP256.id), sealed[5:37])))
	raw("forged-enc-zero", "forged", "enc is the point of order 2", edit(5, make([]byte, 32)...))
	raw("forged-enc-high-bit", "forged", "the bit of enc that X25519 does not read", edit(36, sealed[36]^0x80))
	add("forged-realm", "forged", "made for the realm test", func(v *vector) {
		v.realm = "test"
		v.complete()
		v.realm = "prod"
	})
	add("forged-realm-signed", "forged", "signed for the realm test, encrypted for the realm prod", func(v *vector) {
		v.signed = slices.Concat([]byte("admitone/ticket/2\x00test\x00acme\x00"), ours.hash(), v.payload)
	})

	add("forged-enc-zero-used", "forged", "enc is the point of order 2, and the sealer takes zeros for the secret",
		func(v *vector) { v.encIs, v.dhZero = make([]byte, 32), true })
	add("forged-enc-one-used", "forged", "enc is the point of order 4, and the sealer takes zeros for the secret",
		func(v *vector) { v.encIs, v.dhZero = append([]byte{1}, make([]byte, 31)...), true })
	point := p256.public(run(0x11, 32))
	add("forged-enc-hybrid", "forged", "enc is a point in hybrid form", func(v *vector) {
		v.to, v.ephemeral = oursP256, run(0x11, 32)
		v.encIs = append([]byte{6 + point[64]&1}, point[1:]...)
	})
	add("forged-enc-compressed", "forged", "enc is a point in compressed form", func(v *vector) {
		v.to, v.ephemeral = oursP256, run(0x11, 32)
		v.encIs = append([]byte{2 + point[64]&1}, point[1:33]...)
	})
	raw("forged-enc-not-on-curve", "forged", "enc is no point of the curve", text(slices.Concat(keyPrefix(oursP256.id),
		[]byte{4}, run(1, 64), sealed[37:])))
	add("forged-aad", "forged", "HPKE with associated data", func(v *vector) { v.aad = []byte("admitone/ticket/2") })
	add("forged-info-format-1", "forged", "HPKE with the associated data of format 1",
		func(v *vector) { v.info = []byte("admitone/ticket/1\x00prod") })

	// Anybody can encrypt for us.
	add("forged-unsigned", "forged", "a payload without a signature", func(v *vector) {
		v.payload, v.signature, v.plain = customerPayload, []byte{}, customerPayload
	})
	add("unknown-issuer-unsigned", "unknown_issuer", "a payload without a signature, whose first bytes can be a key ID",
		func(v *vector) { v.signature, v.plain = []byte{}, v.payload })
	add("forged-empty", "forged", "no plaintext at all", func(v *vector) { v.signature, v.plain = []byte{}, []byte{} })
	add("forged-short-signature", "forged", "a signature lacks its last byte, and nothing follows", func(v *vector) {
		v.signature = good.signature[:68]
		v.plain = v.signature
	})
	add("forged-zero-signature", "forged", "a signature of zeros", func(v *vector) {
		v.signature = append(keyPrefix(acme.id), make([]byte, 64)...)
	})
	add("forged-zero-ecdsa", "forged", "an ECDSA signature of zeros", func(v *vector) {
		v.signature = append(keyPrefix(acmeECDSA.id), make([]byte, 64)...)
	})
	add("forged-raw-signature", "forged", "a signature without its prefix", func(v *vector) {
		v.signature = good.signature[5:]
	})
	add("forged-signature-prefix", "forged", "Tink's CRUNCHY prefix before the signature", func(v *vector) {
		v.signature = append([]byte{0}, good.signature[1:]...)
	})
	add("forged-by-issuer", "forged", "beta signs under the ID of acme's key", func(v *vector) {
		v.issuer = "beta"
		v.by = signing{false, acme.id, beta.private}
	})
	add("forged-name", "forged", "acme signs with the name of beta", func(v *vector) { v.issuer = "beta" })
	add("forged-other-payload", "forged", "the signature of good-reference-2 before another payload", func(v *vector) {
		v.payload, v.signature = customerPayload, good.signature
	})
	add("forged-forwarded", "forged", "made for another recipient, whose key has the same ID, and encrypted again for us",
		func(v *vector) { v.hash = others.hash() })
	add("forged-s-plus-l", "forged", "the same signature with S + L instead of S", func(v *vector) {
		l, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
		s := slices.Clone(good.signature[37:])
		slices.Reverse(s)
		s = l.Add(l, new(big.Int).SetBytes(s)).FillBytes(s)
		slices.Reverse(s)
		v.signature = append(slices.Clone(good.signature[:37]), s...)
	})
	add("forged-signing-key", "forged", "the ID of acme's other key", func(v *vector) {
		v.signature = append(keyPrefix(acmeECDSA.id), good.signature[5:]...)
	})
	add("forged-signature-bit", "forged", "one bit of the signature changed", func(v *vector) {
		v.signature = slices.Clone(good.signature)
		v.signature[40] ^= 1
	})
	add("forged-payload-bit", "forged", "one bit of the payload changed after signing", func(v *vector) {
		v.signature, v.payload = good.signature, slices.Clone(agentPayload)
		v.payload[3] ^= 1
	})
	add("forged-recipient-suite", "forged", "the recipient's hash has another suite's IDs", func(v *vector) {
		const suite = "\x00\x20\x00\x01\x00\x01"
		hash := sha256.Sum256(slices.Concat([]byte("admitone/recipient/2\x00"+suite), x25519.public(ours.private)))
		v.hash = hash[:]
	})
	add("forged-recipient-key", "forged", "the recipient's public key in the place of its hash",
		func(v *vector) { v.hash = x25519.public(ours.private) })
	add("forged-payload-only", "forged", "a signature of the payload alone", func(v *vector) { v.signed = agentPayload })
	add("forged-no-issuer", "forged", "signed with an empty name", func(v *vector) { v.issuer = "" })

	// Pairs of faults: the order of the checks decides.
	add("order-forged-malformed", "forged", "a bad signature before a payload of nobody", func(v *vector) {
		v.payload, v.signature = []byte{}, append(keyPrefix(acme.id), make([]byte, 64)...)
	})
	add("order-unknown-issuer-malformed", "unknown_issuer", "a stranger's signature before a payload of nobody",
		func(v *vector) { v.by, v.payload = stranger, []byte{} })
	add("order-prefix-unknown-issuer", "forged", "not Tink's prefix, and the ID of nobody's key", func(v *vector) {
		v.signature = append([]byte{0, 0xd, 0xd, 0xd, 0xd}, make([]byte, 64)...)
	})
	add("order-short-unknown-issuer", "forged", "68 bytes, which begin with the ID of nobody's key", func(v *vector) {
		v.plain = append(keyPrefix(stranger.id), make([]byte, 63)...)
		v.signature = v.plain
	})
	add("order-realm-unknown-issuer", "forged", "another realm's, with a stranger's signature", func(v *vector) {
		v.by, v.realm = stranger, "test"
		v.complete()
		v.realm = "prod"
	})
	add("order-retired-malformed", "malformed", "signed with a retired key, before a payload of nobody", func(v *vector) {
		v.payload, v.retired = []byte{}, fmt.Sprint("acme 0b0b0b0b ", 1)
	})
	raw("order-malformed-unknown-key", "malformed", "base64 padding, and the ID of nobody's key",
		text(slices.Concat(keyPrefix(nobodys.id), sealed[5:]))+"=")

	add("unknown-issuer", "unknown_issuer", "signed with a stranger's key", func(v *vector) { v.by = stranger })
	add("unknown-issuer-disabled", "unknown_issuer", "signed with a disabled key of acme",
		func(v *vector) { v.by = acmeOld })

	// Signed, but no issuer's payload.
	bad := func(name, comment string, payload []byte) {
		add("payload-"+name, "malformed", comment, func(v *vector) { v.payload = payload })
	}
	bad("empty", "no payload", []byte{})
	bad("unknown-tag", "tag 11", []byte(string(agentPayload)+fd(11, "x")))
	bad("no-brand", "no brand", payloadOf(1, 1, "0123456789abcdef", time.Minute, fd(2, "u")))
	return all
}

// nonZeroTail returns a good ticket whose last character has unused bits, and sets them.
func nonZeroTail(all []*vector) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, v := range all {
		if s := v.ticket; len(s[5:])%4 != 0 {
			last := strings.IndexByte(alphabet, s[len(s)-1])
			return s[:len(s)-1] + alphabet[last+1:last+2]
		}
	}
	panic("all tickets have full characters")
}

func TestVectors(t *testing.T) {
	want := make(map[string]string)
	for name, h := range keysets() {
		want[name] = jsonOf(h)
	}
	for _, v := range vectors() {
		require.NotContains(t, want, v.name+".txt")
		want[v.name+".txt"] = v.text()
	}
	if *update {
		require.NoError(t, os.RemoveAll(vectorDir))
		require.NoError(t, os.MkdirAll(vectorDir, 0o755))
		for name, text := range want {
			require.NoError(t, os.WriteFile(filepath.Join(vectorDir, name), []byte(text), 0o644))
		}
	}
	entries, err := os.ReadDir(vectorDir)
	require.NoError(t, err)
	require.Equal(t, len(want), len(entries), "each file has its scenario")
	read := func(name string) *keyset.Handle {
		f, err := os.Open(filepath.Join(vectorDir, name))
		require.NoError(t, err)
		defer f.Close()
		return must(insecurecleartextkeyset.Read(keyset.NewJSONReader(f)))
	}
	keys, err := NewOpeningKeys(read("recipient.json"))
	require.NoError(t, err)
	var all []*VerifyingKey
	for _, name := range []string{"acme", "beta", "gamma", "delta", "epsilon"} {
		all = append(all, verifyingKeys(t, name, read(name+".json"))...)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(vectorDir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, want[e.Name()], string(text), "%s: run with -update if the scenario was meant to change", e.Name())
		if name, ok := strings.CutSuffix(e.Name(), ".txt"); ok {
			t.Run(name, func(t *testing.T) { runVector(t, keys, all, string(text)) })
		}
	}
}

func verifyingKeys(t testing.TB, issuer string, private *keyset.Handle) []*VerifyingKey {
	t.Helper()
	public, err := private.Public()
	require.NoError(t, err)
	keys, err := NewVerifyingKeys(issuer, public)
	require.NoError(t, err)
	return keys
}

// reasons are the words of package verify for the errors of Open.
var reasons = map[string]error{
	"malformed": token.ErrMalformed, "unsupported_version": token.ErrUnsupportedVersion,
	"unknown_key": token.ErrUnknownKey, "forged": token.ErrForged, "unknown_issuer": ErrUnknownIssuer,
}

// runVector opens a vector's ticket, from its text alone.
func runVector(t *testing.T, keys Unsealer, all []*VerifyingKey, text string) {
	v := make(map[string]string)
	for line := range strings.Lines(text) {
		k, val, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		require.True(t, ok, line)
		v[k] = val
	}
	var ticket string
	require.NoError(t, json.Unmarshal([]byte(v["ticket"]), &ticket))
	if parts := strings.Fields(v["retired"]); len(parts) == 3 {
		last, err := strconv.ParseInt(parts[2], 10, 64)
		require.NoError(t, err)
		all = slices.Clone(all)
		for i, k := range all {
			if k.Issuer() == parts[0] && k.ID().String() == parts[1] {
				all[i] = k.NotAfter(time.UnixMilli(last))
			}
		}
	}
	trusted, err := NewTrusted(all...)
	require.NoError(t, err)
	got := token.Ticket{Issuer: "left over"}
	err = open(keys, trusted, v["realm"], ticket, &got)
	if v["expect"] != "good" {
		assert.ErrorIs(t, err, reasons[v["expect"]])
		for reason, other := range reasons {
			assert.Equal(t, reason == v["expect"], errors.Is(err, other), reason)
		}
		assert.Zero(t, got)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, v["issuer"], got.Issuer)
	assert.Equal(t, v["signature"][2:10], got.SigningKey.String())
	id, err := token.UnverifiedKeyID(ticket)
	require.NoError(t, err)
	assert.Equal(t, id, got.KeyID)
	payload, err := hex.DecodeString(v["payload"])
	require.NoError(t, err)
	var plain token.Ticket
	require.NoError(t, plain.DecodePayload(string(payload)))
	plain.KeyID, plain.Issuer, plain.SigningKey = got.KeyID, got.Issuer, got.SigningKey
	assert.Equal(t, plain, got)
	assert.Equal(t, v["decoded"], decodedJSON(got))
	assert.Equal(t, v["nonce"], got.Nonce().String())
}

// The ticket that another implementation made, from the keys of good-reference-2.
func TestReferenceTicket(t *testing.T) {
	v := vectors()[0]
	assert.Equal(t, "tkt2_AQoKCgq2j8DQilsVULk2XupzikxELGZhDdLEsmsm-hBWHkwRShCKqrJo-4DLq_CpGKQzKECBuda3bFII-ApDGY2N6kaPSowBulz5"+
		"PVIdfXAG9APuCG9wnCZwkyuKYQ_eJv9CQHWvcMtTz6Jr9fg67F2Azu_ct0jKBKIJfLaMZKLt30l0Jp2mSrPT7P91BnHKMVifAbvqHfL-FJu8lKyAbebGPiG9"+
		"LLXm1j-fRxNAQDUyNcEbgCa7fZ8rq6S3FnVxcYqGAymDVz8oJ6DRwHFOVCSqQGRHbwWVxCtK", v.ticket)
	assert.LessOrEqual(t, len(v.ticket), 300)
	assert.Equal(t, "c92ccd84607bc419fe682746d82d19b300ca4a11971981717ff3f7a8bffc51b5", hex.EncodeToString(v.hash))
}
