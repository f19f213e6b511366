package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// doors are the flags about how people enter, and what proxies are told of them.
type doors struct {
	nameless bool
	home     string // where agents go after the entry
	headers  string // "user=X-User,…"
	parsed   web.Headers
}

func (d *doors) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&d.nameless, "nameless-ticket", false, "take tickets in the older form /login?=TA<ticket> as well")
	f.StringVar(&d.home, "agent-home", "", "`path` to which agents go after /login, where the URL has no next, such as /inbox (default: a page that says who is signed in)")
	f.StringVar(&d.headers, "check-headers", "", "other `names` of /auth/check's headers, such as user=X-User,email=X-Email; of user, name, email, groups, brand, audience, channel, ticket-id, key-id and actor (default: Remote-User and so on)")
}

func (d *doors) check() error {
	d.parsed = web.Headers{}
	fields := map[string]*string{
		"user": &d.parsed.User, "name": &d.parsed.Name, "email": &d.parsed.Email, "groups": &d.parsed.Groups,
		"brand": &d.parsed.Brand, "audience": &d.parsed.Audience, "channel": &d.parsed.Channel,
		"ticket-id": &d.parsed.TicketID, "key-id": &d.parsed.KeyID, "actor": &d.parsed.Actor,
	}
	for _, pair := range splitList(d.headers) {
		what, name, ok := strings.Cut(pair, "=")
		field := fields[strings.TrimSpace(what)]
		switch name = strings.TrimSpace(name); {
		case !ok || name == "":
			return cli.Usagef("--check-headers: %q is not a pair, such as user=X-User", printable(pair))
		case field == nil:
			return cli.Usagef("--check-headers: there is no %q; there are %s", printable(what), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case *field != "":
			return cli.Usagef("--check-headers: %s is given twice", what)
		}
		*field = name
	}
	if !homely(d.home) {
		return cli.Usagef("--agent-home: %q is not a path of this site, such as /inbox", printable(d.home))
	}
	// The same names are in use by the check itself: one place knows what they may be.
	if _, err := web.NewCheck(new(web.Sessions), token.Agent, d.parsed); err != nil {
		return cli.Usagef("--check-headers: %s", strings.TrimPrefix(err.Error(), "web: "))
	}
	return nil
}

// homely reports whether package web takes a path for the way on.
func homely(path string) bool {
	_, err := web.New(web.Config{
		Verifier: new(verify.Verifier), Sessions: new(web.Sessions), Home: path,
		Use: func(*http.Request, string) verify.Use { return verify.Use{} },
	})
	return err == nil
}
