package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/queue"
)

// Store is a replay.Store on Redis or Valkey. The package comment has the promises.
type Store struct {
	now    func() time.Time
	config Config
	client rueidis.Client
	dialer *dialer
	script string
	sha    string // of the script; the server's answer to SCRIPT LOAD
	keys   *keys
	db     int
	fence  string
	epoch  atomic.Pointer[time.Time] // the latest that touch has seen

	origin string // for epochs without an origin

	// fault is why nobody can be admitted though the server answers, or nil.
	fault atomic.Pointer[error]
	known lineages
	short shortage

	requests [buckets]*queue.Queue[request] // by shard
	apart    bool                           // a script may have keys of one bucket only

	stop   context.CancelFunc
	ended  sync.WaitGroup
	closed sync.Once
}

var _ replay.Managed = (*Store)(nil)

// Open connects, checks whether the servers are fit for a replay store, and restores the
// realm's epochs. After an error that wraps replay.ErrUnavailable, try again. Any other
// error requires a change of the configuration first, here or on a server.
//
// Connecting takes at most Config.Timeout for each server, even if ctx ends.
func Open(ctx context.Context, config Config) (*Store, error) {
	return openWith(ctx, config, script, keepInterval, time.Now)
}

func openWith(ctx context.Context, config Config, script string, every time.Duration, now func() time.Time) (
	*Store, error,
) {
	if err := config.normalize(); err != nil {
		return nil, err
	}
	option, dialer, err := config.clientOption()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, unavailable(err)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", explain(err))
	}
	s := &Store{
		now: now, config: config, client: client, dialer: dialer, script: script,
		keys: newKeys(config.Realm), db: option.SelectDB, fence: "1", origin: newOrigin(),
	}
	for shard := range s.requests {
		s.requests[shard] = queue.New(config.Timeout/4, s.answer)
	}
	if err := s.known.load(config.LineageFile); err != nil {
		client.Close()
		return nil, err
	}
	if config.Durable {
		s.fence = "0"
	}
	s.config.URL = "" // nothing here needs the password again
	if err := s.begin(ctx); err != nil {
		client.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.ended.Go(func() { s.keep(background, every) })
	return s, nil
}

func (s *Store) begin(ctx context.Context) error {
	if err := s.checkServers(ctx, true); err != nil {
		return err
	}
	// The server computes the digest, so no SHA-1 is needed here.
	sha, err := s.client.Do(ctx, s.client.B().ScriptLoad().Script(s.script).Build()).ToString()
	if err != nil {
		return fmt.Errorf("loading the script: %w", explain(err))
	}
	s.sha = sha
	if _, err := s.touch(ctx, doTouch); err != nil {
		return fmt.Errorf("running the script: %w", explain(err))
	}
	if s.client.Mode() == rueidis.ClientModeCluster {
		s.apart = true
		return nil
	}
	// A Cluster can look like a single server: behind a proxy, or to a user who may not ask for its slots.
	two := []args{s.keys.onEpoch(0, doTouch, s.known.of(0)), s.keys.onEpoch(1, doTouch, s.known.of(1))}
	if _, _, err := s.run(ctx, two); err != nil {
		if s.apart = strings.HasPrefix(err.Error(), "CROSSSLOT"); !s.apart {
			return fmt.Errorf("running the script: %w", explain(err))
		}
	}
	return nil
}

// Epoch implements replay.Managed: the latest epoch of all buckets. In other buckets, some tickets
// issued before may be good. Every process looks at the epochs every 5 s.
func (s *Store) Epoch() time.Time { return *s.epoch.Load() }

// sawEpoch keeps the latest epoch.
func (s *Store) sawEpoch(epoch time.Time) {
	for {
		last := s.epoch.Load()
		if last != nil && !epoch.After(*last) || s.epoch.CompareAndSwap(last, &epoch) {
			return
		}
	}
}

// Close ends the connections. Claims on their way are waited for, for twice Config.Timeout at most.
// Later claims are ErrUnavailable.
func (s *Store) Close() error {
	s.closed.Do(func() {
		s.stop()
		s.ended.Wait()
		var answered sync.WaitGroup
		for _, requests := range s.requests {
			answered.Go(requests.Close)
		}
		answered.Wait()
		s.client.Close()
		s.dialer.close()
	})
	return nil
}

// String names the realm and the kind of deployment.
func (s *Store) String() string {
	return fmt.Sprintf("redisstore(realm %q, %s)", s.config.Realm, s.client.Mode())
}

// Claim implements replay.Store, in a round trip possibly shared with other claims. If Claim
// gives up waiting, the nonce may be spent or not; a later claim with the same Binding finds out.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, doClaim)
}

// Peek implements replay.Store, as Claim does.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, doPeek)
}

// request is a claim or a peek, awaited by a caller.
type request struct {
	args
	reply int64
	err   error
}

func (s *Store) ask(ctx context.Context, c *replay.Claim, what string) (replay.Answer, error) {
	if err := ctx.Err(); err != nil {
		return replay.Answer{}, unavailable(err)
	}
	if err := c.Check(); err != nil {
		return replay.Answer{}, err
	}
	if fault := s.fault.Load(); fault != nil {
		return replay.Answer{}, unavailable(*fault)
	}
	a := s.keys.encode(c, what)
	shard := s.shardOf(a.bucket)
	if err := s.short.err(shard); err != nil {
		return replay.Answer{}, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	for range 3 {
		r := &request{args: a}
		if err := s.requests[shard].Do(ctx, r); err != nil {
			return replay.Answer{}, unavailable(err)
		}
		if r.err != nil {
			if outOfMemory(r.err) {
				return replay.Answer{Status: replay.Full}, nil
			}
			return replay.Answer{}, explain(r.err)
		}
		switch r.reply {
		case replyAdmittedTell, replyIssuedBeforeTell, replyAskAgain:
			// The answer holds whether this works or not.
			if _, err := s.touch(ctx, doTouch); err != nil {
				s.dialer.alarm()
			}
		case replyTooFewReplicas:
			if what == doClaim { // the next one need not wait in WAIT for nothing
				s.fallShort(a.bucket, s.config.tooFew())
			}
			return replay.Answer{}, unavailable(s.config.tooFew())
		}
		if r.reply != replyAskAgain {
			return decode(r.reply)
		}
	}
	return replay.Answer{}, unavailable(errors.New("the server's clock leaps about; set it right"))
}

// answer sends a batch and answers its requests, within Config.Timeout. A caller that gives up
// does not disturb the others.
func (s *Store) answer(batch []*request) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
	defer cancel()
	if s.config.Wait.Replicas == 0 {
		s.answerBy(ctx, batch, s.run)
		return
	}
	// A look has nothing to wait for in WAIT.
	var looks, claims []*request
	for _, r := range batch {
		if r.what == doClaim {
			claims = append(claims, r)
		} else {
			looks = append(looks, r)
		}
	}
	var answered sync.WaitGroup
	answered.Go(func() { s.answerBy(ctx, looks, s.run) })
	s.answerBy(ctx, claims, s.runAndWait)
	answered.Wait()
}

// answerBy answers requests by run or runAndWait.
func (s *Store) answerBy(ctx context.Context, batch []*request,
	run func(ctx context.Context, tasks []args) (replies []rueidis.RedisMessage, acked int64, err error),
) {
	if len(batch) == 0 {
		return
	}
	// They may have waited since ask looked.
	err := s.short.err(s.shardOf(batch[0].bucket))
	if fault := s.fault.Load(); fault != nil {
		err = unavailable(*fault)
	}
	tasks := make([]args, len(batch))
	for i, r := range batch {
		r.lineage = s.known.of(r.bucket)
		tasks[i] = r.args
	}
	var replies []rueidis.RedisMessage
	var acked int64
	if err == nil {
		replies, acked, err = run(ctx, tasks)
	}
	for i, r := range batch {
		if r.err = err; err == nil {
			r.reply, r.err = replies[i].AsInt64()
		}
		if r.err == nil {
			r.err = s.acknowledged(r, acked)
		}
	}
}

// acknowledged is an error if too few replicas have what a request wrote. A primary that is cut
// off must not say that the nonce is spent, either: its replicas, of which one is the primary by
// now, may not know.
func (s *Store) acknowledged(r *request, acked int64) error {
	wrote := r.reply == replyAdmitted || r.reply == replyAdmittedTell || r.reply < 0 || r.reply > replyTooFewReplicas
	if r.what != doClaim || !wrote || acked >= int64(s.config.Wait.Replicas) {
		return nil
	}
	err := fmt.Errorf("%d replicas have the claim, and %d must have it", acked, s.config.Wait.Replicas)
	s.fallShort(r.bucket, err)
	return err
}

// run has the script do the tasks, which in a Cluster are of one bucket, and returns a reply for
// each. It sends the digest of the script and, to a server without the script, the script. In this
// case the first command does nothing. No replica is asked.
func (s *Store) run(ctx context.Context, tasks []args) ([]rueidis.RedisMessage, int64, error) {
	replies, err := s.client.Do(ctx, s.command(s.client, false, tasks...)).ToArray()
	if noScript(err) {
		replies, err = s.client.Do(ctx, s.command(s.client, true, tasks...)).ToArray()
	}
	replies, err = eachOf(replies, len(tasks), err)
	return replies, 0, err
}

// eachOf refuses replies of another number than the tasks.
func eachOf(replies []rueidis.RedisMessage, tasks int, err error) ([]rueidis.RedisMessage, error) {
	if err == nil && len(replies) != tasks {
		err = fmt.Errorf("the script answered %d of %d tasks", len(replies), tasks)
	}
	return replies, err
}

// command is the script with its tasks: the digest, or with whole the script itself.
func (s *Store) command(c rueidis.CommandClient, whole bool, tasks ...args) rueidis.Completed {
	keys := make([]string, 0, 2*len(tasks))
	values := append(make([]string, 0, 4+5*len(tasks)),
		s.fence, strconv.FormatInt(micros(s.now()), 10), s.config.replicas, s.origin)
	for _, a := range tasks {
		keys = append(keys, a.key, s.keys.epoch[a.bucket])
		values = append(values, a.what, a.notBefore, a.retainUntil, a.bound, a.lineage)
	}
	if whole {
		return c.B().Eval().Script(s.script).Numkeys(int64(len(keys))).Key(keys...).Arg(values...).Build()
	}
	return c.B().Evalsha().Sha1(s.sha).Numkeys(int64(len(keys))).Key(keys...).Arg(values...).Build()
}

// runAndWait sends the script and WAIT together, on a dedicated connection: WAIT concerns the
// writes of its own connection. It returns also the number of replicas that have what the
// tasks wrote.
func (s *Store) runAndWait(ctx context.Context, tasks []args) ([]rueidis.RedisMessage, int64, error) {
	client, release := s.client.Dedicate()
	defer release()
	send := func(whole bool) (replies []rueidis.RedisMessage, acked int64, err error) {
		limit := s.config.Wait.Timeout.Milliseconds()
		wait := client.B().Wait().Numreplicas(int64(s.config.Wait.Replicas)).Timeout(limit).Build()
		results := client.DoMulti(ctx, s.command(client, whole, tasks...), wait)
		if replies, err = results[0].ToArray(); err != nil {
			return nil, 0, err
		}
		acked, err = results[1].ToInt64()
		return replies, acked, err
	}
	replies, acked, err := send(false)
	if noScript(err) {
		replies, acked, err = send(true)
	}
	replies, err = eachOf(replies, len(tasks), err)
	return replies, acked, err
}

// touch restores the epochs of all buckets, or with doRenew begins new ones, and returns
// them. So every bucket has an epoch before the first claim, and a new epoch soon after a
// loss. The store also notices a clock that runs ahead for a while without any claim. The
// lineages that the servers name are kept before any claim goes by them.
func (s *Store) touch(ctx context.Context, what string) ([buckets]time.Time, error) {
	epochs, again, err := s.touchOnce(ctx, what)
	if again {
		epochs, _, err = s.touchOnce(ctx, what)
	}
	if err == nil && what == doTouch { // doRenew begins one after the other, while nobody is admitted
		s.sawEpoch(slices.MaxFunc(epochs[:], time.Time.Compare))
	}
	return epochs, err
}

// touchOnce reports also whether a change of the lineage needs another touch.
func (s *Store) touchOnce(ctx context.Context, what string) (epochs [buckets]time.Time, again bool, failed error) {
	named := s.known.last.Load()
	var seen [buckets]string
	pending := make([]int, buckets)
	for i := range pending {
		pending[i] = i
	}
	for _, whole := range []bool{false, true} {
		commands := make(rueidis.Commands, 0, len(pending))
		for _, i := range pending {
			commands = append(commands, s.command(s.client, whole, s.keys.onEpoch(i, what, named[i])))
		}
		var unknown []int
		for n, result := range s.client.DoMulti(ctx, commands...) {
			bucket := pending[n]
			replies, err := result.ToArray()
			replies, err = eachOf(replies, 1, err)
			if noScript(err) && !whole {
				unknown = append(unknown, bucket)
				continue
			}
			if err == nil {
				epochs[bucket], seen[bucket], err = decodeEpoch(replies[0])
			}
			if err != nil {
				failed = err
			}
		}
		if pending = unknown; len(pending) == 0 {
			break
		}
	}
	again, err := s.known.saw(named, &seen)
	if err != nil {
		failed = err
	}
	return epochs, again, failed
}

func noScript(err error) bool {
	redis, ok := rueidis.IsRedisErr(err)
	return ok && redis.IsNoScript()
}

func unavailable(err error) error {
	return fmt.Errorf("%w: %w", replay.ErrUnavailable, err)
}

// explain adds a remedy, if known, to an error of the client or the server. All these
// errors are ErrUnavailable: a denied request may be granted later.
func explain(err error) error {
	if errors.Is(err, replay.ErrUnavailable) {
		return err
	}
	for _, e := range []struct{ prefix, remedy string }{
		{"NOPERM", "grant what the package comment of redisstore lists, by ACL SETUSER"},
		{"NOAUTH", "put user and password into the URL"},
		{"WRONGPASS", "correct user and password in the URL"},
		{"READONLY", "the server is a replica; if this lasts, give the primary's address, or the Sentinels'"},
		{"MISCONF", "free disk space on the server, or see its log for why it cannot save"},
		{"NOREPLICAS", "see why the server's replicas are not connected"},
		{"CLUSTERDOWN", "see CLUSTER INFO on the servers"},
		{"This instance has cluster support disabled", "give one address, or those of Sentinels with master_set"},
	} {
		if strings.HasPrefix(err.Error(), e.prefix) {
			return fmt.Errorf("%w (%s)", unavailable(err), e.remedy)
		}
	}
	return unavailable(err)
}
