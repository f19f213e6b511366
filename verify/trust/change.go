package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/internal/spelling"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify"
)

// farAhead is how many generations a bundle may be ahead of the bundle before. A thief of an
// identity key could otherwise publish the last generation, after which the owner's bundles are
// all older.
const farAhead = 1000

// clockAhead is how far the clock of an issuer may be ahead. Bundles that were published later are
// refused: after one that was taken, all others would be older until its time has come.
const clockAhead = time.Hour

// Enrolment is an issuer to add.
type Enrolment struct {
	Bundle   []byte           // the file of keyring.Publish
	Identity keyring.Identity // its fingerprint was compared with the issuer
	URL      string           // where later bundles are, or ""
	Grant    Grant
}

// Refused is a key, or a whole bundle, that was not taken.
type Refused struct {
	Issuer string
	Key    keyring.KeyID // 0 for the whole bundle
	Err    error
}

// Read returns the list in the file at path.
func Read(path string, c keyring.Config) (List, error) {
	c.Kind = keyring.Trust
	d, err := keyring.ReadDocument(path, c)
	if err != nil {
		return List{}, err
	}
	return parse(d)
}

// maxContent is the most bytes of the JSON of a list. A file has room for some hundred denials more.
const maxContent = 700 << 10

// unfit is the error of a list that cannot be written so.
type unfit struct{ error }

func (u unfit) Unwrap() error { return u.error }

// editing is a change of a list.
type editing struct {
	List
	now     time.Time
	steps   []keyring.Step
	refused []Refused
	urgent  bool // may use the room that is for denials
}

func (e *editing) step(s keyring.Step) { e.steps = append(e.steps, s) }

// edit changes the file at path by f, in one write, or not at all.
func edit(path string, c keyring.Config, why string, f func(*editing) error) (List, []Refused, error) {
	c.Kind = keyring.Trust
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	e := &editing{now: now().UTC().Truncate(time.Millisecond)}
	_, err := keyring.ChangeDocument(path, c, why, func(d keyring.Document) (any, []keyring.Step, error) {
		var err error
		if e.List, err = parse(d); err != nil {
			return nil, nil, err
		}
		if err := f(e); err != nil {
			return nil, nil, err
		}
		slices.SortFunc(e.Issuers, func(a, b Issuer) int { return strings.Compare(a.Name, b.Name) })
		next := content{e.Issuers, e.Denied}
		// What is written can be read.
		text, err := json.Marshal(next)
		if err == nil && len(text) > maxContent && !e.urgent {
			err = fmt.Errorf("the list would have %d bytes, and the most is %d: keep issuers in several lists, "+
				"or let issuers have fewer keys", len(text), maxContent)
		}
		if err == nil {
			_, err = parse(keyring.Document{Info: d.Info, Content: text})
		}
		if err != nil {
			err = unfit{err}
		}
		return next, e.steps, err
	})
	if err != nil {
		return List{}, e.refused, err
	}
	l, err := Read(path, c)
	return l, e.refused, err
}

// Create makes a list without issuers.
func Create(path string, c keyring.Config) error {
	c.Kind = keyring.Trust
	_, err := keyring.CreateDocument(path, c, content{[]Issuer{}, []Denial{}})
	return err
}

// Add adds an issuer, and makes the file if there is none. Keys of the bundle that cannot be
// used are refused each alone; without any good key Add fails. An issuer who was denied can be
// added under a new identity only.
func Add(path string, c keyring.Config, why string, en Enrolment) (List, []Refused, error) {
	b, err := openBundle(c, en.Identity, en.Bundle)
	if err != nil {
		return List{}, nil, err
	}
	if err := Create(path, c); err != nil && !errors.Is(err, fs.ErrExist) {
		return List{}, nil, err
	}
	return edit(path, c, why, func(e *editing) error {
		if d := deniedIdentity(e.Denied, en.Identity); d != nil {
			return fmt.Errorf("the identity %v was denied on %s: %s; let the issuer make a new identity key",
				en.Identity, d.Time.Format(time.RFC3339), d.Reason)
		}
		if old := e.Of(b.Name); old != nil {
			if e.Denial(old) == nil {
				return fmt.Errorf("issuer %q is in the list already; change its grant with trust grant, "+
					"or deny it first if its identity is to be another", b.Name)
			}
			e.Issuers = slices.DeleteFunc(e.Issuers, func(is Issuer) bool { return is.Name == b.Name })
		}
		for _, other := range e.Issuers {
			if other.Identity == en.Identity {
				return fmt.Errorf("the identity %v is that of issuer %q; each issuer needs its own", en.Identity, other.Name)
			}
		}
		is := Issuer{Name: b.Name, Identity: en.Identity, URL: en.URL, Added: e.now, Grant: en.Grant}
		if err := is.check(); err != nil {
			return fmt.Errorf("issuer %q cannot be added: %w", b.Name, err)
		}
		e.Issuers = append(e.Issuers, is)
		e.step(keyring.Step{Do: keyring.TrustAdd, Issuer: b.Name, Detail: en.Grant.String()})
		if err := e.take(&e.Issuers[len(e.Issuers)-1], b, false); err != nil {
			return err
		}
		if len(e.Issuers[len(e.Issuers)-1].Keys) == 0 {
			return fmt.Errorf("issuer %q has no key that can be used: %w", b.Name, e.refused[0].Err)
		}
		return nil
	})
}

// openBundle opens the bundle of an issuer under its pinned identity.
func openBundle(c keyring.Config, id keyring.Identity, data []byte) (keyring.Bundle, error) {
	return keyring.ParseBundle("the bundle", data,
		keyring.Config{Kind: keyring.IssuerPublic, Realm: c.Realm, KEK: id, Now: c.Now})
}

// SetGrant changes what an issuer may issue. The keys stay.
func SetGrant(path string, c keyring.Config, why, issuer string, change func(*Grant)) (List, error) {
	l, _, err := edit(path, c, why, func(e *editing) error {
		is, err := e.Named(issuer)
		if err != nil {
			return err
		}
		before, err := json.Marshal(is.Grant)
		if err != nil {
			return err
		}
		change(&is.Grant)
		if err := is.Grant.check(); err != nil {
			return fmt.Errorf("the grant of %q cannot be so: %w", issuer, err)
		}
		// The words of String do not tell all grants apart.
		if after, err := json.Marshal(is.Grant); err != nil || bytes.Equal(after, before) {
			return fmt.Errorf("the grant of %q is so %w", issuer, keyring.ErrAlready)
		}
		e.step(keyring.Step{Do: keyring.TrustGrant, Issuer: issuer, Detail: is.Grant.String()})
		return nil
	})
	return l, err
}

// ErrNoIssuer is wrapped by the error for an issuer that is not in the list.
var ErrNoIssuer = errors.New("there is no issuer")

// Named returns the issuer with a name. The error wraps ErrNoIssuer, and says which name was
// probably meant.
func (l List) Named(name string) (*Issuer, error) {
	if is := l.Of(name); is != nil {
		return is, nil
	}
	var names []string
	for _, is := range l.Issuers {
		names = append(names, is.Name)
	}
	return nil, fmt.Errorf("%w %q in the list%s", ErrNoIssuer, name, meant(name, names))
}

// meant returns "; did you mean ...?" if one of the names is near.
func meant(written string, names []string) string {
	near := spelling.Nearest(strings.ToLower(written), names)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// Offer is a bundle for Take.
type Offer struct {
	Issuer string // of the list; the bundle must be of this name
	Data   []byte
}

// Take takes the keys of newer bundles, all in one write. A bundle or key that is refused stays
// out alone, and is in the answer. If the list has no room for all bundles, Take takes those for which
// there is room, in turn. accept allows a generation that is far ahead.
func Take(path string, c keyring.Config, why string, accept bool, offers ...Offer) (List, []Refused, error) {
	l, refused, err := take(path, c, why, accept, offers)
	if _, bad := errors.AsType[unfit](err); !bad {
		return l, refused, err
	}
	// One issuer must not keep the others from their new keys.
	refused = nil
	for _, o := range offers {
		_, more, err := take(path, c, why, accept, []Offer{o})
		if _, bad := errors.AsType[unfit](err); bad {
			more, err = []Refused{{Issuer: o.Issuer, Err: err}}, nil
		}
		if refused = append(refused, more...); err != nil {
			return List{}, refused, err
		}
	}
	l, err = Read(path, c)
	return l, refused, err
}

func take(path string, c keyring.Config, why string, accept bool, offers []Offer) (List, []Refused, error) {
	return edit(path, c, why, func(e *editing) error {
		for _, o := range offers {
			is, err := e.Named(o.Issuer)
			if err == nil {
				var b keyring.Bundle
				if b, err = openBundle(c, is.Identity, o.Data); err == nil {
					err = e.take(is, b, accept)
				}
			}
			if err != nil {
				e.refused = append(e.refused, Refused{Issuer: o.Issuer, Err: err})
			}
		}
		return nil
	})
}

// take makes the keys of a bundle the keys of an issuer.
func (e *editing) take(is *Issuer, b keyring.Bundle, accept bool) error {
	switch {
	case b.Name != is.Name:
		return fmt.Errorf("the bundle is for %q, and the list has this identity as %q; nothing was taken", b.Name, is.Name)
	case e.Denial(is) != nil:
		return fmt.Errorf("issuer %q is denied, and stays so", is.Name)
	case b.Generation < is.Generation:
		return fmt.Errorf("the bundle of %q is generation %d, and %d was taken: an older bundle was put back",
			is.Name, b.Generation, is.Generation)
	case b.Generation == is.Generation && b.Fingerprint != is.Fingerprint:
		return fmt.Errorf("the bundle of %q is generation %d with other contents than the bundle that was taken: "+
			"let the issuer publish again", is.Name, b.Generation)
	case b.Generation == is.Generation:
		return nil
	case is.Generation != 0 && b.Generation-is.Generation > farAhead && !accept:
		return fmt.Errorf("the bundle of %q is generation %d, and %d was taken: more than %d ahead; ask the issuer why, "+
			"and accept the generation then", is.Name, b.Generation, is.Generation, farAhead)
	case !e.now.Before(b.Until):
		return fmt.Errorf("the bundle of %q was good until %s; get a newer one", is.Name, b.Until.Format(time.RFC3339))
	case b.Published.After(e.now.Add(clockAhead)):
		return fmt.Errorf("the bundle of %q was published on %s, which is yet to come; let the issuer set its clock",
			is.Name, b.Published.Format(time.RFC3339))
	case b.Published.Before(is.Published):
		return fmt.Errorf("the bundle of %q was published before the bundle that was taken; let the issuer set its clock",
			is.Name)
	}
	var keys []keyring.PublicKey
	for _, k := range b.Keys {
		if err := e.usable(is, b.Realm, k); err != nil {
			e.refused = append(e.refused, Refused{is.Name, k.ID, err})
			continue
		}
		keys = append(keys, k)
		if !slices.ContainsFunc(is.Keys, k.Same) {
			e.step(keyring.Step{Do: keyring.TrustKey, Issuer: is.Name, Key: k.ID, Algorithm: k.Algorithm})
		}
	}
	for _, k := range is.Keys {
		if !slices.ContainsFunc(keys, k.Same) {
			e.step(keyring.Step{Do: keyring.TrustDrop, Issuer: is.Name, Key: k.ID})
		}
	}
	e.step(keyring.Step{Do: keyring.TrustBundle, Issuer: is.Name, Detail: fmt.Sprintf("generation %d", b.Generation)})
	is.Keys, is.Generation, is.Fingerprint = keys, b.Generation, b.Fingerprint
	is.Published, is.Until, is.Refresh = b.Published, b.Until, b.Refresh
	return nil
}

// usable says why a key cannot be a key of an issuer, or returns nil.
func (e *editing) usable(is *Issuer, realm string, k keyring.PublicKey) error {
	if _, err := k.VerifyingKey(realm, is.Name); err != nil {
		return err
	}
	if d := deniedKey(e.Denied, is, k); d != nil {
		// A key that was denied by its ID is denied under any ID and name from now on.
		if d.Public == nil {
			d.Public = k.Public
		}
		return fmt.Errorf("key %v was denied on %s: %s", k.ID, d.Time.Format(time.RFC3339), d.Reason)
	}
	same := 0
	for i := range e.Issuers {
		other := &e.Issuers[i]
		if other.Name == is.Name {
			continue
		}
		for _, o := range other.Keys {
			if o.Same(k) {
				return fmt.Errorf("key %v is also key %v of issuer %q; a key belongs to one issuer", k.ID, o.ID, other.Name)
			}
			if o.ID == k.ID {
				same++
			}
		}
	}
	if same >= verify.MaxSameKey {
		return fmt.Errorf("key %v: %d other issuers have keys with this ID; let the issuer rotate", k.ID, same)
	}
	return nil
}

// Deny refuses a key of an issuer from now on, or all of the issuer with the key 0. No later
// bundle changes this. With endSessions, the sessions that the issuer's tickets began end too, also
// if the key or issuer is denied already.
func Deny(path string, c keyring.Config, why, issuer string, key keyring.KeyID, endSessions bool) (List, error) {
	l, _, err := edit(path, c, why, func(e *editing) error {
		e.urgent = true
		if why == "" {
			return errors.New("a denial needs a reason, for the record")
		}
		is, err := e.Named(issuer)
		if err != nil {
			return err
		}
		d := Denial{Issuer: issuer, Key: key, Time: e.now, Reason: why, EndSessions: endSessions}
		// After a denial that ended no sessions, another may end them.
		already := func(same func(Denial) bool) bool {
			return slices.ContainsFunc(e.Denied, func(d Denial) bool { return same(d) && (d.EndSessions || !endSessions) })
		}
		if key == 0 {
			if already(func(d Denial) bool { return d.Identity != nil && *d.Identity == is.Identity }) {
				return fmt.Errorf("issuer %q is denied %w", issuer, keyring.ErrAlready)
			}
			d.Identity = &is.Identity
			for _, k := range is.Keys {
				e.Denied = append(e.Denied, Denial{Issuer: issuer, Key: k.ID, Public: k.Public, Time: e.now, Reason: why,
					EndSessions: endSessions})
			}
			is.Keys = []keyring.PublicKey{}
		} else {
			if already(func(d Denial) bool { return d.Issuer == issuer && d.Key == key }) {
				return fmt.Errorf("key %v of %q is denied %w", key, issuer, keyring.ErrAlready)
			}
			if before := deniedKey(e.Denied, is, keyring.PublicKey{ID: key}); before != nil {
				d.Public = before.Public
			}
			// A key that is not in the list can be denied before a bundle brings it.
			for _, k := range is.Keys {
				if k.ID == key {
					d.Public = k.Public
				}
			}
			is.Keys = slices.DeleteFunc(is.Keys, func(k keyring.PublicKey) bool { return k.ID == key })
		}
		e.Denied = append(e.Denied, d)
		detail := ""
		if endSessions {
			detail = "and end sessions"
		}
		e.step(keyring.Step{Do: keyring.TrustDeny, Issuer: issuer, Key: key, Detail: detail})
		return nil
	})
	return l, err
}

// String returns the grant in words, such as "brands acme, acme-de; audiences agent".
func (g Grant) String() string {
	var words []string
	add := func(name string, list []string) {
		if len(list) > 0 {
			words = append(words, name+" "+strings.Join(list, ", "))
		}
	}
	add("brands", g.Brands)
	if g.AnyBrand {
		words = append(words, "every brand")
	}
	if len(words) == 0 {
		words = append(words, "no brand")
	}
	add("audiences", g.Audiences)
	if len(g.Audiences) == 0 {
		words = append(words, "no audience")
	}
	if g.MaxLifetime != 0 {
		words = append(words, "lifetime up to "+short(time.Duration(g.MaxLifetime)*time.Second))
	}
	if g.ManyTimes {
		words = append(words, "also many-times tickets")
	} else {
		words = append(words, "one-time tickets only")
	}
	if g.Override {
		words = append(words, "may change records")
	}
	add("claims", g.Claims)
	if !g.Until.IsZero() {
		words = append(words, "until "+g.Until.Format(time.RFC3339))
	}
	if g.Rate != 0 {
		words = append(words, fmt.Sprintf("%v a second", g.Rate))
	}
	return strings.Join(words, "; ")
}

// short shows whole hours and minutes without zeros: 5m, and not 5m0s.
func short(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
