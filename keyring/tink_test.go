package keyring

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"
)

// TestExport opens with plain tink-go, and nothing of ours, what a Ring sealed, and
// the other way round.
func TestExport(t *testing.T) {
	path, c, clock := timed(t)
	clock.t = clock.t.Add(time.Hour)
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	old := info.Keys[0].ID
	r := newRing(t, path, c)
	sealed, err := r.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	kek := newKEK(9, "vault")
	for _, tc := range []struct {
		e    Encoding
		kek  KEK
		read func(data []byte) (*keyset.Handle, error)
	}{
		{JSON, InsecureCleartext, func(d []byte) (*keyset.Handle, error) {
			return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(d)))
		}},
		{Binary, InsecureCleartext, func(d []byte) (*keyset.Handle, error) {
			return insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(d)))
		}},
		{JSON, kek, func(d []byte) (*keyset.Handle, error) {
			return keyset.Read(keyset.NewJSONReader(bytes.NewReader(d)), kek)
		}},
		{Binary, kek, func(d []byte) (*keyset.Handle, error) {
			return keyset.Read(keyset.NewBinaryReader(bytes.NewReader(d)), kek)
		}},
	} {
		data, err := Export(path, c, tc.e, tc.kek, "for the old service")
		require.NoError(t, err)
		handle, err := tc.read(data)
		require.NoError(t, err)
		plain, err := aead.New(handle)
		require.NoError(t, err)
		opened, err := plain.Decrypt(sealed, []byte("ad"))
		require.NoError(t, err)
		assert.Equal(t, "text", string(opened))
		theirs, err := plain.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		_, err = r.Decrypt(theirs, nil)
		assert.NoError(t, err)
		secret := material(t, path, c).Key[0].KeyData.Value
		assert.Equal(t, tc.kek == InsecureCleartext && tc.e == Binary, bytes.Contains(data, secret))

		// And back: a keyring made of it, and one that takes its keys in addition.
		made := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, CreateFrom(made, c, DefaultPolicy(Ticket), data, tc.kek))
		again := newRing(t, made, c)
		_, err = again.Decrypt(sealed, []byte("ad"))
		assert.NoError(t, err)
		back, err := Read(made, c)
		require.NoError(t, err)
		assert.Equal(t, info.Primary, back.Primary)
		assert.Equal(t, Retiring, stateOf(t, back, old).State)
		assert.ErrorIs(t, CreateFrom(made, c, DefaultPolicy(Ticket), data, tc.kek), fs.ErrExist)

		other := newFile(t, c)
		into, err := Import(other, c, data, tc.kek, "two sites become one")
		require.NoError(t, err)
		assert.NotEqual(t, info.Primary, into.Primary)
		for _, k := range into.Keys[1:] {
			assert.Equal(t, Key{ID: k.ID, Algorithm: "AES256_GCM", State: Pending, Created: clock.t, Enabled: clock.t,
				Held: true, Reason: "two sites become one"}, k)
		}
		_, err = newRing(t, other, c).Decrypt(sealed, []byte("ad"))
		assert.NoError(t, err)
		before := mustRead(t, other)
		_, err = Import(other, c, data, tc.kek, "")
		assert.ErrorContains(t, err, "has the ID of a key of the keyring")
		assert.Equal(t, before, mustRead(t, other))
	}
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, []Step{{Do: exported, KEK: "cleartext"}}, log[2].Steps)
	assert.Equal(t, []Step{{Do: exported, KEK: "vault"}}, log[5].Steps)
	_, err = Export(path, c, "text", kek, "")
	assert.Error(t, err)
	_, err = Export(path, c, JSON, nil, "")
	assert.ErrorContains(t, err, "kek is nil", "cleartext is never by omission")
}

// TestImportRefuses tries keysets that a keyring must not have.
//
// trap K2
// trap K5
// trap K6
func TestImportRefuses(t *testing.T) {
	path, c, clock := timed(t)
	fresh := func(templates ...*tinkpb.KeyTemplate) *tinkpb.Keyset {
		m := keyset.NewManager()
		for _, kt := range templates {
			id, err := m.Add(kt)
			require.NoError(t, err)
			require.NoError(t, m.SetPrimary(id))
		}
		h, err := m.Handle()
		require.NoError(t, err)
		return insecurecleartextkeyset.KeysetMaterial(h)
	}
	// A key that was destroyed here.
	gone := fresh(aead.AES256GCMKeyTemplate())
	bytesOf := func(ks *tinkpb.Keyset) []byte {
		b, err := proto.Marshal(ks)
		require.NoError(t, err)
		return b
	}
	info, err := Import(path, c, bytesOf(gone), InsecureCleartext, "")
	require.NoError(t, err)
	id := info.Keys[1].ID
	clock.t = clock.t.Add(time.Hour)
	mustChange(t, path, c, Step{Do: Disable, Key: id}, Step{Do: Destroy, Key: id, Unsafe: true})
	before := mustRead(t, path)

	twin := fresh(aead.AES256GCMKeyTemplate())
	twin.Key = append(twin.Key, proto.Clone(twin.Key[0]).(*tinkpb.Keyset_Key))
	twin.Key[1].Status = tinkpb.KeyStatusType_DISABLED
	destroyed := fresh(aead.AES256GCMKeyTemplate(), aead.AES256GCMKeyTemplate())
	destroyed.Key[0].Status = tinkpb.KeyStatusType_DESTROYED
	empty := proto.Clone(destroyed).(*tinkpb.Keyset)
	empty.Key[0].KeyData = nil
	zero := fresh(aead.AES256GCMKeyTemplate(), aead.AES256GCMKeyTemplate())
	zero.Key[0].KeyId = 0
	for _, tc := range []struct {
		name string
		data []byte
		kek  KEK
		text string
	}{
		{"destroyed here", bytesOf(gone), InsecureCleartext, "has the ID of a destroyed key"},
		{"a disabled twin", bytesOf(twin), InsecureCleartext, "two keys with the ID"},
		{"a destroyed key", bytesOf(destroyed), InsecureCleartext, "is destroyed; take the key out of the keyset"},
		{"a destroyed key as Tinkey leaves it", bytesOf(empty), InsecureCleartext, "is destroyed; take the key out of the keyset"},
		{"an ID of 0", bytesOf(zero), InsecureCleartext, "a key with the ID 0"},
		{"no prefix", bytesOf(fresh(aead.AES256GCMNoPrefixKeyTemplate())), InsecureCleartext, "RAW"},
		{"AES-128", bytesOf(fresh(aead.AES128GCMKeyTemplate())), InsecureCleartext, "allowed are [AES256_GCM"},
		{"a MAC", bytesOf(fresh(mac.HMACSHA256Tag256KeyTemplate())), InsecureCleartext, "algorithm"},
		{"empty", nil, InsecureCleartext, "keyset"},
		{"text", []byte("hello"), InsecureCleartext, "not an unencrypted Tink keyset"},
		{"JSON of another sort", []byte(`{"a":1}`), InsecureCleartext, "not an unencrypted Tink keyset"},
		{"in clear, not said", bytesOf(fresh(aead.AES256GCMKeyTemplate())), newKEK(9, "vault"), ""},
		{"no KEK", bytesOf(fresh(aead.AES256GCMKeyTemplate())), nil, "kek is nil"},
	} {
		_, err := Import(path, c, tc.data, tc.kek, "")
		assert.ErrorContains(t, err, tc.text, tc.name)
		made := filepath.Join(t.TempDir(), "keyring")
		err = CreateFrom(made, c, DefaultPolicy(Ticket), tc.data, tc.kek)
		if tc.name != "destroyed here" {
			assert.ErrorContains(t, err, tc.text, tc.name)
			assert.NoFileExists(t, made)
		}
	}
	wrong, err := Export(path, c, JSON, newKEK(9, "vault"), "")
	require.NoError(t, err)
	_, err = Import(path, c, wrong, newKEK(8, "vault"), "")
	assert.ErrorContains(t, err, "another vault KEK")
	assert.NotEqual(t, before, mustRead(t, path))
}

// TestOldTink takes what Tink made before it moved: github.com/google/tink/go v1.7.0.
func TestOldTink(t *testing.T) {
	t.Run("golden", func(t *testing.T) { oldTink(t, mustRead(t, filepath.Join("testdata", "tink17", "golden.json"))) })
	t.Run("its own process", func(t *testing.T) {
		if testing.Short() {
			t.Skip("builds a program")
		}
		cmd := exec.Command("go", "run", "-C", filepath.Join("testdata", "tink17"), ".")
		cmd.Stderr = new(bytes.Buffer)
		out, err := cmd.Output()
		if err != nil && os.Getenv("CI") == "" {
			t.Skipf("cannot be built, perhaps for want of a network: %v\n%s", err, cmd.Stderr)
		}
		require.NoError(t, err, "%s", cmd.Stderr)
		oldTink(t, out)
	})
}

func oldTink(t *testing.T, out []byte) {
	var old struct {
		Primary                 uint32
		JSON, Binary, Encrypted []byte
		Old, New                []byte
	}
	require.NoError(t, json.Unmarshal(out, &old))
	for _, tc := range []struct {
		data []byte
		kek  KEK
	}{{old.JSON, InsecureCleartext}, {old.Binary, InsecureCleartext}, {old.Encrypted, newKEK(7, "test")}} {
		c := config(Ticket)
		path := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, CreateFrom(path, c, DefaultPolicy(Ticket), tc.data, tc.kek))
		r := newRing(t, path, c)
		assert.Equal(t, KeyID(old.Primary), r.Report().Primary)
		for _, sealed := range [][]byte{old.Old, old.New} {
			assert.True(t, r.HasKey(KeyID(binary.BigEndian.Uint32(sealed[1:]))))
			plain, err := r.Decrypt(sealed, []byte("ad"))
			require.NoError(t, err)
			assert.Equal(t, "text", string(plain))
		}
	}
}

// TestImportDisabled takes in a keyset with a disabled key: enabled here, it does not
// become the primary by itself.
func TestImportDisabled(t *testing.T) {
	from, c, clock := timed(t)
	info := mustChange(t, from, c, Step{Do: Rotate, Now: true})
	old := info.Keys[0].ID
	mustChange(t, from, c, Step{Do: Disable, Key: old, Unsafe: true})
	keyset, err := Export(from, c, JSON, InsecureCleartext, "")
	require.NoError(t, err)
	into, made := newFile(t, c), filepath.Join(t.TempDir(), "keyring")
	_, err = Import(into, c, keyset, InsecureCleartext, "moved here")
	require.NoError(t, err)
	require.NoError(t, CreateFrom(made, c, DefaultPolicy(Ticket), keyset, InsecureCleartext))
	for _, path := range []string{into, made} {
		info := mustChange(t, path, c, Step{Do: Enable, Key: old})
		assert.Equal(t, Pending, stateOf(t, info, old).State)
		clock.t = clock.t.Add(time.Hour)
		info, _, err = Apply(path, c, nil)
		require.NoError(t, err)
		assert.NotEqual(t, old, info.Primary)
		assert.True(t, stateOf(t, info, old).Held)
	}
}
