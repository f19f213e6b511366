package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// shortage notes the shards where WAIT has fallen short. Until replicas are proven to have a
// write again, nothing is claimed there: a claim would spend its nonce and admit nobody.
type shortage struct {
	shards [buckets]atomic.Pointer[error]
}

func (s *shortage) err(shard int) error {
	if err := s.shards[shard].Load(); err != nil {
		return fmt.Errorf("replicas are away, so nothing is claimed until they have caught up: %w", *err)
	}
	return nil
}

// fallShort notes that the replicas of a bucket's shard are away.
func (s *Store) fallShort(bucket int, err error) {
	s.short.shards[s.shardOf(bucket)].Store(&err)
	s.dialer.alarm()
}

// shardOf returns the number under which a bucket's shard is noted, and its claims are
// gathered. In a Cluster, each bucket stands for itself: slots move.
func (s *Store) shardOf(bucket int) int {
	if s.apart {
		return bucket
	}
	return 0
}

// prove ends shortages, where enough replicas have a write of now. An error means that a
// shortage goes on.
func (s *Store) prove(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, buckets)
	for i := range errs {
		if s.short.err(i) == nil {
			continue
		}
		wg.Go(func() {
			replies, acked, err := s.runAndWait(ctx, []args{s.keys.onEpoch(i, doProve, s.known.of(i))})
			if err == nil {
				err = replies[0].Error()
			}
			if err == nil && acked < int64(s.config.Wait.Replicas) {
				err = s.config.tooFew()
			}
			if errs[i] = err; err == nil {
				s.short.shards[i].Store(nil)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// tooFew is the error for a primary with too few replicas.
func (c *Config) tooFew() error {
	return fmt.Errorf("fewer than %d replicas are connected and answer, and so many must have a claim: nothing is claimed",
		c.Wait.Replicas)
}

// longestLag is how many seconds ago a connected replica was heard from, at most. The
// script has the same limit.
const longestLag = 3

// connectedReplicas returns the number of replicas in a primary's INFO that count.
func connectedReplicas(info map[string]string) (n int) {
	for name, value := range info {
		// slave0:ip=127.0.0.1,port=6380,state=online,offset=12,lag=0
		number, ok := strings.CutPrefix(name, "slave")
		if _, err := strconv.Atoi(number); !ok || err != nil || !strings.Contains(value, "state=online") {
			continue
		}
		_, lag, _ := strings.Cut(value, "lag=")
		if seconds, err := strconv.Atoi(lag); err == nil && seconds <= longestLag {
			n++
		}
	}
	return n
}
