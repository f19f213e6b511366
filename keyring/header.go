package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// KeyID is the ID of a key; see token.KeyID.
type KeyID = token.KeyID

// State is the state of a key.
type State string

// The states of a key. A destroyed key has no state; its ID is among Info.Tombstones.
const (
	Staged   State = "staged"   // there, and opens nothing yet: some readers may not know the algorithm
	Pending  State = "pending"  // opens, and does not seal yet
	Primary  State = "primary"  // opens and seals; exactly one key is primary
	Retiring State = "retiring" // opens its ciphertexts, and seals no more
	Disabled State = "disabled" // opens nothing
)

// Key is the header's entry of a key, without the secret. Times are UTC, in whole
// milliseconds. The zero time has not come.
type Key struct {
	ID        KeyID     `json:"id"`
	Algorithm string    `json:"algorithm"` // one of Algorithms; perhaps of a later version if staged or disabled
	State     State     `json:"state"`
	Created   time.Time `json:"created"`
	Enabled   time.Time `json:"enabled,omitzero"`  // since when the key opens
	Promoted  time.Time `json:"promoted,omitzero"` // when the key first became the primary
	Demoted   time.Time `json:"demoted,omitzero"`  // when the key last ceased to be the primary
	Disabled  time.Time `json:"disabled,omitzero"` // when the key was disabled
	Known     time.Time `json:"known,omitzero"`    // earliest promotion, since an earlier policy let readers lag longer
	Sealed    time.Time `json:"sealed,omitzero"`   // until when an earlier policy let others seal with the key
	Needed    time.Time `json:"needed,omitzero"`   // earliest end, since ciphertexts of an earlier policy live on
	Held      bool      `json:"held,omitempty"`    // the key must not become the primary
	Revoked   bool      `json:"revoked,omitempty"` // the key was disabled for good
	Reason    string    `json:"reason,omitempty"`  // why the key is held or disabled: up to 256 bytes of text
}

// header is the file's first line.
type header struct {
	Format     int    `json:"format"`
	Kind       Kind   `json:"kind"`
	Realm      string `json:"realm"`
	Generation uint64 `json:"generation"`
	KEK        string `json:"kek"` // the KEK's hint
	Policy     Policy `json:"policy"`

	// Known is the end of the time for which an earlier policy let readers go on with files, or
	// with public keys, of before the present policy.
	Known time.Time `json:"known,omitzero"`

	Audit      string  `json:"audit"` // SHA-256, in hexadecimal, of this generation's intent in the audit log
	Keys       []Key   `json:"keys"`
	Tombstones []KeyID `json:"tombstones,omitempty"` // of destroyed keys, in the order of destruction
}

const (
	format        = 1
	maxHeader     = 512 << 10
	headerReserve = 16 << 10 // part of maxHeader that only revocations may use: some 30 keys
	maxReason     = 256
	maxKEKHint    = 64
)

func (h *header) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(h); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(line) > maxHeader {
		return nil, fmt.Errorf("the header would be longer than %d bytes; destroy keys, or make a new keyring", maxHeader)
	}
	return line, nil
}

// parseHeader reads the first line of a file, and refuses a line that this package would not
// have written.
func parseHeader(line []byte) (*header, error) {
	if len(line) > maxHeader {
		return nil, fmt.Errorf("is longer than %d bytes", maxHeader)
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(line, &version); err != nil {
		return nil, err
	}
	if version.Format != format {
		return nil, fmt.Errorf("is of format %d, and this program reads format %d only", version.Format, format)
	}
	h := new(header)
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(h); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	// A header has one form. encoding/json accepts repeated fields, fields in another case
	// and white space; the comparison does not.
	again, err := h.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(line, again) {
		return nil, errors.New("is not in canonical form (a field is repeated, spelt otherwise or out of place)")
	}
	return h, nil
}

// check refuses a header that contradicts itself.
func (h *header) check() error {
	if err := h.Kind.check(); err != nil {
		return fmt.Errorf("kind %w", err)
	}
	if err := token.CheckRealm("realm", h.Realm); err != nil {
		return err
	}
	if err := checkText("kek", h.KEK, maxKEKHint); err != nil {
		return err
	}
	if h.Generation == 0 {
		return errors.New("generation is 0; the first is 1")
	}
	if !isHash(h.Audit) {
		return errors.New("audit is not a SHA-256 in hexadecimal")
	}
	if err := kekFault(h.Kind, h.KEK); err != nil {
		return err
	}
	if h.Kind.isSigned() {
		return h.checkSigned()
	}
	if err := h.Policy.Check(h.Kind); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if !isStamp(h.Known) {
		return errors.New("known is not UTC in whole milliseconds")
	}
	primaries := 0
	seen := make(map[KeyID]bool, len(h.Keys)+len(h.Tombstones))
	for i := range h.Keys {
		k := &h.Keys[i]
		if err := k.check(h.Kind); err != nil {
			return fmt.Errorf("key %v: %w", k.ID, err)
		}
		if seen[k.ID] {
			return fmt.Errorf("key %v is there twice", k.ID)
		}
		seen[k.ID] = true
		if k.State == Primary {
			primaries++
		}
	}
	if primaries != 1 {
		return fmt.Errorf("%d keys are primary; exactly one must be", primaries)
	}
	for _, id := range h.Tombstones {
		if seen[id] {
			return fmt.Errorf("key %v was destroyed, and is there again", id)
		}
		seen[id] = true
	}
	return nil
}

func (k *Key) check(kind Kind) error {
	if k.ID == 0 {
		return errors.New("its ID is 0, which no key has")
	}
	// A reader need not know the algorithms of keys that open nothing.
	known := slices.Contains(Algorithms(kind), k.Algorithm)
	if !known && (k.State != Staged && k.State != Disabled || !isAlgorithmName(k.Algorithm)) {
		return fmt.Errorf("algorithm %q is not for %s keyrings", k.Algorithm, kind)
	}
	enabled, promoted := !k.Enabled.IsZero(), !k.Promoted.IsZero()
	demoted, disabled := !k.Demoted.IsZero(), !k.Disabled.IsZero()
	var fits bool
	switch k.State {
	case Staged:
		fits = !enabled && !promoted && !demoted && !disabled
	case Pending:
		fits = enabled && !promoted && !demoted && !disabled
	case Primary:
		fits = enabled && promoted && !demoted && !disabled
	case Retiring:
		fits = enabled && promoted && demoted && !disabled
	case Disabled:
		fits = disabled && promoted == demoted && (enabled || !promoted)
	default:
		return fmt.Errorf("state %q is unknown", string(k.State))
	}
	if k.Created.IsZero() || !fits || !promoted && !(k.Needed.IsZero() && k.Sealed.IsZero()) ||
		!enabled && !k.Known.IsZero() {
		return fmt.Errorf("its times do not fit its state, %s", k.State)
	}
	for _, t := range append(k.times(), k.Known, k.Sealed, k.Needed) {
		if !isStamp(t) {
			return errors.New("its times are not all UTC in whole milliseconds")
		}
	}
	switch {
	case k.Held && k.State == Primary:
		return errors.New("it is held, and the primary")
	case k.Revoked && !disabled:
		return errors.New("it is revoked, and not disabled")
	case k.Reason != "" && !disabled && !k.Held:
		return errors.New("it has a reason, and is neither held nor disabled")
	}
	return checkText("reason", k.Reason, maxReason)
}

// isStamp reports whether t is a time as files have it: UTC, in whole milliseconds.
func isStamp(t time.Time) bool {
	return t.Location() == time.UTC && t.Nanosecond()%int(time.Millisecond) == 0
}

// times returns the times of all steps that were done to k.
func (k *Key) times() []time.Time {
	return []time.Time{k.Created, k.Enabled, k.Promoted, k.Demoted, k.Disabled}
}

// opens reports whether k is enabled in the keyset.
func (k *Key) opens() bool {
	return k.State == Pending || k.State == Primary || k.State == Retiring
}

// withheld reports whether others are not told of k, which opens: it has made nothing, and a thief
// may have it.
func (k *Key) withheld() bool { return k.State == Pending && k.Held }

func isAlgorithmName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// isHash reports whether s is a SHA-256 in lower-case hexadecimal.
func isHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func (h *header) key(id KeyID) *Key {
	for i := range h.Keys {
		if h.Keys[i].ID == id {
			return &h.Keys[i]
		}
	}
	return nil
}

// primary returns the primary key, or nil for a signed file.
func (h *header) primary() *Key {
	i := slices.IndexFunc(h.Keys, func(k Key) bool { return k.State == Primary })
	if i < 0 {
		return nil
	}
	return &h.Keys[i]
}

// last returns the time of the last step that was done to a key.
func (h *header) last() time.Time {
	var last time.Time
	for _, k := range h.Keys {
		for _, t := range k.times() {
			if t.After(last) {
				last = t
			}
		}
	}
	return last
}

// checkText applies the rule of package textrule. The error begins with name.
func checkText(name, s string, limit int) error {
	if fault := textrule.Fault(s, limit); fault != "" {
		return errors.New(name + " " + fault)
	}
	return nil
}
