// Package issuers keeps the named issuers of a running service: a file names each issuer with
// its keyring and its grant. The list is read again when the file changes, and the keyrings
// follow their own files.
//
// After a mistake in the file, or with a keyring that does not open, the list before stays in
// use as a whole, apart from denials: these hold at once, as far as the text shows them.
//
// A Register notes in the directory what happens to the issuers over time.
package issuers

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
)

// Config says where the issuers are, and how their keyrings open.
type Config struct {
	File  string        // as Open reads it
	Realm string        // of the service; the issuers' keyrings have the same
	KEK   string        // URI of the key-encryption key of keyrings without one of their own
	Own   *keyring.Ring // the service's own ticket keyring, which no issuer may have; nil for none

	// Noted returns the highest generation that was seen of the keyring at a path, and Note is
	// told of each keyring that is opened. So an older file of a keyring, with a stolen key
	// still in it, is refused after a restart as well.
	Noted func(path string) uint64
	Note  func(path string, ring *keyring.Ring)

	Register *Register // is told of each change; nil for none
	Log      *slog.Logger
}

// List is a list of named issuers that can change. It is the verify.Issuers of the service,
// and safe for concurrent use.
type List struct {
	c   Config
	now atomic.Pointer[state]

	mu    sync.Mutex // of Load and Close
	rings map[place]*keyring.Ring

	elsewhere func(name string) bool // whether another list has an issuer; nil for no other list
}

// A place is where a keyring is and how it opens.
type place struct{ path, kek string }

// state is the list at a moment.
type state struct {
	verify.Issuers
	entries map[string]entry
	rings   map[string]*keyring.Ring // by the issuer's name; a denied issuer may have none
	late    map[string]bool          // issuers of Issuers that were denied later
}

// Open reads the file and opens the keyrings.
func Open(c Config) (*List, error) {
	l := &List{c: c, rings: make(map[place]*keyring.Ring)}
	if err := l.Load(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Load reads the file again. After an error the list before stays in use, but for the denials
// in the file, which hold.
func (l *List) Load() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	is, err := readFile(l.c.File)
	l.deny(is.denied) // first: nothing else in the file, and no keyring, may delay a denial
	if err != nil {
		return err
	}
	rings := make(map[place]*keyring.Ring)
	next, err := l.make(is.entries, rings)
	if err != nil {
		for at, ring := range rings {
			if l.rings[at] == nil {
				_ = ring.Close() // it was only read
			}
		}
		return err
	}
	before := l.now.Swap(next)
	for at, ring := range l.rings {
		if rings[at] == nil {
			_ = ring.Close()
		}
	}
	l.rings = rings
	l.c.Register.Look()
	l.tell(before, next)
	return nil
}

func nameTwice(name string) error {
	return fmt.Errorf("issuer %s is in the trust list and in the file of issuers; "+
		"nobody could tell which grant counts: remove it from one of them", name)
}

// deny puts denials into effect.
func (l *List) deny(names []string) {
	before := l.now.Load()
	if before == nil { // at the start the whole file must be right
		return
	}
	next := *before
	next.entries, next.late = maps.Clone(before.entries), maps.Clone(before.late)
	if next.late == nil {
		next.late = make(map[string]bool)
	}
	changed := false
	for _, name := range names {
		e := next.entries[name]
		if e.denied {
			continue
		}
		e.name, e.denied, changed = name, true, true
		next.entries[name], next.late[name] = e, true
	}
	if !changed {
		return
	}
	l.now.Store(&next)
	l.c.Register.Look()
	l.tell(before, &next)
}

// make makes the list of the entries. It adds the keyrings that the list needs to rings: those
// in use, or new ones.
func (l *List) make(entries []entry, rings map[place]*keyring.Ring) (*state, error) {
	next := &state{entries: make(map[string]entry), rings: make(map[string]*keyring.Ring)}
	var all []verify.Issuer
	for _, e := range entries {
		next.entries[e.name] = e
		if e.denied { // also one of the trust list: there is only one grant, and it is for no ticket
			continue
		}
		if l.elsewhere != nil && l.elsewhere(e.name) {
			return nil, nameTwice(e.name)
		}
		at := place{e.keyring, e.kek}
		if rings[at] != nil {
			return nil, fmt.Errorf("issuer %s: the keyring %s is another issuer's as well; give each issuer its own",
				e.name, e.keyring)
		}
		ring, err := l.ring(at)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", e.name, err)
		}
		rings[at], next.rings[e.name] = ring, ring
		if l.ownKey(ring) {
			return nil, fmt.Errorf("issuer %s: the keyring %s has a key of the service's own ticket keyring; "+
				"make a keyring for the issuer", e.name, e.keyring)
		}
		all = append(all, verify.Issuer{Name: e.name, Keys: ring, Grant: e.grant})
	}
	// With the keys of a denied issuer, refusals name the issuer, and nobody else may have them.
	for _, e := range entries {
		at := place{e.keyring, e.kek}
		if !e.denied || e.keyring == "" {
			continue
		}
		if taken := rings[at]; taken != nil {
			for name, ring := range next.rings {
				if ring == taken && !next.entries[name].denied {
					return nil, fmt.Errorf("issuer %s: the keyring %s is that of the denied issuer %s; make another one",
						name, e.keyring, e.name)
				}
			}
			continue
		}
		ring, err := l.ring(at)
		if err != nil {
			l.c.Log.Warn("the keyring of a denied issuer was not opened; its tickets are refused as unknown_key",
				"issuer", e.name, "error", err)
			continue
		}
		rings[at] = ring
		shared := l.ownKey(ring)
		for _, other := range all {
			shared = shared || next.entries[other.Name].denied && sealing.ShareKey(other.Keys, ring)
		}
		if !shared {
			next.rings[e.name] = ring
			all = append(all, verify.Issuer{Name: e.name, Keys: ring})
		}
	}
	var err error
	next.Issuers, err = verify.NewIssuers(all...)
	return next, err
}

// ownKey reports whether a keyring has a key of the service's own.
func (l *List) ownKey(ring *keyring.Ring) bool {
	return l.c.Own != nil && sealing.ShareKey(l.c.Own, ring)
}

// ring returns the keyring at a place, which may be in use already.
func (l *List) ring(at place) (*keyring.Ring, error) {
	if ring := l.rings[at]; ring != nil {
		return ring, nil
	}
	return l.open(at)
}

// open opens a keyring.
func (l *List) open(at place) (*keyring.Ring, error) {
	uri := at.kek
	if uri == "" {
		uri = l.c.KEK
	}
	kek, err := kms.Open(uri, nil)
	if err != nil {
		return nil, fmt.Errorf("the key-encryption key cannot be opened: %w", err)
	}
	ring, err := keyring.Open(at.path, keyring.Config{
		Kind: keyring.Ticket, Realm: l.c.Realm, KEK: kek, MinGeneration: l.c.Noted(at.path), Log: l.c.Log,
	})
	if err != nil {
		return nil, err
	}
	l.c.Note(at.path, ring)
	return ring, nil
}

// tell logs what changed for each issuer.
func (l *List) tell(before, now *state) {
	was := make(map[string]entry)
	if before != nil {
		was = before.entries
	}
	for _, name := range slices.Sorted(maps.Keys(now.entries)) {
		e := now.entries[name]
		old, ok := was[name]
		switch {
		case ok && old.same(e) || old.denied && e.denied:
			continue
		case e.denied:
			l.c.Log.Warn("issuer denied: its tickets are refused, and its sessions end", "issuer", name)
			continue
		}
		g := &e.grant
		attrs := []any{"issuer", name, "keyring", e.keyring, "any_brand", g.AnyBrand,
			"brands", strings.Join(g.Brands, " "), "many_times", g.ManyTimes, "override", g.Override}
		if !g.Until.IsZero() {
			attrs = append(attrs, "until", g.Until)
		}
		l.c.Log.Info("issuer may issue tickets", attrs...)
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, ok := now.entries[name]; !ok {
			l.c.Log.Info("issuer removed: its tickets are refused, and its sessions end", "issuer", name)
		}
	}
}

// same reports whether two entries say the same.
func (e entry) same(other entry) bool { return fmt.Sprintf("%+v", e) == fmt.Sprintf("%+v", other) }

// WithKey implements verify.Issuers.
func (l *List) WithKey(id token.KeyID) []*verify.Issuer { return l.now.Load().WithKey(id) }

// WithKey implements verify.Issuers. The grant of a denied issuer is for no ticket.
func (s *state) WithKey(id token.KeyID) []*verify.Issuer {
	found := s.Issuers.WithKey(id)
	for i, is := range found {
		if s.late[is.Name] {
			denied := *is
			denied.Grant = verify.Grant{}
			found = slices.Clone(found)
			found[i] = &denied
		}
	}
	return found
}

// Trusted implements verify.Issuers: the file has no keys of format 2.
func (l *List) Trusted() *signed.Trusted { return l.now.Load().Trusted() }

// has reports whether an issuer is in the list, denied or not.
func (l *List) has(name string) bool {
	_, ok := l.now.Load().entries[name]
	return ok
}

// denies reports whether an issuer is in the list and denied.
func (l *List) denies(name string) bool { return l.now.Load().entries[name].denied }

// Knows reports whether an issuer is in the list and not denied. The sessions of all other
// issuers are over. A nil List knows nobody.
func (l *List) Knows(name string) bool {
	if l == nil {
		return false
	}
	e, ok := l.now.Load().entries[name]
	return ok && !e.denied
}

// Entries returns the issuers of the list.
func (l *List) Entries() (all []directory.IssuerEntry) {
	now := l.now.Load()
	for _, name := range slices.Sorted(maps.Keys(now.entries)) {
		e := now.entries[name]
		is := describe(&e.grant)
		is.Name, is.Denied, is.Format = name, e.denied, 1
		if ring := now.rings[name]; ring != nil && !e.denied {
			for _, id := range ring.KeyIDs() {
				is.Keys = append(is.Keys, id.String())
			}
			slices.Sort(is.Keys)
		}
		all = append(all, is)
	}
	return all
}

// describe describes a grant.
func describe(g *verify.Grant) (is directory.IssuerEntry) {
	is = directory.IssuerEntry{
		Brands: slices.Sorted(slices.Values(g.Brands)), AllBrands: g.AnyBrand, ManyTimes: g.ManyTimes, Override: g.Override,
		Claims: slices.Sorted(slices.Values(g.Claims)), Until: g.Until.UTC(), Rate: g.Rate,
		MaxLifetime: g.MaxLifetime,
	}
	for _, a := range g.Audiences {
		is.Audiences = append(is.Audiences, a.String())
	}
	slices.Sort(is.Audiences)
	return is
}

// Close closes the keyrings.
func (l *List) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, ring := range l.rings {
		errs = append(errs, ring.Close())
	}
	clear(l.rings)
	return errors.Join(errs...)
}

var _ io.Closer = (*List)(nil)
