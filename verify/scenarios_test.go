package verify

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/token"
)

// pl builds payloads, good and bad ones.
type pl struct {
	flags, audience  byte
	id               string // 16 bytes
	issued, lifetime int64  // in milliseconds
	fields           string
}

func (p pl) bytes() []byte {
	b := append([]byte{p.flags, p.audience}, p.id...)
	b = append(b, binary.BigEndian.AppendUint64(nil, uint64(p.issued))[2:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.lifetime))
	return append(b, p.fields...)
}

func uv(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

// fd is a field, and fc a claim.
func fd(tag byte, value string) string { return string([]byte{tag}) + uv(uint64(len(value))) + value }
func fc(name, value string) string     { return fd(64, uv(uint64(len(name)))+name+value) }

// vectorNow is the time of issue of the vectors' tickets.
var vectorNow = time.Date(2025, 1, 19, 14, 18, 47, 630_000_000, time.UTC)

// at is a time of a vector: so many milliseconds after vectorNow.
func at(ms float64) string {
	whole := int64(ms * 1000)
	now := vectorNow.UnixMicro() + whole
	if now%1000 == 0 {
		return fmt.Sprint(now / 1000)
	}
	return fmt.Sprintf("%d.%03d", now/1000, now%1000)
}

func agentPayload() pl {
	return pl{1, 1, "0123456789abcdef", vectorNow.UnixMilli(), 60_000,
		fd(1, "commbox") + fd(2, "john.d") + fd(3, "john.d@gmail.com") + fd(4, "123456") + fd(5, "John") + fd(6, "Doe") +
			fd(7, "+442501234567")}
}

func customerPayload() pl {
	return pl{2, 2, "fedcba9876543210", vectorNow.UnixMilli(), 300_000, fd(1, "commbox") + fd(3, "jane@example.com")}
}

// administratorPayload is of the deployment's administrator.
func administratorPayload() pl {
	return pl{1, 3, "administrator-id", vectorNow.UnixMilli(), 300_000, fd(2, "root.admin")}
}

// A scene collects vectors.
type scene struct {
	all    []vector
	brands string // of the verifiers
}

// add adds a vector: a payload, sealed as change says, or a ticket that change sets.
func (s *scene) add(name, expect, comment string, payload []byte, change ...func(*vector)) {
	v := vector{name: name, expect: expect, comment: comment, payload: payload, key: primaryKey, realm: "prod",
		sealedIn: "prod", now: at(0), skew: 10_000, max: 900_000, audience: "agent", brands: s.brands}
	if len(payload) > 1 && payload[1] >= 2 && payload[1] <= 3 {
		v.audience = token.Audience(payload[1]).String()
	}
	for _, f := range change {
		f(&v)
	}
	if v.payload != nil && v.parts == nil {
		v.seal()
	}
	s.all = append(s.all, v)
}

// Changes of vectors.
func anyBrand(v *vector) { v.brands = "*" }
func spent(v *vector)    { v.spent = true }
func nowAt(ms float64) func(*vector) {
	return func(v *vector) { v.now = at(ms) }
}
func for_(audience string) func(*vector) { return func(v *vector) { v.audience = audience } }
func in(channel string) func(*vector)    { return func(v *vector) { v.channel = channel } }
func under(key uint32) func(*vector)     { return func(v *vector) { v.key = key } }
func longest(ms int64) func(*vector)     { return func(v *vector) { v.max = ms } }
func realm(verifiers, sealedIn string) func(*vector) {
	return func(v *vector) { v.realm, v.sealedIn = verifiers, sealedIn }
}

func edit(p pl, f func(*pl)) []byte { f(&p); return p.bytes() }
func agentWith(fields string) []byte {
	return edit(agentPayload(), func(p *pl) { p.fields = fields })
}
func customerWith(fields string) []byte {
	return edit(customerPayload(), func(p *pl) { p.fields = fields })
}
func administratorWith(fields string) []byte {
	return edit(administratorPayload(), func(p *pl) { p.fields = fields })
}

// vectors returns the scenarios of testdata/vectors.
func vectors() []vector {
	s := &scene{brands: "b commbox"}
	s.goods()
	s.strings()
	s.keys()
	s.payloads()
	s.values()
	s.refusals()
	s.pairs()
	return s.all
}

func (s *scene) goods() {
	agent, customer, administrator := agentPayload(), customerPayload(), administratorPayload()
	good := func(name, comment string, payload []byte, change ...func(*vector)) {
		s.add("good-"+name, "good", comment, payload, change...)
	}
	good("reference", "the reference request: an agent, once", agent.bytes())
	good("agent-smallest", "brand and username only, many times",
		edit(agent, func(p *pl) { p.flags, p.fields = 0, fd(1, "b")+fd(2, "u") }))
	good("customer", "a customer whose record is updated", customer.bytes())
	good("customer-channel", "bound to the channel that is entered",
		edit(customer, func(p *pl) { p.fields += fd(9, "web") }), in("web"))
	good("customer-any-channel", "bound to no channel, so good in any", customer.bytes(), in("web"))
	good("customer-phone", "a telephone number is enough", customerWith(fd(1, "commbox")+fd(7, "+12121234567")))
	good("customer-unique-id", "a unique ID is enough", customerWith(fd(1, "commbox")+fd(4, "C-1")))
	good("customer-many", "no flag", edit(customer, func(p *pl) { p.flags = 0 }))
	good("customer-once", "one-time only", edit(customer, func(p *pl) { p.flags = 1 }))
	good("every-field", "all fields of a customer's ticket, in UTF-8, with claims",
		edit(customer, func(p *pl) {
			p.flags = 3
			p.fields = fd(1, "commbox") + fd(3, "zoë@example.com") + fd(4, "C-1") + fd(5, "Zoë") + fd(6, "日本") +
				fd(7, "+12121234567") + fd(8, "<b>VIP</b>") + fd(9, "web") + fd(10, "k7q2m4x9za") + fc("crm", "A-17") +
				fc("tier", "gold")
		}), in("web"))
	good("long-value", "a value of 200 bytes: its length takes two bytes",
		agentWith(fd(1, "b")+fd(2, strings.Repeat("u", 200))))
	good("value-127", "a value of 127 bytes: its length takes one byte", agentWith(fd(1, "b")+fd(2,
		strings.Repeat("u", 127))))
	good("value-128", "a value of 128 bytes: its length takes two bytes", agentWith(fd(1, "b")+fd(2,
		strings.Repeat("u", 128))))
	good("other-key", "sealed with a key that is enabled and not primary", agent.bytes(), under(otherKey))
	good("xaes", "XAES_256_GCM; the first 12 bytes of the IV are the salt", agent.bytes(), under(xaesKey))
	good("xaes-reduced", "XAES_256_GCM, whose CMAC subkey needs the reduction", agent.bytes(), under(xaesKey2))
	good("gcm-siv", "AES256_GCM_SIV", agent.bytes(), under(sivKey))
	good("xchacha", "XCHACHA20_POLY1305", agent.bytes(), under(xchachaKey))
	good("last-moment", "one millisecond before expiry plus skew", agent.bytes(), nowAt(69_999))
	good("last-moment-fraction", "the fraction of a millisecond does not count", agent.bytes(), nowAt(69_999.9))
	good("issuer-ahead", "issued exactly one skew ahead of the verifier's clock", agent.bytes(), nowAt(-10_000))
	good("no-skew", "a verifier without skew, at the time of issue", agent.bytes(), func(v *vector) { v.skew = 0 })
	good("longest-lifetime", "the verifier's maximum", edit(agent, func(p *pl) { p.lifetime = 900_000 }))
	good("lifetime-1", "one millisecond", edit(agent, func(p *pl) { p.lifetime = 1 }))
	good("lifetime-most", "the longest lifetime that a payload can have", edit(agent,
		func(p *pl) { p.lifetime = 1<<32 - 1 }),
		longest(1<<32-1))
	good("issued-1970", "issued at time 0", edit(agent, func(p *pl) { p.issued = 0 }), func(v *vector) { v.now = "0" })
	good("issued-2106", "issued at 2^32 seconds after 1970", edit(agent, func(p *pl) { p.issued = 1 << 32 * 1000 }),
		func(v *vector) { v.now = fmt.Sprint(1 << 32 * 1000) })
	good("clock-back-after-claim", "after the claim, only the end of the lifetime counts", agent.bytes(),
		func(v *vector) { v.after = at(-3_600_000) })
	good("slow-claim", "the claim takes until the last moment", agent.bytes(), func(v *vector) { v.after = at(69_999) })
	good("spent-many", "redeemed before, and good for many times",
		edit(agent, func(p *pl) { p.flags = 0 }), spent)
	good("any-audience-agent", "entered where agents and customers may enter", agent.bytes(), for_("any"))
	good("any-audience-customer", "entered where agents and customers may enter", customer.bytes(), for_("any"))
	good("any-brand", "a brand of nobody's list, where every brand is accepted", agentWith(fd(1, "elsewhere")+fd(2,
		"u")), anyBrand)
	good("administrator", "an administrator of the deployment, for 5 minutes, at a verifier for any brand",
		administrator.bytes(), anyBrand)
	good("administrator-brand", "an administrator's ticket that names a brand, an actor and a claim",
		administratorWith(fd(1, "commbox")+fd(2, "root.admin")+fd(10, "k7q2m4x9za")+fc("crm", "A-17")))
	good("realm-none", "in the empty realm", agent.bytes(), realm("", ""))
	good("realm-longest", "in a realm of 64 bytes", agent.bytes(), realm(strings.Repeat("r", 64), strings.Repeat("r", 64)))
	good("realm-capitals", "a realm is compared to the letter", agent.bytes(), realm("Prod", "Prod"))
	good("realm-utf8", "a realm is bytes of UTF-8", agent.bytes(), realm("größe-日本", "größe-日本"))

	// Fields at their limits. The limits count bytes.
	for _, f := range limits {
		if f.name == "phone1" {
			continue
		}
		good("longest-"+f.name, fmt.Sprintf("%d bytes, the most", f.most), f.in(f.value(f.most)), in("c"), f.use)
	}
	good("longest-phone1", "32 bytes, the most", agentWith(fd(1, "b")+fd(2, "u")+fd(7, "+"+strings.Repeat("7", 31))))
	good("shortest-phone1", "one digit", agentWith(fd(1, "b")+fd(2, "u")+fd(7, "+1")))
	good("phone-zeros", "zeros after the first digit", agentWith(fd(1, "b")+fd(2, "u")+fd(7, "+1000")))
	good("longest-claim", "a name of 64 bytes and a value of 512",
		agentWith(fd(1, "b")+fd(2, "u")+fc(strings.Repeat("n", 64), strings.Repeat("v", 512))))
	good("claim-names", "every character of a name; in the order of bytes, '-' and '.' come before digits",
		agentWith(fd(1, "b")+fd(2, "u")+fc("-.0189_abyz", "x")+fc(".", "x")+fc("10", "x")+fc("9", "x")+fc("_", "x")+
			fc("__proto__", "x")+fc("a", "x")+fc("a-b", "x")+fc("a.b", "x")+fc("a_b", "x")+fc("ab", "x")+fc("constructor", "x")))
	good("odd-characters", "characters that are no control characters: spaces, U+FEFF, U+00A0, U+00AD, U+200B, U+2027, "+
		"U+202A, U+E000, U+FFFD, U+FFFF, U+10FFFF, and an accent of its own",
		agentWith(fd(1, "b")+fd(2, " \ufeffa ~\u00a0\u00ad\u200b\u2027\u202a\ue000\ufffd\uffff\U0010ffffe\u0301 ")))
	good("bom", "U+FEFF at the beginning of a text belongs to the text", agentWith(fd(1, "b")+fd(2, "\ufeffu")))

	full := func(remark int) []byte {
		return agentWith(fd(1, "commbox") + fd(2, "u") + fd(8, strings.Repeat("r", remark)) + fc("a",
			strings.Repeat("v", 512)) +
			fc("b", strings.Repeat("v", 512)) + fc("c", strings.Repeat("v", 101)))
	}
	good("longest-ticket", "2,048 characters", full(317))
	s.add("malformed-too-long-genuine", "malformed", "2,049 characters, by an issuer who did not count", full(318))
	for _, mark := range []string{"-", "_"} {
		name := map[string]string{"-": "ends-in-dash", "_": "ends-in-underscore"}[mark]
		s.add("good-"+name, "good", "issuers avoid this ending, and verifiers accept it", nil, func(v *vector) {
			for id := 0; !strings.HasSuffix(v.ticket, mark); id++ {
				v.payload = edit(agent, func(p *pl) { p.id, p.fields = fmt.Sprintf("%016d", id), fd(1, "commbox")+fd(2, "ann") })
				v.seal()
			}
		})
	}
}

// A limit is a text field with its greatest length.
type limit struct {
	name string
	tag  byte
	most int
}

var limits = []limit{{"brand", 1, 64}, {"username", 2, 255}, {"email", 3, 255}, {"uniqueId", 4, 255},
	{"firstName", 5, 100},
	{"lastName", 6, 100}, {"phone1", 7, 32}, {"remark", 8, 512}, {"channel", 9, 64}, {"actor", 10, 64}}

// value is a text of so many bytes, the last character of two bytes.
func (f limit) value(size int) string { return strings.Repeat("v", size-2) + "é" }

// in is a payload with a value of the field: an agent's, or a customer's for a channel.
func (f limit) in(value string) []byte {
	fields := map[byte]string{1: "b", 2: "u"}
	p := agentPayload()
	if f.name == "channel" {
		p, fields = customerPayload(), map[byte]string{1: "b", 3: "e"}
	}
	fields[f.tag] = value
	p.fields = ""
	for _, tag := range slices.Sorted(maps.Keys(fields)) {
		p.fields += fd(tag, fields[tag])
	}
	return p.bytes()
}

// use makes a vector's verifier accept such a payload.
func (f limit) use(v *vector) {
	switch f.name {
	case "brand":
		v.brands = "*"
	case "channel":
		v.channel = f.value(f.most)
	}
}

// strings are no tickets, whatever the keys.
func (s *scene) strings() {
	good, _ := vectorSeal("good-reference", primaryKey, vectorRawKey(primaryKey), "prod", agentPayload().bytes())
	unknown, _ := vectorSeal("unknown-key", foreignKey, vectorRawKey(foreignKey), "prod", agentPayload().bytes())
	raw := func(name, expect, comment, ticket string) {
		s.add(name, expect, comment, nil, func(v *vector) { v.ticket = ticket })
	}
	bad := func(name, comment, ticket string) { raw("malformed-"+name, "malformed", comment, ticket) }
	bad("empty", "no ticket at all", "")
	bad("blank", "a space alone", " ")
	bad("prefix-only", "no body", "tkt1_")
	bad("prefix-part", "a part of the prefix", "tkt1")
	bad("other-prefix", "not the prefix", "jwt1_"+good[5:])
	bad("no-prefix", "the body alone", good[5:])
	bad("case", "the prefix in capitals", "TKT1_"+good[5:])
	bad("space-before", "a space before", " "+good)
	bad("space", "a space at the end", good+" ")
	bad("lf-before", "a line break before", "\n"+good)
	bad("crlf", "a line break at the end", good+"\r\n")
	bad("lf-inside", "a line break within", good[:40]+"\n"+good[40:])
	bad("nul", "a zero byte at the end", good+"\x00")
	bad("padding", "base64 padding", good+"=")
	bad("padding-2", "base64 padding", good+"==")
	bad("plus", "'+' is of the other alphabet", good[:20]+"+"+good[21:])
	bad("slash", "'/' is of the other alphabet", good[:20]+"/"+good[21:])
	bad("standard-alphabet", "'+' and '/' are of the other alphabet", good[:20]+"+/"+good[22:])
	bad("dot", "'.' is of no alphabet", good[:20]+"."+good[21:])
	bad("tilde", "'~' is of no alphabet", good[:20]+"~"+good[21:])
	bad("not-ascii", "a letter of another alphabet", good[:20]+"é"+good[22:])
	bad("percent", "percent-encoding that was not undone", good[:40]+"%2D"+good[40:])
	bad("trailing-bits", "unused bits of the last character are not zero", tail(3, 1))
	for unused, bits := range map[int][]int{2: {1, 2, 4, 8}, 3: {1, 2}} {
		for _, bit := range bits {
			bad(fmt.Sprintf("dangling-%d-%d", unused, bit), "an unused bit of the last character is 1", tail(unused, bit))
		}
	}
	bad("one-character-more", "the last character stands for no byte", oneMore())
	bad("short", "no room for a key ID", "tkt1_AQoLDA")
	bad("one-byte", "no key ID", "tkt1_AQ")
	bad("raw-prefix", "first sealed byte is 0, not 1", "tkt1_AA"+good[7:])
	bad("raw-prefix-2", "first sealed byte is 2, not 1", "tkt1_Ag"+good[7:])
	bad("too-long", "2,049 characters", good+strings.Repeat("A", 2049-len(good)))
	bad("version-0", "no format has the number 0", "tkt0_"+good[5:])
	bad("version-leading-zero", "a number does not begin with 0", "tkt01_"+good[5:])
	bad("version-1000", "a number has at most three digits", "tkt1000_"+good[5:])
	bad("version-none", "no number", "tkt_"+good[5:])
	bad("version-letter", "not a number", "tkt2a_"+good[5:])
	bad("version-minus", "not a number", "tkt-2_"+good[5:])
	bad("version-digit", "a digit of another script is no digit", "tkt٢_"+good[5:])
	bad("version-no-mark", "no '_' after the number", "tkt2"+good[5:])
	bad("version-inside", "an unsupported version is at the beginning", "see tkt3_AAAA")
	bad("version-next-line", "an unsupported version is at the beginning", "see\ntkt3_AAAA")
	bad("version-too-long", "an unsupported version of 2,049 characters", "tkt3_"+strings.Repeat("A", 2044))
	bad("version-too-many-bytes", "an unsupported version of 1,505 characters, which are 3,005 bytes in UTF-8",
		"tkt3_"+strings.Repeat("é", 1500))
	unsupported := func(name, comment, ticket string) {
		raw("unsupported-version"+name, "unsupported_version", comment, ticket)
	}
	unsupported("", "format 2", "tkt2_"+good[5:])
	unsupported("-10", "two digits", "tkt10_"+good[5:])
	unsupported("-999", "three digits", "tkt999_"+good[5:])
	unsupported("-empty", "the rest does not matter", "tkt3_")
	unsupported("-2-empty", "the rest of format 2 does not matter without its keys", "tkt2_")
	unsupported("-not-base64", "the rest does not matter", "tkt3_=== é")
	unsupported("-longest", "2,048 characters", "tkt3_"+strings.Repeat("A", 2043))

	bad("unknown-key-bits", "dangling bits come before the unknown key", unknown[:len(unknown)-1]+"B"+"=")
	bad("unknown-key-padding", "base64 comes before the unknown key", unknown+"=")
}

const alphabet64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// tail returns a ticket whose last part has so many characters, with a bit set that must be 0.
func tail(characters, bit int) string {
	for n := 1; ; n++ {
		s, _ := vectorSeal("tail", primaryKey, vectorRawKey(primaryKey), "prod", agentWith(fd(1, "commbox")+fd(2,
			strings.Repeat("u", n))))
		if len(s[5:])%4 == characters {
			return s[:len(s)-1] + string(alphabet64[strings.IndexByte(alphabet64, s[len(s)-1])|bit])
		}
	}
}

// oneMore returns a ticket with a character too many, which alone stands for 6 bits.
func oneMore() string {
	for n := 1; ; n++ {
		s, _ := vectorSeal("tail", primaryKey, vectorRawKey(primaryKey), "prod", agentWith(fd(1, "commbox")+fd(2,
			strings.Repeat("u", n))))
		if len(s[5:])%4 == 0 {
			return s + "A"
		}
	}
}

// keys are tickets that no key of ours opens.
func (s *scene) keys() {
	agent := agentPayload().bytes()
	good, _ := vectorSeal("good-reference", primaryKey, vectorRawKey(primaryKey), "prod", agent)
	other, _ := vectorSeal("good-reference", otherKey, vectorRawKey(otherKey), "prod", agent)
	s.add("unknown-key", "unknown_key", "the keyset has no such key", agent, under(foreignKey))
	s.add("unknown-key-disabled", "unknown_key", "the key is disabled", agent, under(disabledKey))
	s.add("unknown-key-malformed", "unknown_key", "the key comes before the payload, which nobody can read",
		[]byte{}, under(foreignKey))
	raw := func(name, comment, ticket string) {
		s.add("forged-"+name, "forged", comment, nil, func(v *vector) { v.ticket = ticket })
	}
	raw("changed", "one character changed", good[:60]+string(rune(good[60]^1))+good[61:])
	raw("truncated", "four characters cut off", good[:len(good)-4])
	raw("extended", "four characters more", good+"AAAA")
	raw("key-id", "the key ID exchanged for another enabled key's", other[:12]+good[12:])
	raw("key-only", "nothing after the key ID", "tkt1_AQoLDAE")
	raw("no-iv", "11 bytes after the key ID", "tkt1_AQoLDAEAAAAAAAAAAAAAAA")
	raw("no-tag", "15 bytes after the IV", "tkt1_AQoLDAE"+strings.Repeat("A", 36))
	raw("tag-of-zeros", "12 bytes of IV and 16 of tag, all zero", "tkt1_AQoLDAE"+strings.Repeat("A", 38)[:37])
	for _, a := range []struct {
		name string
		key  uint32
	}{{"xaes", xaesKey}, {"gcm-siv", sivKey}, {"xchacha", xchachaKey}} {
		ticket, _ := vectorSeal("good-"+a.name, a.key, vectorRawKey(a.key), "prod", agent)
		raw(a.name+"-changed", "one character changed", ticket[:60]+string(rune(ticket[60]^1))+ticket[61:])
		raw(a.name+"-short", "too short for an IV and a tag", ticket[:41])
		s.add("forged-"+a.name+"-realm", "forged", "sealed in another realm", agent, under(a.key), realm("prod", "test"))
	}
	ticket, _ := vectorSeal("good-xaes", xaesKey, vectorRawKey(xaesKey), "prod", agent)
	raw("xaes-salt", "a character of the salt changed", ticket[:13]+string(rune(ticket[13]^1))+ticket[14:])
	s.add("forged-realm", "forged", "sealed in another realm", agent, realm("prod", "test"))
	s.add("forged-realm-empty", "forged", "sealed in the empty realm", agent, realm("prod", ""))
	s.add("forged-realm-none", "forged", "sealed in a realm, and the verifier has the empty one", agent, realm("", "prod"))
	s.add("forged-realm-case", "forged", "a realm is compared to the letter", agent, realm("prod", "Prod"))
	s.add("forged-realm-longer", "forged", "sealed in a realm that begins with ours", agent, realm("prod", "prod2"))
	s.add("forged-malformed", "forged", "another realm's comes before its payload", []byte{}, realm("prod", "test"))
}

// payloads are sealed with our key, and no issuer makes them.
func (s *scene) payloads() {
	agent, administrator := agentPayload(), administratorPayload()
	bad := func(name, comment string, payload []byte, change ...func(*vector)) {
		s.add("payload-"+name, "malformed", comment, payload, change...)
	}
	const bu = "\x01\x01b\x02\x01u" // brand b, username u
	bad("empty", "no payload", []byte{})
	bad("short", "the header lacks a byte", agent.bytes()[:27])
	bad("header-only", "no fields", agent.bytes()[:28])
	bad("header-only-administrator", "no fields", administrator.bytes()[:28], anyBrand)
	for bit := 2; bit < 8; bit++ {
		name := map[bool]string{true: "flag", false: fmt.Sprintf("flag-%d", bit)}[bit == 2]
		bad(name, "unknown flag", edit(agent, func(p *pl) { p.flags = 1 | 1<<bit }))
	}
	for _, a := range []byte{0, 4, 5, 129, 255} {
		bad(fmt.Sprintf("audience-%d", a), "no audience has this number", edit(agent, func(p *pl) { p.audience = a }))
	}
	bad("lifetime-0", "lifetime zero", edit(agent, func(p *pl) { p.lifetime = 0 }))

	// Tags and lengths.
	bad("unknown-tag", "tag 11", agentWith(agent.fields+fd(11, "x")))
	for _, tag := range []uint64{0, 12, 32, 63, 65, 66, 127, 128, 129, 192, 256, 16383} {
		fields := bu + uv(tag) + "\x01x"
		if tag == 0 {
			fields = uv(tag) + "\x01x" + bu
		}
		bad(fmt.Sprintf("tag-%d", tag), "no field has this tag", agentWith(fields))
	}
	for _, power := range []int{7, 8, 14, 16, 21, 28, 31, 32, 35, 53} {
		bad(fmt.Sprintf("tag-2-power-%d", power), fmt.Sprintf("tag 2^%d + 3, which is no email", power),
			agentWith(bu+uv(1<<power+3)+"\x01x"))
		bad(fmt.Sprintf("length-2-power-%d", power), fmt.Sprintf("a length of 2^%d + 1", power),
			agentWith(bu+"\x03"+uv(1<<power+1)+"x"))
	}
	bad("tag-2-power-64", "tag 2^64 + 3", agentWith(bu+"\x83\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01x"))
	bad("length-2-power-64", "a length of 2^64 + 1", agentWith(bu+"\x03\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02x"))
	bad("tag-order", "descending tags", agentWith("\x02\x01u\x01\x01b"))
	bad("tag-repeated", "brand twice", agentWith("\x01\x01b"+bu))
	bad("tag-repeated-last", "actor twice", agentWith(bu+fd(10, "a")+fd(10, "a")))
	bad("tag-not-minimal", "tag 1 in two bytes", agentWith("\x81\x00\x01b\x02\x01u"))
	bad("tag-not-minimal-3", "tag 3 in three bytes", agentWith(bu+"\x83\x80\x00\x01e"))
	bad("tag-unfinished", "a tag that does not end", agentWith(bu+"\x83"))
	bad("tag-alone", "a tag without a length", agentWith(bu+"\x03"))
	bad("length-not-minimal", "length 1 in two bytes", agentWith("\x01\x81\x00b\x02\x01u"))
	bad("length-not-minimal-3", "length 1 in three bytes", agentWith(bu+"\x03\x81\x80\x00e"))
	bad("length-unfinished", "a length that does not end", agentWith(bu+"\x03\x81"))
	bad("length-past-end", "a length that reaches past the end", agentWith("\x01\x01b\x02\x09u"))
	bad("length-past-end-by-1", "a length that reaches one byte past the end", agentWith("\x01\x01b\x02\x02u"))
	bad("empty-value", "an empty value: absent is absent", agentWith(bu+fd(3, "")))
	bad("empty-value-last", "an empty value: absent is absent", agentWith(bu+fd(10, "")))
	bad("trailing-byte", "a byte too many", agentWith(agent.fields+"\x40"))
	bad("trailing-zero", "a byte too many", agentWith(agent.fields+"\x00"))
	bad("trailing-payload", "a second payload after the first", append(agent.bytes(), agent.bytes()...))
	bad("field-after-claim", "a field after a claim", agentWith(bu+fc("a", "1")+fd(3, "e")))
	for _, f := range limits {
		bad("too-long-"+f.name, fmt.Sprintf("%d bytes", f.most+1), f.in(f.value(f.most+1)), in(f.value(f.most+1)), f.use)
	}
	bad("too-long", "brand of 65 bytes", agentWith(fd(1, strings.Repeat("b", 65))+fd(2, "u")), anyBrand)
	bad("too-long-in-bytes", "33 characters of 2 bytes", agentWith(fd(1, strings.Repeat("é", 33))+fd(2, "u")), anyBrand)
	bad("too-long-phone", "a telephone number of 33 bytes", agentWith(bu+fd(7, "+"+strings.Repeat("7", 32))))

	// Audiences.
	bad("no-brand", "no brand", agentWith(fd(2, "u")), anyBrand)
	bad("no-brand-customer", "no brand", customerWith(fd(3, "e")), anyBrand)
	bad("agent-no-username", "an agent without username", agentWith(fd(1, "b")+fd(3, "e")))
	bad("agent-channel", "an agent with a channel", agentWith(bu+fd(9, "c")), in("c"))
	bad("agent-override", "an agent with override-user-info", edit(agent, func(p *pl) { p.flags = 2 }))
	bad("agent-override-once", "an agent with override-user-info, once", edit(agent, func(p *pl) { p.flags = 3 }))
	bad("customer-username", "a customer with a username", customerWith(bu+fd(3, "e")))
	bad("customer-nobody", "a customer without strong identifier", customerWith(fd(1, "b")+fd(5, "Jane")))
	bad("customer-brand-only", "a customer without any detail", customerWith(fd(1, "b")))
	bad("administrator-many", "an administrator's ticket that works many times",
		edit(administrator, func(p *pl) { p.flags = 0 }), anyBrand)
	bad("administrator-override", "an administrator with override-user-info",
		edit(administrator, func(p *pl) { p.flags = 3 }), anyBrand)
	bad("administrator-no-username", "an administrator without username", administratorWith(fd(1, "b")))
	for _, f := range limits[2:9] {
		value := map[bool]string{true: "+1", false: "c"}[f.name == "phone1"]
		bad("administrator-"+f.name, "an administrator with a person's details, or a channel",
			administratorWith(fd(2, "u")+fd(f.tag, value)), anyBrand, in("c"))
	}

	// Claims.
	bad("claim-order", "claims in descending order", agentWith(bu+fc("b", "1")+fc("a", "1")))
	bad("claim-order-bytes", "'_' comes after '.' as a byte", agentWith(bu+fc("a_", "1")+fc("a.", "1")))
	bad("claim-order-numbers", "names are texts: 9 comes after 10", agentWith(bu+fc("9", "1")+fc("10", "1")))
	bad("claim-order-prefix", "a name comes before those that it begins", agentWith(bu+fc("ab", "1")+fc("a", "1")))
	bad("claim-repeated", "one claim twice", agentWith(bu+fc("a", "1")+fc("a", "1")))
	bad("claim-repeated-other", "one claim with two values", agentWith(bu+fc("a", "1")+fc("a", "2")))
	bad("claim-name", "a claim's name in capitals", agentWith(bu+fc("A", "1")))
	for name, character := range map[string]string{"space": " ", "comma": ",", "plus": "+", "slash": "/", "colon": ":",
		"at": "@", "capital-z": "Z", "bracket": "[", "caret": "^", "backquote": "`", "brace": "{", "tilde": "~",
		"delete": "\x7f",
		"nul":    "\x00", "lf": "\n", "latin-1": "\xe9", "utf8": "é"} {
		bad("claim-name-"+name, "a character that no claim's name has", agentWith(bu+fc("a"+character, "1")))
	}
	bad("claim-name-empty", "a claim without name", agentWith(bu+fc("", "1")))
	bad("claim-name-65", "a claim's name of 65 bytes", agentWith(bu+fc(strings.Repeat("n", 65), "1")))
	bad("claim-name-128", "a claim's name of 128 bytes", agentWith(bu+fc(strings.Repeat("n", 128), "1")))
	bad("claim-name-past-end", "a claim's name that reaches past the end", agentWith(bu+fd(64, "\x05ab")+fd(64, "\x01z1")))
	bad("claim-name-past-end-by-1", "a claim's name that reaches one byte past the end", agentWith(bu+fd(64, "\x03ab")))
	bad("claim-name-length-not-minimal", "a name's length in two bytes", agentWith(bu+fd(64, "\x81\x00a1")))
	bad("claim-name-length-unfinished", "a name's length that does not end", agentWith(bu+fd(64, "\x81")))
	bad("claim-no-value", "a claim without value", agentWith(bu+fd(64, "\x01a")))
	bad("claim-value-513", "a claim's value of 513 bytes", agentWith(bu+fc("a", strings.Repeat("v", 513))))
	bad("claim-value-control", "a control character in a claim's value", agentWith(bu+fc("a", "\x1b[31m")))
	bad("claim-value-utf8", "invalid UTF-8 in a claim's value", agentWith(bu+fc("a", "\xff")))
	bad("claim-empty", "an empty field of a claim", agentWith(bu+"\x40\x00"))
}

// values are fields that no text has.
func (s *scene) values() {
	bad := func(name, comment, value string) {
		s.add("payload-"+name, "malformed", comment, agentWith(fd(1, "b")+fd(2, value)))
	}
	bad("control", "a newline in a text", "u\n")
	for _, c := range []rune{0, 1, '\t', '\r', 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9f, '\u2029'} {
		bad(fmt.Sprintf("control-%04x", c), fmt.Sprintf("U+%04X in a text", c), "u"+string(c)+"u")
	}
	bad("line-separator", "U+2028 in a text", "u\u2028")
	bad("utf8", "invalid UTF-8", "u\xff")
	for name, value := range map[string]string{"continuation": "u\x80", "cut-off": "u\xc3",
		"cut-off-3": "\xe6\x97", "overlong": "\xc0\xaf",
		"overlong-3": "\xe0\x80\xaf", "surrogate": "\xed\xa0\x80", "too-large": "\xf4\x90\x80\x80", "latin-1": "Zo\xeb",
		"pair": "\xed\xa0\xbd\xed\xb8\x80", "zero": "\xc0\x80", "five": "\xf8\x88\x80\x80\x80"} {
		bad("utf8-"+name, "invalid UTF-8", value)
	}
	for _, f := range limits {
		if f.name == "phone1" || f.name == "username" {
			continue
		}
		s.add("payload-control-"+f.name, "malformed", "U+007F in a text", f.in("\x7f"), in("\x7f"), anyBrand)
	}
	for name, value := range map[string]string{"": "212-123-4567", "-zero": "+0123456", "-plus": "+",
		"-no-plus": "442501234567",
		"-two":     "++1", "-space": "+1 2", "-space-after": "+12 ", "-letter": "+12a", "-hyphen": "+12-3",
		"-digits": "+٣٤", "-zero-alone": "+0",
		"-minus": "-12", "-wide": "＋12"} {
		s.add("payload-phone"+name, "malformed", "a telephone number not in E.164", agentWith(fd(1, "b")+fd(2,
			"u")+fd(7, value)))
	}
}

// refusals are of genuine tickets.
func (s *scene) refusals() {
	agent, customer, administrator := agentPayload(), customerPayload(), administratorPayload()
	channel := func(p *pl) { p.fields += fd(9, "web") }
	s.add("not-yet-valid", "not_yet_valid", "issued one millisecond more than the skew ahead", agent.bytes(),
		nowAt(-10_001))
	s.add("not-yet-valid-fraction", "not_yet_valid", "issued a tenth of a millisecond more than the skew ahead",
		agent.bytes(),
		nowAt(-10_000.1))
	s.add("not-yet-valid-no-skew", "not_yet_valid", "a verifier without skew, one millisecond before the time of issue",
		agent.bytes(), nowAt(-1), func(v *vector) { v.skew = 0 })
	s.add("not-yet-valid-10889", "not_yet_valid", "issued at the last time that a payload can have",
		edit(agent, func(p *pl) { p.issued = 1<<48 - 1 }))
	s.add("not-yet-valid-2-power-47", "not_yet_valid", "issued 2^47 milliseconds after 1970",
		edit(agent, func(p *pl) { p.issued = 1 << 47 }))
	s.add("expired", "expired", "exactly at expiry plus skew", agent.bytes(), nowAt(70_000))
	s.add("expired-fraction", "expired", "a fraction of a millisecond after expiry plus skew", agent.bytes(),
		nowAt(70_000.1))
	s.add("expired-no-skew", "expired", "a verifier without skew, exactly at expiry", agent.bytes(), nowAt(60_000),
		func(v *vector) { v.skew = 0 })
	s.add("expired-many", "expired", "a ticket for many times expires too", edit(agent,
		func(p *pl) { p.flags = 0 }), nowAt(70_000))
	s.add("expired-after-claim", "expired", "the claim took until expiry plus skew", agent.bytes(),
		func(v *vector) { v.after = at(70_000) })
	s.add("expired-2-power-31", "expired", "2^31 milliseconds after issue", agent.bytes(), nowAt(1<<31))
	s.add("lifetime-too-long", "lifetime_too_long", "one millisecond over the verifier's maximum",
		edit(agent, func(p *pl) { p.lifetime = 900_001 }))
	s.add("lifetime-too-long-2-power-31", "lifetime_too_long", "a lifetime of 2^31 milliseconds",
		edit(agent, func(p *pl) { p.lifetime = 1 << 31 }))
	s.add("lifetime-too-long-most", "lifetime_too_long", "the longest lifetime that a payload can have",
		edit(agent, func(p *pl) { p.lifetime = 1<<32 - 1 }))
	s.add("lifetime-too-long-short-maximum", "lifetime_too_long", "a verifier whose maximum is 59,999 ms",
		agent.bytes(), longest(59_999))
	s.add("lifetime-too-long-administrator", "lifetime_too_long", "one millisecond over the maximum for administrators",
		edit(administrator, func(p *pl) { p.lifetime = 300_001 }), anyBrand)
	s.add("wrong-brand", "wrong_brand", "brand acme", agentWith(fd(1, "acme")+fd(2, "u")))
	s.add("wrong-brand-case", "wrong_brand", "brands are compared to the letter", agentWith(fd(1, "Commbox")+fd(2, "u")))
	s.add("wrong-brand-space", "wrong_brand", "brands are compared to the letter", agentWith(fd(1, "commbox ")+fd(2, "u")))
	s.add("wrong-brand-prefix", "wrong_brand", "brands are compared whole", agentWith(fd(1, "comm")+fd(2, "u")))
	s.add("wrong-brand-none", "wrong_brand", "an administrator without a brand, at a verifier for certain brands",
		administrator.bytes())
	s.add("wrong-audience", "wrong_audience", "an agent's ticket at the chat", agent.bytes(), for_("customer"))
	s.add("wrong-audience-customer", "wrong_audience", "a customer's ticket at the management login",
		customer.bytes(), for_("agent"))
	s.add("wrong-audience-administrator", "wrong_audience", "an administrator's ticket at the management login",
		administrator.bytes(), for_("agent"), anyBrand)
	s.add("wrong-audience-any", "wrong_audience", "an administrator's ticket where agents and customers may enter",
		administrator.bytes(), for_("any"), anyBrand)
	s.add("wrong-audience-console", "wrong_audience", "an agent's ticket at the administrators' login", agent.bytes(),
		for_("administrator"))
	s.add("wrong-channel", "wrong_channel", "bound to another channel", edit(customer, channel), in("app"))
	s.add("wrong-channel-case", "wrong_channel", "channels are compared to the letter", edit(customer, channel), in("Web"))
	s.add("wrong-channel-none", "wrong_channel", "bound to a channel, and none is entered", edit(customer, channel))
	s.add("already-used", "already_used", "redeemed before", agent.bytes(), spent)
	s.add("already-used-customer", "already_used", "a customer's, redeemed before", edit(customer,
		func(p *pl) { p.flags = 1 }), spent)
}

// pairs have two faults: the order of the checks decides.
func (s *scene) pairs() {
	agent, customer := agentPayload(), customerPayload()
	stranger := agentWith(fd(1, "acme") + fd(2, "u"))
	long := func(p *pl) { p.lifetime = 900_001 }
	s.add("order-not-yet-valid-lifetime", "not_yet_valid", "and a lifetime over the maximum", edit(agent, long),
		nowAt(-10_001))
	s.add("order-not-yet-valid-audience", "not_yet_valid", "and another audience", agent.bytes(), nowAt(-10_001),
		for_("customer"))
	s.add("order-expired-lifetime", "expired", "and a lifetime over the maximum", edit(agent, long), nowAt(910_001))
	s.add("order-expired-audience", "expired", "and another audience", agent.bytes(), nowAt(70_000), for_("customer"))
	s.add("order-expired-brand", "expired", "and another brand", stranger, nowAt(70_000))
	s.add("order-expired-used", "expired", "and redeemed before", agent.bytes(), nowAt(70_000), spent)
	s.add("order-lifetime-audience", "lifetime_too_long", "and another audience", edit(agent, long), for_("customer"))
	s.add("order-lifetime-brand", "lifetime_too_long", "and another brand",
		edit(agent, func(p *pl) { p.lifetime, p.fields = 900_001, fd(1, "acme")+fd(2, "u") }))
	s.add("order-audience-brand", "wrong_audience", "and another brand", stranger, for_("customer"))
	s.add("order-audience-channel", "wrong_audience", "and another channel",
		edit(customer, func(p *pl) { p.fields += fd(9, "web") }), for_("agent"))
	s.add("order-audience-used", "wrong_audience", "and redeemed before", agent.bytes(), for_("customer"), spent)
	s.add("order-brand-channel", "wrong_brand", "and another channel", customerWith(fd(1, "acme")+fd(3, "e")+fd(9, "web")))
	s.add("order-brand-used", "wrong_brand", "and redeemed before", stranger, spent)
	s.add("order-channel-used", "wrong_channel", "and redeemed before",
		edit(customer, func(p *pl) { p.flags = 1; p.fields += fd(9, "web") }), spent)
	s.add("order-malformed-expired", "malformed", "a payload of no issuer, and expired", agentWith(fd(2, "u")),
		nowAt(70_000))
	s.add("order-forged-expired", "forged", "another realm's, and expired", agent.bytes(), realm("prod", "test"),
		nowAt(70_000))
}

// The issuers of testdata/issuers. The IDs of their keys collide.
var vectorIssuers = []string{"acme", "beta", "gamma", "delta"}

const (
	sharedKey = primaryKey // of the keyset without a name and of all four issuers
	acmeKey   = 0x0b000001
	betaKey   = 0x0c000001
	halfKey   = 0x0b000040 // disabled at acme, enabled at beta
	acmeOld   = 0x0b000060 // disabled
	acmeXAES  = xaesKey
)

// issuerRawKey is a key of an issuer: the bytes of vectorRawKey, counted from the name's first letter.
func issuerRawKey(issuer string, id uint32) []byte { return vectorRawKey(id + uint32(issuer[0])) }

// vectorGrant is a verify.Grant in JSON, as testdata/issuers/grants.json has it.
type vectorGrant struct {
	Brands      []string `json:"brands"` // ["*"] for every brand
	Audiences   []string `json:"audiences"`
	MaxLifetime int64    `json:"maxLifetime,omitempty"` // in milliseconds
	ManyTimes   bool     `json:"manyTimes,omitempty"`
	Override    bool     `json:"override,omitempty"`
	Claims      []string `json:"claims,omitempty"`
	Until       int64    `json:"until,omitempty"` // in milliseconds since 1970
}

func (g vectorGrant) grant() Grant {
	grant := Grant{Brands: g.Brands, MaxLifetime: time.Duration(g.MaxLifetime) * time.Millisecond, ManyTimes: g.ManyTimes,
		Override: g.Override, Claims: g.Claims}
	if slices.Equal(g.Brands, []string{"*"}) {
		grant.Brands, grant.AnyBrand = nil, true
	}
	for _, a := range []token.Audience{token.Agent, token.Customer, token.Administrator} {
		if slices.Contains(g.Audiences, a.String()) {
			grant.Audiences = append(grant.Audiences, a)
		}
	}
	if g.Until != 0 {
		grant.Until = time.UnixMilli(g.Until)
	}
	return grant
}

func vectorGrants() map[string]vectorGrant {
	return map[string]vectorGrant{
		"acme": {Brands: []string{"commbox"}, Audiences: []string{"agent", "customer"}, Claims: []string{"tier"}},
		"beta": {Brands: []string{"*"}, Audiences: []string{"agent", "customer", "administrator"}, MaxLifetime: 120_000,
			ManyTimes: true, Override: true, Claims: []string{"crm", "tier"}},
		"gamma": {Brands: []string{"commbox"}, Audiences: []string{"agent"}, Until: vectorNow.UnixMilli()},
		"delta": {Brands: []string{"b", "commbox"}, Audiences: []string{"agent"}, Until: vectorNow.UnixMilli() + 30_000},
	}
}

// issuerFiles are the files of testdata/issuers beside the vectors.
func issuerFiles() map[string]string {
	files := make(map[string]string)
	write := func(name string, primary uint32, keys ...any) {
		files[name+".json"] = vectorJSON(map[string]any{"primaryKeyId": primary, "key": keys})
	}
	key := func(issuer string, id uint32, status string) any {
		return vectorEntry(id, status, issuerRawKey(issuer, id))
	}
	write("keyset", sharedKey, vectorEntry(sharedKey, "ENABLED", vectorRawKey(sharedKey)))
	write("acme", acmeKey, key("acme", acmeKey, "ENABLED"), key("acme", sharedKey, "ENABLED"), key("acme", halfKey,
		"DISABLED"),
		key("acme", acmeOld, "DISABLED"), key("acme", acmeXAES, "ENABLED"))
	write("beta", betaKey, key("beta", betaKey, "ENABLED"), key("beta", sharedKey, "ENABLED"), key("beta", halfKey,
		"ENABLED"))
	write("gamma", sharedKey, key("gamma", sharedKey, "ENABLED"))
	write("delta", sharedKey, key("delta", sharedKey, "ENABLED"))
	b, err := json.MarshalIndent(vectorGrants(), "", "  ")
	if err != nil {
		panic(err)
	}
	files["grants.json"] = string(b) + "\n"
	return files
}

// issuerVectors returns the scenarios of testdata/issuers.
func issuerVectors() []vector {
	s := &scene{brands: "b commbox"}
	agent, customer, administrator := agentPayload(), customerPayload(), administratorPayload()
	by := func(issuer string, key uint32) func(*vector) {
		return func(v *vector) { v.issuer, v.key, v.raw = issuer, key, issuerRawKey(issuer, key) }
	}
	lasting := func(p pl, ms int64) []byte { return edit(p, func(p *pl) { p.flags, p.lifetime = 1, ms }) }

	s.add("good-issuer", "good", "acme's ticket, under a key of its own", agent.bytes(), by("acme", acmeKey))
	s.add("good-issuer-xaes", "good", "acme's ticket, under a key of XAES_256_GCM", agent.bytes(), by("acme", acmeXAES))
	s.add("good-same-id-nobody", "good", "of the keyset without a name; all issuers have a key of this ID", agent.bytes())
	for _, issuer := range vectorIssuers[:2] {
		s.add("good-same-id-"+issuer, "good", "the ID of the keyset without a name, and of the other issuers", agent.bytes(),
			by(issuer, sharedKey))
	}
	s.add("good-same-id-delta", "good", "the fourth issuer with this ID", agent.bytes(), by("delta", sharedKey))
	s.add("good-same-id-disabled", "good", "the other issuer's key of this ID is disabled", agent.bytes(),
		by("beta", halfKey))
	s.add("forged-same-id-disabled", "forged", "under acme's disabled key, whose ID beta's enabled key has", agent.bytes(),
		by("acme", halfKey))
	s.add("forged-same-id", "forged", "the ID of five keys, and under none of them", agent.bytes(),
		func(v *vector) { v.raw = issuerRawKey("zeta", sharedKey) })
	s.add("unknown-key-issuer", "unknown_key", "under a disabled key, whose ID nobody else has", agent.bytes(),
		by("acme", acmeOld))
	s.add("malformed-payload-issuer", "malformed", "the payload comes before the grant", agentWith(fd(2, "u")),
		by("acme", acmeKey))
	s.add("already-used-issuer", "already_used", "redeemed before", agent.bytes(), by("acme", acmeKey), spent)

	refused := func(name, comment string, payload []byte, change ...func(*vector)) {
		s.add("issuer-not-allowed-"+name, "issuer_not_allowed", comment, payload, change...)
	}
	refused("brand", "a brand that the grant does not list", agentWith(fd(1, "b")+fd(2, "u")), by("acme", acmeKey))
	refused("brand-case", "brands are compared to the letter", agentWith(fd(1, "Commbox")+fd(2, "u")), by("acme",
		acmeKey), anyBrand)
	s.add("good-issuer-second-brand", "good", "the first brand of the grant's list", agentWith(fd(1, "b")+fd(2, "u")),
		by("delta", sharedKey))
	s.add("good-issuer-any-brand", "good", "the grant is for every brand", agentWith(fd(1, "elsewhere")+fd(2,
		"u")), by("beta", betaKey),
		anyBrand)
	s.add("good-issuer-administrator", "good", "the grant is for every brand, and so for none",
		lasting(administrator, 120_000), by("beta", betaKey), anyBrand)
	refused("audience", "administrators are not in the grant", edit(administrator, func(p *pl) {
		p.fields = fd(1,
			"commbox") + p.fields
	}),
		by("acme", acmeKey))
	refused("audience-customer", "customers are not in the grant", lasting(customer, 300_000), by("delta", sharedKey))
	s.add("good-issuer-customer", "good", "an ordinary lifetime of a customer's ticket", lasting(customer,
		300_000), by("acme", acmeKey))
	refused("lifetime", "one millisecond over the ordinary lifetime of agents", lasting(agent, 60_001), by("acme",
		acmeKey))
	refused("lifetime-customer", "one millisecond over the ordinary lifetime of customers", lasting(customer, 300_001),
		by("acme", acmeKey))
	s.add("good-issuer-lifetime", "good", "the grant's maximum", lasting(agent, 120_000), by("beta", betaKey))
	refused("lifetime-maximum", "one millisecond over the grant's maximum", lasting(agent, 120_001), by("beta", betaKey))
	s.add("good-issuer-many", "good", "the grant allows tickets for many times", edit(agent, func(p *pl) { p.flags = 0 }),
		by("beta", betaKey))
	refused("many", "the grant is for one-time tickets", edit(agent, func(p *pl) { p.flags = 0 }), by("acme", acmeKey))
	s.add("good-issuer-override", "good", "the grant allows changes of records", edit(customer,
		func(p *pl) { p.flags, p.lifetime = 3, 60_000 }),
		by("beta", betaKey))
	refused("override", "the grant allows no changes of records", edit(customer, func(p *pl) { p.flags = 3 }),
		by("acme", acmeKey))
	s.add("good-issuer-claim", "good", "the grant lists the claim", agentWith(fd(1, "commbox")+fd(2,
		"u")+fc("tier", "gold")),
		by("acme", acmeKey))
	refused("claim", "the grant does not list the claim", agentWith(fd(1, "commbox")+fd(2, "u")+fc("crm", "1")),
		by("acme", acmeKey))
	refused("second-claim", "the grant lists one of two claims",
		agentWith(fd(1, "commbox")+fd(2, "u")+fc("tier", "gold")+fc("vip", "1")), by("acme", acmeKey))
	refused("claims", "the grant lists no claims", agentWith(fd(1, "commbox")+fd(2, "u")+fc("tier", "gold")),
		by("delta", sharedKey))
	refused("until", "the grant ends at this moment", agent.bytes(), by("gamma", sharedKey))
	s.add("good-issuer-until", "good", "the last millisecond of the grant", agent.bytes(), by("delta", sharedKey),
		nowAt(29_999))
	refused("until-later", "the grant has ended, and the ticket is in time", agent.bytes(), by("delta", sharedKey),
		nowAt(30_000))

	refused("order-not-yet-valid", "and issued in the future", lasting(agent, 60_001), by("acme", acmeKey), nowAt(-10_001))
	refused("order-expired", "and expired", lasting(agent, 60_001), by("acme", acmeKey), nowAt(80_000))
	refused("order-lifetime", "and over the verifier's maximum", lasting(agent, 900_001), by("acme", acmeKey))
	refused("order-audience", "and another audience than is entered", lasting(agent, 60_001), by("acme", acmeKey),
		for_("customer"))
	refused("order-brand", "and another brand than the verifier accepts", agentWith(fd(1, "elsewhere")+fd(2, "u")),
		by("acme", acmeKey))
	s.add("order-granted-expired", "expired", "the grant allows it", lasting(agent, 60_000), by("acme", acmeKey),
		nowAt(70_000))
	s.add("order-granted-brand", "wrong_brand", "the grant allows it", agentWith(fd(1, "elsewhere")+fd(2, "u")),
		by("beta", betaKey))
	s.add("order-granted-many-expired", "expired", "many times, by the grant", edit(agent,
		func(p *pl) { p.flags = 0 }), by("beta", betaKey),
		nowAt(70_000))
	return s.all
}
