package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/bundles"
	"github.com/admitone/admitone/cmd/ticketd/internal/issuers"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/trust"
)

const (
	day         = 24 * time.Hour
	expiryShown = 30 * day // doctor warns of what ends within this time
)

// certificate checks the TLS certificate: its key, its time, and whether it is for the hosts of
// the URLs.
func (f *findings) certificate() {
	const name = "certificate"
	c := &f.c
	if c.CertFile == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		f.add(name, Failed, "give the PEM files of a certificate and of its key by --tls-cert and --tls-key", "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		f.add(name, Failed, "give the service's own certificate first in "+c.CertFile, "%v", err)
		return
	}
	ends := leaf.NotAfter.UTC().Format(time.RFC3339)
	switch left := leaf.NotAfter.Sub(f.now); {
	case left <= 0:
		f.add(name, Failed, "renew it: the service takes the new files without a restart", "%s ended at %s", c.CertFile, ends)
	case f.now.Before(leaf.NotBefore):
		f.add(name, Failed, "set the clock, or use the certificate of before", "%s is good from %s only", c.CertFile,
			leaf.NotBefore.UTC().Format(time.RFC3339))
	case left <= expiryShown:
		f.add(name, Warning, "renew it: the service takes the new files without a restart", "%s ends at %s, in %d days",
			c.CertFile, ends, left/day)
	default:
		f.add(name, Well, "", "%s is good until %s", c.CertFile, ends)
	}
	for flag, address := range map[string]string{"--public-url": c.PublicURL, "--console-url": c.ConsoleURL} {
		u, err := url.Parse(address)
		if address == "" || err != nil || u.Scheme != "https" {
			continue
		}
		if err := leaf.VerifyHostname(u.Hostname()); err != nil {
			f.add("certificate's names", Warning, "use a certificate with this name, unless a proxy in front has one",
				"%s of %s: %v", u.Hostname(), flag, err)
		}
	}
}

// pages checks the folder of texts and logos.
func (f *findings) pages() {
	if f.c.Pages == "" {
		return
	}
	folder, err := looks.Open(f.c.Pages)
	if err != nil {
		if wrong, ok := errors.AsType[*token.ConfigError](err); ok && wrong.Cause != nil {
			err = wrong.Cause
		}
		for line := range strings.Lines(cli.Message(err)) {
			f.add("pages", Failed, "mend the file, or the folder that --pages names", "%s", strings.TrimSpace(line))
		}
		return
	}
	f.add("pages", Well, "", "%s: texts in %d languages, %d logos", f.c.Pages, len(folder.Texts), len(folder.Logos))
}

// replayCA checks the authorities for Redis.
func (f *findings) replayCA() {
	path := f.c.Replay.CAFile
	if path == "" {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.add("replay-ca", Failed, "give a PEM file by --replay-ca", "%v", err)
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		f.add("replay-ca", Failed, "give a PEM file by --replay-ca", "%s has no certificate", path)
		return
	}
	f.add("replay-ca", Well, "", "%s", path)
}

// keyrings checks the key-encryption key and the keyrings of the service.
func (f *findings) keyrings() bool {
	p := f.c.State
	kek, err := p.OpenKEK()
	if err != nil {
		f.add("kek", Failed, "see keyring --help for the forms of --kek", "%s", cli.Message(err))
		return false
	}
	seen, err := p.Generations()
	if err != nil {
		f.add("generations", Failed, "if the keyrings are the newest, remove the file", "%v", err)
	}
	kinds := p.Role.Kinds()
	if f.c.Trust != "" {
		kinds = append(kinds, keyring.Recipient)
	}
	whole := true
	for _, kind := range kinds {
		info, err := keyring.Read(p.KeyringFile(kind), keyring.Config{
			Kind: kind, Realm: p.Realm, KEK: kek, MinGeneration: seen[string(kind)],
		})
		if err != nil {
			remedy := "see keyring doctor " + cli.Line(p.KeyringFile(kind))
			if errors.Is(err, fs.ErrNotExist) {
				remedy = "mount or restore it; ticketd init makes new keyrings in an empty folder"
			}
			f.add(string(kind)+" keyring", Failed, remedy, "%s", cli.Message(err))
			whole = false
			continue
		}
		f.keyring(info)
	}
	if err := f.checkRole(); err != nil {
		f.add("role", Failed, "take the file out of this machine", "%v", err)
	}
	return whole
}

// checkRole refuses keys that the role must not have.
func (f *findings) checkRole() error {
	if f.c.State.Role != state.Login {
		return nil
	}
	var identity keyring.KEK
	if f.c.TrustKEK != "" {
		identity, _ = kms.Open(f.c.TrustKEK, nil) // a wrong one is told with the list
	}
	return f.c.State.CheckLogin(f.c.Issuers != "", identity)
}

// keyring checks the policy and the clock of a keyring.
func (f *findings) keyring(info keyring.Info) {
	name, path := string(info.Kind)+" keyring", f.c.State.KeyringFile(info.Kind)
	var last time.Time
	for _, k := range info.Keys {
		for _, t := range []time.Time{k.Created, k.Enabled, k.Promoted, k.Demoted, k.Disabled} {
			if t.After(last) {
				last = t
			}
		}
	}
	overdue := false
	for _, s := range info.Plan(f.now).Steps {
		overdue = overdue || s.Urgency == keyring.Overdue
	}
	switch {
	case last.Sub(f.now) > info.Policy.Skew:
		f.add("clock", Failed, "set the clock of this machine, or of the machine that changed the keyring",
			"the clock is %v before the last change of %s", last.Sub(f.now).Round(time.Second), path)
	case info.Kind == keyring.Ticket && f.c.MaxLifetime > info.Policy.Lifetime:
		f.add(name, Failed,
			"lower --max-lifetime, or: keyring policy "+cli.Line(path)+" --lifetime "+f.c.MaxLifetime.String(),
			"tickets live for up to %v, and keys are kept for %v", f.c.MaxLifetime, info.Policy.Lifetime)
	case overdue:
		f.add(name, Warning, "check whether the timer runs: keyring apply "+cli.Line(path),
			"a change is overdue in generation %d", info.Generation)
	default:
		f.add(name, Well, "", "generation %d, %d keys", info.Generation, len(info.Keys))
	}
}

// others checks the lists of issuers and the bundles.
func (f *findings) others() {
	c := &f.c
	opened := func(name, flag string, open func() (interface{ Close() error }, error)) {
		what, err := open()
		if err == nil {
			err = what.Close()
		}
		if err != nil {
			f.add(name, Failed, "mend the file that "+flag+" names", "%s", cli.Message(err))
			return
		}
		f.add(name, Well, "", "what %s names can be used", flag)
	}
	if c.Issuers != "" {
		opened("issuers", "--issuers", f.openIssuers)
	}
	if c.Trust != "" {
		opened("trust list", "--trust", func() (interface{ Close() error }, error) {
			identity, err := kms.Open(c.TrustKEK, nil)
			if err != nil {
				return nil, err
			}
			return trust.Open(c.Trust, keyring.Config{Realm: c.State.Realm, KEK: identity, Log: discard})
		})
	}
	if len(c.Bundles) > 0 {
		opened("bundles", "--bundle", func() (interface{ Close() error }, error) {
			id, err := bundles.Identity("service.Config.BundleOf", c.BundleOf)
			if err != nil {
				return nil, err
			}
			return bundles.Open(bundles.Config{
				Files: c.Bundles, Realm: c.State.Realm, Identity: id, Log: discard, Now: time.Now,
			})
		})
	}
	if c.Recipient != "" {
		opened("recipient", "--recipient", func() (interface{ Close() error }, error) {
			id, err := bundles.Identity("service.Config.RecipientOf", c.RecipientOf)
			if err != nil {
				return nil, err
			}
			b, err := keyring.ReadBundle(c.Recipient,
				keyring.Config{Kind: keyring.RecipientPublic, Realm: c.State.Realm, KEK: id})
			if err == nil && c.RecipientName != "" && b.Name != c.RecipientName {
				err = fmt.Errorf("%s is of %q, and --recipient-name is %q", c.Recipient, b.Name, c.RecipientName)
			}
			return nothing{}, err
		})
	}
}

// nothing has nothing to close.
type nothing struct{}

func (nothing) Close() error { return nil }

func (f *findings) openIssuers() (interface{ Close() error }, error) {
	c := issuers.Config{
		File: f.c.Issuers, Realm: f.c.State.Realm, KEK: f.c.State.KEKURI(),
		Noted: func(string) uint64 { return 0 }, Note: func(string, *keyring.Ring) {}, Log: discard,
	}
	if f.c.State.Role != state.Login {
		own, err := f.c.State.OpenRing(keyring.Ticket)
		if err != nil {
			return nil, err
		}
		defer own.Close()
		c.Own = own
	}
	return issuers.Open(c)
}
