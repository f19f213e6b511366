package trust

import (
	"slices"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
)

// Ring is the verify.Issuers of a trust list. It looks at the file every second (Config.Poll),
// and takes a new list as a whole; see keyring.Follow. A Ring never looks at the file because a
// ticket names an unknown key.
type Ring struct{ follower *keyring.Follower[*snapshot] }

// snapshot is a list, ready for use. It never changes.
type snapshot struct {
	list    List
	issuers verify.Issuers
	keys    map[string]*signed.VerifyingKey // by issuer, ID, bytes and time of the last ticket

	denied map[token.KeyID]string // the issuers of the denied keys

	// sessions has the issuers whose sessions may be good.
	sessions map[string]sessions
}

// sessions says which sessions of an issuer are over.
type sessions struct {
	since  time.Time            // those that began before
	denied map[token.KeyID]bool // those of tickets that these keys signed
}

// Open loads the trust list at path. c.KEK is the keyring.Identity that signs the list
// (verify:PATH). Close ends the polling.
func Open(path string, c keyring.Config) (*Ring, error) {
	c.Kind = keyring.Trust
	var before *snapshot
	f, err := keyring.Follow(path, c, func(d keyring.Document) (*snapshot, error) {
		l, err := parse(d)
		if err != nil {
			return nil, err
		}
		s, err := l.snapshot(before)
		if err == nil {
			before = s
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	return &Ring{f}, nil
}

// snapshot makes the issuers. Keys that before has too are the same keys: a ticket that is being
// verified during a reload finds its key in both lists.
func (l List) snapshot(before *snapshot) (*snapshot, error) {
	s := &snapshot{
		list: l, keys: make(map[string]*signed.VerifyingKey), sessions: make(map[string]sessions),
		denied: make(map[token.KeyID]string),
	}
	for _, d := range l.Denied {
		if d.Key != 0 {
			s.denied[d.Key] = d.Issuer
		}
	}
	var issuers []verify.Issuer
	for i := range l.Issuers {
		is := &l.Issuers[i]
		if l.Denial(is) != nil {
			for _, k := range is.Keys {
				s.denied[k.ID] = is.Name
			}
			continue
		}
		s.sessions[is.Name] = ended(l.Denied, is.Name)
		var keys []*signed.VerifyingKey
		for _, k := range is.Keys {
			if deniedKey(l.Denied, is, k) != nil {
				s.denied[k.ID] = is.Name
				continue
			}
			name := is.Name + "\x00" + k.ID.String() + k.Algorithm + string(k.Public) + k.LastIssue.String()
			key := (*signed.VerifyingKey)(nil)
			if before != nil {
				key = before.keys[name]
			}
			if key == nil {
				var err error
				if key, err = k.VerifyingKey(l.Realm, is.Name); err != nil {
					return nil, err
				}
				if !k.LastIssue.IsZero() {
					key = key.NotAfter(k.LastIssue)
				}
			}
			s.keys[name] = key
			keys = append(keys, key)
		}
		grant, err := is.Grant.Verify()
		if err != nil {
			return nil, err
		}
		// Keys past the end of their bundle are not used, as if the grant had ended.
		if grant.Until.IsZero() || is.Until.Before(grant.Until) {
			grant.Until = is.Until
		}
		if len(keys) > 0 {
			issuers = append(issuers, verify.Issuer{Name: is.Name, SigningKeys: keys, Grant: grant})
		}
	}
	var err error
	s.issuers, err = verify.NewIssuers(issuers...)
	return s, err
}

// WithKey implements verify.Issuers.
func (r *Ring) WithKey(id token.KeyID) []*verify.Issuer { return r.follower.Load().issuers.WithKey(id) }

// Trusted implements verify.Issuers.
func (r *Ring) Trusted() *signed.Trusted { return r.follower.Load().issuers.Trusted() }

// DeniedKey returns the issuer in the list with a denied key of this ID, or "". See verify.Issuers.
func (r *Ring) DeniedKey(id token.KeyID) string { return r.follower.Load().denied[id] }

// List returns the list in use.
func (r *Ring) List() List { return r.follower.Load().list }

// SessionOver reports whether a session must end that began at a time, with a ticket that a key of
// an issuer signed:
//
//   - The issuer is denied, or not in the list.
//   - The session began before a denial of the whole issuer, or before one with EndSessions.
//   - The key was denied with EndSessions, or with the issuer or before it. Such sessions end
//     whenever they began: a thief could enter until the denial arrived.
//
// Ask at each check of a session; see web.SessionConfig.Refresh.
func (r *Ring) SessionOver(issuer string, key token.KeyID, began time.Time) bool {
	s, ok := r.follower.Load().sessions[issuer]
	return !ok || began.Before(s.since) || s.denied[key]
}

// ended returns which sessions of an issuer denials have ended.
func ended(denied []Denial, issuer string) (s sessions) {
	whole := func(of Denial) bool { // with the denial of all of the issuer, or before it
		return slices.ContainsFunc(denied, func(d Denial) bool {
			return d.Issuer == of.Issuer && d.Identity != nil && !d.Time.Before(of.Time)
		})
	}
	for _, d := range denied {
		if d.Issuer != issuer || !d.EndSessions && !whole(d) {
			continue
		}
		if d.Time.After(s.since) {
			s.since = d.Time
		}
		if d.Key != 0 {
			if s.denied == nil {
				s.denied = make(map[token.KeyID]bool)
			}
			s.denied[d.Key] = true
		}
	}
	return s
}

// Reload looks at the file now.
func (r *Ring) Reload() error { return r.follower.Reload() }

// Report returns the state of the Ring, without a look at the file.
func (r *Ring) Report() keyring.Report { return r.follower.Report() }

// Close ends the polling. The Ring keeps its list.
func (r *Ring) Close() error { return r.follower.Close() }
