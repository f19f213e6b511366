package verify

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
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
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

// The golden vectors of format 1 stand in testdata/vectors, and those of named issuers in
// testdata/issuers: one scenario a file, so that decoders in other languages can be held to them.
// The tickets are made here, without the token package, from the scenarios of scenarios_test.go: fixed
// keys, and IVs that the scenario's name decides. The tests fail where a file and its scenario
// differ; -update writes the files anew.
var update = flag.Bool("update", false, "write the golden vectors anew")

const (
	vectorDir  = "../testdata/vectors"
	issuersDir = "../testdata/issuers"
)

// Keys of the vectors: 32 bytes each, of which each is the low byte of the key's ID plus its index.
const (
	primaryKey  = 0x0a0b0c01
	otherKey    = 0xf0e0d020 // enabled, not primary
	disabledKey = 0x00000040
	foreignKey  = 0x0a0b0c60 // not in the keyset
	xaesKey     = 0x0a0b0c80
	xaesKey2    = 0x0a0b0c81 // AES of 0 under this key begins with the bit 1
	sivKey      = 0x0a0b0ca0
	xchachaKey  = 0x0a0b0cc0
)

func vectorRawKey(id uint32) []byte {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(id) + byte(i)
	}
	return k
}

// vectorEntry is a key in Tink's JSON form. The bytes of the key are field 3 of each message.
// A message of XAES_256_GCM has the size of the salt in its field 2.
func vectorEntry(id uint32, status string, raw []byte) map[string]any {
	name, value := "AesGcmKey", append([]byte{0x1a, 32}, raw...)
	switch id {
	case xaesKey, xaesKey2:
		name, value = "XAesGcmKey", append([]byte{0x12, 2, 0x08, 12}, value...)
	case sivKey:
		name = "AesGcmSivKey"
	case xchachaKey:
		name = "XChaCha20Poly1305Key"
	}
	return map[string]any{
		"keyData": map[string]any{
			"typeUrl": "type.googleapis.com/google.crypto.tink." + name, "keyMaterialType": "SYMMETRIC", "value": value,
		},
		"status": status, "keyId": id, "outputPrefixType": "TINK",
	}
}

func vectorJSON(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

// vectorKeyset is the keyset in Tink's JSON form.
func vectorKeyset() string {
	entry := func(id uint32, status string) any { return vectorEntry(id, status, vectorRawKey(id)) }
	return vectorJSON(map[string]any{
		"primaryKeyId": primaryKey,
		"key": []any{entry(otherKey, "ENABLED"), entry(primaryKey, "ENABLED"), entry(disabledKey, "DISABLED"),
			entry(xaesKey, "ENABLED"), entry(xaesKey2, "ENABLED"),
			entry(sivKey, "ENABLED"), entry(xchachaKey, "ENABLED")},
	})
}

// sealedParts are the values between a payload and its ticket.
type sealedParts struct{ ad, iv, ciphertext []byte } // the IV begins with the salt, for XAES-256-GCM

// vectorSeal does what a Tink key does, with an IV that the scenario's name decides.
func vectorSeal(name string, key uint32, raw []byte, realm string, payload []byte) (string, sealedParts) {
	iv := sha256.Sum256([]byte(name))
	p := sealedParts{ad: []byte("admitone/ticket/1\x00" + realm)}
	seal := func(aead cipher.AEAD, err error) {
		if err != nil {
			panic(err)
		}
		p.ciphertext = aead.Seal(nil, p.iv[len(p.iv)-aead.NonceSize():], payload, p.ad)
	}
	switch key {
	case xaesKey, xaesKey2:
		p.iv = iv[:24]
		seal(newGCM(xaesDerived(raw, iv[:12])))
	case sivKey:
		p.iv = iv[:12]
		p.ciphertext = gcmSIV(raw, p.iv, payload, p.ad)
	case xchachaKey:
		p.iv = iv[:24]
		seal(chacha20poly1305.NewX(raw))
	default:
		p.iv = iv[:12]
		seal(newGCM(raw))
	}
	sealed := slices.Concat(binary.BigEndian.AppendUint32([]byte{1}, key), p.iv, p.ciphertext)
	return "tkt1_" + base64.RawURLEncoding.EncodeToString(sealed), p
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func encryptBlock(key, in []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	out := make([]byte, 16)
	block.Encrypt(out, in)
	return out
}

// xaesDerived is the key of C2SP XAES-256-GCM for a salt.
func xaesDerived(key, salt []byte) (derived []byte) {
	l := encryptBlock(key, make([]byte, 16))
	double := new(big.Int).Lsh(new(big.Int).SetBytes(l), 1)
	if double.Bit(128) == 1 {
		double.Xor(double, big.NewInt(0x87))
	}
	k1 := double.SetBit(double, 128, 0).FillBytes(make([]byte, 16))
	for counter := byte(1); counter <= 2; counter++ {
		m := slices.Concat([]byte{0, counter, 'X', 0}, salt)
		for i := range m {
			m[i] ^= k1[i]
		}
		derived = append(derived, encryptBlock(key, m)...)
	}
	return derived
}

// gcmSIV is AES-256-GCM-SIV of RFC 8452.
func gcmSIV(key, nonce, plain, ad []byte) []byte {
	var derived []byte
	for i := range uint32(6) {
		derived = append(derived, encryptBlock(key, append(binary.LittleEndian.AppendUint32(nil, i), nonce...))[:8]...)
	}
	authKey, encKey := derived[:16], derived[16:48]
	padded := func(b []byte) []byte { return append(slices.Clone(b), make([]byte, -len(b)&15)...) }
	lengths := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(len(ad))*8),
		uint64(len(plain))*8)
	tag := polyval(authKey, slices.Concat(padded(ad), padded(plain), lengths))
	for i := range nonce {
		tag[i] ^= nonce[i]
	}
	tag[15] &= 0x7f
	tag = encryptBlock(encKey, tag)
	counter := slices.Clone(tag)
	counter[15] |= 0x80
	out := slices.Clone(plain)
	for at := 0; at < len(out); at += 16 {
		stream := encryptBlock(encKey, counter)
		for i := at; i < min(at+16, len(out)); i++ {
			out[i] ^= stream[i-at]
		}
		binary.LittleEndian.PutUint32(counter, binary.LittleEndian.Uint32(counter)+1)
	}
	return append(out, tag...)
}

// polyval is POLYVAL of RFC 8452, bit by bit: numbers are little-endian polynomials modulo
// x^128 + x^127 + x^126 + x^121 + 1, and each product is divided by x^128.
func polyval(h, data []byte) []byte {
	poly := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	modulus := new(big.Int)
	for _, bit := range []int{128, 127, 126, 121, 0} {
		modulus.SetBit(modulus, bit, 1)
	}
	factor, sum := poly(h), new(big.Int)
	for ; len(data) > 0; data = data[16:] {
		sum.Xor(sum, poly(data[:16]))
		product := new(big.Int)
		for i := range 128 {
			if sum.Bit(i) == 1 {
				product.Xor(product, new(big.Int).Lsh(factor, uint(i)))
			}
		}
		for range 128 { // divides by x
			if product.Bit(0) == 1 {
				product.Xor(product, modulus)
			}
			product.Rsh(product, 1)
		}
		sum = product
	}
	out := sum.FillBytes(make([]byte, 16))
	slices.Reverse(out)
	return out
}

// A vector is a scenario.
type vector struct {
	name, comment string
	expect        string // "good" or a reason
	payload       []byte
	ticket        string
	key           uint32
	raw           []byte // the key's bytes; nil for those of vectorRawKey
	issuer        string // that made it; "" for the keyset without a name
	sealedIn      string // a realm, if not realm
	realm         string
	now           string // in milliseconds since 1970
	after         string // the time after the claim, if it differs
	skew, max     int64  // in milliseconds
	audience      string
	channel       string
	brands        string // that the verifier accepts: separated by spaces, or * for any
	spent         bool

	parts *sealedParts
}

// seal makes the ticket.
func (v *vector) seal() {
	if v.raw == nil {
		v.raw = vectorRawKey(v.key)
	}
	var p sealedParts
	v.ticket, p = vectorSeal(v.name, v.key, v.raw, v.sealedIn, v.payload)
	v.parts = &p
}

func (v *vector) text() string {
	var b strings.Builder
	line := func(k, val string) { fmt.Fprintf(&b, "%s: %s\n", k, val) }
	line("comment", v.comment)
	line("expect", v.expect)
	line("realm", v.realm)
	line("brands", v.brands)
	line("now", v.now)
	if v.after != "" {
		line("now-after-claim", v.after)
	}
	line("skew", fmt.Sprint(v.skew))
	line("max-lifetime", fmt.Sprint(v.max))
	line("audience", v.audience)
	line("channel", v.channel)
	line("spent", fmt.Sprint(v.spent))
	if v.parts != nil {
		line("key", hex.EncodeToString(v.raw))
		line("payload", hex.EncodeToString(v.payload))
		line("ad", hex.EncodeToString(v.parts.ad))
		line("iv", hex.EncodeToString(v.parts.iv))
		line("ciphertext", hex.EncodeToString(v.parts.ciphertext))
	}
	if v.expect == "good" {
		var tk token.Ticket
		if err := tk.DecodePayload(string(v.payload)); err != nil {
			panic(v.name + ": " + err.Error())
		}
		tk.Issuer = v.issuer
		line("issuer", v.issuer)
		line("nonce", tk.Nonce().String())
		line("decoded", decodedJSON(tk))
	}
	line("ticket", quoted(v.ticket))
	return b.String()
}

// quoted is a JSON string.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// decodedJSON is the content of a ticket in JSON. Absent fields are left out.
func decodedJSON(t token.Ticket) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"audience":%q,"oneTimeUse":%v,"overrideUserInfo":%v,"id":%q,"issuedAt":%d,"lifetime":%d`,
		t.Audience, t.OneTime, t.OverrideUserInfo, t.ID, t.IssuedAt.UnixMilli(), t.Lifetime.Milliseconds())
	names := []string{"brand", "username", "email", "uniqueId", "firstName", "lastName", "phone1", "remark",
		"channel", "actor"}
	for i, value := range textsOf(t) {
		if value != "" {
			fmt.Fprintf(&b, `,%q:%s`, names[i], quoted(value))
		}
	}
	for i, name := range claimNames(t) {
		b.WriteString([]string{`,"claims":{`, ","}[min(i, 1)])
		fmt.Fprintf(&b, `%q:%s`, name, quoted(t.Claims[name]))
	}
	if len(t.Claims) > 0 {
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.String()
}

func textsOf(t token.Ticket) []string {
	return []string{t.Brand, t.Username, t.Email, t.UniqueID, t.FirstName, t.LastName, t.Phone1, t.Remark,
		t.Channel, t.Actor}
}

func claimNames(t token.Ticket) []string {
	var names []string
	for name := range t.Claims {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// vectorFiles compares a folder with the files that it should have, or writes them.
func vectorFiles(t *testing.T, dir string, all []vector, others map[string]string) {
	t.Helper()
	want := others
	for _, v := range all {
		require.NotContains(t, want, v.name+".txt")
		want[v.name+".txt"] = v.text()
	}
	if *update {
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for name, text := range want {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Equal(t, len(want), len(entries), "each file has its scenario: run with -update if that was meant to change")
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, text, string(got), "%s: run with -update if the scenario was meant to change", name)
	}
}

func readKeyset(t *testing.T, dir, name string) *token.Keyset {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	require.NoError(t, err)
	defer f.Close()
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(f))
	require.NoError(t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(t, err)
	return keys
}

func TestVectors(t *testing.T) {
	vectorFiles(t, vectorDir, vectors(), map[string]string{"keyset.json": vectorKeyset()})
	keys := readKeyset(t, vectorDir, "keyset.json")
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) { runVector(t, Config{Opener: keys}, v.text()) })
	}
}

func TestIssuerVectors(t *testing.T) {
	vectorFiles(t, issuersDir, issuerVectors(), issuerFiles())
	var all []Issuer
	grants := vectorGrants()
	for _, name := range vectorIssuers {
		all = append(all, Issuer{Name: name, Keys: readKeyset(t, issuersDir, name+".json"), Grant: grants[name].grant()})
	}
	c := Config{Opener: readKeyset(t, issuersDir, "keyset.json"), Issuers: issuersOf(t, all...)}
	for _, v := range issuerVectors() {
		t.Run(v.name, func(t *testing.T) { runVector(t, c, v.text()) })
	}
}

// vectorTime is a time of a vector: milliseconds since 1970, with a fraction or without.
func vectorTime(t *testing.T, text string) time.Time {
	t.Helper()
	whole, fraction, _ := strings.Cut(text, ".")
	ms, err := strconv.ParseInt(whole, 10, 64)
	require.NoError(t, err)
	us, err := strconv.ParseInt((fraction + "000")[:3], 10, 64)
	require.NoError(t, err)
	return time.UnixMilli(ms).Add(time.Duration(us) * time.Microsecond)
}

func vectorMillis(t *testing.T, text string) time.Duration {
	t.Helper()
	ms, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	return time.Duration(ms) * time.Millisecond
}

// A lateStore sets the clock at each claim, as if the claim took until then.
type lateStore struct {
	replay.Store
	claimed func()
}

func (s lateStore) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	a, err := s.Store.Claim(ctx, c)
	s.claimed()
	return a, err
}

// runVector puts a vector through every entry point, from its text alone. c has the keys.
func runVector(t *testing.T, c Config, text string) {
	v := make(map[string]string)
	for line := range strings.Lines(text) {
		k, val, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		require.True(t, ok, line)
		v[k] = val
	}
	var ticket string
	require.NoError(t, json.Unmarshal([]byte(v["ticket"]), &ticket))
	now := vectorTime(t, v["now"])
	c.Now = func() time.Time { return now }
	store := newStore(t, c.Now)
	c.Realm, c.MaxLifetime, c.Skew = v["realm"], vectorMillis(t, v["max-lifetime"]), vectorMillis(t, v["skew"])
	if c.Brands = strings.Fields(v["brands"]); v["brands"] == "*" {
		c.Brands, c.AnyBrand = nil, true
	}
	c.Store = lateStore{store, func() {
		if v["now-after-claim"] != "" {
			now = vectorTime(t, v["now-after-claim"])
		}
	}}
	use := Use{Channel: v["channel"], Audience: map[string]token.Audience{"agent": token.Agent,
		"customer": token.Customer, "administrator": token.Administrator, "any": AnyAudience}[v["audience"]]}
	ver, err := New(c)
	require.NoError(t, err)
	if v["spent"] == "true" { // at a verifier that takes every ticket of a person, just after issue
		payload, err := hex.DecodeString(v["payload"])
		require.NoError(t, err)
		var tk token.Ticket
		require.NoError(t, tk.DecodePayload(string(payload)))
		spender := c
		spender.Store, spender.Brands, spender.AnyBrand, spender.MaxLifetime = store, nil, true, time.Hour
		until := now
		now = tk.IssuedAt
		all, err := New(spender)
		require.NoError(t, err)
		_, err = all.Redeem(t.Context(), ticket, Use{Audience: AnyAudience, Channel: tk.Channel})
		require.NoError(t, err)
		now = until
	}
	inspected, inspectErr := ver.Inspect(t.Context(), ticket, use)
	redeemed, redeemErr := ver.Redeem(t.Context(), ticket, use)
	if v["expect"] != "good" {
		if v["now-after-claim"] == "" {
			assert.Equal(t, Reason(v["expect"]), reasonOf(t, inspectErr))
			assert.Zero(t, inspected)
		}
		assert.Equal(t, Reason(v["expect"]), reasonOf(t, redeemErr))
		assert.Zero(t, redeemed)
		return
	}
	require.NoError(t, inspectErr)
	require.NoError(t, redeemErr)
	assert.Equal(t, inspected, redeemed)
	payload, err := hex.DecodeString(v["payload"])
	require.NoError(t, err)
	assert.Equal(t, payload, reencode(redeemed), "the payload is the one encoding of what it says")
	assert.Equal(t, v["decoded"], decodedJSON(redeemed))
	assert.Equal(t, v["issuer"], redeemed.Issuer)
	assert.Equal(t, v["nonce"], redeemed.Nonce().String())
}

// reencode writes a ticket's payload as SPEC.md has it, independently of the
// token package.
func reencode(tk token.Ticket) []byte {
	p := pl{audience: byte(tk.Audience), id: string(tk.ID[:]), issued: tk.IssuedAt.UnixMilli(),
		lifetime: tk.Lifetime.Milliseconds()}
	if tk.OneTime {
		p.flags |= 1
	}
	if tk.OverrideUserInfo {
		p.flags |= 2
	}
	for i, v := range textsOf(tk) {
		if v != "" {
			p.fields += fd(byte(i+1), v)
		}
	}
	for _, name := range claimNames(tk) {
		p.fields += fc(name, tk.Claims[name])
	}
	return p.bytes()
}
