package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

const (
	followEvery  = time.Second      // between two looks for new events
	followWindow = 20 * time.Second // in which an event may appear after another with a higher ID
	maxAudit     = 1_000_000        // largest --limit
)

// Actor returns the user of this machine who runs the command.
func Actor() directory.Actor {
	a := directory.Actor{Kind: directory.ActorShell}
	if u, err := user.Current(); err == nil {
		a.Name = u.Username
	}
	a.Machine, _ = os.Hostname() // "" if unknown
	return a
}

// auditor prints events.
type auditor struct {
	*shell
	filter                      directory.EventFilter
	ticket, agent, since, until string
	limit                       int
	follow                      bool
}

func auditCommand(s *shell) *cobra.Command {
	a := auditor{shell: s}
	cmd := &cobra.Command{
		Use: "audit", Short: "Show the audit trail", Args: cobra.NoArgs,
		Long: `audit prints events of the audit trail, the newest last: the uses of tickets, and the
changes of brands, agents, channels, customers and API keys, with who made them and
from where. An event has the names of the fields that changed. It has no personal
values, apart from usernames and the addresses of clients.

The uses of tickets are written a moment after they happened. An event audit.gap or
audit.dropped says that some may be missing.`,
		Example: "  ticketd audit --data /var/lib/ticketd\n" +
			"  ticketd audit --ticket 37e1a6413719c9386583ff9c492b9039 --data /var/lib/ticketd\n" +
			"  ticketd audit --brand commbox --agent john.d --since 24h --data /var/lib/ticketd\n" +
			"  ticketd audit --action key. --json --data /var/lib/ticketd\n" +
			"  ticketd audit --follow --data /var/lib/ticketd",
	}
	f := cmd.Flags()
	f.StringVar(&a.ticket, "ticket", "", "events of one `ticket`: its ID, the ticket, or the URL with the ticket")
	f.StringVar(&a.filter.Issuer, "issuer", "", "events of tickets of this named `issuer`")
	f.StringVar(&a.agent, "agent", "", "events about the agent with this `username`")
	f.StringVar(&a.filter.Brand, "brand", "", "events of this `brand` (default: all, and the deployment's)")
	f.StringVar(&a.since, "since", "",
		"events from this `time` on: a duration before now such as 24h or 30d, 2026-11-21 (UTC), or 2026-11-21T12:00:00Z")
	f.StringVar(&a.until, "until", "", "events before this `time`, as --since")
	f.StringVar(&a.filter.Action, "action", "",
		"events of this `action`, such as agent.set, or with a dot at the end: agent.")
	f.StringVar(&a.filter.Actor, "actor", "",
		"events by this `actor`: ID of an API key, administrator, or user of a shell")
	f.IntVar(&a.limit, "limit", 100, "largest `number` of events, the newest ones")
	f.BoolVar(&a.follow, "follow", false, "go on printing events as they are written")
	s.offerBrands(cmd, "brand")
	settings.AddKeyFlags(f, &s.place)
	return s.command(cmd, func(ctx context.Context, db store, cmd *cobra.Command, _ []string) error {
		if err := settings.FromEnvironment(cmd, "keyrings", "realm", "kek"); err != nil {
			return err
		}
		if err := a.complete(ctx, db); err != nil {
			return err
		}
		return a.run(ctx, db)
	})
}

// complete completes the filter from the flags.
func (a *auditor) complete(ctx context.Context, db store) (err error) {
	if a.limit < 1 || a.limit > maxAudit {
		return cli.Flagf("limit", "%d is not from 1 to %d", a.limit, maxAudit)
	}
	a.filter.AllBrands = a.filter.Brand == ""
	if a.agent != "" {
		a.filter.Kind, a.filter.Name = "agent", a.agent
	}
	now := time.Now()
	if a.filter.Since, err = auditTime("since", a.since, now); err != nil {
		return err
	}
	if a.filter.Until, err = auditTime("until", a.until, now); err != nil {
		return err
	}
	if a.follow && a.until != "" {
		return cli.Flagf("follow", "has no end, and --until has; leave one of them out")
	}
	if !a.filter.AllBrands {
		// The trail of a removed brand stays, so an unknown brand is no error if it has events.
		events, err := newest(db.Events(ctx, directory.EventFilter{Brand: a.filter.Brand}), 1)
		if err == nil && len(events) == 0 {
			_, err = db.Brand(ctx, a.filter.Brand)
		}
		if err != nil {
			return err
		}
	}
	if ticketIn(a.ticket) != "" {
		r := revoker{shell: a.shell, db: db}
		defer r.close()
		t, err := r.open(ctx, ticketIn(a.ticket))
		if err != nil {
			return err
		}
		a.filter.Ticket = t.ID.String()
	} else if a.ticket != "" {
		id, err := directory.ParseTicketID(a.ticket)
		if err != nil {
			return cli.Flagf("ticket", "is neither a ticket nor a ticket's ID, which has 32 hexadecimal digits")
		}
		a.filter.Ticket = id.String()
	}
	return nil
}

// auditTime parses a time: a duration before now, a date in UTC, or a time of RFC 3339.
func auditTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, cli.Flagf(flag,
		"is neither a duration such as 24h or 30d, nor a time such as 2026-11-21 or 2026-11-21T12:00:00Z")
}

// run prints the newest events, and then, if asked, the events to come.
func (a *auditor) run(ctx context.Context, db store) error {
	last, err := db.LastEvent(ctx, a.filter)
	if err != nil {
		return err
	}
	events, err := newest(db.Events(ctx, a.filter), a.limit)
	if err != nil {
		return err
	}
	slices.Reverse(events)
	for i := range events {
		if err := a.print(&events[i]); err != nil {
			return err
		}
	}
	if !a.follow {
		return nil
	}
	return a.goOn(ctx, db, last, events)
}

// newest returns up to limit events.
func newest(all iter.Seq2[directory.Event, error], limit int) (events []directory.Event, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		if events = append(events, e); len(events) == limit {
			break
		}
	}
	return events, nil
}

// goOn prints the events that are written after the event with the ID last. Events that
// appear after others with a higher ID are printed when they appear.
func (a *auditor) goOn(ctx context.Context, db store, last int64, printed []directory.Event) error {
	seen := make(map[int64]time.Time)
	for _, e := range printed {
		seen[e.ID] = time.Now()
	}
	type mark struct {
		at   time.Time
		last int64
	}
	marks := []mark{{time.Now(), last}} // where the window may begin, the oldest first
	for {
		select {
		case <-ctx.Done():
			return nil // Ctrl-C ends it
		case <-time.After(followEvery):
		}
		now := time.Now()
		for len(marks) > 1 && now.Sub(marks[1].at) > followWindow {
			marks = marks[1:]
		}
		for id, at := range seen {
			if id <= marks[0].last && now.Sub(at) > followWindow {
				delete(seen, id)
			}
		}
		after := marks[0].last
		for {
			events, next, err := db.NewEvents(ctx, a.filter, after, 1000)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			for i := range events {
				if _, known := seen[events[i].ID]; known {
					continue
				}
				seen[events[i].ID] = now
				if err := a.print(&events[i]); err != nil {
					return err
				}
			}
			if next == after {
				break
			}
			after = next
		}
		marks = append(marks, mark{now, after})
	}
}

// print prints an event: as JSON, or as a line for people.
func (a *auditor) print(e *directory.Event) error {
	if a.json {
		return json.NewEncoder(a.stdout).Encode(eventMembers(e))
	}
	parts := []string{e.At.Format("2006-01-02T15:04:05.000Z"), e.Action}
	add := func(label, text string) {
		if text != "" {
			parts = append(parts, label+text)
		}
	}
	add("brand=", e.Brand)
	if e.Kind != "" && e.Kind != "brand" {
		add(e.Kind+"=", e.Name)
	}
	add("ticket=", e.Ticket)
	add("issuer=", e.Issuer)
	add("signing_key=", e.SigningKey)
	add("fields=", strings.Join(e.Fields, ","))
	add("reason=", quoted(e.Reason))
	if e.Count > 1 {
		add("count=", fmt.Sprint(e.Count))
	}
	by := string(e.Actor.Kind)
	if e.Actor.Name != "" {
		by += ":" + e.Actor.Name
	}
	add("by=", by)
	add("machine=", e.Actor.Machine)
	add("from=", e.Actor.Remote)
	add("", e.Details)
	_, err := fmt.Fprintln(a.stdout, strings.Join(parts, " "))
	return err
}

// quoted returns a text of several words in quotation marks.
func quoted(text string) string {
	if strings.ContainsAny(text, ` "`) {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// eventMembers returns an event as a JSON object. Empty members are left out.
func eventMembers(e *directory.Event) map[string]any {
	object := map[string]any{
		"id": e.ID, "at": e.At, "action": e.Action, "brand": e.Brand, "count": e.Count, "actorKind": string(e.Actor.Kind),
	}
	for name, text := range map[string]string{
		"actor": e.Actor.Name, "machine": e.Actor.Machine, "remote": e.Actor.Remote, "kind": e.Kind, "name": e.Name,
		"ticket": e.Ticket, "issuer": e.Issuer, "ticketKey": e.TicketKey, "signingKey": e.SigningKey, "reason": e.Reason,
	} {
		if text != "" {
			object[name] = text
		}
	}
	if len(e.Fields) > 0 {
		object["fields"] = e.Fields
	}
	if e.Details != "" {
		object["details"] = json.RawMessage(e.Details)
	}
	return object
}
