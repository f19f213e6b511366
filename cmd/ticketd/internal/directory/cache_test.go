package directory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// A stopped clock moves by hand.
type stoppedClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *stoppedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *stoppedClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// cached opens a directory as a service does, with a clock that stands still.
func cached(t *testing.T, dsn string) (*DB, *stoppedClock) {
	db := open(t, dsn)
	clock := &stoppedClock{t: start}
	db.cache.clock, db.cache.interval = clock.now, lookInterval
	return db, clock
}

// lookInterval is the time between two looks.
func (d database) lookInterval() time.Duration {
	if d.name == postgresServer.name {
		return lookInterval
	}
	return fileInterval
}

// A fact is a look-up and a change of its answer.
type fact struct {
	name   string
	holds  func(db *DB) error // nil or not
	change func(db *DB) error
}

// facts are about acme, its agent ann, its channel web, and an API key.
func facts(t *testing.T, bearer string) []fact {
	ctx := t.Context()
	id, _, _ := parseKey(bearer)
	office, err := ParseAddresses("192.0.2.0/24")
	require.NoError(t, err)
	allowed := func(db *DB) error {
		set, err := db.Effective(ctx, "acme", "web")
		if err == nil && !set.APIAddresses.Allow(netip.MustParseAddr("203.0.113.1")) {
			err = errors.New("not on the allow-list")
		}
		return err
	}
	authenticates := func(db *DB) error { _, err := db.Authenticate(ctx, bearer, start); return err }
	return []fact{
		{"allow-list", allowed, func(db *DB) error {
			_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.APIAddresses = office; return nil })
			return err
		}},
		{"inactive agent", func(db *DB) error { _, err := db.MatchAgent(ctx, "acme", "ann", Fields{}); return err },
			func(db *DB) error {
				_, err := db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Active = false; return nil })
				return err
			}},
		{"removed agent", func(db *DB) error { _, err := db.Agent(ctx, "acme", "ann"); return err },
			func(db *DB) error { return db.RemoveAgent(ctx, "acme", "ann") }},
		{"removed channel", func(db *DB) error { _, err := db.Effective(ctx, "acme", "web"); return err },
			func(db *DB) error { return db.RemoveChannel(ctx, "acme", "web") }},
		{"policy", func(db *DB) error {
			policy, err := db.StrictestOtherUser(ctx)
			if err == nil && policy != Replace {
				err = errors.New("stricter")
			}
			return err
		}, func(db *DB) error {
			_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.OtherUser = Refuse; return nil })
			return err
		}},
		{"revoked key", authenticates, func(db *DB) error { return db.RevokeAPIKey(ctx, id) }},
		{"removed key", authenticates, func(db *DB) error { return db.RemoveAPIKey(ctx, id) }},
		{"removed brand", func(db *DB) error { _, err := db.Effective(ctx, "acme", ""); return err },
			func(db *DB) error { return db.RemoveBrand(ctx, "acme", true) }},
	}
}

// A change by this process holds at once, one by another process at the next look.
func TestChangesHold(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		for _, by := range []string{"this process", "another process"} {
			for i := range facts(t, "adm_aaaaaaaaaa_") {
				dsn := d.place(t)
				db, clock := cached(t, dsn)
				other := db
				if by != "this process" {
					other = open(t, dsn)
				}
				f := facts(t, prepare(t, db))[i]
				t.Run(f.name+" by "+by, func(t *testing.T) {
					require.NoError(t, f.holds(db))
					assert.Zero(t, statements(t, db, func() { require.NoError(t, f.holds(db)) }), "remembered")
					require.NoError(t, f.change(other))
					if by == "another process" {
						require.NoError(t, f.holds(db), "no look is due")
						clock.add(d.lookInterval())
					}
					assert.Error(t, f.holds(db))
				})
			}
		}
	})
}

// prepare makes the records of facts, and returns the key.
func prepare(t *testing.T, db *DB) (bearer string) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
	require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Active: true}))
	require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}))
	bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
	require.NoError(t, err)
	return bearer
}

// If the state cannot be read for a second, the memory is not used.
func TestMemoryWithoutLooks(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		db, clock := cached(t, dsn)
		other := open(t, dsn)
		bearer := prepare(t, db)
		holds := func() error { _, err := db.Authenticate(t.Context(), bearer, start); return err }
		require.NoError(t, holds())
		do(t, other, `ALTER TABLE directory_state RENAME TO away`)
		do(t, other, `UPDATE api_key SET last_used = 1`) // data_version changes, too
		asks := func() int { return statements(t, db, func() { assert.NoError(t, holds()) }) }
		limit := cacheMaxAge
		if d.name != postgresServer.name {
			limit = fileInterval // a look at a file does not fail for a moment
		}
		clock.add(limit - 1)
		assert.Zero(t, asks())
		clock.add(1)
		assert.Equal(t, 1, asks())
		assert.Equal(t, 1, asks(), "nor is anything remembered")
		clock.add(-time.Hour) // the clock is set back
		assert.Equal(t, 1, asks())
		do(t, other, `ALTER TABLE away RENAME TO directory_state`)
		clock.add(time.Hour + time.Second)
		asks()
		assert.Zero(t, asks())
	})
}

// What was not found is looked for again: who is added is found at once.
func TestNotFoundIsNotRemembered(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, _ := cached(t, dsn)
		other := open(t, dsn)
		find := func() []error {
			_, agent := db.Agent(ctx, "acme", "ann")
			_, brand := db.Effective(ctx, "acme", "")
			_, channel := db.Effective(ctx, "acme", "web")
			return []error{agent, brand, channel}
		}
		for _, err := range find() {
			assert.ErrorIs(t, err, ErrNotFound)
		}
		require.NoError(t, other.AddBrand(ctx, Brand{Name: "acme"}))
		_, err := db.Effective(ctx, "acme", "")
		assert.NoError(t, err)
		_, err = db.Effective(ctx, "acme", "web")
		assert.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, other.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Active: true}))
		require.NoError(t, other.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}))
		for _, err := range find() {
			assert.NoError(t, err)
		}
		bearer, err := other.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
		require.NoError(t, err)
		_, err = db.Authenticate(ctx, bearer, start)
		assert.NoError(t, err)
	})
}

// A record that was read before a change is not kept after it, whoever made the change.
func TestChangeDuringALookUp(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db := open(t, dsn)
		other := open(t, dsn)
		prepare(t, db)
		for i, by := range []*DB{db, other} {
			for _, looked := range []bool{false, true} {
				name := fmt.Sprint(i, looked)
				key := cacheKey{"agent", "acme", "ann"}
				read := func() (string, error) {
					v, err := agents.get(ctx, db.read, "acme", "ann")
					return v.record.FirstName, err
				}
				db.cache.forget()
				_, err := remembered(ctx, db.cache, key, func() (string, error) {
					old, err := read()
					require.NoError(t, err)
					_, err = by.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.FirstName = name; return nil })
					require.NoError(t, err)
					if looked {
						db.cache.look(ctx)
					}
					return old, nil
				})
				require.NoError(t, err)
				got, err := remembered(ctx, db.cache, key, read)
				require.NoError(t, err)
				assert.Equal(t, name, got)
			}
		}
	})
}

// The text of changes is another after each change of what is remembered, and stays
// after all others. A change that is rolled back changes nothing.
func TestWhatCountsAsAChange(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		state := func() string {
			all, err := list(ctx, db.read, func(r row) (s string, err error) { return s, r.Scan(&s) }, stateQuery)
			require.NoError(t, err)
			return all[0]
		}
		changes := func(what string, want bool, f func() error) {
			t.Helper()
			before := state()
			require.NoError(t, f(), what)
			assert.Equal(t, want, state() != before, what)
		}
		changes("add brand", true, func() error { return db.AddBrand(ctx, Brand{Name: "acme"}) })
		changes("add agent", true, func() error {
			return db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Active: true})
		})
		changes("add channel", true, func() error { return db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}) })
		var bearer string
		changes("add key", true, func() (err error) {
			bearer, err = db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
			return err
		})
		id, _, _ := parseKey(bearer)
		changes("import", true, func() error { _, err := db.ImportAgents(ctx, "acme", numbered(100, nil), nil); return err })
		changes("import of the same", false, func() error {
			_, err := db.ImportAgents(ctx, "acme", numbered(100, nil), nil)
			return err
		})
		changes("dry run", false, func() error {
			_, err := db.ImportAgents(ctx, "acme", numbered(200, nil), &ImportOptions{DryRun: true})
			return err
		})
		var c Customer
		changes("customer", false, func() (err error) {
			c, _, err = db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1"}, Redemption{Ticket: "1", Expires: start})
			return err
		})
		changes("customer's details", false, func() error {
			_, err := db.UpdateCustomer(ctx, "acme", c.ID, func(c *Customer) error { c.Remark = "x"; return nil })
			return err
		})
		changes("revoked ticket", false, func() error { return db.RevokeTicket(ctx, "acme", "", token.ID{1}) })
		changes("use of a key", false, func() error { db.jobs.putUse(ctx, keyUse{id, start}); return nil })
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM api_key WHERE last_used IS NOT NULL`))
		changes("purge", false, func() error { db.jobs.purge(start.Add(1000 * time.Hour * 24)); return nil })
		changes("key", true, func() error {
			_, err := db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Brands, k.AllBrands = nil, true; return nil })
			return err
		})
		changes("agent", true, func() error {
			_, err := db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.Email = "ann@example.com"; return nil })
			return err
		})
		changes("sessions of an agent", true, func() error { _, err := db.EndAgentSessions(ctx, "acme", "ann"); return err })
		changes("by hand", true, func() error { do(t, db, `UPDATE agent SET active = NOT active`); return nil })
		changes("by hand", true, func() error { do(t, db, `UPDATE api_key SET expires = 1`); return nil })
		changes("revoke key", true, func() error { return db.RevokeAPIKey(ctx, id) })
		changes("remove key", true, func() error { return db.RemoveAPIKey(ctx, id) })
		changes("remove channel", true, func() error { return db.RemoveChannel(ctx, "acme", "web") })
		changes("remove agent", true, func() error { return db.RemoveAgent(ctx, "acme", "ann") })
		changes("remove brand", true, func() error { return db.RemoveBrand(ctx, "acme", true) })
	})
}

// Random changes by two processes, and look-ups by one of them, against a model: an answer
// was right at a moment that is no longer ago than a look may be, and after a look it is
// right now. The directory's own changes hold at once.
func TestRandomChanges(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, clock := cached(t, dsn)
		other := open(t, dsn)
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		seed := rand.Uint64()
		t.Log("seed ", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		type state struct {
			name  string // "": no such agent
			until time.Time
		}
		history := make(map[string][]state) // of an agent; the last one is the present one
		for range rounds {
			username := fmt.Sprint("agent", random.IntN(4))
			past := history[username]
			var is state
			if len(past) > 0 {
				is = past[len(past)-1]
			}
			if by := []*DB{nil, db, other}[random.IntN(3)]; by != nil {
				next := state{name: fmt.Sprint(random.IntN(1000))}
				var err error
				switch {
				case is.name == "":
					err = by.AddAgent(ctx, Agent{Brand: "acme", Username: username, FirstName: next.name, Active: true})
				case random.IntN(3) == 0:
					next.name = ""
					err = by.RemoveAgent(ctx, "acme", username)
				default:
					_, err = by.UpdateAgent(ctx, "acme", username, func(a *Agent) error { a.FirstName = next.name; return nil })
				}
				require.NoError(t, err)
				is.until = clock.now()
				if by == db {
					past, is.until = nil, time.Time{} // nothing from before may be answered
				}
				if is.until.IsZero() {
					history[username] = []state{next}
				} else {
					history[username] = append(append(past[:max(0, len(past)-1)], is), next)
				}
			}
			clock.add(time.Duration(random.IntN(60)) * time.Millisecond)
			for i := range 4 {
				username := fmt.Sprint("agent", i)
				past := history[username]
				got, err := db.Agent(ctx, "acme", username)
				if err != nil {
					require.ErrorIs(t, err, ErrNotFound)
				}
				var allowed []string
				for n, s := range past {
					if n == len(past)-1 || clock.now().Sub(s.until) < d.lookInterval() {
						allowed = append(allowed, s.name)
					}
				}
				if len(past) == 0 {
					allowed = []string{""}
				}
				require.Contains(t, allowed, got.FirstName, username)
			}
		}
	})
}

// The memory is bounded, and what was used last stays.
func TestCacheIsBounded(t *testing.T) {
	db := sqliteFile.withBrands(t, "acme")
	c := db.cache
	generation, ok := c.look(t.Context())
	require.True(t, ok)
	record := &Agent{FirstName: string(make([]byte, 1<<20))}
	first := cacheKey{"agent", "acme", "0"}
	for i := range 100 {
		c.put(generation, cacheKey{"agent", "acme", fmt.Sprint(i)}, record, len(record.FirstName))
		require.NotNil(t, c.get(first), i)
		require.LessOrEqual(t, c.bytes, cacheBytes)
		require.Equal(t, len(c.entries), c.recent.Len())
	}
	assert.Len(t, c.entries, 31)
	assert.NotNil(t, c.get(cacheKey{"agent", "acme", "99"}))
	assert.Nil(t, c.get(cacheKey{"agent", "acme", "1"}))
	c.put(generation, cacheKey{"agent", "acme", "large"}, record, cacheBytes)
	assert.Nil(t, c.get(cacheKey{"agent", "acme", "large"}))
	c.forget()
	assert.Zero(t, c.bytes)
	assert.Nil(t, c.get(first))
	c.put(generation, first, record, 1)
	assert.Nil(t, c.get(first), "of an older generation")
}

// The estimate of a record's size counts all that belongs to the record.
func TestSize(t *testing.T) {
	addresses, err := ParseAddresses("192.0.2.0/24,198.51.100.0/24")
	require.NoError(t, err)
	yes := true
	small := size(reflect.ValueOf(Brand{}))
	assert.Greater(t, size(reflect.ValueOf(Brand{LoginAddresses: addresses})), small+40)
	assert.Equal(t, small+1, size(reflect.ValueOf(Brand{Settings: Settings{OneTime: &yes}})))
	assert.Equal(t, small+16+5, size(reflect.ValueOf(Brand{RequiredAgentFields: []string{"email"}})))
	assert.Equal(t, small+4, size(reflect.ValueOf(Brand{Name: "acme"})))
}

// A name that is a part of a large text does not keep the text in memory.
func TestMemoryKeepsNoBody(t *testing.T) {
	c := newCache(nil)
	body := strings.Repeat("acme ", 1000)
	c.put(0, cacheKey{"agent", body[:4], body[5:9]}, new(Agent), 0)
	require.NotNil(t, c.get(cacheKey{"agent", "acme", "acme"}))
	for key := range c.entries {
		assert.NotSame(t, unsafe.StringData(body), unsafe.StringData(key.brand))
		assert.NotSame(t, unsafe.StringData(body[5:]), unsafe.StringData(key.name))
	}
}
