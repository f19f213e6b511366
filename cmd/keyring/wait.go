package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// waitFlags are the flags for services on which promote waits.
type waitFlags struct {
	services
	timeout span
}

func (w *waitFlags) flags(cmd *cobra.Command) {
	w.timeout = span(10 * time.Minute)
	w.services.flags(cmd, "wait-for", "wait until these services report that they have the key")
	cmd.Flags().Var(&w.timeout, "timeout", "longest time to wait for the services of --wait-for")
}

func (w *waitFlags) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("timeout") && len(w.given) == 0 {
		return cli.Flagf("timeout", "needs --wait-for")
	}
	if w.timeout <= 0 {
		return cli.Flagf("timeout", "must be more than 0s")
	}
	return w.services.check(cmd.Flags().Lookup("wait-for"))
}

// waitPoll is the time between two questions to a service.
const waitPoll = time.Second

func (a *app) promote(
	ctx context.Context, file string, id keyring.KeyID, o changeFlags, before bool, w waitFlags,
) error {
	c, info, err := a.read(file, o)
	if err != nil {
		return err
	}
	k, ok := pending(info, id)
	switch {
	case !ok && id != 0:
		return errNoKey(id)
	case !ok:
		return blockedError{errNothingPending, a.next("rotate", file)}
	}
	if len(w.urls) > 0 && k.State == keyring.Pending && !k.Held {
		from := info.Policy.PromoteFrom(k)
		if before {
			from = time.Time{}
		}
		if err := a.wait(ctx, info, k.ID, from, w); err != nil {
			return blockedError{err, a.next("status", file, "--from", strings.Join(w.redacted(), ","))}
		}
	}
	info, err = keyring.Change(file, c, o.reason, keyring.Step{Do: keyring.Promote, Key: k.ID, Unsafe: before})
	return a.changed(file, c, info, err, func(info keyring.Info) { a.tellPromoted(file, info) })
}

// wait waits until from, and until all services have the key. It reports the missing
// services whenever they change.
func (a *app) wait(ctx context.Context, info keyring.Info, id keyring.KeyID, from time.Time, w waitFlags) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.timeout))
	defer cancel()
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	told := ""
	for {
		missing := missingFrom(w.ask(ctx, info), info, id)
		if time.Now().Before(from) {
			missing = append(missing, fmt.Sprintf("the propagation delay ends at %s", stampFrom(from)))
		}
		if len(missing) == 0 {
			return nil
		}
		// After the deadline the answers are only about the deadline.
		if text := strings.Join(missing, "; "); told == "" || text != told && ctx.Err() == nil {
			told = text
			fmt.Fprintf(a.stderr, "waiting: %s\n", told)
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return fmt.Errorf("after %v key %v is not promoted, and nothing was changed: %s", w.timeout, id, told)
		case <-tick.C:
		}
	}
}

// missingFrom tells which services do not have the key yet, and why.
func missingFrom(reports []serviceStatus, info keyring.Info, id keyring.KeyID) []string {
	var missing []string
	for _, s := range reports {
		_, has := s.keyUse(id)
		switch {
		case s.Report == nil:
			missing = append(missing, s.URL+" "+s.Error)
		case s.bad():
			missing = append(missing, fmt.Sprintf("%s has another keyring (%s)", s.URL, s.Match))
		case s.Report.Generation < info.Generation:
			missing = append(missing, fmt.Sprintf("%s has generation %d, not %d", s.URL, s.Report.Generation, info.Generation))
		case !has:
			missing = append(missing, fmt.Sprintf("%s has no key %v that opens", s.URL, id))
		}
	}
	return missing
}
