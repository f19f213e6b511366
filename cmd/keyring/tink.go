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

// keyset is a Tink keyset outside of a keyring, and what it is encrypted under.
type keyset struct {
	file      string
	kek       string
	cleartext bool
}

func (k *keyset) flags(f *pflag.FlagSet) {
	f.StringVar(&k.kek, "keyset-kek", "", "the Tink keyset is encrypted under this key-encryption key, a `URI`, without associated data")
	f.BoolVar(&k.cleartext, "keyset-insecure-cleartext", false, "the Tink keyset is not encrypted: whoever reads it has the keys")
}

// check finds what is wrong with the flags. Without a keyset there are none.
func (k *keyset) check(wanted bool) error {
	switch {
	case !wanted && (k.kek != "" || k.cleartext):
		return cli.Usagef("--keyset-kek and --keyset-insecure-cleartext are about the keyset of --keyset")
	case wanted && (k.kek == "") != k.cleartext:
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

// read returns the keyset and the KEK that it is encrypted under.
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
		return nil, nil, fmt.Errorf("%s is no Tink keyset: it has %d bytes or more", k.file, len(data))
	}
	return data, kek, nil
}

func (a *app) importCommand() *cobra.Command {
	var o changing
	var k keyset
	cmd := &cobra.Command{
		Use:   "import FILE KEYSET",
		Short: "Add the keys of a Tink keyset",
		Long: `import adds the keys of a Tink keyset, JSON or binary, from the file KEYSET (- is
standard input). They open what they sealed elsewhere, and are held: none becomes
the primary by the policy, and none is disabled by it. "unhold" a key to let it
become the primary. To begin a keyring with the keys of a keyset, see "init --keyset".

The keys must be of an algorithm that keyrings have, with Tink's own output prefix.
IDs that FILE has, or had, are refused.`,
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
	var o changing
	var k keyset
	var encoding string
	cmd := &cobra.Command{
		Use:   "export FILE -o KEYSET",
		Short: "Write the keys as a Tink keyset",
		Long: `export writes the keys to the file KEYSET (mode 0600; - is standard output) as a Tink
keyset, JSON or binary. It never overwrites a file.

Whoever has it opens and seals all that the keyring does, and it follows no
rotation. That it was exported, when and by whom, is in the audit log: an export is
a new generation of FILE.

In clear, and under a key of AWS KMS, Google Cloud KMS or Vault, Tinkey and Tink in all
languages that know it read the keyset. file:PATH is AES-256-GCM of a raw key, which
needs a line of code there; passphrase: and pkcs11: are for package keyring/kms only.`,
		Example: `  keyring export tickets.keyring -o tink.json --keyset-insecure-cleartext --realm prod --kek file:/etc/admitone/kek
  keyring export tickets.keyring -o tink.bin --encoding binary --keyset-kek file:/etc/other/kek --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	k.flags(cmd.Flags())
	cmd.Flags().StringVarP(&k.file, "output", "o", "", "where to, a `file`; - is standard output")
	cmd.Flags().StringVar(&encoding, "encoding", string(keyring.JSON), "json or binary")
	_ = cmd.RegisterFlagCompletionFunc("encoding", cobra.FixedCompletions([]string{"json", "binary"}, cobra.ShellCompDirectiveNoFileComp))
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		switch {
		case k.file == "":
			return cli.Usagef("export needs -o")
		case k.file == "-" && a.json:
			return cli.Usagef("-o - and --json exclude each other: standard output takes one of them")
		case encoding != string(keyring.JSON) && encoding != string(keyring.Binary):
			return cli.Usagef("--encoding is json or binary")
		}
		if err := k.check(true); err != nil {
			return err
		}
		return a.export(args[0], o, k, keyring.Encoding(encoding))
	})
}

func (a *app) export(file string, o changing, k keyset, e keyring.Encoding) error {
	c, err := a.changeConfig(o)
	if err != nil {
		return err
	}
	kek, err := k.open(true)
	if err != nil {
		return err
	}
	// Made before the keys are taken: the log would tell of an export that nobody has.
	out := io.WriteCloser(nopCloser{a.stdout})
	if k.file != "-" {
		f, err := os.OpenFile(k.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w; export never overwrites", k.file, fs.ErrExist)
		}
		if err != nil {
			return fmt.Errorf("the Tink keyset cannot be written: %w", err)
		}
		out = f
	}
	data, err := keyring.Export(file, c, e, kek, o.reason)
	if err == nil {
		_, err = out.Write(data)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		if k.file != "-" {
			err = errors.Join(err, os.Remove(k.file))
		}
		return err
	}
	if k.file != "-" {
		a.say("exported the keys of %s to %s", file, k.file)
	}
	a.sayNext("audit", file)
	return a.printJSON(export{file, k.file, e})
}

// export is what export prints with --json.
type export struct {
	File     string           `json:"file"`
	Output   string           `json:"output"`
	Encoding keyring.Encoding `json:"encoding"`
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
