package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

func (a *app) publishCommand() *cobra.Command {
	var r readFlags
	var out, name, key string
	var valid, refresh span
	var least uint64
	cmd := &cobra.Command{
		Use:   "publish FILE -o BUNDLE --identity KEY",
		Short: "Write a signed bundle of the public keys of an issuer or recipient",
		Long: `publish writes the file BUNDLE with the public keys of FILE that are pending, primary or
retiring, signed by your identity key ("keyring identity"). BUNDLE holds no secret. The
other side needs it, and the fingerprint that publish prints: compare the fingerprint
by telephone, for example, when the other side takes BUNDLE for the first time. Later
bundles need no comparison. Serve BUNDLE by https, for example at
https://HOST/.well-known/admitone/NAME.pub, or send it.

A bundle is good for the policy's time "published", or for --valid if shorter. After that
time the other side refuses it. So run publish from the timer that runs "apply", after
it. Each run makes a new generation of BUNDLE.

If a signing key is stolen, revoke it ("keyring revoke") and publish. Your new tickets
are refused as unknown_issuer until the other side has the new bundle. The revoked key is
good there until then too: ask the other side to run "keyring trust deny" at once.

If a recipient's private key is stolen, the thief can read tickets made for it, older
logged tickets too, and can make none. Rotate at once ("keyring rotate --now") and
publish with --refresh 5m: others change to the new key as they get the bundle. Revoke
the old key only if reading is worse than an outage: until others have the bundle, the
login service refuses their tickets then.`,
		Example: `  keyring publish acme.keyring -o acme.pub --identity id.key --name acme --realm prod --kek file:/etc/admitone/kek
  keyring publish login.keyring -o login.pub --identity id.key --refresh 5m --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "`file` of the bundle; an older bundle there is replaced")
	f.StringVar(&key, "identity", "", "`file` of the identity key")
	f.StringVar(&name, "name", "", "`name` of the issuer or recipient, as others know it; needed for the first bundle")
	f.Var(&valid, "valid", "time for which the bundle is good (default: the policy's published)")
	f.Var(&refresh, "refresh",
		"time after which others look for a new bundle (default 1h, or a third of --valid if that is shorter)")
	f.Uint64Var(&least, "bundle-generation", 0, "lowest `generation` of the bundle, if the older bundle was lost")
	f.Lookup("valid").DefValue, f.Lookup("refresh").DefValue = "", ""
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if out == "" || key == "" {
			return cli.Usagef("publish needs -o and --identity")
		}
		c, err := a.readConfig(r)
		if err != nil {
			return err
		}
		id, kek, err := openIdentity(key)
		if err != nil {
			return err
		}
		lock, err := durable.Lock(args[0] + ".lock") // two bundles of one generation would be refused
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("another process is changing or publishing %s; try again: %w", args[0], err)
		}
		if err != nil {
			return err
		}
		defer lock.Close()
		before, err := os.ReadFile(out)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the older bundle cannot be read: %w", err)
		}
		p := keyring.Publication{Name: name, Identity: kek, Valid: time.Duration(valid), Refresh: time.Duration(refresh),
			Before: before, MinGeneration: least}
		if name == "" && before == nil {
			return cli.Usagef("publish needs --name for the first bundle")
		}
		data, b, err := keyring.Publish(args[0], c, p)
		if err != nil {
			return err
		}
		// A web server may read the file, so it gets its mode before its name.
		if err := durable.WriteFile(out+".new", data, 0o644); err != nil {
			return fmt.Errorf("the bundle cannot be written: %w", err)
		}
		if err := os.Rename(out+".new", out); err != nil {
			return fmt.Errorf("the bundle cannot be written: %w", err)
		}
		a.say("%s is generation %d of the public keys of %s, good until %s", out, b.Generation, b.Name, stamp(b.Until))
		a.say("fingerprint of the identity: %v", id)
		return a.printJSON(published{out, b})
	})
}

// published is the JSON of publish.
type published struct {
	File string `json:"file"`
	keyring.Bundle
}
