package main

import (
	"context"
	crypto "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

const (
	// clients is the number of client processes of a deployment, or of the store's handles.
	clients = 3

	// patience is how long a store may take to be of service again after the faults.
	patience = 3 * time.Minute

	skew     = 10 * time.Second
	lifetime = 5 * time.Minute
)

// deployment is a store with its servers, its clients, and the faults that can be inflicted.
type deployment struct {
	host    *servers.Host
	clients []*handle
	faults  []fault
}

// fault is a kind of fault.
type fault struct {
	name   string
	weight int           // of the choice among kinds
	lasts  time.Duration // at most
	takes  time.Duration // from the end until service is back, about
	server bool          // of a server or a process: one at a time

	// forgets: the store may lose its memory, and then refuses tickets from before.
	forgets bool

	// begin begins the fault, with choices by r, and returns its end.
	begin func(r *rand.Rand) (end func())
}

// handle is a client's store. A client without a store tries to open it before each history.
type handle struct {
	open func() (replay.Store, func(), error) // the store, and its end

	mu    sync.Mutex
	store replay.Store
	end   func()
}

// errNotSent is wrapped by the error of a claim that left no trace: no store got the claim.
var errNotSent = fmt.Errorf("%w: this client has no store", replay.ErrUnavailable)

func (h *handle) claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	h.mu.Lock()
	store := h.store
	h.mu.Unlock()
	if store == nil {
		return replay.Answer{}, errNotSent
	}
	return store.Claim(ctx, c)
}

// connect opens the store, unless it is open.
func (h *handle) connect() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.store != nil {
		return nil
	}
	store, end, err := h.open()
	if err == nil {
		h.store, h.end = store, end
	}
	return err
}

// close ends the store, if it is open.
func (h *handle) close() {
	h.mu.Lock()
	end := h.end
	h.store, h.end = nil, nil
	h.mu.Unlock()
	if end != nil {
		end()
	}
}

// managed returns open for a handle on a store of this process.
func managed(open func() (replay.Managed, error)) func() (replay.Store, func(), error) {
	return func() (replay.Store, func(), error) {
		store, err := open()
		if err != nil {
			return nil, nil, err
		}
		return store, func() { _ = store.Close() }, nil
	}
}

// ticket returns the claim of a ticket issued now, by an issuer whose clock is ahead by the
// whole skew. On Redis, the bucket decides the shard.
func ticket(bucket byte) replay.Claim {
	now := time.Now()
	c := replay.Claim{
		Issued: now.Add(skew), NotBefore: now, Expires: now.Add(skew + lifetime),
		RetainUntil: now.Add(skew + lifetime + 3*skew + time.Minute),
	}
	_, _ = crypto.Read(c.Nonce[:])
	c.Nonce[0] = bucket
	return c
}

// settle waits until each client is served: in one bucket, or in all after a loss of memory,
// since each client notices a loss by itself.
func (d *deployment) settle(buckets int) error {
	deadline := time.Now().Add(patience)
	errs := make([]error, len(d.clients))
	var wg sync.WaitGroup
	for i, h := range d.clients {
		wg.Go(func() {
			for bucket := 0; bucket < buckets; {
				err := h.connect()
				var a replay.Answer
				if err == nil {
					a, err = h.claim(context.Background(), ticket(byte(bucket)))
				}
				if err == nil && a.Status == replay.Admitted {
					bucket++
					continue
				}
				if time.Now().After(deadline) {
					errs[i] = fmt.Errorf("client %d is not served %v after the faults: %v, %w", i, patience, a.Status, err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// end closes the clients, and ends the servers.
func (d *deployment) end() {
	for _, h := range d.clients {
		h.close()
	}
	d.host.End()
}

// deployments are the stores by their names on the command line.
var deployments = map[string]func(h *servers.Host) *deployment{
	"journal": journalDeployment, "redis": redisDeployment, "volatile-redis": volatileDeployment,
	"sentinel": sentinelDeployment, "cluster": clusterDeployment, "postgres": postgresDeployment,
}

// deploy starts a store, with temporary files in dir.
func deploy(name, dir string, start func(h *servers.Host) *deployment) (d *deployment, err error) {
	h := servers.NewHost(dir)
	err = h.Try(func() { d = start(h) })
	if err == nil {
		d.host = h
		err = d.settle(allBuckets)
	}
	if err != nil {
		if d != nil {
			d.end()
		} else {
			h.End()
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// restartOf is the fault of a client that is killed and starts again.
func restartOf(handles []*handle, hangUp func(client int)) fault {
	return fault{
		name: "client killed", weight: 2, lasts: 20 * time.Millisecond, takes: 30 * time.Millisecond,
		begin: func(r *rand.Rand) func() {
			i := r.IntN(len(handles))
			hangUp(i)
			handles[i].close()
			return func() { _ = handles[i].connect() } // or settle does
		},
	}
}

// linkFaults are the faults of links. A fault concerns some proxies, and of these proxies
// some links.
func linkFaults(proxies []*proxy) []fault {
	const longest = 80 * time.Millisecond
	on := func(name string, weight int, r rule) fault {
		return fault{name: name, weight: weight, lasts: longest, begin: func(choice *rand.Rand) func() {
			reset, share := choice.IntN(2) == 0, []float64{.3, .6, 1}[choice.IntN(3)]
			var rules []*rule
			for _, p := range proxies {
				mine := r
				mine.rand, mine.share = rand.New(rand.NewPCG(choice.Uint64(), 0)), 1
				if choice.IntN(2) == 0 {
					mine.share = share
				}
				if mine.delay > 0 {
					mine.delay = time.Duration(1+choice.IntN(15)) * time.Millisecond
				}
				rules = append(rules, &mine)
				p.apply(&mine)
			}
			return func() {
				for i, p := range proxies {
					p.lift(rules[i], reset)
				}
			}
		}}
	}
	return []fault{
		on("cut to server", 4, rule{toServer: true}),
		on("cut to client", 4, rule{toClient: true}),
		on("cut both ways", 2, rule{toServer: true, toClient: true}),
		on("delayed", 2, rule{toServer: true, toClient: true, delay: 1}),
		{name: "reset", weight: 3, begin: func(choice *rand.Rand) func() {
			for _, p := range proxies {
				if choice.IntN(3) > 0 {
					p.reset()
				}
			}
			return func() {}
		}},
	}
}

// unavailable reports whether an error says that the store cannot tell.
func unavailable(err error) bool { return errors.Is(err, replay.ErrUnavailable) }
