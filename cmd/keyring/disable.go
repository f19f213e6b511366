package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

func (a *app) disableCommand() *cobra.Command {
	var refuseLive bool
	cmd := a.onKey(&cobra.Command{
		Use:   "disable FILE KEYID",
		Short: "Make a key open nothing",
		Long: `disable makes a key open nothing any more. KEYID is the key's 8 hex digits, as
"keyring status" shows them. "enable" undoes it.

While something that the key sealed may still be good, disable refuses with exit
code 5: until demoted + propagation + lifetime + 3 x skew. What channel keys seal
has no end. The primary key cannot be disabled; rotate first.`,
		Example: `  keyring disable tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek
  keyring disable tickets.keyring 2f6a01c4 --unsafe-refuse-live-tickets --reason leaver --realm prod --kek passphrase:`,
	}, func(id keyring.KeyID) keyring.Step {
		return keyring.Step{Do: keyring.Disable, Key: id, Unsafe: refuseLive}
	}, "is disabled")
	cmd.Flags().BoolVar(&refuseLive, "unsafe-refuse-live-tickets", false, "disable the key even if what it sealed is still good, and so refuse that")
	return cmd
}

func (a *app) enableCommand() *cobra.Command {
	return a.onKey(&cobra.Command{
		Use:   "enable FILE KEYID",
		Short: "Make a disabled or staged key open again",
		Long: `enable makes a disabled key open what it sealed again: it retires once more. A
staged key, and one that has never sealed, is pending from now on. A key that was
revoked stays disabled.`,
		Example: `  keyring enable tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Enable, Key: id} }, "is enabled")
}

func (a *app) destroyCommand() *cobra.Command {
	var early bool
	cmd := a.onKey(&cobra.Command{
		Use:   "destroy FILE KEYID",
		Short: "Remove a disabled key",
		Long: `destroy removes a disabled key from the file; nothing brings it back but a copy of
an older file. Its ID is never given to another key. Before the policy's
destroy-after is over, destroy refuses with exit code 5.`,
		Example: `  keyring destroy tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step {
		return keyring.Step{Do: keyring.Destroy, Key: id, Unsafe: early}
	}, "is destroyed")
	cmd.Flags().BoolVar(&early, "unsafe-before-grace", false, "destroy the key before the grace is over: disabling it can no longer be undone")
	return cmd
}

// revocation is what revoke --dry-run prints with --json.
type revocation struct {
	File        string        `json:"file"`
	Key         keyring.KeyID `json:"key"`
	RefusedFrom time.Time     `json:"refusedFrom,omitzero"` // what was sealed from then
	RefusedTo   time.Time     `json:"refusedTo,omitzero"`   // until then is refused
	DryRun      bool          `json:"dryRun"`
}

func (a *app) revokeCommand() *cobra.Command {
	var o changing
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "revoke FILE KEYID --reason TEXT",
		Short: "Distrust a key that others may have, at once",
		Long: `revoke is for a key that others may have. In one step it disables the key for good
and, if that is the primary, makes a new one which seals at once; keys that wait to
become the primary are held, since who had the file has them, too.

It says first what dies: all that the key sealed and that is still good. With
--dry-run it says only that. It waits for nothing, and asks nothing.

Services refuse what the key sealed as soon as they have the new file. Until then
they also refuse what the new key seals.`,
		Example: `  keyring revoke tickets.keyring 2f6a01c4 --dry-run --realm prod --kek file:/etc/admitone/kek
  keyring revoke tickets.keyring 2f6a01c4 --reason leaked --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(2),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be refused, and change nothing")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		id, err := parseKeyID(args[1])
		if err != nil {
			return err
		}
		if o.reason == "" && !dryRun {
			return cli.Usagef("revoke needs --reason, for the record")
		}
		return a.revoke(args[0], id, o, dryRun)
	})
}

func (a *app) revoke(file string, id keyring.KeyID, o changing, dryRun bool) error {
	c, err := a.changeConfig(o)
	if err != nil {
		return err
	}
	info, err := keyring.Read(file, c)
	if err != nil {
		return err
	}
	// A key that there is not is the change's to refuse.
	r := revocation{File: file, Key: id, DryRun: dryRun}
	if k, ok := keyOf(info, id); ok {
		r.RefusedFrom, r.RefusedTo = info.Live(k, time.Now())
		a.tellDeaths(info, k, r)
	}
	if dryRun {
		if _, ok := keyOf(info, id); !ok {
			return errNoKey(id)
		}
		a.sayNext("revoke", file, id.String(), "--reason", "TEXT")
		return a.printJSON(r)
	}
	info, err = keyring.Change(file, c, o.reason, keyring.Step{Do: keyring.Revoke, Key: id})
	return a.changed(file, c, info, err, func(info keyring.Info) {
		a.say("key %v of %s is revoked (generation %d); the primary is %v", id, file, info.Generation, info.Primary)
		var others []string
		for _, k := range info.Keys {
			if k.State == keyring.Retiring || k.State == keyring.Pending {
				others = append(others, k.ID.String())
			}
		}
		if len(others) > 0 {
			a.say("who had the whole file has %s, too: then revoke that as well", strings.Join(others, ", "))
		}
	})
}

// tellDeaths says what is refused when k is revoked.
func (a *app) tellDeaths(info keyring.Info, k keyring.Key, r revocation) {
	if r.RefusedFrom.IsZero() {
		a.say("nothing that key %v sealed is still good", k.ID)
	} else {
		a.say("this refuses the %s issued under key %v since %s, until %s, that are still good", things[info.Kind], k.ID, stamp(r.RefusedFrom), stamp(r.RefusedTo))
	}
	if k.State == keyring.Primary {
		a.say("a new key seals at once; what it seals is refused where the new file has not arrived")
	}
}
