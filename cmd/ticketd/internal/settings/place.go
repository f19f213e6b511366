package settings

import (
	"cmp"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// AddPlaceFlags adds --data and --database, the flags for the place of the state. An
// empty dataUsage stands for a general help text of --data.
func AddPlaceFlags(f *pflag.FlagSet, p *state.Place, dataUsage string) {
	dataUsage = cmp.Or(dataUsage,
		"data `folder` with keyrings, lock and, unless --database names another place, the directory")
	f.StringVar(&p.Data, "data", "", dataUsage+" (environment: ADMITONE_DATA)")
	f.StringVar(&p.Database, "database", "",
		"directory of brands, agents and customers: the `path` of an SQLite file, "+
			"or postgres://… for a directory that several services share "+
			"(environment: ADMITONE_DATABASE; default DATA/admitone.db)")
}

// AddKeyFlags adds --keyrings, --realm and --kek, the flags for opening keyrings.
func AddKeyFlags(f *pflag.FlagSet, p *state.Place) {
	f.StringVar(&p.Keyrings, "keyrings", "",
		"`folder` with the keyrings, which serve only reads (environment: ADMITONE_KEYRINGS; default DATA)")
	f.StringVar(&p.Realm, "realm", "",
		"`name` of the deployment, to which keys and tickets are bound (environment: ADMITONE_REALM)")
	f.StringVar(&p.KEK, "kek", "",
		"`URI` of the key-encryption key that opens the keyrings; see keyring --help "+
			"(environment: ADMITONE_KEK; default file:DATA/kek.key)")
}

// AddServiceFlags adds --url, --api-key-file and --insecure-http, the flags for a running service.
func AddServiceFlags(f *pflag.FlagSet, c *client.Config, keyFile *string) {
	f.StringVar(&c.URL, "url", "", "`URL` of the console's listener of a running service, to administer that service "+
		"in place of a directory here (environment: ADMITONE_URL)")
	f.StringVar(keyFile, "api-key-file", "", "with --url: `file` with an API key of the scope admin, in place of the "+
		"variable "+cli.APIKeyVariable)
	f.BoolVar(&c.InsecureHTTP, "insecure-http", false,
		"with --url: allow http:// to another machine, although the API key is then sent in clear")
}

// AddPagesFlag adds --pages.
func AddPagesFlag(f *pflag.FlagSet, dir *string) {
	f.StringVar(dir, "pages", "", "`folder` with texts and logos of the pages where people enter: texts/it.yaml and "+
		"logos/BRAND.svg; read again when they change (environment: ADMITONE_PAGES; default: the built-in texts)")
}

// placeFlags are the flags about a directory and keyrings of this machine.
var placeFlags = []string{"data", "database", "keyrings", "realm", "kek", "public-url", "console-url", "pages"}

// CheckService settles whether a command works on a running service. --url, --data and
// --database of the command line have precedence over variables. Otherwise, a service and a
// directory together are an error.
func CheckService(cmd *cobra.Command) error {
	f := cmd.Flags()
	isSet := func(name string) bool { return f.Lookup(name) != nil && f.Lookup(name).Value.String() != "" }
	typed := func(name string) bool { return f.Changed(name) && cli.Source(f.Lookup(name)) == "" }
	if !typed("url") && (typed("data") || typed("database")) {
		if err := f.Set("url", ""); err != nil {
			return err
		}
	}
	if !isSet("url") {
		for _, name := range []string{"api-key-file", "insecure-http"} {
			if f.Changed(name) {
				return cli.Flagf(name, "is for a running service; give --url too")
			}
		}
		return nil
	}
	for _, name := range placeFlags {
		switch {
		case typed(name):
			return cli.Flagf(name, "is for a directory of this machine, and --url for a running service; leave one of them out")
		case !typed("url") && isSet(name) && (name == "data" || name == "database"):
			return cli.Usagef("%s and %s are both set, and name two places; unset one of them, or give --url or --%s",
				variable("url"), variable(name), name)
		}
	}
	return nil
}

// CheckPlace refuses a place with a wrong database, realm or key-encryption key.
func CheckPlace(p state.Place) error { return cmp.Or(placeFaults(p)...) }

func placeFaults(p state.Place) []error {
	faults := []error{CheckDatabase(p)}
	if err := token.CheckRealm("state.Place.Realm", p.Realm); err != nil {
		faults = append(faults, cli.Usage(err))
	}
	if p.KEK != "" {
		if err := kms.CheckURI(p.KEK); err != nil {
			faults = append(faults, cli.Usage(cli.ForFlag("kek", err)))
		}
	}
	return faults
}

// CheckDatabase refuses a --database of an unknown kind, and a connection string in place
// of a data folder. The error quotes no part of the value, because the value may hold a
// password.
func CheckDatabase(p state.Place) error {
	if !directory.IsPath(p.Data) {
		return cli.Flagf("data", "is not the path of a folder; give --database for a connection string")
	}
	err := directory.Check(p.Database)
	if _, ok := errors.AsType[*fs.PathError](err); ok || err == nil {
		return nil // a file that cannot be read may be there later: opening tells
	}
	return cli.Usage(err)
}
