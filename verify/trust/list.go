package trust

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Issuer is an issuer of the list.
type Issuer struct {
	Name     string           `json:"name"`
	Identity keyring.Identity `json:"identity"`      // which must sign the issuer's bundles
	URL      string           `json:"url,omitempty"` // of the issuer's bundle, for the command that fetches
	Added    time.Time        `json:"added"`
	Grant    Grant            `json:"grant"`

	// Of the last bundle.
	Generation  uint64              `json:"generation"`
	Fingerprint string              `json:"fingerprint"`
	Published   time.Time           `json:"published"`
	Until       time.Time           `json:"until"`
	Refresh     int64               `json:"refresh"` // seconds
	Keys        []keyring.PublicKey `json:"keys"`    // those that were taken
}

// Grant is the JSON of a verify.Grant: what an issuer may issue. The zero Grant is for no ticket.
type Grant struct {
	Brands      []string  `json:"brands,omitempty"`
	AnyBrand    bool      `json:"anyBrand,omitempty"`
	Audiences   []string  `json:"audiences,omitempty"`   // agent, customer, administrator
	MaxLifetime int64     `json:"maxLifetime,omitempty"` // seconds; 0 means the default lifetimes
	ManyTimes   bool      `json:"manyTimes,omitempty"`
	Override    bool      `json:"override,omitempty"`
	Claims      []string  `json:"claims,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Rate        float64   `json:"rate,omitempty"` // one-time tickets a second; 0 means no limit
}

// Denial is a denied key, or all keys of an issuer.
type Denial struct {
	Issuer      string            `json:"issuer"`
	Key         keyring.KeyID     `json:"key,omitzero"`       // 0 for the whole issuer
	Public      []byte            `json:"public,omitempty"`   // of the key
	Identity    *keyring.Identity `json:"identity,omitempty"` // of the whole issuer, which stays denied
	Time        time.Time         `json:"time"`
	Reason      string            `json:"reason"`
	EndSessions bool              `json:"endSessions,omitempty"` // sessions from before Time end too
}

// content is the JSON of the file.
type content struct {
	Issuers []Issuer `json:"issuers"` // in the order of names
	Denied  []Denial `json:"denied"`  // in the order of time
}

// List is the content of a trust list.
type List struct {
	keyring.Info
	Issuers []Issuer `json:"issuers"`
	Denied  []Denial `json:"denied"`
}

var audiences = map[string]token.Audience{
	token.Agent.String(): token.Agent, token.Customer.String(): token.Customer,
	token.Administrator.String(): token.Administrator,
}

// longestGrant is the longest Grant.MaxLifetime: that of the tickets of ticketd. The Verifier's own
// maximum holds as well.
const longestGrant = 24 * time.Hour

// Verify returns the grant for package verify.
func (g Grant) Verify() (verify.Grant, error) {
	out := verify.Grant{
		Brands: g.Brands, AnyBrand: g.AnyBrand, MaxLifetime: time.Duration(g.MaxLifetime) * time.Second,
		ManyTimes: g.ManyTimes, Override: g.Override, Claims: g.Claims, Until: g.Until, Rate: g.Rate,
	}
	if g.MaxLifetime < 0 || g.MaxLifetime > int64(longestGrant/time.Second) {
		return out, fmt.Errorf("the longest lifetime is %s; it must be from 0 to %s",
			short(time.Duration(g.MaxLifetime)*time.Second), short(longestGrant))
	}
	for _, name := range g.Audiences {
		a, ok := audiences[name]
		if !ok {
			return out, fmt.Errorf("the audience %q is none of agent, customer and administrator%s", name,
				meant(name, slices.Sorted(maps.Keys(audiences))))
		}
		out.Audiences = append(out.Audiences, a)
	}
	return out, nil
}

// check refuses a grant that is not in its one form, or that no verifier takes.
func (g Grant) check() error {
	for _, list := range [][]string{g.Brands, g.Audiences, g.Claims} {
		if list != nil && len(list) == 0 || slices.Contains(list, "") {
			return errors.New("an empty text or list in a grant; leave it out")
		}
		for i, s := range list {
			if slices.Contains(list[:i], s) {
				return fmt.Errorf("%q is there twice", s)
			}
			if fault := textrule.Fault(s, 256); fault != "" {
				return fmt.Errorf("%q %s", s, fault)
			}
		}
	}
	if g.AnyBrand && g.Brands != nil {
		return errors.New("every brand and a list of brands exclude each other")
	}
	if g.Rate != 0 && !(g.Rate >= 1e-3 && g.Rate <= 1e9) {
		return fmt.Errorf("the rate %v is not from 0.001 to 1e9 a second", g.Rate)
	}
	_, err := g.Verify()
	return err
}

// Of returns the issuer with a name, or nil.
func (l List) Of(name string) *Issuer { return of(l.Issuers, name) }

func of(issuers []Issuer, name string) *Issuer {
	i := slices.IndexFunc(issuers, func(is Issuer) bool { return is.Name == name })
	if i < 0 {
		return nil
	}
	return &issuers[i]
}

// deniedKey returns the denial of a key, or nil.
func deniedKey(denied []Denial, is *Issuer, k keyring.PublicKey) *Denial {
	i := slices.IndexFunc(denied, func(d Denial) bool {
		return d.Key != 0 && d.Issuer == is.Name && d.Key == k.ID || d.Public != nil && bytes.Equal(d.Public, k.Public)
	})
	if i < 0 {
		return nil
	}
	return &denied[i]
}

// Denial returns the denial of the whole issuer, or nil. An issuer with a new identity may be
// added after a denial.
func (l List) Denial(is *Issuer) *Denial { return deniedIdentity(l.Denied, is.Identity) }

func deniedIdentity(denied []Denial, id keyring.Identity) *Denial {
	i := slices.IndexFunc(denied, func(d Denial) bool { return d.Identity != nil && *d.Identity == id })
	if i < 0 {
		return nil
	}
	return &denied[i]
}

// parse reads the content of a file, and refuses what no function here would have written.
func parse(d keyring.Document) (List, error) {
	l := List{Info: d.Info}
	var c content
	if err := keyring.CanonicalJSON(d.Content, &c); err != nil {
		return l, err
	}
	l.Issuers, l.Denied = c.Issuers, c.Denied
	for i := range l.Issuers {
		is := &l.Issuers[i]
		if i > 0 && l.Issuers[i-1].Name >= is.Name {
			return l, fmt.Errorf("issuer %q is there twice, or out of order", is.Name)
		}
		err := is.check()
		if err == nil {
			err = is.checkBundle()
		}
		if err != nil {
			return l, fmt.Errorf("issuer %q: %w", is.Name, err)
		}
	}
	for _, d := range l.Denied {
		if err := token.CheckIssuer("denied", d.Issuer); err != nil {
			return l, err
		}
		if (d.Key != 0) == (d.Identity != nil) || d.Reason == "" || textrule.Fault(d.Reason, 256) != "" || d.Time.IsZero() {
			return l, fmt.Errorf("the denial of %q is not complete", d.Issuer)
		}
	}
	return l, nil
}

func (is *Issuer) check() error {
	if err := token.CheckIssuer("name", is.Name); err != nil {
		return err
	}
	if err := CheckURL(is.URL); is.URL != "" && err != nil {
		return err
	}
	if err := is.Grant.check(); err != nil {
		return err
	}
	for i, k := range is.Keys {
		if k.ID == 0 || slices.ContainsFunc(is.Keys[:i], func(o keyring.PublicKey) bool { return o.ID == k.ID }) {
			return fmt.Errorf("key %v is there twice", k.ID)
		}
	}
	return nil
}

// checkBundle refuses what no bundle says. With the zero time as its end, an issuer would be good for
// ever.
func (is *Issuer) checkBundle() error {
	switch {
	case is.Generation == 0 || is.Generation > keyring.MaxBundleGeneration || is.Fingerprint == "":
		return fmt.Errorf("its bundle has generation %d and the fingerprint %q", is.Generation, is.Fingerprint)
	case is.Published.IsZero() || is.Until.IsZero() || !is.Published.Before(is.Until) || is.Refresh < 1:
		return errors.New("its bundle has no time of publication, no later end or no refresh time")
	case len(is.Keys) > keyring.MaxIssuerKeys:
		return fmt.Errorf("it has %d keys; the most is %d", len(is.Keys), keyring.MaxIssuerKeys)
	}
	return nil
}

// CheckURL refuses a URL from which no bundle may be fetched: it must be https, with a host and
// without user and fragment.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return errors.New("the URL of a bundle is https://HOST/PATH, without a user and without a fragment")
	}
	return nil
}
