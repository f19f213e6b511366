package keyring

import (
	"errors"
	"fmt"
	"time"
)

// Reason is why a keyring file was not loaded: a stable word, the same in Go and JSON.
type Reason string

// The reasons.
const (
	Missing        Reason = "missing"         // there is no file; wraps fs.ErrNotExist
	NotFile        Reason = "not_file"        // a directory, a pipe or the like
	Unreadable     Reason = "unreadable"      // the system does not let it be read
	Exposed        Reason = "exposed"         // in clear, and others may read or write it
	Empty          Reason = "empty"           // no byte
	TooLarge       Reason = "too_large"       // over 1 MiB
	Truncated      Reason = "truncated"       // ends before its second newline
	TrailingData   Reason = "trailing_data"   // goes on after it: two files in one, say
	BadHeader      Reason = "bad_header"      // the first line is no header of format 1
	NotBase64      Reason = "not_base64"      // the second line is not base64
	WrongKind      Reason = "wrong_kind"      // of another kind than Config.Kind
	WrongRealm     Reason = "wrong_realm"     // of another realm than Config.Realm
	WrongKEK       Reason = "wrong_kek"       // wrapped by another sort of KEK than Config.KEK
	IsCleartext    Reason = "is_cleartext"    // in clear, while Config.KEK is a KEK
	NotCleartext   Reason = "not_cleartext"   // wrapped, while Config.KEK is InsecureCleartext
	NotOpened      Reason = "not_opened"      // does not open: another key of that sort, or the file was changed
	KEKUnavailable Reason = "kek_unavailable" // whether it opens is not known: Config.KEK cannot do its work now; wraps ErrKEKUnavailable
	BadKeyset      Reason = "bad_keyset"      // opens, and holds something that a keyring must not
	Disagree       Reason = "disagree"        // header and keyset say different things
	RolledBack     Reason = "rolled_back"     // an older generation than was seen before, or than the audit log says was written
	Forked         Reason = "forked"          // the generation that was seen before, with other contents
	LostKey        Reason = "lost_key"        // lacks a key of the generation in use: it is another keyring
	AuditMissing   Reason = "audit_missing"   // a change needs the audit log, and there is none
	AuditBroken    Reason = "audit_broken"    // the audit log was changed, cut, or is another file's
)

// FileError is the error for a keyring file that was not loaded, or for its audit log.
type FileError struct {
	Path   string
	Reason Reason
	Cause  error // what is wrong and what to do, without secrets; completes a sentence that begins with the path
}

// Error returns the path and the cause.
func (e *FileError) Error() string { return e.Path + " " + e.Cause.Error() }

// Unwrap returns the Cause.
func (e *FileError) Unwrap() error { return e.Cause }

// fault returns a FileError without its path, which the caller sets.
func fault(r Reason, format string, args ...any) *FileError {
	return &FileError{Reason: r, Cause: fmt.Errorf(format, args...)}
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

// Error says why the step is blocked, and what to do.
func (e *BlockedError) Error() string {
	// To the second, and never before the time that is meant.
	from := e.From.Add(time.Second - 1).Format(time.RFC3339)
	switch {
	case e.Do == Rollback && e.ID == 0:
		return "there is no retiring key to go back to that is not held; make a new key the primary at once with Rotate and Now"
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

// reasonOf returns the Reason of a *FileError, and "" for any other error.
func reasonOf(err error) Reason {
	if f, ok := errors.AsType[*FileError](err); ok {
		return f.Reason
	}
	return ""
}
