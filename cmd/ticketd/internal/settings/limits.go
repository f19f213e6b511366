package settings

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

// limits holds the flags about callers that need to be parsed.
type limits struct {
	proxies string // addresses and networks, separated by commas
	header  string // name of the proxies' header
}

// addFlags adds the flags about who may call, from where and how often.
func (l *limits) addFlags(f *pflag.FlagSet, c *service.Config) {
	f.Float64Var(&c.Live.Limit.Rate, "rate-limit", 50,
		"`number` of requests per second that an API key without a limit of its own may make in the long run")
	f.IntVar(&c.Live.Limit.Burst, "rate-burst", 200,
		"`number` of requests that an API key without a limit of its own may make at once, after a pause")
	f.StringVar(&c.RateStore, "rate-store", "",
		"`URL` of a Redis (redis://…, rediss://…) in which several processes count the requests of API keys together "+
			"(default: each process counts for itself)")
	f.StringVar(&l.proxies, "trusted-proxies", "",
		"`addresses` and networks of the proxies in front of the service, separated by commas; "+
			"only these proxies can name the client of a request (default: none)")
	f.StringVar(&l.header, "proxy-header", "X-Forwarded-For",
		"`header` in which trusted proxies name the client: X-Forwarded-For or Forwarded")
	f.BoolVar(&c.Live.IntegerStatus, "integer-status", false,
		"write the status in answers of /auth/ as a number instead of text")
}

// checks check the flags, and put the parsed ones into c.
func (l *limits) checks(c *service.Config) []func() error {
	return []func() error{
		func() error {
			if rate := c.Live.Limit.Rate; !(rate >= 0.001 && rate <= 1e6) {
				return cli.Flagf("rate-limit", "%v is not from 0.001 to 1000000", rate)
			}
			return nil
		},
		func() error {
			if burst := c.Live.Limit.Burst; burst < 1 || burst > 1e6 {
				return cli.Flagf("rate-burst", "%d is not from 1 to 1000000", burst)
			}
			return nil
		},
		func() error {
			if c.RateStore == "" {
				return nil
			}
			if err := (ratelimit.RedisConfig{URL: c.RateStore}).Check(); err != nil {
				return cli.Usage(err)
			}
			return nil
		},
		func() error {
			networks, err := directory.ParseAddresses(l.proxies)
			if err != nil {
				return cli.Usage(cli.ForFlag("trusted-proxies", err))
			}
			c.Live.Proxies.Trusted = networks
			return nil
		},
		func() error {
			c.Live.Proxies.Forwarded = strings.EqualFold(l.header, "Forwarded")
			if !c.Live.Proxies.Forwarded && !strings.EqualFold(l.header, "X-Forwarded-For") {
				return cli.Flagf("proxy-header", "%q is neither X-Forwarded-For nor Forwarded", l.header)
			}
			return nil
		},
	}
}
