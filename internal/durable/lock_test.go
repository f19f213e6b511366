package durable

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// holdLock is a child process that takes a lock, says so, and never ends.
func holdLock(path string) {
	if _, err := Lock(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	time.Sleep(time.Hour)
}

// lockOnce is a child process that takes a lock and says how that went.
func lockOnce(path string) {
	_, err := Lock(path)
	fmt.Print(err)
	os.Exit(0)
}

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		first, err := Lock(path)
		require.NoError(t, err)

		begun := time.Now()
		_, err = Lock(path)
		assert.ErrorIs(t, err, ErrLocked)
		assert.ErrorContains(t, err, "process ID "+strconv.Itoa(os.Getpid()))
		assert.Equal(t, lockWait, time.Since(begun).Round(lockRetry))

		require.NoError(t, first.Close())
		second, err := Lock(path)
		require.NoError(t, err, "the lock ends with Close")
		require.NoError(t, second.Close())
	})
}

func TestLockWaitsABit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		first, err := Lock(path)
		require.NoError(t, err)
		go func() {
			time.Sleep(lockWait / 2)
			first.Close()
		}()
		second, err := Lock(path)
		require.NoError(t, err)
		require.NoError(t, second.Close())
	})
}

func TestLockEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envLock+"="+path)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)

	synctest.Test(t, func(t *testing.T) {
		_, err = Lock(path)
		assert.ErrorIs(t, err, ErrLocked)
		assert.ErrorContains(t, err, "process ID "+strconv.Itoa(child.Process.Pid))
	})

	require.NoError(t, child.Process.Kill())
	child.Wait()
	lock, err := Lock(path)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestLockFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	require.NoError(t, os.WriteFile(path, []byte("12345678901234567890 something else"), 0o600))
	lock, err := Lock(path)
	require.NoError(t, err)
	assert.Equal(t, strconv.Itoa(os.Getpid())+"\n", content(t, path))
	require.NoError(t, lock.Close())
	assert.FileExists(t, path)
}
