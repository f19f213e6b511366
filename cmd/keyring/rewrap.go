package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

func (a *app) rewrapCommand() *cobra.Command {
	var o changing
	var uri string
	var cleartext bool
	cmd := &cobra.Command{
		Use:   "rewrap FILE --new-kek URI",
		Short: "Put the keyring under another key-encryption key",
		Long: `rewrap puts the keyring under the KEK that --new-kek names; --kek is, as always, the
one that it is under now. If the new one is file:PATH and there is no such file,
rewrap makes it. The new KEK is tried before anything is written: where it fails,
or does not authenticate what it is given, FILE stays as it is.

Services that have only the old KEK go on with the keys that they have, and cannot
take new ones: give them the new one before the next rotation.`,
		Example: `  keyring rewrap tickets.keyring --new-kek file:/etc/admitone/kek2 --realm prod --kek file:/etc/admitone/kek
  keyring rewrap tickets.keyring --new-kek hcvault:///transit/keys/admitone --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&uri, "new-kek", "", "the key-encryption key that the keyring will be under, as a `URI`")
	cmd.Flags().BoolVar(&cleartext, "new-insecure-cleartext", false, "encrypt no more: whoever reads the file has the keys, and nothing shows a change")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if (uri == "") != cleartext {
			return cli.Usagef("rewrap needs one of --new-kek and --new-insecure-cleartext; --kek is the one that the keyring is under now")
		}
		if uri != "" {
			if err := kms.CheckURI(uri); err != nil {
				return cli.Usagef("--new-kek: %w", err)
			}
		}
		return a.rewrap(args[0], o, uri)
	})
}

// rewrap puts file under the KEK that uri names; the empty one is none.
func (a *app) rewrap(file string, o changing, uri string) error {
	c, err := a.changeConfig(o)
	if err != nil {
		return err
	}
	// A key file is made only for a keyring that there is, and that opens.
	if _, err := keyring.Read(file, c); err != nil {
		return err
	}
	kek, keyFile := keyring.InsecureCleartext, ""
	if uri != "" {
		if keyFile, err = makeKeyFile(uri, file); err != nil {
			return err
		}
		if uri == "passphrase:" {
			fmt.Fprintln(a.stderr, "the new key-encryption key:")
		}
		if kek, err = cli.OpenKEK("new-kek", uri, true); err != nil {
			return err
		}
	}
	info, err := keyring.Rewrap(file, c, kek, o.reason)
	if err != nil {
		return err
	}
	if keyFile != "" {
		a.say("made the key file %s; keep a copy of it, apart from copies of %s", keyFile, file)
	}
	a.say("%s is under the KEK %s now (generation %d); services need that before the next rotation", file, info.KEK, info.Generation)
	a.keys = a.keys.With(uri)
	a.sayNext("status", file)
	return a.printJSON(result{File: file, Changed: true, Info: info, KeyFile: keyFile, Warnings: info.Warnings()})
}
