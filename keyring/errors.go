package keyring

import (
	"errors"
	"fmt"
	"time"
)

// Cause says in one stable word why a keyring file was not loaded.
type Cause string

// The causes.
const (
	Missing        Cause = "missing"         // there is no file; wraps fs.ErrNotExist
	NotFile        Cause = "not_file"        // a directory, a pipe or the like
	Unreadable     Cause = "unreadable"      // the system does not let it be read
	Exposed        Cause = "exposed"         // in clear, and others may read or write it
	Empty          Cause = "empty"           // no byte
	TooLarge       Cause = "too_large"       // over 1 MiB
	Truncated      Cause = "truncated"       // ends before its second newline
	TrailingData   Cause = "trailing_data"   // goes on after it: two files in one, say
	BadHeader      Cause = "bad_header"      // the first line is no header of format 1
	NotBase64      Cause = "not_base64"      // the second line is not base64
	WrongKind      Cause = "wrong_kind"      // of another kind than Config.Kind
	WrongRealm     Cause = "wrong_realm"     // of another realm than Config.Realm
	WrongKEK       Cause = "wrong_kek"       // wrapped by another sort of KEK than Config.KEK
	IsCleartext    Cause = "is_cleartext"    // in clear, while Config.KEK is a KEK
	NotCleartext   Cause = "not_cleartext"   // wrapped, while Config.KEK is InsecureCleartext
	NotOpened      Cause = "not_opened"      // does not open: another key of that sort, or the file was changed
	KEKUnavailable Cause = "kek_unavailable" // whether it opens is not known: Config.KEK cannot do its work now; wraps ErrKEKUnavailable
	BadKeyset      Cause = "bad_keyset"      // opens, and holds something that a keyring must not
	Disagree       Cause = "disagree"        // header and keyset say different things
	RolledBack     Cause = "rolled_back"     // an older generation than was seen before, or than the audit log says was written
	Forked         Cause = "forked"          // the generation that was seen before, with other contents
	LostKey        Cause = "lost_key"        // lacks a key of the generation in use: it is another keyring
	AuditMissing   Cause = "audit_missing"   // a change needs the audit log, and there is none
	AuditBroken    Cause = "audit_broken"    // the audit log was changed, cut, or is another file's
)

// FileError says why a keyring file was not loaded. Its text tells what to do.
type FileError struct {
	Path  string
	Cause Cause
	Err   error // what exactly; without secrets
}

func (e *FileError) Error() string { return fmt.Sprintf("keyring: %s %v", e.Path, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// fault is a FileError whose path is not known yet.
func fault(c Cause, format string, args ...any) *FileError {
	return &FileError{Cause: c, Err: fmt.Errorf(format, args...)}
}

// BlockedError says that a step must not be done, or not yet.
type BlockedError struct {
	Do      Action
	ID      KeyID // zero where there is no key to roll back to
	State   State
	Held    bool      // the key is held
	Revoked bool      // the key is revoked
	From    time.Time // from when it may be done; zero if there is no such time
}

func (e *BlockedError) Error() string { return fmt.Sprintf("keyring: %s", e.text()) }

func (e *BlockedError) text() string {
	// To the second, and never before the time that is meant.
	from := e.From.Add(time.Second - 1).Format(time.RFC3339)
	switch {
	case e.Do == Rollback && e.ID == 0:
		return "there is no retiring key to go back to that is not held; make a new one the primary with rotate --now"
	case e.Do == Rotate:
		return fmt.Sprintf("key %v is pending already; promote, hold or revoke it, or rotate at once", e.ID)
	case e.Do == Promote && e.Held:
		return fmt.Sprintf("key %v is held, so that it does not become the primary; unhold it first", e.ID)
	case e.Do == Promote && e.State != Pending:
		return fmt.Sprintf("key %v is %s, and only a pending key can be promoted", e.ID, e.State)
	case e.Do == Promote || e.Do == Rollback:
		return fmt.Sprintf("key %v may not have reached every process before %s; %s it then", e.ID, from, map[Action]string{Promote: "promote", Rollback: "go back to"}[e.Do])
	case e.Do == Hold:
		return fmt.Sprintf("key %v is the primary already; go back to the one before with rollback", e.ID)
	case e.Do == Enable:
		return fmt.Sprintf("key %v was revoked, and stays disabled", e.ID)
	case e.Do == Destroy && e.State != Disabled:
		return fmt.Sprintf("key %v is %s, and only a disabled key can be destroyed; disable it first", e.ID, e.State)
	case e.Do == Destroy && e.From.IsZero():
		return fmt.Sprintf("key %v is kept, since the policy has no destroy-after: what it sealed would never open again", e.ID)
	case e.Do == Destroy:
		return fmt.Sprintf("key %v is kept until %s, so that disabling it can be undone; destroy it then", e.ID, from)
	case e.State == Primary:
		return fmt.Sprintf("key %v is the primary key, which seals; rotate first", e.ID)
	case e.From.IsZero():
		return fmt.Sprintf("key %v opens what it sealed without end: to disable it is to refuse all of that for ever", e.ID)
	}
	return fmt.Sprintf("what key %v sealed may be good until %s; disable it then", e.ID, from)
}

// ErrAlready is wrapped by the error of a step where there was nothing to do.
var ErrAlready = errors.New("already")

// ErrNoKey is wrapped by the error of a step for a key that there is not.
var ErrNoKey = errors.New("there is no key")

// ErrStalePlan is wrapped by the error of Apply where the keyring is not the one
// that the plan was made for, or a step of it is not due.
var ErrStalePlan = errors.New("the plan is not for this keyring as it is now; make a new one")

// causeOf returns the cause of a *FileError, the empty string of all else.
func causeOf(err error) Cause {
	if f, ok := errors.AsType[*FileError](err); ok {
		return f.Cause
	}
	return ""
}
