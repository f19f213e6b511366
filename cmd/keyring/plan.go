package main

import (
	"bytes"
	"encoding/json"
	"errors"
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
	var r readFlags
	var to string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show the steps that the policy wants, now and later",
		Long: `plan shows the steps that are due, and the later steps with their times. The exit code
is 3 if a step is due, and 4 if a step is overdue (by more than a tenth of rotate-every).

With -o the plan is written to a file, for review and for "apply --plan". plan replaces
an older plan, and no other file. A plan is good for this generation of FILE only: after
any change, apply refuses the plan with exit code 5. A plan holds no secrets.`,
		Example: `  keyring plan tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring plan tickets.keyring -o plan.json --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	cmd.Flags().StringVarP(&to, "output", "o", "", "`PLANFILE` to which the plan is also written, as JSON")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		_, info, err := a.read(args[0], changeFlags{readFlags: r})
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

// planned is the JSON of plan and apply --dry-run.
type planned struct {
	File string `json:"file"`
	keyring.Plan
}

// dueCode returns the exit code for the most urgent step of a plan.
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

// describe returns a step in words.
func describe(s keyring.Step) string {
	text := string(s.Do)
	if s.Issuer != "" {
		text += " " + s.Issuer
	}
	if s.Key != 0 {
		text += " " + s.Key.String()
	}
	if s.Detail != "" {
		text += " (" + s.Detail + ")"
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

// writePlan writes the plan to a new file, or over an older plan. writePlan does not
// overwrite any other file, which may be the keyring itself or its key.
func writePlan(path string, p keyring.Plan) error {
	if stat, err := os.Stat(path); err == nil && stat.Mode().IsRegular() && stat.Size() > 0 {
		if _, err := readPlan(path); err != nil {
			return fmt.Errorf("%s exists already, and is not a plan; give another name", path)
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

// readPlan reads a file of writePlan.
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
			err = errors.New("data after the end of the plan")
		}
	}
	if err != nil || p.Generation == 0 || p.Fingerprint == "" {
		return nil, fmt.Errorf("%s is not a plan of keyring plan -o (%v); make a new plan", path, err)
	}
	return p, nil
}

func (a *app) applyCommand() *cobra.Command {
	var o changeFlags
	var from string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Do the steps that are due by the policy, and no others",
		Long: `apply does all due steps in one write: it makes a new key, promotes the pending key,
disables the retiring key, destroys the disabled key. If nothing is due, apply changes
nothing, and the exit code is 0 too. Run apply every few minutes, from a systemd timer
(examples/rotate) or a Kubernetes CronJob (examples/kubernetes). If a run fails, the next
run does the steps.

With --plan apply does the steps that were due when the plan was made, if FILE has not
changed and all the steps are still due. If not, apply does nothing, and the exit code
is 5. With --dry-run apply changes nothing, and its exit code is that of "plan".`,
		Example: `  keyring apply tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring apply tickets.keyring --plan plan.json --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	o.readFlags.flags(cmd)
	clockBehindFlag(cmd, &o.clockBehind)
	cmd.Flags().StringVar(&from, "plan", "", "`PLANFILE` of \"keyring plan -o\" with the steps to do")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "tell which steps would be done, and change nothing")
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
			return a.showDue(args[0], c, plan, from)
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

// showDue shows the steps that apply would do: the due steps, or the steps of the plan in
// the file from.
func (a *app) showDue(file string, c keyring.Config, plan *keyring.Plan, from string) error {
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
