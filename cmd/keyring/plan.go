package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

func (a *app) planCommand() *cobra.Command {
	var r reading
	var to string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what the policy wants done, now and later",
		Long: `plan shows what is due, and from when what else will be. The exit code is 3 if
something is due, 4 if something is overdue (by more than a tenth of rotate-every).

With -o the plan is written to a file, to be looked at, and done by "apply --plan".
An older plan is replaced, and no other file.
It is good for this generation of FILE only: after any change, apply refuses it
with exit code 5. There is nothing secret in it.`,
		Example: `  keyring plan tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring plan tickets.keyring -o plan.json --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	cmd.Flags().StringVarP(&to, "output", "o", "", "write the plan to `PLANFILE` as well, as JSON")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		c, err := a.readConfig(r)
		if err != nil {
			return err
		}
		info, err := keyring.Read(args[0], c)
		if err != nil {
			return err
		}
		now := time.Now()
		p := info.Plan(now)
		if to != "" {
			if err := writePlan(to, p); err != nil {
				return err
			}
		}
		a.tellPlan(args[0], info, p)
		a.code = dueCode(p)
		if to != "" && len(p.Due()) > 0 {
			a.sayNext("apply", args[0], "--plan", to)
		} else {
			a.suggest(args[0], info, now)
		}
		return a.printJSON(planned{args[0], p})
	})
}

// planned is what plan and apply --dry-run print with --json.
type planned struct {
	File string `json:"file"`
	keyring.Plan
}

// dueCode is the exit code that says how a plan stands.
func dueCode(p keyring.Plan) int {
	code := exitOK
	for _, s := range p.Steps {
		switch {
		case s.Urgency == keyring.Overdue:
			return exitOverdue
		case s.Urgency == keyring.Due:
			code = exitDue
		}
	}
	return code
}

func (a *app) tellPlan(file string, info keyring.Info, p keyring.Plan) {
	a.say("%s, generation %d:", file, p.Generation)
	if len(p.Steps) == 0 {
		a.say("nothing is planned")
		return
	}
	rows := [][]string{}
	for _, s := range p.Steps {
		rows = append(rows, []string{string(s.Urgency), stampFrom(s.At), when(p.Made, s.At), describe(s.Step)})
	}
	a.table(rows, func(column int, text string) string {
		switch keyring.Urgency(text) {
		case keyring.Due:
			return yellow
		case keyring.Overdue:
			return red
		}
		return ""
	})
}

// describe says what a step does or did.
func describe(s keyring.Step) string {
	text := string(s.Do)
	if s.Key != 0 {
		text += " " + s.Key.String()
	}
	if s.Do == keyring.Rotate && s.Key == 0 {
		text = "rotate: make a new key"
	}
	if s.Algorithm != "" {
		text += " (" + s.Algorithm + ")"
	}
	if s.KEK != "" {
		text += " (KEK " + s.KEK + ")"
	}
	if s.Now {
		text += " --now"
	}
	if s.Unsafe {
		text += " --unsafe"
	}
	return text
}

// writePlan writes the plan to a new file, or over an older plan. Anything else
// stays as it is: the name may be the keyring's own, or its key's.
func writePlan(path string, p keyring.Plan) error {
	if stat, err := os.Stat(path); err == nil && stat.Mode().IsRegular() && stat.Size() > 0 {
		if _, err := readPlan(path); err != nil {
			return fmt.Errorf("%s is there already, and is no plan; give another name", path)
		}
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("the plan cannot be written: %w", err)
	}
	return nil
}

// readPlan reads what writePlan wrote.
func readPlan(path string) (*keyring.Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the plan cannot be read: %w", err)
	}
	p := new(keyring.Plan)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(p)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("it goes on after its end")
		}
	}
	if err != nil || p.Generation == 0 || p.Fingerprint == "" {
		return nil, fmt.Errorf("%s is no plan of keyring plan -o (%v); make a new one", path, err)
	}
	return p, nil
}

func (a *app) applyCommand() *cobra.Command {
	var o changing
	var from string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Do what is due by the policy, and nothing else",
		Long: `apply does what is due, in one write: it makes a new key, promotes the pending one,
disables the retired, destroys the disabled. If nothing is due it changes nothing,
and the exit code is 0 as well. Run it every few minutes, from a systemd timer or a
Kubernetes CronJob; examples/rotate has both. If a run fails, the next one does it.

With --plan it does what was due when the plan was made, if FILE is still the same
and all of it is still due; if not, nothing is done and the exit code is 5.
With --dry-run it changes nothing, and exits as "plan" does.`,
		Example: `  keyring apply tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring apply tickets.keyring --plan plan.json --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.reading.flags(cmd)
	cmd.Flags().BoolVar(&o.clockBehind, "unsafe-clock-behind", false, "go on although this clock is behind the last change, and date now what the file dates later; "+
		"if this clock is the wrong one, the old key will seem needed no more while what it sealed is still good")
	cmd.Flags().StringVar(&from, "plan", "", "do what the plan in `PLANFILE` says")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and change nothing")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		c, err := a.changeConfig(o)
		if err != nil {
			return err
		}
		var plan *keyring.Plan
		if from != "" {
			if plan, err = readPlan(from); err != nil {
				return err
			}
		}
		if dryRun {
			return a.rehearse(args[0], c, plan, from)
		}
		info, done, err := keyring.Apply(args[0], c, plan)
		if err != nil {
			return err
		}
		if len(done) == 0 {
			a.say("nothing is due for %s (generation %d)", args[0], info.Generation)
		}
		for _, s := range done {
			a.say("done: %s", describe(s))
		}
		if len(done) > 0 {
			a.say("%s is generation %d now; the primary is %v", args[0], info.Generation, info.Primary)
		}
		return a.finish(result{File: args[0], Changed: len(done) > 0, Info: info, Done: done})
	})
}

// rehearse says what apply would do: what is due, or what the plan says that was
// read from the file from.
func (a *app) rehearse(file string, c keyring.Config, plan *keyring.Plan, from string) error {
	info, err := keyring.Read(file, c)
	if err != nil {
		return err
	}
	now := time.Now()
	next := []string{}
	if from == "" {
		p := info.Plan(now)
		plan = &p
	} else {
		next = append(next, "--plan", from)
	}
	if err := plan.Check(info, now); err != nil {
		return err
	}
	due := plan.Due()
	for _, s := range due {
		a.say("would do: %s", describe(s))
	}
	if len(due) == 0 {
		a.say("nothing is due for %s (generation %d)", file, info.Generation)
	}
	a.code = dueCode(*plan)
	if len(due) > 0 {
		a.sayNext("apply", file, next...)
	} else {
		a.suggest(file, info, now)
	}
	return a.printJSON(planned{file, *plan})
}
