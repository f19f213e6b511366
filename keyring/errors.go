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
	RolledBack     Cause = "rolled_back"     // an older generation than was seen before
	Forked         Cause = "forked"          // the generation that was seen before, with other contents
	LostKey        Cause = "lost_key"        // lacks a key of the generation in use: it is another keyring
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

// BlockedError says that a key must not be disabled now.
type BlockedError struct {
	ID    KeyID
	State State     // Primary or Retiring
	From  time.Time // from when a retiring key may be; zero if there is no such time
}

func (e *BlockedError) Error() string {
	switch {
	case e.State == Primary:
		return fmt.Sprintf("keyring: key %v is the primary key, which seals; rotate first", e.ID)
	case e.From.IsZero():
		return fmt.Sprintf("keyring: key %v opens what it sealed without end: to disable it is to refuse all of that for ever", e.ID)
	}
	return fmt.Sprintf("keyring: what key %v sealed may be good until %s; disable it then", e.ID, e.From.Format(time.RFC3339))
}

// ErrAlreadyDisabled is wrapped by the error of Disable where there was nothing to do.
var ErrAlreadyDisabled = errors.New("is disabled already")
