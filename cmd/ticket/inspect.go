package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// inspectFlags are the flags of the inspect command.
type inspectFlags struct {
	unverified  bool
	brands      []string
	audience    string
	channel     *string // nil: the one that the ticket names
	maxLifetime time.Duration
	skew        time.Duration
}

// inspection is what inspect prints of a ticket with --json.
type inspection struct {
	outcome
	ReplayAsked bool `json:"replayAsked"` // false: whether the ticket was redeemed before was not looked up
	*contents
}

// glimpse is what inspect --unverified prints of a ticket with --json.
type glimpse struct {
	outcome
	Version int            `json:"version,omitempty"`
	KeyID   *keyring.KeyID `json:"keyId,omitempty"`
	Length  int            `json:"length"` // in characters
}

func (a *app) inspectCommand() *cobra.Command {
	var o inspectFlags
	var channel string
	cmd := &cobra.Command{
		Use:   "inspect [TICKET]...",
		Short: "Show what tickets say and whether they would be accepted",
		Long: `inspect opens tickets with the keyring, shows what they say, and checks them as a
verifier with the given flags does. It spends nothing, and asks no replay store: a
one-time ticket that is good here may have been redeemed already. A genuine ticket
that is refused, because it is expired, say, is shown as well, with the reason.

Tickets come one a line on standard input, or as arguments; "-" among these
stands for standard input. Prefer standard input: arguments stay in the shell's
history.

A ticket that is bound to a channel is good in that channel only. Without
--channel the ticket's own channel is taken for the one that is entered; with
--channel '' only tickets bound to none are good.

Without a keyring, --unverified shows what is readable without a key: version, key
ID and length. Anybody can write such a thing; it proves nothing about the ticket,
and the exit code is 4 (cannot tell).`,
		Example: `  ticket inspect --keyring tickets.keyring < ticket.txt
  ticket inspect --keyring tickets.keyring --audience agent --brand commbox --json < tickets.txt
  ticket issue --brand commbox --username john.d | ticket inspect
  ticket inspect --unverified < ticket.txt`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.keyringFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.unverified, "unverified", false, "without a keyring: show what is readable without a key, and proves nothing")
	f.StringArrayVar(&o.brands, "brand", nil, "accept tickets of this `brand`; repeatable (default any)")
	f.StringVar(&o.audience, "audience", "", "accept tickets for this `audience`: agent or customer (default any)")
	f.StringVar(&channel, "channel", "", "the internal `ID` of the channel that is entered (default the ticket's own)")
	f.DurationVar(&o.maxLifetime, "max-lifetime", token.MaxLifetime, "longest lifetime of a ticket that is accepted")
	f.DurationVar(&o.skew, "skew", verify.Skew, "tolerance between the clocks of issuer and verifier")
	for _, name := range []string{"keyring", "kek", "insecure-cleartext", "brand", "audience", "channel", "max-lifetime", "skew"} {
		cmd.MarkFlagsMutuallyExclusive("unverified", name)
	}
	_ = cmd.RegisterFlagCompletionFunc("audience", cobra.FixedCompletions([]string{"agent", "customer"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if o.unverified {
			return a.inspectUnverified(args)
		}
		if f.Changed("channel") {
			o.channel = &channel
		}
		if f.Changed("audience") && o.audience == "" {
			return cli.Usagef("--audience is empty; give agent or customer, or leave the flag out")
		}
		return a.inspect(args, o)
	})
}

func (a *app) inspect(args []string, o inspectFlags) error {
	// All that is wrong with the flags is found before a passphrase is asked for.
	if _, err := newInspector(o, nopOpener{}, a.keys.Realm, time.Now); err != nil {
		return err
	}
	if a.keyring == "" {
		return cli.Usagef("no keyring: give --keyring or set ADMITONE_KEYRING (or --unverified, to see what is readable without a key)")
	}
	ring, err := a.openKeyring()
	if err != nil {
		return err
	}
	defer ring.Close()
	in, err := newInspector(o, ring, a.keys.Realm, time.Now)
	if err != nil {
		return err
	}
	oneTime, foreign := false, false
	err = a.eachTicket(args, func(number int, ticket string) error {
		i := in.inspect(ticket)
		i.Number = number
		oneTime = oneTime || i.Verdict == good && i.OneTimeUse
		foreign = foreign || i.Reason == verify.UnknownKey || i.Reason == verify.Forged
		var details pairs
		if i.contents != nil {
			details = i.contents.pairs()
		}
		return a.report(i.outcome, i, details)
	})
	if oneTime {
		a.note("no replay store was asked: whether a one-time ticket has been redeemed is not known here")
	}
	if foreign && err == nil {
		a.sayNext("keyring", "status", a.keyring)
	}
	return err
}

// nopOpener stands in for a keyring that is not open yet.
type nopOpener struct{}

func (nopOpener) Decrypt(_, _ []byte) ([]byte, error) { return nil, errors.New("no keys") }

// inspector is a verifier that only looks.
type inspector struct {
	verifier *verify.Verifier
	audience token.Audience
	channel  *string
}

func newInspector(o inspectFlags, keys token.Opener, realm string, now func() time.Time) (*inspector, error) {
	in := &inspector{channel: o.channel}
	switch o.audience {
	case "":
		in.audience = verify.AnyAudience
	case token.Agent.String():
		in.audience = token.Agent
	case token.Customer.String():
		in.audience = token.Customer
	default:
		return nil, cli.Usagef("--audience is agent or customer")
	}
	for _, brand := range o.brands {
		if brand == "" {
			return nil, cli.Usagef("--brand is empty; give a brand, or leave the flag out")
		}
	}
	if o.maxLifetime <= 0 {
		return nil, cli.Usagef("--max-lifetime is not positive; give one such as %v", token.MaxLifetime)
	}
	if o.skew < 0 {
		return nil, cli.Usagef("--skew is negative; give 0s or more")
	}
	// Nothing is ever claimed in this store: it knows no ticket, and has no
	// barrier that would refuse those issued before now.
	store, err := replay.NewMemory(replay.MemoryConfig{NoBarrier: true, Now: now})
	if err != nil {
		return nil, err
	}
	in.verifier, err = verify.New(verify.Config{
		Opener: keys, Realm: realm, Brands: o.brands, AnyBrand: len(o.brands) == 0,
		Store: store, MaxLifetime: o.maxLifetime, Skew: o.skew, Now: now,
	})
	return in, ticketUsage(err)
}

func (in *inspector) inspect(ticket string) inspection {
	use := verify.Use{Audience: in.audience}
	if in.channel != nil {
		use.Channel = *in.channel
	}
	t, err := in.verifier.Inspect(context.Background(), ticket, use)
	e, _ := errors.AsType[*verify.Error](err)
	if e != nil && e.Reason == verify.WrongChannel && in.channel == nil {
		use.Channel = e.Refused.Channel
		t, err = in.verifier.Inspect(context.Background(), ticket, use)
		e, _ = errors.AsType[*verify.Error](err)
	}
	if e == nil {
		return inspection{outcome: outcome{Verdict: good}, contents: contentsOf(&t)}
	}
	i := inspection{outcome: refusal(e)}
	if e.Refused != nil {
		i.contents = contentsOf(e.Refused)
	}
	return i
}

// refusal is the outcome of a ticket that was not accepted.
func refusal(e *verify.Error) outcome {
	o := outcome{Verdict: refused, Reason: e.Reason, Explanation: scrub(e.Error())}
	if e.Reason.CannotTell() {
		o.Verdict = cannotTell
	}
	return o
}

func (a *app) inspectUnverified(args []string) error {
	err := a.eachTicket(args, func(number int, ticket string) error {
		g := glimpse{outcome: outcome{Number: number, Verdict: unverified}, Length: len(ticket)}
		details := pairs{{"length", strconv.Itoa(len(ticket))}}
		id, err := token.KeyID(ticket)
		if err != nil {
			g.outcome = shapeFault(number, err)
		} else {
			// Only format 1 has a key ID that can be read.
			g.Version, g.KeyID = 1, new(keyring.KeyID(id))
			details = append(pairs{{"version", "1"}, {"keyId", g.KeyID.String()}}, details...)
		}
		return a.report(g.outcome, g, details)
	})
	if a.worst == unverified {
		a.note("nothing was verified: anybody can write a version and a key ID, and they prove nothing")
	}
	return err
}

// shapeFault is the outcome of what is not a ticket, by the error of token.KeyID.
func shapeFault(number int, err error) outcome {
	reason := verify.Malformed
	if errors.Is(err, token.ErrUnsupportedVersion) {
		reason = verify.UnsupportedVersion
	}
	return outcome{Number: number, Verdict: refused, Reason: reason, Explanation: string(reason) + ": " + scrub(cli.Message(err))}
}
