package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

const maxFile = 1 << 20

// Config is what a reader or writer of a keyring brings of its own, and what
// the file must match.
type Config struct {
	Kind  Kind   // what the keys are for; AnyKind for all but Create, CreateFrom and Open
	Realm string // the deployment's name: up to 64 bytes of text, may be empty
	KEK   KEK    // see package kms; or InsecureCleartext

	// MinGeneration is the lowest generation to accept. A service that keeps the
	// highest that it has seen gives it here, and no older file comes back.
	MinGeneration uint64

	// UnsafeClockBehind lets a change go on although the clock is behind the file's
	// last change by more than the skew: what the file dates ahead of this clock is
	// dated now instead. Where it is this clock that is wrong, the old key will seem
	// to be needed no more before that is so.
	UnsafeClockBehind bool

	// UnsafeOlder takes a file that is older than MinGeneration or the audit log beside
	// it say: one restored from a backup. Keys that were disabled or destroyed since
	// are back. The next change gets a generation above all that the log knows, and
	// above MinGeneration, so that services that have seen that take it. (A Ring that is
	// open, and has keys that the file lacks, does not.)
	UnsafeOlder bool

	Actor string           // who asks for a change, for the audit log, beside the user of the system; may be empty
	Now   func() time.Time // the clock; nil means time.Now

	// For a Ring only.
	Poll     time.Duration // how often it looks at the file; 0 means every second. With the file's own way, less than Policy.Propagation
	Log      *slog.Logger  // gets reloads and failures; nil means slog.Default()
	OnReload func(Report)  // called after new keys were taken, and when looks begin or cease to fail; it must return soon, and not call Reload, HasKey or Close

	at       func(step string) error // called before each step of a write, so that a test can fail or die there
	patience time.Duration           // how long HasKey and Reload wait, so that a test can run on a busy machine; 0 means what they say
}

func (c *Config) check() error {
	if c.Kind != AnyKind {
		if err := c.Kind.check(); err != nil {
			return &token.ConfigError{Field: "keyring.Config.Kind", Reason: err.Error()}
		}
	}
	if err := token.CheckRealm("keyring.Config.Realm", c.Realm); err != nil {
		return err
	}
	if fault := textrule.Fault(c.Actor, maxReason); fault != "" {
		return &token.ConfigError{Field: "keyring.Config.Actor", Reason: fault}
	}
	return checkKEK("keyring.Config.KEK", c.KEK)
}

// step calls c.at.
func (c *Config) step(name string) error {
	if c.at == nil {
		return nil
	}
	return c.at(name)
}

func (c *Config) now() time.Time {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return now().UTC().Truncate(time.Millisecond)
}

// Info is what a keyring file says, its keys excepted.
type Info struct {
	Kind        Kind   `json:"kind"`
	Realm       string `json:"realm"`
	Generation  uint64 `json:"generation"`  // rises by one at each write, from 1
	Fingerprint string `json:"fingerprint"` // SHA-256 of the file in hex, as sha256sum shows it
	KEK         string `json:"kek"`         // the KEK's hint
	Policy      Policy `json:"policy"`
	Audit       string `json:"audit"` // the audit log's entry of this generation, see AuditEntry.Hash
	Primary     KeyID  `json:"primary"`

	Keys       []Key   `json:"keys"`                 // oldest first
	Tombstones []KeyID `json:"tombstones,omitempty"` // of destroyed keys: IDs that are never given again
}

// contents is a file that was read, opened and found good.
type contents struct {
	header      *header
	handle      *keyset.Handle
	fingerprint [sha256.Size]byte
}

func (f *contents) info() Info {
	return Info{
		Kind:        f.header.Kind,
		Realm:       f.header.Realm,
		Generation:  f.header.Generation,
		Fingerprint: hex.EncodeToString(f.fingerprint[:]),
		KEK:         f.header.KEK,
		Policy:      f.header.Policy,
		Audit:       f.header.Audit,
		Primary:     f.header.primary().ID,
		Keys:        slices.Clone(f.header.Keys),
		Tombstones:  slices.Clone(f.header.Tombstones),
	}
}

// readFile reads a keyring file, with what the system says of the file. The
// error is a *FileError.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	data, stat, err := durable.ReadFile(path, maxFile)
	if err != nil {
		return nil, nil, readFault(path, err)
	}
	return data, stat, nil
}

// readFault says what to do about a file that the system does not give.
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
			return &FileError{path, Missing, fmt.Errorf("is a symbolic link that leads nowhere; put back what it leads to: %w", err)}
		}
		return &FileError{path, Missing, fmt.Errorf("is missing; make it with keyring init, or put it back: %w", err)}
	case errors.Is(err, fs.ErrPermission):
		return &FileError{path, Unreadable, fmt.Errorf("must not be read by this user; run this as its owner, or let the file's group read it: %w", err)}
	}
	return &FileError{path, Unreadable, fmt.Errorf("cannot be read: %w", err)}
}

func tooLarge() *FileError {
	return fault(TooLarge, "is larger than %d bytes: not a keyring file", maxFile)
}

// checkMode refuses a file in clear that others may read or write, by the rule of
// package kms for files with secrets.
func checkMode(path string, stat fs.FileInfo, c *Config) error {
	if c.KEK != InsecureCleartext {
		return nil
	}
	if err := durable.CheckPrivate(path, stat); err != nil {
		return &FileError{path, Exposed, fmt.Errorf("holds its keys in clear: %w", err)}
	}
	return nil
}

// decode opens the bytes of a file. The error is a *FileError with that path.
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
		return nil, fault(BadHeader, "was rewritten as text (it has a byte order mark, or its lines end in CR LF); copy it again, byte by byte")
	}
	h, err := parseHeader(line)
	if err != nil {
		return nil, fault(BadHeader, "has an unreadable first line: the header %w", err)
	}
	if ferr := h.matches(c); ferr != nil {
		return nil, ferr
	}
	// DecodeString skips CR and LF, even when strict.
	wrapped, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if err != nil || bytes.ContainsRune(encoded, '\r') {
		return nil, fault(NotBase64, "is damaged: its second line is not base64; restore it from a copy")
	}
	plain, err := c.KEK.Decrypt(wrapped, associatedData(c.Realm, line))
	if errors.Is(err, ErrKEKUnavailable) {
		return nil, fault(KEKUnavailable, "cannot be opened now, good or not: %w", err)
	}
	if err != nil {
		return nil, fault(NotOpened, "does not open: it is under another %s KEK than the one given, or was changed: %w", h.KEK, err)
	}
	defer clear(plain)
	handle, ferr := parseKeyset(plain, h)
	if ferr != nil {
		return nil, ferr
	}
	return &contents{h, handle, sha256.Sum256(data)}, nil
}

// peek reads what a file says of itself, which anyone may have written.
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

// split cuts a file into its two lines.
func split(data []byte) (line, encoded []byte, err *FileError) {
	if len(data) == 0 {
		return nil, nil, fault(Empty, "is empty; restore it from a copy")
	}
	if len(data) > maxFile {
		return nil, nil, tooLarge()
	}
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, nil, fault(Truncated, "is cut short, or not a keyring file: it has no second line; restore it from a copy")
	}
	encoded, rest, ok = bytes.Cut(rest, []byte("\n"))
	if !ok || len(encoded) == 0 {
		return nil, nil, fault(Truncated, "is cut short: its second line does not end; restore it from a copy")
	}
	if len(rest) > 0 {
		return nil, nil, fault(TrailingData, "goes on after its second line: two files in one? restore it from a copy")
	}
	return line, encoded, nil
}

// matches compares what the file says of itself with the reader's configuration.
func (h *header) matches(c *Config) *FileError {
	hint := c.KEK.Hint()
	switch {
	case c.Kind != AnyKind && h.Kind != c.Kind:
		return fault(WrongKind, "is a %s keyring, and a %s keyring is wanted; give the right file", h.Kind, c.Kind)
	case h.Realm != c.Realm:
		return fault(WrongRealm, "is of realm %q, and realm %q is configured; give the right file or realm", h.Realm, c.Realm)
	case h.KEK == cleartextHint && hint != cleartextHint:
		return fault(IsCleartext, "is in clear, and a KEK is configured; do not trust it unless you made it so yourself")
	case h.KEK != cleartextHint && hint == cleartextHint:
		return fault(NotCleartext, "is encrypted under a KEK (%s), and none is configured; give the KEK instead of asking for cleartext", h.KEK)
	case h.KEK != hint:
		return fault(WrongKEK, "is under another sort of KEK (%s) than is configured (%s); give the right one", h.KEK, hint)
	case h.Generation < c.MinGeneration && !c.UnsafeOlder:
		return fault(RolledBack, "is generation %d, and %d was seen before: an older file was put back", h.Generation, c.MinGeneration)
	}
	return nil
}

// associatedData returns what the keyset is wrapped with.
func associatedData(realm string, line []byte) []byte {
	sum := sha256.Sum256(line)
	return sealing.AssociatedData("admitone/keyring/1", realm, string(sum[:]))
}

// parseKeyset reads the serialized keyset and holds it against the header.
func parseKeyset(plain []byte, h *header) (*keyset.Handle, *FileError) {
	ks := new(tinkpb.Keyset)
	if err := proto.Unmarshal(plain, ks); err != nil {
		return nil, fault(BadKeyset, "does not hold a Tink keyset; restore it from a copy")
	}
	if ferr := checkKeys(ks); ferr != nil {
		return nil, ferr
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, fault(BadKeyset, "holds a keyset that Tink refuses: %w", err)
	}
	if handle.Len() != len(h.Keys) {
		return nil, fault(Disagree, "disagrees with itself: %d keys in the header, %d in the keyset", len(h.Keys), handle.Len())
	}
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, fault(BadKeyset, "holds a keyset that Tink refuses: %w", err)
		}
		if ferr := agrees(entry, h); ferr != nil {
			return nil, ferr
		}
	}
	return handle, nil
}

// checkKeys is our own look at what Tink has at times not looked at: a second key
// of the same ID, disabled, would be dropped or found first, as the reader pleases.
func checkKeys(ks *tinkpb.Keyset) *FileError {
	seen := make(map[KeyID]bool, len(ks.GetKey()))
	for _, k := range ks.GetKey() {
		id := KeyID(k.GetKeyId())
		if seen[id] {
			return fault(BadKeyset, "holds two keys with the ID %v; restore it from a copy", id)
		}
		seen[id] = true
		if p := k.GetOutputPrefixType(); p != tinkpb.OutputPrefixType_TINK {
			return fault(BadKeyset, "holds key %v with output prefix %v; only TINK is allowed", id, p)
		}
	}
	return nil
}

// agrees compares a key with its entry in the header.
func agrees(entry *keyset.Entry, h *header) *FileError {
	id := KeyID(entry.KeyID())
	k := h.key(id)
	if k == nil {
		return fault(Disagree, "disagrees with itself: key %v is in the keyset and not in the header", id)
	}
	algorithm, err := algorithmOf(h.Kind, entry.Key().Parameters())
	if err != nil && !k.opens() && entry.KeyStatus() == keyset.Disabled && !slices.Contains(Algorithms(h.Kind), k.Algorithm) {
		// Of an algorithm that this version does not know, and not in use: so new
		// algorithms come to readers of all versions.
		return nil
	}
	if err != nil {
		return fault(BadKeyset, "holds key %v, which %w", id, err)
	}
	want := keyset.Disabled
	if k.opens() {
		want = keyset.Enabled
	}
	switch {
	case k.Algorithm != algorithm:
		return fault(Disagree, "disagrees with itself: key %v is of %s in the header, of %s in the keyset", id, k.Algorithm, algorithm)
	case entry.KeyStatus() != want:
		return fault(Disagree, "disagrees with itself: key %v is %s in the header, %v in the keyset", id, k.State, entry.KeyStatus())
	case entry.IsPrimary() != (k.State == Primary):
		return fault(Disagree, "disagrees with itself: key %v is %s in the header, which the keyset denies", id, k.State)
	}
	return nil
}

// encode wraps a keyset under its header, and makes sure that what comes out
// can be read again and that the KEK protects it.
func encode(path string, h *header, handle *keyset.Handle, c *Config) ([]byte, *contents, error) {
	line, err := h.encode()
	if err != nil {
		return nil, nil, err
	}
	ad := associatedData(c.Realm, line)
	plain, err := proto.Marshal(insecurecleartextkeyset.KeysetMaterial(handle))
	if err != nil {
		return nil, nil, err
	}
	defer clear(plain)
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
		return nil, nil, fmt.Errorf("nothing was written, since what was to be written does not open: %w", err)
	}
	if _, err := newSet(f, nil, c.now()); err != nil {
		return nil, nil, err
	}
	return data, f, nil
}
