package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/spelling"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/trust"
)

func (a *app) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Keep the list of issuers whose tickets a login service takes",
		Long: `trust keeps the signed list of issuers (FILE) for login services that take tickets of
format 2 from other organisations: the public keys of each issuer, and what the issuer
may issue. Your identity key signs FILE (--kek signed:PATH). Login services read FILE
with --kek verify:PATH, and cannot change it. They fetch nothing: copy FILE to them as
you copy keyrings. A change counts within a second after the file has arrived.`,
		Example: `  keyring trust list trust.list --realm prod --kek verify:id.pub`,
		Args:    cobra.NoArgs,
		// With a command that is misspelt, the arguments are wrong: nobody takes the help for a denial.
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.trustAddCommand(), a.trustGrantCommand(), a.trustRefreshCommand(), a.trustDenyCommand(),
		a.trustListCommand())
	return cmd
}

// grantFlags are the flags for what an issuer may issue.
type grantFlags struct {
	brands, audiences, claims     []string
	anyBrand, manyTimes, override bool
	lifetime                      span
	until                         string
	rate                          float64
}

func (g *grantFlags) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&g.brands, "brands", nil, "`names` of the brands whose tickets the issuer may issue, with commas")
	f.BoolVar(&g.anyBrand, "any-brand", false, "let the issuer issue tickets of every brand")
	f.StringSliceVar(&g.audiences, "audiences", nil, "`kinds` of login: agent, customer, administrator, with commas")
	f.Var(&g.lifetime, "max-lifetime", "longest lifetime of the issuer's tickets (default: that of each kind of login)")
	f.Lookup("max-lifetime").DefValue = ""
	f.BoolVar(&g.manyTimes, "many-times", false, "let the issuer issue tickets that can be used many times")
	f.BoolVar(&g.override, "override", false, "let the issuer's tickets change the records of customers")
	f.StringSliceVar(&g.claims, "claims", nil, "`names` of the claims that the issuer's tickets may have, with commas")
	f.StringVar(&g.until, "until", "", "`time` at which the grant ends, such as 2027-01-31T00:00:00Z; empty means no end")
	f.Float64Var(&g.rate, "rate", 0, "most one-time tickets of the issuer in a second, as a `number`; 0 means no limit")
}

// set changes the fields of a grant whose flags were given, and reports whether there are any.
func (g *grantFlags) set(f *pflag.FlagSet, to *trust.Grant) (any bool, err error) {
	var until time.Time
	if g.until != "" {
		if until, err = time.Parse(time.RFC3339, g.until); err != nil {
			return false, cli.Flagf("until", "must be a time such as 2027-01-31T00:00:00Z")
		}
	}
	for flag, list := range map[string][]string{"brands": g.brands, "audiences": g.audiences, "claims": g.claims} {
		for _, name := range list {
			if strings.TrimSpace(name) != name {
				return false, cli.Flagf(flag, "has %q, with a space at an end; write the names with commas and without spaces",
					name)
			}
		}
	}
	if g.lifetime%span(time.Second) != 0 {
		return false, cli.Flagf("max-lifetime", "must be a whole number of seconds")
	}
	for name, set := range map[string]func(){
		"brands":       func() { to.Brands = listOf(g.brands) },
		"any-brand":    func() { to.AnyBrand = g.anyBrand },
		"audiences":    func() { to.Audiences = listOf(g.audiences) },
		"max-lifetime": func() { to.MaxLifetime = int64(time.Duration(g.lifetime) / time.Second) },
		"many-times":   func() { to.ManyTimes = g.manyTimes },
		"override":     func() { to.Override = g.override },
		"claims":       func() { to.Claims = listOf(g.claims) },
		"until":        func() { to.Until = until.UTC() },
		"rate":         func() { to.Rate = g.rate },
	} {
		if f.Changed(name) {
			set()
			any = true
		}
	}
	// The one takes the place of the other.
	if f.Changed("any-brand") && g.anyBrand && !f.Changed("brands") {
		to.Brands = nil
	}
	if f.Changed("brands") && len(g.brands) > 0 && !f.Changed("any-brand") {
		to.AnyBrand = false
	}
	return any, nil
}

// listOf returns nil for an empty list.
func listOf(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	return words
}

func (a *app) trustAddCommand() *cobra.Command {
	var o changeFlags
	var g grantFlags
	var fingerprint, url string
	cmd := &cobra.Command{
		Use:   "add FILE BUNDLE --fingerprint FINGERPRINT",
		Short: "Add an issuer with its first bundle",
		Long: `add adds the issuer of BUNDLE ("keyring publish") to the list FILE, and makes FILE if
there is none. Get FINGERPRINT from the issuer in another way than BUNDLE, by telephone
for example: with a wrong fingerprint, a stranger is the issuer. From then on, only
bundles of this identity are taken.

The flags say what the issuer may issue. Without --brands (or --any-brand) and
--audiences the issuer may issue nothing. Nothing in BUNDLE changes this.

With --url, "keyring trust refresh" fetches later bundles. An issuer that was denied
can be added again under another fingerprint only.`,
		Example: `  keyring trust add trust.list acme.pub --fingerprint 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --brands acme,acme-de --audiences agent,customer --url https://acme.example/.well-known/admitone/acme.pub --realm prod --kek signed:id.key`,
		Args:    cobra.ExactArgs(2),
	}
	o.flags(cmd)
	g.flags(cmd.Flags())
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "`fingerprint` of the issuer's identity key")
	cmd.Flags().StringVar(&url, "url", "", "https `URL` of later bundles")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		id, err := keyring.ParseIdentity(fingerprint)
		if err != nil {
			return cli.Flagf("fingerprint", "must be that of the issuer: %v", err)
		}
		if err := trust.CheckURL(url); url != "" && err != nil {
			return cli.Usage(cli.ForFlag("url", err))
		}
		en := trust.Enrolment{Identity: id, URL: url}
		if _, err := g.set(cmd.Flags(), &en.Grant); err != nil {
			return err
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		if en.Bundle, err = readBundle(args[1]); err != nil {
			return err
		}
		l, refused, err := trust.Add(args[0], c, o.reason, en)
		if err != nil {
			return err
		}
		return a.tellTrust(args[0], l, refused, true, time.Now())
	})
}

func readBundle(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	return data, nil
}

func (a *app) trustGrantCommand() *cobra.Command {
	var o changeFlags
	var g grantFlags
	cmd := &cobra.Command{
		Use:   "grant FILE ISSUER",
		Short: "Change what an issuer may issue",
		Long: `grant changes the parts of an issuer's grant that the flags name, and leaves its keys. Give
a flag without a value to take something back: --claims "" or --many-times=false. The
grant counts for tickets that were issued before as well.`,
		Example: `  keyring trust grant trust.list acme --brands acme --realm prod --kek signed:id.key`,
		Args:    cobra.ExactArgs(2),
	}
	o.flags(cmd)
	g.flags(cmd.Flags())
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		var trial trust.Grant
		any, err := g.set(cmd.Flags(), &trial)
		if err != nil {
			return err
		}
		if !any {
			return cli.Usagef("grant needs a flag that says what changes, such as --brands")
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		l, err := trust.SetGrant(args[0], c, o.reason, args[1], func(to *trust.Grant) { _, _ = g.set(cmd.Flags(), to) })
		return a.changedTrust(args[0], c, l, err)
	})
}

// changedTrust tells a change; err may also be keyring.ErrAlready.
func (a *app) changedTrust(file string, c keyring.Config, l trust.List, err error) error {
	done := err == nil
	if errors.Is(err, keyring.ErrAlready) {
		a.say("%s; nothing changed", cli.Message(err))
		l, err = trust.Read(file, c)
	}
	if err != nil {
		return err
	}
	return a.tellTrust(file, l, nil, done, time.Now())
}

func (a *app) trustDenyCommand() *cobra.Command {
	var o changeFlags
	var end bool
	cmd := &cobra.Command{
		Use:   "deny FILE ISSUER [KEYID] --reason TEXT",
		Short: "Refuse a stolen signing key, or an issuer, for ever",
		Long: `deny refuses all tickets of a key of ISSUER, or of ISSUER altogether. Login services
refuse them within a second after FILE has arrived, also tickets that were issued
before. No bundle of ISSUER changes this. Copy FILE to the login services at once:
"keyring trust list --from" shows whether they have it.

A session ends at its next check if all of its ISSUER is denied. With KEYID, sessions go
on, unless you give --end-sessions: then all sessions of ISSUER from before now end, and
those that tickets of the key began later, until FILE arrived.

With KEYID, the issuer's other keys stay good, also pending keys. Whoever stole the whole
keyring has these too: deny names them, with the command for each. If the issuer's
identity key is stolen too, deny all of ISSUER, and add it again under the fingerprint of
a new identity. KEYID need not be in the list: a key can be denied before a bundle brings
it. deny warns then. When a bundle of ISSUER brings a key with this ID, the key is
refused, and from then on under any other ID and name too. Another issuer may have a key
with the same ID, which stays good.

After a deny without --end-sessions, the same deny with it ends the sessions.`,
		Example: `  keyring trust deny trust.list acme 2f6a01c4 --reason stolen --realm prod --kek signed:id.key
  keyring trust deny trust.list acme --end-sessions --reason ended --realm prod --kek signed:id.key`,
		Args: cobra.RangeArgs(2, 3),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&end, "end-sessions", false,
		"with KEYID: end the sessions that the issuer's tickets have begun, too")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		var id keyring.KeyID
		if len(args) == 3 {
			var err error
			if id, err = parseKeyID(args[2]); err != nil {
				return err
			}
			if id == 0 {
				return cli.Usagef("no key has the ID %v; leave KEYID out to deny all of %s", id, args[1])
			}
		}
		if o.reason == "" {
			return cli.Usagef("deny needs --reason, for the record")
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		l, err := trust.Deny(args[0], c, o.reason, args[1], id, end)
		if err == nil && id != 0 && l.Denied[len(l.Denied)-1].Public == nil {
			fmt.Fprintf(a.stderr, "warning: no bundle of %s has brought key %v: it is denied from now on%s\n",
				args[1], id, meantKey(l, args[1], id))
		}
		if err == nil && id != 0 {
			a.tellStillGood(args[0], l, args[1], end)
		}
		return a.changedTrust(args[0], c, l, err)
	})
}

// tellStillGood tells which keys of an issuer stay good after the denial of a key.
func (a *app) tellStillGood(file string, l trust.List, issuer string, end bool) {
	is := l.Of(issuer)
	if is == nil || len(is.Keys) == 0 {
		return
	}
	var ids, commands []string
	flags := []string{"--reason", "TEXT"}
	if end {
		flags = append(flags, "--end-sessions")
	}
	for _, k := range is.Keys {
		ids = append(ids, k.ID.String())
		commands = append(commands, "  "+a.command("trust deny", file, append([]string{issuer, k.ID.String()}, flags...)...))
	}
	commands = append(commands, "  "+a.command("trust deny", file, append([]string{issuer}, flags...)...))
	fmt.Fprintf(a.stderr, "warning: of %s stay good: %s. Whoever had its whole keyring has these too. "+
		"If so, deny each, or all of %s:\n%s\n",
		issuer, strings.Join(ids, ", "), issuer, strings.Join(commands, "\n"))
}

// meantKey names the key that was probably meant.
func meantKey(l trust.List, issuer string, id keyring.KeyID) string {
	var ids []string
	if is := l.Of(issuer); is != nil {
		for _, k := range is.Keys {
			ids = append(ids, k.ID.String())
		}
	}
	if near := spelling.Nearest(id.String(), ids); near != "" {
		return fmt.Sprintf("; did you mean %s? That key is good still", near)
	}
	return "; if you mean another key, see its ID in the list"
}

func (a *app) trustRefreshCommand() *cobra.Command {
	var o changeFlags
	var accept, now bool
	var files []string
	cmd := &cobra.Command{
		Use:   "refresh FILE [ISSUER...]",
		Short: "Take the issuers' newer bundles",
		Long: `refresh fetches the bundles of all issuers with a URL whose refresh time has come, or of
each ISSUER, and takes their keys. Run refresh from the timer that runs "apply", on the
machine with your identity key, and copy FILE to the login services after it.

A bundle is fetched by https, without redirects, with at most 64 KiB, in at most 10
seconds. refresh takes it if the identity that was pinned by "trust add" signed it, if
its name and realm are right, and if it is newer than the bundle before. A bundle that
is more than 1000 generations ahead needs --accept-generation: ask the issuer first. A
bundle that was published more than an hour after the present time is refused. A bundle
or key that is refused changes nothing for other issuers.

If HTTPS_PROXY names a proxy, bundles are fetched through it, except from the hosts in
NO_PROXY. The proxy learns the host and can refuse; it can neither read nor change a
bundle, since the connection to the issuer's server is encrypted to its certificate.

With --bundle, refresh takes bundles from files instead of fetching them. If the list has
no room for all bundles, those for which there is room are taken.

Exit codes: 0 all well; 3 a bundle could not be fetched or was refused, or is past a
third of its time; 4 a bundle is past two thirds of its time or has ended, and the
issuer's tickets are refused from its end on`,
		Example: `  keyring trust refresh trust.list --realm prod --kek signed:id.key
  keyring trust refresh trust.list acme --bundle acme.pub --realm prod --kek signed:id.key`,
		Args: cobra.MinimumNArgs(1),
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&accept, "accept-generation", false, "take a bundle although its generation is more than 1000 ahead")
	f.BoolVar(&now, "now", false, "fetch the bundles of all issuers, also those whose refresh time has not come")
	f.StringSliceVar(&files, "bundle", nil, "`files` with the bundles of the issuers in the arguments, in their order")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if files != nil && len(files) != len(args)-1 {
			return cli.Usagef("--bundle needs an ISSUER for each file")
		}
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		l, err := trust.Read(args[0], c)
		if err != nil {
			return err
		}
		var offers []trust.Offer
		var refused []trust.Refused
		if files != nil {
			for i, file := range files {
				data, err := readBundle(file)
				if err != nil {
					return err
				}
				offers = append(offers, trust.Offer{Issuer: args[i+1], Data: data})
			}
		} else if offers, refused, err = a.fetchAll(cmd.Context(), l, args[1:], now); err != nil {
			return err
		}
		changed := false
		if len(offers) > 0 {
			before := l.Generation
			var more []trust.Refused
			if l, more, err = trust.Take(args[0], c, o.reason, accept, offers...); err != nil {
				return err
			}
			refused, changed = append(refused, more...), l.Generation != before
		}
		return a.tellTrust(args[0], l, refused, changed, time.Now())
	})
}

// fetchAll fetches the bundles of the named issuers, or of all whose time has come.
func (a *app) fetchAll(ctx context.Context, l trust.List, names []string, all bool) (
	[]trust.Offer, []trust.Refused, error,
) {
	var wanted []*trust.Issuer
	for _, name := range names {
		is, err := l.Named(name)
		if err == nil && is.URL == "" {
			err = fmt.Errorf("issuer %q has no URL; give its bundle with --bundle", name)
		}
		if err != nil {
			return nil, nil, err
		}
		wanted = append(wanted, is)
	}
	for i := range l.Issuers {
		is := &l.Issuers[i]
		due := all || !time.Now().Before(is.Published.Add(time.Duration(is.Refresh)*time.Second))
		if len(names) == 0 && is.URL != "" && due && l.Denial(is) == nil {
			wanted = append(wanted, is)
		}
	}
	f := newFetcher()
	if a.fetch != nil {
		f = a.fetch
	}
	data, errs := make([][]byte, len(wanted)), make([]error, len(wanted))
	var wg sync.WaitGroup
	few := make(chan struct{}, 8)
	for i, is := range wanted {
		wg.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			data[i], errs[i] = f.get(ctx, is.URL)
		})
	}
	wg.Wait()
	var offers []trust.Offer
	var refused []trust.Refused
	for i, is := range wanted {
		if errs[i] != nil {
			refused = append(refused, trust.Refused{Issuer: is.Name, Err: errs[i]})
			continue
		}
		offers = append(offers, trust.Offer{Issuer: is.Name, Data: data[i]})
	}
	return offers, refused, nil
}

func (a *app) trustListCommand() *cobra.Command {
	var r readFlags
	var from services
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "Show who may issue what",
		Long: `list shows the issuers, their grants and keys, and the denials. With --json, the "state"
of an issuer is good, due, late or ended, as its bundle is, or denied.

With --from list also asks login services which generation of FILE they have, and how
many verified tickets of each issuer and key came since the services were started. So
you see whether a denial has arrived, and who still uses an old key. Give the URL of
ticketd's --metrics-listen.

Exit codes: 0 all well; 3 a bundle is past a third of its time; 4 a bundle is past two
thirds of its time or has ended, and the issuer's tickets are refused from its end on;
1 a service cannot be reached, or has another generation of FILE`,
		Example: `  keyring trust list trust.list --realm prod --kek verify:id.pub
  keyring trust list trust.list --from http://login1:9464,http://login2:9464 --realm prod --kek verify:id.pub`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	from.flags(cmd, "from", "ask these services for the list that they have, and for the use of keys")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if err := from.check(cmd.Flags().Lookup("from")); err != nil {
			return err
		}
		c, err := a.readConfig(r)
		if err != nil {
			return err
		}
		l, err := trust.Read(args[0], c)
		if err != nil {
			return err
		}
		return a.tellTrustFrom(args[0], l, from.ask(cmd.Context(), l.Info), time.Now())
	})
}

// tellTrustFrom shows a list, and what services have and did.
func (a *app) tellTrustFrom(file string, l trust.List, services []serviceStatus, now time.Time) error {
	out := a.trustResult(file, l, nil, false, now)
	if len(services) > 0 {
		out.Services = services
		for _, s := range services {
			if s.Match != same {
				a.code = exitFailed
			}
			if r := s.whole.of(keyring.Recipient, l.Realm); r != nil {
				for _, u := range r.Use {
					out.Use = addUses(out.Use, u.By)
				}
			}
		}
		a.tellReports(services)
		a.say("\n%s", "verified tickets since the services were started:")
		rows := [][]string{{"ISSUER", "KEY", "TICKETS", "LAST"}}
		for _, u := range out.Use {
			rows = append(rows, []string{u.Issuer, u.SigningKey.String(), fmt.Sprint(u.Opened), lastUse(u.LastUse)})
		}
		a.table(rows, nil)
	}
	return a.printJSON(out)
}

// trustResult is the JSON of the trust commands.
type trustResult struct {
	File        string          `json:"file"`
	Changed     bool            `json:"changed"`
	Kind        keyring.Kind    `json:"kind"`
	Realm       string          `json:"realm"`
	Generation  uint64          `json:"generation"`
	Fingerprint string          `json:"fingerprint"` // SHA-256 of the file
	Issuers     []trustedIssuer `json:"issuers"`
	Denied      []trust.Denial  `json:"denied"`
	Refused     []refusedBundle `json:"refused"`

	Services []serviceStatus     `json:"services,omitempty"` // of --from
	Use      []keyring.IssuerUse `json:"use,omitempty"`      // verified tickets of all services, by issuer and key
}

type trustedIssuer struct {
	trust.Issuer
	State bundleState `json:"state"` // of the bundle, or denied
}

type refusedBundle struct {
	Issuer string        `json:"issuer"`
	Key    keyring.KeyID `json:"key,omitzero"`
	Error  string        `json:"error"`
}

// tellTrust shows a list, and sets the exit code by its bundles.
func (a *app) tellTrust(file string, l trust.List, refused []trust.Refused, changed bool, now time.Time) error {
	return a.printJSON(a.trustResult(file, l, refused, changed, now))
}

// trustResult is tellTrust without the JSON, which it returns.
func (a *app) trustResult(
	file string, l trust.List, refused []trust.Refused, changed bool, now time.Time,
) trustResult {
	out := trustResult{
		File: file, Changed: changed, Kind: l.Kind, Realm: l.Realm, Generation: l.Generation, Fingerprint: l.Fingerprint,
		Issuers: []trustedIssuer{}, Denied: l.Denied, Refused: []refusedBundle{},
	}
	for _, r := range refused {
		a.code = exitDue
		out.Refused = append(out.Refused, refusedBundle{r.Issuer, r.Key, r.Err.Error()})
		fmt.Fprintf(a.stderr, "warning: %s: %v\n", r.Issuer, r.Err)
	}
	verb := "is"
	if changed {
		verb = "is changed: it is"
	}
	count := fmt.Sprintf("%d issuers", len(l.Issuers))
	if len(l.Issuers) == 1 {
		count = "1 issuer"
	}
	a.say("%s %s generation %d, of realm %q, with %s", file, verb, l.Generation, l.Realm, count)
	for i := range l.Issuers {
		out.Issuers = append(out.Issuers, trustedIssuer{l.Issuers[i], a.tellIssuer(&l, &l.Issuers[i], now)})
	}
	if len(l.Denied) > 0 {
		a.say("")
	}
	for _, d := range l.Denied {
		what := "all of it"
		if d.Key != 0 {
			what = "key " + d.Key.String()
			if d.Public == nil {
				what += " (no bundle has brought it)"
			}
		}
		if d.EndSessions {
			what += ", and its sessions from before"
		}
		a.say("denied  %s: %s, on %s: %s", d.Issuer, what, stamp(d.Time), d.Reason)
	}
	return out
}

// bundleState is how far the time of a bundle has gone.
type bundleState string

const (
	bundleGood   bundleState = "good"
	bundleDue    bundleState = "due"    // past a third
	bundleLate   bundleState = "late"   // past two thirds
	bundleEnded  bundleState = "ended"  // nobody uses it any more
	bundleDenied bundleState = "denied" // the issuer is denied
)

func bundleStateOf(published, until, now time.Time) bundleState {
	whole := until.Sub(published)
	switch age := now.Sub(published); {
	case age >= whole:
		return bundleEnded
	case age >= whole*2/3:
		return bundleLate
	case age >= whole/3:
		return bundleDue
	}
	return bundleGood
}

func (a *app) tellIssuer(l *trust.List, is *trust.Issuer, now time.Time) bundleState {
	a.say("")
	a.say("%s", is.Name)
	a.say("  may issue  %s", is.Grant)
	if l.Denial(is) != nil {
		a.say("  denied     all its tickets are refused")
		return bundleDenied
	}
	state, left := bundleStateOf(is.Published, is.Until, now), "ends "+when(now, is.Until)
	how := "keyring trust refresh"
	if is.URL == "" {
		how += " --bundle"
	}
	switch state {
	case bundleEnded:
		a.code, left = exitOverdue, "ended"
		fmt.Fprintf(a.stderr, "warning: the bundle of %s ended on %s, and its tickets are refused; get its new bundle (%s)\n",
			is.Name, stamp(is.Until), how)
	case bundleLate:
		a.code = exitOverdue
		fmt.Fprintf(a.stderr, "warning: the bundle of %s ends on %s; its tickets are refused then: get its new bundle (%s)\n",
			is.Name, stamp(is.Until), how)
	case bundleDue:
		a.code = max(a.code, exitDue)
		left += "; a newer bundle is due"
	}
	if len(is.Grant.Brands) == 0 && !is.Grant.AnyBrand || len(is.Grant.Audiences) == 0 {
		fmt.Fprintf(a.stderr, "warning: %s may issue nothing yet: give it brands and audiences with keyring trust grant\n",
			is.Name)
	}
	if until := is.Grant.Until; !until.IsZero() && !now.Before(until) {
		fmt.Fprintf(a.stderr, "warning: the grant of %s ended on %s, and its tickets are refused; "+
			"set another end with keyring trust grant --until\n", is.Name, stamp(until))
	}
	a.say("  identity   %v", is.Identity)
	a.say("  bundle     generation %d of %s, good until %s (%s)",
		is.Generation, stamp(is.Published), stamp(is.Until), left)
	if is.URL != "" {
		a.say("  url        %s", is.URL)
	} else {
		a.say("  url        none: its bundles come by keyring trust refresh --bundle")
	}
	for _, k := range is.Keys {
		what := map[keyring.State]string{
			keyring.Pending: "pending: signs later", keyring.Primary: "primary: signs now",
			keyring.Retiring: "retiring: signed tickets until " + stamp(k.LastIssue),
		}[k.State]
		a.say("  key        %v  %s  %s", k.ID, k.Algorithm, what)
	}
	if len(is.Keys) == 0 {
		a.say("  key        none: all its tickets are refused")
	}
	return state
}

// afterTrust returns the line with the next command after an error of a trust command.
func (a *app) afterTrust(err error, file string) string {
	switch {
	case errors.Is(err, trust.ErrNoIssuer):
		return a.next("trust list", file)
	case reason(err) == keyring.Missing:
		return a.next("trust add --help", file)
	}
	return ""
}

// isTrust reports whether cmd is one of the trust commands.
func isTrust(cmd *cobra.Command) bool {
	return slices.Contains(strings.Fields(cmd.CommandPath()), "trust")
}
