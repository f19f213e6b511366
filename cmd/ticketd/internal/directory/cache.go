package directory

import (
	linked "container/list"
	"context"
	"database/sql"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/token"
)

const (
	cacheBytes   = 32 << 20               // bound of the memory that remembered records take, about
	cacheMaxAge  = time.Second            // how long a look at the state counts at most
	lookInterval = 100 * time.Millisecond // between two looks at the state of a server
	fileInterval = time.Millisecond       // between two looks at an SQLite file
	lookTimeout  = 500 * time.Millisecond // for one look at a server
)

// A cache remembers API keys, brands with channels, and agents, as the look-ups of
// requests found them. What was not found is not remembered.
//
// The database has a random text, changes in the table directory_state. Triggers replace
// the text in each transaction that changes one of these records; customers, redemptions
// and revocations do not count. A look reads the text, and if the text is another, the
// cache forgets the records. The cache answers only if a look began within the last second
// (cacheMaxAge), so no answer is older. A record is kept only if the text that was read
// before the record is still the newest.
//
// On SQLite, PRAGMA data_version says for a few microseconds whether anybody has committed
// anything. So a look is made every fileInterval while requests come, and the look-ups of
// one request mostly share it. Of a server, a look is made every lookInterval. Changes of this
// process hold at once on both. A look at a file also reads the new revocations: see
// revokedIDs.
type cache struct {
	open     *atomic.Pointer[connections]
	clock    func() time.Time
	interval time.Duration

	looking sync.Mutex // held during a look

	mu         sync.Mutex
	of         *connections // whose state was read
	version    int64        // SQLite's data_version
	state      string       // ID of the directory, and the text
	checked    time.Time    // when the last good look began; zero after a change
	tried      time.Time    // when the last look ended; zero after a change
	generation uint64       // another whenever the records are forgotten
	entries    map[cacheKey]*linked.Element
	recent     linked.List // of *cacheEntry, the last used first
	bytes      int
	revoked    revokedIDs // of an SQLite file
}

// A cacheKey names a record: an API key by its ID, or a record of a brand.
type cacheKey struct {
	kind        string
	brand, name string
}

type cacheEntry struct {
	key    cacheKey
	record any // a pointer
	bytes  int
}

func newCache(open *atomic.Pointer[connections]) *cache {
	return &cache{open: open, clock: time.Now, interval: lookInterval, entries: make(map[cacheKey]*linked.Element)}
}

// remembered returns the record with the key from memory, or else from load. Nobody may
// change what a pointer or slice of the record points to.
func remembered[T any](ctx context.Context, c *cache, key cacheKey, load func() (T, error)) (T, error) {
	generation, ok := c.look(ctx)
	if ok {
		if found, ok := c.get(key).(*T); ok {
			return *found, nil
		}
	}
	record, err := load()
	if ok && err == nil {
		c.put(generation, key, &record, size(reflect.ValueOf(record))+len(key.brand)+len(key.name))
	}
	return record, err
}

// look makes a look if a look is due. The result is the generation, and whether the memory
// may be used.
func (c *cache) look(ctx context.Context) (generation uint64, ok bool) {
	open := c.open.Load()
	if open.err != nil {
		return 0, false
	}
	now, interval := c.clock(), c.interval
	if open.version != nil {
		interval = min(interval, fileInterval)
	}
	if generation, ok = c.fresh(open, now, interval); ok {
		return generation, true
	}
	if open.version != nil {
		return c.lookFile(open, now)
	}
	// While one caller looks, the other callers use the previous look.
	if c.looking.TryLock() {
		c.lookServer(ctx, open, now)
		c.looking.Unlock()
	}
	return c.fresh(open, c.clock(), cacheMaxAge)
}

// fresh returns the generation, and reports whether the last look at the connections is
// at most so old. The monotonic clock stops while a machine sleeps, and the other clock
// may be set: both must agree.
func (c *cache) fresh(open *connections, now time.Time, age time.Duration) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, wall := now.Sub(c.checked), now.Round(0).Sub(c.checked.Round(0))
	return c.generation, c.of == open && old >= 0 && old < age && wall >= 0 && wall < age
}

// stateQuery selects the state of the directory: its ID and the text of changes.
const stateQuery = `SELECT id || ' ' || changes FROM directory_state`

// lookServer reads the state from a server. The look began at the time now.
func (c *cache) lookServer(ctx context.Context, open *connections, now time.Time) {
	// The look serves others, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	c.mu.Lock()
	wait := c.interval - now.Sub(c.tried)
	c.mu.Unlock()
	if wait > 0 && wait <= c.interval { // the last look has just failed
		return
	}
	var state string
	err := open.read.QueryRowContext(ctx, stateQuery).Scan(&state)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried = c.clock()
	if err == nil {
		c.set(open, 0, state, now)
	}
}

// lookFile reads the state of a file, and the new revocations, if anybody has committed
// anything since the last look. This look began at the time now.
func (c *cache) lookFile(open *connections, now time.Time) (generation uint64, ok bool) {
	c.looking.Lock()
	defer c.looking.Unlock()
	// Readers do not wait, so no time limit is needed. The driver is slower with one.
	ctx := context.Background()
	var version int64
	if err := open.version.QueryRowContext(ctx).Scan(&version); err != nil {
		return 0, false
	}
	if !c.revoked.behind(now) {
		if generation, ok = c.same(open, version, now); ok {
			return generation, true
		}
	}
	var state string
	var newest int64
	if err := open.state.QueryRowContext(ctx).Scan(&state, &newest); err != nil {
		return 0, false
	}
	if err := c.revoked.read(ctx, open, newest, now); err != nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(open, version, state, now)
	return c.generation, true
}

// same reports whether a file has the version of the last look, and notes the time.
func (c *cache) same(open *connections, version int64, now time.Time) (generation uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of != open || c.version != version {
		return 0, false
	}
	c.checked = now
	return c.generation, true
}

// notRevoked reports that a ticket was not revoked, as of a look as fresh as for records.
// False means: ask the database. That is the answer of a server.
func (c *cache) notRevoked(ctx context.Context, id token.ID) bool {
	open := c.open.Load()
	if open.revoked == nil {
		return false
	}
	_, ok := c.look(ctx)
	return ok && c.revoked.lacks(open, id)
}

// set notes the result of a look. The caller holds mu.
func (c *cache) set(open *connections, version int64, state string, began time.Time) {
	if c.of != open || c.state != state {
		c.clear()
	}
	c.of, c.version, c.state, c.checked = open, version, state, began
}

// forget forgets the records, after a change by this process.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked, c.tried = time.Time{}, time.Time{}
	c.clear()
}

// clear forgets the records. The caller holds mu.
func (c *cache) clear() {
	c.generation++
	c.bytes = 0
	clear(c.entries)
	c.recent.Init()
}

// get returns the record with the key, or nil.
func (c *cache) get(key cacheKey) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cacheEntry).record
}

// put remembers a record read in a generation, unless the generation is over.
func (c *cache) put(generation uint64, key cacheKey, record any, bytes int) {
	const overhead = 256 // of an entry's own parts
	bytes += overhead
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation || bytes > cacheBytes || c.entries[key] != nil {
		return
	}
	// The texts may be parts of a request's body, which would stay in memory with them.
	key.brand, key.name = strings.Clone(key.brand), strings.Clone(key.name)
	c.entries[key] = c.recent.PushFront(&cacheEntry{key, record, bytes})
	for c.bytes += bytes; c.bytes > cacheBytes; {
		last := c.recent.Back()
		dropped := c.recent.Remove(last).(*cacheEntry)
		delete(c.entries, dropped.key)
		c.bytes -= dropped.bytes
	}
}

// size returns the bytes of a value and of everything behind its pointers.
func size(v reflect.Value) int { return int(v.Type().Size()) + pointed(v) }

// pointed returns how many bytes there are behind the pointers of a value.
func pointed(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			return size(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += size(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += pointed(v.Field(i))
		}
	}
	return n
}

// prepareLooks prepares the statements of the looks at a file, on a connection of their own.
func (c *connections) prepareLooks(ctx context.Context, guard *sql.DB) (err error) {
	for _, p := range []struct {
		to    **sql.Stmt
		query string
	}{{&c.version, `PRAGMA data_version`}, {&c.state, fileStateQuery}, {&c.revoked, revokedQuery}} {
		if *p.to, err = guard.PrepareContext(ctx, p.query); err != nil {
			return err
		}
	}
	return nil
}
