package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/rueidis"

	"github.com/admitone/admitone/token"
)

// Config says where the servers are and what is expected of them. URL is
// mandatory.
type Config struct {
	// URL names the servers, and holds user and password:
	//
	//	redis://USER:PASSWORD@HOST:PORT/DB
	//	rediss://…                            with TLS
	//	unix://USER:PASSWORD@/PATH?db=DB
	//	redis://HOST1:PORT?addr=HOST2:PORT&addr=HOST3:PORT
	//	                                      some nodes of a Cluster
	//	redis://USER:PASSWORD@HOST1:26379?addr=HOST2:26379&master_set=NAME
	//	                                      Sentinels, and the name of what they watch
	//
	// valkey:// and valkeys:// mean the same as redis:// and rediss://. A
	// single address may also be that of a Cluster's node. An empty USER is
	// the default user. The further parameters are client_name and, where the
	// Sentinels themselves want to be logged in to, sentinel_username and
	// sentinel_password. Percent-encode what is special in a URL.
	URL string `json:"-"`

	// Realm is the deployment's name, as the verifier's. Realms on one server
	// know nothing of each other's nonces.
	Realm string

	// TLS adds to rediss://: own root certificates, a client certificate, or
	// another ServerName than the first host of the URL. All nodes (and
	// Sentinels) must present a certificate for that one name. It is refused
	// with another scheme. Nil trusts the system's roots.
	TLS *tls.Config `json:"-"`

	// Timeout bounds a claim, if its context does not do so sooner, and an
	// attempt to connect: 0 is 1 s. Where thousands of claims wait on a
	// server that has stopped answering, the last of them may wait for twice
	// as long.
	Timeout time.Duration

	// Durable promises that a server that restarts, and one that takes over,
	// knows all that was answered before: that its appendonly file is on,
	// with appendfsync always, and that Wait covers all replicas that may
	// take over. Then a restart refuses nothing. Without that promise, the
	// tickets issued before a restart or fail-over, and for about one skew
	// after it, are refused as IssuedBeforeStart. All processes on one server must agree on it.
	Durable bool

	// Wait makes every admission wait for replicas.
	Wait Wait
}

// Wait is Redis' WAIT command: an admission is answered when so many replicas
// have it in memory, and is ErrUnavailable if they have not in time (the ticket
// may then be spent). The zero Wait waits for none.
type Wait struct {
	// Replicas counts those of one primary; in a Cluster, of each.
	Replicas int
	// Timeout is less than Config.Timeout; 0 is half of that.
	Timeout time.Duration
}

const defaultTimeout = time.Second

// String and GoString leave the URL out, since it holds a password.
func (c Config) String() string {
	return fmt.Sprintf("redisstore.Config{Realm: %q, Timeout: %v, Durable: %t, Wait: %+v}", c.Realm, c.Timeout, c.Durable, c.Wait)
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// Check reports what is wrong with c as it is written: what Open refuses without
// asking a server. Its errors quote nothing of the URL.
func (c Config) Check() error {
	if err := c.normalize(); err != nil {
		return err
	}
	_, _, err := c.clientOption()
	return err
}

// normalize checks c and fills its zero values in.
func (c *Config) normalize() error {
	if err := token.CheckRealm("redisstore.Config.Realm", c.Realm); err != nil {
		return err
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Wait.Replicas > 0 && c.Wait.Timeout == 0 {
		c.Wait.Timeout = c.Timeout / 2
	}
	switch {
	case c.Timeout < 10*time.Millisecond:
		return fmt.Errorf("redisstore: Config.Timeout is %v; give at least 10ms, or 0 for %v", c.Timeout, defaultTimeout)
	case c.Wait.Replicas < 0:
		return fmt.Errorf("redisstore: Config.Wait.Replicas is %d; give 0 to wait for none", c.Wait.Replicas)
	case c.Wait.Replicas == 0 && c.Wait.Timeout != 0:
		return errors.New("redisstore: Config.Wait has a Timeout and no Replicas; say how many to wait for")
	case c.Wait.Replicas > 0 && (c.Wait.Timeout < time.Millisecond || c.Wait.Timeout >= c.Timeout):
		return fmt.Errorf("redisstore: Config.Wait.Timeout is %v; give 1ms or more, and less than Config.Timeout, %v", c.Wait.Timeout, c.Timeout)
	}
	return nil
}

// parameters are those of the client library's that are of use here, and our own.
var parameters = map[string]bool{
	"addr": true, "master_set": true, "db": true, "client_name": true,
	"sentinel_username": true, "sentinel_password": true,
}

// clientOption returns what to connect with. Its errors quote nothing of the
// URL: where it is not well-formed, the password may be in any part of it.
func (c *Config) clientOption() (opt rueidis.ClientOption, d *dialer, err error) {
	u, err := url.Parse(c.URL)
	if err != nil || c.URL == "" {
		return opt, nil, errors.New("redisstore: Config.URL is not a URL like redis://user:password@host:6379/0; percent-encode what is special in the password")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return opt, nil, errors.New("redisstore: the parameters in Config.URL are malformed; percent-encode what is special in them")
	}
	for name := range query {
		switch {
		case name == "skip_verify":
			return opt, nil, errors.New("redisstore: skip_verify in Config.URL is refused, since anybody could then answer for the server; give its root certificate in Config.TLS")
		case !parameters[name]:
			return opt, nil, errors.New("redisstore: Config.URL has a parameter other than addr, master_set, db, client_name, sentinel_username and sentinel_password; remove it (time-outs are in Config.Timeout)")
		}
	}
	if u.Path == "/" { // the client library takes that for a database's name
		u.Path = ""
	}
	if opt, err = rueidis.ParseURL(u.String()); err != nil {
		return opt, nil, errors.New("redisstore: Config.URL has a scheme other than redis, rediss, valkey, valkeys and unix, or a path that is not a database's number")
	}
	if u.Scheme == "unix" && len(opt.InitAddress) != 1 {
		return opt, nil, errors.New("redisstore: Config.URL names a socket and an addr; give one of them")
	}
	if c.TLS != nil {
		if opt.TLSConfig == nil {
			return opt, nil, errors.New("redisstore: Config.TLS is set and Config.URL is without TLS; write rediss://")
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
	// A claim is never sent a second time by the library: its own first
	// attempt would make it AlreadyUsed.
	opt.DisableRetry = true
	opt.DisableCache = true
	// A caller who gives up must not take the connection down with it, and so
	// others' claims.
	opt.AlwaysPipelining = true
	opt.Sentinel.TLSConfig = opt.TLSConfig
	opt.Sentinel.Dialer = opt.Dialer
	opt.Sentinel.Username = query.Get("sentinel_username")
	opt.Sentinel.Password = query.Get("sentinel_password")
	if opt.Sentinel.MasterSet != "" {
		// The switch to another primary is announced once, and a lost
		// announcement must not be the end.
		opt.Sentinel.TopologyRefreshInterval = 2 * time.Second
	}
	return opt, d, nil
}
