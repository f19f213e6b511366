package issuers

import (
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/trust"
	"github.com/admitone/admitone/verify/web"
)

// Both are the named issuers of a service: those of a List, for format 1, and those of a trust
// list, for format 2. Both are the verify.Issuers of the service, and safe for concurrent use.
//
// No issuer should be in both lists: nobody could tell which grant counts. Join refuses such
// lists, and so does a change of the List. A new trust list is taken, since it may deny others;
// its issuers that are in the List have no tickets of format 2. A denial in one of the lists is for
// the tickets of both formats.
type Both struct {
	list *List // nil for none
	log  *slog.Logger

	mu    sync.Mutex  // of told, and of trust until Join returns
	trust *trust.Ring // nil for none
	told  trust.List  // what the log was told
}

// Join opens the trust list at path beside a List, which may be nil. An empty path is for no
// trust list.
func Join(list *List, path string, c keyring.Config) (*Both, error) {
	b := &Both{list: list, log: c.Log}
	if path == "" {
		return b, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	onReload := c.OnReload
	c.OnReload = func(r keyring.Report) {
		b.changed()
		if onReload != nil {
			onReload(r)
		}
	}
	var err error
	if b.trust, err = trust.Open(path, c); err != nil {
		return nil, err
	}
	if list != nil {
		if err := b.twice(); err != nil {
			return nil, errors.Join(err, b.trust.Close())
		}
		list.elsewhere = func(name string) bool { return b.trust.List().Of(name) != nil }
	}
	b.tell()
	return b, nil
}

// changed logs what a new trust list changes.
func (b *Both) changed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell()
}

func (b *Both) tell() {
	now := b.trust.List()
	if now.Generation == b.told.Generation { // only the state of the file has changed
		return
	}
	tellTrust(b.log, b.told, now)
	b.told = now
	if err := b.twice(); err != nil {
		b.log.Error("the trust list has an issuer that has no tickets of format 2 here", "error", err)
	}
}

// twice returns an error if an issuer is in both lists, and not denied in the file.
func (b *Both) twice() error {
	if b.list == nil || b.trust == nil {
		return nil
	}
	for _, is := range b.trust.List().Issuers {
		if b.list.has(is.Name) && !b.list.denies(is.Name) {
			return nameTwice(is.Name)
		}
	}
	return nil
}

// tellTrust logs what changed for each issuer of a trust list.
func tellTrust(log *slog.Logger, before, now trust.List) {
	for i := range now.Issuers {
		is := &now.Issuers[i]
		denied := now.Denial(is) != nil
		old := before.Of(is.Name)
		if old != nil && old.Grant.String() == is.Grant.String() && denied == (before.Denial(old) != nil) {
			continue
		}
		log.Info("issuer may issue tickets of format 2", "issuer", is.Name, "denied", denied, "grant", is.Grant.String())
		if slices.Contains(is.Grant.Audiences, token.Administrator.String()) {
			log.Warn("administrators enter by the service's own links only: take this audience out of the issuer's grant",
				"issuer", is.Name)
		}
	}
	for i := range before.Issuers {
		if name := before.Issuers[i].Name; now.Of(name) == nil {
			log.Info("issuer removed: its tickets are refused, and its sessions end", "issuer", name)
		}
	}
	for i := range now.Denied {
		d := &now.Denied[i]
		same := func(old trust.Denial) bool { return old.Time.Equal(d.Time) && old.Key == d.Key }
		if slices.ContainsFunc(before.Denied, same) {
			continue
		}
		attrs := []any{"issuer", d.Issuer, "reason", d.Reason, "end_sessions", d.EndSessions}
		if d.Key != 0 {
			attrs = append(attrs, "signing_key", d.Key.String())
		}
		log.Info("issuer or key denied", attrs...)
	}
}

// Load reads both lists again. After an error, the list before stays in use, but for denials in
// the file.
func (b *Both) Load() error {
	var errs []error
	if b.trust != nil { // first, so that it can give up a name
		errs = append(errs, b.trust.Reload())
	}
	if b.list != nil {
		errs = append(errs, b.list.Load())
	}
	return errors.Join(append(errs, b.twice())...)
}

// WithKey implements verify.Issuers.
func (b *Both) WithKey(id token.KeyID) []*verify.Issuer {
	switch {
	case b.trust == nil:
		return b.list.WithKey(id)
	case b.list == nil:
		return b.trust.WithKey(id)
	}
	signing := b.trust.WithKey(id)
	if slices.ContainsFunc(signing, b.inList) {
		signing = slices.DeleteFunc(slices.Clone(signing), b.inList)
	}
	sealing := b.list.WithKey(id)
	if len(sealing) == 0 {
		return signing
	}
	found := slices.Concat(signing, sealing)
	for i := len(signing); i < len(found); i++ {
		if b.trustDenies(found[i].Name) { // the grant is for no ticket then
			denied := *found[i]
			denied.Grant = verify.Grant{}
			found[i] = &denied
		}
	}
	return found
}

// trustDenies reports whether the trust list denies an issuer as a whole, under any identity.
func (b *Both) trustDenies(name string) bool {
	return b.trust != nil && slices.ContainsFunc(b.trust.List().Denied, func(d trust.Denial) bool {
		return d.Issuer == name && d.Identity != nil
	})
}

func (b *Both) inList(is *verify.Issuer) bool { return b.list.has(is.Name) }

// Trusted implements verify.Issuers.
func (b *Both) Trusted() *signed.Trusted {
	if b.trust == nil {
		return b.list.Trusted()
	}
	return b.trust.Trusted()
}

// DeniedKey implements the method that verify.Issuers may have.
func (b *Both) DeniedKey(id token.KeyID) string {
	if b.trust == nil {
		return ""
	}
	return b.trust.DeniedKey(id)
}

// SessionOver reports whether a session of a named issuer's ticket must end: nobody knows the issuer
// any more, it is denied, or its key is; see trust.Ring.SessionOver. Without lists, all such
// sessions are over.
func (b *Both) SessionOver(s web.Session) bool {
	switch {
	case b == nil:
		return true
	case s.SigningKey != 0:
		return b.trust == nil || b.trust.SessionOver(s.Issuer, s.SigningKey, s.Entered) ||
			b.list != nil && b.list.denies(s.Issuer)
	}
	return !b.list.Knows(s.Issuer) || b.trustDenies(s.Issuer)
}

// Entries implements Source. A nil Both has no list.
func (b *Both) Entries() []directory.IssuerEntry {
	if b == nil {
		return nil
	}
	all := []directory.IssuerEntry{}
	if b.list != nil {
		all = append(all, b.list.Entries()...)
	}
	for i := range all {
		if b.trustDenies(all[i].Name) {
			all[i].Denied, all[i].Keys = true, nil
		}
	}
	if b.trust == nil {
		return all
	}
	l := b.trust.List()
	for i := range l.Issuers {
		if is := &l.Issuers[i]; b.list == nil || !b.list.has(is.Name) {
			all = append(all, describeTrusted(&l, is))
		}
	}
	return all
}

// describeTrusted describes an issuer of a trust list.
func describeTrusted(l *trust.List, is *trust.Issuer) directory.IssuerEntry {
	grant, _ := is.Grant.Verify() // the list was refused else
	e := describe(&grant)
	e.Name, e.Format, e.Denied = is.Name, 2, l.Denial(is) != nil
	e.Generation, e.BundleUntil = int(is.Generation), is.Until.UTC()
	for _, d := range l.Denied {
		if d.Issuer == is.Name && d.Key != 0 {
			e.DeniedKeys = append(e.DeniedKeys, d.Key.String())
		}
	}
	for _, k := range is.Keys {
		if id := k.ID.String(); !e.Denied && !slices.Contains(e.DeniedKeys, id) {
			e.Keys = append(e.Keys, id)
		}
	}
	slices.Sort(e.Keys)
	slices.Sort(e.DeniedKeys)
	return e
}

// Trust returns the Ring of the trust list, or nil.
func (b *Both) Trust() *trust.Ring {
	if b == nil {
		return nil
	}
	return b.trust
}

// Close closes the keyrings and the trust list.
func (b *Both) Close() error {
	var errs []error
	if b.list != nil {
		errs = append(errs, b.list.Close())
	}
	if b.trust != nil {
		errs = append(errs, b.trust.Close())
	}
	return errors.Join(errs...)
}
