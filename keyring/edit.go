package keyring

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/internal/durable"
)

// Create makes a keyring file at path, mode 0600, with one key, the primary, of
// the given algorithm ("" means the kind's default; see Algorithms). It never
// overwrites: where there is a file, the error wraps fs.ErrExist. DefaultPolicy
// has a policy for those who have none of their own.
func Create(path string, c Config, p Policy, algorithm string) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Kind == AnyKind {
		return errors.New("keyring: a new keyring must be of one kind: ticket, session or channel")
	}
	if err := p.Check(c.Kind); err != nil {
		return fmt.Errorf("keyring: policy: %w", err)
	}
	now := c.now()
	h := &header{Format: format, Kind: c.Kind, Realm: c.Realm, Generation: 1, KEK: c.KEK.Hint(), Policy: p}
	m := keyset.NewManager()
	if err := addPrimary(h, m, algorithm, now); err != nil {
		return err
	}
	data, err := seal(path, h, m, &c)
	if err != nil {
		return err
	}
	if err := durable.Create(path, data, 0o600); err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	return nil
}

// Read opens the file at path and returns what it says. Errors are as Open's.
func Read(path string, c Config) (Info, error) {
	if err := c.check(); err != nil {
		return Info{}, err
	}
	f, err := read(path, &c)
	if err != nil {
		return Info{}, err
	}
	return f.info(), nil
}

// Rotate adds a key of the primary's algorithm and makes it the primary at
// once; the old primary retires. It returns what the file then says. Processes
// that have not read the new file refuse what the new key seals; a Ring looks
// at the file as soon as it meets a key that it does not know.
//
// As all changes, it holds an advisory lock (PATH.lock beside the file), and
// either replaces the file as a whole or leaves it as it was. Errors are as
// Open's and durable storage's.
func Rotate(path string, c Config) (Info, error) {
	return change(path, &c, c.UnsafeClockBehind, func(h *header, m *keyset.Manager, now time.Time) error {
		old := h.primary()
		old.State, old.Demoted = Retiring, now
		return addPrimary(h, m, old.Algorithm, now)
	})
}

// DisableOptions says how to disable a key.
type DisableOptions struct {
	Reason string // for the record: up to 256 bytes of text

	// RefuseLive disables a key although things that it sealed may still be good,
	// which will then be refused.
	RefuseLive bool
}

// Disable makes a retiring key open nothing, and returns what the file then says.
// The error is a *BlockedError if the key is the primary, or if what it sealed
// may still be good (see Policy.DisableFrom) and o does not say RefuseLive. If
// the key is disabled already, the error wraps ErrAlreadyDisabled.
func Disable(path string, c Config, id KeyID, o DisableOptions) (Info, error) {
	if err := checkText("reason", o.Reason, maxReason); err != nil {
		return Info{}, fmt.Errorf("keyring: %w", err)
	}
	// An emergency does not wait for a clock to be put right.
	anyClock := o.RefuseLive || c.UnsafeClockBehind
	return change(path, &c, anyClock, func(h *header, m *keyset.Manager, now time.Time) error {
		k := h.key(id)
		if k == nil {
			return fmt.Errorf("keyring: there is no key %v in %s; keyring status lists those there are", id, path)
		}
		switch k.State {
		case Disabled:
			return fmt.Errorf("keyring: key %v %w", id, ErrAlreadyDisabled)
		case Primary:
			return &BlockedError{ID: id, State: k.State}
		}
		if from := h.Policy.DisableFrom(*k); !o.RefuseLive && (from.IsZero() || now.Before(from)) {
			return &BlockedError{ID: id, State: k.State, From: from}
		}
		k.State, k.Disabled, k.Reason = Disabled, now, o.Reason
		return m.Disable(uint32(id))
	})
}

// change applies f to the header and keyset at path and writes them as the next
// generation, under the lock. If f fails, nothing is written. With anyClock, a
// clock far behind the file does not hinder.
func change(path string, c *Config, anyClock bool, f func(*header, *keyset.Manager, time.Time) error) (Info, error) {
	if err := c.check(); err != nil {
		return Info{}, err
	}
	// Before the lock, which would leave a lock file beside a file that is not there.
	if _, err := read(path, c); err != nil {
		return Info{}, err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Info{}, fmt.Errorf("keyring: %w", err)
	}
	lock, err := durable.Lock(target + ".lock")
	if errors.Is(err, durable.ErrLocked) {
		return Info{}, fmt.Errorf("keyring: another process is changing %s; try again: %w", path, err)
	}
	if err != nil {
		return Info{}, fmt.Errorf("keyring: %w", err)
	}
	defer lock.Close()
	// The lock is of target. Were path read again, it might be another file by now.
	if again, err := filepath.EvalSymlinks(path); err != nil || again != target {
		return Info{}, fmt.Errorf("keyring: %s: the link was moved while waiting for the lock; nothing was changed; try again", path)
	}
	old, err := read(target, c)
	if err != nil {
		return Info{}, err
	}
	h := old.header
	now, err := h.stamp(c.now(), anyClock)
	if err != nil {
		return Info{}, err
	}
	m := keyset.NewManagerFromHandle(old.handle)
	if err := f(h, m, now); err != nil {
		return Info{}, err
	}
	h.Generation++
	data, err := seal(target, h, m, c)
	if err != nil {
		return Info{}, err
	}
	if err := durable.WriteFile(target, data, 0o600); err != nil {
		return Info{}, fmt.Errorf("keyring: %w", err)
	}
	written, err := decode(target, data, c)
	if err != nil {
		return Info{}, err
	}
	return written.info(), nil
}

func read(path string, c *Config) (*contents, error) {
	data, stat, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f, err := decode(path, data, c)
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, stat, c); err != nil {
		return nil, err
	}
	return f, nil
}

func seal(path string, h *header, m *keyset.Manager, c *Config) ([]byte, error) {
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	return encode(path, h, handle, c)
}

// addPrimary makes a new key and makes it the primary, in header and keyset. The
// old primary's entry in the header is the caller's affair.
func addPrimary(h *header, m *keyset.Manager, algorithm string, now time.Time) error {
	params, err := parameters(h.Kind, algorithm)
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	if algorithm, err = algorithmOf(h.Kind, params); err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	id, err := m.AddNewKeyFromParameters(params)
	if err != nil {
		return fmt.Errorf("keyring: making a key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	h.Keys = append(h.Keys, Key{ID: KeyID(id), Algorithm: algorithm, State: Primary, Created: now, Promoted: now})
	return nil
}

// stamp returns the time to record for a change. It is never before what the
// file records already; a clock that is behind that by more than the skew is
// refused unless anyClock, since every retirement is reckoned from what is
// recorded.
func (h *header) stamp(now time.Time, anyClock bool) (time.Time, error) {
	last := time.Time{}
	for _, k := range h.Keys {
		for _, t := range []time.Time{k.Created, k.Promoted, k.Demoted, k.Disabled} {
			if t.After(last) {
				last = t
			}
		}
	}
	if !anyClock && now.Before(last.Add(-h.Policy.Skew)) {
		return now, fmt.Errorf("keyring: the clock says %s, and the keyring was last changed at %s; set the clock, "+
			"or the machine that made the last change was ahead: then see --unsafe-clock-behind of keyring rotate, "+
			"and --unsafe-refuse-live-tickets of keyring disable", now.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	if now.Before(last) {
		now = last
	}
	return now, nil
}
