package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/token/internal/armor"
)

var t0 = time.Date(2025, 1, 19, 14, 18, 47, 630_000_000, time.UTC)

// reference is the request of the ticket API's documentation.
func reference() *Ticket {
	return &Ticket{
		Audience: Agent, OneTime: true,
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", UniqueID: "123456",
		FirstName: "John", LastName: "Doe", Phone1: "+442501234567",
	}
}

// newHandle returns a keyset of n fresh keys, the last of them primary.
func newHandle(t testing.TB, n int, template *tinkpb.KeyTemplate) *keyset.Handle {
	t.Helper()
	m := keyset.NewManager()
	for range n {
		id, err := m.Add(template)
		require.NoError(t, err)
		require.NoError(t, m.SetPrimary(id))
	}
	h, err := m.Handle()
	require.NoError(t, err)
	return h
}

func newKeyset(t testing.TB, n int) *Keyset {
	t.Helper()
	k, err := NewKeyset(newHandle(t, n, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	return k
}

func newIssuer(t testing.TB, s tink.AEAD, realm string) *Issuer {
	t.Helper()
	i, err := NewIssuer(Config{Sealer: s, Realm: realm, Now: func() time.Time { return t0 }})
	require.NoError(t, err)
	return i
}

func ad(t testing.TB, realm string) []byte {
	t.Helper()
	b, err := AssociatedData(realm)
	require.NoError(t, err)
	return b
}

func TestIssueOpen(t *testing.T) {
	keys := newKeyset(t, 3)
	issuer := newIssuer(t, keys, "prod")
	full := &Ticket{
		Audience: Customer, OverrideUserInfo: true, Lifetime: 90 * time.Second,
		Brand: strings.Repeat("b", 64), Email: strings.Repeat("é", 127), UniqueID: strings.Repeat("u", 255),
		FirstName: strings.Repeat("f", 100), LastName: strings.Repeat("l", 100), Phone1: "+" + strings.Repeat("1", 31),
		Remark: "<script>alert('日本')</script>", Channel: "web", Actor: "k1",
		Claims: map[string]string{"z": "last", "a.b-c_0": "first", "crm": "42"},
	}
	for name, want := range map[string]*Ticket{
		"reference":       reference(),
		"every field":     full,
		"smallest agent":  {Audience: Agent, Brand: "b", Username: "u"},
		"customer, email": {Audience: Customer, Brand: "b", Email: "e"},
		"customer, id":    {Audience: Customer, Brand: "b", UniqueID: "0"},
		"customer, phone": {Audience: Customer, Brand: "b", Phone1: "+1"},
		"administrator":   {Audience: Administrator, OneTime: true, Username: "u"},
		"administrator, all": {
			Audience: Administrator, OneTime: true, Brand: "b", Username: "u", Actor: "k1", Claims: map[string]string{"a": "1"},
		},
		"longest one-time": {
			Audience: Customer, OneTime: true, Brand: "b", UniqueID: "0", Remark: strings.Repeat("r", 512),
			Claims: map[string]string{"a": strings.Repeat("v", 512)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := issuer.Issue(want)
			require.NoError(t, err)
			var got Ticket
			require.NoError(t, Open(keys, ad(t, "prod"), s, &got))
			assert.Equal(t, *want, got, "what was issued, with ID, KeyID, IssuedAt and Lifetime filled in, is what is read")
			assert.Equal(t, t0, got.IssuedAt)
			assert.NotZero(t, got.ID)
			assert.LessOrEqual(t, len(s), armor.MaxLength)
			assert.Regexp(t, `^`+Pattern+`$`, s)
			id, err := UnverifiedKeyID(s)
			require.NoError(t, err)
			assert.Equal(t, got.KeyID, id)
		})
	}
	s, err := issuer.Issue(reference())
	require.NoError(t, err)
	assert.LessOrEqual(t, len(s), 180, "the reference request's ticket")
}

func TestIssueFillsIn(t *testing.T) {
	issuer := newIssuer(t, newKeyset(t, 1), "")
	a, c := reference(), &Ticket{Audience: Customer, Brand: "b", Email: "e"}
	admin := &Ticket{Audience: Administrator, OneTime: true, Username: "u"}
	_, err := issuer.Issue(admin)
	require.NoError(t, err)
	assert.Equal(t, AdministratorLifetime, admin.Lifetime)
	_, err = issuer.Issue(a)
	require.NoError(t, err)
	_, err = issuer.Issue(c)
	require.NoError(t, err)
	assert.Equal(t, AgentLifetime, a.Lifetime)
	assert.Equal(t, CustomerLifetime, c.Lifetime)
	assert.Equal(t, t0.Add(AgentLifetime), a.Expires())

	// trap R26: an ID is always made anew; none can be chosen or left out.
	a.ID = ID{}
	first := a.ID
	_, err = issuer.Issue(a)
	require.NoError(t, err)
	second := a.ID
	_, err = issuer.Issue(a)
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
	assert.NotEqual(t, second, a.ID)

	short, err := NewIssuer(Config{Sealer: newKeyset(t, 1), MaxLifetime: 10 * time.Second})
	require.NoError(t, err)
	a.Lifetime = 0
	_, err = short.Issue(a)
	require.NoError(t, err)
	assert.Equal(t, 10*time.Second, a.Lifetime, "a default never exceeds the maximum")
}

func TestIssueRefuses(t *testing.T) {
	issuer := newIssuer(t, newKeyset(t, 1), "")
	agent := func(f func(*Ticket)) *Ticket { t := reference(); f(t); return t }
	customer := func(f func(*Ticket)) *Ticket {
		t := &Ticket{Audience: Customer, Brand: "b", Email: "e@x"}
		f(t)
		return t
	}
	administrator := func(f func(*Ticket)) *Ticket {
		t := &Ticket{Audience: Administrator, OneTime: true, Username: "u"}
		f(t)
		return t
	}
	type row struct {
		ticket *Ticket
		field  string
	}
	rows := map[string]row{
		"no audience":            {agent(func(t *Ticket) { t.Audience = 0 }), "audience"},
		"unknown audience":       {agent(func(t *Ticket) { t.Audience = 4 }), "audience"},
		"administrator, longer":  {administrator(func(t *Ticket) { t.Lifetime = 5*time.Minute + time.Millisecond }), "expiresIn"},
		"administrator, many":    {administrator(func(t *Ticket) { t.OneTime = false }), "oneTimeUse"},
		"administrator, no name": {administrator(func(t *Ticket) { t.Username = "" }), "username"},
		"administrator, channel": {administrator(func(t *Ticket) { t.Channel = "c" }), "channel"},
		"administrator, email":   {administrator(func(t *Ticket) { t.Email = "e@x" }), "email"},
		"administrator, remark":  {administrator(func(t *Ticket) { t.Remark = "r" }), "remark"},
		"administrator, change":  {administrator(func(t *Ticket) { t.OverrideUserInfo = true }), "overrideUserInfo"},
		"no brand":               {agent(func(t *Ticket) { t.Brand = "" }), "brand"},
		"agent without username": {agent(func(t *Ticket) { t.Username = "" }), "username"},
		"agent with channel":     {agent(func(t *Ticket) { t.Channel = "c" }), "channel"},
		"agent with override":    {agent(func(t *Ticket) { t.OverrideUserInfo = true }), "overrideUserInfo"},
		"customer with username": {customer(func(t *Ticket) { t.Username = "u" }), "username"},
		"customer without any":   {customer(func(t *Ticket) { t.Email = "" }), "email"},
		"local phone":            {agent(func(t *Ticket) { t.Phone1 = "212-123-4567" }), "phone1"},
		"phone without plus":     {agent(func(t *Ticket) { t.Phone1 = "442501234567" }), "phone1"},
		"phone from zero":        {agent(func(t *Ticket) { t.Phone1 = "+0123456" }), "phone1"},
		"phone of plus only":     {agent(func(t *Ticket) { t.Phone1 = "+" }), "phone1"},
		"lifetime too long":      {agent(func(t *Ticket) { t.Lifetime = MaxLifetime + 1*time.Millisecond }), "expiresIn"},
		"lifetime negative":      {agent(func(t *Ticket) { t.Lifetime = -time.Second }), "expiresIn"},
		"lifetime uneven":        {agent(func(t *Ticket) { t.Lifetime = time.Second + time.Microsecond }), "expiresIn"},
		"claim without name":     {agent(func(t *Ticket) { t.Claims = map[string]string{"": "v"} }), "claims"},
		"claim name in capitals": {agent(func(t *Ticket) { t.Claims = map[string]string{"A": "v"} }), "claims"},
		"claim name too long": {agent(func(t *Ticket) {
			t.Claims = map[string]string{strings.Repeat("a", 65): "v"}
		}), "claims"},
		"claim without value": {agent(func(t *Ticket) { t.Claims = map[string]string{"a": ""} }), "claims.a"},
		"claim too long": {agent(func(t *Ticket) {
			t.Claims = map[string]string{"a": strings.Repeat("v", 513)}
		}), "claims.a"},
		"claim with a newline": {agent(func(t *Ticket) { t.Claims = map[string]string{"a": "x\ny"} }), "claims.a"},
		"too long in all": {agent(func(t *Ticket) {
			t.Claims = map[string]string{"a": strings.Repeat("v", 512), "b": strings.Repeat("v", 512),
				"c": strings.Repeat("v", 512)}
		}), "ticket"},
	}
	for i := range fields {
		f := fields[i]
		set := func(v string) *Ticket {
			tk := agent(func(t *Ticket) {})
			if f.name == "channel" {
				tk = customer(func(t *Ticket) {})
			}
			setText(tk, i, v)
			return tk
		}
		rows[f.name+" too long"] = row{set(strings.Repeat("a", f.max+1)), f.name}
		for bad, r := range map[string]string{
			"NUL": "\x00", "CR": "\r", "LF": "\n", "TAB": "\t", "DEL": "\x7f", "NEL": "\u0085",
			"LS": "\u2028", "PS": "\u2029", "not UTF-8": "\xff", "overlong": "\xc0\x80", "surrogate": "\xed\xa0\x80",
		} {
			rows[f.name+" with "+bad] = row{set("a" + r), f.name}
		}
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s, err := issuer.Issue(row.ticket)
			assert.Empty(t, s)
			var fe *FieldError
			require.ErrorAs(t, err, &fe)
			assert.Equal(t, row.field, fe.Field)
			assert.NotEmpty(t, fe.Reason)
		})
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	keys := newKeyset(t, 1)
	for name, c := range map[string]Config{
		"no sealer":         {},
		"realm too long":    {Sealer: keys, Realm: strings.Repeat("r", 65)},
		"realm with a zero": {Sealer: keys, Realm: "a\x00b"},
		"maximum negative":  {Sealer: keys, MaxLifetime: -1},
		"maximum too long":  {Sealer: keys, MaxLifetime: 1 << 32 * time.Millisecond},
	} {
		_, err := NewIssuer(c)
		assert.Error(t, err, name)
	}
	i, err := NewIssuer(Config{Sealer: keys, Now: func() time.Time { return time.Unix(-1, 0) }})
	require.NoError(t, err)
	_, err = i.Issue(reference())
	assert.ErrorContains(t, err, "clock")
}

// turning is an AEAD that turns bad after NewIssuer has tried it.
type turning struct {
	tink.AEAD
	bad func(p []byte) ([]byte, error)
}

func (a turning) Encrypt(p, ad []byte) ([]byte, error) {
	if len(p) > headerSize {
		return a.bad(p)
	}
	return a.AEAD.Encrypt(p, ad)
}

func TestIssueWithBadSealer(t *testing.T) {
	for name, bad := range map[string]func(p []byte) ([]byte, error){
		"failing":        func([]byte) ([]byte, error) { return nil, errors.New("no key") },
		"empty":          func([]byte) ([]byte, error) { return nil, nil },
		"without prefix": func(p []byte) ([]byte, error) { return append([]byte{7}, p...), nil },
		"too long":       func([]byte) ([]byte, error) { return append([]byte{1}, make([]byte, armor.MaxSealed)...), nil },
	} {
		s, err := newIssuer(t, turning{newKeyset(t, 1), bad}, "").Issue(reference())
		assert.Error(t, err, name)
		assert.Empty(t, s, name)
	}
}

// trap R3: one sealed ticket is exactly one string.
func TestOneString(t *testing.T) {
	keys := newKeyset(t, 2)
	a := ad(t, "")
	// Lengths of all residues modulo 3, so that the last character has 0, 2 and 4 unused bits.
	for n := range 3 {
		tk := reference()
		tk.Username = "john" + strings.Repeat("x", n)
		s, err := newIssuer(t, keys, "").Issue(tk)
		require.NoError(t, err)
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. %&\r\n\t\x00\x7f\xff"
		for i := range len(s) + 1 {
			for j := range len(alphabet) {
				c := alphabet[j : j+1]
				if i < len(s) && s[i:i+1] != c {
					refused(t, keys, a, s[:i]+c+s[i+1:])
				}
				// Inserting the character that already stands there must change the ticket, too.
				refused(t, keys, a, s[:i]+c+s[i:])
			}
			if i < len(s) {
				refused(t, keys, a, s[:i])
				refused(t, keys, a, s[:i]+s[i+1:])
				refused(t, keys, a, s[i+1:])
			}
		}
		for _, v := range []string{s + "=", s + "==", s + "\r\n", s + s, " " + s, s + " ", strings.ToUpper(s),
			strings.ToLower(s), s + "AAAA"} {
			refused(t, keys, a, v)
		}
		assert.NoError(t, Open(keys, a, s, new(Ticket)), "the untouched ticket still opens")
	}
}

func refused(t *testing.T, o tink.AEAD, ad []byte, s string) {
	t.Helper()
	tk := Ticket{Brand: "before"}
	err := Open(o, ad, s, &tk)
	if err == nil || tk.Brand != "" {
		t.Fatalf("accepted %q", s)
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupportedVersion) && !errors.Is(err, ErrUnknownKey) &&
		!errors.Is(err, ErrForged) {
		t.Fatalf("%q: %v is none of Open's errors", s, err)
	}
	if len(s) > 20 && strings.Contains(err.Error(), s[5:20]) {
		t.Fatalf("the error quotes the ticket: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	keys, others := newKeyset(t, 2), newKeyset(t, 1)
	s, err := newIssuer(t, keys, "prod").Issue(reference())
	require.NoError(t, err)
	foreign, err := newIssuer(t, others, "prod").Issue(reference())
	require.NoError(t, err)
	bare := keys.aead
	for name, row := range map[string]struct {
		opener tink.AEAD
		realm  string
		ticket string
		want   error
	}{
		"empty":               {keys, "prod", "", ErrMalformed},
		"prefix only":         {keys, "prod", "tkt1_", ErrMalformed},
		"no key ID":           {keys, "prod", "tkt1_AQAAAA", ErrMalformed},
		"not a Tink prefix":   {keys, "prod", "tkt1_B" + s[6:], ErrMalformed},
		"too long":            {keys, "prod", s + strings.Repeat("A", 2048), ErrMalformed},
		"next version":        {keys, "prod", "tkt2_" + s[5:], ErrUnsupportedVersion},
		"version 12":          {keys, "prod", "tkt12_" + s[5:], ErrUnsupportedVersion},
		"version 0":           {keys, "prod", "tkt0_" + s[5:], ErrMalformed},
		"version 01":          {keys, "prod", "tkt01_" + s[5:], ErrMalformed},
		"no version":          {keys, "prod", "tkt_" + s[5:], ErrMalformed},
		"other prefix":        {keys, "prod", "jwt1_" + s[5:], ErrMalformed},
		"other case":          {keys, "prod", "TKT1_" + s[5:], ErrMalformed},
		"unknown key":         {keys, "prod", foreign, ErrUnknownKey},
		"unknown to bare":     {bare, "prod", foreign, ErrForged},
		"other realm":         {keys, "test", s, ErrForged},
		"changed":             {keys, "prod", flip(s, len(s)-2), ErrForged},
		"right key, no body":  {keys, "prod", s[:5+8], ErrForged},
		"ordinary, bare AEAD": {bare, "prod", s, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := Open(row.opener, ad(t, row.realm), row.ticket, new(Ticket))
			assert.ErrorIs(t, err, row.want)
		})
	}
	_, err = UnverifiedKeyID("tkt3_AAAA")
	assert.ErrorIs(t, err, ErrUnsupportedVersion)
	id, err := UnverifiedKeyID("tkt2_" + s[5:])
	require.NoError(t, err)
	want, err := UnverifiedKeyID(s)
	require.NoError(t, err)
	assert.Equal(t, want, id, "both formats name the key at the same place")
}

// flip changes the character at i to another of the alphabet.
func flip(s string, i int) string {
	c := byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

func TestKeysetRefuses(t *testing.T) {
	_, err := NewKeyset(nil)
	assert.Error(t, err)
	_, err = NewKeyset(newHandle(t, 1, aead.AES256GCMNoPrefixKeyTemplate()))
	assert.ErrorContains(t, err, "prefix")
	_, err = NewKeyset(newHandle(t, 1, daead.AESSIVKeyTemplate()))
	assert.ErrorContains(t, err, "AEAD")

	// A RAW key is refused even where another is primary.
	m := keyset.NewManagerFromHandle(newHandle(t, 1, aead.AES256GCMNoPrefixKeyTemplate()))
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(id))
	h, err := m.Handle()
	require.NoError(t, err)
	_, err = NewKeyset(h)
	assert.ErrorContains(t, err, "prefix")
}

// trap K6: a disabled twin with the ID of an enabled key is refused by us,
// whatever Tink makes of it.
func TestKeysetDuplicateID(t *testing.T) {
	ks := insecurecleartextkeyset.KeysetMaterial(newHandle(t, 2, aead.AES256GCMKeyTemplate()))
	ks.Key[0].KeyId = ks.Key[1].KeyId
	ks.Key[0].Status = tinkpb.KeyStatusType_DISABLED
	b, err := proto.Marshal(ks)
	require.NoError(t, err)
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(b)))
	if err == nil {
		_, err = NewKeyset(h)
	}
	assert.Error(t, err)
}

func TestKeysetHasKey(t *testing.T) {
	h := newHandle(t, 3, aead.AES256GCMKeyTemplate())
	m := keyset.NewManagerFromHandle(h)
	info := h.KeysetInfo()
	off := info.KeyInfo[0].KeyId
	require.NoError(t, m.Disable(off))
	h, err := m.Handle()
	require.NoError(t, err)
	k, err := NewKeyset(h)
	require.NoError(t, err)
	assert.True(t, k.HasKey(KeyID(info.PrimaryKeyId)))
	assert.True(t, k.HasKey(KeyID(info.KeyInfo[1].KeyId)))
	assert.False(t, k.HasKey(KeyID(off)), "a disabled key opens nothing")
	assert.False(t, k.HasKey(0))
}

func TestEveryAlgorithm(t *testing.T) {
	for name, template := range map[string]*tinkpb.KeyTemplate{
		"AES256_GCM": aead.AES256GCMKeyTemplate(), "XAES_256_GCM": aead.XAES256GCM192BitNonceKeyTemplate(),
		"AES256_GCM_SIV": aead.AES256GCMSIVKeyTemplate(), "XCHACHA20_POLY1305": aead.XChaCha20Poly1305KeyTemplate(),
		"AES256_CTR_HMAC_SHA256": aead.AES256CTRHMACSHA256KeyTemplate(),
	} {
		k, err := NewKeyset(newHandle(t, 1, template))
		require.NoError(t, err, name)
		s, err := newIssuer(t, k, "").Issue(reference())
		require.NoError(t, err, name)
		assert.NoError(t, Open(k, ad(t, ""), s, new(Ticket)), name)
	}
}

func TestChannels(t *testing.T) {
	d, err := daead.New(newHandle(t, 2, daead.AESSIVKeyTemplate()))
	require.NoError(t, err)
	c, err := NewChannels(d, "prod")
	require.NoError(t, err)
	code, err := c.Code("commbox", "web-1")
	require.NoError(t, err)
	assert.Regexp(t, `^[A-Za-z0-9_-]+$`, code)
	assert.NotContains(t, code, "web")
	again, err := c.Code("commbox", "web-1")
	require.NoError(t, err)
	assert.Equal(t, code, again, "published codes do not change")
	id, err := c.ID("commbox", code)
	require.NoError(t, err)
	assert.Equal(t, "web-1", id)
	other, err := c.Code("acme", "web-1")
	require.NoError(t, err)
	assert.NotEqual(t, code, other)

	brand, id, err := c.Place(code)
	require.NoError(t, err)
	assert.Equal(t, "commbox web-1", brand+" "+id)
	_, _, err = c.Place(other[:len(other)-1])
	assert.ErrorIs(t, err, ErrChannelCode)
	longest, err := c.Code(strings.Repeat("b", 64), strings.Repeat("c", 64))
	require.NoError(t, err)
	_, id, err = c.Place(longest)
	require.NoError(t, err)
	assert.Len(t, id, 64)

	// 21 bytes of overhead, and 16 of brand and ID: the last character has unused bits.
	eight, err := c.Code("commbox", "12345678")
	require.NoError(t, err)
	require.NotZero(t, len(eight)%4)
	last := strings.IndexByte(alphabet, eight[len(eight)-1])
	_, err = c.ID("commbox", eight[:len(eight)-1]+alphabet[last+1:last+2])
	assert.ErrorIs(t, err, ErrChannelCode, "a second spelling of a code")

	test, err := NewChannels(d, "test")
	require.NoError(t, err)
	for name, err := range map[string]error{
		"other brand": second(c.ID("acme", code)),
		"other realm": second(test.ID("commbox", code)),
		"empty":       second(c.ID("commbox", "")),
		"padded":      second(c.ID("commbox", code+"=")),
		"newline":     second(c.ID("commbox", code+"\n")),
		"changed":     second(c.ID("commbox", flip(code, 10))),
		"long":        second(c.ID("commbox", strings.Repeat(code, 20))),
	} {
		assert.ErrorIs(t, err, ErrChannelCode, name)
	}
	for _, bad := range []string{"", strings.Repeat("x", 65), "a\x00b"} {
		_, err = c.Code(bad, "web")
		assert.Error(t, err)
		_, err = c.Code("commbox", bad)
		assert.Error(t, err)
	}
	_, err = NewChannels(nil, "")
	assert.Error(t, err)
	_, err = NewChannels(d, "\n")
	assert.Error(t, err)
}

// The code of SPEC.md's example comes from another implementation of AES-SIV
// than Tink's: AESSIV of the Python package cryptography.
func TestChannelCodeOfSpec(t *testing.T) {
	key := []byte{0x12, 64} // an AesSivKey's field 2
	for i := range 64 {
		key = append(key, byte(i+1))
	}
	data, err := proto.Marshal(&tinkpb.Keyset{PrimaryKeyId: 0x0a0b0c01, Key: []*tinkpb.Keyset_Key{{
		KeyData: &tinkpb.KeyData{TypeUrl: "type.googleapis.com/google.crypto.tink.AesSivKey", Value: key,
			KeyMaterialType: tinkpb.KeyData_SYMMETRIC},
		Status: tinkpb.KeyStatusType_ENABLED, KeyId: 0x0a0b0c01, OutputPrefixType: tinkpb.OutputPrefixType_TINK,
	}}})
	require.NoError(t, err)
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(data)))
	require.NoError(t, err)
	d, err := daead.New(h)
	require.NoError(t, err)
	c, err := NewChannels(d, "prod")
	require.NoError(t, err)
	code, err := c.Code("commbox", "webchat")
	require.NoError(t, err)
	assert.Equal(t, "AQoLDAFmwx4ln26LPZxlBiD_E2mRtUkCVAGDShL7DG3_5nOk", code)
	spec, err := os.ReadFile("SPEC.md")
	require.NoError(t, err)
	assert.Contains(t, string(spec), "    "+code+"\n")
	sealed, err := base64.RawURLEncoding.DecodeString(code)
	require.NoError(t, err)
	shown := strings.Join(strings.Fields(string(spec)), "")
	for name, value := range map[string][]byte{
		"plaintext": []byte("commbox\x00webchat"), "ad": []byte("admitone/channel/1\x00prod"),
		"syntheticIV": sealed[5:21], "ciphertext": sealed[21:], "sealed": sealed,
	} {
		assert.True(t, strings.Contains(shown, name+hex.EncodeToString(value)), name)
	}
}

func second(_ string, err error) error { return err }

func TestURLs(t *testing.T) {
	for _, row := range []struct{ base, want string }{
		{"https://commbox.com/login", "https://commbox.com/login?ta=tkt1_x"},
		{"https://commbox.com/login?lang=en&x=a%2Fb", "https://commbox.com/login?lang=en&x=a%2Fb&ta=tkt1_x"},
		{"http://127.0.0.1:8080/login#top", "http://127.0.0.1:8080/login?ta=tkt1_x#top"},
		{"https://commbox.com", "https://commbox.com?ta=tkt1_x"},
	} {
		got, err := LoginURL(row.base, "tkt1_x")
		require.NoError(t, err, row.base)
		assert.Equal(t, row.want, got)
	}
	for _, bad := range []string{"", "/login", "commbox.com/login", "ftp://x/login", "https://x/?ta=old",
		"https://x/?TA=old", "https://x/?a=%zz", "javascript:alert(1)", "https://x/\x7f", "https://:443/login",
		"https://x/?=TAtkt1_x"} {
		_, err := LoginURL(bad, "tkt1_x")
		assert.Error(t, err, bad)
	}
	_, err := LoginURL("https://commbox.com/login", "")
	assert.ErrorContains(t, err, "no ticket")
	got, err := ChatURL("https://apps.commbox.com/", "ab_c-d", "tkt1_x")
	require.NoError(t, err)
	assert.Equal(t, "https://apps.commbox.com/chat/ab_c-d?ta=tkt1_x", got)
	got, err = ChatURL("https://apps.commbox.com/base", "x", "t")
	require.NoError(t, err)
	assert.Equal(t, "https://apps.commbox.com/base/chat/x?ta=t", got)
	for _, code := range []string{"", "..", "../x", "a/b", "x%3d", "x=", "a b"} {
		_, err = ChatURL("https://apps.commbox.com", code, "t")
		assert.Error(t, err, code)
	}
	_, err = ChatURL("apps.commbox.com", "c", "t")
	assert.Error(t, err)
	_, err = ChatURL("https://x:y:z", "c", "t")
	assert.Error(t, err)
}

func TestPattern(t *testing.T) {
	re := regexp.MustCompile(Pattern)
	s, err := newIssuer(t, newKeyset(t, 1), "").Issue(&Ticket{Audience: Agent, Brand: "b", Username: "u"})
	require.NoError(t, err)
	line := `GET /login?ta=` + s + `&x=1 HTTP/1.1`
	assert.Equal(t, s, re.FindString(line), "the shortest ticket is found whole")
	assert.Equal(t, "GET /login?ta=[ticket]&x=1 HTTP/1.1", re.ReplaceAllString(line, "[ticket]"))
}

func TestStrings(t *testing.T) {
	assert.Equal(t, "agent customer administrator audience(0)",
		fmt.Sprint(Agent, " ", Customer, " ", Administrator, " ", Audience(0)))
	id := ID{0: 0xab, 15: 1}
	assert.Equal(t, "ab000000000000000000000000000001", id.String())
	b, err := id.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, id.String(), string(b))
	assert.Equal(t, "brand is missing", (&FieldError{"brand", "is missing"}).Error())
	_, err = AssociatedData("x\xff")
	assert.ErrorContains(t, err, "UTF-8")
	assert.True(t, bytes.Equal([]byte("admitone/ticket/1\x00r"), ad(t, "r")))
}

// FuzzChannelCode: a text that is read as a code is the only code of its place.
func FuzzChannelCode(f *testing.F) {
	d, err := daead.New(newHandle(f, 2, daead.AESSIVKeyTemplate()))
	require.NoError(f, err)
	c, err := NewChannels(d, "prod")
	require.NoError(f, err)
	for _, id := range []string{"web-1", "12345678", strings.Repeat("c", 64)} {
		code, err := c.Code("commbox", id)
		require.NoError(f, err)
		f.Add(code)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, code string) {
		brand, id, err := c.Place(code)
		if err != nil {
			require.ErrorIs(t, err, ErrChannelCode)
			return
		}
		again, err := c.Code(brand, id)
		require.NoError(t, err)
		require.Equal(t, again, code)
	})
}
