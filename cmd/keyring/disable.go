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
		Short: "Disable a key: from then on the key opens nothing",
		Long: `disable disables a key: from then on the key opens nothing. KEYID is the key's 8
hexadecimal digits, as "keyring status" shows them. "enable" undoes the change.

While tickets or sessions that the key sealed may still be good, disable refuses with
exit code 5, until demoted + propagation + lifetime + 3 x skew. Channel codes are good
without end. The primary key cannot be disabled; rotate first.`,
		Example: `  keyring disable tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek
  keyring disable tickets.keyring 2f6a01c4 --unsafe-refuse-live-tickets --reason leaver --realm prod --kek passphrase:`,
	}, func(id keyring.KeyID) keyring.Step {
		return keyring.Step{Do: keyring.Disable, Key: id, Unsafe: refuseLive}
	}, "is disabled")
	cmd.Flags().BoolVar(&refuseLive, "unsafe-refuse-live-tickets", false,
		"disable the key although tickets, sessions or channel codes that the key sealed are still good; they are refused")
	return cmd
}

func (a *app) enableCommand() *cobra.Command {
	return a.onKey(&cobra.Command{
		Use:   "enable FILE KEYID",
		Short: "Enable a disabled or staged key",
		Long: `enable lets a disabled key open again: the key is retiring once more. A staged key, or
a key that has never sealed, becomes pending. A revoked key stays disabled.`,
		Example: `  keyring enable tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step { return keyring.Step{Do: keyring.Enable, Key: id} }, "is enabled")
}

func (a *app) destroyCommand() *cobra.Command {
	var early bool
	cmd := a.onKey(&cobra.Command{
		Use:   "destroy FILE KEYID",
		Short: "Remove a disabled key",
		Long: `destroy removes a disabled key from the file. Only a copy of an older file can bring the
key back. The key's ID is never given to another key. Before the policy's destroy-after
is over, destroy refuses with exit code 5.`,
		Example: `  keyring destroy tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek`,
	}, func(id keyring.KeyID) keyring.Step {
		return keyring.Step{Do: keyring.Destroy, Key: id, Unsafe: early}
	}, "is destroyed")
	cmd.Flags().BoolVar(&early, "unsafe-before-grace", false,
		"destroy the key before the policy's destroy-after is over; the key can then no longer be enabled")
	return cmd
}

// revocation is the JSON of revoke --dry-run.
type revocation struct {
	File        string        `json:"file"`
	Key         keyring.KeyID `json:"key"`
	RefusedFrom time.Time     `json:"refusedFrom,omitzero"` // earliest sealing that is refused although still good
	RefusedTo   time.Time     `json:"refusedTo,omitzero"`   // latest such sealing
	DryRun      bool          `json:"dryRun"`
}

func (a *app) revokeCommand() *cobra.Command {
	var o changeFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "revoke FILE KEYID --reason TEXT",
		Short: "Disable at once, and for good, a key that others may have",
		Long: `revoke is for a key that others may have. In one step revoke disables the key for good.
If the key is the primary, revoke also makes a new primary, which seals at once.
Pending keys are held, since a person who had the file has those keys too. The next
bundle of an issuer is without them: run "keyring publish" at once.

revoke first tells which tickets, sessions or channel codes will be refused: those that
the key sealed and that are still good. With --dry-run revoke stops there. revoke waits
for nothing and asks for no confirmation.

A service refuses tickets of the revoked key as soon as the service has the new file.
Until then the service also refuses tickets of the new key.`,
		Example: `  keyring revoke tickets.keyring 2f6a01c4 --dry-run --realm prod --kek file:/etc/admitone/kek
  keyring revoke tickets.keyring 2f6a01c4 --reason leaked --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(2),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be refused, and change nothing")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		id, err := parseKeyID(args[1])
		if err != nil {
			return err
		}
		if o.reason == "" && !dryRun {
			return cli.Usagef("revoke needs --reason, for the audit log")
		}
		return a.revoke(args[0], id, o, dryRun)
	})
}

func (a *app) revoke(file string, id keyring.KeyID, o changeFlags, dryRun bool) error {
	c, info, err := a.read(file, o)
	if err != nil {
		return err
	}
	// An unknown key is refused below, by the change.
	r := revocation{File: file, Key: id, DryRun: dryRun}
	if k, ok := keyOf(info, id); ok {
		r.RefusedFrom, r.RefusedTo = info.Live(k, time.Now())
		a.tellRefused(info, k, r)
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
			a.say("a person who had the whole file has %s too: if so, revoke those keys as well", strings.Join(others, ", "))
		}
	})
}

// tellRefused tells what is refused after k is revoked.
func (a *app) tellRefused(info keyring.Info, k keyring.Key, r revocation) {
	if r.RefusedFrom.IsZero() {
		a.say("nothing that key %v sealed is still good", k.ID)
	} else {
		a.say("this refuses the %s issued under key %v since %s, until %s, that are still good",
			sealedBy[info.Kind], k.ID, stamp(r.RefusedFrom), stamp(r.RefusedTo))
	}
	if k.State == keyring.Primary {
		a.say("a new key seals at once; services that do not have the new file yet refuse what the new key seals")
	}
}
