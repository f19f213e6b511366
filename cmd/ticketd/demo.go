package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// The brand and channel of the demo, as in the documentation of the ticket API.
const (
	demoBrand   = "commbox"
	demoChannel = "webchat"
)

// demoAgent is the demo's agent, as --json prints it.
type demoAgent struct {
	Username  string `json:"username"`
	Email     string `json:"email"`
	Phone1    string `json:"phone1"`
	UniqueID  string `json:"uniqueId"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
}

var john = demoAgent{"john.d", "john.d@gmail.com", "+442501234567", "123456", "John", "Doe"}

// demoInfo is the output of the demo, as --json prints it.
type demoInfo struct {
	ConsoleURL string    `json:"consoleUrl,omitempty"` // lets the administrator in, once
	URL        string    `json:"url"`
	APIKey     string    `json:"apiKey"`
	Brand      string    `json:"brand"`
	Agent      demoAgent `json:"agent"`
	Channel    string    `json:"channel"`
	LoginURL   string    `json:"loginUrl"`
	ChatURL    string    `json:"chatUrl"`
}

func demoCommand(stdout, stderr io.Writer) *cobra.Command {
	var flags settings.Service
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: a whole service with one brand, agent and channel",
		Long: `demo makes keys, a directory with the brand commbox, its agent john.d and one chat
channel, an API key, and an administrator of the whole deployment. It prints what to
try, and serves until it is interrupted.
Without --data the state is in a temporary folder and is removed at the end. With
--data the state stays there, and the next demo or serve starts from it.`,
		Example: `  ticketd demo
  ticketd demo --listen 127.0.0.1:8080 --data ./demo
  ticketd demo --json`,
		Args: cobra.NoArgs,
	}
	flags.AddFlags(cmd.Flags(), "127.0.0.1:0", "memory")
	flags.AddConsoleFlags(cmd.Flags(), "127.0.0.1:0", ` (empty: no console)`)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		config, err := flags.Load(cmd)
		if err != nil {
			return err
		}
		log := settings.NewLogWriter(stderr)
		defer log.Close()
		config.Log = flags.OpenLog(log)
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // the terminal was closed
		defer stop()
		return demo(ctx, config, asJSON, stdout)
	})
}

// demo makes what is missing in the data folder, prints what to try, and serves.
func demo(ctx context.Context, config service.Config, asJSON bool, stdout io.Writer) error {
	place := &config.State
	if place.Data == "" {
		dir, err := os.MkdirTemp("", "ticketd-demo-")
		if err != nil {
			return fmt.Errorf("making a temporary folder: %w", err)
		}
		defer os.RemoveAll(dir)
		place.Data = dir
	} else if err := os.MkdirAll(place.Data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := place.Lock()
	if err != nil {
		return err
	}
	newKeys, err := place.MakeKeys(config.MaxLifetime)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	settings.WarnOfVariables(config.Log, place.KEK)
	s, err := service.Open(ctx, config, lock, newKeys)
	if err != nil {
		return err
	}
	defer s.Close()
	info, err := makeDemo(ctx, s, place.File("demo.apikey"))
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(stdout).Encode(info)
	} else {
		_, err = io.WriteString(stdout, info.text(config.MaxLifetime)+rotation(*place))
	}
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// makeDemo adds the records that the directory lacks, and returns what to try. The
// file at keyPath keeps the API key.
func makeDemo(ctx context.Context, s *service.Service, keyPath string) (info demoInfo, err error) {
	d := s.Directory()
	_, err = d.Brand(ctx, demoBrand)
	if errors.Is(err, directory.ErrNotFound) {
		err = d.AddBrand(ctx, directory.Brand{Name: demoBrand})
	}
	if err != nil {
		return info, err
	}
	_, err = d.Agent(ctx, demoBrand, john.Username)
	if errors.Is(err, directory.ErrNotFound) {
		err = d.AddAgent(ctx, directory.Agent{
			Brand: demoBrand, Username: john.Username, Email: john.Email, Phone1: john.Phone1,
			UniqueID: john.UniqueID, FirstName: john.FirstName, LastName: john.LastName, Active: true,
		})
	}
	if err != nil {
		return info, err
	}
	_, err = d.Channel(ctx, demoBrand, demoChannel)
	if errors.Is(err, directory.ErrNotFound) {
		err = d.AddChannel(ctx, directory.Channel{Brand: demoBrand, ID: demoChannel, Name: "Web chat"})
	}
	if err != nil {
		return info, err
	}
	consoleURL, err := demoConsole(ctx, s)
	if err != nil {
		return info, err
	}
	apiKey, err := demoKey(ctx, d, keyPath)
	if err != nil {
		return info, err
	}
	chatURL, err := s.ChatURL(demoBrand, demoChannel)
	return demoInfo{
		ConsoleURL: consoleURL, URL: s.PublicURL(), APIKey: apiKey, Brand: demoBrand, Agent: john, Channel: demoChannel,
		LoginURL: s.PublicURL() + "/login", ChatURL: chatURL,
	}, err
}

// demoAdministrator is the demo's administrator of the whole deployment.
const demoAdministrator = "admin"

// demoConsole makes the demo's administrator, and returns a link to the console; "" without
// a console.
func demoConsole(ctx context.Context, s *service.Service) (string, error) {
	_, err := s.Directory().Administrator(ctx, demoAdministrator)
	if errors.Is(err, directory.ErrNotFound) {
		err = s.Directory().AddAdministrator(ctx, directory.Administrator{
			Username: demoAdministrator, Name: "Demo Admin", Role: directory.RoleAdmin, AllBrands: true, Active: true,
		})
	}
	if err != nil {
		return "", err
	}
	link, err := s.ConsoleLink(ctx, demoAdministrator, "demo")
	return link.URL, err
}

// demoKey returns the demo's API key. The directory has only the hash of a key, so a
// file keeps the key for the next demo.
func demoKey(ctx context.Context, d *directory.DB, path string) (string, error) {
	kept, err := os.ReadFile(path)
	if err == nil {
		key := strings.TrimSpace(string(kept))
		if _, err := d.Authenticate(ctx, key, time.Now()); err == nil {
			return key, nil
		}
		// Revoked, or of another directory: make a new key.
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the demo's API key: %w", err)
	}
	key, err := d.CreateAPIKey(ctx, directory.APIKey{
		Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}, Brands: []string{demoBrand}, Note: "demo",
	})
	if err != nil {
		return "", err
	}
	return key, durable.WriteFile(path, []byte(key+"\n"), 0o600)
}

// text returns instructions to try the demo.
func (i demoInfo) text(maxLifetime time.Duration) string {
	var b strings.Builder
	curl := func(body string) {
		fmt.Fprintf(&b, "  curl -s %s/auth/ticket -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' "+
			"-d '%s'\n\n", i.URL, i.APIKey, body)
	}
	if i.ConsoleURL != "" {
		fmt.Fprintf(&b, "Console, for the administrator %s, good once and for %d seconds:\n\n  %s\n\n", demoAdministrator,
			int(min(token.AdministratorLifetime, maxLifetime).Seconds()), i.ConsoleURL)
	}
	a := i.Agent
	fmt.Fprintf(&b, `admitone demo: brand %s, agent %s (%s %s), channel %s
API key: %s

1. Get a ticket for the agent, good once and for %d seconds:

`, i.Brand, a.Username, a.FirstName, a.LastName, i.Channel, i.APIKey,
		int(min(token.AgentLifetime, maxLifetime).Seconds()))
	curl(fmt.Sprintf(`{"data":{"brand":%q,"username":%q,"email":%q,"uniqueId":%q,`+
		`"firstName":%q,"lastName":%q,"phone1":%q,"oneTimeUse":true}}`,
		i.Brand, a.Username, a.Email, a.UniqueID, a.FirstName, a.LastName, strings.TrimPrefix(a.Phone1, "+")))
	fmt.Fprintf(&b, `2. Log in: open this URL in a browser, with the answer's encpryptedString in place of TICKET:

  %s?ta=TICKET

3. The same for a customer's chat, good for %d seconds:

`, i.LoginURL, int(min(token.CustomerLifetime, maxLifetime).Seconds()))
	curl(fmt.Sprintf(`{"data":{"brand":%q,"email":"jane@example.com","firstName":"Jane","oneTimeUse":true}}`, i.Brand))
	fmt.Fprintf(&b, "  %s?ta=TICKET\n\n", i.ChatURL)
	return b.String()
}

// rotation returns the command that rotates the ticket keys of a running demo.
func rotation(p state.Place) string {
	args := []string{"keyring", "rotate", p.KeyringFile(keyring.Ticket), "--now", "--kek", p.KEKURI()}
	if p.Realm != "" {
		args = append(args, "--realm", p.Realm)
	}
	return "4. Rotate the ticket keys meanwhile:\n\n  " + cli.Line(args...) + "\n\nCtrl-C ends it.\n"
}
