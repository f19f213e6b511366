package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// keepInterval is how often the servers are looked at.
	keepInterval = 5 * time.Second
	// retryInterval is the interval while a server is out of reach, and the shortest interval.
	// A server that comes back empty refuses all tickets from before its new epochs, so the
	// interval is short.
	retryInterval = 200 * time.Millisecond
)

// keep looks after the servers until Close: every so often, and at once when a
// connection has ended or a touch has failed.
func (s *Store) keep(ctx context.Context, every time.Duration) {
	wait := every
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.dialer.ended:
		case <-time.After(wait):
		}
		wait = every
		if s.look(ctx) != nil {
			wait = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryInterval):
		}
	}
}

// look checks the servers, restores missing epochs, and sees whether replicas are back. A
// server that may evict gets new epochs. The error concerns unreachable servers and replicas;
// claims find out for themselves.
func (s *Store) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.config.Timeout)
	defer cancel()
	checked := s.checkServers(ctx, false)
	unfit, isUnfit := errors.AsType[*unfitError](checked)
	task := doTouch
	if isUnfit && unfit.evicts {
		task = doRenew
	}
	_, touched := s.touch(ctx, task)
	_, unkept := errors.AsType[*lineageError](touched)
	switch {
	case isUnfit:
		fault := error(unfit)
		s.fault.Store(&fault)
	case unkept:
		s.fault.Store(&touched)
	case checked == nil:
		s.fault.Store(nil)
	}
	if isUnfit {
		checked = nil
	}
	return errors.Join(checked, touched, s.prove(ctx))
}

// unfitError concerns a server that answers but cannot be trusted.
type unfitError struct {
	node, why string
	evicts    bool // its keys may go before their time
}

func (e *unfitError) Error() string { return "the server " + e.node + " " + e.why }

// checkServers asks every server for INFO. Managed services allow INFO, unlike CONFIG. In a
// Cluster, nodes out of reach are passed over: touch finds out whether a needed node is
// missing. At the start a replica is refused. Later a replica is a former primary that
// refuses to write, and the store leaves it.
func (s *Store) checkServers(ctx context.Context, start bool) error {
	cluster := s.client.Mode() == rueidis.ClientModeCluster
	reached, failed := 0, error(nil)
	for address, node := range s.client.Nodes() {
		info, err := node.Do(ctx, node.B().Info().Build()).ToString()
		if err != nil {
			failed = fmt.Errorf("asking the server %s for INFO: %w", address, explain(err))
			continue
		}
		reached++
		values := parseInfo(info)
		if why := unfit(values, s.config, start && !cluster); why != "" {
			return &unfitError{address, why, values["maxmemory_policy"] != noEviction}
		}
		if !cluster && values["role"] != "master" {
			s.dialer.hangUp()
		}
	}
	if failed != nil && (!cluster || reached == 0) {
		return failed
	}
	return nil
}

func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// noEviction is the only maxmemory-policy of a replay store.
const noEviction = "noeviction"

// unfit returns the reason why a server cannot be a replay store, with a remedy, or "".
func unfit(info map[string]string, config Config, start bool) string {
	if !atLeast(info["redis_version"], 6, 2) {
		return fmt.Sprintf("is of version %q; use Redis 6.2 or newer, or Valkey", info["redis_version"])
	}
	if policy := info["maxmemory_policy"]; policy != noEviction {
		return fmt.Sprintf("may evict keys before their time (maxmemory_policy is %q), "+
			"and an evicted nonce can be redeemed again; set maxmemory-policy to noeviction", policy)
	}
	if !config.Durable && info["master_replid"] == "" {
		return "has no master_replid in INFO, so a loss in a restart or fail-over cannot be noticed; " +
			"if the server never loses a write, configure it as durable"
	}
	if start && info["role"] != "master" {
		return fmt.Sprintf("is no primary (its role is %q); "+
			"give the primary's address, or the Sentinels' with master_set", info["role"])
	}
	if replicas, err := strconv.Atoi(info["connected_slaves"]); start && err == nil && replicas < config.Wait.Replicas {
		return fmt.Sprintf("has %d replicas connected, and %d are wanted, so nobody would be admitted; "+
			"connect replicas, or ask for fewer", replicas, config.Wait.Replicas)
	}
	return ""
}

func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(second)
	return err == nil && (a > major || a == major && b >= minor)
}
