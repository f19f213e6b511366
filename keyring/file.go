package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/sealing"
)

const maxFile = 1 << 20

// Info is the content of a keyring file without the keys.
type Info struct {
	Kind        Kind   `json:"kind"`
	Realm       string `json:"realm"`
	Generation  uint64 `json:"generation"`  // 1 in a new file; rises by one at each write
	Fingerprint string `json:"fingerprint"` // SHA-256 of the file in hexadecimal, as sha256sum prints it
	KEK         string `json:"kek"`         // the KEK's hint
	Policy      Policy `json:"policy"`
	Audit       string `json:"audit"` // the AuditEntry.Hash of this generation's entry
	Primary     KeyID  `json:"primary"`

	Keys       []Key   `json:"keys"`                 // oldest first
	Tombstones []KeyID `json:"tombstones,omitempty"` // IDs of destroyed keys, which are never given again
}

// contents is the content of a file that opened and was found good.
type contents struct {
	header      *header
	handle      *keyset.Handle // or
	document    []byte         // of a signed file
	file        []byte         // of a signed file: all its bytes
	fingerprint [sha256.Size]byte
}

func (f *contents) info() Info {
	var primary KeyID
	if k := f.header.primary(); k != nil {
		primary = k.ID
	}
	return Info{
		Kind:        f.header.Kind,
		Realm:       f.header.Realm,
		Generation:  f.header.Generation,
		Fingerprint: hex.EncodeToString(f.fingerprint[:]),
		KEK:         f.header.KEK,
		Policy:      f.header.Policy,
		Audit:       f.header.Audit,
		Primary:     primary,
		Keys:        slices.Clone(f.header.Keys),
		Tombstones:  slices.Clone(f.header.Tombstones),
	}
}

// readFile returns the bytes and the status of a keyring file. The error is a *FileError.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	data, stat, err := durable.ReadFile(path, maxFile)
	if err != nil {
		return nil, nil, readFault(path, err)
	}
	return data, stat, nil
}

// readFault returns the *FileError for an error of the system.
func readFault(path string, err error) error {
	switch {
	case errors.Is(err, durable.ErrNotRegular):
		return &FileError{path, NotFile, errors.New("is not a regular file; give the keyring file's name")}
	case errors.Is(err, durable.ErrTooLarge):
		large := tooLarge()
		large.Path = path
		return large
	case errors.Is(err, fs.ErrNotExist):
		if _, lerr := os.Lstat(path); lerr == nil {
			return &FileError{path, Missing, fmt.Errorf("is a symbolic link to a missing file; put the file back: %w", err)}
		}
		return &FileError{path, Missing, fmt.Errorf("is missing; create it (keyring init), or put it back: %w", err)}
	case errors.Is(err, fs.ErrPermission):
		return &FileError{path, Unreadable, fmt.Errorf("must not be read by this user; "+
			"run this as the file's owner, or let the file's group read it: %w", err)}
	}
	return &FileError{path, Unreadable, fmt.Errorf("cannot be read: %w", err)}
}

func tooLarge() *FileError {
	return fileError(TooLarge, "is larger than %d bytes: not a keyring file", maxFile)
}

// checkLinked refuses a file that was removed, or replaced by a rename, although the path
// still leads to the file. A mount of a single file does so: it keeps the file of the moment
// of mounting. (A file that is replaced just after it was opened has no name either, but the
// path leads to another file by then.)
func checkLinked(path string, stat fs.FileInfo) error {
	if !durable.Unlinked(stat) {
		return nil
	}
	now, err := os.Stat(path)
	if err != nil || !durable.Unlinked(now) {
		return nil
	}
	return &FileError{path, Unlinked, errors.New("was replaced by a newer file, which cannot be seen here, " +
		"since the single file is mounted; mount the file's folder instead (in Kubernetes: without subPath)")}
}

// checkMode refuses an unencrypted file that others may read or write, by package kms's rule
// for files with secrets.
func checkMode(path string, stat fs.FileInfo, c *Config) error {
	if c.KEK != InsecureCleartext {
		return nil
	}
	if err := durable.CheckPrivate(path, stat); err != nil {
		return &FileError{path, Exposed, fmt.Errorf("holds its keys in clear: %w", err)}
	}
	return nil
}

// decode opens the bytes of a file. The error is a *FileError with the path.
func decode(path string, data []byte, c *Config) (*contents, error) {
	f, err := open(data, c)
	if err != nil {
		err.Path = path
		return nil, err
	}
	return f, nil
}

func open(data []byte, c *Config) (*contents, *FileError) {
	line, encoded, ferr := split(data)
	if ferr != nil {
		return nil, ferr
	}
	if bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) || bytes.HasSuffix(line, []byte("\r")) {
		return nil, fileError(BadHeader, "was rewritten as text (it has a byte order mark, or its lines end in CR LF); "+
			"copy it again, byte by byte")
	}
	h, err := parseHeader(line)
	if err != nil {
		return nil, fileError(BadHeader, "has an unreadable first line: the header %w", err)
	}
	if ferr := h.matches(c); ferr != nil {
		return nil, ferr
	}
	// DecodeString skips CR and LF, even when strict.
	wrapped, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if err != nil || bytes.ContainsRune(encoded, '\r') {
		return nil, fileError(NotBase64, "is damaged: its second line is not base64; restore it from a copy")
	}
	plain, err := c.KEK.Decrypt(wrapped, associatedData(c.Realm, line))
	if errors.Is(err, ErrKEKUnavailable) {
		return nil, fileError(KEKUnavailable, "cannot be opened now, whether good or not: %w", err)
	}
	if err != nil && h.Kind.isSigned() {
		return nil, fileError(NotOpened, "does not open: it is signed by another identity than the given identity, "+
			"or was changed: %w; compare the fingerprint with its owner", err)
	}
	if err != nil {
		return nil, fileError(NotOpened, "does not open: it is under another %s KEK than the given KEK, or was changed: %w",
			h.KEK, err)
	}
	if h.Kind.isSigned() {
		return &contents{header: h, document: plain, file: data, fingerprint: sha256.Sum256(data)}, nil
	}
	defer clear(plain)
	handle, ferr := parseKeyset(plain, h)
	if ferr != nil {
		return nil, ferr
	}
	return &contents{header: h, handle: handle, fingerprint: sha256.Sum256(data)}, nil
}

// peek reads the header of a file without a KEK. Anybody may have written such a header.
func peek(path string, data []byte) (*contents, error) {
	line, _, ferr := split(data)
	if ferr != nil {
		ferr.Path = path
		return nil, ferr
	}
	h, err := parseHeader(line)
	if err != nil {
		return nil, &FileError{path, BadHeader, fmt.Errorf("has an unreadable first line: the header %w", err)}
	}
	return &contents{header: h, fingerprint: sha256.Sum256(data)}, nil
}

// split returns the two lines of a file.
func split(data []byte) (line, encoded []byte, err *FileError) {
	if len(data) == 0 {
		return nil, nil, fileError(Empty, "is empty; restore it from a copy")
	}
	if len(data) > maxFile {
		return nil, nil, tooLarge()
	}
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, nil, fileError(Truncated, "is cut short, or not a keyring file: it has no second line; "+
			"restore it from a copy")
	}
	encoded, rest, ok = bytes.Cut(rest, []byte("\n"))
	if !ok || len(encoded) == 0 {
		return nil, nil, fileError(Truncated, "is cut short: its second line does not end; restore it from a copy")
	}
	if len(rest) > 0 {
		return nil, nil, fileError(TrailingData, "goes on after its second line: two files in one? "+
			"restore it from a copy")
	}
	return line, encoded, nil
}

// matches compares the header with the reader's configuration.
func (h *header) matches(c *Config) *FileError {
	hint := c.KEK.Hint()
	switch {
	case c.Kind != AnyKind && h.Kind != c.Kind:
		what := "keyring"
		if h.Kind.isSigned() {
			what = "signed file"
		}
		return fileError(WrongKind, "is a %s of kind %s instead of kind %s; give the right file", what, h.Kind, c.Kind)
	case h.Realm != c.Realm:
		return fileError(WrongRealm, "belongs to realm %q, and realm %q is configured; give the right file or realm",
			h.Realm, c.Realm)
	case h.KEK == cleartextHint && hint != cleartextHint:
		return fileError(IsCleartext, "is not encrypted, and a KEK is configured; do not trust it unless you made it so")
	case h.KEK != cleartextHint && hint == cleartextHint:
		return fileError(NotCleartext, "is encrypted under a KEK (%s), and no KEK is configured; "+
			"give the KEK instead of asking for cleartext", h.KEK)
	case h.KEK != hint:
		return fileError(WrongKEK, "is under another type of KEK (%s) than the configured KEK (%s); give the right KEK",
			h.KEK, hint)
	case h.Generation < c.MinGeneration && !c.UnsafeOlder:
		return fileError(RolledBack, "is generation %d, and %d was seen before: an older file was put back",
			h.Generation, c.MinGeneration)
	}
	return nil
}

// associatedData returns the associated data of the wrapping.
func associatedData(realm string, line []byte) []byte {
	sum := sha256.Sum256(line)
	return sealing.AssociatedData("admitone/keyring/1", realm, string(sum[:]))
}

// parseKeyset reads the serialized keyset and compares it with the header.
func parseKeyset(plain []byte, h *header) (*keyset.Handle, *FileError) {
	ks := new(tinkpb.Keyset)
	if err := proto.Unmarshal(plain, ks); err != nil {
		return nil, fileError(BadKeyset, "does not hold a Tink keyset; restore it from a copy")
	}
	if ferr := checkKeys(ks); ferr != nil {
		return nil, ferr
	}
	handle, entries, err := readKeyset(plain)
	if err != nil {
		return nil, fileError(BadKeyset, "holds a keyset that Tink refuses: %w", err)
	}
	if len(entries) != len(h.Keys) {
		return nil, fileError(Disagree, "disagrees with itself: %d keys in the header, %d in the keyset",
			len(h.Keys), len(entries))
	}
	for _, entry := range entries {
		if ferr := agrees(entry, h); ferr != nil {
			return nil, ferr
		}
	}
	return handle, nil
}

// readKeyset returns the handle of a serialized keyset, and its entries.
func readKeyset(plain []byte) (handle *keyset.Handle, entries []*keyset.Entry, err error) {
	handle, err = insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, nil, err
	}
	entries = make([]*keyset.Entry, handle.Len())
	for i := range entries {
		if entries[i], err = handle.Entry(i); err != nil {
			return nil, nil, err
		}
	}
	return handle, entries, nil
}

// checkKeys checks two rules that some versions of Tink do not check. Of two keys with one
// ID, some readers would drop the second, and others would find it first.
func checkKeys(ks *tinkpb.Keyset) *FileError {
	seen := make(map[KeyID]bool, len(ks.GetKey()))
	for _, k := range ks.GetKey() {
		id := KeyID(k.GetKeyId())
		if seen[id] {
			return fileError(BadKeyset, "holds two keys with the ID %v; restore it from a copy", id)
		}
		seen[id] = true
		if p := k.GetOutputPrefixType(); p != tinkpb.OutputPrefixType_TINK {
			return fileError(BadKeyset, "holds key %v with output prefix %v; only TINK is allowed", id, p)
		}
	}
	return nil
}

// agrees compares a key with its entry in the header.
func agrees(entry *keyset.Entry, h *header) *FileError {
	id := KeyID(entry.KeyID())
	k := h.key(id)
	if k == nil {
		return fileError(Disagree, "disagrees with itself: key %v is in the keyset and not in the header", id)
	}
	algorithm, err := algorithmOf(h.Kind, entry.Key().Parameters())
	unused := !k.opens() && entry.KeyStatus() == keyset.Disabled
	if err != nil && unused && !slices.Contains(Algorithms(h.Kind), k.Algorithm) {
		// A key that opens nothing may have an unknown algorithm, so that keys of new
		// algorithms can come before every reader is updated.
		return nil
	}
	if err != nil {
		return fileError(BadKeyset, "holds key %v, which %w", id, err)
	}
	want := keyset.Disabled
	if k.opens() {
		want = keyset.Enabled
	}
	switch {
	case k.Algorithm != algorithm:
		return fileError(Disagree, "disagrees with itself: key %v is of %s in the header, of %s in the keyset",
			id, k.Algorithm, algorithm)
	case entry.KeyStatus() != want:
		return fileError(Disagree, "disagrees with itself: key %v is %s in the header, %v in the keyset",
			id, k.State, entry.KeyStatus())
	case entry.IsPrimary() != (k.State == Primary):
		return fileError(Disagree, "disagrees with itself: key %v is %s in the header, and the keyset has another primary",
			id, k.State)
	}
	return nil
}

// encode wraps a keyset, or signs a document, under its header, and checks the result: the file
// must open, and the KEK must protect the header.
func encode(path string, h *header, handle *keyset.Handle, plain []byte, c *Config) ([]byte, *contents, error) {
	line, err := h.encode()
	if err != nil {
		return nil, nil, err
	}
	ad := associatedData(c.Realm, line)
	if handle != nil {
		if plain, err = proto.Marshal(insecurecleartextkeyset.KeysetMaterial(handle)); err != nil {
			return nil, nil, err
		}
		defer clear(plain)
	}
	wrapped, err := c.KEK.Encrypt(plain, ad)
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping the keyset: %w", err)
	}
	if err := checkWrapping(c.KEK, wrapped, ad); err != nil {
		return nil, nil, err
	}
	data := append(line, '\n')
	data = base64.StdEncoding.AppendEncode(data, wrapped)
	data = append(data, '\n')
	f, err := decode(path, data, c)
	if err != nil {
		return nil, nil, fmt.Errorf("nothing was written, since the new file does not open: %w", err)
	}
	if _, err := newKeySet(f, nil, c.now()); err != nil {
		return nil, nil, err
	}
	return data, f, nil
}
