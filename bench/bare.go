package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
)

// bareVariable is an environment variable. If it is set, this program is the bare server.
const bareVariable = "BENCH_BARE"

// sample is an answer of ticketd, for the bare server to answer alike.
type sample struct {
	Path   string
	Status int
	Header http.Header
	Body   []byte
}

// newSample returns the answer with a head and a body to a request.
func newSample(request []byte, status int, head, body []byte) (s sample, err error) {
	_, rest, _ := strings.Cut(string(request), " ")
	s.Path, _, _ = strings.Cut(rest, " ")
	s.Path, _, _ = strings.Cut(s.Path, "?")
	s.Status, s.Body = status, append([]byte(nil), body...)
	_, fields, _ := strings.Cut(string(head), "\r\n")
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\r\n"))).ReadMIMEHeader()
	s.Header = http.Header(header)
	for _, name := range []string{"Date", "Content-Length"} { // by net/http
		s.Header.Del(name)
	}
	return s, err
}

// serveBare starts the bare server: net/http and handlers without work of their own. A
// handler reads a request, decodes the JSON if any, and writes an answer with the headers
// and the size of ticketd's answer. This is the floor for every service with these answers.
func serveBare(dir string, samples []sample) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(samples)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "samples.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), bareVariable+"="+file)
	return begin(cmd, filepath.Join(dir, "bare.log"), func(p *process, log []byte) bool {
		line, _, ok := strings.Cut(string(log), "\n")
		p.address, p.metrics = line, line
		return ok
	})
}

// bare is the main function of the bare server.
func bare(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var samples []sample
	if err := json.Unmarshal(text, &samples); err != nil {
		return err
	}
	mux := http.NewServeMux()
	for _, s := range samples {
		h, err := s.handler()
		if err != nil {
			return err
		}
		mux.HandleFunc(s.Path, h)
	}
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(w, "# by runtime.ReadMemStats\n%s %d\n", mallocs, m.Mallocs)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, l.Addr())
	// The same time limits as ticketd's: net/http takes time for them.
	server := http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 11 * time.Minute,
	}
	return server.Serve(l)
}

// mallocs is the metric of the allocations of a Go process.
const mallocs = "go_memstats_mallocs_total"

// bareIssue is the body of a request for a ticket.
type bareIssue struct {
	Data struct {
		client.IssueRequest
		ExpiresIn int `json:"expiresIn"`
	} `json:"data"`
}

func (s *sample) handler() (http.HandlerFunc, error) {
	writeHead := func(w http.ResponseWriter) {
		header := w.Header()
		for name, values := range s.Header {
			header[name] = values
		}
		w.WriteHeader(s.Status)
	}
	switch s.Path {
	case "/auth/ticket":
		return bareJSON[bareIssue, client.Issued](s.Body, writeHead)
	case "/auth/redeem":
		return bareJSON[client.RedeemRequest, client.Redemption](s.Body, writeHead)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		writeHead(w)
		_, _ = w.Write(s.Body)
	}, nil
}

// bareJSON decodes each request, and encodes one answer again and again.
func bareJSON[Request, Data any](body []byte, writeHead func(http.ResponseWriter)) (http.HandlerFunc, error) {
	answer := client.Envelope{Data: new(Data)}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		var request Request
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeHead(w)
		_ = json.NewEncoder(w).Encode(&answer)
	}, nil
}
