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

// Close ends the connections. Claims are ErrUnavailable from then on.
func (s *Store) Close() error {
	s.closed.Do(func() {
		s.stop()
		s.ended.Wait()
		s.client.Close()
		s.dialer.close()
	})
	return nil
}

// String names the realm and the kind of deployment.
func (s *Store) String() string {
	return fmt.Sprintf("redisstore(realm %q, %s)", s.config.Realm, s.client.Mode())
}

// Claim implements replay.Store, in a single round trip. If Claim gives up waiting, the
// nonce may be spent or not; a later claim with the same Binding finds out.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, doClaim)
}

// Peek implements replay.Store, in a single round trip.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, doPeek)
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
	if err := s.short.err(s.shard(c)); err != nil {
		return replay.Answer{}, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	a := s.keys.encode(c, s.now())
	for range 3 {
		a.lineage = s.known.of(a.bucket)
		reply, err := s.send(ctx, &a, what)
		if err != nil {
			if outOfMemory(err) {
				return replay.Answer{Status: replay.Full}, nil
			}
			return replay.Answer{}, explain(err)
		}
		switch reply {
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
		if reply != replyAskAgain {
			return decode(reply)
		}
	}
	return replay.Answer{}, unavailable(errors.New("the server's clock leaps about; set it right"))
}

// send has the script run, and waits for replicas if need be.
func (s *Store) send(ctx context.Context, a *args, what string) (int64, error) {
	if s.config.Wait.Replicas > 0 && what == doClaim {
		return s.runAndWait(ctx, a)
	}
	return s.run(ctx, a, what)
}

// run sends the digest of the script and, to a server without the script, the script. In
// this case the first command does nothing.
func (s *Store) run(ctx context.Context, a *args, what string) (int64, error) {
	reply, err := s.client.Do(ctx, s.command(s.client, a, what, false)).ToInt64()
	if noScript(err) {
		reply, err = s.client.Do(ctx, s.command(s.client, a, what, true)).ToInt64()
	}
	return reply, err
}

func (s *Store) command(c rueidis.CommandClient, a *args, what string, whole bool) rueidis.Completed {
	if whole {
		return c.B().Eval().Script(s.script).Numkeys(2).Key(a.key, s.keys.epoch[a.bucket]).
			Arg(what, s.fence, a.notBefore, a.retainUntil, a.bound, a.now).
			Arg(a.lineage, s.config.replicas, s.origin).Build()
	}
	return c.B().Evalsha().Sha1(s.sha).Numkeys(2).Key(a.key, s.keys.epoch[a.bucket]).
		Arg(what, s.fence, a.notBefore, a.retainUntil, a.bound, a.now).
		Arg(a.lineage, s.config.replicas, s.origin).Build()
}

// runAndWait sends claim and WAIT together, on a dedicated connection: WAIT concerns the
// writes of its own connection. A primary that is cut off must not say that the nonce is
// spent, either: its replicas, of which one is the primary by now, may not know.
func (s *Store) runAndWait(ctx context.Context, a *args) (int64, error) {
	reply, acked, err := s.sendAndWait(ctx, a, doClaim)
	if err != nil {
		return 0, err
	}
	n, err := reply.AsInt64()
	if err != nil {
		return 0, err
	}
	wrote := n == replyAdmitted || n == replyAdmittedTell || n < 0 || n > replyTooFewReplicas
	if wrote && acked < int64(s.config.Wait.Replicas) {
		err := fmt.Errorf("%d replicas have the claim, and %d must have it", acked, s.config.Wait.Replicas)
		s.fallShort(a.bucket, err)
		return 0, err
	}
	return n, nil
}

// sendAndWait sends a task and WAIT, and returns the script's reply and the number of
// replicas that have what the task wrote.
func (s *Store) sendAndWait(ctx context.Context, a *args, what string) (rueidis.RedisMessage, int64, error) {
	client, release := s.client.Dedicate()
	defer release()
	send := func(whole bool) (reply rueidis.RedisMessage, acked int64, err error) {
		limit := s.config.Wait.Timeout.Milliseconds()
		wait := client.B().Wait().Numreplicas(int64(s.config.Wait.Replicas)).Timeout(limit).Build()
		results := client.DoMulti(ctx, s.command(client, a, what, whole), wait)
		if reply, err = results[0].ToMessage(); err != nil {
			return reply, 0, err
		}
		acked, err = results[1].ToInt64()
		return reply, acked, err
	}
	reply, acked, err := send(false)
	if noScript(err) {
		return send(true)
	}
	return reply, acked, err
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
	now := strconv.FormatInt(micros(s.now()), 10)
	pending := make([]int, buckets)
	for i := range pending {
		pending[i] = i
	}
	for _, whole := range []bool{false, true} {
		commands := make(rueidis.Commands, 0, len(pending))
		for _, i := range pending {
			a := args{bucket: i, key: s.keys.epoch[i], notBefore: "0", retainUntil: "0", now: now, lineage: named[i]}
			commands = append(commands, s.command(s.client, &a, what, whole))
		}
		var unknown []int
		for n, result := range s.client.DoMulti(ctx, commands...) {
			epoch, lineage, err := decodeEpoch(result)
			switch {
			case noScript(err) && !whole:
				unknown = append(unknown, pending[n])
			case err != nil:
				failed = err
			default:
				epochs[pending[n]], seen[pending[n]] = epoch, lineage
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
