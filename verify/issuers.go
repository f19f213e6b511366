package verify

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// Issuers finds named issuers by the IDs of their keys. NewIssuers makes Issuers of a fixed
// list. Issuers are asked for each ticket that Config.Opener does not open. They must answer
// from memory, and be safe for concurrent use. Issuers may also have a method
// DeniedKey(token.KeyID) string, which returns the issuer whose key of this ID is denied, or "": then the
// log names the issuer.
type Issuers interface {
	// WithKey returns the issuers that have a key with this ID: at most MaxSameKey with the key
	// in Keys, and as many with the key in SigningKeys. Key IDs are 32 bits of the issuers' own
	// choice, so two issuers may have the same ID; the key that opens or verifies a ticket
	// tells whose the ticket is.
	WithKey(id token.KeyID) []*Issuer

	// Trusted returns the SigningKeys of all issuers, or nil if there are none.
	Trusted() *signed.Trusted
}

// MaxSameKey is how many named issuers may have a key with the same ID.
const MaxSameKey = 4

// Issuer is a party that issues tickets under keys of its own. Keys and Grant belong
// together, so an Issuer never changes: a new list of issuers takes the place of the old.
type Issuer struct {
	Name string // as token.CheckIssuer wants it; in Ticket.Issuer, logs and sessions

	// Keys open the issuer's tickets of format 1. With nil, the issuer has SigningKeys.
	Keys Keys

	// SigningKeys verify the issuer's tickets of format 2: the answer of
	// signed.NewVerifyingKeys for the same Name. They are public keys.
	SigningKeys []*signed.VerifyingKey

	Grant
}

// Keys are the keys of a named issuer: a keyring.Ring of kind ticket, or a token.Keyset.
// Nobody but this issuer and its verifiers may have them.
type Keys interface {
	tink.AEAD

	// KeyIDs returns the IDs of the keys that open tickets now.
	KeyIDs() []token.KeyID
}

// NewIssuers returns the Issuers of a list. If the Keys reload, as a keyring.Ring does, a
// new key counts within half a second. The error is a *token.ConfigError: a name twice, an
// impossible grant, more than MaxSameKey issuers with the same key ID, or one key under two
// names, as far as the keys' primary tells.
func NewIssuers(all ...Issuer) (Issuers, error) {
	s := new(issuerList)
	for i := range all {
		is := all[i]
		is.Grant, is.SigningKeys = is.Grant.clone(), slices.Clone(is.SigningKeys)
		if err := is.check(); err != nil {
			return nil, err
		}
		for _, other := range s.all {
			if other.Name == is.Name {
				return nil, issuerFault(is.Name, "is in the list twice; remove one")
			}
			if other.Keys != nil && is.Keys != nil && sealing.ShareKey(other.Keys, is.Keys) {
				return nil, issuerFault(is.Name, "has a key of the issuer "+other.Name+
					"; give each issuer a keyring of its own, or nobody can tell whose a ticket is")
			}
		}
		s.all = append(s.all, &is)
	}
	var signing []*signed.VerifyingKey
	for _, is := range s.all {
		signing = append(signing, is.SigningKeys...)
	}
	if len(signing) > 0 {
		var err error
		if s.trusted, err = signed.NewTrusted(signing...); err != nil {
			return nil, &token.ConfigError{Field: "verify.Issuer.SigningKeys", Reason: "cannot be used", Cause: err}
		}
	}
	index := s.read()
	for id, of := range index.byKey {
		if len(of) > MaxSameKey {
			return nil, issuerFault(of[MaxSameKey].Name, fmt.Sprintf(
				"has a key with the ID %v, as %d other issuers have; at most %d may share an ID: let the issuer rotate its keyring",
				id, MaxSameKey, MaxSameKey))
		}
	}
	s.index.Store(index)
	return s, nil
}

func issuerFault(name, reason string) error {
	return &token.ConfigError{Field: "verify.Issuer", Reason: fmt.Sprintf("%q %s", name, reason)}
}

// check refuses an issuer that cannot work.
func (is *Issuer) check() error {
	if err := token.CheckIssuer("verify.Issuer.Name", is.Name); err != nil {
		return err
	}
	if is.Keys == nil && len(is.SigningKeys) == 0 {
		return issuerFault(is.Name, "has no Keys; give a keyring.Ring or a token.Keyset, or SigningKeys for format 2")
	}
	if is.Keys != nil {
		if err := token.CheckKeys("verify.Issuer.Keys", is.Keys); err != nil {
			return err
		}
	}
	for _, k := range is.SigningKeys {
		if k == nil || k.Issuer() != is.Name {
			return issuerFault(is.Name, "has a SigningKey of another name; make the keys with this issuer's name")
		}
	}
	if fault := is.Grant.fault(); fault != "" {
		return issuerFault(is.Name, fault)
	}
	return nil
}

// issuerList is the Issuers of NewIssuers.
type issuerList struct {
	all     []*Issuer       // in the order given
	trusted *signed.Trusted // or nil
	index   atomic.Pointer[issuerIndex]
	again   sync.Mutex // held while the index is read
}

// An issuerIndex has the key IDs of issuers, as they were at a moment. An issuer's missing
// key is a key that is not found yet. A key that is gone opens nothing, whatever the index
// says.
type issuerIndex struct {
	byKey map[token.KeyID][]*Issuer
	read  time.Time
}

// readAgain is how old an index must be before an unknown key ID makes it be read again, so
// that strangers with made-up IDs cost little.
const readAgain = 200 * time.Millisecond

func (s *issuerList) read() *issuerIndex {
	index := &issuerIndex{byKey: make(map[token.KeyID][]*Issuer), read: time.Now()}
	for _, is := range s.all {
		var ids []token.KeyID
		if is.Keys != nil {
			ids = is.Keys.KeyIDs()
		}
		for _, k := range is.SigningKeys {
			if !slices.Contains(ids, k.ID()) { // an issuer may have one ID in both formats
				ids = append(ids, k.ID())
			}
		}
		for _, id := range ids {
			index.byKey[id] = append(index.byKey[id], is)
		}
	}
	return index
}

// Trusted implements Issuers.
func (s *issuerList) Trusted() *signed.Trusted { return s.trusted }

// WithKey implements Issuers.
func (s *issuerList) WithKey(id token.KeyID) []*Issuer {
	index := s.index.Load()
	found := index.byKey[id]
	if found == nil && time.Since(index.read) > readAgain && s.again.TryLock() {
		index = s.read()
		s.index.Store(index)
		s.again.Unlock()
		found = index.byKey[id]
	}
	return found[:min(len(found), MaxSameKey)] // keys that were added since may be more
}

// Grant says which tickets an issuer may issue. The zero Grant is for no ticket.
type Grant struct {
	// Brands are the brands of the issuer's tickets, compared byte by byte. AnyBrand stands
	// for every brand, and for the tickets of administrators without a brand.
	Brands   []string
	AnyBrand bool

	// Audiences are the kinds of login of the issuer's tickets. Only a list with
	// token.Administrator lets the issuer make administrators' tickets.
	Audiences []token.Audience

	// MaxLifetime is the longest lifetime of the issuer's tickets. 0 means the default
	// lifetime of the ticket's audience: token.AgentLifetime, for example.
	MaxLifetime time.Duration

	ManyTimes bool     // tickets that are not one-time are good as well
	Override  bool     // tickets may change the records of customers (Ticket.OverrideUserInfo)
	Claims    []string // names of the claims that tickets may have

	// Until is the end of the grant, by the verifier's clock, or zero for no end.
	Until time.Time

	// Rate is how many one-time tickets of the issuer a second a Verifier redeems, with
	// bursts of up to a second's. More are refused as IssuerOverRate, so that no issuer fills
	// the replay store alone. 0 means no limit. Each Verifier counts for itself.
	Rate float64
}

func (g Grant) clone() Grant {
	g.Brands, g.Audiences, g.Claims = slices.Clone(g.Brands), slices.Clone(g.Audiences), slices.Clone(g.Claims)
	return g
}

// fault says why no verifier should have a grant, or returns "".
func (g *Grant) fault() string {
	switch {
	case g.AnyBrand && len(g.Brands) > 0:
		return "has Brands beside AnyBrand; choose one of the two"
	case slices.Contains(g.Brands, ""):
		return "has an empty brand; leave it out"
	case slices.ContainsFunc(g.Audiences, func(a token.Audience) bool {
		return a != token.Agent && a != token.Customer && a != token.Administrator
	}):
		return "has an audience that no ticket has; give token.Agent, token.Customer or token.Administrator"
	case slices.Contains(g.Claims, ""):
		return "has an empty name of a claim; leave it out"
	case g.MaxLifetime < 0:
		return "has a negative MaxLifetime; give a longer time, or 0 for the default lifetimes"
	case g.Rate != 0 && !(g.Rate >= 1e-3 && g.Rate <= 1e9):
		return "has a Rate that is no number from 0.001 to 1e9; give tickets a second, or 0 for no limit"
	}
	return ""
}

// longest returns the longest lifetime of the issuer's tickets of an audience.
func (g *Grant) longest(a token.Audience) time.Duration {
	switch {
	case g.MaxLifetime > 0:
		return g.MaxLifetime
	case a == token.Agent:
		return token.AgentLifetime
	case a == token.Customer:
		return token.CustomerLifetime
	}
	return token.AdministratorLifetime
}

// refuses says what a ticket has that the grant does not allow, or returns "". The words
// hold no text of the ticket.
func (g *Grant) refuses(t *token.Ticket, now time.Time) string {
	switch {
	case !g.Until.IsZero() && !now.Before(g.Until):
		return "the issuer's grant has ended"
	case !g.AnyBrand && !slices.Contains(g.Brands, t.Brand):
		return "the issuer may not issue tickets of this brand"
	case !slices.Contains(g.Audiences, t.Audience):
		return "the issuer may not issue tickets of this audience"
	case t.Lifetime > g.longest(t.Audience):
		return "the issuer may not issue tickets of this lifetime"
	case !t.OneTime && !g.ManyTimes:
		return "the issuer may issue one-time tickets only"
	case t.OverrideUserInfo && !g.Override:
		return "the issuer may not change customers' records"
	}
	for name := range t.Claims {
		if !slices.Contains(g.Claims, name) {
			return "the issuer may not make one of the ticket's claims"
		}
	}
	return ""
}
