package keyring

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/internal/sealing"
)

// Report is the state of a Ring, without secrets. The JSON is for operators, who may see the
// details of errors.
type Report struct {
	Info              // of the keys in use
	Loaded  time.Time `json:"loaded"`  // when the keys in use were loaded
	Checked time.Time `json:"checked"` // end of the last look at the file; old if the file system hangs
	Good    time.Time `json:"good"`    // end of the last look that succeeded; the keys may be stale since
	LastErr error     `json:"-"`       // error of the last look, or nil
	Error   string    `json:"error,omitempty"`
	Reason  Reason    `json:"reason,omitempty"` // of LastErr, if that is a *FileError
	Use     []KeyUse  `json:"use"`              // of the keys that open, oldest first
}

// KeyUse counts a Ring's operations with a key since the Ring was opened or the key was last
// enabled. The times are those of looks at the file, and so up to Config.Poll late. They are
// zero for an unused key. The ciphertexts with which constructors such as token.NewIssuer try
// the keys do not count.
type KeyUse struct {
	ID       KeyID     `json:"id"`
	Sealed   uint64    `json:"sealed"`
	Opened   uint64    `json:"opened"`
	FirstUse time.Time `json:"firstUse,omitzero"`
	LastUse  time.Time `json:"lastUse,omitzero"`

	// By says whose tickets a key of a Recipient Ring opened, in the order of names and keys. So
	// an operator sees who still uses a retiring key.
	By []IssuerUse `json:"by,omitempty"`
}

// IssuerUse counts the verified tickets of an issuer that a key opened.
type IssuerUse struct {
	Issuer     string    `json:"issuer"`
	SigningKey KeyID     `json:"signingKey"`
	Opened     uint64    `json:"opened"`
	LastUse    time.Time `json:"lastUse"`
}

// Report returns the Ring's state, without a look at the file.
func (r *Ring) Report() Report {
	s, last := r.keys.Load(), r.last.Load()
	p := Report{
		Info: s.info(), Loaded: s.loaded, Checked: last.checked, Good: last.good,
		LastErr: last.err, Use: s.sample(r.c.now()),
	}
	if last.err != nil {
		p.Error, p.Reason = last.err.Error(), reasonOf(last.err)
	}
	return p
}

// counter counts the ciphertexts that a key sealed and opened. Encrypt and Decrypt only add;
// sample fills in the times.
type counter struct {
	sealed, opened atomic.Uint64

	mu          sync.Mutex
	seen        uint64 // sealed + opened at the last look
	first, last time.Time

	issuersMu sync.RWMutex
	byIssuer  map[issuerKey]*tally // of trusted issuers, so that their number is bounded
}

// issuerKey is a signing key of an issuer.
type issuerKey struct {
	issuer string
	key    KeyID
}

// tally counts the tickets that a signing key signed.
type tally struct {
	opened atomic.Uint64
	seen   uint64 // at the last look
	last   time.Time
}

func (u *counter) openedBy(issuer string, key KeyID) {
	k := issuerKey{issuer, key}
	u.issuersMu.RLock()
	t := u.byIssuer[k]
	u.issuersMu.RUnlock()
	if t == nil {
		u.issuersMu.Lock()
		if t = u.byIssuer[k]; t == nil {
			if u.byIssuer == nil {
				u.byIssuer = make(map[issuerKey]*tally)
			}
			t = new(tally)
			u.byIssuer[k] = t
		}
		u.issuersMu.Unlock()
	}
	t.opened.Add(1)
}

// issuers is sample for the issuers.
func (u *counter) issuers(now time.Time) (all []IssuerUse) {
	u.issuersMu.RLock()
	defer u.issuersMu.RUnlock()
	for of, t := range u.byIssuer {
		if n := t.opened.Load(); n != t.seen {
			t.seen, t.last = n, now
		}
		all = append(all, IssuerUse{of.issuer, of.key, t.seen, t.last})
	}
	slices.SortFunc(all, func(a, b IssuerUse) int {
		return cmp.Or(strings.Compare(a.Issuer, b.Issuer), cmp.Compare(a.SigningKey, b.SigningKey))
	})
	return all
}

// sample returns the counts, and records now as the time of a change.
func (u *counter) sample(id KeyID, now time.Time) KeyUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := KeyUse{ID: id, Sealed: u.sealed.Load(), Opened: u.opened.Load()}
	if n := k.Sealed + k.Opened; n != u.seen {
		u.seen, u.last = n, now
		if u.first.IsZero() {
			u.first = now
		}
	}
	k.FirstUse, k.LastUse, k.By = u.first, u.last, u.issuers(now)
	return k
}

func (s *keySet) sample(now time.Time) []KeyUse {
	all := make([]KeyUse, 0, len(s.enabled))
	for _, k := range s.header.Keys {
		if u := s.enabled[k.ID]; u != nil {
			all = append(all, u.sample(k.ID, now))
		}
	}
	return all
}

// opened counts a ciphertext that opened.
func (s *keySet) opened(ciphertext []byte) {
	id, _ := sealing.KeyID(ciphertext)
	if u := s.enabled[KeyID(id)]; u != nil {
		u.opened.Add(1)
	}
}
