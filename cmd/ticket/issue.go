package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/token"
)

// issue is the flags of the issue command.
type issue struct {
	ticket    token.Ticket
	claims    []string
	expiresIn time.Duration
	limited   bool // --expires-in was given
	loginURL  string
	chatURL   string
	code      string
}

// issued is what issue prints with --json.
type issued struct {
	Ticket string `json:"ticket"`
	URL    string `json:"url,omitempty"`
	*contents
}

// issueTexts are the flags with the ticket's text fields: the flag's name, its field
// and its help.
var issueTexts = []struct {
	flag  string
	of    func(*token.Ticket) *string
	usage string
}{
	{"brand", func(t *token.Ticket) *string { return &t.Brand }, "the business account; mandatory"},
	{"username", func(t *token.Ticket) *string { return &t.Username }, "the agent's; makes it an agent's ticket"},
	{"email", func(t *token.Ticket) *string { return &t.Email }, "the person's email address"},
	{"unique-id", func(t *token.Ticket) *string { return &t.UniqueID }, "the person's ID in your system"},
	{"first-name", func(t *token.Ticket) *string { return &t.FirstName }, "the person's first name"},
	{"last-name", func(t *token.Ticket) *string { return &t.LastName }, "the person's last name"},
	{"phone1", func(t *token.Ticket) *string { return &t.Phone1 }, "the person's phone number in E.164 form, such as +442501234567"},
	{"remark", func(t *token.Ticket) *string { return &t.Remark }, "a line of text"},
	{"channel", func(t *token.Ticket) *string { return &t.Channel }, "customers: the ticket is good in the channel with this internal ID only"},
	{"actor", func(t *token.Ticket) *string { return &t.Actor }, "who asks for the ticket, for the verifier's log"},
}

func (a *app) issueCommand() *cobra.Command {
	var i issue
	cmd := &cobra.Command{
		Use:   "issue --brand BRAND (--username NAME | --email ADDRESS | --unique-id ID | --phone1 NUMBER)",
		Short: "Issue a ticket and print it",
		Long: fmt.Sprintf(`issue seals a ticket under the keyring's primary key and prints it, or, with
--login-url or --chat-url, the whole URL that lets the person in.

With --username it is an agent's ticket, for the login page; without it a
customer's, for the chat, which needs --email, --unique-id or --phone1. It is good
for %v (agents) or %v (customers) unless --expires-in says otherwise, and never
longer than the lifetime in the keyring's policy. Nobody checks here whether brand
and person exist, or agree with each other: the login service does.

Whoever has the ticket is let in as that person: keep it out of logs and of the
shell's history.`, token.AgentLifetime, token.CustomerLifetime),
		Example: `  ticket issue --keyring tickets.keyring --brand commbox --username john.d --one-time
  ticket issue --brand commbox --email jane@example.com --claim tier=gold --expires-in 2m
  ticket issue --brand commbox --username john.d --login-url https://login.example.com/login
  ticket issue --brand commbox --unique-id C-1 --channel web --chat-url https://apps.example.com --code CODE --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.keyringFlags(cmd)
	f := cmd.Flags()
	for _, text := range issueTexts {
		f.StringVar(text.of(&i.ticket), text.flag, "", text.usage)
	}
	f.StringArrayVar(&i.claims, "claim", nil, "`name=value` for the login service; repeatable")
	f.BoolVar(&i.ticket.OneTime, "one-time", false, "the ticket works once")
	f.BoolVar(&i.ticket.OverrideUserInfo, "override-user-info", false, "customers: at login the customer's record takes the ticket's data")
	f.DurationVar(&i.expiresIn, "expires-in", 0, "how long the ticket is good, such as 90s or 5m")
	f.StringVar(&i.loginURL, "login-url", "", "print the login page's `URL` with the ticket in it; agents")
	f.StringVar(&i.chatURL, "chat-url", "", "print URL/chat/CODE with the ticket in it, where `URL` is like https://apps.example.com; customers")
	f.StringVar(&i.code, "code", "", "the channel's code, as it stands in chat URLs")
	cmd.MarkFlagsRequiredTogether("chat-url", "code")
	cmd.MarkFlagsMutuallyExclusive("chat-url", "login-url")
	return cli.Command(cmd, func(*cobra.Command, []string) error {
		i.limited = f.Changed("expires-in")
		for _, name := range []string{"login-url", "chat-url", "code"} {
			if f.Changed(name) && f.Lookup(name).Value.String() == "" {
				return cli.Usagef("--%s is empty; give a value, or leave the flag out", name)
			}
		}
		for _, text := range issueTexts {
			// Most likely a shell variable that was not set: without its username,
			// say, an agent's ticket would become a customer's.
			if f.Changed(text.flag) && *text.of(&i.ticket) == "" {
				return cli.Usagef("--%s is empty; give a value, or leave the flag out", text.flag)
			}
		}
		return a.issue(i)
	})
}

func (a *app) issue(i issue) error {
	if err := i.check(); err != nil {
		return err
	}
	if err := token.CheckRealm(a.keys.Realm); err != nil {
		return cli.Usage(err)
	}
	if a.keyring == "" {
		return cli.Usagef("no keyring: give --keyring or set ADMITONE_KEYRING")
	}
	ring, err := a.openKeyring()
	if err != nil {
		return err
	}
	defer ring.Close()
	// No format 1 ticket can live longer than 2³²-1 ms, whatever the policy.
	longest := min(ring.Report().Policy.Lifetime, math.MaxUint32*time.Millisecond)
	issuer, err := token.NewIssuer(token.Config{Sealer: ring, Realm: a.keys.Realm, MaxLifetime: longest})
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
		err = a.print(issued{text, url, contentsOf(&t)})
	case url != "":
		_, err = fmt.Fprintln(a.stdout, url)
	default:
		_, err = fmt.Fprintln(a.stdout, text)
	}
	next := []string{"ticket", "inspect"}
	if a.keyring != os.Getenv(keyringVariable) {
		next = append(next, "--keyring", a.keyring)
	}
	a.sayNext(next...)
	return err
}

// check completes the ticket, and checks all that can be without the keyring.
func (i *issue) check() error {
	t := &i.ticket
	t.Audience = token.Customer
	if t.Username != "" {
		t.Audience = token.Agent
	} else if t.Email == "" && t.UniqueID == "" && t.Phone1 == "" {
		return cli.Usagef("no person: give --username for an agent's ticket, or at least one of --email, --unique-id and --phone1 for a customer's")
	}
	for _, claim := range i.claims {
		name, value, ok := strings.Cut(claim, "=")
		if !ok {
			return cli.Usagef("--claim is not name=value")
		}
		if _, repeated := t.Claims[name]; repeated {
			return cli.Usagef("--claim gives one name twice; a name has one value")
		}
		if t.Claims == nil {
			t.Claims = make(map[string]string)
		}
		t.Claims[name] = value
	}
	if i.limited && i.expiresIn <= 0 {
		return cli.Usagef("--expires-in is %v; give a time to come, such as 90s", i.expiresIn)
	}
	t.Lifetime = i.expiresIn
	if err := t.Validate(); err != nil {
		return cli.Usage(err)
	}
	switch {
	case t.Audience == token.Agent && i.chatURL != "":
		return cli.Usagef("--chat-url is for customers' tickets; for an agent's give --login-url")
	case t.Audience == token.Customer && i.loginURL != "":
		return cli.Usagef("--login-url is for agents' tickets; for a customer's give --chat-url and --code")
	}
	_, err := i.url("TICKET") // before there is one that could get lost
	return err
}

// url returns the URL that was asked for, with the ticket, or "".
func (i *issue) url(ticket string) (url string, err error) {
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
