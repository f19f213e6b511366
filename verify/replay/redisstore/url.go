package redisstore

import (
	"net/url"
	"time"

	"github.com/redis/rueidis"
)

// parameters are the known parameters of a URL: the store's own, and the useful ones of the
// client library.
var parameters = map[string]bool{
	"addr": true, "master_set": true, "db": true, "client_name": true,
	"sentinel_username": true, "sentinel_password": true,
}

// parseURL returns the parts of Config.URL. Errors quote nothing of the URL: if the URL is
// not well-formed, the password can be in any part.
func (c *Config) parseURL() (opt rueidis.ClientOption, u *url.URL, query url.Values, err error) {
	u, err = url.Parse(c.URL)
	if err != nil || c.URL == "" {
		return opt, nil, nil, wrong("URL", "is not a URL such as redis://user:password@host:6379/0; "+
			"percent-encode special characters of the password")
	}
	query, err = url.ParseQuery(u.RawQuery)
	if err != nil {
		return opt, nil, nil, wrong("URL", "has malformed parameters; percent-encode their special characters")
	}
	for name := range query {
		switch {
		case name == "skip_verify":
			return opt, nil, nil, wrong("URL", "has skip_verify, which lets anybody answer for the server; "+
				"trust the server's root certificate instead")
		case !parameters[name]:
			return opt, nil, nil, wrong("URL", "has a parameter other than addr, master_set, db, client_name, "+
				"sentinel_username and sentinel_password; remove it (time limits are not part of the URL)")
		}
	}
	if u.Path == "/" { // the client library takes the slash for a database's name
		u.Path = ""
	}
	if opt, err = rueidis.ParseURL(u.String()); err != nil {
		return opt, nil, nil, wrong("URL", "has a scheme other than redis, rediss, valkey, valkeys and unix, "+
			"or a path other than a database's number")
	}
	if u.Scheme == "unix" && len(opt.InitAddress) != 1 {
		return opt, nil, nil, wrong("URL", "names a socket and an addr; give one of them")
	}
	return opt, u, query, nil
}

// clientOption returns the options of the client library, and the dialer.
func (c *Config) clientOption() (opt rueidis.ClientOption, d *dialer, err error) {
	opt, u, query, err := c.parseURL()
	if err != nil {
		return opt, nil, err
	}
	if c.TLS != nil {
		if opt.TLSConfig == nil {
			return opt, nil, wrong("TLS", "is set, and Config.URL has no TLS; write rediss://")
		}
		name, least := opt.TLSConfig.ServerName, opt.TLSConfig.MinVersion
		opt.TLSConfig = c.TLS.Clone()
		if opt.TLSConfig.ServerName == "" {
			opt.TLSConfig.ServerName = name
		}
		opt.TLSConfig.MinVersion = max(opt.TLSConfig.MinVersion, least)
	}
	network := "tcp"
	if u.Scheme == "unix" {
		network = "unix"
	}
	d = newDialer(network)
	opt.DialCtxFn = d.dial
	opt.Dialer.Timeout = c.Timeout
	// A connection is pinged when nothing was read for this long, and given up
	// when the answer takes longer than ConnWriteTimeout.
	opt.Dialer.KeepAlive = c.Timeout / 2
	opt.ConnWriteTimeout = c.Timeout
	// The library must not send a claim a second time: its own first attempt
	// would make the claim AlreadyUsed.
	opt.DisableRetry = true
	opt.DisableCache = true
	// A caller that gives up must not end the connection, and so the claims of
	// others.
	opt.AlwaysPipelining = true
	opt.Sentinel.TLSConfig = opt.TLSConfig
	opt.Sentinel.Dialer = opt.Dialer
	opt.Sentinel.Username = query.Get("sentinel_username")
	opt.Sentinel.Password = query.Get("sentinel_password")
	if opt.Sentinel.MasterSet != "" {
		// The switch to another primary is announced once. If the announcement
		// is lost, the store must find the primary by itself.
		opt.Sentinel.TopologyRefreshInterval = 2 * time.Second
	}
	return opt, d, nil
}
