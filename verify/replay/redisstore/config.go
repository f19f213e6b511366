package redisstore

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strconv"
	"time"

	"github.com/admitone/admitone/token"
)

// Config names the servers and states the promises of their setup. URL is mandatory.
type Config struct {
	// URL names the servers, and holds user and password:
	//
	//	redis://USER:PASSWORD@HOST:PORT/DB
	//	rediss://…                            with TLS
	//	unix://USER:PASSWORD@/PATH?db=DB
	//	redis://HOST1:PORT?addr=HOST2:PORT&addr=HOST3:PORT
	//	                                      some nodes of a Cluster
	//	redis://USER:PASSWORD@HOST1:26379?addr=HOST2:26379&master_set=NAME
	//	                                      Sentinels, and the name of their primary
	//
	// valkey:// and valkeys:// mean the same as redis:// and rediss://. A single
	// address can also name a Cluster's node. An empty USER is the default user.
	// Further parameters are client_name, and sentinel_username with
	// sentinel_password for Sentinels with a login of their own. Percent-encode
	// special characters.
	URL string `json:"-"`

	// Realm is the deployment's name, as in the verifier's Config. Realms on the same server
	// know nothing of each other's nonces.
	Realm string

	// TLS adds to rediss:// own root certificates, a client certificate, or a
	// ServerName other than the first host of the URL. All nodes and Sentinels
	// must present a certificate for that name. TLS is refused with another
	// scheme. Nil trusts the system's roots.
	TLS *tls.Config `json:"-"`

	// Timeout bounds a claim, and an attempt to connect: 0 is 1 s. The claim's context can end
	// a claim sooner.
	Timeout time.Duration

	// Durable promises that a server knows all earlier answers after a restart or a fail-over:
	// the appendonly file is on, with appendfsync always, and Wait covers all replicas that
	// can take over. Then a restart refuses nothing.
	//
	// Without the promise, tickets issued before a restart or fail-over, and for about a skew
	// afterwards, are IssuedBeforeStart. All processes on the same server must agree on
	// Durable.
	Durable bool

	// Wait makes every admission wait for replicas.
	Wait Wait

	// LineageFile is a file of this process alone, in which the store keeps the lineage of the
	// servers that it last saw. With the file, a restarted process notices that the URL leads
	// to another server than before. Empty: a process notices only what it has seen itself.
	LineageFile string

	replicas string // Wait.Replicas as text
}

// Wait is Redis' WAIT command: an admission is answered once so many replicas have the
// admission in memory. Otherwise, after the time limit, the claim is replay.ErrUnavailable,
// and the nonce may be spent. While too few replicas are connected, or after a WAIT that fell
// short until they have caught up, claims and looks are replay.ErrUnavailable and spend
// nothing. The zero Wait waits for none.
type Wait struct {
	// Replicas counts the replicas of one primary; in a Cluster, of each.
	Replicas int
	// Timeout is less than Config.Timeout; 0 is half of Config.Timeout.
	Timeout time.Duration
}

const (
	defaultTimeout = time.Second
	leastTimeout   = 10 * time.Millisecond
)

// String and GoString leave out the URL, because the URL holds a password.
func (c Config) String() string {
	return fmt.Sprintf("redisstore.Config{Realm: %q, Timeout: %v, Durable: %t, Wait: %+v}",
		c.Realm, c.Timeout, c.Durable, c.Wait)
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// Check refuses a Config that Open refuses without asking a server. The error is a
// *token.ConfigError, and quotes nothing of the URL.
func (c Config) Check() error {
	if err := c.normalize(); err != nil {
		return err
	}
	_, _, err := c.clientOption()
	return err
}

// wrong returns the error for a field of Config.
func wrong(field, reason string, args ...any) error {
	return &token.ConfigError{Field: "redisstore.Config." + field, Reason: fmt.Sprintf(reason, args...)}
}

// normalize checks all fields but URL and TLS, and fills in zero values.
func (c *Config) normalize() error {
	if err := token.CheckRealm("redisstore.Config.Realm", c.Realm); err != nil {
		return err
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.replicas = strconv.Itoa(c.Wait.Replicas)
	if c.Wait.Replicas > 0 && c.Wait.Timeout == 0 {
		c.Wait.Timeout = c.Timeout / 2
	}
	switch {
	case c.Timeout < leastTimeout:
		return wrong("Timeout", "is %v; give at least %v, or 0 for %v", c.Timeout, leastTimeout, defaultTimeout)
	case c.Wait.Replicas < 0:
		return wrong("Wait.Replicas", "is %d; give 0 to wait for none", c.Wait.Replicas)
	case c.Wait.Replicas == 0 && c.Wait.Timeout != 0:
		return wrong("Wait.Replicas", "is 0, and Wait.Timeout is set; give the number of replicas to wait for")
	case c.Wait.Replicas > 0 && (c.Wait.Timeout < time.Millisecond || c.Wait.Timeout >= c.Timeout):
		return wrong("Wait.Timeout", "is %v; give 1ms or more, and less than Config.Timeout, %v",
			c.Wait.Timeout, c.Timeout)
	}
	return nil
}
