// Command bench measures admitone beside the floor and beside other programs and packages,
// in one run. bench is a module of its own: the other packages stay out of admitone's
// requirements.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/internal/servers"
)

const help = `bench measures admitone beside its floor and beside other programs and packages. Rounds of
all contenders alternate, and each figure is the median of the rounds. The tables go to
standard output in Markdown, and the progress to standard error. bench needs Linux and Go.

  tickets  issuing and checking tickets, beside Fernet, securecookie, JOSE and PASETO
  replay   the replay stores. Redis and PostgreSQL are started if they are installed
  check    the session check of a proxy, beside oauth2-proxy, which is downloaded and built
  http     ticketd beside a bare net/http handler
  shared   redemptions over HTTP with Redis and PostgreSQL, beside the store in memory and
           beside the store's client
  start    time to ready, and memory of an idle service
  size     the size of the programs, and the modules that make it
  soak     a million tickets over HTTP: exits with 1 if a ticket is admitted twice, a good
           ticket is refused, or ticketd leaks memory, goroutines or descriptors. Runs only
           if -only names it

Usage:
  go run . [flags]

Examples:
  go run .
  go run . -only tickets,replay
  go run . -only http -clients 64 -route redeem -stores memory,journal,redis,postgres
  go run . -only soak -stores journal
  go run . -quick -json

Flags:
`

// bench is a run of the program.
type bench struct {
	dir     string // temporary
	host    *host
	clients []int
	stores  []string // replay stores of ticketd
	route   string   // part of the names of routes
	rounds  int
	time    time.Duration // of a round
	tickets int           // in a round of tickets
	soak    int           // tickets of the soak

	built *service // nil before service
}

func main() {
	if file := os.Getenv(bareVariable); file != "" {
		fmt.Fprintln(os.Stderr, bare(file))
		os.Exit(1)
	}
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errUsage marks a mistake on the command line.
var errUsage = errors.New("run go run . -help for the flags")

// run is main without the process.
func run(args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(stderr, help)
		set.PrintDefaults()
	}
	only := set.String("only", "tickets,replay,check,http,shared,audit,start,size",
		"`tables` to print, separated by commas")
	clients := set.String("clients", "1,16,64,256",
		"`numbers` of keep-alive clients of check, http, shared and audit")
	stores := set.String("stores", "memory,journal", "replay `stores` of ticketd for http: memory, journal, redis, "+
		"postgres; soak takes the first")
	set.StringVar(&b.route, "route", "", "measure only routes of http with this `text` in their name")
	set.IntVar(&b.rounds, "rounds", 5, "`number` of rounds, without the warm-up")
	set.DurationVar(&b.time, "time", time.Second, "`time` of a round")
	set.IntVar(&b.soak, "soak-tickets", 1_000_000, "`number` of tickets of the soak")
	asJSON := set.Bool("json", false, "print JSON, one table a line, in place of Markdown")
	quick := set.Bool("quick", false, "tiny rounds, to see that all works; the figures mean nothing")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w", errUsage)
	case set.NArg() > 0:
		return fmt.Errorf("bench takes no argument %q; %w", set.Arg(0), errUsage)
	}
	b.tickets = 2000
	if *quick {
		b.tickets, b.rounds, b.time, b.soak = 100, 1, 20*time.Millisecond, 2000
		*clients = "2"
	}
	for c := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("-clients: %q is not a number from 1 to 10000; %w", c, errUsage)
		}
		b.clients = append(b.clients, n)
	}
	b.stores = strings.Split(*stores, ",")
	for _, s := range b.stores {
		if !slices.Contains([]string{"memory", "journal", "redis", "postgres"}, s) {
			return fmt.Errorf("-stores: %q is none of memory, journal, redis and postgres; %w", s, errUsage)
		}
	}
	if b.rounds < 1 || b.time <= 0 || b.soak < 1 {
		return fmt.Errorf("-rounds, -time and -soak-tickets must be above 0; %w", errUsage)
	}
	tables := map[string]func(func(*table) error) error{
		"tickets": b.ticketsTable, "replay": b.replayTable, "check": b.checkTable, "http": b.httpTable,
		"shared": b.sharedTable, "audit": b.auditTable, "start": b.startTable, "size": b.sizeTable, "soak": b.soakTable,
	}
	names := strings.Split(*only, ",")
	for _, name := range names {
		if tables[name] == nil {
			return fmt.Errorf("-only: %q is none of tickets, replay, check, http, shared, audit, start, size and soak; %w", name,
				errUsage)
		}
	}
	if b.dir, err = os.MkdirTemp("", "admitone-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.host = &host{Host: servers.NewHost(b.dir)}
	defer b.host.End()
	emit := func(t *table) error { return t.markdown(stdout) }
	if *asJSON {
		emit = func(t *table) error { return writeJSON(stdout, t) }
	}
	for _, name := range names {
		if err := tables[name](emit); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// progress writes the present step to standard error.
func (b *bench) progress(text string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(text, args...))
}

// service returns the service. The first call builds it.
func (b *bench) service() (*service, error) {
	if b.built != nil {
		return b.built, nil
	}
	b.progress("building ticketd")
	exe, err := build(b.dir, "ticketd")
	if err != nil {
		return nil, err
	}
	s, err := newService(b.dir, exe)
	b.built = s
	return s, err
}

// store returns the flag of ticketd for a replay store.
func (b *bench) store(name string) (string, error) {
	switch name {
	case "journal":
		return "journal:", nil
	case "redis":
		return b.host.redis()
	case "postgres":
		return b.host.postgres()
	}
	return name, nil
}
