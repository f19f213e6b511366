package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// policyFlags are the flags that make a policy.
type policyFlags struct {
	lifetime, propagation, skew, rotateEvery, destroyAfter span
	rate                                                   int64
}

func (p *policyFlags) flags(f *pflag.FlagSet) {
	f.Var(&p.rotateEvery, "rotate-every", "how long a key is the primary; 0 means that only people rotate")
	f.Var(&p.propagation, "propagation", "the longest time that a new file takes to reach every service")
	f.Var(&p.lifetime, "lifetime", "the longest lifetime of what the keys seal")
	f.Var(&p.skew, "skew", "how far two machines' clocks may be apart")
	f.Var(&p.destroyAfter, "destroy-after", "how long a disabled key is kept, so that disabling it can be undone; 0 means that the policy destroys none")
	f.Int64Var(&p.rate, "expected-rate", 0, "how many things all services seal together, on average, in a second; 0 means not known")
}

// set sets what flags of f were given, and reports whether there were any.
func (p *policyFlags) set(f *pflag.FlagSet, to *keyring.Policy) (any bool) {
	for name, set := range map[string]func(){
		"lifetime":      func() { to.Lifetime = time.Duration(p.lifetime) },
		"propagation":   func() { to.Propagation = time.Duration(p.propagation) },
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
	var o changing
	var policy policyFlags
	cmd := &cobra.Command{
		Use:   "policy FILE",
		Short: "Show the policy, or change it",
		Long: `policy shows the policy of a keyring; with flags it changes what they name, and
leaves the rest. A key is

  pending    for propagation + skew, until every service has it
  primary    for rotate-every
  retiring   for propagation + lifetime + 3 x skew, until what it sealed has run out
  disabled   for destroy-after

The flags are checked together. What was sealed under a longer policy keeps its
key for as long as that said. If --expected-rate is more than a key of AES256_GCM
may seal before the next rotation (2^32), policy warns and says what to do.`,
		Example: `  keyring policy tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring policy tickets.keyring --rotate-every 7d --expected-rate 500 --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	policy.flags(cmd.Flags())
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		info, err := keyring.Read(args[0], c)
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
			if p.Lifetime < old.Lifetime {
				fmt.Fprintf(a.stderr, "warning: what is sealed for longer than %s from now on may die before its time; see that no service does (ticketd: --max-lifetime)\n", span(p.Lifetime))
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
	a.say("lifetime       %s", never(p.Lifetime, "without end"))
	a.say("skew           %s", span(p.Skew))
	a.say("destroy-after  %s", never(p.DestroyAfter, "never by itself"))
	if p.ExpectedRate != 0 {
		a.say("expected-rate  %d a second", p.ExpectedRate)
	}
}

func errNoKey(id keyring.KeyID) error {
	return fmt.Errorf("%w %v; keyring status lists those there are", keyring.ErrNoKey, id)
}

var errNothingPending = errors.New("no key is pending that is not held; make one with keyring rotate")
