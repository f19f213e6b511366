package keyring

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/internal/sealing"
)

// Report is the state of a Ring. It has no secret in it; its JSON is for
// operators, who may see the errors' details.
type Report struct {
	Info              // of the keys in use
	Loaded  time.Time `json:"loaded"`  // when they were loaded
	Checked time.Time `json:"checked"` // when a look at the file last ended, well or not; old if the file system hangs
	Good    time.Time `json:"good"`    // when a look last ended well: since then what is in use may be stale
	LastErr error     `json:"-"`       // why the last look failed; nil if it did not
	Error   string    `json:"error,omitempty"`
	Reason  Reason    `json:"reason,omitempty"` // of LastErr, if that is a *FileError
	Use     []KeyUse  `json:"use"`              // of the keys that open, oldest first
}

// KeyUse counts what a Ring did with a key since it was opened, or since the
// key was last enabled. The times are of looks at the file, so up to Config.Poll
// late; the zero time if the key was not used.
type KeyUse struct {
	ID       KeyID     `json:"id"`
	Sealed   uint64    `json:"sealed"`
	Opened   uint64    `json:"opened"`
	FirstUse time.Time `json:"firstUse,omitzero"`
	LastUse  time.Time `json:"lastUse,omitzero"`
}

// Report returns the Ring's state. It does not look at the file.
func (r *Ring) Report() Report {
	s, last := r.set.Load(), r.last.Load()
	p := Report{Info: s.info(), Loaded: s.loaded, Checked: last.checked, Good: last.good, LastErr: last.err, Use: s.sample(r.c.now())}
	if last.err != nil {
		p.Error, p.Reason = last.err.Error(), reasonOf(last.err)
	}
	return p
}

// use counts one key's seals and opens. The hot path only adds; the times are
// filled in by whoever looks at the counts.
type use struct {
	sealed, opened atomic.Uint64

	mu          sync.Mutex
	seen        uint64 // sealed + opened at the last look
	first, last time.Time
}

// sample looks at the counts.
func (u *use) sample(id KeyID, now time.Time) KeyUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := KeyUse{ID: id, Sealed: u.sealed.Load(), Opened: u.opened.Load()}
	if n := k.Sealed + k.Opened; n != u.seen {
		u.seen, u.last = n, now
		if u.first.IsZero() {
			u.first = now
		}
	}
	k.FirstUse, k.LastUse = u.first, u.last
	return k
}

func (s *set) sample(now time.Time) []KeyUse {
	all := make([]KeyUse, 0, len(s.enabled))
	for _, k := range s.header.Keys {
		if u := s.enabled[k.ID]; u != nil {
			all = append(all, u.sample(k.ID, now))
		}
	}
	return all
}

// opened counts a ciphertext that was opened.
func (s *set) opened(ciphertext []byte) {
	id, _ := sealing.KeyID(ciphertext)
	if u := s.enabled[KeyID(id)]; u != nil {
		u.opened.Add(1)
	}
}
