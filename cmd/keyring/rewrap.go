package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

func (a *app) rewrapCommand() *cobra.Command {
	var o changeFlags
	var uri string
	var cleartext bool
	cmd := &cobra.Command{
		Use:   "rewrap FILE --new-kek URI",
		Short: "Put the keyring under another key-encryption key",
		Long: `rewrap puts the keyring under the KEK of --new-kek; --kek is the present KEK. If the new
KEK is file:PATH and there is no such file, rewrap makes the key file. rewrap tests the
new KEK before anything is written: if the new KEK fails, or does not authenticate
associated data, FILE stays unchanged.

Services that have only the old KEK keep the keys that they have loaded, and cannot load
new keys. Give them the new KEK before the next rotation.`,
		Example: `  keyring rewrap tickets.keyring --new-kek file:/etc/admitone/kek2 --realm prod --kek file:/etc/admitone/kek
  keyring rewrap tickets.keyring --new-kek hcvault:///transit/keys/admitone --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&uri, "new-kek", "", "`URI` of the key-encryption key under which the keyring is to be")
	cmd.Flags().BoolVar(&cleartext, "new-insecure-cleartext", false,
		"write the keyring without encryption: a reader of the file has the keys, and a change goes unnoticed")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if (uri == "") != cleartext {
			return cli.Usagef("rewrap needs one of --new-kek and --new-insecure-cleartext; " +
				"--kek is the present key-encryption key")
		}
		if uri != "" {
			if err := kms.CheckURI(uri); err != nil {
				return cli.Usage(cli.ForFlag("new-kek", err))
			}
		}
		return a.rewrap(args[0], o, uri)
	})
}

// rewrap puts the keyring in file under the KEK of uri; an empty uri means no KEK.
func (a *app) rewrap(file string, o changeFlags, uri string) error {
	// A key file is made only for a keyring that exists and opens.
	c, _, err := a.read(file, o)
	if err != nil {
		return err
	}
	kek, keyFile := keyring.InsecureCleartext, ""
	if uri != "" {
		if keyFile, err = makeKeyFile("new-kek", uri, file); err != nil {
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
	a.say("%s is under the KEK %s now (generation %d); services need the new KEK before the next rotation",
		file, info.KEK, info.Generation)
	a.keys = a.keys.With(uri)
	a.sayNext("status", file)
	return a.printJSON(result{File: file, Changed: true, Info: info, KeyFile: keyFile, Warnings: info.Warnings()})
}
