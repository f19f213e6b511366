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
	epoch  time.Time // the latest of those found by Open

	// fault is why nobody can be admitted though the server answers, or nil.
	fault atomic.Pointer[error]

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
		keys: newKeys(config.Realm), db: option.SelectDB, fence: "1",
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
	epochs, err := s.touch(ctx)
	if err != nil {
		return fmt.Errorf("running the script: %w", explain(err))
	}
	s.epoch = slices.MaxFunc(epochs[:], time.Time.Compare)
	return nil
}

// Epoch implements replay.Managed: the latest epoch of all buckets, as found by Open. In
// other buckets, some tickets issued before may be good.
func (s *Store) Epoch() time.Time { return s.epoch }

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
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	a := s.keys.encode(c, s.now())
	for range 3 {
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
			if _, err := s.touch(ctx); err != nil {
				s.dialer.alarm()
			}
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
			Arg(what, s.fence, a.notBefore, a.retainUntil, a.bound, a.now).Build()
	}
	return c.B().Evalsha().Sha1(s.sha).Numkeys(2).Key(a.key, s.keys.epoch[a.bucket]).
		Arg(what, s.fence, a.notBefore, a.retainUntil, a.bound, a.now).Build()
}

// runAndWait sends claim and WAIT together, on a dedicated connection: WAIT concerns the
// writes of its own connection. An answer other than Admitted needs no replica.
func (s *Store) runAndWait(ctx context.Context, a *args) (int64, error) {
	client, release := s.client.Dedicate()
	defer release()
	send := func(whole bool) (reply, acked int64, err error) {
		limit := s.config.Wait.Timeout.Milliseconds()
		wait := client.B().Wait().Numreplicas(int64(s.config.Wait.Replicas)).Timeout(limit).Build()
		results := client.DoMulti(ctx, s.command(client, a, doClaim, whole), wait)
		if reply, err = results[0].ToInt64(); err != nil {
			return 0, 0, err
		}
		acked, err = results[1].ToInt64()
		return reply, acked, err
	}
	reply, acked, err := send(false)
	if noScript(err) {
		reply, acked, err = send(true)
	}
	if err != nil {
		return 0, err
	}
	admits := reply == replyAdmitted || reply == replyAdmittedTell || reply < 0
	if admits && acked < int64(s.config.Wait.Replicas) {
		return 0, fmt.Errorf("%d replicas have the claim, and %d must have it", acked, s.config.Wait.Replicas)
	}
	return reply, nil
}

// touch restores the epochs of all buckets, and returns them. So every bucket has an epoch
// before the first claim, and a new epoch soon after a loss. The store also notices a clock
// that runs ahead for a while without any claim.
func (s *Store) touch(ctx context.Context) ([buckets]time.Time, error) {
	var epochs [buckets]time.Time
	now := strconv.FormatInt(micros(s.now()), 10)
	pending := make([]int, buckets)
	for i := range pending {
		pending[i] = i
	}
	for _, whole := range []bool{false, true} {
		commands := make(rueidis.Commands, 0, len(pending))
		for _, i := range pending {
			a := args{bucket: i, key: s.keys.epoch[i], notBefore: "0", retainUntil: "0", now: now}
			commands = append(commands, s.command(s.client, &a, doTouch, whole))
		}
		var unknown []int
		for n, result := range s.client.DoMulti(ctx, commands...) {
			epoch, err := result.ToInt64()
			switch {
			case noScript(err) && !whole:
				unknown = append(unknown, pending[n])
			case err != nil:
				return epochs, err
			default:
				epochs[pending[n]] = time.UnixMicro(epoch).UTC()
			}
		}
		if pending = unknown; len(pending) == 0 {
			break
		}
	}
	return epochs, nil
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
