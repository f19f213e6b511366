// Package audit writes the events of tickets into the audit trail of the directory, off the
// path of requests. Changes of records are not its concern: package directory writes their
// events with the changes.
//
// Events wait in memory and are written in batches, five times a second, in transactions of at
// most maxPart events. If the memory is full, because the directory is away for long, further events
// are dropped. The number of dropped events is an event itself, a metric and a line in the
// log. If the process is killed, at most the last batch is lost, and the next start writes an
// event with the time since when events may be missing.
//
// If the answer to a batch is lost, the same batch is written again, and the directory knows
// the batch by its number. A batch can be in the trail twice in one case: its answer was lost,
// and another service found this one silent for directory.RecorderSilent before the directory
// answered again.
//
// Anybody can cause refusals. The refusals of strangers are one event for each address and
// minute, with a count. Of the equal refusals of one ticket, the first is an event at once,
// and those of the minute after are one more event, with a count. A killed process also loses
// the counts of its last minute.
package audit

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

const (
	flushEvery  = 200 * time.Millisecond
	beatEvery   = 30 * time.Second // between two notes that nothing is waiting
	purgeEvery  = time.Minute      // between two purges
	countFor    = time.Minute      // for which equal refusals are one event
	toldEvery   = time.Minute      // between two lines about dropped events
	recordedAgo = time.Second      // longest time between the time of an event and its Add

	maxWaiting   = 20_000 // events in memory, about 5 MiB
	maxStrangers = 1_000  // addresses counted at a time
	maxRepeated  = 20_000 // refusals whose repetitions are counted at a time
	maxBatch     = 8_000  // events taken from those in memory at a time
	maxPart      = 2_000  // events of one transaction, far fewer than a slow disk takes in its time limit

	purgeBatch   = 1_000 // events removed by one statement
	purgeBatches = 100   // in one purge
	purgePause   = 20 * time.Millisecond

	closeTimeout = 10 * time.Second
)

// Retention is how long events are kept, unless a deployment chooses otherwise.
const Retention = 90 * 24 * time.Hour

// Config has the parts of a Trail. All fields are mandatory.
type Config struct {
	Directory *directory.DB
	Name      string        // of this service; the same after a restart
	Machine   string        // host of this service
	Retention time.Duration // how long events are kept
	Log       *slog.Logger
	Written   func(n int) // counts events that were written
	Dropped   func(n int) // counts events that were dropped
	Now       func() time.Time
}

// An Event is a use of a ticket, or the refusal of a good API key.
type Event struct {
	At        time.Time
	ActorKind directory.ActorKind
	Actor     string
	Remote    string // address of the client; "": unknown
	Action    string
	Brand     string
	Kind      string // of the record: agent; "": none
	Name      string // username of an agent
	Ticket    token.ID
	Issuer    string // of the ticket; "": the deployment's own keys
	Key       token.KeyID
	Signing   token.KeyID // the issuer's key, in format 2
	Reason    string
}

// A Trail takes events and writes them. A nil Trail takes events and forgets them.
type Trail struct {
	Config
	recorder *directory.Recorder
	quit     chan struct{}
	done     chan struct{}

	// Of the writer alone.
	batch []directory.Event // being written, again after an error
	wrote int               // of the batch: events that were written
	until time.Time         // all events from before are in the batch, or written
	noted time.Time         // as the directory knows: all events from before are written
	taken []Event           // the rest of them is for further batches
	next  int               // of taken

	mu        sync.Mutex
	waiting   []Event
	rest      int       // number of events of taken that are in no batch yet
	dropped   int       // since the last event about dropped events
	since     time.Time // of the first of them
	told      time.Time // when the log had the last line about dropped events
	strangers map[string]*tally
	repeated  map[Event]*tally // by the event without the time and the address
	keyrings  []directory.Event
	versions  map[keyring.Kind]uint64 // generations at the last reports
}

// A tally counts the equal refusals of a minute.
type tally struct {
	began  time.Time
	since  time.Time // of the first that was counted
	count  int
	remote string // of the last
	reason string // of the last
}

func (y *tally) add(at time.Time, remote, reason string) {
	if y.count == 0 {
		y.since = at
	}
	y.count++
	y.remote, y.reason = remote, reason
}

// Start begins to write events. If the service was killed, the trail says so first.
func Start(ctx context.Context, c Config) (*Trail, error) {
	t, err := newTrail(ctx, c)
	if err != nil {
		return nil, err
	}
	go t.run()
	return t, nil
}

func newTrail(ctx context.Context, c Config) (*Trail, error) {
	c.Directory = c.Directory.As(directory.Actor{Kind: directory.ActorService, Machine: c.Machine})
	recorder, err := c.Directory.StartRecorder(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	return &Trail{
		Config: c, recorder: recorder, quit: make(chan struct{}), done: make(chan struct{}),
		strangers: make(map[string]*tally), repeated: make(map[Event]*tally),
		versions: make(map[keyring.Kind]uint64),
	}, nil
}

// Add takes an event. It does not wait for the directory.
func (t *Trail) Add(e Event) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if (e.Action == directory.ActionRefuseTicket || e.Action == directory.ActionRefuseKey) && t.isRepeated(&e) {
		return
	}
	if len(t.waiting)+t.rest >= maxWaiting {
		if t.dropped == 0 {
			t.since = t.Now()
		}
		t.dropped++
		t.Dropped(1)
		return
	}
	t.waiting = append(t.waiting, e)
}

// isRepeated counts a refusal if an equal one was less than a minute ago. The caller holds mu.
func (t *Trail) isRepeated(e *Event) bool {
	key := *e
	key.At, key.Remote = time.Time{}, ""
	y := t.repeated[key]
	if y == nil {
		if len(t.repeated) < maxRepeated {
			t.repeated[key] = &tally{began: t.Now()}
		}
		return false
	}
	y.add(e.At, e.Remote, e.Reason)
	return true
}

// Stranger counts a refusal of a client without a good API key or ticket.
func (t *Trail) Stranger(remote, reason string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	if t.strangers[remote] == nil && len(t.strangers) >= maxStrangers {
		remote = "" // the rest is one event, without an address
	}
	y := t.strangers[remote]
	if y == nil {
		y = &tally{began: now}
		t.strangers[remote] = y
	}
	y.add(now, remote, reason)
}

// Keyring notes the state of a keyring. A generation other than that of the last call is
// an event, apart from the first call for a kind.
func (t *Trail) Keyring(r keyring.Report) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.versions[r.Kind]
	t.versions[r.Kind] = r.Generation
	if !ok || last == r.Generation {
		return
	}
	details := map[string]any{"generation": r.Generation}
	if r.Primary != 0 { // a trust list has no keys of its own
		details["primary"] = r.Primary.String()
	}
	t.keyrings = append(t.keyrings, t.own(directory.ActionChangeKeyring, 1, details))
	e := &t.keyrings[len(t.keyrings)-1]
	e.Kind, e.Name = "keyring", string(r.Kind)
}

// own returns an event by the service itself.
func (t *Trail) own(action string, count int, details map[string]any) directory.Event {
	text, _ := json.Marshal(details) // of numbers, texts and times
	return directory.Event{
		At: t.Now(), Actor: directory.Actor{Kind: directory.ActorService, Machine: t.Machine},
		Action: action, Count: count, Details: string(text),
	}
}

// Close writes the events that wait, and ends the trail.
func (t *Trail) Close() error {
	close(t.quit)
	<-t.done
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return t.finish(ctx)
}

func (t *Trail) finish(ctx context.Context) error {
	for {
		n, err := t.flush(ctx, true)
		if err != nil {
			return err // the next start writes an event about the gap
		}
		if n == 0 {
			return t.Directory.EndRecorder(ctx, t.recorder)
		}
	}
}

func (t *Trail) run() {
	defer close(t.done)
	ctx, cancel := context.WithCancel(context.Background())
	purged := make(chan struct{})
	go func() {
		defer close(purged)
		t.keepPurging(ctx)
	}()
	defer func() { cancel(); <-purged }()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-tick.C:
			for n := maxBatch; n >= maxBatch; {
				n, _ = t.flush(ctx, false) // after an error, the events wait for the next tick
			}
		case <-beat.C:
			if len(t.batch) == 0 {
				_ = t.Directory.FlushRecorder(ctx, t.recorder, t.Now().Add(-recordedAgo)) // the next beat tries again
			}
		case <-t.quit:
			return
		}
	}
}

// flush writes a batch in parts, each in one transaction, and returns the number of events that
// it wrote. With all, the counts of refusals are written too, however young. After an error,
// the next flush goes on with the same part: the directory may have it already, by its number.
func (t *Trail) flush(ctx context.Context, all bool) (n int, err error) {
	if len(t.batch) == 0 {
		t.fill(all)
	}
	for t.wrote < len(t.batch) && err == nil {
		part := t.batch[t.wrote:min(t.wrote+maxPart, len(t.batch))]
		until := t.writtenAfter(len(part))
		if err = t.Directory.RecordEvents(ctx, t.recorder, part, until); err == nil {
			t.noted = until
			t.wrote += len(part)
			n += len(part)
			t.Written(len(part))
		}
	}
	t.tellDropped()
	if err == nil {
		clear(t.batch)
		t.batch, t.wrote = t.batch[:0], 0
	}
	return n, err
}

// writtenAfter returns the time before which all events are written, after so many more of the
// batch.
func (t *Trail) writtenAfter(n int) time.Time {
	until := t.until
	for _, e := range t.batch[t.wrote+n:] {
		if e.At.Before(until) {
			until = e.At
		}
	}
	if until.Before(t.noted) { // counts of refusals have the time of the first
		return t.noted
	}
	return until
}

// tellDropped logs that events are dropped, at most once a minute.
func (t *Trail) tellDropped() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	if t.dropped == 0 || now.Sub(t.told) < toldEvery {
		return
	}
	t.told = now
	t.Log.Error("events of the audit trail are dropped; the directory takes them too slowly, or not at all",
		"dropped", t.dropped, "since", t.since)
}

// fill makes the next batch.
func (t *Trail) fill(all bool) {
	events := t.take(all)
	for i := range events { // without the lock, for which requests wait
		t.batch = append(t.batch, events[i].written(1))
	}
}

// take puts everything but the waiting events into the batch, and returns those for the batch.
func (t *Trail) take(all bool) (events []Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	if t.next == len(t.taken) {
		t.taken, t.waiting, t.next = t.waiting, t.taken[:0], 0
	}
	events = t.taken[t.next:min(t.next+maxBatch, len(t.taken))]
	t.next += len(events)
	t.rest = len(t.taken) - t.next
	t.until = now.Add(-recordedAgo)
	if t.rest > 0 {
		t.until = t.taken[t.next].At
	}
	t.batch = append(t.batch, t.keyrings...)
	t.keyrings = nil
	if t.dropped > 0 && len(t.waiting)+t.rest < maxWaiting/2 {
		t.batch = append(t.batch, t.own(directory.ActionDropped, t.dropped, map[string]any{"since": t.since}))
		t.dropped = 0
	}
	for remote, y := range t.strangers {
		if len(t.batch) < maxBatch && (all || y.old(now)) {
			delete(t.strangers, remote)
			t.batch = append(t.batch, directory.Event{
				At: y.since, Actor: directory.Actor{Kind: directory.ActorStranger, Remote: remote},
				Action: directory.ActionRefuseStranger, Reason: y.reason, Count: y.count,
			})
		}
	}
	for e, y := range t.repeated {
		if len(t.batch) < maxBatch && (all || y.old(now)) {
			delete(t.repeated, e)
			if y.count > 0 {
				e.At, e.Remote = y.since, y.remote
				t.batch = append(t.batch, e.written(y.count))
			}
		}
	}
	return events
}

// old reports whether the minute of a tally is over.
func (y *tally) old(now time.Time) bool { return now.Sub(y.began) >= countFor || now.Before(y.began) }

// written returns the event as the directory has it.
func (e *Event) written(count int) directory.Event {
	w := directory.Event{
		At: e.At, Actor: directory.Actor{Kind: e.ActorKind, Name: e.Actor, Remote: e.Remote}, Brand: e.Brand,
		Action: e.Action, Kind: e.Kind, Name: e.Name, Reason: e.Reason, Count: count,
	}
	if e.Kind == "agent" {
		w.Name = directory.UsernameKey(e.Name)
	}
	if e.Ticket != (token.ID{}) {
		w.Ticket, w.Issuer, w.TicketKey = e.Ticket.String(), e.Issuer, e.Key.String()
		if e.Signing != 0 {
			w.SigningKey = e.Signing.String()
		}
	}
	return w
}

// keepPurging removes old events until ctx is done.
func (t *Trail) keepPurging(ctx context.Context) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		t.purge(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// purge removes events older than the retention, in batches with pauses, so that other
// changes come in between.
func (t *Trail) purge(ctx context.Context) {
	before := t.Now().Add(-t.Retention)
	for range purgeBatches {
		n, err := t.Directory.PurgeEvents(ctx, before, purgeBatch)
		if err != nil || n < purgeBatch { // the next purge tries again
			return
		}
		select {
		case <-time.After(purgePause):
		case <-ctx.Done():
			return
		}
	}
}
