//go:build unix

package servers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Host is a testing.TB outside of a test, for a program that starts servers. It has only
// the methods that this package calls. Call these functions within Try.
type Host struct {
	testing.TB
	dir    string
	ending []func()
}

// NewHost returns a Host with its temporary files in dir.
func NewHost(dir string) *Host { return &Host{dir: dir} }

// ErrMissing is wrapped by the error of Try if a program is not installed.
var ErrMissing = errors.New("a program is missing")

// failure is the panic of Fatal, Fatalf and Skipf.
type failure struct{ error }

// Helper does nothing.
func (h *Host) Helper() {}

// Cleanup has end called by End.
func (h *Host) Cleanup(end func()) { h.ending = append(h.ending, end) }

// Fatal ends Try.
func (h *Host) Fatal(args ...any) { panic(failure{errors.New(fmt.Sprint(args...))}) }

// Fatalf ends Try.
func (h *Host) Fatalf(text string, args ...any) { panic(failure{fmt.Errorf(text, args...)}) }

// Skipf ends Try with ErrMissing.
func (h *Host) Skipf(text string, args ...any) {
	panic(failure{fmt.Errorf("%w: %s", ErrMissing, fmt.Sprintf(text, args...))})
}

// TempDir makes a folder. The caller of NewHost removes it, with dir.
func (h *Host) TempDir() string {
	dir, err := os.MkdirTemp(h.dir, "server-")
	if err != nil {
		h.Fatal(err)
	}
	return dir
}

// End stops the servers.
func (h *Host) End() {
	for _, end := range slices.Backward(h.ending) {
		end()
	}
	h.ending = nil
}

// Try calls f, and returns its failure.
func (h *Host) Try(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			failed, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = failed.error
		}
	}()
	f()
	return nil
}
