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
	Missing        Reason = "missing"         // no file; wraps fs.ErrNotExist
	NotFile        Reason = "not_file"        // a directory, a pipe or another thing that is not a regular file
	Unreadable     Reason = "unreadable"      // the system refuses to read the file
	Unlinked       Reason = "unlinked"        // has no name any more: a mounted single file that was replaced
	Exposed        Reason = "exposed"         // not encrypted, and others may read or write the file
	Empty          Reason = "empty"           // no bytes
	TooLarge       Reason = "too_large"       // over 1 MiB
	Truncated      Reason = "truncated"       // ends before its second newline
	TrailingData   Reason = "trailing_data"   // goes on after the second newline: two files in one?
	BadHeader      Reason = "bad_header"      // the first line is not a header of format 1
	NotBase64      Reason = "not_base64"      // the second line is not base64
	WrongKind      Reason = "wrong_kind"      // of another kind than Config.Kind
	WrongRealm     Reason = "wrong_realm"     // of another realm than Config.Realm
	WrongKEK       Reason = "wrong_kek"       // wrapped under another type of KEK than Config.KEK
	IsCleartext    Reason = "is_cleartext"    // not encrypted, and Config.KEK is not InsecureCleartext
	NotCleartext   Reason = "not_cleartext"   // wrapped, and Config.KEK is InsecureCleartext
	NotOpened      Reason = "not_opened"      // does not open: another KEK of this type, or the file was changed
	KEKUnavailable Reason = "kek_unavailable" // Config.KEK cannot be used now, only later; wraps ErrKEKUnavailable
	BadKeyset      Reason = "bad_keyset"      // opens, and breaks a rule for keysets
	BadContent     Reason = "bad_content"     // a signed file whose content cannot be used
	Disagree       Reason = "disagree"        // header and keyset contradict each other
	RolledBack     Reason = "rolled_back"     // older than Config.MinGeneration, the file in use or the audit log
	Forked         Reason = "forked"          // the generation in use or in the audit log, with other contents
	LostKey        Reason = "lost_key"        // lacks a key of the file in use: another keyring
	AuditMissing   Reason = "audit_missing"   // no audit log, which every change needs
	AuditBroken    Reason = "audit_broken"    // the audit log was changed or cut, or belongs to another file
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

// fileError returns a FileError whose path the caller sets.
func fileError(r Reason, format string, args ...any) *FileError {
	return &FileError{Reason: r, Cause: fmt.Errorf(format, args...)}
}

// BlockedError is the error of a step that must not be done, or not yet.
type BlockedError struct {
	Do      Action
	ID      KeyID // zero if Rollback finds no key
	State   State
	Held    bool      // the key is held
	Revoked bool      // the key is revoked
	From    time.Time // the time from which the step may be done; zero if there is none
}

// Error says why the step is blocked, and what to do.
func (e *BlockedError) Error() string {
	// Rounded up to the second: never before From.
	from := e.From.Add(time.Second - 1).Format(time.RFC3339)
	switch {
	case e.Do == Rollback && e.ID == 0:
		return "there is no retiring key to go back to that is not held; " +
			"make a new key the primary at once (rotate, now)"
	case e.Do == Rotate:
		return fmt.Sprintf("key %v is pending already; promote, hold or revoke it, or rotate at once", e.ID)
	case e.Do == Promote && e.Held:
		return fmt.Sprintf("key %v is held, so that it does not become the primary; unhold it first", e.ID)
	case e.Do == Promote && e.State != Pending:
		return fmt.Sprintf("key %v is %s, and only a pending key can be promoted", e.ID, e.State)
	case e.Do == Promote || e.Do == Rollback:
		verb := map[Action]string{Promote: "promote", Rollback: "go back to"}[e.Do]
		return fmt.Sprintf("key %v may not have reached every process before %s; %s it then", e.ID, from, verb)
	case e.Do == Hold:
		return fmt.Sprintf("key %v is the primary already; go back to the primary before with rollback", e.ID)
	case e.Do == Enable:
		return fmt.Sprintf("key %v was revoked, and stays disabled", e.ID)
	case e.Do == Destroy && e.State != Disabled:
		return fmt.Sprintf("key %v is %s, and only a disabled key can be destroyed; disable it first", e.ID, e.State)
	case e.Do == Destroy && e.From.IsZero():
		return fmt.Sprintf("key %v is kept, since the policy has no destroy-after; "+
			"without the key, its ciphertexts would never open again", e.ID)
	case e.Do == Destroy:
		return fmt.Sprintf("key %v is kept until %s, so that disabling it can be undone; destroy it then", e.ID, from)
	case e.State == Primary:
		return fmt.Sprintf("key %v is the primary key, which seals; rotate first", e.ID)
	case e.From.IsZero():
		return fmt.Sprintf("key %v opens ciphertexts that never run out; once disabled, it refuses them all for ever", e.ID)
	}
	return fmt.Sprintf("ciphertexts of key %v may be good until %s; disable the key then", e.ID, from)
}

// ErrAlready is wrapped by the error of a step that has nothing to do.
var ErrAlready = errors.New("already")

// ErrNoKey is wrapped by the error of a step for a key that is not in the keyring.
var ErrNoKey = errors.New("there is no key")

// ErrStalePlan is wrapped by the error of Apply if the plan is for another keyring or
// another generation, or if a step of the plan is not due.
var ErrStalePlan = errors.New("the plan is not for this keyring as it is now; make a new plan")

// reasonOf returns the Reason of a *FileError, and "" for any other error.
func reasonOf(err error) Reason {
	if f, ok := errors.AsType[*FileError](err); ok {
		return f.Reason
	}
	return ""
}
