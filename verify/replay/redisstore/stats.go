package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/admitone/admitone/verify/replay"
)

// NonceBytes is the largest memory of a spent nonce on a server, for a realm of at most 16
// bytes: the key, the value with a binding, and their places in two tables of Redis just
// after doubling. Without a binding, and with full tables, a nonce takes 180 bytes. Keys
// just expired, and the buffers of replicas, come on top.
const NonceBytes = 288

// Stats implements replay.Managed. The servers are asked within Config.Timeout and with
// INFO alone.
func (s *Store) Stats(ctx context.Context) (replay.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	var st replay.Stats
	primaries, bounded := 0, true
	for address, node := range s.client.Nodes() {
		text, err := node.Do(ctx, node.B().Info().Build()).ToString()
		if err != nil {
			return replay.Stats{}, fmt.Errorf("asking the server %s for INFO: %w", address, explain(err))
		}
		info := parseInfo(text)
		if info["role"] != "master" {
			continue
		}
		primaries++
		if connectedReplicas(info) < s.config.Wait.Replicas {
			st.Err = s.config.tooFew()
		}
		number := func(text string) int64 {
			n, _ := strconv.ParseInt(text, 10, 64)
			return n
		}
		st.Bytes += number(info["used_memory"])
		limit := number(info["maxmemory"])
		st.MaxBytes += limit
		bounded = bounded && limit > 0
		// db0:keys=12,expires=10,avg_ttl=0
		for field := range strings.SplitSeq(info["db"+strconv.Itoa(s.db)], ",") {
			if n, ok := strings.CutPrefix(field, "expires="); ok {
				st.Live += number(n)
			}
		}
	}
	if primaries == 0 {
		return replay.Stats{}, unavailable(errors.New("none of the servers is a primary"))
	}
	if !bounded {
		st.MaxBytes = 0
	}
	if fault := s.fault.Load(); fault != nil {
		st.Err = *fault
	}
	for shard := range buckets {
		st.Err = cmp.Or(st.Err, s.short.err(shard))
	}
	return st, nil
}
