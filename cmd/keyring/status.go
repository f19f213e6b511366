package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// status is the JSON of status.
type status struct {
	File string `json:"file"`
	keyring.Info
	Keys     []keyStatus     `json:"keys"` // in place of Info's
	Plan     keyring.Plan    `json:"plan"`
	Warnings []string        `json:"warnings,omitempty"`
	Services []serviceStatus `json:"services,omitempty"` // of --from
	Use      []keyTotal      `json:"use,omitempty"`      // by all services, of the keys that open
	Exit     int             `json:"exit"`
}

type keyStatus struct {
	keyring.Key
	PromoteFrom time.Time `json:"promoteFrom,omitzero"` // earliest promotion of a pending key
	DisableFrom time.Time `json:"disableFrom,omitzero"` // end of the time for which a retiring key is needed
	DestroyFrom time.Time `json:"destroyFrom,omitzero"` // time at which the policy destroys a disabled key
}

func (a *app) statusCommand() *cobra.Command {
	var r readFlags
	var from services
	cmd := &cobra.Command{
		Use:   "status FILE",
		Short: "Show each key: its state, its age and its next step",
		Long: `status opens FILE and shows the keys, the next steps of the policy, and a timeline.
The KEK authenticates the whole file, unless the keyring is in clear.

With --from status also asks services for their keyrings: generation and fingerprint,
the time since the service last read its file, and how often each key sealed and opened
since the service was started. So you see which services still use a retiring key, and
how much of the 2^32 messages of an AES256_GCM key is spent. Give the URL of ticketd's
--metrics-listen, or of another service that serves a report at /keyring.

Exit codes: 3 if a step is due, 4 if a step is overdue, 1 if a service cannot be reached
or has another keyring.`,
		Example: `  keyring status tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring status tickets.keyring --from http://login1:9464,http://login2:9464 --realm prod --kek file:/etc/admitone/kek
  keyring status tickets.keyring --json | jq -r .primary`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	from.flags(cmd, "from", "ask these services for the state of their keyrings")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if err := from.check(cmd.Flags().Lookup("from")); err != nil {
			return err
		}
		_, info, err := a.read(args[0], changeFlags{readFlags: r})
		if err != nil {
			return err
		}
		if isSigned(info.Kind) {
			return a.showSigned(args[0], info)
		}
		s := newStatus(args[0], info, time.Now())
		if len(from.urls) > 0 {
			s.addServices(from.ask(cmd.Context(), info))
		}
		return a.showStatus(s)
	})
}

// isSigned reports whether files of a kind are signed, and hold public keys only.
func isSigned(k keyring.Kind) bool {
	return k == keyring.IssuerPublic || k == keyring.RecipientPublic || k == keyring.Trust
}

// showSigned shows a signed file, which has no keys in its header.
func (a *app) showSigned(file string, info keyring.Info) error {
	a.say("%s: signed file of kind %s, realm %q, generation %d", file, info.Kind, info.Realm, info.Generation)
	a.say("sha256 %s", info.Fingerprint)
	a.suggest(file, info, time.Now())
	return a.printJSON(status{File: file, Info: info})
}

func newStatus(file string, info keyring.Info, now time.Time) status {
	s := status{File: file, Info: info, Plan: info.Plan(now), Warnings: info.Warnings()}
	for _, k := range info.Keys {
		p := info.Policy
		s.Keys = append(s.Keys, keyStatus{k, p.PromoteFrom(k), p.DisableFrom(k), p.DestroyFrom(k)})
	}
	s.Exit = dueCode(s.Plan)
	return s
}

// addServices adds the reports of services.
func (s *status) addServices(reports []serviceStatus) {
	s.Services = reports
	s.Use = totals(s.Info, reports)
	if slices.ContainsFunc(reports, func(r serviceStatus) bool { return r.bad() }) {
		s.Exit = exitFailed
	}
}

func (a *app) showStatus(s status) error {
	a.code = s.Exit
	if !a.json {
		a.tellStatus(s)
	}
	a.warn(s.Info)
	a.suggest(s.File, s.Info, s.Plan.Made)
	return a.printJSON(s)
}

// sealedBy tells what the keys of a kind seal, or sign.
var sealedBy = map[keyring.Kind]string{
	keyring.Ticket:    "tickets",
	keyring.Session:   "sessions",
	keyring.Channel:   "channel codes",
	keyring.Issuer:    "tickets",
	keyring.Recipient: "tickets",
}

func (a *app) tellStatus(s status) {
	integrity := ""
	if a.keys.Cleartext() {
		integrity = " (in clear: nothing below is authenticated)"
	}
	a.say("%s: %s keyring of realm %q, generation %d, KEK %s%s",
		s.File, s.Kind, s.Realm, s.Generation, s.KEK, integrity)
	a.say("sha256 %s", s.Fingerprint)
	a.say("policy: %s\n", policyLine(s.Policy))
	now := s.Plan.Made
	rows := [][]string{{"KEY", "STATE", "AGE", "ALGORITHM", "NOW", "NEXT"}}
	for _, k := range s.Keys {
		rows = append(rows, []string{
			k.ID.String(), string(k.State), age(now, k.Created), k.Algorithm, effect(s.Kind, k), s.next(k, now),
		})
	}
	a.table(rows, func(column int, text string) string {
		if column == 1 {
			return stateColour[keyring.State(text)]
		}
		return ""
	})
	a.timeline(s, now)
	a.tellServices(s)
}

var stateColour = map[keyring.State]string{
	keyring.Primary: green, keyring.Pending: bold, keyring.Retiring: yellow, keyring.Disabled: dim, keyring.Staged: dim,
}

func policyLine(p keyring.Policy) string {
	var parts []string
	add := func(name string, d time.Duration, zero string) {
		switch {
		case d != 0:
			parts = append(parts, name+" "+span(d).String())
		case zero != "":
			parts = append(parts, zero)
		}
	}
	add("rotate every", p.RotateEvery, "rotated by hand only")
	add("propagation", p.Propagation, "propagation 0s")
	add("published", p.Published, "")
	add("lifetime", p.Lifetime, "lifetime without end")
	add("skew", p.Skew, "skew 0s")
	add("destroy after", p.DestroyAfter, "destroyed by hand only")
	return strings.Join(parts, ", ")
}

// effect tells the present use of a key.
func effect(kind keyring.Kind, k keyStatus) string {
	switch k.State {
	case keyring.Primary:
		switch kind {
		case keyring.Issuer:
			return "signs tickets since " + stamp(k.Promoted)
		case keyring.Recipient:
			return "opens tickets, sealed for it since " + stamp(k.Promoted)
		}
		return fmt.Sprintf("seals %s since %s", sealedBy[kind], stamp(k.Promoted))
	case keyring.Retiring:
		if kind == keyring.Issuer {
			return "signed tickets until " + stamp(k.Demoted)
		}
		return fmt.Sprintf("opens %s sealed until %s", sealedBy[kind], stamp(k.Demoted))
	case keyring.Pending:
		switch kind {
		case keyring.Issuer:
			return "signs nothing yet, until others know it"
		case keyring.Recipient:
			return "opens, nothing is sealed for it yet"
		}
		return "opens, does not seal yet"
	case keyring.Staged:
		return "opens nothing yet"
	}
	text := "opens nothing since " + stamp(k.Disabled)
	if kind == keyring.Issuer {
		text = "signs nothing since " + stamp(k.Disabled)
	}
	if k.Revoked {
		text = "revoked, " + text
	}
	return text
}

// next tells the next step for a key, and its time.
func (s status) next(k keyStatus, now time.Time) string {
	at := func(step string, t time.Time) string {
		if !t.After(now) {
			return step + " is due"
		}
		return fmt.Sprintf("%s %s, %s", step, when(now, t), stampFrom(t))
	}
	reason := ""
	if k.Reason != "" {
		reason = ": " + k.Reason
	}
	if k.Held && k.State != keyring.Retiring {
		return "held" + reason
	}
	switch k.State {
	case keyring.Primary:
		for _, p := range s.Plan.Steps {
			switch p.Do {
			case keyring.Rotate:
				return at("a new key", p.At)
			case keyring.Promote:
				return at("retires for "+p.Key.String(), p.At)
			}
		}
		return "stays until it is rotated by hand"
	case keyring.Pending:
		for _, p := range s.Plan.Steps {
			if p.Do == keyring.Promote && p.Key == k.ID {
				return at("primary", p.At)
			}
		}
		return "waits for the pending key before it"
	case keyring.Retiring:
		text := "kept: channel codes have no end"
		if !k.DisableFrom.IsZero() {
			text = at("disabled", k.DisableFrom)
		}
		if k.Held {
			text += "; held" + reason
		}
		return text
	case keyring.Staged:
		return "enable the key when every service knows its algorithm"
	}
	if k.DestroyFrom.IsZero() {
		return "kept until it is destroyed by hand" + reason
	}
	return at("destroyed", k.DestroyFrom) + reason
}

// event is a line of the timeline.
type event struct {
	at   time.Time
	text string
}

// pastEvents is the number of past events in the timeline.
const pastEvents = 8

// timeline shows past and planned events, with a line for now between them.
func (a *app) timeline(s status, now time.Time) {
	var past []event
	for _, k := range s.Keys {
		for _, e := range []event{
			{k.Created, "made"}, {k.Promoted, "became the primary"},
			{k.Demoted, "ceased to be the primary"}, {k.Disabled, "was disabled"},
		} {
			if !e.at.IsZero() {
				past = append(past, event{e.at, k.ID.String() + " " + e.text})
			}
		}
	}
	slices.SortStableFunc(past, func(a, b event) int { return a.at.Compare(b.at) })
	a.say("\n%s", a.paint(bold, "TIMELINE (UTC)"))
	if n := len(past) - pastEvents; n > 0 {
		a.say("  … %d earlier events; keyring audit shows all", n)
		past = past[n:]
	}
	var rows [][]string
	for _, e := range past {
		rows = append(rows, []string{"  " + stamp(e.at), age(now, e.at) + " ago", e.text})
	}
	rows = append(rows, []string{"  " + stamp(now), "now", strings.Repeat("-", 24)})
	for _, p := range s.Plan.Steps {
		rows = append(rows, []string{"  " + stampFrom(p.At), when(now, p.At), describe(p.Step)})
		if p.Urgency != keyring.Upcoming {
			rows[len(rows)-1][2] += " (" + string(p.Urgency) + ")"
		}
	}
	a.table(rows, func(column int, text string) string {
		switch {
		case text == "now":
			return bold
		case strings.HasSuffix(text, "("+string(keyring.Overdue)+")"):
			return red
		case strings.HasSuffix(text, "("+string(keyring.Due)+")"):
			return yellow
		}
		return ""
	})
}
