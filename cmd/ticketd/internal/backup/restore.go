package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

// RestoreOptions say how Restore restores.
type RestoreOptions struct {
	// KeepSessions is for a move to another database, see directory.LoadOptions.
	KeepSessions bool

	Actor    directory.Actor  // of the event in the audit trail
	Progress func(rows int64) // is called now and then; nil is allowed

	at func(step string) error // of tests: called before each step
}

// A Restored tells of a restore.
type Restored struct {
	Made     time.Time `json:"made"` // when the backup was made
	Rows     int64     `json:"rows"` // of the directory
	Restored []string  `json:"restored"`
	Kept     []string  `json:"kept"` // keyrings that were there, no older than in the backup
}

// A plan is what a restore puts in place. It is a file of the data folder as long as the
// restore is not finished, and a ticketd starts from no such folder. A restore that was killed
// leaves the plan, and the next restore removes what the first one made.
//
// A plan names no folder: whoever finishes may have another working directory, or other mounts.
type plan struct {
	Backup   string   `json:"backup"`   // SHA-256 of the header
	ID       string   `json:"id"`       // of the restored directory
	Keyrings []marked `json:"keyrings"` // files that were missing in the folder of the keyrings
	Data     []marked `json:"data"`     // files that were missing in the data folder
}

// A marked file is known by its contents, so that no other file is removed.
type marked struct {
	Name   string `json:"name"` // without a folder
	SHA256 string `json:"sha256"`
}

func markOf(f file) marked { return marked{filepath.Base(f.Name), sumOf(f.Data)} }

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Restore puts a backup in place: the directory, and the keyrings that are missing. The
// directory must not exist, or a database must be empty. Nothing is overwritten, and nothing is
// put in place before the whole backup has been read and found good. A keyring that is there is
// kept, if it opens and is no older than that of the backup.
//
// The caller holds the lock of the data folder. If Restore was killed, call it again.
func Restore(ctx context.Context, r io.Reader, p state.Place, o RestoreOptions) (did Restored, err error) {
	if o.at == nil {
		o.at = func(string) error { return nil }
	}
	kek, err := p.OpenKEK()
	if err != nil {
		return did, err
	}
	h, plain, err := open(r, kek, p.Realm)
	if err != nil {
		return did, err
	}
	f, stream, err := readFiles(plain)
	if err != nil {
		return did, err
	}
	did.Made, did.Kept, did.Restored = h.Made, []string{}, []string{}
	s := &restore{place: p, kek: kek, files: f, o: o}
	if err := s.begin(ctx, h); err != nil {
		return did, err
	}
	if did.Kept, err = s.check(); err != nil {
		return did, err
	}
	if did.Rows, err = s.run(ctx, stream); err != nil {
		return did, err
	}
	did.Restored = s.made
	return did, nil
}

// A restore is a restore under way.
type restore struct {
	place state.Place
	kek   keyring.KEK
	files files
	o     RestoreOptions

	plan    plan
	loaded  bool   // an earlier restore that was killed has put the directory in place
	missing []file // keyrings, logs and generations to be put in place
	made    []string
}

// begin finds what an earlier restore left, and removes it, or makes a new plan.
func (s *restore) begin(ctx context.Context, h header) error {
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	s.plan = plan{Backup: sumOf(line), ID: directory.NewID()}
	data, err := os.ReadFile(s.planFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	var last plan
	if err := json.Unmarshal(data, &last); err != nil {
		return fmt.Errorf("%s is damaged: restore into an empty folder (%w)", s.planFile(), err)
	}
	id, err := s.idInPlace(ctx)
	if err != nil {
		return err
	}
	s.loaded = id == last.ID
	file := s.place.DirectoryIsFile()
	if s.loaded && last.Backup != s.plan.Backup && !file {
		return errors.New("the last restore of this folder was killed: give the same backup again, and restore finishes; " +
			"for another backup, give an empty folder and an empty database")
	}
	if s.loaded && file {
		// The file came last, so the rest is complete, and a service may have used it.
		if last.Backup != s.plan.Backup {
			return fmt.Errorf("the last restore of this folder is complete, apart from a note in %s: "+
				"give the same backup again, and restore finishes, or restore into another folder", s.planFile())
		}
		s.plan.ID = last.ID
		return nil
	}
	if err := s.remove(last); err != nil {
		return err
	}
	if !s.loaded {
		return s.removePlan()
	}
	s.plan.ID = last.ID
	return nil
}

// idInPlace returns the ID of the directory that is in place; "" for a missing file.
func (s *restore) idInPlace(ctx context.Context) (id string, err error) {
	path := s.place.Directory()
	if s.place.DirectoryIsFile() {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
	}
	open := directory.Open
	if s.place.DirectoryIsFile() {
		open = directory.OpenAsIs
	}
	db, err := open(ctx, path)
	if err != nil {
		return "", fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.ID(ctx)
}

// remove removes what a restore made, apart from the directory that is in place, and the plan.
func (s *restore) remove(p plan) error {
	var errs []error
	removeFrom := func(folder string, all []marked) {
		for _, m := range all {
			errs = append(errs, removeMarked(filepath.Join(folder, filepath.Base(m.Name)), m.SHA256))
		}
	}
	removeFrom(keyringFolder(s.place), p.Keyrings)
	removeFrom(s.place.Data, p.Data)
	if s.place.DirectoryIsFile() {
		path := s.newDirectory()
		errs = append(errs, removeAll([]string{path, path + "-wal", path + "-shm"}))
	}
	return errors.Join(errs...)
}

// removeMarked removes a file, if it has the contents that a restore gave it.
func removeMarked(path, sum string) error {
	data, err := os.ReadFile(path)
	if err == nil && sumOf(data) == sum {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removePlan removes the plan for good: a plan that came back after a power cut would stop the
// service.
func (s *restore) removePlan() error {
	if err := removeAll([]string{s.planFile()}); err != nil {
		return err
	}
	return durable.SyncDir(s.place.Data)
}

// removeAll removes files. Some may not exist.
func removeAll(paths []string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *restore) planFile() string { return s.place.File(state.RestoreFile) }

// newDirectory returns the path under which the directory's file is made.
func (s *restore) newDirectory() string { return s.place.Directory() + ".restore" }

// check makes sure that nothing would be overwritten, and completes the plan.
func (s *restore) check() (kept []string, err error) {
	kept = []string{}
	if s.place.DirectoryIsFile() && !s.loaded {
		path := s.place.Directory()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if _, err := os.Lstat(path + suffix); err == nil {
				return nil, fmt.Errorf("%s is there already, and nothing is overwritten: "+
					"move it away, or restore into another folder", path+suffix)
			}
		}
	}
	noted, err := s.noted()
	if err != nil {
		return nil, err
	}
	keeps := make(map[string]bool)
	for _, f := range s.files.Keyrings {
		name := strings.TrimSuffix(f.Name, auditSuffix)
		path := filepath.Join(keyringFolder(s.place), f.Name)
		_, err := os.Lstat(path)
		switch there := err == nil; {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case f.Name != name && keeps[name]:
			continue // the log of a keyring that is kept
		case there && f.Name != name:
			return nil, fmt.Errorf("%s is there without its keyring: move it away, or restore into another folder", path)
		case there:
			if err := s.notOlder(path, f.Data); err != nil {
				return nil, err
			}
			keeps[name] = true
			kept = append(kept, path)
			continue
		}
		if g := generationOf(f.Data); f.Name == name && noted[string(kindOf(name))] > g {
			return nil, fmt.Errorf("%s is missing, and that of the backup has generation %d, while this folder's %s "+
				"has seen generation %d: put the newest keyring there, or restore into another folder",
				path, g, generations, noted[string(kindOf(name))])
		}
		s.plan.Keyrings = append(s.plan.Keyrings, markOf(f))
		s.missing = append(s.missing, file{path, f.Data})
	}
	if path := s.place.File(generations); noted == nil && s.files.Generations != nil {
		data, err := s.generations()
		if err != nil {
			return nil, err
		}
		s.plan.Data = append(s.plan.Data, markOf(file{path, data}))
		s.missing = append(s.missing, file{path, data})
	}
	// Without the record, the service would trust the clocks of issuers more than it did.
	path := s.place.File(state.ReplayFile)
	switch _, err := os.Lstat(path); {
	case err == nil || s.files.Replay == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		s.plan.Data = append(s.plan.Data, markOf(file{path, s.files.Replay}))
		s.missing = append(s.missing, file{path, s.files.Replay})
	}
	return kept, nil
}

// generations returns the generations of the backup. A keyring that was rotated while the backup
// was made may have a higher generation there than in the backup; a service would refuse it.
func (s *restore) generations() ([]byte, error) {
	noted := make(map[string]uint64)
	if err := json.Unmarshal(s.files.Generations, &noted); err != nil {
		return nil, fmt.Errorf("%s of the backup cannot be read: %w", generations, err)
	}
	lower := false
	for _, f := range s.files.Keyrings {
		kind := string(kindOf(f.Name))
		if g := generationOf(f.Data); kind != "" && noted[kind] > g {
			noted[kind], lower = g, true
		}
	}
	if !lower {
		return s.files.Generations, nil
	}
	return json.Marshal(noted)
}

// noted returns the generations that the data folder has noted; nil if it has none.
func (s *restore) noted() (map[string]uint64, error) {
	data, err := os.ReadFile(s.place.File(generations))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	noted := make(map[string]uint64)
	if err == nil {
		err = json.Unmarshal(data, &noted)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", s.place.File(generations), err)
	}
	return noted, nil
}

// notOlder refuses a keyring that does not open, or is older than the backup's.
func (s *restore) notOlder(path string, backup []byte) error {
	now, err := os.ReadFile(path)
	if err != nil || bytes.Equal(now, backup) {
		return err
	}
	kind := kindOf(path)
	if kind == "" {
		return fmt.Errorf("%s is there already, with other contents than in the backup: move it away", path)
	}
	info, err := keyring.Read(path, keyring.Config{Kind: kind, Realm: s.place.Realm, KEK: s.kek})
	if err != nil {
		return fmt.Errorf("a keyring is there already, and cannot be kept: %w", err)
	}
	if g := generationOf(backup); info.Generation < g {
		return fmt.Errorf("%s is there already, and older (generation %d) than that of the backup (%d): move it away",
			path, info.Generation, g)
	}
	return nil
}

// generationOf returns the generation of a keyring file, or 0.
func generationOf(data []byte) uint64 {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	var h struct{ Generation uint64 }
	_ = json.Unmarshal(line, &h)
	return h.Generation
}

// run puts everything in place. The directory of a file comes last: without it, no ticketd
// starts.
func (s *restore) run(ctx context.Context, stream io.Reader) (rows int64, err error) {
	data, err := json.Marshal(s.plan)
	if err != nil {
		return 0, err
	}
	if err := s.o.at("plan"); err != nil {
		return 0, err
	}
	if err := durable.WriteFile(s.planFile(), append(data, '\n'), 0o600); err != nil {
		return 0, err
	}
	rows, loaded, err := s.load(ctx, stream)
	if err == nil {
		err = s.putInPlace()
	}
	if err != nil && !loaded {
		return 0, errors.Join(err, s.undo())
	}
	if err != nil {
		return 0, fmt.Errorf("%w; the directory is in place already, or may be: when this is mended, "+
			"give the same backup again", err)
	}
	if err := s.o.at("finish"); err != nil {
		return 0, err
	}
	if s.place.DirectoryIsFile() && !s.loaded {
		s.made = append(s.made, s.place.Directory())
	}
	return rows, s.removePlan()
}

// undo removes what this restore made. The plan stays until all else is gone.
func (s *restore) undo() error {
	made := plan{}
	for _, f := range s.missing {
		if !slices.Contains(s.made, f.Name) {
			continue
		}
		if base := filepath.Base(f.Name); base == generations || base == state.ReplayFile {
			made.Data = append(made.Data, markOf(f))
		} else {
			made.Keyrings = append(made.Keyrings, markOf(f))
		}
	}
	if err := s.remove(made); err != nil {
		return err
	}
	return s.removePlan()
}

// load loads the directory: into a new file beside its place, or into the database. loaded
// reports whether the directory is in place already, or may be, which cannot be undone.
func (s *restore) load(ctx context.Context, stream io.Reader) (rows int64, loaded bool, err error) {
	if err := s.o.at("load"); err != nil {
		return 0, s.loaded, err
	}
	dsn := s.place.Directory()
	if s.place.DirectoryIsFile() {
		dsn = s.newDirectory()
	}
	if s.loaded {
		rows, err := countRows(stream)
		return rows, true, err
	}
	rows, loaded, err = s.loadInto(ctx, dsn, stream)
	if err != nil || !s.place.DirectoryIsFile() {
		return rows, loaded, err
	}
	// Closing does not tell that the WAL could not be written into the file.
	if _, err := os.Lstat(dsn + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return 0, false, errors.Join(fmt.Errorf("%s-wal was not written into the directory's file; "+
			"is the disk full, or has another program the file open?", dsn), err)
	}
	return rows, false, nil
}

// askTime bounds the question whether a load succeeded.
const askTime = 10 * time.Second

// loadInto loads an empty directory.
func (s *restore) loadInto(ctx context.Context, dsn string, stream io.Reader) (rows int64, loaded bool, err error) {
	db, err := directory.Open(ctx, dsn)
	if err != nil {
		return 0, false, fmt.Errorf("making the directory: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	saved, err := db.As(s.o.Actor).Load(ctx, stream, directory.LoadOptions{
		ID: s.plan.ID, KeepSessions: s.o.KeepSessions, Progress: s.o.Progress,
	})
	if err == nil {
		err = s.o.at("loaded")
	}
	switch {
	case s.place.DirectoryIsFile() && err == nil:
		err = db.Checkpoint(ctx)
	case s.place.DirectoryIsFile():
	case err != nil:
		// The connection may have broken during the commit.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
		defer cancel()
		id, unknown := db.ID(ctx)
		loaded = unknown != nil || id == s.plan.ID
	default:
		loaded = true
	}
	return saved.Rows, loaded, err
}

// countRows reads the stream of a directory that was loaded before, and returns its rows.
func countRows(stream io.Reader) (rows int64, err error) {
	from := bufio.NewReader(stream)
	for begin := true; ; {
		part, err := from.ReadSlice('\n')
		if begin && len(part) > 0 && part[0] == '[' {
			rows++
		}
		switch begin = err == nil; {
		case errors.Is(err, io.EOF):
			return rows, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return rows, err
		}
	}
}

// putInPlace makes the files that are missing, and then the directory's.
func (s *restore) putInPlace() error {
	for _, f := range s.missing {
		if err := s.o.at(f.Name); err != nil {
			return err
		}
		err := durable.Create(f.Name, f.Data, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			s.made = append(s.made, f.Name)
		}
		if err != nil {
			return err
		}
	}
	if !s.place.DirectoryIsFile() || s.loaded {
		return nil
	}
	if err := s.o.at("directory"); err != nil {
		return err
	}
	return place(s.newDirectory(), s.place.Directory())
}

// place gives a finished file its name, which nobody has yet. After an error nobody has it.
func place(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return fmt.Errorf("%w (the file system must have hard links)", err)
	}
	err := durable.SyncDir(filepath.Dir(to))
	if err == nil {
		err = removeAll([]string{from})
	}
	if err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
