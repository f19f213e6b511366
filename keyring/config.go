package keyring

import (
	"log/slog"
	"time"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// Config holds the expectations of a keyring's reader or writer, which the file must match.
// Kind and KEK are mandatory.
type Config struct {
	Kind  Kind   // the purpose of the keys; AnyKind for all functions except Create, CreateFrom and Open
	Realm string // the deployment's name; see token.CheckRealm
	KEK   KEK    // the key-encryption key: see package kms; or InsecureCleartext

	// MinGeneration is the lowest generation to accept. A service that remembers the
	// highest generation of the past sets it here, and refuses every older file.
	MinGeneration uint64

	// UnsafeClockBehind allows a change although the clock is behind the file's last change
	// by more than the skew. Dates of the file that are ahead of this clock become the
	// present time. If this clock is wrong, the old key is disabled too early.
	UnsafeClockBehind bool

	// UnsafeOlder allows a file that is older than MinGeneration or its audit log: a file
	// that was restored from a backup. Keys that were disabled or destroyed meanwhile are
	// back. The next change gets a generation above MinGeneration and above all generations
	// of the log, so that services accept the new file. An open Ring with keys that the
	// file lacks still refuses the file.
	UnsafeOlder bool

	Actor string           // the person behind a change, for the audit log, beside the system's user; may be empty
	Now   func() time.Time // the clock; nil means time.Now
	Log   *slog.Logger     // gets a Ring's reloads and failures, and Info.Warnings; nil means slog.Default()

	// Poll is a Ring's interval between two looks at the file; 0 means a second. Poll and
	// the time to distribute the file must together be less than Policy.Propagation.
	Poll time.Duration

	// OnReload is called after a Ring took new keys, and when looks at the file begin or
	// cease to fail. OnReload must return soon, and must not call Reload, HasKey or Close.
	OnReload func(Report)

	parse    func(Document) (any, error) // of a Follower
	at       func(step string) error     // called before each step of a write, so that a test can fail or die there
	patience time.Duration               // of HasKey and Reload, for tests on a busy machine; 0 means the documented times
}

func (c *Config) check() error {
	if c.Kind != AnyKind {
		if err := c.Kind.check(); err != nil {
			return &token.ConfigError{Field: "keyring.Config.Kind", Reason: err.Error()}
		}
	}
	if err := token.CheckRealm("keyring.Config.Realm", c.Realm); err != nil {
		return err
	}
	if fault := textrule.Fault(c.Actor, maxReason); fault != "" {
		return &token.ConfigError{Field: "keyring.Config.Actor", Reason: fault}
	}
	if err := checkKEK("keyring.Config.KEK", c.KEK); err != nil {
		return err
	}
	if c.Kind != AnyKind {
		if err := kekFault(c.Kind, c.KEK.Hint()); err != nil {
			return &token.ConfigError{Field: "keyring.Config.KEK", Reason: err.Error()}
		}
	}
	return nil
}

// step calls c.at.
func (c *Config) step(name string) error {
	if c.at == nil {
		return nil
	}
	return c.at(name)
}

func (c *Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.Default()
	}
	return c.Log
}

func (c *Config) now() time.Time {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return now().UTC().Truncate(time.Millisecond)
}
