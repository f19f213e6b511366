package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

func (a *app) initCommand() *cobra.Command {
	var kind, algorithm string
	var fips bool
	var policy policyFlags
	var from keyset
	cmd := &cobra.Command{
		Use:   "init FILE --kind KIND",
		Short: "Make a keyring with one new key, or with the keys of a Tink keyset",
		Long: `init makes the file FILE (mode 0600) with one key. init never overwrites a file. If the
KEK is file:PATH and there is no such file, init makes that key file as well. Keep a copy
of the key file, apart from copies of FILE: without the key file the keys are lost. The
key file stays if init then fails.

With --keyset the keys come from a Tink keyset (JSON or binary), and the keyset's primary
is the keyring's primary; see "keyring import --help".

Keyrings of kind issuer and recipient are for tickets of format 2, which a login service
can open and not make. issuer holds the signing keys of an organisation that issues
tickets, and recipient the decryption keys of a login service. Each side gets the other
side's public keys: see "keyring export --public".

With --fips the key has an algorithm that runs where Go admits only its FIPS 140-3 module
(GODEBUG=fips140=only): XAES_256_GCM, ED25519 for issuers, HPKE_P256_AES256_GCM for
recipients, or AES256_SIV for channels, which runs there although FIPS has not approved
AES-SIV. Rotation keeps the algorithm.

Without flags the policy is: lifetime 15m for tickets and 24h for sessions, rotate
every 30d, destroy after 30d, propagation 2m, skew 10s. Channel keyrings have no
lifetime, since published URLs have none, and are rotated by hand only. Issuers and
recipients are as tickets, with published 7d; recipients destroy after 7d.`,
		Example: `  keyring init tickets.keyring --kind ticket --realm prod --kek file:/etc/admitone/kek
  keyring init sessions.keyring --kind session --realm prod --kek passphrase: --lifetime 12h --rotate-every 7d
  keyring init channels.keyring --kind channel --realm prod --kek file:/etc/admitone/kek
  keyring init acme.keyring --kind issuer --realm prod --kek file:/etc/admitone/kek
  keyring init login.keyring --kind recipient --realm prod --kek file:/etc/admitone/kek
  keyring init tickets.keyring --kind ticket --keyset tink.json --keyset-insecure-cleartext --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "`kind` of the keyring, which tells the use of the keys: "+kindNames)
	completeWords(cmd, "kind", kindWords()...)
	a.algorithmFlag(cmd, &algorithm)
	f.BoolVar(&fips, "fips", false, "choose the algorithm for programs that run under GODEBUG=fips140=only")
	policy.flags(f, defaults)
	f.StringVar(&from.file, "keyset", "",
		"`FILE` with a Tink keyset, whose keys the keyring takes in place of a new key; - is standard input")
	from.flags(f)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		names := keyring.Algorithms(keyring.Kind(kind))
		if names == nil {
			return cli.Usagef("init needs --kind " + kindNames)
		}
		if algorithm != "" && !slices.Contains(names, algorithm) {
			return cli.Flagf("algorithm", "is not an algorithm of --kind %s; give one of %s", kind, strings.Join(names, ", "))
		}
		if fips {
			if algorithm != "" || from.file != "" {
				return cli.Usagef("--fips excludes --algorithm and --keyset: it chooses the algorithm of a new key")
			}
			if uri, err := a.keys.URI(); err == nil && strings.HasPrefix(uri, "passphrase:") {
				return cli.Flagf("kek", "is a passphrase, which --fips excludes: "+
					"Argon2id is no algorithm of FIPS; give another KEK")
			}
			algorithm = fipsAlgorithm[keyring.Kind(kind)]
		}
		if algorithm != "" && from.file != "" {
			return cli.Usagef("--keyset and --algorithm exclude each other: with --keyset no key is made")
		}
		if err := from.check(from.file != ""); err != nil {
			return err
		}
		p := keyring.DefaultPolicy(keyring.Kind(kind))
		policy.set(f, &p)
		if err := p.Check(keyring.Kind(kind)); err != nil {
			return cli.Usage(err)
		}
		return a.init(args[0], keyring.Kind(kind), p, algorithm, from)
	})
}

// fipsAlgorithm is the choice of --fips. AES256_GCM runs as well, but a key is good for 2^32
// messages only, since the nonces are random.
var fipsAlgorithm = map[keyring.Kind]string{
	keyring.Ticket:    "XAES_256_GCM",
	keyring.Session:   "XAES_256_GCM",
	keyring.Channel:   "AES256_SIV",
	keyring.Issuer:    "ED25519",
	keyring.Recipient: "HPKE_P256_AES256_GCM",
}

// kinds are the kinds of keyrings.
var kinds = []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel, keyring.Issuer, keyring.Recipient}

const kindNames = "ticket, session, channel, issuer or recipient"

// kindWords returns the kinds for a shell's completion.
func kindWords() (words []string) {
	for _, k := range kinds {
		words = append(words, string(k))
	}
	return words
}

func (a *app) init(file string, kind keyring.Kind, p keyring.Policy, algorithm string, from keyset) error {
	// All checks come before the question for a passphrase and before a key file is made.
	uri, err := a.keys.URI()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return errExists(file)
	}
	if dir, err := os.Stat(filepath.Dir(file)); err != nil {
		return fmt.Errorf("the directory of %s cannot be used; make it first: %w", file, err)
	} else if !dir.IsDir() {
		return fmt.Errorf("%s is not a directory", filepath.Dir(file))
	}
	var tink []byte
	var tinkKEK keyring.KEK
	if from.file != "" {
		if tink, tinkKEK, err = from.read(); err != nil {
			return err
		}
	}
	keyFile, err := makeKeyFile("kek", uri, file)
	if err != nil {
		return err
	}
	c, info, err := a.create(file, kind, func(c keyring.Config) error {
		if tink != nil {
			return keyring.CreateFrom(file, c, p, tink, tinkKEK)
		}
		return keyring.Create(file, c, p, algorithm)
	})
	if err != nil && keyFile != "" {
		// The key file is not removed: another init may have made a keyring under the key
		// file in the meantime.
		fmt.Fprintf(a.stderr, "the key file %s was made and stays; the next init uses the key file\n", keyFile)
	}
	if err != nil {
		return err
	}
	if keyFile != "" {
		a.say("made the key file %s; keep a copy of it, apart from copies of %s", keyFile, file)
	}
	primary, _ := keyOf(info, info.Primary)
	a.say("made %s: %s keyring of realm %q, primary key %v (%s)", file, kind, c.Realm, info.Primary, primary.Algorithm)
	a.warn(info)
	a.sayNext("status", file)
	return a.printJSON(result{File: file, Changed: true, Info: info, KeyFile: keyFile, Warnings: info.Warnings()})
}

// create opens the KEK, which exists by now, makes the keyring and reads the keyring back.
func (a *app) create(
	file string, kind keyring.Kind, create func(keyring.Config) error,
) (c keyring.Config, info keyring.Info, err error) {
	if c, err = a.keys.Config(kind, true); err != nil {
		return c, info, err
	}
	c.Actor = a.actor
	err = create(c)
	if errors.Is(err, fs.ErrExist) { // another process made the file in the meantime
		err = errExists(file)
	}
	if err != nil {
		return c, info, err
	}
	if info, err = keyring.Read(file, c); err != nil {
		err = fmt.Errorf("%s is made, and cannot be read back: %w", file, err)
	}
	return c, info, err
}

func errExists(file string) error {
	return fmt.Errorf("%s: %w; init never overwrites", file, fs.ErrExist)
}

// makeKeyFile makes the key file of a KEK file:PATH if the key file is missing, and then
// returns the key file's name. The key file must not be the keyring's file, log or lock,
// since writing those would overwrite the key.
func makeKeyFile(flag, uri, file string) (string, error) {
	path, ok := strings.CutPrefix(uri, "file:")
	if !ok {
		return "", nil
	}
	ring := absolute(file)
	if key := absolute(path); key == ring || key == ring+".audit" || key == ring+".lock" {
		return "", cli.Flagf(flag, "names %s, the keyring's own file, log or lock; give the key file another name", path)
	}
	err := kms.CreateKeyFile(path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("the key file %s cannot be made: %w", path, err)
	}
	return path, nil
}

// absolute returns the absolute name of a file, without links. The file need not exist.
func absolute(file string) string {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
		file = filepath.Join(dir, filepath.Base(file))
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return file
}
