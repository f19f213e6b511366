package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// policyFlags are the flags for the fields of a policy.
type policyFlags struct {
	lifetime, propagation, published, skew, rotateEvery, destroyAfter span
	rate                                                              int64
}

// flags adds the flags to f. The help of each flag ends with the default that otherwise
// tells.
func (p *policyFlags) flags(f *pflag.FlagSet, otherwise func(func(keyring.Policy) time.Duration) string) {
	for _, flag := range []struct {
		to          *span
		name, usage string
		field       func(keyring.Policy) time.Duration
	}{
		{&p.rotateEvery, "rotate-every", "time for which a key is the primary; 0 means that keys are rotated by hand only",
			func(p keyring.Policy) time.Duration { return p.RotateEvery }},
		{&p.propagation, "propagation", "longest time until a changed keyring file has reached every service",
			func(p keyring.Policy) time.Duration { return p.Propagation }},
		{&p.published, "published", "longest time for which others go on with older public keys of an issuer or recipient",
			func(p keyring.Policy) time.Duration { return p.Published }},
		{&p.lifetime, "lifetime", "longest lifetime of the tickets or sessions that the keys seal",
			func(p keyring.Policy) time.Duration { return p.Lifetime }},
		{&p.skew, "skew", "largest difference between the clocks of two machines",
			func(p keyring.Policy) time.Duration { return p.Skew }},
		{&p.destroyAfter, "destroy-after", "time for which a disabled key can still be enabled, before the policy " +
			"destroys the key; 0 means that keys are destroyed by hand only",
			func(p keyring.Policy) time.Duration { return p.DestroyAfter }},
	} {
		f.Var(flag.to, flag.name, flag.usage+" ("+otherwise(flag.field)+")")
		f.Lookup(flag.name).DefValue = "" // the usage tells the default
	}
	f.Int64Var(&p.rate, "expected-rate", 0,
		"average `number` of tickets, sessions or codes that all services together seal in a second; 0 means unknown")
}

// defaults tells the default of a policy's field, which may depend on the keyring's kind.
func defaults(field func(keyring.Policy) time.Duration) string {
	var texts []string
	for _, kind := range kinds {
		texts = append(texts, fmt.Sprintf("%s for %s", span(field(keyring.DefaultPolicy(kind))), owners[kind]))
	}
	if all := span(field(keyring.DefaultPolicy(keyring.Ticket))).String(); !slices.ContainsFunc(texts,
		func(text string) bool { return !strings.HasPrefix(text, all+" ") }) {
		return "default " + all
	}
	return "default " + strings.Join(texts, ", ")
}

// owners are the words for keyrings of a kind in the help of a policy's fields.
var owners = map[keyring.Kind]string{
	keyring.Ticket: "tickets", keyring.Session: "sessions", keyring.Channel: "channel codes",
	keyring.Issuer: "issuers", keyring.Recipient: "recipients",
}

// unchanged is the default of a flag that changes a policy's field.
func unchanged(func(keyring.Policy) time.Duration) string { return "default: no change" }

// set sets the policy's fields whose flags were given, and reports whether there are any.
func (p *policyFlags) set(f *pflag.FlagSet, to *keyring.Policy) (any bool) {
	for name, set := range map[string]func(){
		"lifetime":      func() { to.Lifetime = time.Duration(p.lifetime) },
		"propagation":   func() { to.Propagation = time.Duration(p.propagation) },
		"published":     func() { to.Published = time.Duration(p.published) },
		"skew":          func() { to.Skew = time.Duration(p.skew) },
		"rotate-every":  func() { to.RotateEvery = time.Duration(p.rotateEvery) },
		"destroy-after": func() { to.DestroyAfter = time.Duration(p.destroyAfter) },
		"expected-rate": func() { to.ExpectedRate = p.rate },
	} {
		if f.Changed(name) {
			set()
			any = true
		}
	}
	return any
}

func (a *app) policyCommand() *cobra.Command {
	var o changeFlags
	var policy policyFlags
	cmd := &cobra.Command{
		Use:   "policy FILE",
		Short: "Show or change the policy",
		Long: `policy shows the policy of a keyring. With flags, policy changes the fields that the
flags name. A key is

  pending    for propagation + skew, until every service has it
  primary    for rotate-every
  retiring   for propagation + lifetime + 3 x skew, until the tickets that it sealed have expired
  disabled   for destroy-after

A key of an issuer is pending for published + skew, until others know it. A key of a
recipient is retiring for published + lifetime + 3 x skew, since others seal for it until
then.

The flags are checked together. A change to shorter times does not shorten what others
rely on: a key stays for the longer lifetime of the tickets that it has sealed. While
services may have a file from before the change, or others a bundle, pending and new keys
wait as long as the earlier policy said, and old decryption keys stay. If every service has
the key, promote --unsafe-before-propagation need not wait. A key of AES256_GCM may seal
2^32 tickets; if --expected-rate needs more before the next rotation, policy warns and
tells what to do.`,
		Example: `  keyring policy tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring policy tickets.keyring --rotate-every 7d --expected-rate 500 --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	policy.flags(cmd.Flags(), unchanged)
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		c, info, err := a.read(args[0], o)
		if err != nil {
			return err
		}
		old := info.Policy
		p := old
		if !policy.set(cmd.Flags(), &p) {
			a.tellPolicy(info)
			return a.finish(result{File: args[0], Info: info})
		}
		if err := p.Check(info.Kind); err != nil {
			return cli.Usage(err)
		}
		info, err = keyring.Change(args[0], c, o.reason, keyring.Step{Do: keyring.SetPolicy, Policy: &p})
		return a.changed(args[0], c, info, err, func(info keyring.Info) {
			a.say("the policy of %s is changed (generation %d)", args[0], info.Generation)
			a.tellPolicy(info)
			if p.Published < old.Published {
				fmt.Fprintf(a.stderr, "note: bundles from before this change may be good until %s; until then, new signing keys "+
					"wait and old decryption keys stay as before\n", stampFrom(time.Now().Add(old.Published)))
			}
			if p.Lifetime < old.Lifetime {
				fmt.Fprintf(a.stderr, "warning: from now on a ticket or session with a lifetime over %s may lose its key "+
					"before it expires; let no service issue such a lifetime (ticketd: --max-lifetime)\n", span(p.Lifetime))
			}
		})
	})
}

func (a *app) tellPolicy(info keyring.Info) {
	p := info.Policy
	never := func(d time.Duration, word string) string {
		if d == 0 {
			return word
		}
		return span(d).String()
	}
	a.say("rotate-every   %s", never(p.RotateEvery, "never by itself"))
	a.say("propagation    %s", span(p.Propagation))
	if p.Published != 0 {
		a.say("published      %s", span(p.Published))
	}
	a.say("lifetime       %s", never(p.Lifetime, "without end"))
	a.say("skew           %s", span(p.Skew))
	a.say("destroy-after  %s", never(p.DestroyAfter, "never by itself"))
	if p.ExpectedRate != 0 {
		a.say("expected-rate  %d a second", p.ExpectedRate)
	}
}

func errNoKey(id keyring.KeyID) error {
	return fmt.Errorf("%w %v; keyring status lists the keys", keyring.ErrNoKey, id)
}

var errNothingPending = errors.New("no key is pending and not held; make a key with keyring rotate")
