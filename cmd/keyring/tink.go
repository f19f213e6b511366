package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// keyset names a Tink keyset outside of a keyring, and its key-encryption key.
type keyset struct {
	file      string
	kek       string
	cleartext bool
}

func (k *keyset) flags(f *pflag.FlagSet) {
	f.StringVar(&k.kek, "keyset-kek", "",
		"`URI` of the key-encryption key under which the Tink keyset is encrypted, without associated data")
	f.BoolVar(&k.cleartext, "keyset-insecure-cleartext", false,
		"the Tink keyset is not encrypted: a reader of the keyset has the keys")
}

// check refuses a wrong combination of flags; given tells whether there is a keyset.
func (k *keyset) check(given bool) error {
	switch {
	case !given && (k.kek != "" || k.cleartext):
		return cli.Usagef("--keyset-kek and --keyset-insecure-cleartext need --keyset")
	case given && (k.kek == "") != k.cleartext:
		return cli.Usagef("give one of --keyset-kek and --keyset-insecure-cleartext, for the Tink keyset")
	}
	return nil
}

func (k *keyset) open(repeat bool) (keyring.KEK, error) {
	if k.cleartext {
		return keyring.InsecureCleartext, nil
	}
	kek, err := cli.OpenKEK("keyset-kek", k.kek, repeat)
	if err != nil {
		return nil, err
	}
	return kms.Tink(kek), nil
}

// read returns the keyset and the keyset's KEK.
func (k *keyset) read() ([]byte, keyring.KEK, error) {
	kek, err := k.open(false)
	if err != nil {
		return nil, nil, err
	}
	in := os.Stdin
	if k.file != "-" {
		if in, err = os.Open(k.file); err != nil {
			return nil, nil, fmt.Errorf("the Tink keyset cannot be read: %w", err)
		}
		defer in.Close()
	}
	const limit = 1 << 20
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("the Tink keyset cannot be read: %w", err)
	}
	if len(data) == 0 || len(data) > limit {
		return nil, nil, fmt.Errorf("%s is not a Tink keyset: a keyset has 1 to %d bytes", k.file, limit)
	}
	return data, kek, nil
}

func (a *app) importCommand() *cobra.Command {
	var o changeFlags
	var k keyset
	cmd := &cobra.Command{
		Use:   "import FILE KEYSET",
		Short: "Add the keys of a Tink keyset",
		Long: `import adds the keys of a Tink keyset, JSON or binary, from the file KEYSET (- is
standard input). The keys open, and are held: the policy neither promotes nor disables
them. After "unhold" a key can become the primary, and only then is a key of an issuer in
its bundles. To begin a keyring with the keys of a keyset, see "init --keyset".

The keys must have an algorithm of keyrings and Tink's own output prefix. import refuses
key IDs that FILE has or had.`,
		Example: `  keyring import tickets.keyring tink.json --keyset-insecure-cleartext --realm prod --kek file:/etc/admitone/kek
  keyring import tickets.keyring tink.bin --keyset-kek file:/etc/other/kek --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(2),
	}
	o.flags(cmd)
	k.flags(cmd.Flags())
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if err := k.check(true); err != nil {
			return err
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		k.file = args[1]
		data, kek, err := k.read()
		if err != nil {
			return err
		}
		before, err := keyring.Read(args[0], c)
		if err != nil {
			return err
		}
		info, err := keyring.Import(args[0], c, data, kek, o.reason)
		return a.changed(args[0], c, info, err, func(info keyring.Info) {
			for _, k := range info.Keys[len(before.Keys):] {
				a.say("key %v (%s) of %s is %s and held", k.ID, k.Algorithm, args[0], k.State)
			}
			a.say("%s is generation %d now", args[0], info.Generation)
		})
	})
}

func (a *app) exportCommand() *cobra.Command {
	var o changeFlags
	var k keyset
	var encoding string
	var public bool
	cmd := &cobra.Command{
		Use:   "export FILE -o KEYSET",
		Short: "Write the keys as a Tink keyset",
		Long: `export writes the keys to the file KEYSET (mode 0600; - is standard output) as a Tink
keyset, JSON or binary. export never overwrites a file.

A person with the keyset can open and seal all that the keyring can. The keyset does not
follow rotations. The audit log tells when and by whom a keyset was exported: an export
is a new generation of FILE.

Tinkey, and Tink in other languages, read the keyset in clear, or under a key of AWS KMS,
Google Cloud KMS or Vault. Under file:PATH, which is AES-256-GCM of a raw key, a program
needs a line of code more. Only package keyring/kms reads passphrase: and pkcs11:.

With --public, export writes the public keys of an issuer or recipient, for the other side.
They are no secret, and the audit log has no entry of it. See that nobody can exchange
them on their way: compare the SHA-256 of the two files, by telephone for example.`,
		Example: `  keyring export tickets.keyring -o tink.json --keyset-insecure-cleartext --realm prod --kek file:/etc/admitone/kek
  keyring export tickets.keyring -o tink.bin --encoding binary --keyset-kek file:/etc/other/kek --realm prod --kek file:/etc/admitone/kek
  keyring export login.keyring -o login.json --public --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	k.flags(cmd.Flags())
	cmd.Flags().StringVarP(&k.file, "output", "o", "", "`file` to which the Tink keyset is written; - is standard output")
	cmd.Flags().StringVar(&encoding, "encoding", string(keyring.JSON), "`encoding` of the Tink keyset: json or binary")
	completeWords(cmd, "encoding", string(keyring.JSON), string(keyring.Binary))
	cmd.Flags().BoolVar(&public, "public", false,
		"write only the public keys of an issuer or recipient, which are no secret")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		switch {
		case k.file == "":
			return cli.Usagef("export needs -o")
		case k.file == "-" && a.json:
			return cli.Usagef("-o - and --json exclude each other: both write to standard output")
		case encoding != string(keyring.JSON) && encoding != string(keyring.Binary):
			return cli.Flagf("encoding", "must be json or binary")
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		if public {
			if k.kek != "" || k.cleartext {
				return cli.Usagef("--public excludes --keyset-kek and --keyset-insecure-cleartext: public keys are no secret")
			}
			return a.export(args[0], k.file, keyring.Encoding(encoding), func() ([]byte, error) {
				return keyring.ExportPublic(args[0], c, keyring.Encoding(encoding))
			})
		}
		if err := k.check(true); err != nil {
			return err
		}
		kek, err := k.open(true)
		if err != nil {
			return err
		}
		return a.export(args[0], k.file, keyring.Encoding(encoding), func() ([]byte, error) {
			return keyring.Export(args[0], c, keyring.Encoding(encoding), kek, o.reason)
		})
	})
}

func (a *app) export(file, output string, e keyring.Encoding, keys func() ([]byte, error)) error {
	// The file is made before the export, so that the log tells of no export without a file.
	out := io.WriteCloser(nopCloser{a.stdout})
	if output != "-" {
		f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w; export never overwrites", output, fs.ErrExist)
		}
		if err != nil {
			return fmt.Errorf("the Tink keyset cannot be written: %w", err)
		}
		out = f
	}
	data, err := keys()
	if err == nil {
		_, err = out.Write(data)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		if output != "-" {
			err = errors.Join(err, os.Remove(output))
		}
		return err
	}
	if output != "-" {
		a.say("exported the keys of %s to %s", file, output)
	}
	a.sayNext("audit", file)
	return a.printJSON(export{file, output, e})
}

// export is the JSON of export.
type export struct {
	File     string           `json:"file"`
	Output   string           `json:"output"`
	Encoding keyring.Encoding `json:"encoding"`
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
