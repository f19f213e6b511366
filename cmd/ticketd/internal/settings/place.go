package settings

import (
	"cmp"
	"errors"
	"io/fs"

	"github.com/spf13/pflag"

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

// CheckPlace refuses a place with a wrong database, realm or key-encryption key.
func CheckPlace(p state.Place) error {
	if err := CheckDatabase(p); err != nil {
		return err
	}
	if err := token.CheckRealm("state.Place.Realm", p.Realm); err != nil {
		return cli.Usage(err)
	}
	if p.KEK != "" {
		if err := kms.CheckURI(p.KEK); err != nil {
			return cli.Usage(cli.ForFlag("kek", err))
		}
	}
	return nil
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
