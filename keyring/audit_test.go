package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// changed is a keyring of three generations, with the bytes of each file.
func changed(t *testing.T) (path string, c Config, files [][]byte) {
	t.Helper()
	path, c, clock := timed(t)
	c.Actor = "alice"
	files = append(files, mustRead(t, path))
	for range 2 {
		clock.t = clock.t.Add(time.Hour)
		mustChange(t, path, c, Step{Do: Rotate, Now: true})
		files = append(files, mustRead(t, path))
	}
	return path, c, files
}

func TestAudit(t *testing.T) {
	path, c, files := changed(t)
	info, err := Read(path, c)
	require.NoError(t, err)
	for _, config := range []*Config{&c, nil} {
		log, err := Audit(path, config)
		require.NoError(t, err)
		require.Len(t, log, 3)
		p := DefaultPolicy(Ticket)
		assert.Equal(t, []Step{{Do: created, Key: info.Keys[0].ID, Algorithm: "AES256_GCM", Policy: &p}}, log[0].Steps)
		assert.Empty(t, log[0].Before)
		for i, e := range log {
			assert.Equal(t, uint64(i+1), e.Generation)
			assert.Equal(t, Done, e.Result)
			assert.Equal(t, fingerprint(files[i]), e.After)
			assert.Regexp(t, `^.+@.+$`, e.Who)
			if i > 0 {
				assert.Equal(t, fingerprint(files[i-1]), e.Before)
				assert.Equal(t, "alice", e.Actor)
				assert.Equal(t, "as a test", e.Why)
				assert.Equal(t, []Step{{Do: Rotate, Key: info.Keys[i].ID, Algorithm: "AES256_GCM", Now: true}}, e.Steps)
			}
		}
		assert.Equal(t, info.Audit, log[2].Hash)
		assert.Equal(t, newClock().t.Add(2*time.Hour), log[2].Time)
	}
	stat, err := os.Stat(path + ".audit")
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), stat.Mode().Perm())
}

func fingerprint(data []byte) string {
	f, err := peek("", data)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(f.fingerprint[:])
}

// TestAuditDamage edits every byte of a log, cuts it everywhere, and removes,
// repeats and exchanges its lines. Nothing passes, with the KEK or without, but
// what a killed writer would have left: a last outcome that is missing, and that
// shows.
//
// trap K18
func TestAuditDamage(t *testing.T) {
	path, c, files := changed(t)
	file := files[2]
	good := mustRead(t, path+".audit")
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	require.Len(t, lines, 6)
	last := len(good) - len(lines[5])

	known, err := read(path, &c)
	require.NoError(t, err)
	inMemory := func(data []byte) ([]AuditEntry, error) {
		l := &auditLog{exists: true, path: path + ".audit"}
		if l.err = l.parse(data); l.err != nil {
			l.entries = nil
		}
		if err := l.check(known, false); err != nil {
			return nil, err
		}
		return l.entries, nil
	}
	tried := 0
	try := func(what string, data []byte, unfinished bool) {
		t.Helper()
		ways := []func() ([]AuditEntry, error){func() ([]AuditEntry, error) { return inMemory(data) }}
		if tried++; tried%50 == 0 || len(what) > 8 { // each kind of damage in a file, too
			require.NoError(t, os.WriteFile(path+".audit", data, 0o600))
			ways = append(ways,
				func() ([]AuditEntry, error) { return Audit(path, &c) },
				func() ([]AuditEntry, error) { return Audit(path, nil) })
		}
		for _, way := range ways {
			log, err := way()
			if unfinished {
				if assert.NoError(t, err, what) {
					assert.Equal(t, Unfinished, log[2].Result, what)
				}
				continue
			}
			if f, ok := errors.AsType[*FileError](err); !ok || log != nil {
				t.Errorf("%s: no error, or another: %v", what, err)
			} else if !slices.Contains([]Reason{AuditBroken, Forked}, f.Reason) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for i := range good {
		for _, b := range []byte{good[i] ^ 1, good[i] ^ 0x20, ' '} {
			data := bytes.Clone(good)
			if data[i] == b {
				continue
			}
			data[i] = b
			// The last newline is that of the last outcome.
			try("edited", data, i == len(good)-1)
		}
		try("cut", good[:i], i >= last)
		if i%7 == 0 {
			try("inserted", slices.Concat(good[:i], []byte("x"), good[i:]), false)
			try("removed", slices.Concat(good[:i], good[i+1:]), i == len(good)-1)
		}
	}
	for i := range lines {
		try("a line removed", bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil), i == 5)
		try("a line twice", bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil), false)
		for j := range i {
			other := slices.Clone(lines)
			other[i], other[j] = other[j], other[i]
			try("two lines exchanged", bytes.Join(other, nil), false)
		}
	}
	try("another's", func() []byte { other, _, _ := changed(t); return mustRead(t, other+".audit") }(), false)
	require.NoError(t, os.Remove(path+".audit"))
	_, err = Audit(path, &c)
	assertCause(t, AuditMissing, err)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.Equal(t, file, mustRead(t, path))
}

// TestAuditAfterDamage changes a keyring whose log is missing, broken, or well.
//
// trap K18
func TestAuditAfterDamage(t *testing.T) {
	path, c, files := changed(t)
	log := mustRead(t, path+".audit")
	_, err := Change(path, c, "why", Step{Do: BeginAudit})
	assert.ErrorContains(t, err, "is intact")

	edited := bytes.Replace(log, []byte("alice"), []byte("mallo"), 1)
	require.NoError(t, os.WriteFile(path+".audit", edited, 0o600))
	for _, try := range []func() error{
		func() error { _, err := Read(path, c); return err },
		func() error { _, err := rotate(path, c); return err },
		func() error { _, _, err := Apply(path, c, nil); return err },
	} {
		assertCause(t, AuditBroken, try())
	}
	assert.Equal(t, files[2], mustRead(t, path))
	r := newRing(t, path, c)
	assert.Equal(t, uint64(3), r.Report().Generation, "who only reads goes on")

	_, err = Change(path, c, "", Step{Do: BeginAudit})
	assert.ErrorContains(t, err, "reason")
	down := c
	down.KEK = brokenKEK{KEK: c.KEK, encrypt: true}
	_, err = Change(path, down, "why", Step{Do: BeginAudit})
	assert.ErrorIs(t, err, errDown)
	assert.Equal(t, edited, mustRead(t, path+".audit"), "what fails moves nothing")
	info := mustChange(t, path, c, Step{Do: BeginAudit}, Step{Do: Revoke, Key: r.Report().Primary})
	assert.Equal(t, uint64(4), info.Generation)
	entries, err := Audit(path, &c)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, BeginAudit, entries[0].Steps[0].Do)
	assert.Equal(t, fingerprint(files[2]), entries[0].Before)
	kept, err := filepath.Glob(path + ".audit.*")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	assert.Equal(t, edited, mustRead(t, kept[0]))

	require.NoError(t, removeAudit(path))
	_, err = rotate(path, c)
	assertCause(t, AuditMissing, err)
	_, err = Read(path, c)
	assert.NoError(t, err, "a copy of the file alone can be looked at")
	mustChange(t, path, c, Step{Do: BeginAudit})
	mustChange(t, path, c, Step{Do: Rotate, Now: true})
}

// TestOlderThanItsLog restores yesterday's file.
//
// trap K17
func TestOlderThanItsLog(t *testing.T) {
	path, c, files := changed(t)
	r := newRing(t, path, c)
	for i, old := range files[:2] {
		require.NoError(t, os.WriteFile(path, old, 0o600))
		for _, try := range []func() error{
			func() error { _, err := Read(path, c); return err },
			func() error { _, err := rotate(path, c); return err },
			func() error { _, err := Change(path, c, "why", Step{Do: BeginAudit}); return err },
			func() error { _, err := Audit(path, &c); return err },
			func() error { _, err := Audit(path, nil); return err },
			r.Reload,
		} {
			err := try()
			assertCause(t, RolledBack, err)
			assert.ErrorContains(t, err, "older file was put back")
			assert.ErrorContains(t, err, path)
		}
		assert.Equal(t, old, mustRead(t, path), i)
	}

	c.UnsafeOlder = true
	info, err := Read(path, c)
	require.NoError(t, err)
	assert.Equal(t, uint64(2), info.Generation)
	info = mustChange(t, path, c, Step{Do: Rotate, Now: true})
	assert.Equal(t, uint64(4), info.Generation, "above all that was")
	c.UnsafeOlder = false
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, fingerprint(files[1]), log[3].Before)
	mustChange(t, path, c, Step{Do: Rotate, Now: true})
}

// TestTwoFilesExchanged exchanges two keyrings, of one kind, realm and KEK.
func TestTwoFilesExchanged(t *testing.T) {
	one, c, files := changed(t)
	two, _, others := changed(t)
	ring := newRing(t, one, c)
	require.NoError(t, os.WriteFile(one, others[2], 0o600))
	require.NoError(t, os.WriteFile(two, files[2], 0o600))
	_, err := Read(one, c)
	assertCause(t, AuditBroken, err)
	assert.ErrorContains(t, err, "is another keyring's")
	_, err = rotate(two, c)
	assertCause(t, AuditBroken, err)
	assertCause(t, Forked, ring.Reload())

	// With their logs, each is whole, but not for who knows the one that was there.
	logs := [][]byte{mustRead(t, one+".audit"), mustRead(t, two+".audit")}
	require.NoError(t, os.WriteFile(one+".audit", logs[1], 0o600))
	require.NoError(t, os.WriteFile(two+".audit", logs[0], 0o600))
	mustChange(t, one, c, Step{Do: Rotate, Now: true})
	err = ring.Reload()
	assertCause(t, LostKey, err)
	assert.ErrorContains(t, err, "is another")
}

// TestEveryByteOutsideTheKeyset edits each byte of the file's first line, in turn,
// and sees that each fault has a cause that tells what it is.
func TestEveryByteOutsideTheKeyset(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of files in one goroutine; the whole run has it")
	}
	path, c, files := changed(t)
	line, _, _ := bytes.Cut(files[2], []byte("\n"))
	causes := make(map[Reason]int)
	for i := range line {
		for _, x := range []byte{1, 0x20} {
			data := bytes.Clone(files[2])
			data[i] ^= x
			require.NoError(t, os.WriteFile(path, data, 0o600))
			info, err := Read(path, c)
			f, ok := errors.AsType[*FileError](err)
			if !ok {
				t.Fatalf("byte %d: %v", i, err)
			}
			assert.Zero(t, info)
			causes[f.Reason]++
		}
	}
	for _, cause := range []Reason{BadHeader, WrongRealm, WrongKEK, NotOpened} {
		assert.NotZero(t, causes[cause], cause)
	}
	assert.Zero(t, causes[AuditBroken], "the KEK is asked before the log: %v", causes)
}

// TestTornLog has a writer die while it appends to the log.
//
// trap K16
func TestTornLog(t *testing.T) {
	path, c, files := changed(t)
	log := mustRead(t, path+".audit")
	require.NoError(t, os.WriteFile(path+".audit", append(bytes.Clone(log), `{"entry":"intent","generation":4,"ti`...), 0o600))
	entries, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Len(t, entries, 3)
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	assert.Equal(t, uint64(4), info.Generation)
	entries, err = Audit(path, &c)
	require.NoError(t, err)
	assert.Len(t, entries, 4)
	assert.Equal(t, fingerprint(files[2]), entries[3].Before)
	assert.NotContains(t, string(mustRead(t, path+".audit")), `"ti{`)
	assert.Equal(t, 8, strings.Count(string(mustRead(t, path+".audit")), "\n"))
}

// TestCreateOverALog makes a keyring where there was one before: its log goes on,
// if it is well, and is not written over if it is not.
func TestCreateOverALog(t *testing.T) {
	path, c, files := changed(t)
	require.NoError(t, os.Remove(path))
	require.NoError(t, Create(path, c, DefaultPolicy(Ticket), ""))
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	assert.Equal(t, uint64(2), info.Generation)
	log, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Len(t, log, 5)
	require.NoError(t, os.WriteFile(path, files[2], 0o600))
	_, err = Read(path, c)
	assertCause(t, RolledBack, err, "the one from before comes back")

	require.NoError(t, os.Remove(path))
	broken := append([]byte("x"), mustRead(t, path+".audit")...)
	require.NoError(t, os.WriteFile(path+".audit", broken, 0o600))
	assertCause(t, AuditBroken, Create(path, c, DefaultPolicy(Ticket), ""))
	assert.NoFileExists(t, path)
	assert.Equal(t, broken, mustRead(t, path+".audit"))
}

// TestReadWhileWriting reads file and log while both change.
func TestReadWhileWriting(t *testing.T) {
	c := config(Ticket)
	path := newFile(t, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			if _, err := rotate(path, c); !assert.NoError(t, err) {
				return
			}
		}
	}()
	var last uint64
	for reads := 0; ; reads++ {
		info, err := Read(path, c)
		require.NoError(t, err, reads)
		require.GreaterOrEqual(t, info.Generation, last)
		last = info.Generation
		_, err = Audit(path, nil)
		require.NoError(t, err, reads)
		select {
		case <-done:
			info, err := Read(path, c)
			require.NoError(t, err)
			assert.Equal(t, uint64(61), info.Generation)
			return
		default:
		}
	}
}

// TestNamesInTheLog has the system give names that are no text, as where USER is
// all that is known of the user.
func TestNamesInTheLog(t *testing.T) {
	for name, want := range map[string]string{
		"root": "root", "Zoë": "Zoë", "a\nb\x1b\u2028": "a?b??", "\xff\xfe": "?",
		strings.Repeat("x", 5000): strings.Repeat("x", 100) + "…", strings.Repeat("é", 100): strings.Repeat("é", 50) + "…",
		"x" + strings.Repeat("é", 100): "x" + strings.Repeat("é", 49) + "…",
	} {
		got := oneLine(name)
		assert.Equal(t, want, got)
		line, err := (&auditLine{Entry: outcomeLine, Who: got}).encode()
		require.NoError(t, err)
		l := new(auditLog)
		assert.NotContains(t, l.add(line).Error(), "canonical form")
	}
}

// TestLogIsNeverMadeUnreadable offers what would not read again.
func TestLogIsNeverMadeUnreadable(t *testing.T) {
	path, c, files := changed(t)
	log := mustRead(t, path+".audit")
	info, err := Read(path, c)
	require.NoError(t, err)
	for _, s := range []Step{
		{Do: Rotate, Now: true, KEK: "\xff"},
		{Do: Hold, Key: info.Keys[0].ID, Algorithm: "\xff"},
		{Do: Rotate, Now: true, Policy: &Policy{Lifetime: -time.Second}},
	} {
		_, err := Change(path, c, "", s)
		assert.ErrorContains(t, err, "the audit log cannot record", s)
	}
	assert.Equal(t, log, mustRead(t, path+".audit"))
	assert.Equal(t, files[2], mustRead(t, path))
}

// TestLogIsNoFile puts other things in the log's place. Each is told, with what to
// do, and a key can be revoked where that is done.
func TestLogIsNoFile(t *testing.T) {
	path, c, files := changed(t)
	log := path + ".audit"
	elsewhere := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.Rename(log, elsewhere))
	for name, put := range map[string]func() error{
		"a link to the log": func() error { return os.Symlink(elsewhere, log) },
		"a dangling link":   func() error { return os.Symlink("nowhere", log) },
		"a folder":          func() error { return os.Mkdir(log, 0o700) },
	} {
		require.NoError(t, put(), name)
		_, err := Read(path, c)
		assertCause(t, AuditBroken, err, name)
		assert.ErrorContains(t, err, "move it away", name)
		_, err = Change(path, c, "stolen", Step{Do: BeginAudit}, Step{Do: Revoke, Key: headerOf(t, path).primary().ID})
		assertCause(t, AuditBroken, err, name)
		require.NoError(t, os.Remove(log), name)
	}
	assert.Equal(t, files[2], mustRead(t, path))

	// One that has grown too long is put aside.
	f, err := os.Create(log)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(maxAudit+1))
	require.NoError(t, f.Close())
	_, err = rotate(path, c)
	assertCause(t, AuditBroken, err)
	assert.ErrorContains(t, err, "is longer than 67108864 bytes")
	assert.ErrorContains(t, err, "begin a new log")
	mustChange(t, path, c, Step{Do: BeginAudit}, Step{Do: Revoke, Key: headerOf(t, path).primary().ID})
	mustChange(t, path, c, Step{Do: Rotate})
}

// TestBothRestored restores file and log of yesterday, which only those can tell who
// have seen a later generation. It can be gone on with by their leave.
//
// trap K17
func TestBothRestored(t *testing.T) {
	path, c, _ := changed(t)
	file, log := mustRead(t, path), mustRead(t, path+".audit")
	for range 5 {
		mustChange(t, path, c, Step{Do: Rotate, Now: true})
	}
	r := newRing(t, path, c)
	require.NoError(t, os.WriteFile(path, file, 0o600))
	require.NoError(t, os.WriteFile(path+".audit", log, 0o600))
	assertCause(t, RolledBack, r.Reload())
	_, err := Read(path, c)
	require.NoError(t, err)
	c.MinGeneration = 8
	_, err = Read(path, c)
	assertCause(t, RolledBack, err)
	_, err = rotate(path, c)
	assertCause(t, RolledBack, err)
	c.UnsafeOlder = true
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	assert.Equal(t, uint64(9), info.Generation, "which services that have seen 8 take")
	c.UnsafeOlder = false
	newRing(t, path, c)
	_, err = Audit(path, &c)
	require.NoError(t, err)
	assertCause(t, LostKey, r.Reload(), "but for one that has keys in use that are lost")
}
