package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

func (a *app) identityCommand() *cobra.Command {
	var make bool
	var public string
	cmd := &cobra.Command{
		Use:   "identity FILE",
		Short: "Make or show the identity key that signs bundles and trust lists",
		Long: `identity prints the fingerprint of the identity key in FILE: the public key, in
hexadecimal. With --new, identity makes the key first (PEM, mode 0600), and never
overwrites a file. With -o, identity writes the public key for the readers of signed
files, who open them with --kek verify:PUBLIC.

Each organisation has one identity key. It signs the bundles of the organisation's
public keys ("keyring publish") and its trust list ("keyring trust"). Keep it on the
machine where keyrings are changed, and on no server that issues or takes tickets.
Others pin it by its fingerprint: read the fingerprint to them by telephone, or bring
it in another way that nobody can change.

If the key is stolen, the thief can publish bundles and, with access to the servers,
trust lists in your name. Make a new key, and let all others deny you and add you again
under the new fingerprint. If the key is lost, the same is necessary.`,
		Example: `  keyring identity id.key --new -o id.pub
  keyring identity id.key`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&make, "new", false, "make the key")
	cmd.Flags().StringVarP(&public, "output", "o", "", "`file` to which the public key is written")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if make {
			switch _, err := kms.CreateIdentity(args[0]); {
			case errors.Is(err, fs.ErrExist):
				return fmt.Errorf("%s: %w; identity never overwrites", args[0], fs.ErrExist)
			case err != nil:
				return fmt.Errorf("the identity key cannot be made: %w", err)
			}
		}
		id, _, err := openIdentity(args[0])
		if err != nil {
			return err
		}
		if public != "" {
			data, err := kms.PublicIdentity(id)
			if err == nil {
				err = durable.Create(public, data, 0o644)
			}
			if err != nil {
				return fmt.Errorf("the public key cannot be written: %w", err)
			}
		}
		a.say("%v", id)
		return a.printJSON(identity{args[0], id, public})
	})
}

// identity is the JSON of identity.
type identity struct {
	File        string           `json:"file"`
	Fingerprint keyring.Identity `json:"fingerprint"`
	Public      string           `json:"public,omitempty"`
}

// openIdentity opens a private identity key.
func openIdentity(file string) (keyring.Identity, keyring.KEK, error) {
	kek, err := kms.Open("signed:"+file, nil)
	if err != nil {
		return keyring.Identity{}, nil, err
	}
	id, _ := keyring.IdentityOf(kek)
	return id, kek, nil
}
