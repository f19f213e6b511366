package cli

import (
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// Environment variables of the flags of Keys.
const (
	realmVariable = "ADMITONE_REALM"
	kekVariable   = "ADMITONE_KEK"
)

// Keys are the flags for the realm and the key-encryption key of a keyring.
type Keys struct {
	Realm     string // --realm
	kek       string // --kek, of the command line
	cleartext bool
	flags     []*pflag.FlagSet // of the commands that have these flags
}

// AddFlags adds the flags to f.
func (k *Keys) AddFlags(f *pflag.FlagSet) {
	k.flags = append(k.flags, f)
	f.StringVar(&k.Realm, "realm", "", "`name` of the deployment, to which keys and tickets are bound")
	Variable(f, "realm", realmVariable)
	f.StringVar(&k.kek, "kek", "",
		"`URI` of the keyring's key-encryption key, such as file:PATH; "+
			"keyring --help lists the forms (environment: "+kekVariable+")")
	f.BoolVar(&k.cleartext, "insecure-cleartext", false,
		"the keyring file is not encrypted: a reader of the file has the keys, and a change goes unnoticed")
}

// Cleartext reports whether --insecure-cleartext was given.
func (k *Keys) Cleartext() bool { return k.cleartext }

// URI checks the flags and returns the URI of the key-encryption key, from --kek or else
// from the environment. With --insecure-cleartext, which has no variable, the URI is
// empty. Errors are wrong usage.
func (k *Keys) URI() (string, error) {
	if err := token.CheckRealm("keyring.Config.Realm", k.Realm); err != nil {
		return "", Usage(ForFlag("realm", err))
	}
	uri := k.kek
	if uri == "" {
		uri = os.Getenv(kekVariable)
		for _, f := range k.flags {
			setSource(f, "kek", kekVariable)
		}
	}
	switch {
	case k.cleartext && k.kek != "":
		return "", Usagef("--kek and --insecure-cleartext exclude each other")
	case k.cleartext:
		return "", nil
	case uri == "":
		return "", Usagef("no key-encryption key: give --kek or set %s (or, for a trial only, --insecure-cleartext)",
			kekVariable)
	}
	if err := kms.CheckURI(uri); err != nil {
		return "", Usage(ForFlag("kek", err))
	}
	return uri, nil
}

// Config opens the key-encryption key and returns the Config for a keyring of a kind.
// Config asks for a passphrase at the terminal. With repeat, for a new passphrase, Config
// asks twice.
func (k *Keys) Config(kind keyring.Kind, repeat bool) (keyring.Config, error) {
	c := keyring.Config{
		Kind: kind, Realm: k.Realm, KEK: keyring.InsecureCleartext,
		Log: slog.New(slog.DiscardHandler), // a command prints everything itself
	}
	uri, err := k.URI()
	if err != nil || uri == "" {
		return c, err
	}
	c.KEK, err = OpenKEK("kek", uri, repeat)
	return c, err
}

// OpenKEK opens the key-encryption key of the flag's URI. For repeat see Keys.Config.
func OpenKEK(flag, uri string, repeat bool) (keyring.KEK, error) {
	if err := kms.CheckURI(uri); err != nil {
		return nil, Usage(ForFlag(flag, err))
	}
	kek, err := kms.Open(uri, kms.Terminal(repeat))
	if _, ok := errors.AsType[*token.ConfigError](err); ok {
		return nil, ForFlag(flag, err)
	}
	return kek, err
}

// Identity opens the public identity key of a flag: a fingerprint, or verify:PATH.
func Identity(flag, text string) (keyring.Identity, error) {
	if !strings.Contains(text, ":") {
		id, err := keyring.ParseIdentity(text)
		if err != nil {
			return id, Flagf(flag, "is no identity: %v, or verify:PATH", err)
		}
		return id, nil
	}
	kek, err := OpenKEK(flag, text, false)
	if err != nil {
		return keyring.Identity{}, err
	}
	id, ok := kek.(keyring.Identity)
	if !ok {
		return id, Flagf(flag, "is no public identity key; give verify:PATH, or the fingerprint that keyring identity prints")
	}
	return id, nil
}

// Next returns the line with the next sensible command. The arguments are Command's.
func (k *Keys) Next(args ...string) string { return "next: " + k.Command(args...) }

// Command returns a command line with the arguments and with the flags of Keys from this
// command's own command line. The line can be run unchanged.
func (k *Keys) Command(args ...string) string {
	if k.Realm != "" && k.Realm != os.Getenv(realmVariable) {
		args = append(args, "--realm", k.Realm)
	}
	if k.kek != "" {
		args = append(args, "--kek", k.kek)
	}
	if k.cleartext {
		args = append(args, "--insecure-cleartext")
	}
	return Line(args...)
}

// With returns the flags for a keyring under another key-encryption key; an empty URI
// means no key.
func (k Keys) With(uri string) Keys {
	k.kek, k.cleartext = uri, uri == ""
	return k
}
