package verify

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

// The golden vectors stand in testdata/vectors, one scenario a file, so that
// decoders in other languages can be held to them. They are made here, without
// the token package, from the scenarios below: fixed keys, and IVs that the
// scenario's name decides. TestVectors fails where a file and its scenario
// differ; -update writes the files anew.
var update = flag.Bool("update", false, "write the golden vectors anew")

const vectorDir = "../testdata/vectors"

// Keys of the vectors: AES-256, each byte of the key is the low byte of its ID
// plus the byte's index.
const (
	primaryKey  = 0x0a0b0c01
	otherKey    = 0xf0e0d020 // enabled, not primary
	disabledKey = 0x00000040
	foreignKey  = 0x0a0b0c60 // not in the keyset
)

func vectorAESKey(id uint32) []byte {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(id) + byte(i)
	}
	return k
}

// vectorKeyset is the keyset in Tink's JSON form. An AesGcmKey message is its
// field 3: the key's bytes.
func vectorKeyset() []byte {
	key := func(id uint32, status string) map[string]any {
		return map[string]any{
			"keyData": map[string]any{
				"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "keyMaterialType": "SYMMETRIC",
				"value": append([]byte{0x1a, 32}, vectorAESKey(id)...),
			},
			"status": status, "keyId": id, "outputPrefixType": "TINK",
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"primaryKeyId": primaryKey,
		"key":          []any{key(otherKey, "ENABLED"), key(primaryKey, "ENABLED"), key(disabledKey, "DISABLED")},
	}, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

// vectorSeal does what a Tink AES-256-GCM key does, with a fixed IV.
func vectorSeal(name string, key uint32, realm string, payload []byte) string {
	block, err := aes.NewCipher(vectorAESKey(key))
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	iv := sha256.Sum256([]byte(name))
	sealed := binary.BigEndian.AppendUint32([]byte{1}, key)
	sealed = append(sealed, iv[:12]...)
	sealed = gcm.Seal(sealed, iv[:12], payload, []byte("admitone/ticket/1\x00"+realm))
	return "tkt1_" + base64.RawURLEncoding.EncodeToString(sealed)
}

// pl builds payloads, good and bad ones.
type pl struct {
	flags, audience byte
	id              string // 16 bytes
	issued          time.Time
	lifetime        time.Duration
	fields          string
}

func (p pl) bytes() []byte {
	b := append([]byte{p.flags, p.audience}, p.id...)
	b = append(b, binary.BigEndian.AppendUint64(nil, uint64(p.issued.UnixMilli()))[2:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.lifetime.Milliseconds()))
	return append(b, p.fields...)
}

func fd(tag byte, value string) string { return string([]byte{tag, byte(len(value))}) + value }

var vectorNow = time.Date(2025, 1, 19, 14, 18, 47, 630_000_000, time.UTC)

func agentPayload() pl {
	return pl{1, 1, "0123456789abcdef", vectorNow, time.Minute,
		fd(1, "commbox") + fd(2, "john.d") + fd(3, "john.d@gmail.com") + fd(4, "123456") + fd(5, "John") + fd(6, "Doe") +
			fd(7, "+442501234567")}
}

func customerPayload() pl {
	return pl{2, 2, "fedcba9876543210", vectorNow, 5 * time.Minute, fd(1, "commbox") + fd(3, "jane@example.com")}
}

// administratorPayload is of the deployment's administrator.
func administratorPayload() pl {
	return pl{1, 3, "administrator-id", vectorNow, 5 * time.Minute, fd(2, "root.admin")}
}

type vector struct {
	name, comment string
	expect        string // "good" or a reason
	payload       []byte
	ticket        string
	key           uint32
	realm         string // it is sealed in
	now           time.Time
	audience      token.Audience
	channel       string
	brands        string // that the verifier accepts: separated by spaces, or * for any
	spent         bool
}

// vectors returns the scenarios: good(…) and bad(…) seal a payload, raw(…)
// takes a string as it is.
func vectors() []vector {
	var all []vector
	add := func(name, expect, comment string, payload []byte, change func(*vector)) {
		v := vector{name: name, expect: expect, comment: comment, payload: payload, key: primaryKey, realm: "prod",
			now: vectorNow, audience: token.Agent, brands: "b commbox"}
		if len(payload) > 1 && payload[1] >= 2 && payload[1] <= 3 {
			v.audience = token.Audience(payload[1])
		}
		if change != nil {
			change(&v)
		}
		if v.ticket == "" {
			v.ticket = vectorSeal(name, v.key, v.realm, payload)
		}
		all = append(all, v)
	}
	agent, customer, administrator := agentPayload(), customerPayload(), administratorPayload()
	anyBrand := func(v *vector) { v.brands = "*" }
	edit := func(p pl, f func(*pl)) []byte { f(&p); return p.bytes() }
	fields := func(s string) []byte { return edit(agent, func(p *pl) { p.fields = s }) }
	at := func(d time.Duration) func(*vector) { return func(v *vector) { v.now = v.now.Add(d) } }

	add("good-reference", "good", "the reference request: an agent, once", agent.bytes(), nil)
	add("good-agent-smallest", "good", "brand and username only, many times",
		edit(agent, func(p *pl) { p.flags, p.fields = 0, fd(1, "b")+fd(2, "u") }), nil)
	add("good-customer", "good", "a customer whose record is updated", customer.bytes(), nil)
	add("good-customer-channel", "good", "bound to the channel that is entered",
		edit(customer, func(p *pl) { p.fields += fd(9, "web") }), func(v *vector) { v.channel = "web" })
	add("good-customer-any-channel", "good", "bound to no channel, so good in any", customer.bytes(),
		func(v *vector) { v.channel = "web" })
	add("good-every-field", "good", "all fields of a customer's ticket, in UTF-8, with claims",
		edit(customer, func(p *pl) {
			p.flags = 3
			p.fields = fd(1, "commbox") + fd(3, "zoë@example.com") + fd(4, "C-1") + fd(5, "Zoë") + fd(6, "日本") +
				fd(7, "+12121234567") + fd(8, "<b>VIP</b>") + fd(9, "web") + fd(10, "k7q2m4x9za") + fd(64, "\x03crmA-17") +
				fd(64, "\x04tiergold")
		}), func(v *vector) { v.channel = "web" })
	add("good-long-value", "good", "a value of 200 bytes: its length takes two bytes",
		fields(fd(1, "b")+"\x02\xc8\x01"+strings.Repeat("u", 200)), nil)
	add("good-other-key", "good", "sealed with a key that is enabled and not primary", agent.bytes(),
		func(v *vector) { v.key = otherKey })
	add("good-last-moment", "good", "one millisecond before expiry plus skew", agent.bytes(),
		at(time.Minute+10*time.Second-time.Millisecond))
	add("good-issuer-ahead", "good", "issued exactly one skew ahead of the verifier's clock", agent.bytes(),
		at(-10*time.Second))
	add("good-longest-lifetime", "good", "the verifier's maximum",
		edit(agent, func(p *pl) { p.lifetime = 15 * time.Minute }), nil)

	add("good-administrator", "good", "an administrator of the deployment, for 5 minutes, at a verifier for any brand",
		administrator.bytes(), anyBrand)
	add("good-administrator-brand", "good", "an administrator's ticket that names a brand, an actor and a claim",
		edit(administrator, func(p *pl) {
			p.fields = fd(1, "commbox") + fd(2, "root.admin") + fd(10, "k7q2m4x9za") + fd(64, "\x03crmA-17")
		}), nil)

	// Not a ticket.
	good := vectorSeal("good-reference", primaryKey, "prod", agent.bytes())
	raw := func(name, expect, comment, ticket string) {
		add(name, expect, comment, nil, func(v *vector) { v.ticket = ticket })
	}
	raw("malformed-prefix-only", "malformed", "no body", "tkt1_")
	raw("malformed-other-prefix", "malformed", "not the prefix", "jwt1_"+good[5:])
	raw("malformed-case", "malformed", "the prefix in capitals", "TKT1_"+good[5:])
	raw("malformed-padding", "malformed", "base64 padding", good+"=")
	raw("malformed-padding-2", "malformed", "base64 padding", good+"==")
	raw("malformed-standard-alphabet", "malformed", "'+' and '/' are of the other alphabet", good[:20]+"+/"+good[22:])
	raw("malformed-space", "malformed", "a space at the end", good+" ")
	raw("malformed-crlf", "malformed", "a line break at the end", good+"\r\n")
	raw("malformed-lf-inside", "malformed", "a line break within", good[:40]+"\n"+good[40:])
	raw("malformed-percent", "malformed", "percent-encoding that was not undone", good[:40]+"%2D"+good[40:])
	raw("malformed-trailing-bits", "malformed", "unused bits of the last character are not zero", nonZeroTail())
	raw("malformed-short", "malformed", "no room for a key ID", "tkt1_AQoLDA")
	raw("malformed-raw-prefix", "malformed", "first sealed byte is 0, not 1", "tkt1_AA"+good[7:])
	raw("malformed-too-long", "malformed", "2,049 characters", good+strings.Repeat("A", 2049-len(good)))
	raw("unsupported-version", "unsupported_version", "format 2", "tkt2_"+good[5:])

	// Not sealed for us.
	add("unknown-key", "unknown_key", "the keyset has no such key", agent.bytes(), func(v *vector) { v.key = foreignKey })
	add("unknown-key-disabled", "unknown_key", "the key is disabled", agent.bytes(),
		func(v *vector) { v.key = disabledKey })
	raw("forged-changed", "forged", "one character changed", good[:60]+string(rune(good[60]^1))+good[61:])
	raw("forged-truncated", "forged", "four characters cut off", good[:len(good)-4])
	raw("forged-extended", "forged", "four characters more", good+"AAAA")
	raw("forged-key-id", "forged", "the key ID exchanged for another enabled key's",
		vectorSeal("good-reference", otherKey, "prod", agent.bytes())[:12]+good[12:])
	add("forged-realm", "forged", "sealed in another realm", agent.bytes(), func(v *vector) { v.realm = "test" })
	add("forged-realm-empty", "forged", "sealed in the empty realm", agent.bytes(), func(v *vector) { v.realm = "" })

	// Sealed with our key, but no issuer's payload.
	bad := func(name, comment string, payload []byte) { add("payload-"+name, "malformed", comment, payload, nil) }
	bad("empty", "no payload", []byte{})
	bad("short", "the header lacks a byte", agent.bytes()[:27])
	bad("flag", "unknown flag", edit(agent, func(p *pl) { p.flags = 4 }))
	bad("audience-0", "no audience", edit(agent, func(p *pl) { p.audience = 0 }))
	bad("audience-4", "unknown audience", edit(agent, func(p *pl) { p.audience = 4 }))
	bad("lifetime-0", "lifetime zero", edit(agent, func(p *pl) { p.lifetime = 0 }))
	bad("unknown-tag", "tag 11", fields(agent.fields+fd(11, "x")))
	bad("tag-order", "descending tags", fields(fd(2, "u")+fd(1, "b")))
	bad("tag-repeated", "brand twice", fields(fd(1, "b")+fd(1, "b")+fd(2, "u")))
	bad("tag-not-minimal", "tag 1 in two bytes", fields("\x81\x00\x01b"+fd(2, "u")))
	bad("length-not-minimal", "length 1 in two bytes", fields("\x01\x81\x00b"+fd(2, "u")))
	bad("length-past-end", "a length that reaches past the end", fields(fd(1, "b")+"\x02\x09u"))
	bad("empty-value", "an empty value: absent is absent", fields(fd(1, "b")+fd(2, "u")+fd(3, "")))
	bad("trailing-byte", "a byte too many", fields(agent.fields+"\x40"))
	bad("too-long", "brand of 65 bytes", fields(fd(1, strings.Repeat("b", 65))+fd(2, "u")))
	bad("control", "a newline in a text", fields(fd(1, "b")+fd(2, "u\n")))
	bad("line-separator", "U+2028 in a text", fields(fd(1, "b")+fd(2, "u\u2028")))
	bad("utf8", "invalid UTF-8", fields(fd(1, "b")+fd(2, "u\xff")))
	bad("no-brand", "no brand", fields(fd(2, "u")))
	bad("agent-no-username", "an agent without username", fields(fd(1, "b")+fd(3, "e")))
	bad("agent-channel", "an agent with a channel", fields(fd(1, "b")+fd(2, "u")+fd(9, "c")))
	bad("agent-override", "an agent with override-user-info", edit(agent, func(p *pl) { p.flags = 2 }))
	bad("customer-username", "a customer with a username",
		edit(customer, func(p *pl) { p.fields = fd(1, "b") + fd(2, "u") + fd(3, "e") }))
	bad("customer-nobody", "a customer without strong identifier",
		edit(customer, func(p *pl) { p.fields = fd(1, "b") + fd(5, "Jane") }))
	administrators := func(s string) []byte { return edit(administrator, func(p *pl) { p.fields = s }) }
	bad("administrator-many", "an administrator's ticket that works many times",
		edit(administrator, func(p *pl) { p.flags = 0 }))
	bad("administrator-override", "an administrator with override-user-info",
		edit(administrator, func(p *pl) { p.flags = 3 }))
	bad("administrator-no-username", "an administrator without username", administrators(fd(1, "b")))
	bad("administrator-channel", "an administrator with a channel", administrators(fd(2, "u")+fd(9, "c")))
	bad("administrator-email", "an administrator with a person's details", administrators(fd(2, "u")+fd(3, "e")))
	bad("phone", "a telephone number not in E.164", fields(fd(1, "b")+fd(2, "u")+fd(7, "212-123-4567")))
	bad("phone-zero", "no country code begins with 0", fields(fd(1, "b")+fd(2, "u")+fd(7, "+0123456")))
	bad("claim-order", "claims in descending order", fields(fd(1, "b")+fd(2, "u")+fd(64, "\x01b1")+fd(64, "\x01a1")))
	bad("claim-repeated", "one claim twice", fields(fd(1, "b")+fd(2, "u")+fd(64, "\x01a1")+fd(64, "\x01a1")))
	bad("claim-name", "a claim's name in capitals", fields(fd(1, "b")+fd(2, "u")+fd(64, "\x01A1")))
	bad("claim-no-value", "a claim without value", fields(fd(1, "b")+fd(2, "u")+fd(64, "\x01a")))

	// Genuine, and refused.
	add("not-yet-valid", "not_yet_valid", "issued one millisecond more than the skew ahead", agent.bytes(),
		at(-10*time.Second-time.Millisecond))
	add("expired", "expired", "exactly at expiry plus skew", agent.bytes(), at(time.Minute+10*time.Second))
	add("lifetime-too-long", "lifetime_too_long", "one millisecond over the verifier's maximum",
		edit(agent, func(p *pl) { p.lifetime = 15*time.Minute + time.Millisecond }), nil)
	add("wrong-brand", "wrong_brand", "brand acme", fields(fd(1, "acme")+fd(2, "u")), nil)
	add("wrong-brand-case", "wrong_brand", "brands are compared to the letter", fields(fd(1, "Commbox")+fd(2, "u")), nil)
	add("wrong-audience", "wrong_audience", "an agent's ticket at the chat", agent.bytes(),
		func(v *vector) { v.audience = token.Customer })
	add("wrong-audience-customer", "wrong_audience", "a customer's ticket at the management login", customer.bytes(),
		func(v *vector) { v.audience = token.Agent })
	add("wrong-audience-administrator", "wrong_audience", "an administrator's ticket at the management login",
		administrator.bytes(), func(v *vector) { v.audience, v.brands = token.Agent, "*" })
	add("wrong-audience-console", "wrong_audience", "an agent's ticket at the administrators' login", agent.bytes(),
		func(v *vector) { v.audience = token.Administrator })
	add("wrong-brand-none", "wrong_brand", "an administrator without a brand, at a verifier for certain brands",
		administrator.bytes(), nil)
	add("lifetime-too-long-administrator", "lifetime_too_long", "one millisecond over the maximum for administrators",
		edit(administrator, func(p *pl) { p.lifetime = 5*time.Minute + time.Millisecond }), anyBrand)
	add("wrong-channel", "wrong_channel", "bound to another channel",
		edit(customer, func(p *pl) { p.fields += fd(9, "web") }), func(v *vector) { v.channel = "app" })
	add("wrong-channel-none", "wrong_channel", "bound to a channel, and none is entered",
		edit(customer, func(p *pl) { p.fields += fd(9, "web") }), nil)
	add("already-used", "already_used", "redeemed before", agent.bytes(), func(v *vector) { v.spent = true })
	return all
}

// nonZeroTail returns a ticket whose last character has unused bits, set.
func nonZeroTail() string {
	for n := 1; ; n++ {
		p := agentPayload()
		p.fields = fd(1, "commbox") + fd(2, strings.Repeat("u", n))
		s := vectorSeal("tail", primaryKey, "prod", p.bytes())
		if len(s[5:])%4 != 0 {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(alphabet, s[len(s)-1])
			return s[:len(s)-1] + alphabet[last+1:last+2]
		}
	}
}

func (v *vector) text() string {
	var b strings.Builder
	line := func(k, val string) { fmt.Fprintf(&b, "%s: %s\n", k, val) }
	line("comment", v.comment)
	line("expect", v.expect)
	line("realm", "prod")
	line("brands", v.brands)
	line("now", v.now.Format(time.RFC3339Nano))
	line("skew", "10s")
	line("max-lifetime", "15m")
	line("audience", v.audience.String())
	line("channel", v.channel)
	line("spent", fmt.Sprint(v.spent))
	if v.payload != nil {
		line("payload", hex.EncodeToString(v.payload))
	}
	quoted, err := json.Marshal(v.ticket)
	if err != nil {
		panic(err)
	}
	line("ticket", string(quoted))
	return b.String()
}

func TestVectors(t *testing.T) {
	want := map[string]string{"keyset.json": string(vectorKeyset())}
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
	f, err := os.Open(filepath.Join(vectorDir, "keyset.json"))
	require.NoError(t, err)
	defer f.Close()
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(f))
	require.NoError(t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(t, err)

	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(vectorDir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, want[e.Name()], string(text), "%s: run with -update if the scenario was meant to change", e.Name())
		if e.Name() != "keyset.json" {
			t.Run(strings.TrimSuffix(e.Name(), ".txt"), func(t *testing.T) { runVector(t, keys, string(text)) })
		}
	}
}

// runVector puts a vector through every entry point, from its text alone.
func runVector(t *testing.T, keys *token.Keyset, text string) {
	v := make(map[string]string)
	for line := range strings.Lines(text) {
		k, val, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		require.True(t, ok, line)
		v[k] = val
	}
	now, err := time.Parse(time.RFC3339Nano, v["now"])
	require.NoError(t, err)
	skew, err := time.ParseDuration(v["skew"])
	require.NoError(t, err)
	maxLifetime, err := time.ParseDuration(v["max-lifetime"])
	require.NoError(t, err)
	var ticket string
	require.NoError(t, json.Unmarshal([]byte(v["ticket"]), &ticket))

	brands := strings.Fields(v["brands"])
	if v["brands"] == "*" {
		brands = nil
	}
	newVerifier := func() *Verifier {
		ver, err := New(Config{
			Opener: keys, Realm: v["realm"], Brands: brands, AnyBrand: brands == nil,
			Store:       newStore(t, func() time.Time { return now }),
			MaxLifetime: maxLifetime, Skew: skew, Now: func() time.Time { return now },
		})
		require.NoError(t, err)
		return ver
	}
	use := Use{Channel: v["channel"], Audience: map[string]token.Audience{"agent": token.Agent,
		"customer": token.Customer, "administrator": token.Administrator}[v["audience"]]}
	ver := newVerifier()
	if v["spent"] == "true" {
		_, err := ver.Redeem(t.Context(), ticket, use)
		require.NoError(t, err)
	}
	inspected, inspectErr := ver.Inspect(t.Context(), ticket, use)
	redeemed, redeemErr := ver.Redeem(t.Context(), ticket, use)
	if v["expect"] != "good" {
		assert.Equal(t, Reason(v["expect"]), reasonOf(t, inspectErr))
		assert.Equal(t, Reason(v["expect"]), reasonOf(t, redeemErr))
		assert.Zero(t, inspected)
		assert.Zero(t, redeemed)
		return
	}
	require.NoError(t, inspectErr)
	require.NoError(t, redeemErr)
	assert.Equal(t, inspected, redeemed)
	payload, err := hex.DecodeString(v["payload"])
	require.NoError(t, err)
	assert.Equal(t, payload, reencode(redeemed), "the payload is the one encoding of what it says")
}

// reencode writes a ticket's payload as SPEC.md has it, independently of the
// token package.
func reencode(tk token.Ticket) []byte {
	p := pl{audience: byte(tk.Audience), id: string(tk.ID[:]), issued: tk.IssuedAt, lifetime: tk.Lifetime}
	if tk.OneTime {
		p.flags |= 1
	}
	if tk.OverrideUserInfo {
		p.flags |= 2
	}
	for i, v := range []string{tk.Brand, tk.Username, tk.Email, tk.UniqueID, tk.FirstName, tk.LastName, tk.Phone1,
		tk.Remark, tk.Channel, tk.Actor} {
		if v != "" {
			p.fields += string([]byte{byte(i + 1)}) + string(binary.AppendUvarint(nil, uint64(len(v)))) + v
		}
	}
	for _, name := range []string{"crm", "tier"} { // the claims of the vectors
		if v, ok := tk.Claims[name]; ok {
			p.fields += fd(64, string([]byte{byte(len(name))})+name+v)
		}
	}
	return p.bytes()
}
