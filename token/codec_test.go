package token

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// header is a payload's first 28 bytes.
func header(flags, audience byte) string {
	return string([]byte{flags, audience}) + "0123456789abcdef" + "\x01\x94\x7e\xf1\xc0\x5e" + "\x00\x00\xea\x60"
}

func tlv(tag byte, value string) string { return string([]byte{tag, byte(len(value))}) + value }

func claim(name, value string) string {
	return tlv(tagClaim, string([]byte{byte(len(name))})+name+value)
}

// R3 seen from inside: what a key holder could seal, but no Issuer does, is
// refused, so that one Ticket has one payload.
func TestDecodeRefuses(t *testing.T) {
	agent, customer := tlv(1, "b")+tlv(2, "u"), tlv(1, "b")+tlv(3, "e")
	for name, p := range map[string]string{
		"empty":                         "",
		"short header":                  header(0, 1)[:27],
		"header only":                   header(0, 1),
		"unknown flag":                  header(4, 1) + agent,
		"top flag":                      header(0x80, 1) + agent,
		"audience 0":                    header(0, 0) + agent,
		"audience 4":                    header(0, 4) + agent,
		"administrator, many times":     header(0, 3) + tlv(2, "u"),
		"administrator with override":   header(3, 3) + tlv(2, "u"),
		"administrator without name":    header(1, 3) + tlv(1, "b"),
		"administrator with channel":    header(1, 3) + tlv(2, "u") + tlv(9, "c"),
		"administrator with details":    header(1, 3) + agent + tlv(3, "e"),
		"lifetime 0":                    header(0, 1)[:24] + "\x00\x00\x00\x00" + agent,
		"tag 0":                         header(0, 1) + tlv(0, "x") + agent,
		"tag 11":                        header(0, 1) + agent + tlv(11, "x"),
		"tag 63":                        header(0, 1) + agent + tlv(63, "x"),
		"tag 65":                        header(0, 1) + agent + tlv(65, "x"),
		"repeated tag":                  header(0, 1) + agent + tlv(2, "u"),
		"descending tags":               header(0, 1) + tlv(2, "u") + tlv(1, "b"),
		"empty value":                   header(0, 1) + agent + tlv(3, ""),
		"length past the end":           header(0, 1) + agent + "\x03\x05abcd",
		"tag without length":            header(0, 1) + agent + "\x03",
		"trailing byte":                 header(0, 1) + agent + "\x00",
		"tag not minimal":               header(0, 1) + "\x81\x00\x01b" + tlv(2, "u"),
		"length not minimal":            header(0, 1) + "\x01\x81\x00b" + tlv(2, "u"),
		"endless length":                header(0, 1) + "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"unfinished uvarint":            header(0, 1) + agent + "\x03\xff",
		"brand too long":                header(0, 1) + tlv(1, strings.Repeat("b", 65)) + tlv(2, "u"),
		"newline in a text":             header(0, 1) + tlv(1, "b\n") + tlv(2, "u"),
		"U+2028 in a text":              header(0, 1) + tlv(1, "b\u2028") + tlv(2, "u"),
		"invalid UTF-8":                 header(0, 1) + tlv(1, "b\xff") + tlv(2, "u"),
		"no brand":                      header(0, 1) + tlv(2, "u"),
		"agent without username":        header(0, 1) + tlv(1, "b") + tlv(3, "e"),
		"agent with channel":            header(0, 1) + agent + tlv(9, "c"),
		"agent with override":           header(2, 1) + agent,
		"customer with username":        header(0, 2) + agent + tlv(3, "e"),
		"customer without identifier":   header(0, 2) + tlv(1, "b") + tlv(5, "John"),
		"phone without plus":            header(0, 2) + tlv(1, "b") + tlv(7, "44"),
		"claims descending":             header(0, 1) + agent + claim("b", "1") + claim("a", "2"),
		"claim repeated":                header(0, 1) + agent + claim("a", "1") + claim("a", "1"),
		"claim without name":            header(0, 1) + agent + claim("", "1"),
		"claim without value":           header(0, 1) + agent + claim("a", ""),
		"claim name in capitals":        header(0, 1) + agent + claim("A", "1"),
		"claim name past the end":       header(0, 1) + agent + tlv(tagClaim, "\x05ab"),
		"claim name length not minimal": header(0, 1) + agent + tlv(tagClaim, "\x81\x00ab"),
		"claim value with control":      header(0, 1) + agent + claim("a", "\x1b[31m"),
		"claim value too long":          header(0, 1) + agent + "\x40\x83\x04\x01a" + strings.Repeat("v", 513),
		"field after claim":             header(0, 1) + agent + claim("a", "1") + tlv(3, "e"),
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorIs(t, new(Ticket).decodePayload(p), errPayload)
		})
	}
	for name, p := range map[string]string{
		"agent":      header(1, 1) + agent,
		"customer":   header(3, 2) + customer,
		"two claims": header(0, 1) + agent + claim("a", "1") + claim("b", "2"),
		"long claim": header(0, 1) + agent + "\x40\x82\x04\x01a" + strings.Repeat("v", 512),
	} {
		t.Run(name, func(t *testing.T) {
			var tk Ticket
			require.NoError(t, tk.decodePayload(p))
			assert.Equal(t, p, string(tk.appendPayload(nil)))
		})
	}
}

// setText sets the i-th of a ticket's fields.
func setText(t *Ticket, i int, v string) {
	*t.texts()[i] = v
}

// draws is a stream of SHAKE-128, from which random tickets are drawn. SPEC.md describes each draw,
// so that other implementations make the same tickets.
type draws struct{ *sha3.SHAKE }

func newDraws() draws {
	d := draws{sha3.NewSHAKE128()}
	_, _ = d.Write([]byte("admitone/ticket/1 random tickets"))
	return d
}

func (d draws) take(size int) []byte {
	b := make([]byte, size)
	_, _ = d.Read(b)
	return b
}

func (d draws) draw(n int) int { return int(binary.BigEndian.Uint32(d.take(4)) % uint32(n)) }

func (d draws) text(most int) string {
	if d.draw(4) > 0 {
		most = min(most, 20)
	}
	size, alphabet := 1+d.draw(most), []rune("abcXYZ019 .@-_/<>&%é日😀")
	for s := "x"; ; {
		longer := s + string(alphabet[d.draw(len(alphabet))])
		if len(longer) > size {
			return s
		}
		s = longer
	}
}

func (d draws) phone() string {
	s := "+" + strconv.Itoa(1+d.draw(9))
	for range d.draw(31) {
		s += strconv.Itoa(d.draw(10))
	}
	return s
}

// ticket returns the next valid ticket.
func (d draws) ticket() *Ticket {
	tk := &Ticket{Audience: Audience(1 + d.draw(3))}
	once, override := d.draw(2) == 1, d.draw(2) == 1
	tk.OneTime = once || tk.Audience == Administrator
	tk.OverrideUserInfo = override && tk.Audience == Customer
	copy(tk.ID[:], d.take(16))
	tk.IssuedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, d.take(6)...)))).UTC()
	tk.Lifetime = time.Duration(1+d.draw(maxLifetime)) * time.Millisecond
	// For each field, whether an agent, a customer and an administrator has it: yes, no, or as drawn.
	for i, has := range []string{"yyd", "yny", "ddn", "dyn", "ddn", "ddn", "ddn", "ddn", "ndn", "ddd"} {
		if h := has[tk.Audience-1]; h == 'n' || h == 'd' && d.draw(2) == 0 {
			continue
		}
		if fields[i].name == "phone1" {
			setText(tk, i, d.phone())
		} else {
			setText(tk, i, d.text(fields[i].max))
		}
	}
	for range d.draw(4) {
		if tk.Claims == nil {
			tk.Claims = map[string]string{}
		}
		name := string([]byte{'a' + byte(d.draw(26)), "_.-0"[d.draw(4)]})
		tk.Claims[name] = d.text(60)
	}
	return tk
}

// The accumulated hash pins the encoding of many tickets at once. SPEC.md publishes it, with each draw.
func TestPayloadRoundTrip(t *testing.T) {
	d, sum := newDraws(), sha256.New()
	for range 10_000 {
		tk := d.ticket()
		require.NoError(t, tk.Validate())
		p := string(tk.appendPayload(nil))
		sum.Write([]byte(p))
		var got Ticket
		require.NoError(t, got.decodePayload(p))
		require.Equal(t, tk, &got)
	}
	assert.Equal(t, "a3365758dcef7ebedf8087da4c852f61b41a673390557b11833175ca6988e6eb", hex.EncodeToString(sum.Sum(nil)))
}

// FuzzDecodePayload: whatever decodes is valid and encodes to the same bytes.
func FuzzDecodePayload(f *testing.F) {
	d := newDraws()
	for range 50 {
		f.Add(d.ticket().appendPayload(nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var tk Ticket
		if tk.decodePayload(string(p)) != nil {
			return
		}
		require.NoError(t, tk.Validate())
		require.Equal(t, p, tk.appendPayload(nil))
	})
}

// FuzzOpen: no string but the issuer's opens.
func FuzzOpen(f *testing.F) {
	keys := newKeyset(f, 1)
	s, err := newIssuer(f, keys, "").Issue(reference())
	require.NoError(f, err)
	a := ad(f, "")
	f.Add(s)
	f.Add(s + "=")
	f.Add("tkt2_AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, in string) {
		if Open(keys, a, in, new(Ticket)) == nil {
			require.Equal(t, s, in)
		}
	})
}
