package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// result is what init, rotate and disable print with --json.
type result struct {
	File string `json:"file"`
	keyring.Info
	KeyFile string `json:"keyFile,omitempty"` // the KEK's, where init made it
}

func (a *app) initCommand() *cobra.Command {
	var kind, algorithm string
	var policy keyring.Policy
	cmd := &cobra.Command{
		Use:   "init FILE",
		Short: "Make a keyring with one key",
		Long: `init makes the file FILE (mode 0600) with one key. It never overwrites a file. If the
KEK is file:PATH and there is no such file, init makes it as well; keep a copy of
it apart from FILE's: without it the keys are lost. It stays if init then fails.

The policy says when an old key is no longer needed, see "keyring disable --help".
Without flags: lifetime 15m for tickets and 24h for sessions, propagation 2m,
skew 10s. Channel keyrings have no lifetime, since published URLs have none.`,
		Example: `  keyring init tickets.keyring --kind ticket --realm prod --kek file:/etc/admitone/kek
  keyring init sessions.keyring --kind session --realm prod --kek passphrase: --lifetime 12h
  keyring init channels.keyring --kind channel --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "what the keys are for: ticket, session or channel")
	f.StringVar(&algorithm, "algorithm", "", "of the key: "+strings.Join(append(keyring.Algorithms(keyring.Ticket), keyring.Algorithms(keyring.Channel)...), ", ")+
		" (default "+keyring.Algorithms(keyring.Ticket)[0]+", for channels "+keyring.Algorithms(keyring.Channel)[0]+")")
	f.DurationVar(&policy.Lifetime, "lifetime", 0, "the longest lifetime of what the keys seal")
	f.DurationVar(&policy.Propagation, "propagation", 0, "the longest time that a new file takes to reach every reader")
	f.DurationVar(&policy.Skew, "skew", 0, "how far clocks may be off")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		names := keyring.Algorithms(keyring.Kind(kind))
		if names == nil {
			return cli.Usagef("init needs --kind ticket, session or channel")
		}
		if algorithm != "" && !slices.Contains(names, algorithm) {
			return cli.Usagef("for --kind %s, --algorithm is one of %s", kind, strings.Join(names, ", "))
		}
		p := keyring.DefaultPolicy(keyring.Kind(kind))
		for flag, set := range map[string]func(){
			"lifetime":    func() { p.Lifetime = policy.Lifetime },
			"propagation": func() { p.Propagation = policy.Propagation },
			"skew":        func() { p.Skew = policy.Skew },
		} {
			if f.Changed(flag) {
				set()
			}
		}
		if err := p.Check(keyring.Kind(kind)); err != nil {
			return cli.Usagef("--%w", err)
		}
		return a.init(args[0], keyring.Kind(kind), p, algorithm)
	})
}

func (a *app) init(file string, kind keyring.Kind, p keyring.Policy, algorithm string) error {
	// What can be found wrong is found before a passphrase is asked for or a key
	// file made.
	uri, err := a.keys.URI()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return errExists(file)
	}
	if dir, err := os.Stat(filepath.Dir(file)); err != nil {
		return fmt.Errorf("the directory of %s cannot be used; make it first: %w", file, err)
	} else if !dir.IsDir() {
		return fmt.Errorf("%s is not a directory", filepath.Dir(file))
	}
	keyFile, err := makeKeyFile(uri)
	if err != nil {
		return err
	}
	c, info, err := a.create(file, kind, p, algorithm)
	if err != nil && keyFile != "" {
		// It is not removed: another init may have found it in between, and made a
		// keyring under it.
		return fmt.Errorf("%w (the key file %s was made and stays; init takes it when it is run again)", err, keyFile)
	}
	if err != nil {
		return err
	}
	if keyFile != "" {
		a.say("made the key file %s; keep a copy of it, apart from copies of %s", keyFile, file)
	}
	a.say("made %s: %s keyring of realm %q, primary key %v (%s)", file, kind, c.Realm, info.Primary, info.Keys[0].Algorithm)
	a.sayNext("status", file)
	return a.printJSON(result{file, info, keyFile})
}

// create makes the keyring under the KEK that there is by now.
func (a *app) create(file string, kind keyring.Kind, p keyring.Policy, algorithm string) (c keyring.Config, info keyring.Info, err error) {
	if c, err = a.keys.Config(kind, true); err != nil {
		return c, info, err
	}
	err = keyring.Create(file, c, p, algorithm)
	if errors.Is(err, fs.ErrExist) { // made by another since
		err = errExists(file)
	}
	if err == nil {
		info, err = keyring.Read(file, c)
	}
	return c, info, err
}

func errExists(file string) error {
	return fmt.Errorf("%s: %w; init never overwrites", file, fs.ErrExist)
}

// makeKeyFile makes the key file that a KEK file:PATH names, if there is none,
// and returns its name if it made one.
func makeKeyFile(uri string) (string, error) {
	path, ok := strings.CutPrefix(uri, "file:")
	if !ok {
		return "", nil
	}
	err := kms.CreateKeyFile(path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("the key file %s cannot be made: %w", path, err)
	}
	return path, nil
}

func (a *app) rotateCommand() *cobra.Command {
	var now, clockBehind bool
	cmd := &cobra.Command{
		Use:   "rotate FILE --now",
		Short: "Make a new key the primary at once",
		Long: `rotate --now makes a new key, which seals from then on. The old one retires: it
still opens what it sealed. Services that run take the new file within a second of
seeing it. One that does not see it yet refuses what the new key sealed; so where
FILE is copied from machine to machine, copy it to those that only verify first.`,
		Example: `  keyring rotate tickets.keyring --now --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&now, "now", false, "at once, without a time for the new key to spread first")
	cmd.Flags().BoolVar(&clockBehind, "unsafe-clock-behind", false, "rotate although this clock is behind the last change, and record that change's time as now; "+
		"if this clock is the wrong one, the old key will seem needed no more while what it sealed is still good")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if !now {
			return cli.Usagef("rotate needs --now: the new key seals at once, without a time for it to spread first")
		}
		return a.rotate(args[0], clockBehind)
	})
}

func (a *app) rotate(file string, clockBehind bool) error {
	c, err := a.keys.Config(keyring.AnyKind, false)
	if err != nil {
		return err
	}
	c.UnsafeClockBehind = clockBehind
	info, err := keyring.Change(file, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	if err != nil {
		return err
	}
	old := latestRetiring(info)
	a.say("key %v is the primary of %s now (generation %d); key %v retires", info.Primary, file, info.Generation, old.ID)
	if from := info.Policy.DisableFrom(old); !from.IsZero() {
		a.say("key %v can be disabled from %s", old.ID, stamp(from))
	}
	a.sayNext("status", file)
	return a.printJSON(result{File: file, Info: info})
}

// latestRetiring returns the key that was the primary before.
func latestRetiring(info keyring.Info) keyring.Key {
	var latest keyring.Key
	for _, k := range info.Keys {
		if k.State == keyring.Retiring && !k.Demoted.Before(latest.Demoted) {
			latest = k
		}
	}
	return latest
}

func (a *app) disableCommand() *cobra.Command {
	var reason string
	var refuseLive bool
	cmd := &cobra.Command{
		Use:   "disable FILE KEYID",
		Short: "Make a retiring key open nothing",
		Long: `disable makes a retiring key open nothing any more. KEYID is the key's 8 hex
digits, as "keyring status" shows them.

While something that the key sealed may still be good, disable refuses with exit
code 5: until demoted + propagation + lifetime + 3 x skew. What channel keys seal
has no end. The primary key cannot be disabled; rotate first.`,
		Example: `  keyring disable tickets.keyring 2f6a01c4 --realm prod --kek file:/etc/admitone/kek
  keyring disable tickets.keyring 2f6a01c4 --unsafe-refuse-live-tickets --reason "leaked" --realm prod --kek passphrase:`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record: a line of `text`")
	cmd.Flags().BoolVar(&refuseLive, "unsafe-refuse-live-tickets", false, "disable the key even if what it sealed is still good, and so refuse that")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		id, err := keyring.ParseKeyID(args[1])
		if err != nil {
			return cli.Usagef("%w", err)
		}
		return a.disable(args[0], id, reason, refuseLive)
	})
}

func (a *app) disable(file string, id keyring.KeyID, reason string, refuseLive bool) error {
	c, err := a.keys.Config(keyring.AnyKind, false)
	if err != nil {
		return err
	}
	info, err := keyring.Change(file, c, reason, keyring.Step{Do: keyring.Disable, Key: id, Unsafe: refuseLive})
	switch {
	case errors.Is(err, keyring.ErrAlready):
		if info, err = keyring.Read(file, c); err != nil {
			return err
		}
		a.say("key %v was disabled already; nothing changed", id)
	case err != nil:
		return err
	default:
		a.say("key %v of %s is disabled (generation %d)", id, file, info.Generation)
	}
	a.sayNext("status", file)
	return a.printJSON(result{File: file, Info: info})
}

// printJSON prints v if --json was given.
func (a *app) printJSON(v any) error {
	if !a.json {
		return nil
	}
	return a.print(v)
}
