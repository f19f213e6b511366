package doctor

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// healthTime is the time limit of Health. /readyz answers within 3 seconds.
const healthTime = 10 * time.Second

// Health asks the running service of these settings, on this machine, whether it is ready: at
// /readyz of the address that it listens on.
func Health(ctx context.Context, c service.Config) Finding {
	f := &findings{c: c}
	f.health(ctx)
	return f.all[0]
}

func (f *findings) health(ctx context.Context) {
	const name = "service"
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	url := readyURL(f.c)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		f.add(name, Failed, "give --listen as serve has it", "%v", err)
		return
	}
	// The certificate is for the name that browsers know, and not for this address. Nothing secret is sent.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		f.add(name, Failed, "start the service, or give --listen and --tls-cert as serve has them", "no answer from %s: %v",
			url, err)
		return
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	switch {
	case err != nil:
		f.add(name, Failed, "see the service's log", "no whole answer from %s: %v", url, err)
	case res.StatusCode != http.StatusOK:
		f.add(name, Failed, "see the service's log", "%s answers %s: %s", url, res.Status, strings.TrimSpace(string(text)))
	default:
		f.add(name, Well, "", "%s answers: %s", url, strings.TrimSpace(string(text)))
	}
}

// readyURL returns the URL of /readyz at the address that the service listens on. A service that
// listens on all addresses is asked on the loopback interface.
func readyURL(c service.Config) string {
	scheme, address := "http", c.Listen
	if c.CertFile != "" {
		scheme = "https"
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		switch ip := net.ParseIP(host); {
		case host == "" || ip.Equal(net.IPv4zero):
			host = "127.0.0.1"
		case ip.Equal(net.IPv6unspecified):
			host = "::1"
		}
		address = net.JoinHostPort(host, port)
	}
	return scheme + "://" + address + "/readyz"
}
