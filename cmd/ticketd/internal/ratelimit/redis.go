package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

const (
	redisTimeout = 250 * time.Millisecond // for an answer, before the process counts for itself
	redisPause   = time.Second            // until Redis is asked again after that
	localCallers = 100_000                // for whom the process counts itself meanwhile
)

// Redis counts in Redis or Valkey, together with all other processes of the same
// realm.
type Redis struct {
	client rueidis.Client
	prefix string
	local  *Local
	log    *slog.Logger
	now    func() time.Time
	wait   time.Duration // redisTimeout
	resume atomic.Int64  // when Redis may be asked again, in nanoseconds since 1970; 0: now
}

// OpenRedis connects to the server of a URL such as redis://user:password@host:6379/0
// (rediss:// with TLS; Clusters and Sentinels as in package redisstore). Errors
// and logs quote nothing of the URL, since it holds the password.
func OpenRedis(ctx context.Context, rawURL, realm string, log *slog.Logger) (*Redis, error) {
	opt, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	opt.DisableCache = true
	opt.Dialer.Timeout = 5 * time.Second
	client, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: connecting to Redis: %w", err)
	}
	r := &Redis{client: client, prefix: "admitone:rate:1:" + realm + ":", local: NewLocal(localCallers, nil), log: log, now: time.Now, wait: redisTimeout}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
		client.Close()
		return nil, fmt.Errorf("ratelimit: asking Redis: %w", err)
	}
	return r, nil
}

// CheckURL reports what is wrong with a URL as it is written. It asks no server.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

func parseURL(rawURL string) (rueidis.ClientOption, error) {
	u, err := url.Parse(rawURL)
	if err == nil && u.Query().Has("skip_verify") {
		return rueidis.ClientOption{}, errors.New("ratelimit: skip_verify in the Redis URL is refused, since anybody could then answer for the server; install its root certificate")
	}
	if err == nil && u.Path == "/" { // the client library takes that for a database's name
		u.Path = ""
		rawURL = u.String()
	}
	opt, err := rueidis.ParseURL(rawURL)
	if err != nil || u.Opaque != "" || u.Host == "" && u.Scheme != "unix" {
		return opt, errors.New("ratelimit: not a URL like redis://user:password@host:6379/0; percent-encode what is special in the password")
	}
	return opt, nil
}

// Close ends the connections.
func (r *Redis) Close() error {
	r.client.Close()
	return nil
}

// gcra is the generic cell rate algorithm (ITU-T I.371), which is a token bucket
// kept as one number: the moment at which the bucket is full again. The clock is
// the server's. A moment further away than a whole bucket, left by a clock that
// stepped back or by a greater limit, counts as a whole bucket.
//
// KEYS[1] the caller; ARGV[1] microseconds for one request, ARGV[2] the burst.
// The answer: 1 or 0 for allowed or not, and the microseconds until the bucket is
// full.
var gcra = rueidis.NewLuaScript(`
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
`)

// Take implements Limiter.
func (r *Redis) Take(ctx context.Context, key string, l Limit) Answer {
	resume := r.resume.Load()
	if resume > r.now().UnixNano() {
		return r.local.Take(ctx, key, l)
	}
	asked, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	one := 1e6 / l.Rate
	got, err := gcra.Exec(asked, r.client, []string{r.prefix + key},
		[]string{strconv.FormatFloat(one, 'f', -1, 64), strconv.Itoa(l.Burst)}).AsIntSlice()
	if err == nil && len(got) != 2 {
		err = errors.New("its answer is none of the script's")
	}
	if err != nil {
		if ctx.Err() == nil { // else it is the caller who has gone
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
