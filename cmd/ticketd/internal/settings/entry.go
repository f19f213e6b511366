package settings

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/internal/spelling"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// entry holds the flags about how people enter that need to be parsed.
type entry struct {
	headers string // pairs such as user=X-User, separated by commas
}

// addFlags adds the flags about how people enter, and about the answers to proxies.
func (e *entry) addFlags(f *pflag.FlagSet, c *service.Config) {
	AddPagesFlag(f, &c.Pages)
	f.BoolVar(&c.Live.NamelessTicket, "nameless-ticket", false,
		"accept tickets in the older form /login?=TA<ticket> as well")
	f.StringVar(&c.Live.AgentHome, "agent-home", "",
		"`path` to which agents go after /login if the URL has no next, such as /inbox "+
			"(default: a page that says who is signed in)")
	f.StringVar(&c.Live.AgentSignInURL, "agent-sign-in-url", "",
		"`URL` of the sign-in page to which agents without a session are sent, with {return} for the address to "+
			"come back to, such as https://crm.example.com/signin?return={return}; a brand's own has precedence "+
			"(default: a page that says that nobody is signed in)")
	f.StringVar(&e.headers, "check-headers", "",
		"other `names` for the headers of the proxies' checks, such as user=X-User,email=X-Email; "+
			"the headers are user, name, email, groups, brand, audience, channel, ticket-id, key-id, actor, "+
			"issuer and signing-key "+
			"(default: Remote-User and so on)")
	f.BoolVar(&c.Live.AnyBrandCheck, "check-any-brand", false,
		"let the sessions of every brand pass at /auth/check and /auth/check-customer, where an application looks at "+
			"Admitone-Brand itself. Without this flag nobody passes there, and proxies ask "+
			"/auth/brand/BRAND/check, since two brands may have a username in common")
}

// faults returns what is wrong with the flags, and puts the parsed ones into c.
func (e *entry) faults(c *service.Config) (all []error) {
	var err error
	if c.Live.Headers, err = parseHeaders(e.headers); err != nil {
		all = append(all, err)
	}
	if c.Live.AgentSignInURL != "" && !web.ValidSignIn(c.Live.AgentSignInURL) {
		all = append(all, cli.Flagf("agent-sign-in-url", "is no https URL with {return} once in its query; "+
			"write it like https://crm.example.com/signin?return={return}"))
	}
	for _, err := range checkEntry(c.Live) {
		all = append(all, cli.Usage(err))
	}
	return all
}

// parseHeaders reads pairs of a header's field and its name.
func parseHeaders(text string) (h web.Headers, err error) {
	fields := map[string]*string{
		"user": &h.User, "name": &h.Name, "email": &h.Email, "groups": &h.Groups, "brand": &h.Brand,
		"audience": &h.Audience, "channel": &h.Channel, "ticket-id": &h.TicketID, "key-id": &h.KeyID, "actor": &h.Actor,
		"issuer": &h.Issuer, "signing-key": &h.SigningKey,
	}
	for _, pair := range attribute.SplitList(text) {
		field, name, ok := strings.Cut(pair, "=")
		at := fields[strings.TrimSpace(field)]
		switch name = strings.TrimSpace(name); {
		case !ok || name == "":
			return h, cli.Flagf("check-headers", "has %q, which is not a pair such as user=X-User", spelling.Printable(pair))
		case at == nil:
			return h, cli.Flagf("check-headers", "has no header %q; the headers are %s",
				spelling.Printable(field), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case *at != "":
			return h, cli.Flagf("check-headers", "names %s twice", field)
		}
		*at = name
	}
	return h, nil
}

// checkEntry has package web check the values that only web knows the rules of.
func checkEntry(l service.Live) (all []error) {
	_, err := web.New(web.Config{
		Verifier: new(verify.Verifier), Sessions: new(web.Sessions), Home: l.AgentHome,
		Use: func(*http.Request, *token.Ticket) verify.Use { return verify.Use{} },
	})
	if err != nil {
		all = append(all, err)
	}
	_, err = web.NewCheck(web.CheckConfig{
		Sessions: new(web.Sessions), Audience: token.Agent, AnyBrand: true, Headers: l.Headers,
	})
	if e, ok := errors.AsType[*token.ConfigError](err); ok {
		// The flag has lower-case names for the fields of web.Headers: ticket-id for TicketID.
		field := strings.TrimPrefix(e.Field, "web.Headers.")
		field = strings.ToLower(strings.Replace(field, "ID", "-id", 1))
		err = &cli.FlagError{Flag: "check-headers", Reason: field + " " + e.Reason}
	}
	if err != nil {
		all = append(all, err)
	}
	return all
}
