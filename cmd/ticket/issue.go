package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/internal/view"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// issueFlags are the flags of the issue command.
type issueFlags struct {
	ticket    token.Ticket
	audience  string
	claims    []string
	expiresIn time.Duration
	limited   bool // --expires-in was given
	loginURL  string
	chatURL   string
	code      string
	signed    bool // format 2
	issuer    string
	recipient string // file
	identity  string // of the bundle in recipient, or ""
}

// issued is the JSON form of the result of issue.
type issued struct {
	Text string `json:"ticket"`
	URL  string `json:"url,omitempty"`
	*client.Ticket
}

// issueTexts are the flags with the ticket's text fields.
var issueTexts = []struct {
	flag  string
	of    func(*token.Ticket) *string
	usage string
}{
	{"brand", func(t *token.Ticket) *string { return &t.Brand },
		"the business account that the ticket is for; mandatory, except for administrators"},
	{"username", func(t *token.Ticket) *string { return &t.Username },
		"the agent's or administrator's username; without it the ticket is a customer's"},
	{"email", func(t *token.Ticket) *string { return &t.Email },
		"the person's email address"},
	{"unique-id", func(t *token.Ticket) *string { return &t.UniqueID },
		"the person's ID in your own system"},
	{"first-name", func(t *token.Ticket) *string { return &t.FirstName },
		"the person's first name"},
	{"last-name", func(t *token.Ticket) *string { return &t.LastName },
		"the person's last name"},
	{"phone1", func(t *token.Ticket) *string { return &t.Phone1 },
		"the person's phone number in E.164 form, such as +442501234567"},
	{"remark", func(t *token.Ticket) *string { return &t.Remark },
		"a remark about the customer, one line of text"},
	{"channel", func(t *token.Ticket) *string { return &t.Channel },
		"internal ID of the only channel in which a customer's ticket is good (default: any channel)"},
	{"actor", func(t *token.Ticket) *string { return &t.Actor },
		"who asks for the ticket, for the log of the verifier"},
}

func (a *app) issueCommand() *cobra.Command {
	var i issueFlags
	cmd := &cobra.Command{
		Use:   "issue --brand BRAND (--username NAME | --email ADDRESS | --unique-id ID | --phone1 NUMBER)",
		Short: "Issue a ticket and print it",
		Long: fmt.Sprintf(`issue seals a ticket under the keyring's primary key and prints the ticket. With
--login-url or --chat-url it prints the whole URL that lets the person in.

With --username the ticket is an agent's, for the login page. Without --username it
is a customer's, for the chat, and needs --email, --unique-id or --phone1. A ticket
is good for %v (agents) or %v (customers) unless --expires-in says otherwise, and
never longer than the lifetime in the keyring's policy. issue does not check that
brand and person exist or belong together; the login service does.

Only with --audience administrator is the ticket an administrator's, for the console.
Such a ticket works once, needs no --brand, and is good for %v at most.

With --signed the ticket is of format 2: signed with the keyring, which is an issuer's,
and encrypted to the login service whose public keys are in the file of --recipient: a
bundle of keyring publish, with --recipient-identity, or a keyset of keyring export
--public. --issuer is the name by which the login service knows the issuer.

Whoever has the ticket is let in as that person: keep the ticket out of logs and of
the shell's history.`, token.AgentLifetime, token.CustomerLifetime, token.AdministratorLifetime),
		Example: `  ticket issue --keyring tickets.keyring --brand commbox --username john.d --one-time
  ticket issue --brand commbox --email jane@example.com --claim tier=gold --expires-in 2m
  ticket issue --brand commbox --username john.d --login-url https://login.example.com/login
  ticket issue --keyring acme.keyring --signed --issuer acme --recipient login.json --brand acme --username ann
  ticket issue --keyring acme.keyring --signed --issuer acme --recipient login.pub --recipient-identity verify:login-id.pub --brand acme --username ann
  ticket issue --brand commbox --unique-id C-1 --channel web --chat-url https://apps.example.com --code CODE --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.keyringFlags(cmd)
	f := cmd.Flags()
	for _, text := range issueTexts {
		f.StringVar(text.of(&i.ticket), text.flag, "", text.usage)
	}
	f.StringVar(&i.audience, "audience", "",
		"`audience` of the ticket: agent, customer or administrator (default: agent with --username, otherwise customer)")
	audiences := cobra.FixedCompletions([]string{"agent", "customer", "administrator"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("audience", audiences) // fails only for a flag that does not exist
	f.StringArrayVar(&i.claims, "claim", nil,
		"add a claim to the ticket, as `name=value`, for the login service; repeatable")
	f.BoolVar(&i.ticket.OneTime, "one-time", false, "make a ticket that works once")
	f.BoolVar(&i.ticket.OverrideUserInfo, "override-user-info", false,
		"update the customer's record with the ticket's fields when the customer enters")
	f.DurationVar(&i.expiresIn, "expires-in", 0, fmt.Sprintf(
		"lifetime of the ticket, such as 90s (default: %v for agents, %v for customers)",
		token.AgentLifetime, token.CustomerLifetime))
	f.StringVar(&i.loginURL, "login-url", "", "print this login page's `URL` with the ticket, for agents")
	f.StringVar(&i.chatURL, "chat-url", "",
		"print URL/chat/CODE with the ticket, for customers; `URL` is like https://apps.example.com, CODE comes from --code")
	f.StringVar(&i.code, "code", "", "the channel's `code` in chat URLs, for --chat-url")
	f.BoolVar(&i.signed, "signed", false, "make a ticket of format 2, with a keyring of kind issuer")
	f.StringVar(&i.issuer, "issuer", "", "`name` by which the login service knows the issuer, with --signed")
	f.StringVar(&i.recipient, "recipient", "",
		"`file` with the public keys of the login service, from keyring publish or keyring export --public, with --signed")
	f.StringVar(&i.identity, "recipient-identity", "",
		"`identity` that signs the bundle in the file of --recipient: a fingerprint, or verify:PATH")
	cmd.MarkFlagsRequiredTogether("signed", "issuer", "recipient")
	cmd.MarkFlagsRequiredTogether("chat-url", "code")
	cmd.MarkFlagsMutuallyExclusive("chat-url", "login-url")
	return cli.Command(cmd, func(*cobra.Command, []string) error {
		i.limited = f.Changed("expires-in")
		if i.audience == token.Administrator.String() {
			if f.Changed("one-time") && !i.ticket.OneTime {
				return cli.Flagf("one-time", "is false; an administrator's ticket works once")
			}
			i.ticket.OneTime = true
		}
		names := []string{"login-url", "chat-url", "code", "audience", "issuer", "recipient", "recipient-identity"}
		for _, text := range issueTexts {
			names = append(names, text.flag)
		}
		for _, name := range names {
			// An empty value is most likely a shell variable that was not set. With an
			// empty --username, an agent's ticket would become a customer's.
			if f.Changed(name) && f.Lookup(name).Value.String() == "" {
				return cli.Flagf(name, "is empty; give a value, or leave the flag out")
			}
		}
		return a.issue(i)
	})
}

func (a *app) issue(i issueFlags) error {
	if err := i.check(); err != nil {
		return err
	}
	if err := token.CheckRealm("token.Config.Realm", a.keys.Realm); err != nil {
		return cli.Usage(err)
	}
	c := token.Config{Realm: a.keys.Realm}
	kind := keyring.Ticket
	if i.identity != "" && !i.signed {
		return cli.Flagf("recipient-identity", "is for the bundle of --recipient; give --signed, --issuer and --recipient")
	}
	if i.signed {
		kind = keyring.Issuer
		if err := token.CheckIssuer("signed.NewSealer.issuer", i.issuer); err != nil {
			return cli.Usage(err)
		}
	}
	ring, err := a.openKeyring(kind, "")
	if err != nil {
		return err
	}
	defer ring.Close()
	if !i.signed {
		c.Sealer = ring
	} else if c.Signed, err = a.sealer(&i, ring); err != nil {
		return err
	}
	// A ticket has room for lifetimes of at most 2³²-1 ms.
	longest := min(ring.Report().Policy.Lifetime, math.MaxUint32*time.Millisecond)
	c.MaxLifetime = longest
	issuer, err := token.NewIssuer(c)
	if err != nil {
		return err
	}
	if i.expiresIn > longest {
		return cli.Flagf("expires-in", "is over %v; the keyring keeps its keys no longer", longest)
	}
	t := i.ticket
	text, err := issuer.Issue(&t)
	if err != nil {
		return ticketUsage(err)
	}
	url, err := i.url(text)
	if err != nil {
		return err
	}
	if t.Lifetime > token.MaxLifetime {
		a.note(fmt.Sprintf("verifiers refuse lifetimes over %v unless they are told otherwise", token.MaxLifetime))
	}
	switch {
	case a.json:
		err = a.print(issued{text, url, view.Ticket(&t)})
	case url != "":
		_, err = fmt.Fprintln(a.stdout, url)
	default:
		_, err = fmt.Fprintln(a.stdout, text)
	}
	if i.signed {
		return err // inspecting needs the login service's own keyring
	}
	next := []string{"ticket", "inspect"}
	if a.keyring != os.Getenv(keyringVariable) {
		next = append(next, "--keyring", a.keyring)
	}
	a.sayNext(next...)
	return err
}

// sealer returns the sealer of --signed.
func (a *app) sealer(i *issueFlags, ring *keyring.Ring) (*signed.Sealer, error) {
	if i.identity != "" {
		to, err := a.bundleKey(i.recipient, i.identity)
		if err != nil {
			return nil, err
		}
		return signed.NewSealer(i.issuer, ring, to)
	}
	public, err := readPublic("recipient", i.recipient)
	if err != nil {
		return nil, err
	}
	to, err := signed.NewSealingKey(public)
	if err != nil {
		return nil, err
	}
	return signed.NewSealer(i.issuer, ring, to)
}

// bundleKey returns the key of the bundle of a login service.
func (a *app) bundleKey(file, identity string) (*signed.SealingKey, error) {
	id, err := cli.Identity("recipient-identity", identity)
	if err != nil {
		return nil, err
	}
	b, err := keyring.ReadBundle(file, keyring.Config{Kind: keyring.RecipientPublic, Realm: a.keys.Realm, KEK: id})
	if err != nil {
		return nil, recipientFault{err}
	}
	if now := time.Now(); !now.Before(b.Until) {
		return nil, fmt.Errorf("the bundle %s of %q ended on %s: the login service may open its tickets no more; "+
			"get its new bundle (the login service makes it with keyring publish)", file, b.Name, b.Until.Format(time.RFC3339))
	} else if !now.Before(b.Until.Add(-b.Until.Sub(b.Published) / 3)) {
		a.note(fmt.Sprintf("the bundle of %q ends on %s; get its new bundle before that",
			b.Name, b.Until.Format(time.RFC3339)))
	}
	return b.Primary().SealingKey()
}

// recipientFault is an error of the file of --recipient, which no command for keyrings explains.
type recipientFault struct{ error }

// check completes the ticket, and makes every check that needs no keyring.
func (i *issueFlags) check() error {
	t := &i.ticket
	switch i.audience {
	case "":
		t.Audience = token.Customer
		if t.Username != "" {
			t.Audience = token.Agent
		}
	case token.Agent.String():
		t.Audience = token.Agent
	case token.Customer.String():
		t.Audience = token.Customer
	case token.Administrator.String():
		t.Audience = token.Administrator
	default:
		return cli.Flagf("audience", "is agent, customer or administrator")
	}
	if i.audience == "" && t.Username == "" && t.Email == "" && t.UniqueID == "" && t.Phone1 == "" {
		return cli.Usagef("no person: give --username for an agent's ticket, " +
			"or at least one of --email, --unique-id and --phone1 for a customer's")
	}
	for _, claim := range i.claims {
		name, value, ok := strings.Cut(claim, "=")
		if !ok {
			return cli.Flagf("claim", "is not name=value")
		}
		if _, repeated := t.Claims[name]; repeated {
			return cli.Flagf("claim", "gives one name twice; a name has one value")
		}
		if t.Claims == nil {
			t.Claims = make(map[string]string)
		}
		t.Claims[name] = value
	}
	if i.limited && i.expiresIn <= 0 {
		return cli.Flagf("expires-in", "is %v; give a positive duration, such as 90s", i.expiresIn)
	}
	t.Lifetime = i.expiresIn
	if err := t.Validate(); err != nil {
		return cli.Usage(err)
	}
	switch {
	case t.Audience != token.Customer && i.chatURL != "":
		return cli.Flagf("chat-url", "is for customers' tickets; for any other give --login-url")
	case t.Audience == token.Customer && i.loginURL != "":
		return cli.Flagf("login-url", "is not for customers' tickets; for a customer's give --chat-url and --code")
	}
	_, err := i.url("TICKET") // a bad URL fails here, and not when a ticket exists
	return err
}

// url returns the URL of --login-url or --chat-url with the ticket; "" without either.
func (i *issueFlags) url(ticket string) (url string, err error) {
	flag := "login-url"
	switch {
	case i.loginURL != "":
		url, err = token.LoginURL(i.loginURL, ticket)
	case i.chatURL != "":
		flag = "chat-url"
		url, err = token.ChatURL(i.chatURL, i.code, ticket)
	}
	if err != nil {
		return "", cli.Usage(cli.ForFlag(flag, err))
	}
	return url, nil
}
