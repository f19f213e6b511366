package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

const (
	redisTimeout = time.Second
	waitTimeout  = 500 * time.Millisecond

	// allBuckets is the number of claims, one in each bucket of a Redis, after which a client
	// has noticed a loss of memory everywhere.
	allBuckets = redisstore.Buckets
)

// redisHandles are clients with a configuration each.
func redisHandles(h *servers.Host, config func(client int) redisstore.Config) []*handle {
	dir := h.TempDir()
	var handles []*handle
	for i := range clients {
		c := config(i)
		c.Timeout, c.LineageFile = redisTimeout, filepath.Join(dir, strconv.Itoa(i))
		handles = append(handles, &handle{open: managed(func() (replay.Managed, error) {
			return redisstore.Open(context.Background(), c)
		})})
	}
	return handles
}

// redisDeployment is a single Redis that loses no answered write. Each client has a network of
// its own.
func redisDeployment(h *servers.Host) *deployment { return singleRedis(h, true, servers.Durable) }

// volatileDeployment is a single Redis that loses all with its process.
func volatileDeployment(h *servers.Host) *deployment { return singleRedis(h, false, servers.Forgetful) }

func singleRedis(h *servers.Host, durable bool, options []string) *deployment {
	server := servers.Redis(h, "", options...)
	proxies := proxiesTo(h, server.Address)
	d := &deployment{clients: redisHandles(h, func(i int) redisstore.Config {
		return redisstore.Config{URL: "redis://" + proxies[i].address(), Durable: durable}
	})}
	d.faults = append(linkFaults(proxies), restartOf(d.clients, func(i int) { proxies[i].reset() }),
		fault{name: "killed", weight: 4, server: true, lasts: 50 * time.Millisecond, takes: 100 * time.Millisecond,
			forgets: !durable, begin: func(*rand.Rand) func() { server.Kill(); return server.Start }},
		pauseOf(server),
		fault{name: "wiped", weight: 1, server: true, forgets: true, begin: func(*rand.Rand) func() {
			server.Do("FLUSHALL")
			return func() {}
		}},
	)
	return d
}

// proxiesTo returns a proxy for each client.
func proxiesTo(h *servers.Host, address string) (proxies []*proxy) {
	for range clients {
		p := newProxy(h)
		p.leadTo(address)
		proxies = append(proxies, p)
	}
	return proxies
}

// frozen is a server that can be suspended.
type frozen interface {
	Freeze()
	Thaw()
}

func pauseOf(server frozen) fault {
	return fault{name: "paused", weight: 3, server: true, lasts: 400 * time.Millisecond,
		begin: func(*rand.Rand) func() { server.Freeze(); return server.Thaw }}
}

// pair is a primary and its replica, each behind a proxy. The servers announce the proxies'
// ports, so replication goes by the proxies, too.
type pair struct {
	host    *servers.Host
	servers [2]*servers.RedisServer
	proxies [2]*proxy
	primary int
}

// promise is what the clients of a pair rely on: the replica has each claim before its answer.
var promise = redisstore.Config{Durable: true, Wait: redisstore.Wait{Replicas: 1, Timeout: waitTimeout}}

var durablePair = slices.Concat(servers.Durable, []string{"--repl-diskless-sync-delay", "0"})

// await asks the server until its INFO about replication contains want.
func (g *pair) await(server int, want string) {
	g.host.Helper()
	await(g.host, g.servers[server], want, []string{"INFO", "replication"}, func() {})
}

// await sends the command until the answer contains want. It calls nudge at first and every
// two seconds.
func await(h *servers.Host, server *servers.RedisServer, want string, command []string, nudge func()) {
	h.Helper()
	var nudged time.Time
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if time.Since(nudged) > 2*time.Second {
			nudge()
			nudged = time.Now()
		}
		answer, err := ask(server, command...)
		if err == nil && strings.Contains(answer, want) {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("%v on %s: no %q in %q, %v", command, server.Address, want, answer, err)
		}
	}
}

// ask sends a command on a connection of its own.
func ask(server *servers.RedisServer, command ...string) (string, error) {
	client, err := server.Client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(command...).Build()).ToString()
}

// sentinelDeployment is a primary and a replica under a Sentinel.
func sentinelDeployment(h *servers.Host) *deployment {
	g := &pair{host: h}
	for i := range g.servers {
		g.proxies[i] = newProxy(h)
		g.servers[i] = servers.Redis(h, "", append([]string{
			"--replica-announce-ip", "127.0.0.1", "--replica-announce-port", strconv.Itoa(g.proxies[i].port()),
		}, durablePair...)...)
		g.proxies[i].leadTo(g.servers[i].Address)
	}
	g.follow()
	// The Sentinel watches the primary at its proxy.
	sentinel := g.servers[0].Sentinel(1)
	watch := func(primary int) {
		sentinel.Do("SENTINEL", "REMOVE", "tickets")
		sentinel.Do("SENTINEL", "MONITOR", "tickets", "127.0.0.1", strconv.Itoa(g.proxies[primary].port()), "1")
		sentinel.Do("SENTINEL", "SET", "tickets", "down-after-milliseconds", "3600000", "failover-timeout", "5000")
	}
	watch(0)
	await(h, sentinel, "slaves=1", []string{"INFO", "sentinel"}, func() {})
	entry := newProxy(h)
	entry.leadTo(sentinel.Address)
	d := &deployment{clients: redisHandles(h, func(int) redisstore.Config {
		c := promise
		c.URL = "redis://" + entry.address() + "?master_set=tickets"
		return c
	})}
	failOver := func(name string, stop func(primary *servers.RedisServer) (resume func())) fault {
		return fault{name: name, weight: 2, server: true, lasts: 50 * time.Millisecond, takes: 2 * time.Second,
			begin: func(*rand.Rand) func() {
				old := g.primary
				resume := stop(g.servers[old])
				// A fail-over whose own links are cut ends without a new primary, and a Sentinel can
				// lose its way. After some attempts, an operator helps.
				tries := 0
				await(h, g.servers[1-old], "role:master", []string{"INFO", "replication"}, func() {
					if tries++; tries > 5 {
						_, _ = ask(g.servers[1-old], "REPLICAOF", "NO", "ONE")
						return
					}
					_, _ = ask(sentinel, "SENTINEL", "FAILOVER", "tickets")
				})
				g.primary = 1 - old
				return func() {
					resume()
					tries := 0
					address := "address=" + g.proxies[g.primary].address() + ","
					await(h, sentinel, address, []string{"INFO", "sentinel"}, func() {
						if tries++; tries > 5 {
							watch(g.primary)
						}
					})
					g.follow()
				}
			}}
	}
	proxies := append(g.proxies[:], entry)
	d.faults = append(linkFaults(proxies), restartOf(d.clients, func(int) {}),
		failOver("fail-over: primary killed", func(primary *servers.RedisServer) func() {
			primary.Kill()
			return primary.Start
		}),
		failOver("fail-over: primary paused", func(primary *servers.RedisServer) func() {
			primary.Freeze()
			return primary.Thaw
		}),
		fault{name: "primary killed", weight: 3, server: true, lasts: 50 * time.Millisecond,
			takes: 200 * time.Millisecond, begin: func(*rand.Rand) func() {
				g.servers[g.primary].Kill()
				return g.servers[g.primary].Start
			}},
	)
	d.faults = append(d.faults, g.faults()...)
	return d
}

// follow lets the other server follow the primary, and waits until it does.
func (g *pair) follow() {
	replica := g.servers[1-g.primary]
	replica.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(g.proxies[g.primary].port()))
	g.await(1-g.primary, "master_link_status:up")
}

// faults are those of Sentinel and Cluster alike.
func (g *pair) faults() []fault {
	pause := func(name string, server func() int) fault {
		return fault{name: name, weight: 2, server: true, lasts: 400 * time.Millisecond, begin: func(*rand.Rand) func() {
			s := g.servers[server()]
			s.Freeze()
			return s.Thaw
		}}
	}
	return []fault{
		pause("primary paused", func() int { return g.primary }),
		pause("replica paused", func() int { return 1 - g.primary }),
		{name: "wiped", weight: 1, server: true, forgets: true, begin: func(*rand.Rand) func() {
			g.servers[g.primary].Do("FLUSHALL")
			return func() {}
		}},
	}
}

// clusterDeployment is a Cluster of three primaries with a replica each.
func clusterDeployment(h *servers.Host) *deployment {
	primaries := servers.RedisCluster(h, "", durablePair...)
	replicas := servers.ClusterReplicas(primaries)
	var pairs []*pair
	var proxies []*proxy
	for i := range primaries {
		g := &pair{host: h, servers: [2]*servers.RedisServer{primaries[i], replicas[i]}}
		for j := range g.servers {
			g.proxies[j] = newProxy(h)
			g.proxies[j].leadTo(g.servers[j].Address)
			g.announce(j)
		}
		pairs, proxies = append(pairs, g), append(proxies, g.proxies[:]...)
	}
	url := "redis://" + proxies[0].address() + "?addr=" + proxies[1].address()
	for _, p := range proxies[2:] {
		url += "&addr=" + p.address()
	}
	d := &deployment{clients: redisHandles(h, func(int) redisstore.Config {
		c := promise
		c.URL = url
		return c
	})}
	takeOver := func(name string, stop func(primary *servers.RedisServer) (resume func())) fault {
		return fault{name: name, weight: 2, server: true, lasts: 50 * time.Millisecond, takes: 300 * time.Millisecond,
			begin: func(r *rand.Rand) func() {
				g := pairs[r.IntN(len(pairs))]
				old := g.primary
				resume := stop(g.servers[old])
				await(h, g.servers[1-old], "role:master", []string{"INFO", "replication"}, func() {
					_, _ = ask(g.servers[1-old], "CLUSTER", "FAILOVER", "TAKEOVER")
				})
				g.primary = 1 - old
				return func() {
					resume()
					g.announce(old)
					g.await(old, "role:slave")
					g.await(old, "master_link_status:up")
				}
			}}
	}
	d.faults = append(linkFaults(proxies), restartOf(d.clients, func(int) {}),
		takeOver("fail-over: primary killed", func(primary *servers.RedisServer) func() {
			primary.Kill()
			return primary.Start
		}),
		takeOver("fail-over: primary paused", func(primary *servers.RedisServer) func() {
			primary.Freeze()
			return primary.Thaw
		}),
		fault{name: "primary killed", weight: 3, server: true, lasts: 50 * time.Millisecond,
			takes: 200 * time.Millisecond, begin: func(r *rand.Rand) func() {
				g := pairs[r.IntN(len(pairs))]
				g.servers[g.primary].Kill()
				return func() {
					g.servers[g.primary].Start()
					g.announce(g.primary)
				}
			}},
	)
	for i, kind := range pairs[0].faults() {
		kind.begin = func(r *rand.Rand) func() { return pairs[r.IntN(len(pairs))].faults()[i].begin(r) }
		d.faults = append(d.faults, kind)
	}
	return d
}

// announce lets a node of a Cluster tell others the port of its proxy.
func (g *pair) announce(server int) {
	g.servers[server].Do("CONFIG", "SET", "cluster-announce-port", strconv.Itoa(g.proxies[server].port()))
}
