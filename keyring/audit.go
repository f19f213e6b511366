package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/textrule"
)

// AuditEntry is the record of a change in the audit log.
type AuditEntry struct {
	Generation uint64      `json:"generation"` // of the file that the change made, or would have made
	Time       time.Time   `json:"time"`
	Steps      []Step      `json:"steps"`
	Who        string      `json:"who"`             // user@host of the system
	Actor      string      `json:"actor,omitempty"` // Config.Actor
	Why        string      `json:"why,omitempty"`
	Before     string      `json:"before,omitempty"` // fingerprint of the file before the change
	Result     AuditResult `json:"result"`
	After      string      `json:"after,omitempty"` // fingerprint of the new file, if the outcome was logged
	Hash       string      `json:"hash"`            // SHA-256 of the intent's line; see Info.Audit
}

// AuditResult is the result of a change that was announced.
type AuditResult string

// The results.
const (
	Done    AuditResult = "done"
	NotDone AuditResult = "not done" // the writer failed or was killed before the file was replaced

	// Unfinished is the result of the last change if its outcome is not logged: the writer
	// failed or was killed, or the end of the log was cut off. The change was done if the
	// file names it (Info.Audit). The next change records the result.
	Unfinished AuditResult = "unfinished"
)

// auditLine is a line of the log: the intent before a change, or the outcome after it.
type auditLine struct {
	Entry      string      `json:"entry"` // intent or outcome
	Generation uint64      `json:"generation"`
	Time       time.Time   `json:"time,omitzero"` // of the intent, as are the next five fields
	Steps      []Step      `json:"steps,omitempty"`
	Who        string      `json:"who,omitempty"`
	Actor      string      `json:"actor,omitempty"`
	Why        string      `json:"why,omitempty"`
	Before     string      `json:"before,omitempty"`
	Found      AuditResult `json:"found,omitempty"` // result of the previous intent, if that has no outcome
	After      string      `json:"after,omitempty"` // of the outcome: fingerprint of the new file
	Prev       string      `json:"prev"`            // SHA-256 of the previous line, hexadecimal; empty in the first line
}

const (
	intentLine  = "intent"
	outcomeLine = "outcome"
	maxAudit    = 64 << 20
)

// auditLog is the log beside a keyring file.
type auditLog struct {
	path    string
	exists  bool
	entries []AuditEntry
	size    int64  // of the whole lines; what follows is a torn write
	prev    string // SHA-256 of the last whole line
	aside   string // new name for an earlier log at path; "" if there is none
	err     error  // why the log is broken; of the other fields only path and exists are set then
}

func auditPath(target string) string { return target + ".audit" }

// readAudit reads the log beside the file target.
func readAudit(target string) (*auditLog, error) {
	l := &auditLog{path: auditPath(target)}
	info, err := os.Lstat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, readFault(l.path, err)
	case !info.Mode().IsRegular():
		// A link is not followed, since writing does not follow links either.
		return nil, &FileError{l.path, AuditBroken, errors.New("is not a regular file, so it is not the audit log; " +
			"move it away, and put the log back or begin a new log")}
	}
	data, _, err := durable.ReadFile(l.path, maxAudit)
	switch {
	case errors.Is(err, durable.ErrTooLarge):
		l.err = fmt.Errorf("is longer than %d bytes", maxAudit)
	case err != nil:
		return nil, readFault(l.path, err)
	default:
		l.err = l.parse(data)
	}
	l.exists = true
	if l.err != nil {
		*l = auditLog{path: l.path, exists: true, err: l.err}
	}
	return l, nil
}

// parse reads the lines, and refuses lines that no writer would have written.
func (l *auditLog) parse(data []byte) error {
	for n := 1; ; n++ {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return nil
		}
		if err := l.add(line); err != nil {
			return fmt.Errorf("is not as it was written, in line %d: %w", n, err)
		}
		sum := sha256.Sum256(line)
		l.prev = hex.EncodeToString(sum[:])
		if last := &l.entries[len(l.entries)-1]; last.Result == Unfinished {
			last.Hash = l.prev
		}
		l.size += int64(len(line)) + 1
		data = rest
	}
}

func (l *auditLog) add(line []byte) error {
	var a auditLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return err
	}
	again, err := a.encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(line, again) {
		return errors.New("the line is not in canonical form")
	}
	if a.Prev != l.prev {
		return errors.New("the line does not follow the line before: " +
			"the line before was changed, or lines were removed")
	}
	var last *AuditEntry
	if len(l.entries) > 0 {
		last = &l.entries[len(l.entries)-1]
	}
	open := last != nil && last.Result == Unfinished
	switch {
	case a.Entry == outcomeLine && open && a.Generation == last.Generation && isHash(a.After):
		last.Result, last.After = Done, a.After
	case a.Entry == intentLine && open == (a.Found == Done || a.Found == NotDone) &&
		a.After == "" && a.Generation > 0 && !a.Time.IsZero():
		if open {
			last.Result = a.Found
		}
		l.entries = append(l.entries, AuditEntry{
			Generation: a.Generation, Time: a.Time, Steps: a.Steps, Who: a.Who, Actor: a.Actor, Why: a.Why,
			Before: a.Before, Result: Unfinished,
		})
	default:
		return errors.New("the line is out of place")
	}
	return nil
}

func (a *auditLine) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// check compares the log with the file. With older, check accepts a file that is older than
// the last file in the log.
func (l *auditLog) check(f *contents, older bool) *FileError {
	if l.err != nil {
		return &FileError{l.path, AuditBroken, fmt.Errorf("%w; find out why, and begin a new log", l.err)}
	}
	broken := func(format string, args ...any) *FileError {
		return &FileError{l.path, AuditBroken, fmt.Errorf(format, args...)}
	}
	i := slices.IndexFunc(l.entries, func(e AuditEntry) bool { return e.Hash == f.header.Audit })
	if i < 0 {
		return broken("has no entry for the file's generation, %d: the log was cut off, or is another keyring's; "+
			"put the right log back, or begin a new log", f.header.Generation)
	}
	switch e := &l.entries[i]; {
	case e.Generation != f.header.Generation || e.Result == NotDone:
		return broken("contradicts the file about generation %d; find out who changed it, and begin a new log", e.Generation)
	case e.Result == Done && e.After != hex.EncodeToString(f.fingerprint[:]):
		return fileError(Forked, "is generation %d with other contents than its audit log says were written; "+
			"put the right file back", f.header.Generation)
	}
	for _, e := range l.entries[i+1:] {
		if e.Result == Done && !older {
			return fileError(RolledBack, "is generation %d, and its audit log says that generation %d was written: "+
				"an older file was put back; restore the newer file", f.header.Generation, e.Generation)
		}
	}
	return nil
}

// highest returns the highest generation since the keyring was made.
func (l *auditLog) highest() uint64 {
	var n uint64
	for _, e := range slices.Backward(l.entries) {
		if e.Result == Done {
			n = max(n, e.Generation)
		}
		if len(e.Steps) > 0 && e.Steps[0].Do == created {
			break
		}
	}
	return n
}

// intent returns the line that announces a change, and the line's hash. head is the hash in
// the present file's header, or "" for a new file.
func (l *auditLog) intent(a auditLine, head string) (line []byte, hash string, err error) {
	a.Entry, a.Prev, a.Who = intentLine, l.prev, who()
	if n := len(l.entries); n > 0 && l.entries[n-1].Result == Unfinished {
		a.Found = NotDone
		if l.entries[n-1].Hash == head {
			a.Found = Done
		}
	}
	if line, err = a.encode(); err != nil {
		return nil, "", err
	}
	// A line that cannot be read again would make the whole log useless.
	trial := auditLog{prev: l.prev, entries: slices.Clone(l.entries)}
	if err := trial.add(line); err != nil {
		return nil, "", fmt.Errorf("nothing was written, since the audit log cannot record the change: %w", err)
	}
	sum := sha256.Sum256(line)
	return line, hex.EncodeToString(sum[:]), nil
}

// append writes a line after the last whole line.
func (l *auditLog) append(line []byte, target string) error {
	if l.aside != "" {
		if err := os.Rename(l.path, l.aside); err != nil {
			return err
		}
		l.aside = ""
	}
	if err := durable.Append(l.path, l.size, append(line, '\n'), target); err != nil {
		return fmt.Errorf("the audit log cannot be written: %w", err)
	}
	sum := sha256.Sum256(line)
	l.prev = hex.EncodeToString(sum[:])
	l.size += int64(len(line)) + 1
	return nil
}

// finish logs the outcome of the last change, which made the file f. After a failure, the
// next change logs the outcome.
func (l *auditLog) finish(f *contents, target string) {
	a := auditLine{
		Entry: outcomeLine, Generation: f.header.Generation,
		After: hex.EncodeToString(f.fingerprint[:]), Prev: l.prev,
	}
	if line, err := a.encode(); err == nil && l.append(line, target) == nil && l.unfinished(f) {
		last := &l.entries[len(l.entries)-1]
		last.Result, last.After = Done, a.After
	}
}

// unfinished reports whether the last change made the file f and has no outcome in the log.
func (l *auditLog) unfinished(f *contents) bool {
	n := len(l.entries)
	return n > 0 && l.entries[n-1].Result == Unfinished && l.entries[n-1].Hash == f.header.Audit
}

// restart returns a new log in place of l. The first write renames the file of l.
func (l *auditLog) restart(now time.Time) (*auditLog, error) {
	n := &auditLog{path: l.path}
	if l.exists {
		n.aside = l.path + "." + now.Format("20060102T150405.000Z")
		if _, err := os.Lstat(n.aside); err == nil {
			return nil, fmt.Errorf("%s is there already; move it away", n.aside)
		}
	}
	return n, nil
}

// who returns the user and the host.
func who() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return oneLine(name) + "@" + oneLine(host)
}

// oneLine makes a name from the system fit for the log. In a container without a user
// database, the user's name is the variable USER, which may hold any bytes.
func oneLine(name string) string {
	name = strings.Map(func(r rune) rune {
		if textrule.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	const most = 100
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}

// Audit returns the entries of the audit log beside the keyring file at path, oldest first.
// It verifies that no line was edited, removed or moved, and that the log fits the file.
// With c, Audit opens the file, and the KEK vouches for the entries up to the file's
// generation. With nil, Audit needs no KEK, and an attacker who can write both log and file
// can have changed both.
//
// The error is a *FileError with reason AuditMissing, AuditBroken, Forked or RolledBack, or
// an error of Open. If the log was cut after the last intent, the last entry is Unfinished.
func Audit(path string, c *Config) ([]AuditEntry, error) {
	if c != nil {
		if err := c.check(); err != nil {
			return nil, err
		}
	}
	_, l, err := readBoth(path, c)
	if err != nil {
		return nil, err
	}
	if !l.exists {
		return nil, errNoAudit(l.path)
	}
	return l.entries, nil
}

func errNoAudit(path string) error {
	return &FileError{path, AuditMissing, fmt.Errorf("is missing, and is the audit log; "+
		"put it back, or begin a new log: %w", fs.ErrNotExist)}
}

// readBoth reads the keyring file at path and the audit log beside it, if there is a log,
// and compares the two. Without c, readBoth decrypts nothing, and the contents have no
// keys.
func readBoth(path string, c *Config) (*contents, *auditLog, error) {
	for try := 1; ; try++ {
		f, l, err := readOnce(path, c)
		if ferr, ok := errors.AsType[*FileError](err); !ok || f == nil || ferr.Reason == AuditMissing {
			return f, l, err
		}
		// Another process may have changed both between the two reads.
		again, _, rerr := readFile(path)
		if try == 20 || rerr == nil && sha256.Sum256(again) == f.fingerprint {
			return nil, nil, err
		}
	}
}

// readOnce reads file and log once. If they contradict each other, readOnce returns the
// file's contents with the error.
func readOnce(path string, c *Config) (*contents, *auditLog, error) {
	f, err := read(path, c)
	if err != nil {
		return nil, nil, err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, nil, readFault(path, err)
	}
	l, err := readAudit(target)
	if err != nil {
		return nil, nil, err
	}
	if !l.exists {
		return f, l, nil
	}
	if ferr := l.check(f, c != nil && c.UnsafeOlder); ferr != nil {
		if ferr.Path == "" {
			ferr.Path = path
		}
		return f, nil, ferr
	}
	return f, l, nil
}
