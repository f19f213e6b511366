package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const brand = "commbox"

// lifetime is the lifetime of tickets, long enough for a round.
const lifetime = 15 * time.Minute

// service is a ticketd built from this checkout, with one brand, one agent and an API key
// without limit.
type service struct {
	dir string // temporary
	exe string // ticketd
	key string // the API key

	lifetime time.Duration // of the tickets
}

// newService makes the data folder of a ticketd, under dir.
func newService(dir, exe string) (*service, error) {
	s := &service{dir: dir, exe: exe, lifetime: lifetime}
	for _, args := range [][]string{
		{"init"},
		{"brand", "add", brand, "--region", "GB", "--one-time"},
		{
			"agent", "add", "john.d", "--brand", brand, "--email", "john.d@gmail.com", "--phone1", "+44 250 123 4567",
			"--unique-id", "123456", "--first-name", "John", "--last-name", "Doe", "--groups", "sales,support",
		},
		{
			"apikey", "add", "--brands", brand, "--scopes", "issue,redeem", "--expires", "365d",
			"--rate", "1000000", "--burst", "1000000",
		},
	} {
		cmd := s.command(args...)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w%s", cmd, err, stderrOf(err))
		}
		s.key = strings.TrimSpace(string(out))
	}
	return s, nil
}

// stderrOf returns the standard error of a command that failed in exec.Cmd.Output.
func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return ": " + string(e.Stderr)
	}
	return ""
}

// repository is the folder of the main module.
func repository() string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/admitone/admitone").Output()
	if err != nil {
		return ".."
	}
	return strings.TrimSpace(string(out))
}

func (s *service) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.exe, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ADMITONE_") && !strings.HasPrefix(v, "OTEL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "ADMITONE_DATA="+filepath.Join(s.dir, "data"))
	return cmd
}

// listening matches the lines of the log with the addresses of the service and its metrics.
var listening = regexp.MustCompile(`"msg":"(listening|serving metrics)","address":"([^"]*)"`)

// serve starts the service with a replay store. The log goes into a file, as on a server.
func (s *service) serve(replay string) (*process, error) {
	cmd := s.command("serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json",
		"--replay", replay, "--max-lifetime", lifetime.String())
	return begin(cmd, filepath.Join(s.dir, "ticketd.log"), func(p *process, log []byte) bool {
		for _, m := range listening.FindAllSubmatch(log, -1) {
			if string(m[1]) == "listening" {
				p.address = string(m[2])
			} else {
				p.metrics = string(m[2])
			}
		}
		return p.address != "" && p.metrics != ""
	})
}

// issueRequest is the request for the agent's one-time ticket.
func (s *service) issueRequest() []byte {
	return s.post("/auth/ticket", fmt.Sprintf(`{"data":{"brand":%q,"username":"john.d","email":"john.d@gmail.com",`+
		`"uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","oneTimeUse":true,`+
		`"expiresIn":%d}}`, brand, int(s.lifetime.Seconds())))
}

func (s *service) redeemRequest(ticket string) []byte {
	return s.post("/auth/redeem", fmt.Sprintf(`{"ticket":%q,"audience":"agent"}`, ticket))
}

func (s *service) post(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: tickets.example.com\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, s.key, len(body), body)
}

// loginRequest is a browser's request for a login link.
func (s *service) loginRequest(ticket string) []byte {
	return fmt.Appendf(nil, "GET /login?ta=%s HTTP/1.1\r\nHost: tickets.example.com\r\n%s\r\n", ticket, browser)
}

// checkRequest is a proxy's question about the session of a cookie.
func (s *service) checkRequest(cookie string) []byte {
	return fmt.Appendf(nil, "GET /auth/brand/%s/check HTTP/1.1\r\nHost: tickets.example.com\r\nCookie: %s\r\n%s\r\n",
		brand, cookie, browser)
}

// browser has the common headers of a browser's requests.
const browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n"

// ticketIn returns the ticket of an answer of /auth/ticket.
func ticketIn(body []byte) (string, error) {
	var answer struct {
		Data struct {
			Ticket string `json:"encpryptedString"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("an answer of /auth/ticket: %w: %s", err, body)
	}
	if answer.Data.Ticket == "" {
		return "", fmt.Errorf("an answer of /auth/ticket has no ticket: %s", body)
	}
	return answer.Data.Ticket, nil
}

// issue asks for n tickets.
func (s *service) issue(conns []*conn, n int) ([]string, error) {
	request := s.issueRequest()
	tickets, errs := make([]string, n), make([]error, n)
	l := load{conns: conns, requests: make([][]byte, n), once: true, time: lifetime, want: 200}
	for i := range l.requests {
		l.requests[i] = request
	}
	l.answered = func(i, _ int, body []byte) { tickets[i], errs[i] = ticketIn(body) }
	if _, err := l.run(); err != nil {
		return nil, fmt.Errorf("issuing tickets: %w", err)
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return tickets, nil
}
