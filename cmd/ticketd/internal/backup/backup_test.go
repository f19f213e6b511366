package backup

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// made makes a place with keyrings and a directory that has a brand.
func made(t *testing.T, database string) state.Place {
	t.Helper()
	p := state.Place{Data: filepath.Join(t.TempDir(), "data"), Database: database}
	_, err := p.Make(t.Context(), time.Minute)
	require.NoError(t, err)
	db, err := directory.Open(t.Context(), p.Directory())
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: "commbox"}))
	return p
}

// target returns a place with the KEK of another and nothing else.
func target(t *testing.T, of state.Place, database string) state.Place {
	t.Helper()
	p := state.Place{Data: t.TempDir(), Database: database, Realm: of.Realm}
	require.NoError(t, os.Chmod(p.Data, 0o700))
	key, err := os.ReadFile(of.File("kek.key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.File("kek.key"), key, 0o600))
	return p
}

func backupOf(t *testing.T, p state.Place) []byte {
	t.Helper()
	var b bytes.Buffer
	did, err := Write(t.Context(), &b, p, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"channel.keyring", "session.keyring", "ticket.keyring"}, did.Keyrings)
	return b.Bytes()
}

// contents returns the files of a folder.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(data)
	}
	return all
}

// serves opens everything that a service opens, and returns the names of the brands.
func serves(t *testing.T, p state.Place) ([]string, error) {
	t.Helper()
	lock, err := p.Lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := p.FindDirectory(); err != nil {
		return nil, err
	}
	kek, err := p.OpenKEK()
	require.NoError(t, err)
	for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel} {
		if _, err := keyring.Read(p.KeyringFile(kind), keyring.Config{Kind: kind, Realm: p.Realm, KEK: kek}); err != nil {
			return nil, err
		}
	}
	db, err := directory.Open(t.Context(), p.Directory())
	require.NoError(t, err)
	defer db.Close()
	brands, err := db.Brands(t.Context(), "", 10)
	require.NoError(t, err)
	var names []string
	for _, b := range brands {
		names = append(names, b.Name)
	}
	return names, nil
}

// A backup that was cut or altered anywhere leaves nothing behind.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole := backupOf(t, from)
	to := target(t, from, "")
	before := contents(t, to.Data)
	refused := func(data []byte, what string) {
		t.Helper()
		_, err := Restore(t.Context(), bytes.NewReader(data), to, RestoreOptions{})
		require.Error(t, err, what)
		require.Equal(t, before, contents(t, to.Data), what)
	}
	head := bytes.IndexByte(whole, '\n') + 1
	for n := 0; n < len(whole); n += 1 + len(whole)/60 {
		refused(whole[:n], fmt.Sprintf("cut to %d bytes", n))
		altered := bytes.Clone(whole)
		altered[n] ^= 1
		refused(altered, fmt.Sprintf("bit of byte %d", n))
	}
	for _, n := range []int{head - 1, head, head + 1, len(whole) - 1} {
		refused(whole[:n], fmt.Sprintf("cut to %d bytes", n))
	}
	refused(append(bytes.Clone(whole), 'x'), "with a byte behind")
	refused(append(bytes.Clone(whole[:head]), whole[head+1:]...), "without a byte")
	other := backupOf(t, from)
	refused(append(bytes.Clone(whole[:head]), other[bytes.IndexByte(other, '\n')+1:]...), "the contents of another backup")

	elsewhere := to
	elsewhere.Realm = "prod"
	_, err := Restore(t.Context(), bytes.NewReader(whole), elsewhere, RestoreOptions{})
	assert.ErrorContains(t, err, "realm")
	stranger := made(t, "")
	_, err = Restore(t.Context(), bytes.NewReader(whole), stranger, RestoreOptions{})
	assert.ErrorContains(t, err, "another key-encryption key")

	did, err := Restore(t.Context(), bytes.NewReader(whole), to, RestoreOptions{})
	require.NoError(t, err)
	assert.Contains(t, did.Restored, to.Directory())
	brands, err := serves(t, to)
	require.NoError(t, err)
	assert.Equal(t, []string{"commbox"}, brands)
	_, err = Restore(t.Context(), bytes.NewReader(whole), to, RestoreOptions{})
	assert.ErrorContains(t, err, "nothing is overwritten")
}

// A restore that dies at any step leaves nothing that a service takes, and the next restore
// finishes; from each kind of database to each.
func TestRestoreDies(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole := backupOf(t, from)
	another := backupOf(t, from)
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			fresh := func() state.Place {
				if kind == "sqlite" {
					return target(t, from, "")
				}
				return target(t, from, servers.Database(t))
			}
			var steps []string
			_, err := Restore(t.Context(), bytes.NewReader(whole), fresh(), RestoreOptions{
				at: func(step string) error { steps = append(steps, filepath.Base(step)); return nil },
			})
			require.NoError(t, err)
			require.Contains(t, steps, "ticket.keyring")
			for i, step := range steps {
				p, n := fresh(), 0
				func() {
					defer func() { _ = recover() }()
					_, _ = Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(string) error {
						if n++; n > i {
							panic("killed") // nothing is cleaned up
						}
						return nil
					}})
					t.Error("not killed")
				}()
				_, err := serves(t, p)
				require.Error(t, err, "killed before %s", step)
				loaded := kind == "postgres" && !slices.Contains([]string{"plan", "load"}, step)
				if loaded {
					_, err = Restore(t.Context(), bytes.NewReader(another), p, RestoreOptions{})
					require.ErrorContains(t, err, "give the same backup again", step)
				}
				did, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{})
				require.NoError(t, err, "killed before %s", step)
				if kind == "sqlite" && step == "finish" {
					assert.Empty(t, did.Restored, "all was in place")
				} else {
					assert.Len(t, did.Restored, len(steps)-4, step)
				}
				brands, err := serves(t, p)
				require.NoError(t, err, step)
				assert.Equal(t, []string{"commbox"}, brands)
				names := slices.Sorted(maps.Keys(contents(t, p.Data)))
				assert.NotContains(t, strings.Join(names, " "), "restore")
				assert.EqualValues(t, 2, did.Rows)
				assert.EqualValues(t, 5, backupRows(t, p), "two events and a mark for brands of the time since, and nothing twice")
			}
		})
	}
}

func backupRows(t *testing.T, p state.Place) int64 {
	t.Helper()
	var b bytes.Buffer
	did, err := Write(t.Context(), &b, p, Options{})
	require.NoError(t, err)
	return did.Rows
}

// A restore that fails at any step removes what it made, unless a database has the directory.
func TestRestoreFails(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole := backupOf(t, from)
	full := errors.New("disk full")
	for n := 1; ; n++ {
		p, i := target(t, from, ""), 0
		before := contents(t, p.Data)
		_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(step string) error {
			if i++; i == n && step != "finish" {
				return full
			}
			return nil
		}})
		if err == nil {
			assert.Greater(t, n, 5)
			return
		}
		require.ErrorIs(t, err, full)
		require.Equal(t, before, contents(t, p.Data), n)
	}
}

// killedBefore restores, and dies before a step.
func killedBefore(t *testing.T, step string, whole []byte, p state.Place) {
	t.Helper()
	defer func() { require.Equal(t, "killed", recover()) }()
	_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(at string) error {
		if filepath.Base(at) == step {
			panic("killed")
		}
		return nil
	}})
	t.Errorf("not killed: %v", err)
}

// A file that was not written as a whole, as on a full disk, is not put in place: SQLite does
// not tell when it closes the file.
func TestUnwrittenWAL(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole := backupOf(t, from)
	p := target(t, from, "")
	before := contents(t, p.Data)
	var other *directory.DB
	_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(step string) (err error) {
		if step == "load" {
			other, err = directory.Open(t.Context(), p.Directory()+".restore") // keeps the WAL
		}
		return err
	}})
	require.ErrorContains(t, err, "admitone.db.restore-wal was not written")
	require.NoError(t, other.Close())
	assert.Equal(t, before, contents(t, p.Data))
}

// A restore removes only what a restore of the same folder made: nothing of another folder, and
// no file that somebody else put there.
func TestRestoreRemovesNothingElse(t *testing.T) {
	from := made(t, "")
	whole := backupOf(t, from)
	one, two := target(t, from, ""), target(t, from, "")

	// Another deployment has the same relative path.
	t.Chdir(filepath.Dir(one.Data))
	relative := one
	relative.Data = filepath.Base(one.Data)
	killedBefore(t, "directory", whole, relative)
	elsewhere := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(elsewhere, relative.Data), 0o700))
	live := made(t, "")
	for name, data := range contents(t, live.Data) {
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, relative.Data, name), []byte(data), 0o600))
	}
	before := contents(t, filepath.Join(elsewhere, relative.Data))
	t.Chdir(elsewhere)
	_, err := Restore(t.Context(), bytes.NewReader(whole), one, RestoreOptions{})
	require.NoError(t, err)
	assert.Equal(t, before, contents(t, filepath.Join(elsewhere, relative.Data)))

	// Somebody puts a file there during a restore.
	path := two.KeyringFile(keyring.Ticket)
	_, err = Restore(t.Context(), bytes.NewReader(whole), two, RestoreOptions{at: func(step string) error {
		if step == path {
			return os.WriteFile(path, []byte("mine"), 0o600)
		}
		return nil
	}})
	require.Error(t, err)
	assert.Equal(t, "mine", contents(t, two.Data)["ticket.keyring"])
	assert.NotContains(t, contents(t, two.Data), "session.keyring")
	require.NoError(t, os.Remove(path))

	// And after one that was killed.
	killedBefore(t, "directory", whole, two)
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	_, err = Restore(t.Context(), bytes.NewReader(whole), two, RestoreOptions{})
	require.ErrorContains(t, err, "cannot be kept")
	assert.Equal(t, "mine", contents(t, two.Data)["ticket.keyring"])
}

// A plan that comes back after a power cut ends no live directory.
func TestPlanComesBack(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole, another := backupOf(t, from), backupOf(t, from)
	p := target(t, from, "")
	var plan []byte
	_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(step string) (err error) {
		if step == "finish" {
			plan, err = os.ReadFile(p.File(state.RestoreFile))
		}
		return err
	}})
	require.NoError(t, err)
	db, err := directory.Open(t.Context(), p.Directory())
	require.NoError(t, err)
	require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: "new"}))
	require.NoError(t, db.Close())
	require.NoError(t, os.WriteFile(p.File(state.RestoreFile), plan, 0o600))

	_, err = Restore(t.Context(), bytes.NewReader(another), p, RestoreOptions{})
	require.ErrorContains(t, err, "is complete")
	did, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{})
	require.NoError(t, err)
	assert.Empty(t, did.Restored)
	brands, err := serves(t, p)
	require.NoError(t, err)
	assert.Equal(t, []string{"commbox", "new"}, brands)
}

// A connection that breaks while the load is committed leaves the plan, and the next restore
// finishes.
func TestCommitIsUnknown(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	whole := backupOf(t, from)
	p := target(t, from, servers.Database(t))
	broken := errors.New("connection broke")
	_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(step string) error {
		if step == "loaded" {
			return broken
		}
		return nil
	}})
	require.ErrorIs(t, err, broken)
	_, err = serves(t, p)
	require.Error(t, err)
	_, err = Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{})
	require.NoError(t, err)
	_, err = serves(t, p)
	require.NoError(t, err)
}

// The record of the replay store is restored if it is missing.
func TestReplayRecord(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	record := `{"store":"redis:x","maxSkewMillis":60000}`
	require.NoError(t, os.WriteFile(from.File(state.ReplayFile), []byte(record), 0o600))
	whole := backupOf(t, from)
	p := target(t, from, "")
	full := errors.New("disk full")
	_, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{at: func(step string) error {
		if step == "directory" {
			return full
		}
		return nil
	}})
	require.ErrorIs(t, err, full)
	assert.NotContains(t, contents(t, p.Data), state.ReplayFile)
	killedBefore(t, "directory", whole, p)
	did, err := Restore(t.Context(), bytes.NewReader(whole), p, RestoreOptions{})
	require.NoError(t, err)
	assert.Contains(t, did.Restored, p.File(state.ReplayFile))
	assert.Equal(t, record, contents(t, p.Data)[state.ReplayFile])
	there := target(t, from, "")
	require.NoError(t, os.WriteFile(there.File(state.ReplayFile), []byte("mine"), 0o600))
	_, err = Restore(t.Context(), bytes.NewReader(whole), there, RestoreOptions{})
	require.NoError(t, err)
	assert.Equal(t, "mine", contents(t, there.Data)[state.ReplayFile])
}

// A backup reads the directory as it is, and migrates nothing.
func TestBackupMigratesNothing(t *testing.T) {
	t.Parallel()
	p := made(t, "")
	for _, c := range []struct{ change, want string }{
		{`DELETE FROM directory_version WHERE version_id > 1`, "restart the service"},
		{`UPDATE directory_version SET version_id = 99 WHERE version_id > 0`, "run the newer program"},
	} {
		db, err := sql.Open("sqlite", p.Directory())
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), c.change)
		require.NoError(t, errors.Join(err, db.Close()))
		_, err = Write(t.Context(), new(bytes.Buffer), p, Options{})
		require.ErrorContains(t, err, c.want)
	}
}

// A generation above that of the backup's keyring is lowered, or the service would refuse the
// keyring.
func TestGenerationAboveTheKeyring(t *testing.T) {
	t.Parallel()
	from := made(t, "")
	require.NoError(t, os.WriteFile(from.File(generations), []byte(`{"session":1,"ticket":2,"/x":7}`), 0o600))
	p := target(t, from, "")
	_, err := Restore(t.Context(), bytes.NewReader(backupOf(t, from)), p, RestoreOptions{})
	require.NoError(t, err)
	noted, err := p.Generations()
	require.NoError(t, err)
	assert.Equal(t, map[string]uint64{"session": 1, "ticket": 1, "/x": 7}, noted)
}

// Keyrings that are there are kept, unless they are older than those of the backup.
func TestKeyringsAreKept(t *testing.T) {
	t.Parallel()
	p := made(t, "")
	kek, err := p.OpenKEK()
	require.NoError(t, err)
	path := p.KeyringFile(keyring.Ticket)
	c := keyring.Config{Kind: keyring.Ticket, Realm: p.Realm, KEK: kek}
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	oldLog, err := os.ReadFile(path + auditSuffix)
	require.NoError(t, err)
	first := backupOf(t, p)
	_, err = keyring.Change(path, c, "a test", keyring.Step{Do: keyring.Rotate})
	require.NoError(t, err)
	second := backupOf(t, p)
	require.NoError(t, os.Remove(p.Directory()))

	did, err := Restore(t.Context(), bytes.NewReader(first), p, RestoreOptions{})
	require.NoError(t, err)
	assert.Len(t, did.Kept, 3)
	assert.Equal(t, []string{p.Directory()}, did.Restored)
	require.NoError(t, os.Remove(p.Directory()))

	require.NoError(t, os.WriteFile(path, old, 0o600))
	require.NoError(t, os.WriteFile(path+auditSuffix, oldLog, 0o600))
	_, err = Restore(t.Context(), bytes.NewReader(second), p, RestoreOptions{})
	assert.ErrorContains(t, err, "and older (generation 1) than that of the backup (2)")

	require.NoError(t, os.Remove(path))
	_, err = Restore(t.Context(), bytes.NewReader(second), p, RestoreOptions{})
	assert.ErrorContains(t, err, "is there without its keyring")
	require.NoError(t, os.Remove(path+auditSuffix))
	require.NoError(t, os.WriteFile(p.File(generations), []byte(`{"ticket":2}`), 0o600))
	_, err = Restore(t.Context(), bytes.NewReader(first), p, RestoreOptions{})
	assert.ErrorContains(t, err, "has seen generation 2")
	_, err = Restore(t.Context(), bytes.NewReader(second), p, RestoreOptions{})
	require.NoError(t, err)
	_, err = serves(t, p)
	require.NoError(t, err)
}

// A backup that is interrupted or fails leaves no file.
func TestBackupFails(t *testing.T) {
	t.Parallel()
	p := made(t, "")
	path := filepath.Join(t.TempDir(), "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := WriteFile(ctx, path, p, Options{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, contents(t, filepath.Dir(path)))
	require.NoError(t, os.WriteFile(path+".unfinished", nil, 0o600))
	_, err = WriteFile(t.Context(), path, p, Options{})
	require.ErrorContains(t, err, "was killed")
	require.NoError(t, os.Remove(path+".unfinished"))
	_, err = WriteFile(t.Context(), path, p, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, slices.Collect(maps.Keys(contents(t, filepath.Dir(path)))))
	require.NoError(t, os.WriteFile(p.KeyringFile(keyring.Session), []byte("{}"), 0o600))
	_, err = WriteFile(t.Context(), path+"2", p, Options{})
	require.ErrorContains(t, err, "would be useless")
	assert.Len(t, contents(t, filepath.Dir(path)), 1)
}

// FuzzOpen reads files: what is opened and read to its end has the realm and the files of a
// backup, and everything else is refused with words.
func FuzzOpen(f *testing.F) {
	var good bytes.Buffer
	w, err := seal(&good, keyring.InsecureCleartext, "prod", time.Unix(1_800_000_000, 0))
	require.NoError(f, err)
	_, err = w.Write([]byte(`{"keyrings":[{"name":"ticket.keyring","data":"AAAA"}]}` + "\nrows"))
	require.NoError(f, err)
	require.NoError(f, w.Close())
	line, _, _ := bytes.Cut(good.Bytes(), []byte("\n"))
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()-1])
	f.Add(append(bytes.Clone(line), '\n'))
	f.Add([]byte(`{"admitone":"backup","format":2}` + "\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, plain, err := open(bytes.NewReader(data), keyring.InsecureCleartext, "prod")
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Equal(t, "prod", h.Realm)
		files, rest, err := readFiles(plain)
		if err == nil {
			_, err = io.Copy(io.Discard, rest)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrNoBackup)
			return
		}
		for _, k := range files.Keyrings {
			require.Equal(t, filepath.Base(k.Name), k.Name)
		}
	})
}
