// Command tink17 makes a keyset with Tink as it was before it moved, and seals
// with it. It is a program of its own, since the two cannot be linked into one.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"

	"github.com/google/tink/go/aead"
	"github.com/google/tink/go/aead/subtle"
	"github.com/google/tink/go/insecurecleartextkeyset"
	"github.com/google/tink/go/keyset"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	m := keyset.NewManager()
	old, err := m.Add(aead.AES256GCMKeyTemplate())
	check(err)
	primary, err := m.Add(aead.XChaCha20Poly1305KeyTemplate())
	check(err)
	var out struct {
		Primary                 uint32
		JSON, Binary, Encrypted []byte // the keyset; Encrypted under AES-256-GCM with a key of 32 bytes 0x07
		Old, New                []byte // "text" sealed under the first key, and under the primary
	}
	out.Primary = primary
	seal := func(id uint32) []byte {
		check(m.SetPrimary(id))
		h, err := m.Handle()
		check(err)
		a, err := aead.New(h)
		check(err)
		sealed, err := a.Encrypt([]byte("text"), []byte("ad"))
		check(err)
		return sealed
	}
	out.Old, out.New = seal(old), seal(primary)
	h, err := m.Handle()
	check(err)
	var b bytes.Buffer
	check(insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)))
	out.JSON = bytes.Clone(b.Bytes())
	b.Reset()
	check(insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&b)))
	out.Binary = bytes.Clone(b.Bytes())
	b.Reset()
	kek, err := subtle.NewAESGCM(bytes.Repeat([]byte{7}, 32))
	check(err)
	check(h.Write(keyset.NewJSONWriter(&b), kek))
	out.Encrypted = b.Bytes()
	check(json.NewEncoder(os.Stdout).Encode(out))
}
