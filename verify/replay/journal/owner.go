package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/admitone/admitone/internal/durable"
)

// ownerFile has the token of the directory's owner.
//
// On some network file systems and FUSE mounts, a lock excludes nobody. So each owner writes
// a random token, then reads the directory, then looks at the token. Later the owner looks
// after the fsync of each commit, before the commit's claims are answered. After a look that
// finds another token, the owner admits nobody.
//
// No ticket is admitted twice. Take any admission: the look after its fsync found the owner's
// own token. So every later owner wrote a token after this fsync, read the directory later
// still, and found the record. No owner has to wait for another.
//
// No record of an admission is removed. At Open, an owner removes files without a record. The
// owner looked after reading these files, and a later owner's files are younger than the
// look. So the files belong to earlier owners, and further records in them admit nobody. No
// later file has the same name, since the numbers of segments begin at the clock.
//
// An owner can be slow after its look, and write the state in place of a later owner's state.
// This admits nobody either, since Open reads all segments, named in the state or not. If the
// late state names a removed file, the file's window is damaged, and tickets issued before
// are refused. A late state does harm only beside a second fault: a lost file, or a clock set
// back.
//
// Three things are assumed of the file system, on all machines. An open finds the file of the
// latest rename. An opened file has everything synced before. And when a process has changed
// a directory, the process can list all its files. Local file systems do this, and NFS does
// unless mounted with nocto. A file system that opens files from a cache does not.
const ownerFile = "owner"

// errTaken is the end of an owner.
var errTaken = errors.New("another process has taken over the journal's directory, so this process admits nobody; " +
	"give each process a directory of its own or a shared store, and restart this process")

// own makes this Store the owner of the directory.
func (j *Store) own() (err error) {
	path := j.path(ownerFile)
	j.token = rand.Text()
	if err := durable.WriteFile(path, []byte(j.token), 0o600); err != nil {
		return err
	}
	j.owner, err = os.Stat(path)
	return err
}

// stillOurs returns an error if the directory is no longer the owned directory: somebody
// moved, wiped or replaced the directory, or another process is the owner.
func (j *Store) stillOurs() error {
	err := j.lookAtOwner()
	if err == nil || errors.Is(err, errTaken) {
		return err
	}
	return fmt.Errorf("the journal's directory is not what it was: %w; restart this process", err)
}

// seemsOurs is stillOurs before a commit, when the claims can still be undone. The file's
// name is enough then: safety needs the look after the commit only.
func (j *Store) seemsOurs() error {
	if info, err := os.Stat(j.path(ownerFile)); err == nil && os.SameFile(info, j.owner) {
		return nil
	}
	return j.stillOurs()
}

func (j *Store) lookAtOwner() error {
	f, err := os.Open(j.path(ownerFile))
	if err != nil {
		return err
	}
	defer f.Close()
	var token [64]byte // longer than any token
	n, err := f.Read(token[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case string(token[:n]) != j.token:
		return errTaken
	case !os.SameFile(info, j.owner):
		return errors.New("another directory has taken its place")
	}
	return nil
}
