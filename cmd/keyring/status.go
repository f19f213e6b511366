package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// status is what status prints with --json.
type status struct {
	File string `json:"file"`
	keyring.Info
	Keys []keyStatus `json:"keys"` // in place of Info's
}

type keyStatus struct {
	keyring.Key
	DisableFrom time.Time `json:"disableFrom,omitzero"` // from when a retiring key is needed no more
}

func (a *app) statusCommand() *cobra.Command {
	return cli.Command(&cobra.Command{
		Use:   "status FILE",
		Short: "Show each key: its state, its age, what it opens",
		Long: `status opens FILE and shows its keys. All that it shows is authenticated by the
KEK, unless the keyring is in clear.`,
		Example: `  keyring status tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring status tickets.keyring --json | jq -r .primary`,
		Args: cobra.ExactArgs(1),
	}, func(_ *cobra.Command, args []string) error { return a.status(args[0], time.Now()) })
}

func (a *app) status(file string, now time.Time) error {
	c, err := a.keys.Config(keyring.AnyKind, false)
	if err != nil {
		return err
	}
	info, err := keyring.Read(file, c)
	if err != nil {
		return err
	}
	s := status{File: file, Info: info}
	var due *keyStatus
	for _, k := range info.Keys {
		s.Keys = append(s.Keys, keyStatus{k, info.Policy.DisableFrom(k)})
		if last := &s.Keys[len(s.Keys)-1]; due == nil && !last.DisableFrom.IsZero() && !now.Before(last.DisableFrom) {
			id := *last
			due = &id
		}
	}
	if a.json {
		err = a.print(s)
	} else {
		err = a.table(s, now)
	}
	if due != nil {
		a.sayNext("disable", file, due.ID.String())
	} else {
		a.sayNext("rotate", file, "--now")
	}
	return err
}

// things says what the keys of a kind seal.
var things = map[keyring.Kind]string{
	keyring.Ticket:  "tickets",
	keyring.Session: "sessions",
	keyring.Channel: "channel codes",
}

func (a *app) table(s status, now time.Time) error {
	integrity := ""
	if a.keys.Cleartext() {
		integrity = " (in clear: nothing below is authenticated)"
	}
	a.say("%s: %s keyring of realm %q, generation %d, KEK %s%s", s.File, s.Kind, s.Realm, s.Generation, s.KEK, integrity)
	a.say("sha256 %s", s.Fingerprint)
	lifetime := "none"
	if s.Policy.Lifetime != 0 {
		lifetime = s.Policy.Lifetime.String()
	}
	a.say("policy: lifetime %s, propagation %v, skew %v\n", lifetime, s.Policy.Propagation, s.Policy.Skew)
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tSTATE\tAGE\tALGORITHM\tOPENS")
	for _, k := range s.Keys {
		fmt.Fprintf(w, "%v\t%s\t%s\t%s\t%s\n", k.ID, k.State, age(now, k.Created), k.Algorithm, opens(s.Kind, k, now))
	}
	return w.Flush()
}

// opens says what a key is good for.
func opens(kind keyring.Kind, k keyStatus, now time.Time) string {
	switch {
	case k.State == keyring.Primary:
		return fmt.Sprintf("%s sealed since %s; seals new ones", things[kind], stamp(k.Promoted))
	case k.State == keyring.Disabled && k.Reason != "":
		return fmt.Sprintf("nothing since %s: %s", stamp(k.Disabled), k.Reason)
	case k.State == keyring.Disabled:
		return fmt.Sprintf("nothing since %s", stamp(k.Disabled))
	}
	text := fmt.Sprintf("%s sealed until %s", things[kind], stamp(k.Demoted))
	switch {
	case k.DisableFrom.IsZero():
		return text
	case now.Before(k.DisableFrom):
		return fmt.Sprintf("%s; needed until %s", text, stamp(k.DisableFrom))
	}
	return text + "; needed no more"
}

// age shows how long ago t was, roughly.
func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
