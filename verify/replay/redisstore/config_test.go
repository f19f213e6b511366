package redisstore

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

const secret = "pa55w0rd"

// requireNoSecret wants none of the ways to print a value to show the password.
func requireNoSecret(t *testing.T, v any) {
	t.Helper()
	var texts []string
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		texts = append(texts, fmt.Sprintf(format, v))
	}
	if err, ok := v.(error); ok {
		texts = append(texts, err.Error())
	}
	for _, text := range texts {
		assert.NotContains(t, text, "pa55")
		assert.NotContains(t, text, "w0rd")
	}
}

func TestConfigIsRefused(t *testing.T) {
	good := "redis://user:" + secret + "@127.0.0.1:1"
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "Config.URL is not a URL"},
		{Config{URL: "://" + secret}, "Config.URL is not a URL"},
		{Config{URL: "redis://user:pa55%w0rd@host"}, "percent-encode"},
		{Config{URL: "redis://user:pa55/w0rd@host"}, "percent-encode"},
		{Config{URL: "redis://user:pa55#w0rd@host"}, "percent-encode"},
		{Config{URL: "http://user:" + secret + "@host"}, "scheme"},
		{Config{URL: secret}, "scheme"},
		{Config{URL: "redis://user:" + secret + "@host/" + secret}, "scheme"},
		{Config{URL: "redis://user:" + secret + "@host/0/" + secret}, "scheme"},
		{Config{URL: good + "?db=" + secret}, "scheme"},
		{Config{URL: good + "?addr=%pa55"}, "parameters"},
		{Config{URL: good + "?mater_set=" + secret}, "parameter"},
		{Config{URL: good + "?dial_timeout=1s"}, "time limits are not part of the URL"},
		{Config{URL: good + "?max_retries=0"}, "parameter"},
		{Config{URL: strings.Replace(good, "redis", "rediss", 1) + "?skip_verify=true"}, "root certificate"},
		{Config{URL: "unix:///tmp/socket?addr=" + secret + ":1"}, "socket"},
		{Config{URL: good, TLS: &tls.Config{}}, "rediss://"},
		{Config{URL: good, Realm: strings.Repeat("x", 65)}, "Config.Realm"},
		{Config{URL: good, Realm: "a\nb"}, "Config.Realm"},
		{Config{URL: good, Timeout: -1}, "Config.Timeout"},
		{Config{URL: good, Timeout: time.Millisecond}, "Config.Timeout"},
		{Config{URL: good, Wait: Wait{Replicas: -1}}, "Config.Wait.Replicas"},
		{Config{URL: good, Wait: Wait{Timeout: time.Second}}, "Replicas"},
		{Config{URL: good, Wait: Wait{Replicas: 1, Timeout: time.Second}}, "Config.Wait.Timeout"},
		{Config{URL: good, Wait: Wait{Replicas: 1, Timeout: time.Microsecond}}, "Config.Wait.Timeout"},
	} {
		s, err := Open(context.Background(), test.config)
		require.Nil(t, s)
		require.ErrorAs(t, err, new(*token.ConfigError))
		require.ErrorContains(t, err, test.want)
		require.NotErrorIs(t, err, replay.ErrUnavailable, "a faulty configuration does not get better by itself")
		requireNoSecret(t, err)
	}
}

func TestConfigTellsNoSecret(t *testing.T) {
	c := Config{URL: "redis://user:" + secret + "@host?sentinel_password=" + secret, Realm: "prod",
		Wait: Wait{Replicas: 2}}
	requireNoSecret(t, c)
	requireNoSecret(t, &c)
	requireNoSecret(t, struct{ Store Config }{c})
	assert.Equal(t, `redisstore.Config{Realm: "prod", Timeout: 0s, Durable: false, Wait: {Replicas:2 Timeout:0s}}`, c.String())
	text, err := json.Marshal(c)
	require.NoError(t, err)
	requireNoSecret(t, string(text))
}

func TestClientOption(t *testing.T) {
	c := Config{URL: "rediss://user:pass%2Fword@one.example?addr=two.example:2&master_set=tickets&db=3&client_name=me&sentinel_username=watcher&sentinel_password=w"}
	require.NoError(t, c.normalize())
	opt, _, err := c.clientOption()
	require.NoError(t, err)
	assert.Equal(t, []string{"one.example:6379", "two.example:2"}, opt.InitAddress)
	assert.Equal(t, "user pass/word tickets 3 me",
		fmt.Sprint(opt.Username, " ", opt.Password, " ", opt.Sentinel.MasterSet, " ", opt.SelectDB, " ", opt.ClientName))
	assert.Equal(t, "watcher w", opt.Sentinel.Username+" "+opt.Sentinel.Password)
	assert.Equal(t, "one.example", opt.TLSConfig.ServerName)
	assert.Same(t, opt.TLSConfig, opt.Sentinel.TLSConfig)
	assert.True(t, opt.DisableRetry, "a claim must not be sent twice")
	assert.Zero(t, opt.ConnLifetime, "the client library sends again what met the end of a connection's life")
	assert.Equal(t, time.Second, opt.Dialer.Timeout)
	assert.Positive(t, opt.Sentinel.TopologyRefreshInterval)

	c.TLS = &tls.Config{ServerName: "redis.internal", MinVersion: tls.VersionTLS13}
	opt, _, err = c.clientOption()
	require.NoError(t, err)
	assert.Equal(t, "redis.internal", opt.TLSConfig.ServerName)
	assert.EqualValues(t, tls.VersionTLS13, opt.TLSConfig.MinVersion)
	assert.False(t, opt.TLSConfig.InsecureSkipVerify)

	c = Config{URL: "redis://user:pass%2Fword@one.example:1/?client_name=me"}
	opt, _, err = c.clientOption()
	require.NoError(t, err)
	assert.Equal(t, "[one.example:1] user pass/word 0 me",
		fmt.Sprint(opt.InitAddress, " ", opt.Username, " ", opt.Password, " ", opt.SelectDB, " ", opt.ClientName))
}

// Who cannot be reached is told as that, without the password.
//
// trap R24
func TestOpenUnreachable(t *testing.T) {
	const nobody = "127.0.0.1:1"
	for _, suffix := range []string{"", "?master_set=tickets", "?addr=" + nobody} {
		s, err := Open(context.Background(), Config{URL: "redis://user:" + secret + "@" + nobody + suffix,
			Timeout: time.Second})
		require.Nil(t, s)
		require.ErrorIs(t, err, replay.ErrUnavailable)
		requireNoSecret(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Open(ctx, Config{URL: "redis://" + nobody})
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
}

func TestUnfit(t *testing.T) {
	good := func(change ...string) map[string]string {
		info := parseInfo("# Server\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nrole:master\r\nconnected_slaves:1\r\nmaster_replid:ab\r\nexecutable:/a:b\r\n")
		for i := 0; i < len(change); i += 2 {
			info[change[i]] = change[i+1]
		}
		return info
	}
	assert.Equal(t, "/a:b", good()["executable"])
	for _, test := range []struct {
		info   map[string]string
		config Config
		start  bool
		want   string
	}{
		{good(), Config{}, true, ""},
		{good(), Config{Wait: Wait{Replicas: 1}}, true, ""},
		{good(), Config{Wait: Wait{Replicas: 2}}, true, "connect replicas"},
		{good(), Config{Wait: Wait{Replicas: 2}}, false, ""},
		{good("redis_version", "6.2.0"), Config{}, true, ""},
		{good("redis_version", "10.0"), Config{}, true, ""},
		{good("redis_version", "255.255.255"), Config{}, true, ""},
		{good("redis_version", "6.0.16"), Config{}, true, "use Redis 6.2"},
		{good("redis_version", "5.9"), Config{}, true, "use Redis 6.2"},
		{good("redis_version", ""), Config{}, true, "use Redis 6.2"},
		{good("redis_version", "x.y"), Config{}, true, "use Redis 6.2"},
		{good("maxmemory_policy", "volatile-ttl"), Config{}, false, "set maxmemory-policy to noeviction"},
		{good("maxmemory_policy", "allkeys-lru"), Config{}, true, "set maxmemory-policy to noeviction"},
		{good("maxmemory_policy", ""), Config{}, true, "set maxmemory-policy to noeviction"},
		{good("role", "slave"), Config{}, true, "give the primary's address"},
		{good("role", "slave"), Config{}, false, ""},
		{good("role", "sentinel"), Config{}, true, "master_set"},
		{good("master_replid", ""), Config{}, true, "configure it as durable"},
		{good("master_replid", ""), Config{Durable: true}, true, ""},
		{map[string]string{}, Config{}, true, "use Redis 6.2"},
	} {
		if why := unfit(test.info, test.config, test.start); test.want == "" {
			assert.Empty(t, why)
		} else {
			assert.Contains(t, why, test.want)
		}
	}
}

// FuzzURL: a URL is refused without quoting any of it, or names servers and has no parameter but
// the known ones.
func FuzzURL(f *testing.F) {
	for _, url := range []string{
		"redis://user:" + secret + "@host:6379/0", "rediss://host?addr=b:2&addr=c:3", "unix:///run/redis.sock?db=1",
		"redis://a?master_set=m&sentinel_username=u&sentinel_password=" + secret, "valkeys://[::1]:1/7?client_name=x",
		"redis://host/x", "redis://h?skip_verify=1", "http://h", "redis://user:" + secret + "/@host",
	} {
		f.Add(url)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, url string) {
		c := Config{URL: url}
		opt, u, query, err := c.parseURL()
		if err != nil {
			var mistake *token.ConfigError
			require.ErrorAs(t, err, &mistake)
			require.NoError(t, mistake.Cause)
			return
		}
		require.NotEmpty(t, opt.InitAddress)
		for name := range query {
			require.True(t, parameters[name], name)
		}
		require.Equal(t, u.Scheme == "rediss" || u.Scheme == "valkeys", opt.TLSConfig != nil, u.Scheme)
		if opt.TLSConfig != nil {
			require.False(t, opt.TLSConfig.InsecureSkipVerify)
		}
	})
}
