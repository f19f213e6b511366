package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/admitone/admitone/internal/servers"
)

// host starts database servers by package servers, which is for tests. host is a
// testing.TB outside of a test, with only the methods for package servers.
type host struct {
	testing.TB
	dir    string
	ending []func()

	redisURL, postgresURL string // of servers that run
}

// failure is the panic of Fatal, Fatalf and Skipf.
type failure struct{ error }

func (h *host) Helper()                         {}
func (h *host) Cleanup(end func())              { h.ending = append(h.ending, end) }
func (h *host) Fatal(args ...any)               { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(text string, args ...any) { panic(failure{fmt.Errorf(text, args...)}) }
func (h *host) Skipf(text string, args ...any)  { panic(failure{fmt.Errorf(text, args...)}) }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp(h.dir, "server-")
	if err != nil {
		h.Fatal(err)
	}
	return dir
}

// end stops the servers.
func (h *host) end() {
	for _, end := range slices.Backward(h.ending) {
		end()
	}
}

// try calls start, and returns its failure.
func (h *host) try(start func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f.error
		}
	}()
	start()
	return nil
}

// redis returns the URL of a durable Redis, as a login service needs.
func (h *host) redis() (string, error) {
	if h.redisURL != "" {
		return h.redisURL, nil
	}
	err := h.try(func() { h.redisURL = servers.Redis(h, "", servers.Durable...).URL })
	return h.redisURL, err
}

// postgres returns the URL of a PostgreSQL.
func (h *host) postgres() (string, error) {
	if h.postgresURL != "" {
		return h.postgresURL, nil
	}
	err := h.try(func() { h.postgresURL = servers.PostgreSQL(h).URL })
	return h.postgresURL, err
}
