package settings

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/token"
)

// paths is the value of a flag for several files: the flag several times, or commas.
type paths []string

// Set implements pflag.Value: it adds paths.
func (p *paths) Set(text string) error {
	for _, path := range strings.Split(text, ",") {
		if path = strings.TrimSpace(path); path != "" {
			*p = append(*p, path)
		}
	}
	return nil
}

// String implements pflag.Value.
func (p *paths) String() string { return strings.Join(*p, ",") }

// Type implements pflag.Value.
func (*paths) Type() string { return "files" }

// addPublicFlags adds the flags about the public keys that the service serves.
func addPublicFlags(f *pflag.FlagSet, c *service.Config) {
	f.Var((*paths)(&c.Bundles), "bundle",
		"`FILE` of keyring publish, served at /.well-known/admitone/NAME.pub and read again when it changes; "+
			"give the flag again, or commas, for more (environment: ADMITONE_BUNDLE; default: none)")
	f.StringVar(&c.BundleOf, "bundle-identity", "",
		"`identity` that signs the files of --bundle: verify:PATH of its public key, or its fingerprint")
}

// AddRoleFlag adds --role.
func AddRoleFlag(f *pflag.FlagSet, p *state.Place) {
	p.Role = state.Both
	f.Var((*role)(&p.Role), "role",
		"`half` of a deployment: issue makes signed tickets (format 2) for the login services, and has the administration; "+
			"login lets people in, and has no key that makes tickets; both is one service for all "+
			"(environment: ADMITONE_ROLE)")
}

// role is the value of --role.
type role state.Role

// Set implements pflag.Value.
func (r *role) Set(text string) error {
	switch known := state.Role(text); known {
	case state.Both, state.Issue, state.Login:
		*r = role(known)
		return nil
	}
	return errors.New("must be issue, login or both")
}

// String implements pflag.Value.
func (r *role) String() string { return string(*r) }

// Type implements pflag.Value.
func (*role) Type() string { return "half" }

// addIssueFlags adds the flags of the role issue.
func addIssueFlags(f *pflag.FlagSet, c *service.Config) {
	f.StringVar(&c.Recipient, "recipient", "",
		"with --role issue: bundle `FILE` of the login services for which tickets are made (keyring publish); "+
			"followed as keyrings are (environment: ADMITONE_RECIPIENT)")
	f.StringVar(&c.RecipientOf, "recipient-identity", "",
		"with --role issue: `identity` that signs --recipient: verify:PATH of its public key, or its fingerprint")
	f.StringVar(&c.RecipientName, "recipient-name", "",
		"with --role issue: the only `name` that the bundle in --recipient may have (default: its name at the start)")
	f.StringVar(&c.IssuerName, "issuer-name", "",
		"with --role issue: `name` of this issuer in the trust lists of the login services")
	f.StringVar(&c.LoginURL, "login-url", "",
		"with --role issue: `URL` under which browsers reach the login services")
}

// roleFaults returns what is wrong with --role and the flags of the roles.
func roleFaults(c *service.Config, f *pflag.FlagSet) (all []error) {
	of := map[string]*string{
		"recipient-name": &c.RecipientName,
		"recipient":      &c.Recipient, "recipient-identity": &c.RecipientOf,
		"issuer-name": &c.IssuerName, "login-url": &c.LoginURL,
		"trust": &c.Trust, "issuers": &c.Issuers, "console-listen": &c.ConsoleListen, "console-url": &c.ConsoleURL,
	}
	none := func(reason string, names ...string) {
		for _, name := range names {
			if *of[name] != "" {
				all = append(all, cli.Flagf(name, "%s", reason))
			}
		}
	}
	issue := []string{"recipient", "recipient-identity", "issuer-name", "login-url"}
	switch c.State.Role {
	case state.Issue:
		for _, name := range issue {
			if *of[name] == "" {
				all = append(all,
					cli.Usage(&cli.FlagError{Flag: name, Others: []string{"role"}, Reason: "is missing; --role issue needs it"}))
			}
		}
		if err := token.CheckIssuer("name", c.IssuerName); err != nil && c.IssuerName != "" {
			all = append(all, cli.Usage(cli.ForFlag("issuer-name", err)))
		}
		if c.LoginURL != "" {
			if err := checkSite(&c.LoginURL, "login-url", "https://login.example.com"); err != nil {
				all = append(all, err)
			}
		}
		const entering = "is for services that let people in, and --role issue does not"
		none(entering, "trust", "issuers")
		for _, name := range ofEntering {
			if f.Changed(name) {
				all = append(all, cli.Flagf(name, entering))
			}
		}
		return all
	case state.Login:
		if c.Trust == "" && c.Issuers == "" {
			all = append(all, cli.Usage(&cli.FlagError{Flag: "role", Others: []string{"trust"},
				Reason: "login has no ticket keyring, and without --trust no ticket would be good; give --trust and --trust-kek"}))
		}
		none("is for the issuing service, and --role login has no console", "console-listen", "console-url")
	}
	none("is for --role issue", append(issue, "recipient-name")...)
	return all
}

// ofEntering are the flags about the pages where people enter, and about the proxies' checks. --pages is
// none of them: it also says in which languages a brand may be.
var ofEntering = []string{"nameless-ticket", "agent-home", "agent-sign-in-url", "check-headers", "check-any-brand"}

// checkPublic checks the flags about the public keys that the service serves.
func checkPublic(c *service.Config) error {
	switch {
	case len(c.Bundles) > 0 && c.BundleOf == "":
		return cli.Usage(&cli.FlagError{Flag: "bundle", Others: []string{"bundle-identity"},
			Reason: "needs --bundle-identity, the public identity key that signs the bundles: " +
				"give verify:PATH, or the fingerprint that keyring identity prints"})
	case len(c.Bundles) == 0 && c.BundleOf != "":
		return cli.Flagf("bundle-identity", "is for the files of --bundle; give them too")
	}
	return nil
}
