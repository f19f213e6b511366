package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// The demo's brand, agent and channel: those of the ticket API's documentation.
const (
	demoBrand   = "commbox"
	demoChannel = "webchat"
)

// demoAgent is the demo's agent, as --json shows it.
type demoAgent struct {
	Username  string `json:"username"`
	Email     string `json:"email"`
	Phone1    string `json:"phone1"`
	UniqueID  string `json:"uniqueId"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
}

var john = demoAgent{"john.d", "john.d@gmail.com", "+442501234567", "123456", "John", "Doe"}

// demoInfo is what the demo prints, with --json as it is.
type demoInfo struct {
	URL      string    `json:"url"`
	APIKey   string    `json:"apiKey"`
	Brand    string    `json:"brand"`
	Agent    demoAgent `json:"agent"`
	Channel  string    `json:"channel"`
	LoginURL string    `json:"loginUrl"`
	ChatURL  string    `json:"chatUrl"`
}

func demoCommand(stdout, stderr io.Writer) *cobra.Command {
	var o options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: a whole service with one brand, agent and channel",
		Long: `demo makes keys, a directory with the brand commbox, its agent john.d and one
chat channel, and an API key; prints what to try; and serves until it is
interrupted. Without --data its state is in a temporary folder and goes with it;
with --data it stays there, and the next demo or serve starts from it.`,
		Example: `  ticketd demo
  ticketd demo --listen 127.0.0.1:8080 --data ./demo
  ticketd demo --json`,
		Args: cobra.NoArgs,
	}
	o.flags(cmd, "127.0.0.1:0", memoryStore)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd, serviceFlags(cmd)...); err != nil {
			return err
		}
		if err := o.check(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // its terminal was closed
		defer stop()
		return demo(ctx, o, asJSON, stdout, stderr)
	})
}

func demo(ctx context.Context, o options, asJSON bool, stdout, stderr io.Writer) error {
	log := o.log.open(stderr, new(slog.LevelVar))
	if o.data == "" {
		dir, err := os.MkdirTemp("", "ticketd-demo-")
		if err != nil {
			return fmt.Errorf("making a temporary folder: %w", err)
		}
		defer os.RemoveAll(dir)
		o.data = dir
	} else if err := os.MkdirAll(o.data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := lockData(o)
	if err != nil {
		return err
	}
	ownKeys, err := makeKeys(o)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s, err := openService(ctx, o, ownKeys, lock, log)
	if err != nil {
		return err
	}
	defer s.close()
	info, err := s.makeDirectory(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(stdout).Encode(info)
	} else {
		_, err = io.WriteString(stdout, info.text(o.maxLifetime)+s.rotation())
	}
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

// makeDirectory fills the directory with what is not there yet, and returns what
// to try.
func (s *service) makeDirectory(ctx context.Context) (demoInfo, error) {
	d := s.directory
	put := func(err error, make func() error) error {
		if errors.Is(err, directory.ErrNotFound) {
			return make()
		}
		return err
	}
	_, err := d.Brand(ctx, demoBrand)
	if err := put(err, func() error {
		return d.AddBrand(ctx, directory.Brand{Name: demoBrand})
	}); err != nil {
		return demoInfo{}, err
	}
	_, err = d.Agent(ctx, demoBrand, john.Username)
	if err := put(err, func() error {
		return d.AddAgent(ctx, directory.Agent{
			Brand: demoBrand, Username: john.Username, Email: john.Email, Phone1: john.Phone1,
			UniqueID: john.UniqueID, FirstName: john.FirstName, LastName: john.LastName, Active: true,
		})
	}); err != nil {
		return demoInfo{}, err
	}
	_, err = d.Channel(ctx, demoBrand, demoChannel)
	if err := put(err, func() error {
		return d.AddChannel(ctx, directory.Channel{Brand: demoBrand, ID: demoChannel, Name: "Web chat"})
	}); err != nil {
		return demoInfo{}, err
	}
	apiKey, err := s.demoKey(ctx)
	if err != nil {
		return demoInfo{}, err
	}
	code, err := s.channels.Code(demoBrand, demoChannel)
	if err != nil {
		return demoInfo{}, err
	}
	return demoInfo{
		URL: s.opts.publicURL, APIKey: apiKey, Brand: demoBrand, Agent: john, Channel: demoChannel,
		LoginURL: s.opts.publicURL + "/login", ChatURL: s.opts.publicURL + "/chat/" + code,
	}, nil
}

// demoKey returns the demo's API key. The directory knows its hash only, so a
// demo that is to start again keeps it in a file.
func (s *service) demoKey(ctx context.Context) (string, error) {
	path := s.opts.dataFile("demo.apikey")
	kept, err := os.ReadFile(path)
	if err == nil {
		key := strings.TrimSpace(string(kept))
		if _, err := s.directory.Authenticate(ctx, key, time.Now()); err == nil {
			return key, nil
		}
		// Revoked, or of another directory: make a new one.
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the demo's API key: %w", err)
	}
	key, err := s.directory.CreateAPIKey(ctx, directory.APIKey{
		Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}, Brands: []string{demoBrand}, Note: "demo",
	})
	if err != nil {
		return "", err
	}
	return key, durable.WriteFile(path, []byte(key+"\n"), 0o600)
}

// text says what to try.
func (i demoInfo) text(maxLifetime time.Duration) string {
	var b strings.Builder
	curl := func(body string) {
		fmt.Fprintf(&b, "  curl -s %s/auth/ticket -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '%s'\n\n", i.URL, i.APIKey, body)
	}
	fmt.Fprintf(&b, `admitone demo: brand %s, agent %s (%s %s), channel %s
API key: %s

1. Get a ticket for the agent, good once and for %d seconds:

`, i.Brand, i.Agent.Username, i.Agent.FirstName, i.Agent.LastName, i.Channel, i.APIKey, int(min(token.AgentLifetime, maxLifetime).Seconds()))
	curl(fmt.Sprintf(`{"data":{"brand":%q,"username":%q,"email":%q,"uniqueId":%q,"firstName":%q,"lastName":%q,"phone1":%q,"oneTimeUse":true}}`,
		i.Brand, i.Agent.Username, i.Agent.Email, i.Agent.UniqueID, i.Agent.FirstName, i.Agent.LastName, strings.TrimPrefix(i.Agent.Phone1, "+")))
	fmt.Fprintf(&b, `2. Log in: open this in a browser with the answer's encpryptedString for TICKET:

  %s?ta=TICKET

3. The same for a customer's chat, good for %d seconds:

`, i.LoginURL, int(min(token.CustomerLifetime, maxLifetime).Seconds()))
	curl(fmt.Sprintf(`{"data":{"brand":%q,"email":"jane@example.com","firstName":"Jane","oneTimeUse":true}}`, i.Brand))
	fmt.Fprintf(&b, "  %s?ta=TICKET\n\n", i.ChatURL)
	return b.String()
}

// rotation says how to rotate the demo's keys.
func (s *service) rotation() string {
	args := []string{"keyring", "rotate", s.opts.dataFile(keyringFile(keyring.Ticket)), "--now", "--kek", s.opts.kekURI()}
	if s.opts.realm != "" {
		args = append(args, "--realm", s.opts.realm)
	}
	return "4. Rotate the ticket keys meanwhile:\n\n  " + cli.Line(args...) + "\n\nCtrl-C ends it.\n"
}
