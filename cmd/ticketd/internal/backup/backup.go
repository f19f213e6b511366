// Package backup writes the state of a ticketd into one encrypted file, and puts the file back:
// the directory, the keyrings with their audit logs, the generations of the keyrings, and the
// record of the replay store. The key-encryption key (KEK) and the replay store itself are not in
// the file.
//
// # Format 1
//
//	file      = header LF ciphertext
//	header    = JSON, one line, at most 64 KiB
//	plaintext = JSON, one line, with the files; then the stream of directory.Save
//
//	{"admitone":"backup","format":1,"realm":"prod","made":"2026-11-21T12:00:00Z","kek":"file","key":"…"}
//
// The ciphertext is Tink's streaming AEAD AES256_CTR_HMAC_SHA256_1MB, under a new key for each
// file and with the associated data "admitone/backup/1" 0x00 header. So no part can be cut off,
// added or altered. The member key is the KEK's encryption of the serialized Tink keyset
// (tink.Keyset) with this key. Its associated data is "admitone/backup/1" 0x00 realm.
//
// To extend: change the format's number. There is no reader of an older format.
package backup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/keyring"
)

const (
	format    = 1
	context1  = "admitone/backup/1\x00"
	maxHeader = 64 << 10
	mark      = "backup"
)

// ErrNoBackup is wrapped by the errors for a file that is no backup, or that was cut or altered.
var ErrNoBackup = errors.New("the file is no backup, or it was cut or altered: nothing was restored; " +
	"use another backup")

// header is the first line of the file.
type header struct {
	Mark   string    `json:"admitone"`
	Format int       `json:"format"`
	Realm  string    `json:"realm,omitempty"`
	Made   time.Time `json:"made"`
	KEK    string    `json:"kek"` // Hint
	Key    []byte    `json:"key"` // keyset, sealed by the KEK
}

// A file is a file of a data folder.
type file struct {
	Name string `json:"name"` // without a folder
	Data []byte `json:"data"`
}

// files is the first line of the plaintext.
type files struct {
	Keyrings    []file `json:"keyrings"` // and their audit logs
	Generations []byte `json:"generations,omitempty"`
	Replay      []byte `json:"replay,omitempty"` // state.ReplayFile
}

// seal writes the header of a new backup, and returns a writer of the plaintext. The backup is
// whole when Close returns nil.
func seal(w io.Writer, kek keyring.KEK, realm string, now time.Time) (io.WriteCloser, error) {
	handle, err := keyset.NewHandle(streamingaead.AES256CTRHMACSHA256Segment1MBKeyTemplate())
	if err != nil {
		return nil, err
	}
	var clear bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&clear)); err != nil {
		return nil, err
	}
	h := header{Mark: mark, Format: format, Realm: realm, Made: now, KEK: kek.Hint()}
	if h.Key, err = kek.Encrypt(clear.Bytes(), []byte(context1+realm)); err != nil {
		return nil, fmt.Errorf("encrypting the backup's key: %w", err)
	}
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	aead, err := streamingaead.New(handle)
	if err != nil {
		return nil, err
	}
	return aead.NewEncryptingWriter(w, append([]byte(context1), line...))
}

// open reads the header of a backup, and returns a reader of the plaintext. Until the reader
// has returned io.EOF, the backup may yet turn out to be cut or altered.
func open(r io.Reader, kek keyring.KEK, realm string) (header, io.Reader, error) {
	var h header
	from := bufio.NewReaderSize(r, maxHeader)
	line, err := from.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return h, nil, err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err != nil || d.Decode(&h) != nil || h.Mark != mark {
		return h, nil, ErrNoBackup
	}
	switch {
	case h.Format != format:
		return h, nil, fmt.Errorf("the backup has format %d, and this program reads format %d: "+
			"restore with the program that made it", h.Format, format)
	case h.Realm != realm:
		return h, nil, fmt.Errorf("the backup is of the realm %q, and not of %q: give the backup's realm, with its keys",
			h.Realm, realm)
	}
	clear, err := kek.Decrypt(h.Key, []byte(context1+realm))
	switch {
	case errors.Is(err, keyring.ErrKEKUnavailable):
		return h, nil, err
	case err != nil:
		return h, nil, fmt.Errorf("the backup does not open: it was made with another key-encryption key (of the kind %s), "+
			"or it was altered: %w", h.KEK, err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(clear)))
	if err != nil {
		return h, nil, errors.Join(ErrNoBackup, err)
	}
	var aead tink.StreamingAEAD
	if aead, err = streamingaead.New(handle); err != nil {
		return h, nil, errors.Join(ErrNoBackup, err)
	}
	plain, err := aead.NewDecryptingReader(from, append([]byte(context1), bytes.TrimSuffix(line, []byte("\n"))...))
	if err != nil {
		return h, nil, errors.Join(ErrNoBackup, err)
	}
	return h, &wholeReader{from: plain}, nil
}

// wholeReader names the errors of a plaintext.
type wholeReader struct{ from io.Reader }

func (r *wholeReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w (%w)", ErrNoBackup, err)
	}
	return n, err
}

// readFiles reads the first line of the plaintext, and returns the rest.
func readFiles(plain io.Reader) (f files, rest io.Reader, err error) {
	d := json.NewDecoder(plain)
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, ErrNoBackup) {
			return f, nil, err
		}
		return f, nil, errors.Join(ErrNoBackup, err)
	}
	for _, k := range f.Keyrings {
		if !isKeyringName(strings.TrimSuffix(k.Name, auditSuffix)) {
			return f, nil, ErrNoBackup
		}
	}
	rest = io.MultiReader(d.Buffered(), plain)
	var lf [1]byte
	if _, err := io.ReadFull(rest, lf[:]); err != nil || lf[0] != '\n' {
		return f, nil, errors.Join(ErrNoBackup, err)
	}
	return f, rest, nil
}
