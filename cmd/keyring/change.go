package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// result is what the commands that change a keyring print with --json.
type result struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	keyring.Info
	KeyFile  string         `json:"keyFile,omitempty"` // the KEK's, where it was made
	Done     []keyring.Step `json:"done,omitempty"`    // by apply
	Warnings []string       `json:"warnings,omitempty"`
}

// reading are the flags of the commands that read a keyring.
type reading struct {
	older         bool
	minGeneration uint64
}

func (r *reading) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.older, "unsafe-older", false, "take a file that is older than its audit log says, such as one from a backup; "+
		"keys that were disabled or destroyed since are back")
	cmd.Flags().Uint64Var(&r.minGeneration, "min-generation", 0, "the highest `generation` that any service is known to have; an older file is refused, and with --unsafe-older the next change goes above it")
}

// changing are the flags of the commands that change a keyring.
type changing struct {
	reading
	reason      string
	clockBehind bool
}

func (c *changing) flags(cmd *cobra.Command) {
	c.reading.flags(cmd)
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for the audit log: a line of `text`")
	cmd.Flags().BoolVar(&c.clockBehind, "unsafe-clock-behind", false, "go on although this clock is behind the last change, and date now what the file dates later; "+
		"if this clock is the wrong one, the old key will seem needed no more while what it sealed is still good")
}

func (a *app) readConfig(r reading) (keyring.Config, error) {
	c, err := a.keys.Config(keyring.AnyKind, false)
	c.UnsafeOlder, c.MinGeneration, c.Actor = r.older, r.minGeneration, a.actor
	return c, err
}

func (a *app) changeConfig(o changing) (keyring.Config, error) {
	c, err := a.readConfig(o.reading)
	c.UnsafeClockBehind = o.clockBehind
	return c, err
}

// change does the steps, and says what came of it as tell does.
func (a *app) change(file string, o changing, tell func(keyring.Info), steps ...keyring.Step) error {
	c, err := a.changeConfig(o)
	if err != nil {
		return err
	}
	info, err := keyring.Change(file, c, o.reason, steps...)
	return a.changed(file, c, info, err, tell)
}

// changed is the end of a command that changed a keyring, or found that there was
// nothing to do.
func (a *app) changed(file string, c keyring.Config, info keyring.Info, err error, tell func(keyring.Info)) error {
	done := err == nil
	if errors.Is(err, keyring.ErrAlready) {
		a.say("%s; nothing changed", cli.Message(err))
		info, err = keyring.Read(file, c)
	}
	if err != nil {
		return err
	}
	if done {
		tell(info)
	}
	return a.finish(result{File: file, Changed: done, Info: info})
}

// finish warns of what is not wise, names the next command and prints the result.
func (a *app) finish(r result) error {
	a.warn(r.Info)
	a.suggest(r.File, r.Info, time.Now())
	r.Warnings = r.Info.Warnings()
	return a.printJSON(r)
}

// onKey is a command with the arguments FILE KEYID that does one step.
func (a *app) onKey(cmd *cobra.Command, step func(keyring.KeyID) keyring.Step, told string) *cobra.Command {
	var o changing
	cmd.Args = cobra.ExactArgs(2)
	o.flags(cmd)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		id, err := parseKeyID(args[1])
		if err != nil {
			return err
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("key %v of %s %s (generation %d)", id, args[0], told, info.Generation)
		}, step(id))
	})
}

func parseKeyID(s string) (keyring.KeyID, error) {
	id, err := token.ParseKeyID(s)
	if err != nil {
		return 0, cli.Usagef("%w", err)
	}
	return id, nil
}

// keyOf returns the key with the ID.
func keyOf(info keyring.Info, id keyring.KeyID) (keyring.Key, bool) {
	for _, k := range info.Keys {
		if k.ID == id {
			return k, true
		}
	}
	return keyring.Key{}, false
}
