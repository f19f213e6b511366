package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// result is the JSON of commands that change a keyring.
type result struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	keyring.Info
	KeyFile  string         `json:"keyFile,omitempty"` // the key file that was made for the KEK
	Done     []keyring.Step `json:"done,omitempty"`    // by apply
	Warnings []string       `json:"warnings,omitempty"`
}

// readFlags are the flags of commands that read a keyring.
type readFlags struct {
	older         bool
	minGeneration uint64
}

func (r *readFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&r.older, "unsafe-older", false, "accept a file that is older than its audit log says, "+
		"such as a backup; keys that were disabled or destroyed since then are back")
	f.Uint64Var(&r.minGeneration, "min-generation", 0, "highest `generation` of the file that any service "+
		"is known to have; an older file is refused; with --unsafe-older the next change goes above this generation")
}

// changeFlags are the flags of commands that change a keyring.
type changeFlags struct {
	readFlags
	reason      string
	clockBehind bool
}

func (c *changeFlags) flags(cmd *cobra.Command) {
	c.readFlags.flags(cmd)
	cmd.Flags().StringVar(&c.reason, "reason", "", "`text` of one line that tells the audit log why the change was made")
	clockBehindFlag(cmd, &c.clockBehind)
}

func clockBehindFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVar(on, "unsafe-clock-behind", false, "make the change although this machine's clock is behind "+
		"the last change, and set later times in the file to now; if this clock is the wrong clock, the policy "+
		"may disable the old key while tickets that the key sealed are still good")
}

func (a *app) readConfig(r readFlags) (keyring.Config, error) {
	c, err := a.keys.Config(keyring.AnyKind, false)
	c.UnsafeOlder, c.MinGeneration, c.Actor = r.older, r.minGeneration, a.actor
	return c, err
}

func (a *app) changeConfig(o changeFlags) (keyring.Config, error) {
	c, err := a.readConfig(o.readFlags)
	c.UnsafeClockBehind = o.clockBehind
	return c, err
}

// read opens the keyring in file, for commands that change the keyring or show it.
func (a *app) read(file string, o changeFlags) (keyring.Config, keyring.Info, error) {
	c, err := a.changeConfig(o)
	if err != nil {
		return c, keyring.Info{}, err
	}
	info, err := keyring.Read(file, c)
	return c, info, err
}

// change does the steps, and calls tell to report the result.
func (a *app) change(file string, o changeFlags, tell func(keyring.Info), steps ...keyring.Step) error {
	c, err := a.changeConfig(o)
	if err != nil {
		return err
	}
	info, err := keyring.Change(file, c, o.reason, steps...)
	return a.changed(file, c, info, err, tell)
}

// changed reports the result of a change to a keyring; err may also be
// keyring.ErrAlready, for a change that was not needed.
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

// finish prints the warnings, the next command and the result.
func (a *app) finish(r result) error {
	a.warn(r.Info)
	a.suggest(r.File, r.Info, time.Now())
	r.Warnings = r.Info.Warnings()
	return a.printJSON(r)
}

// onKey gives cmd, with the arguments FILE KEYID, a body that does one step and then
// tells that the key is in its new state.
func (a *app) onKey(cmd *cobra.Command, step func(keyring.KeyID) keyring.Step, state string) *cobra.Command {
	var o changeFlags
	cmd.Args = cobra.ExactArgs(2)
	o.flags(cmd)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		id, err := parseKeyID(args[1])
		if err != nil {
			return err
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("key %v of %s %s (generation %d)", id, args[0], state, info.Generation)
		}, step(id))
	})
}

func parseKeyID(s string) (keyring.KeyID, error) {
	id, err := token.ParseKeyID(s)
	if err != nil {
		return 0, cli.Usage(err)
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
