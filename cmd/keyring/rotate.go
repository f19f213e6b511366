package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

func (a *app) rotateCommand() *cobra.Command {
	var o changeFlags
	var now, newAlgorithm bool
	var algorithm string
	cmd := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Make a new key before the policy does",
		Long: `rotate makes a new key. The new key is pending: it opens and does not seal, until every
service has the key. Then "apply" makes it the primary, and the old primary retires.

With --now the new key seals at once. A running service loads the new file within a
second of its arrival. A service without the new file refuses tickets that the new key
sealed. If FILE is copied from machine to machine, copy FILE first to the machines that
only verify.

The new key has the primary's algorithm. If a service does not know the algorithm of a
new key, the service cannot load FILE at all. So "stage" a key of an algorithm that is
new to FILE; rotate refuses such an algorithm with exit code 5.`,
		Example: `  keyring rotate tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring rotate tickets.keyring --now --reason leaver --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	a.algorithmFlag(cmd, &algorithm)
	cmd.Flags().BoolVar(&now, "now", false,
		"make the new key the primary at once; services that do not have the new file yet refuse tickets of the new key")
	cmd.Flags().BoolVar(&newAlgorithm, "unsafe-new-algorithm", false,
		"accept an algorithm that no key of FILE has; "+
			"a service that does not know the algorithm cannot load the new file at all")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		if algorithm != "" && !newAlgorithm {
			if err := a.knownAlgorithm(args[0], c, algorithm); err != nil {
				return err
			}
		}
		info, err := keyring.Change(args[0], c, o.reason, keyring.Step{Do: keyring.Rotate, Algorithm: algorithm, Now: now})
		return a.changed(args[0], c, info, err, func(info keyring.Info) { a.tellRotated(args[0], info, now) })
	})
}

// knownAlgorithm refuses an algorithm that no opening key of the keyring has.
func (a *app) knownAlgorithm(file string, c keyring.Config, algorithm string) error {
	info, err := keyring.Read(file, c)
	if err != nil {
		return err
	}
	if !slices.Contains(keyring.Algorithms(info.Kind), algorithm) {
		return cli.Flagf("algorithm", "is not an algorithm of a %s keyring; give one of %s",
			info.Kind, strings.Join(keyring.Algorithms(info.Kind), ", "))
	}
	if slices.ContainsFunc(info.Keys, func(k keyring.Key) bool {
		return k.Algorithm == algorithm && k.State != keyring.Staged && k.State != keyring.Disabled
	}) {
		return nil
	}
	return blockedError{
		fmt.Errorf("no key that opens in %s has the algorithm %s, and a service that does not know the algorithm "+
			"could not load the file; stage the key, and enable the key when every service knows the algorithm",
			file, algorithm),
		a.next("stage", file, "--algorithm", algorithm),
	}
}

func (a *app) tellRotated(file string, info keyring.Info, now bool) {
	if !now {
		k := info.Keys[len(info.Keys)-1] // the newest
		a.say("key %v (%s) of %s is pending (generation %d): it becomes the primary from %s",
			k.ID, k.Algorithm, file, info.Generation, stampFrom(info.Policy.PromoteFrom(k)))
		return
	}
	a.tellPromoted(file, info)
}

// latestRetiring returns the previous primary.
func latestRetiring(info keyring.Info) keyring.Key {
	var latest keyring.Key
	for _, k := range info.Keys {
		if k.State == keyring.Retiring && !k.Demoted.Before(latest.Demoted) {
			latest = k
		}
	}
	return latest
}

func (a *app) stageCommand() *cobra.Command {
	var o changeFlags
	var algorithm string
	cmd := &cobra.Command{
		Use:   "stage FILE --algorithm NAME",
		Short: "Add a key of an algorithm that services may not know yet",
		Long: `stage adds a key that opens nothing yet. A service can load the file although the
service does not know the key's algorithm. When every service knows the algorithm,
"enable" makes the key pending, as a new key of "rotate" is.`,
		Example: `  keyring stage tickets.keyring --algorithm XAES_256_GCM --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.ExactArgs(1),
	}
	o.flags(cmd)
	a.algorithmFlag(cmd, &algorithm)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if algorithm == "" {
			return cli.Usagef("stage needs --algorithm; for a key of the primary's algorithm use rotate")
		}
		return a.change(args[0], o, func(info keyring.Info) {
			k := info.Keys[len(info.Keys)-1]
			a.say("key %v (%s) of %s is staged (generation %d): it opens nothing yet",
				k.ID, k.Algorithm, args[0], info.Generation)
		}, keyring.Step{Do: keyring.Stage, Algorithm: algorithm})
	})
}

func (a *app) algorithmFlag(cmd *cobra.Command, algorithm *string) {
	var names []string
	for _, kind := range kinds {
		if kind != keyring.Session { // has the algorithms of tickets
			names = append(names, keyring.Algorithms(kind)...)
		}
	}
	cmd.Flags().StringVar(algorithm, "algorithm", "",
		"algorithm of the new key, by its `name`: "+strings.Join(names, ", "))
	completeWords(cmd, "algorithm", names...)
}

// completeWords offers the words for the value of a flag to a shell's completion.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) promoteCommand() *cobra.Command {
	var o changeFlags
	var before bool
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "promote FILE [KEYID]",
		Short: "Make a pending key the primary",
		Long: `promote makes a pending key the primary; the old primary retires. Without KEYID promote
takes the key that was enabled first and is not held. Before every service can have the
key (propagation + skew after the key was enabled), promote refuses with exit code 5.

With --wait-for promote waits until that time, and until each listed service reports the
key: promote asks the service's /keyring once a second. At the end of --timeout promote
gives up; then nothing is changed, and the exit code is 5.`,
		Example: `  keyring promote tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring promote tickets.keyring --wait-for http://login1:9464,http://login2:9464 --timeout 10m --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.RangeArgs(1, 2),
	}
	o.flags(cmd)
	w.flags(cmd)
	cmd.Flags().BoolVar(&before, "unsafe-before-propagation", false,
		"promote the key before every service can have the key; a service without the key refuses tickets that the key seals")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		var id keyring.KeyID
		if len(args) > 1 {
			var err error
			if id, err = parseKeyID(args[1]); err != nil {
				return err
			}
		}
		if err := w.check(cmd); err != nil {
			return err
		}
		return a.promote(cmd.Context(), args[0], id, o, before, w)
	})
}

// pending returns the next primary: the key with the ID or, if id is 0, the key that the
// policy would choose.
func pending(info keyring.Info, id keyring.KeyID) (keyring.Key, bool) {
	if id != 0 {
		return keyOf(info, id)
	}
	var first keyring.Key
	for _, k := range info.Keys {
		if k.State == keyring.Pending && !k.Held && (first.ID == 0 || k.Enabled.Before(first.Enabled)) {
			first = k
		}
	}
	return first, first.ID != 0
}

func (a *app) holdCommand() *cobra.Command {
	return a.onKey(&cobra.Command{
		Use:   "hold FILE KEYID",
		Short: "Keep a key from becoming the primary",
		Long: `hold keeps a pending key from becoming the primary, by the policy or by hand, until
"unhold". The key still opens. When a rotation is due, the policy makes another key.
A held key of an issuer that has signed nothing yet is in no later bundle.`,
		Example: `  keyring hold tickets.keyring 2f6a01c4 --reason suspect --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Hold, Key: id} }, "is held")
}

func (a *app) unholdCommand() *cobra.Command {
	return a.onKey(&cobra.Command{
		Use:   "unhold FILE KEYID",
		Short: "End a hold",
		Long: `unhold ends a hold: the key can become the primary, as the policy says. A pending key of
an issuer waits from now on like a new key, since bundles were without it.`,
		Example: `  keyring unhold tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Unhold, Key: id} }, "is held no more")
}

func (a *app) rollbackCommand() *cobra.Command {
	var o changeFlags
	var before bool
	cmd := &cobra.Command{
		Use:   "rollback FILE [KEYID]",
		Short: "Make the previous primary the primary again",
		Long: `rollback undoes a promotion: the previous primary becomes the primary again, at once,
since every service has that key. The current primary retires and is held: tickets that
it sealed stay good, and the policy does not choose the key again. With KEYID, rollback
does nothing if another key would become the primary.

If the previous primary was disabled and enabled in the meantime, the key must first
reach every service: until then rollback refuses with exit code 5.

After a rollback of an issuer, run "keyring publish" at once. A bundle that names the key
as retiring also names the time of its last ticket. Login services with such a bundle
refuse later tickets of the key as forged, until they have the new bundle.`,
		Example: `  keyring rollback tickets.keyring --reason slow --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.RangeArgs(1, 2),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&before, "unsafe-before-propagation", false,
		"go back before every service can have the enabled key; a service without the key refuses tickets that the key seals")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		s := keyring.Step{Do: keyring.Rollback, Unsafe: before}
		if len(args) > 1 {
			var err error
			if s.Key, err = parseKeyID(args[1]); err != nil {
				return err
			}
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("key %v is the primary of %s again (generation %d); key %v is held, and still opens",
				info.Primary, args[0], info.Generation, latestRetiring(info).ID)
			if info.Kind == keyring.Issuer {
				fmt.Fprintln(a.stderr, "warning: login services with a bundle that names the key as retiring refuse "+
					"its new tickets; publish at once (keyring publish), and let them take the bundle")
			}
		}, s)
	})
}

// tellPromoted reports the new primary.
func (a *app) tellPromoted(file string, info keyring.Info) {
	old := latestRetiring(info)
	a.say("key %v is the primary of %s now (generation %d); key %v retires",
		info.Primary, file, info.Generation, old.ID)
	if from := info.Policy.DisableFrom(old); !from.IsZero() {
		a.say("key %v is needed until %s, for %s", old.ID, stampFrom(from), span(time.Until(from).Round(time.Second)))
	}
}
