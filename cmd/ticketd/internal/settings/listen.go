package settings

import (
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// addListenFlags adds the flags about where the service is reached.
func addListenFlags(f *pflag.FlagSet, c *service.Config, listen string) {
	f.StringVar(&c.Listen, "listen", listen, "`HOST:PORT` to listen on; port 0 takes a free port")
	AddPublicURLFlag(f, &c.PublicURL, " (default: http and the address listened on)")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", service.IdleTimeout,
		"time for which a connection without a request is kept; behind a load balancer, more than the balancer's")
	f.StringVar(&c.MetricsListen, "metrics-listen", "",
		"`HOST:PORT` on which Prometheus finds /metrics; needs no login, so let nobody else reach this address "+
			"(default: no metrics)")
}

// AddConsoleFlags adds the flags about where the console is reached. The note ends the help
// of --console-listen.
func (s *Service) AddConsoleFlags(f *pflag.FlagSet, listen, note string) {
	c := &s.config
	f.StringVar(&c.ConsoleListen, "console-listen", listen,
		"`HOST:PORT` on which administrators find the console, and nothing else is served"+note)
	AddConsoleURLFlag(f, &c.ConsoleURL,
		"; its host should serve nothing else (default: http or https and the address of --console-listen)")
}

// AddConsoleURLFlag adds --console-url. The note ends the help of the flag.
func AddConsoleURLFlag(f *pflag.FlagSet, u *string, note string) {
	f.StringVar(u, "console-url", "", "`URL` under which browsers reach the console"+note)
}

// addTLSFlags adds the flags of the certificate.
func addTLSFlags(f *pflag.FlagSet, c *service.Config) {
	f.StringVar(&c.CertFile, "tls-cert", "",
		"PEM `FILE` with the certificate of the service, followed by the intermediate certificates; turns HTTPS on. "+
			"The file is read again when it changes")
	f.StringVar(&c.KeyFile, "tls-key", "", "PEM `FILE` with the private key of the certificate in --tls-cert")
}

// AddPublicURLFlag adds --public-url. The note ends the help of the flag.
func AddPublicURLFlag(f *pflag.FlagSet, u *string, note string) {
	f.StringVar(u, "public-url", "", "`URL` under which browsers reach the service; with https, cookies are Secure"+note)
}

// listenChecks check the flags about where the service is reached, and complete the URLs.
func listenChecks(c *service.Config) []func() error {
	address := func(flag, address, example string) func() error {
		return func() error {
			if address != "" && !isHostPort(address) {
				return cli.Flagf(flag, "%q is not HOST:PORT, such as %s", address, example)
			}
			return nil
		}
	}
	site := func(text *string, check func(*string) error) func() error {
		return func() error {
			if *text == "" {
				return nil
			}
			return check(text)
		}
	}
	return []func() error{
		func() error {
			if c.Listen == "" {
				return cli.Flagf("listen", "%q is not HOST:PORT, such as 127.0.0.1:8080 or :8080", c.Listen)
			}
			return nil
		},
		address("listen", c.Listen, "127.0.0.1:8080 or :8080"),
		address("metrics-listen", c.MetricsListen, "127.0.0.1:9464"),
		address("console-listen", c.ConsoleListen, "127.0.0.1:8433"),
		site(&c.ConsoleURL, CheckConsoleURL),
		site(&c.PublicURL, CheckPublicURL),
		func() error {
			if c.IdleTimeout < time.Second {
				return cli.Flagf("idle-timeout", "%v is less than 1s", c.IdleTimeout)
			}
			return nil
		},
		func() error {
			if (c.CertFile == "") != (c.KeyFile == "") {
				return cli.Usage(&cli.FlagError{
					Flag: "tls-cert", Others: []string{"tls-key"}, Reason: "and --tls-key belong together: give both",
				})
			}
			return nil
		},
	}
}

// isHostPort reports whether an address is HOST:PORT.
func isHostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // a number up to 65535, or a name such as https
	}
	return err == nil
}

// CheckPublicURL refuses a URL other than the root of a site, and removes a slash at
// the end.
func CheckPublicURL(text *string) error {
	return checkSite(text, "public-url", "https://login.example.com")
}

// CheckConsoleURL is CheckPublicURL for --console-url.
func CheckConsoleURL(text *string) error {
	return checkSite(text, "console-url", "https://console.example.com")
}

func checkSite(text *string, flag, example string) error {
	u, err := url.Parse(*text)
	if err != nil || u.Hostname() == "" || u.Port() != "" && !isHostPort(u.Host) ||
		u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return cli.Flagf(flag, "is not an http or https URL without a path, such as %s", example)
	}
	*text = u.Scheme + "://" + u.Host
	return nil
}
