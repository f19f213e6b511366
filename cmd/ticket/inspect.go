package main

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/internal/view"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// inspectFlags are the flags of the inspect command.
type inspectFlags struct {
	unverified  bool
	brands      []string
	audience    string
	channel     *string // nil: the ticket's own
	maxLifetime time.Duration
	skew        time.Duration
	issuers     []string // NAME=FILE: format 2
}

// inspection is the JSON form of a result of inspect. If the ticket opened, the
// ticket's fields stand beside the outcome.
type inspection struct {
	outcome
	ReplayAsked bool `json:"replayAsked"` // always false: inspect asks no replay store
	*client.Ticket
}

// unverifiedInspection is the JSON form of a result of inspect --unverified.
type unverifiedInspection struct {
	outcome
	Version int          `json:"version,omitempty"`
	KeyID   *token.KeyID `json:"keyId,omitempty"`
	Length  int          `json:"length"` // in characters
}

func (a *app) inspectCommand() *cobra.Command {
	var o inspectFlags
	var channel string
	cmd := &cobra.Command{
		Use:   "inspect [TICKET]...",
		Short: "Show what tickets say and whether a verifier would accept them",
		Long: `inspect opens tickets with the keyring, shows their fields, and checks them like a
verifier with the given flags. Nothing is spent, and inspect asks no replay store: a
one-time ticket that is good here may have been redeemed already. A genuine ticket
that is refused, for example because it is expired, is shown with the reason.

Give tickets one a line on standard input, or as arguments; the argument "-" stands
for standard input. Prefer standard input: arguments stay in the shell's history.

A ticket that is bound to a channel is good in that channel only. Without
--channel, the ticket's own channel is taken as the channel that is entered. With
--channel '', only tickets without a channel are good.

With --issuer, inspect opens tickets of format 2. The keyring is the login service's, of
kind recipient, and each --issuer names an issuer and the file with its public keys. All
of them may issue every ticket here: inspect knows no grants.

--unverified needs no keyring and shows the parts that are readable without a key:
version, key ID and length. They prove nothing about the ticket, since anybody can
write them, and the exit code is 4 (cannot tell).`,
		Example: `  ticket inspect --keyring tickets.keyring < ticket.txt
  ticket inspect --keyring tickets.keyring --audience agent --brand commbox --json < tickets.txt
  ticket issue --brand commbox --username john.d | ticket inspect
  ticket inspect --keyring login.keyring --issuer acme=acme.json < ticket.txt
  ticket inspect --unverified < ticket.txt`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.keyringFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.unverified, "unverified", false,
		"show version, key ID and length without opening the ticket; needs no keyring, and proves nothing")
	f.StringArrayVar(&o.brands, "brand", nil, "accept tickets for this `brand` only; repeatable (default: any brand)")
	f.StringVar(&o.audience, "audience", "",
		"accept tickets for this `audience` only: agent, customer or administrator (default: any)")
	f.StringVar(&channel, "channel", "",
		"internal `ID` of the channel that is entered (default: the ticket's channel)")
	f.DurationVar(&o.maxLifetime, "max-lifetime", token.MaxLifetime, "refuse tickets with a longer lifetime than this")
	f.DurationVar(&o.skew, "skew", verify.Skew, "tolerated difference between the clocks of issuer and verifier")
	f.StringArrayVar(&o.issuers, "issuer", nil,
		"open tickets of format 2 of an issuer, given as `name=file` with its public keys; repeatable")
	for _, name := range []string{
		"issuer", "keyring", "kek", "insecure-cleartext", "brand", "audience", "channel", "max-lifetime", "skew",
	} {
		cmd.MarkFlagsMutuallyExclusive("unverified", name)
	}
	audiences := cobra.FixedCompletions([]string{"agent", "customer", "administrator"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("audience", audiences) // fails only for a flag that does not exist
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if o.unverified {
			return a.inspectUnverified(args)
		}
		if f.Changed("channel") {
			o.channel = &channel
		}
		if f.Changed("audience") && o.audience == "" {
			return cli.Flagf("audience", "is empty; give agent, customer or administrator, or leave the flag out")
		}
		return a.inspect(args, o)
	})
}

func (a *app) inspect(args []string, o inspectFlags) error {
	// Check the flags before anybody has to type a passphrase.
	standIn, err := keysOfNobody()
	if err != nil {
		return err
	}
	if _, err := newInspector(o, verify.Config{Opener: standIn, Realm: a.keys.Realm, Now: time.Now}); err != nil {
		return cli.Usage(err)
	}
	issuers, err := readIssuers(o.issuers)
	if err != nil {
		return err
	}
	kind := keyring.Ticket
	if len(issuers) > 0 {
		kind = keyring.Recipient
	}
	ring, err := a.openKeyring(kind, " (or --unverified, which needs no key)")
	if err != nil {
		return err
	}
	defer ring.Close()
	c := verify.Config{Realm: a.keys.Realm, Now: time.Now}
	if kind == keyring.Ticket {
		c.Opener = ring
	} else if c.Issuers, err = verify.NewIssuers(issuers...); err != nil {
		return err
	} else {
		c.Unsealer = ring
	}
	in, err := newInspector(o, c)
	if err != nil {
		return err
	}
	in.issuers = issuers
	oneTime, foreign := false, false
	err = a.eachTicket(args, func(number int, ticket string) error {
		i := in.inspect(ticket)
		i.Number = number
		oneTime = oneTime || i.Verdict == good && i.OneTimeUse
		foreign = foreign || i.Reason == verify.UnknownKey || i.Reason == verify.Forged || i.Reason == verify.UnknownIssuer
		var details pairs
		if i.Ticket != nil {
			details = ticketPairs(i.Ticket)
		}
		return a.report(i.outcome, i, details)
	})
	if oneTime {
		a.note("no replay store was asked: a one-time ticket that is good here may have been redeemed already")
	}
	if foreign && err == nil {
		a.sayNext("keyring", "status", a.keyring)
	}
	return err
}

// readIssuers reads the issuers of --issuer. Each may issue every ticket.
func readIssuers(flags []string) (all []verify.Issuer, err error) {
	for _, flag := range flags {
		name, file, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, cli.Flagf("issuer", "is not name=file")
		}
		public, err := readPublic("issuer", file)
		if err != nil {
			return nil, err
		}
		is := verify.Issuer{Name: name, Grant: verify.Grant{
			AnyBrand: true, Audiences: []token.Audience{token.Agent, token.Customer, token.Administrator},
			MaxLifetime: math.MaxInt64, ManyTimes: true, Override: true,
		}}
		if is.SigningKeys, err = signed.NewVerifyingKeys(name, public); err != nil {
			return nil, err
		}
		all = append(all, is)
	}
	return all, nil
}

// keysOfNobody returns a new key, as a stand-in for a keyring that is not open yet.
func keysOfNobody() (tink.AEAD, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMSIVKeyTemplate())
	if err != nil {
		return nil, err
	}
	return token.NewKeyset(handle)
}

// inspector checks tickets and spends none.
type inspector struct {
	config   verify.Config
	verifier *verify.Verifier
	issuers  []verify.Issuer // of config
	audience token.Audience
	channel  *string
}

// newInspector returns an inspector. c has the keys, the realm and the clock.
func newInspector(o inspectFlags, c verify.Config) (*inspector, error) {
	in := &inspector{channel: o.channel}
	switch o.audience {
	case "":
		in.audience = verify.AnyAudience
	case token.Agent.String():
		in.audience = token.Agent
	case token.Customer.String():
		in.audience = token.Customer
	case token.Administrator.String():
		in.audience = token.Administrator
	default:
		return nil, cli.Flagf("audience", "is agent, customer or administrator")
	}
	for _, brand := range o.brands {
		if brand == "" {
			return nil, cli.Flagf("brand", "is empty; give a brand, or leave the flag out")
		}
	}
	if o.maxLifetime <= 0 {
		return nil, cli.Flagf("max-lifetime", "is not positive; give a duration such as %v", token.MaxLifetime)
	}
	if err := token.CheckRealm("verify.Config.Realm", c.Realm); err != nil {
		return nil, cli.Usage(err)
	}
	// The store stays empty, and NoBarrier keeps it from refusing tickets that were
	// issued before now.
	store, err := memory.Open(context.Background(), memory.Config{NoBarrier: true, Now: c.Now})
	if err != nil {
		return nil, err
	}
	c.Brands, c.AnyBrand, c.Store, c.MaxLifetime, c.Skew = o.brands, len(o.brands) == 0, store, o.maxLifetime, o.skew
	in.config = c
	in.verifier, err = verify.New(c)
	return in, err
}

// allow returns a verifier whose issuers may make the claims of a ticket: a grant names them.
func (in *inspector) allow(claims map[string]string) (*verify.Verifier, error) {
	c := in.config
	all := slices.Clone(in.issuers)
	for i := range all {
		all[i].Claims = slices.Collect(maps.Keys(claims))
	}
	var err error
	if c.Issuers, err = verify.NewIssuers(all...); err != nil {
		return nil, err
	}
	return verify.New(c)
}

func (in *inspector) inspect(ticket string) inspection {
	use := verify.Use{Audience: in.audience}
	if in.channel != nil {
		use.Channel = *in.channel
	}
	verifier := in.verifier
	t, err := verifier.Inspect(context.Background(), ticket, use)
	e, _ := errors.AsType[*verify.Error](err)
	if e != nil && e.Reason == verify.IssuerNotAllowed {
		if allowing, fault := in.allow(e.Refused.Claims); fault == nil {
			verifier = allowing
			t, err = verifier.Inspect(context.Background(), ticket, use)
			e, _ = errors.AsType[*verify.Error](err)
		}
	}
	if e != nil && e.Reason == verify.WrongAudience && in.audience == verify.AnyAudience {
		use.Audience = e.Refused.Audience // an administrator's, which is never accepted unless it is named
		t, err = verifier.Inspect(context.Background(), ticket, use)
		e, _ = errors.AsType[*verify.Error](err)
	}
	if e != nil && e.Reason == verify.WrongChannel && in.channel == nil {
		use.Channel = e.Refused.Channel
		t, err = verifier.Inspect(context.Background(), ticket, use)
		e, _ = errors.AsType[*verify.Error](err)
	}
	if e == nil {
		return inspection{outcome: outcome{Verdict: good}, Ticket: view.Ticket(&t)}
	}
	return inspection{outcome: refusal(e), Ticket: view.Ticket(e.Refused)}
}

// refusal returns the outcome for a ticket that the verifier did not accept.
func refusal(e *verify.Error) outcome {
	o := outcome{Verdict: refused, Reason: e.Reason, Explanation: scrub(e.Error())}
	if e.Reason.CannotTell() {
		o.Verdict = cannotTell
	}
	return o
}

func (a *app) inspectUnverified(args []string) error {
	err := a.eachTicket(args, func(number int, ticket string) error {
		u := unverifiedInspection{outcome: outcome{Number: number, Verdict: unverified}, Length: len(ticket)}
		details := pairs{{"length", strconv.Itoa(len(ticket))}}
		id, err := token.UnverifiedKeyID(ticket)
		if err != nil {
			u.outcome = malformed(number, err)
		} else {
			version := ticket[len("tkt"):][:1] // UnverifiedKeyID takes only 1 and 2
			u.Version, u.KeyID = int(version[0]-'0'), &id
			details = append(pairs{{"version", version}, {"keyId", u.KeyID.String()}}, details...)
		}
		return a.report(u.outcome, u, details)
	})
	if a.worst == unverified {
		a.note("nothing was verified: anybody can write a version and a key ID, and they prove nothing")
	}
	return err
}

// malformed returns the outcome for a text that is not a ticket; err is the error of
// token.UnverifiedKeyID.
func malformed(number int, err error) outcome {
	reason := verify.Malformed
	if errors.Is(err, token.ErrUnsupportedVersion) {
		reason = verify.UnsupportedVersion
	}
	text := string(reason) + ": " + scrub(cli.Message(err))
	return outcome{Number: number, Verdict: refused, Reason: reason, Explanation: text}
}
