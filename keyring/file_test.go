package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/token"
)

// TestPlainTink opens a file with tink-go and nothing of this package.
func TestPlainTink(t *testing.T) {
	for _, kind := range []Kind{Ticket, Session, Channel} {
		for _, algorithm := range Algorithms(kind) {
			c := config(kind)
			path := filepath.Join(t.TempDir(), "keyring")
			require.NoError(t, Create(path, c, DefaultPolicy(c.Kind), algorithm))
			info, err := rotate(path, c)
			require.NoError(t, err)
			assert.Equal(t, algorithm, info.Keys[1].Algorithm)

			lines := strings.Split(string(mustRead(t, path)), "\n")
			require.Len(t, lines, 3)
			sum := sha256.Sum256([]byte(lines[0]))
			ad := "admitone/keyring/1\x00prod\x00" + string(sum[:])
			wrapped, err := base64.StdEncoding.DecodeString(lines[1])
			require.NoError(t, err)
			plain, err := c.KEK.Decrypt(wrapped, []byte(ad))
			require.NoError(t, err)
			handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
			require.NoError(t, err)

			r := newRing(t, path, c)
			if kind == Channel {
				p, err := daead.New(handle)
				require.NoError(t, err)
				sealed, err := r.EncryptDeterministically([]byte("text"), []byte("ad"))
				require.NoError(t, err)
				opened, err := p.DecryptDeterministically(sealed, []byte("ad"))
				require.NoError(t, err)
				assert.Equal(t, "text", string(opened))
				continue
			}
			p, err := aead.New(handle)
			require.NoError(t, err)
			sealed, err := r.Encrypt([]byte("text"), []byte("ad"))
			require.NoError(t, err)
			assert.Equal(t, byte(1), sealed[0])
			assert.Equal(t, info.Primary.String(), hex.EncodeToString(sealed[1:5]))
			opened, err := p.Decrypt(sealed, []byte("ad"))
			require.NoError(t, err)
			assert.Equal(t, "text", string(opened))
		}
	}
}

// TestDamage changes every byte of a file, cuts it everywhere, puts a byte in
// and takes one out everywhere: it never loads.
//
// trap K9
func TestDamage(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	good := mustRead(t, path)
	_, err := decode(path, good, &c)
	require.NoError(t, err)

	refused := func(data []byte) {
		t.Helper()
		f, err := decode(path, data, &c)
		_, ok := errors.AsType[*FileError](err)
		if !ok || f != nil {
			t.Errorf("loaded, or another error: %v\n%q", err, data)
		}
	}
	for i := range good {
		for bit := range 8 {
			data := bytes.Clone(good)
			data[i] ^= 1 << bit
			refused(data)
		}
		for _, b := range []byte("\r\n =A\x00") {
			if good[i] != b {
				data := bytes.Clone(good)
				data[i] = b
				refused(data)
			}
			refused(bytes.Join([][]byte{good[:i], {b}, good[i:]}, nil))
		}
		refused(good[:i])
		refused(good[i+1:])
		if i+1 == len(good) || good[i] != good[i+1] {
			refused(bytes.Join([][]byte{good[:i], good[i+1:]}, nil))
		}
	}
}

// TestCauses makes a file for each cause, and sees that no two are confused.
//
// trap K9
// trap K14
func TestCauses(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	good := mustRead(t, path)
	line, rest, _ := bytes.Cut(good, []byte("\n"))
	ks := material(t, path, c)

	other := func(f func(*Config)) Config { o := c; f(&o); return o }
	write := func(data []byte) func() { return func() { require.NoError(t, os.WriteFile(path, data, 0o600)) } }
	messages := make(map[string]Reason)
	for _, tc := range []struct {
		name string
		c    Config
		file func()
		want Reason
		text string
	}{
		{"no file", c, func() { os.Remove(path) }, Missing, "keyring init"},
		{"empty", c, write(nil), Empty, "empty"},
		{"too large", c, write(bytes.Repeat([]byte("x"), maxFile+1)), TooLarge, "larger"},
		{"no newline", c, write(line), Truncated, "no second line"},
		{"cut in the second line", c, write(good[:len(good)-9]), Truncated, "does not end"},
		{"no second line", c, write(append(bytes.Clone(line), "\n\n"...)), Truncated, "does not end"},
		{"twice", c, write(append(bytes.Clone(good), good...)), TrailingData, "two files"},
		{"a newline more", c, write(append(bytes.Clone(good), '\n')), TrailingData, "two files"},
		{"not JSON", c, write(append([]byte("not "), good...)), BadHeader, "header"},
		{"CR LF", c, write(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))), BadHeader, "CR LF"},
		{"byte order mark", c, write(append([]byte("\xef\xbb\xbf"), good...)), BadHeader, "byte order mark"},
		{"not base64", c, write(bytes.Join([][]byte{line, []byte("!!!!"), nil}, []byte("\n"))), NotBase64, "base64"},
		{"carriage return", c, write(bytes.Join([][]byte{line, append(bytes.Clone(bytes.TrimSpace(rest)), '\r'), nil}, []byte("\n"))), NotBase64, "base64"},
		{"other kind", other(func(c *Config) { c.Kind = Session }), write(good), WrongKind, "session"},
		{"other realm", other(func(c *Config) { c.Realm = "test" }), write(good), WrongRealm, `"test"`},
		{"other sort of KEK", other(func(c *Config) { c.KEK = newKEK(7, "vault") }), write(good), WrongKEK, "vault"},
		{"other key", other(func(c *Config) { c.KEK = newKEK(8, "test") }), write(good), NotOpened, "another test KEK"},
		{"no KEK", other(func(c *Config) { c.KEK = InsecureCleartext }), write(good), NotCleartext, "give the KEK"},
		{"older", other(func(c *Config) { c.MinGeneration = 2 }), write(good), RolledBack, "older"},
		{"not a keyset", c, func() { forgeBytes(t, path, c, line, []byte("\xff")) }, BadKeyset, "Tink"},
		{"no keys", c, func() { forge(t, path, c, line, &tinkpb.Keyset{}) }, BadKeyset, "refuses"},
		{"other keys", c, func() {
			h := headerOf(t, newFile(t, c))
			forge(t, path, c, encodeHeader(t, h), ks)
		}, Disagree, "not in the header"},
	} {
		tc.file()
		info, err := Read(path, tc.c)
		assertCause(t, tc.want, err, tc.name)
		assert.ErrorContains(t, err, tc.text, tc.name)
		assert.ErrorContains(t, err, path, tc.name)
		assert.Zero(t, info, tc.name)
		_, err = Open(path, tc.c)
		assertCause(t, tc.want, err, tc.name)
		if before, ok := messages[err.Error()]; ok {
			assert.Equal(t, before, tc.want, "two causes have one message")
		}
		messages[err.Error()] = tc.want
		os.Remove(path)
	}
	_, err := Read(path, c)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.NoFileExists(t, path)
	_, err = rotate(path, c)
	assertCause(t, Missing, err)
	dir := t.TempDir()
	_, err = rotate(filepath.Join(dir, "keyring"), c)
	assertCause(t, Missing, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "nothing is made, not even a lock file")
}

// TestRealm copies a keyring from production to a test realm.
//
// trap K3
func TestRealm(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	test := c
	test.Realm = "test"
	_, err := Open(path, test)
	assertCause(t, WrongRealm, err)

	// With the header made to fit, the keyset is still that of the other realm.
	good := mustRead(t, path)
	require.NoError(t, os.WriteFile(path, bytes.Replace(good, []byte(`"prod"`), []byte(`"test"`), 1), 0o600))
	_, err = Open(path, test)
	assertCause(t, NotOpened, err)
	_, err = Open(path, c)
	assertCause(t, WrongRealm, err)

	empty := c
	empty.Realm = ""
	path = newFile(t, empty)
	newRing(t, path, empty)
	_, err = Open(path, c)
	assertCause(t, WrongRealm, err)
}

// TestEditedHeader edits what the header says. Nothing of it is shown.
//
// trap K4
func TestEditedHeader(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	_, err := rotate(path, c)
	require.NoError(t, err)
	good := mustRead(t, path)
	for _, edit := range [][2]string{
		{`"generation":2`, `"generation":3`},
		{`"lifetime":900`, `"lifetime":901`},
		{`"promoted":"2`, `"promoted":"3`},
	} {
		data := bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1)
		require.NotEqual(t, good, data)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		info, err := Read(path, c)
		assertCause(t, NotOpened, err)
		assert.Zero(t, info)
	}
}

// TestHintNeverDecides swaps a keyring for one in clear or under another KEK.
//
// trap K19
func TestHintNeverDecides(t *testing.T) {
	c := config(Ticket)
	clear := c
	clear.KEK = InsecureCleartext
	path := newFile(t, clear)
	_, err := Open(path, c)
	assertCause(t, IsCleartext, err)

	ks := material(t, path, clear)
	h := headerOf(t, path)
	h.KEK = "test"
	forge(t, path, clear, encodeHeader(t, h), ks) // in clear, and says that it is not
	_, err = Open(path, c)
	assertCause(t, NotOpened, err)
	_, err = Open(path, clear)
	assertCause(t, NotCleartext, err)

	attacker := c
	attacker.KEK = newKEK(66, "test")
	forge(t, path, attacker, encodeHeader(t, h), ks)
	_, err = Open(path, c)
	assertCause(t, NotOpened, err)

	h.KEK = "vault"
	forge(t, path, attacker, encodeHeader(t, h), ks)
	_, err = Open(path, c)
	assertCause(t, WrongKEK, err)
}

// trap K2
func TestCleartextOnlyIfAsked(t *testing.T) {
	dir := t.TempDir()
	c := config(Ticket)
	c.KEK = nil
	assert.ErrorContains(t, Create(filepath.Join(dir, "nil"), c, DefaultPolicy(c.Kind), ""), "KEK is nil")
	c.KEK = newKEK(7, "cleartext")
	assert.ErrorContains(t, Create(filepath.Join(dir, "pretender"), c, DefaultPolicy(c.Kind), ""), "hint")
	c.KEK = newKEK(7, "")
	assert.ErrorContains(t, Create(filepath.Join(dir, "nameless"), c, DefaultPolicy(c.Kind), ""), "hint")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)

	for _, kek := range []KEK{newKEK(7, "test"), InsecureCleartext} {
		c.KEK = kek
		path := newFile(t, c)
		info, err := os.Stat(path)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		}
		_, err = rotate(path, c)
		require.NoError(t, err)
		info, err = os.Stat(path)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		}
		secret := material(t, path, c).Key[0].KeyData.Value
		_, encoded, _ := bytes.Cut(mustRead(t, path), []byte("\n"))
		wrapped, err := base64.StdEncoding.DecodeString(string(encoded))
		require.NoError(t, err)
		assert.Equal(t, kek == InsecureCleartext, bytes.Contains(wrapped, secret))
	}
}

// TestCleartextMakesNoClaim shows what the flag's name warns of.
func TestCleartextMakesNoClaim(t *testing.T) {
	c := config(Ticket)
	c.KEK = InsecureCleartext
	path := newFile(t, c)
	data := bytes.Replace(mustRead(t, path), []byte(`"generation":1`), []byte(`"generation":9`), 1)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err := Read(path, c)
	assertCause(t, AuditBroken, err, "only the audit log knows better")
	require.NoError(t, os.Remove(path+".audit"))
	info, err := Read(path, c)
	require.NoError(t, err)
	assert.Equal(t, uint64(9), info.Generation)
	assert.Equal(t, "cleartext", info.KEK)
}

// TestKeyset tries keysets that a keyring must not have.
//
// trap K6
func TestKeyset(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	_, err := rotate(path, c)
	require.NoError(t, err)
	line, _, _ := bytes.Cut(mustRead(t, path), []byte("\n"))
	good := material(t, path, c)
	fresh := func(kt *tinkpb.KeyTemplate) *tinkpb.Keyset_Key {
		h, err := keyset.NewHandle(kt)
		require.NoError(t, err)
		return insecurecleartextkeyset.KeysetMaterial(h).Key[0]
	}
	for _, tc := range []struct {
		name string
		edit func(ks *tinkpb.Keyset)
		want Reason
		text string
	}{
		{"as it was", func(*tinkpb.Keyset) {}, "", ""},
		{"a disabled twin behind", func(ks *tinkpb.Keyset) {
			twin := proto.Clone(ks.Key[0]).(*tinkpb.Keyset_Key)
			twin.Status = tinkpb.KeyStatusType_DISABLED
			ks.Key = append(ks.Key, twin)
		}, BadKeyset, "two keys with the ID"},
		{"a disabled twin before", func(ks *tinkpb.Keyset) {
			twin := proto.Clone(ks.Key[1]).(*tinkpb.Keyset_Key)
			twin.Status = tinkpb.KeyStatusType_DISABLED
			ks.Key = append([]*tinkpb.Keyset_Key{twin}, ks.Key...)
		}, BadKeyset, "two keys with the ID"},
		{"no prefix", func(ks *tinkpb.Keyset) { ks.Key[0].OutputPrefixType = tinkpb.OutputPrefixType_RAW }, BadKeyset, "RAW"},
		{"prefix CRUNCHY", func(ks *tinkpb.Keyset) { ks.Key[0].OutputPrefixType = tinkpb.OutputPrefixType_CRUNCHY }, BadKeyset, "CRUNCHY"},
		{"prefix LEGACY", func(ks *tinkpb.Keyset) { ks.Key[0].OutputPrefixType = tinkpb.OutputPrefixType_LEGACY }, BadKeyset, "LEGACY"},
		{"a destroyed key", func(ks *tinkpb.Keyset) { ks.Key[0].Status = tinkpb.KeyStatusType_DESTROYED }, Disagree, "Destroyed"},
		{"a disabled key", func(ks *tinkpb.Keyset) { ks.Key[0].Status = tinkpb.KeyStatusType_DISABLED }, Disagree, "Disabled"},
		{"a disabled primary", func(ks *tinkpb.Keyset) { ks.Key[1].Status = tinkpb.KeyStatusType_DISABLED }, BadKeyset, "refuses"},
		{"another primary", func(ks *tinkpb.Keyset) { ks.PrimaryKeyId = ks.Key[0].KeyId }, Disagree, "has another primary"},
		{"no such primary", func(ks *tinkpb.Keyset) { ks.PrimaryKeyId++ }, BadKeyset, "refuses"},
		{"a key less", func(ks *tinkpb.Keyset) { ks.Key = ks.Key[1:] }, Disagree, "2 keys in the header, 1"},
		{"a key more", func(ks *tinkpb.Keyset) { ks.Key = append(ks.Key, fresh(aead.AES256GCMKeyTemplate())) }, Disagree, "3 in the keyset"},
		{"another ID", func(ks *tinkpb.Keyset) { ks.Key[0].KeyId ^= 1 }, Disagree, "not in the header"},
		{"a MAC key", func(ks *tinkpb.Keyset) {
			ks.Key[0].KeyData = fresh(mac.HMACSHA256Tag256KeyTemplate()).KeyData
		}, BadKeyset, "algorithm"},
		{"a deterministic key", func(ks *tinkpb.Keyset) {
			ks.Key[0].KeyData = fresh(daead.AESSIVKeyTemplate()).KeyData
		}, BadKeyset, "algorithm"},
		{"AES-128", func(ks *tinkpb.Keyset) {
			ks.Key[0].KeyData = fresh(aead.AES128GCMKeyTemplate()).KeyData
		}, BadKeyset, "algorithm"},
		{"another algorithm", func(ks *tinkpb.Keyset) {
			ks.Key[0].KeyData = fresh(aead.XChaCha20Poly1305KeyTemplate()).KeyData
		}, Disagree, "XCHACHA20_POLY1305"},
		{"an unknown algorithm", func(ks *tinkpb.Keyset) { ks.Key[0].KeyData.TypeUrl = "example.com/none" }, BadKeyset, ""},
		{"no key data", func(ks *tinkpb.Keyset) { ks.Key[0].KeyData = nil }, BadKeyset, "refuses"},
	} {
		ks := proto.Clone(good).(*tinkpb.Keyset)
		tc.edit(ks)
		forge(t, path, c, line, ks)
		_, err := Open(path, c)
		if tc.want == "" {
			assert.NoError(t, err, tc.name)
			continue
		}
		assertCause(t, tc.want, err, tc.name)
		assert.ErrorContains(t, err, tc.text, tc.name)
	}
}

// adBlind is a KEK that ignores associated data, as some KMS wrappers do.
type adBlind struct{ KEK }

func (k adBlind) Encrypt(plaintext, _ []byte) ([]byte, error)  { return k.KEK.Encrypt(plaintext, nil) }
func (k adBlind) Decrypt(ciphertext, _ []byte) ([]byte, error) { return k.KEK.Decrypt(ciphertext, nil) }

// nilTaker is a KEK that authenticates associated data only where there are any.
type nilTaker struct {
	KEK
	last []byte
}

func (k *nilTaker) Encrypt(plaintext, ad []byte) ([]byte, error) {
	k.last = bytes.Clone(ad)
	return k.KEK.Encrypt(plaintext, ad)
}

func (k *nilTaker) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if ad == nil {
		ad = k.last
	}
	return k.KEK.Decrypt(ciphertext, ad)
}

// halfBlind is a KEK that heeds whether there are associated data, and not which.
type halfBlind struct{ KEK }

func flat(ad []byte) []byte {
	if ad == nil {
		return nil
	}
	return []byte("some")
}

func (k halfBlind) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return k.KEK.Encrypt(plaintext, flat(ad))
}

func (k halfBlind) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	return k.KEK.Decrypt(ciphertext, flat(ad))
}

// trap K10
func TestHalfBlindKEKs(t *testing.T) {
	for _, kek := range []KEK{&nilTaker{KEK: newKEK(7, "test")}, halfBlind{newKEK(7, "test")}} {
		c := config(Ticket)
		c.KEK = kek
		path := filepath.Join(t.TempDir(), "keyring")
		assert.ErrorContains(t, Create(path, c, DefaultPolicy(Ticket), ""), "does not authenticate associated data", "%T",
			kek)
		assert.NoFileExists(t, path)
	}
}

// trap K10
func TestKEKWithoutAssociatedData(t *testing.T) {
	good := config(Ticket)
	good.Now = newClock().now
	blind := good
	blind.KEK = adBlind{good.KEK}
	path := filepath.Join(t.TempDir(), "keyring")
	assert.ErrorContains(t, Create(path, blind, DefaultPolicy(blind.Kind), ""), "does not authenticate associated data")
	assert.NoFileExists(t, path)

	// A file that was wrapped so before is not written again.
	h := &header{Format: format, Kind: Ticket, Realm: "prod", Generation: 1, KEK: "test", Policy: DefaultPolicy(Ticket)}
	h.Audit = strings.Repeat("0", 64)
	e := &edit{h: h, m: keyset.NewManager(), now: newClock().t}
	k, err := e.add("")
	require.NoError(t, err)
	require.NoError(t, e.makePrimary(k))
	handle, err := e.m.Handle()
	require.NoError(t, err)
	forge(t, path, blind, encodeHeader(t, h), insecurecleartextkeyset.KeysetMaterial(handle))
	before := mustRead(t, path)
	_, err = Change(path, blind, "there was none", Step{Do: BeginAudit}, Step{Do: Rotate, Now: true})
	assert.ErrorContains(t, err, "does not authenticate associated data")
	assert.Equal(t, before, mustRead(t, path))
}

// Each of these has words of its own: a link whose file is gone, a header that a look without the
// KEK cannot read, and settings that no file should have.
func TestRefusalsInWords(t *testing.T) {
	link := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, os.Symlink("nowhere", link))
	_, err := Read(link, config(Ticket))
	var refused *FileError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, Missing, refused.Reason)
	assert.ErrorContains(t, err, "symbolic link to a missing file")
	_, err = peek("x", []byte("{}\nAAAA\n"))
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, BadHeader, refused.Reason)
	for field, change := range map[string]func(*Config){
		"keyring.Config.Actor": func(c *Config) { c.Actor = "two\nlines" },
		"keyring.Config.KEK":   func(c *Config) { c.KEK = newKEK(7, "two\nlines") },
	} {
		c := config(Ticket)
		change(&c)
		_, err := Read(link, c)
		var wrong *token.ConfigError
		require.ErrorAs(t, err, &wrong)
		assert.Equal(t, field, wrong.Field)
	}
}
