package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/admitone/admitone/token"
)

const (
	redisTimeout = 250 * time.Millisecond // for an answer; after that the process counts for itself
	redisPause   = time.Second            // from a failure until Redis is asked again
	localCallers = 100_000                // remembered at least while the process counts for itself
)

// Redis counts in Redis or Valkey, together with all other processes of the realm.
type Redis struct {
	client rueidis.Client
	prefix string
	local  *Local
	log    *slog.Logger
	now    func() time.Time
	wait   time.Duration // redisTimeout
	resume atomic.Int64  // time of the next attempt after a failure, in nanoseconds since 1970; 0: no failure
}

// A RedisConfig says which Redis counts, and for which realm.
type RedisConfig struct {
	// URL is the address of the server, such as redis://user:password@host:6379/0.
	// With rediss:// the connection uses TLS. Clusters and Sentinels are written as
	// for package redisstore. No error and no log line quotes the URL, which holds
	// the password.
	URL string

	Realm string       // processes of one realm count together
	Log   *slog.Logger // nil means slog.Default()
}

// OpenRedis connects to the server. If the URL is wrong, the error is a
// *token.ConfigError.
func OpenRedis(ctx context.Context, c RedisConfig) (*Redis, error) {
	opt, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	log := c.Log
	if log == nil {
		log = slog.Default()
	}
	opt.DisableCache = true
	opt.Dialer.Timeout = 5 * time.Second
	client, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, fmt.Errorf("connecting to Redis: %w", err)
	}
	r := &Redis{
		client: client, prefix: "admitone:rate:1:" + c.Realm + ":",
		local: NewLocal(localCallers, nil), log: log, now: time.Now, wait: redisTimeout,
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
		client.Close()
		return nil, fmt.Errorf("asking Redis: %w", err)
	}
	return r, nil
}

// Check reports what is wrong with the configuration, in a *token.ConfigError. It asks
// no server.
func (c RedisConfig) Check() error {
	_, err := parseURL(c.URL)
	return err
}

// badURL returns the error for a wrong URL.
func badURL(reason string) error {
	return &token.ConfigError{Field: "ratelimit.RedisConfig.URL", Reason: reason}
}

func parseURL(rawURL string) (rueidis.ClientOption, error) {
	u, err := url.Parse(rawURL)
	if err == nil && u.Query().Has("skip_verify") {
		return rueidis.ClientOption{}, badURL("has skip_verify, with which anybody could answer for the server; " +
			"leave it out and install the server's root certificate")
	}
	if err == nil && u.Path == "/" { // the client library takes "/" for the name of a database
		u.Path = ""
		rawURL = u.String()
	}
	opt, err := rueidis.ParseURL(rawURL)
	if err != nil || u.Opaque != "" || u.Host == "" && u.Scheme != "unix" {
		return opt, badURL("is not a URL like redis://user:password@host:6379/0; " +
			"percent-encode special characters of the password")
	}
	return opt, nil
}

// Close ends the connections.
func (r *Redis) Close() error {
	r.client.Close()
	return nil
}

// gcra is the generic cell rate algorithm (ITU-T I.371): a token bucket kept as one
// number, the moment when the bucket is full again. The clock is the server's. A moment
// further away than a whole bucket counts as a whole bucket; a clock that stepped back
// or a greater limit may have left such a moment.
//
// KEYS[1] is the caller; ARGV[1] is the time for one request in microseconds, and
// ARGV[2] the burst. The answer is 1 if the request is allowed or 0 if not, then the
// microseconds until the bucket is full. The script is made when it is first needed: its
// name is a SHA-1, which GODEBUG=fips140=only refuses.
var gcra = sync.OnceValue(func() *rueidis.Lua { return rueidis.NewLuaScript(gcraText) })

const gcraText = `
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local one, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
full = math.min(math.max(full, now), now + one * burst)
if full + one - now > one * burst then
  return {0, math.ceil(full - now)}
end
full = full + one
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return {1, math.ceil(full - now)}
`

// Take implements Limiter.
func (r *Redis) Take(ctx context.Context, key string, l Limit) Answer {
	resume := r.resume.Load()
	if resume > r.now().UnixNano() {
		return r.local.Take(ctx, key, l)
	}
	asked, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	one := 1e6 / l.Rate
	got, err := gcra().Exec(asked, r.client, []string{r.prefix + key},
		[]string{strconv.FormatFloat(one, 'f', -1, 64), strconv.Itoa(l.Burst)}).AsIntSlice()
	if err == nil && len(got) != 2 {
		err = errors.New("the answer is not the script's")
	}
	if err != nil {
		if ctx.Err() == nil { // the caller still waits, so Redis is at fault
			r.resume.Store(r.now().Add(redisPause).UnixNano())
			if resume == 0 {
				r.log.Warn("rate limits: Redis does not answer; each process counts for itself", "error", err)
			}
		}
		return r.local.Take(ctx, key, l)
	}
	if resume != 0 && r.resume.CompareAndSwap(resume, 0) {
		r.log.Info("rate limits: Redis answers again")
	}
	return l.answer(got[0] == 1, float64(l.Burst)-float64(got[1])/one)
}
