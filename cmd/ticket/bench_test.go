package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/admitone/admitone/client"
)

// cmdKept runs bench, whose load must be good, except that a busy machine may not keep
// the rate: kept PROGRAM ARGS...
func cmdKept(ts *testscript.TestScript, _ bool, args []string) {
	checkKept(ts, ts.Exec(args[0], args[1:]...))
}

func checkKept(ts *testscript.TestScript, err error) {
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitRate {
		ts.Check(err)
	}
}

// cmdInterrupt is cmdKept with a Ctrl-C as soon as a file has four more matches of a regular
// expression: interrupt FILE REGEXP PROGRAM ARGS...
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[1])
	matches := func() int { return len(want.FindAllString(ts.ReadFile(args[0]), -1)) }
	before := matches()
	programs, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	cmd := exec.Command(filepath.Join(programs, args[2]), args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(time.Minute); matches() < before+4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			<-ended
			ts.Fatalf("no %q in %s within a minute", args[1], args[0])
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	checkKept(ts, <-ended)
}

// cmdFaulty starts a service with a fault, and sets a variable to its URL:
// faulty VARIABLE FAULT. The first ticket, which bench tries, is right.
//
//	twice    all callers are admitted
//	refuses  every ticket was used already
//	limits   every issue is over the rate limit
//	slow     every answer takes 300 ms
func cmdFaulty(ts *testscript.TestScript, _ bool, args []string) {
	fault := args[1]
	var mu sync.Mutex
	issued, admitted := 0, make(map[string]bool)
	answer := func(r *http.Request) (status int, data any) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/auth/ticket" {
			if issued++; issued > 1 && fault == "limits" {
				return http.StatusTooManyRequests, nil
			}
			return http.StatusOK, client.Issued{Ticket: fmt.Sprintf("ticket-%032x", issued)}
		}
		var request client.RedeemRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			return http.StatusBadRequest, nil
		}
		id := strings.TrimPrefix(request.Ticket, "ticket-")
		again := admitted[id]
		admitted[id] = true
		if again && fault != "twice" || issued > 1 && fault == "refuses" {
			return http.StatusForbidden, client.Error{Result: client.Refused, Reason: client.AlreadyUsed, TicketID: id}
		}
		return http.StatusOK, client.Redemption{Result: client.Admitted, Ticket: &client.Ticket{ID: id}}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault == "slow" {
			time.Sleep(300 * time.Millisecond)
		}
		status, data := answer(r)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(client.Envelope{Status: status, Description: "by the test", Data: data})
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}
