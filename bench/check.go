package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// oauth2Proxy is the version of oauth2-proxy to measure. "go install" builds the program
// outside of this module, with the program's own requirements.
const oauth2Proxy = "github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6"

// checkTable measures the session check for proxies, beside oauth2-proxy's check and the
// bare server.
func (b *bench) checkTable(emit func(*table) error) error {
	t := &table{
		Name: "check", Title: "The session check of a proxy",
		Columns: []string{
			"service", "clients", "checks/s", "of bare", "ours ×", "p50 ms", "p99 ms", "CPU µs a check", "allocations",
		},
	}
	t.note("ticketd answers /auth/brand/…/check, and oauth2-proxy /oauth2/auth, each with the cookie of a real session. " +
		"oauth2-proxy logs no requests here; ticketd writes its log. *ours ×* is ticketd's checks a second divided by " +
		"the row's.")
	s, err := b.service()
	if err != nil {
		return err
	}
	p, err := b.pair(s, "memory")
	if err != nil {
		return err
	}
	defer p.end()
	var check route
	for _, r := range s.routes(p.cookie) {
		if r.name == checkRoute {
			check = r
		}
	}
	b.progress("check: building %s", oauth2Proxy)
	other, cookie, err := b.serveOAuth2Proxy()
	if err != nil {
		t.note("oauth2-proxy is left out: %v.", err)
	} else {
		defer other.end()
	}
	for _, n := range b.clients {
		b.progress("check: %d clients", n)
		ours, bare := b.sides(p, check)
		sides, names := []*side{ours, bare}, []string{"ticketd", "bare handler"}
		if other != nil {
			request := fmt.Appendf(nil, "GET /oauth2/auth HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n%s\r\n",
				other.address, cookie, browser)
			sides = append(sides, &side{process: other, load: func() (load, error) {
				return load{want: 202, time: b.time, requests: [][]byte{request}}, nil
			}})
			names = append(names, "oauth2-proxy")
		}
		for _, x := range sides {
			if err := x.start(n); err != nil {
				return err
			}
			defer hangUp(x.conns)
		}
		if err := b.interleave(sides...); err != nil {
			return err
		}
		for i, x := range sides {
			t.row(names[i], n, median(x.perSecond), ratio(x.perSecond, bare.perSecond), ratio(ours.perSecond, x.perSecond),
				median(x.p50)/1000, median(x.p99)/1000, median(x.cpu), median(x.allocations))
		}
	}
	return emit(t)
}

// serveOAuth2Proxy builds and starts oauth2-proxy, signs in a user by password, and
// returns the cookie of the session.
func (b *bench) serveOAuth2Proxy() (p *process, cookie string, err error) {
	build := exec.Command("go", "install", oauth2Proxy)
	build.Env = append(os.Environ(), "GOBIN="+b.dir)
	build.Dir = b.dir // outside of this module
	if out, err := build.CombinedOutput(); err != nil {
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		return nil, "", fmt.Errorf("it cannot be built (%s)", lines[len(lines)-1])
	}
	passwords := filepath.Join(b.dir, "htpasswd")
	// john.d has the password "password", hashed by SHA-1 as htpasswd -s does.
	if err := os.WriteFile(passwords, []byte("john.d:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"), 0o600); err != nil {
		return nil, "", err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	metrics, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	cmd := exec.Command(filepath.Join(b.dir, "oauth2-proxy"), "--http-address="+address,
		"--metrics-address="+metrics, "--provider=github", "--client-id=bench", "--client-secret=bench",
		"--cookie-secret="+base64.RawURLEncoding.EncodeToString(secret), "--cookie-secure=false", "--email-domain=*",
		"--htpasswd-file="+passwords, "--upstream=static://200", "--request-logging=false", "--auth-logging=false",
		"--set-xauthrequest")
	p, err = begin(cmd, filepath.Join(b.dir, "oauth2-proxy.log"), func(p *process, _ []byte) bool {
		p.address, p.metrics = address, metrics
		return answers(address) && answers(metrics)
	})
	if err != nil {
		return nil, "", err
	}
	cookie, err = signIn(p)
	if err != nil {
		return nil, "", errors.Join(err, p.end())
	}
	return p, cookie, nil
}

// freeAddress returns an address without a listener, for a server that cannot choose a
// free port itself.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers reports whether a server listens at address.
func answers(address string) bool {
	c, err := net.Dial("tcp", address)
	return err == nil && c.Close() == nil
}

// signIn sends the form of oauth2-proxy, and returns the cookie of the session.
func signIn(p *process) (cookie string, err error) {
	conns, err := clients(p.address, 1)
	if err != nil {
		return "", err
	}
	defer hangUp(conns)
	form := url.Values{"username": {"john.d"}, "password": {"password"}}.Encode()
	status, head, _, err := conns[0].do(fmt.Appendf(nil, "POST /oauth2/sign_in HTTP/1.1\r\nHost: %s\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", p.address, len(form), form))
	if err != nil {
		return "", err
	}
	_, rest, ok := bytes.Cut(head, []byte("\r\nSet-Cookie: "))
	if !ok {
		return "", fmt.Errorf("signing in to oauth2-proxy answers %d without a cookie", status)
	}
	pair, _, _ := bytes.Cut(rest, []byte(";"))
	return string(pair), nil
}
