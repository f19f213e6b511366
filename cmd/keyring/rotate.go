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
	var o changing
	var now, newAlgorithm bool
	var algorithm string
	cmd := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Make a new key, before the policy does",
		Long: `rotate makes a new key. It is pending: it opens and does not seal, until every
service has it; then "apply" makes it the primary, and the old one retires.

With --now it seals at once. Services that run take the new file within a second of
seeing it. One that does not see it yet refuses what the new key sealed; so where
FILE is copied from machine to machine, copy it to those that only verify first.

The new key is of the primary's algorithm. A key of one that no key of FILE has,
and that a service may not know, would make the whole FILE useless to that
service: "stage" it first. rotate refuses it with exit code 5.`,
		Example: `  keyring rotate tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring rotate tickets.keyring --now --reason leaver --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	a.algorithmFlag(cmd, &algorithm)
	cmd.Flags().BoolVar(&now, "now", false, "the primary at once, without a time for the new key to spread first: what it seals is refused where the new file has not arrived")
	cmd.Flags().BoolVar(&newAlgorithm, "unsafe-new-algorithm", false, "even if no key of FILE has the algorithm: services of a version that does not know it cannot load the new file at all")
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

// knownAlgorithm refuses an algorithm of which no key opens yet.
func (a *app) knownAlgorithm(file string, c keyring.Config, algorithm string) error {
	info, err := keyring.Read(file, c)
	if err != nil {
		return err
	}
	if !slices.Contains(keyring.Algorithms(info.Kind), algorithm) {
		return cli.Usagef("for a %s keyring, --algorithm is one of %s", info.Kind, strings.Join(keyring.Algorithms(info.Kind), ", "))
	}
	if slices.ContainsFunc(info.Keys, func(k keyring.Key) bool {
		return k.Algorithm == algorithm && k.State != keyring.Staged && k.State != keyring.Disabled
	}) {
		return nil
	}
	return blocked{
		fmt.Errorf("no key of %s that opens is of %s, and a service that does not know that algorithm could not load the file; stage the key, and enable it when every service knows it", file, algorithm),
		a.next("stage", file, "--algorithm", algorithm),
	}
}

func (a *app) tellRotated(file string, info keyring.Info, now bool) {
	if !now {
		k := info.Keys[len(info.Keys)-1] // the newest
		a.say("key %v (%s) of %s is pending (generation %d): it becomes the primary from %s", k.ID, k.Algorithm, file, info.Generation, stampFrom(info.Policy.PromoteFrom(k)))
		return
	}
	old := latestRetiring(info)
	a.say("key %v is the primary of %s now (generation %d); key %v retires", info.Primary, file, info.Generation, old.ID)
	if from := info.Policy.DisableFrom(old); !from.IsZero() {
		a.say("key %v is needed until %s", old.ID, stampFrom(from))
	}
}

// latestRetiring returns the key that was the primary before.
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
	var o changing
	var algorithm string
	cmd := &cobra.Command{
		Use:   "stage FILE --algorithm NAME",
		Short: "Add a key of an algorithm that services may not know yet",
		Long: `stage adds a key that opens nothing yet. Services of a version that does not know
its algorithm load the file all the same. When every service does, "enable" makes
the key pending, and then it goes the way of all keys.`,
		Example: `  keyring stage tickets.keyring --algorithm XAES_256_GCM --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.ExactArgs(1),
	}
	o.flags(cmd)
	a.algorithmFlag(cmd, &algorithm)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if algorithm == "" {
			return cli.Usagef("stage needs --algorithm; for a key of the primary's there is rotate")
		}
		return a.change(args[0], o, func(info keyring.Info) {
			k := info.Keys[len(info.Keys)-1]
			a.say("key %v (%s) of %s is staged (generation %d): it opens nothing yet", k.ID, k.Algorithm, args[0], info.Generation)
		}, keyring.Step{Do: keyring.Stage, Algorithm: algorithm})
	})
}

func (a *app) algorithmFlag(cmd *cobra.Command, algorithm *string) {
	names := append(keyring.Algorithms(keyring.Ticket), keyring.Algorithms(keyring.Channel)...)
	cmd.Flags().StringVar(algorithm, "algorithm", "", "of the key, a `name`: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) promoteCommand() *cobra.Command {
	var o changing
	var before bool
	var w waiting
	cmd := &cobra.Command{
		Use:   "promote FILE [KEYID]",
		Short: "Make the pending key the primary",
		Long: `promote makes a pending key the primary; the old one retires. Without KEYID it is
the key that was enabled first and is not held. Before every service can have the
key (propagation + skew after it was enabled), promote refuses with exit code 5.

With --wait-for it waits until then, and until each service listed reports that it
has the key: it asks the service's /keyring once a second. If the time is up
before, nothing is changed, and the exit code is 5.`,
		Example: `  keyring promote tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring promote tickets.keyring --wait-for http://login1:9464,http://login2:9464 --timeout 10m --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.RangeArgs(1, 2),
	}
	o.flags(cmd)
	w.flags(cmd)
	cmd.Flags().BoolVar(&before, "unsafe-before-propagation", false, "before every service can have the key: those that have not refuse what it seals")
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

// pending returns the key that is to become the primary: the one that is asked for,
// or the one that the policy would take.
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
"unhold". It goes on opening what it sealed elsewhere. The policy makes another key
in its place when one is due.`,
		Example: `  keyring hold tickets.keyring 2f6a01c4 --reason suspect --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Hold, Key: id} }, "is held")
}

func (a *app) unholdCommand() *cobra.Command {
	return a.onKey(&cobra.Command{
		Use:     "unhold FILE KEYID",
		Short:   "End a hold",
		Long:    `unhold lets a key become the primary again, when its time has come.`,
		Example: `  keyring unhold tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Unhold, Key: id} }, "is held no more")
}

func (a *app) rollbackCommand() *cobra.Command {
	var o changing
	var before bool
	cmd := &cobra.Command{
		Use:   "rollback FILE [KEYID]",
		Short: "Make the key the primary again that was it before",
		Long: `rollback undoes a promotion: the key that was the primary before is it again, at
once, since every service has it. The key that was it until now retires and is
held: what it sealed stays good, and the policy does not choose it again. With
KEYID, nothing is done if another key would become the primary.

A key that was disabled meanwhile and is enabled again has to spread first: until
then rollback refuses with exit code 5.`,
		Example: `  keyring rollback tickets.keyring --reason slow --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.RangeArgs(1, 2),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&before, "unsafe-before-propagation", false, "before every service can have the key enabled again: those that have not refuse what it seals")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		s := keyring.Step{Do: keyring.Rollback, Unsafe: before}
		if len(args) > 1 {
			var err error
			if s.Key, err = parseKeyID(args[1]); err != nil {
				return err
			}
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("key %v is the primary of %s again (generation %d); key %v is held, and opens what it sealed", info.Primary, args[0], info.Generation, latestRetiring(info).ID)
		}, s)
	})
}

// promoted says what promote did.
func (a *app) promoted(file string, info keyring.Info) {
	old := latestRetiring(info)
	a.say("key %v is the primary of %s now (generation %d); key %v retires", info.Primary, file, info.Generation, old.ID)
	if from := info.Policy.DisableFrom(old); !from.IsZero() {
		a.say("key %v is needed until %s, in %s", old.ID, stampFrom(from), span(time.Until(from).Round(time.Second)))
	}
}
