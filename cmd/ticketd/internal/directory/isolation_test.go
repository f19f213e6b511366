package directory

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Fifty brands of a thousand agents, with the same names everywhere: whoever asks
// for one brand gets that one's, and a key of one is good for no other.
func TestManyBrands(t *testing.T) {
	brands, agents := 50, 1000
	if testing.Short() {
		brands, agents = 10, 50
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		if d.name == sqliteFile.name {
			do(t, db, `PRAGMA synchronous = OFF`)
		}
		name := func(i int) string { return fmt.Sprintf("brand%02d", i) }
		bearers := make([]string, brands)
		customers := make(map[int64]string)
		for i := range brands {
			require.NoError(t, db.AddBrand(ctx, Brand{Name: name(i), Region: "GB"}))
			_, err := db.ImportAgents(ctx, name(i), func(yield func(Agent, error) bool) {
				for n := range agents {
					if !yield(Agent{Username: fmt.Sprint("agent", n), Email: fmt.Sprint(n, "@", name(i)), Active: true}, nil) {
						return
					}
				}
			}, nil)
			require.NoError(t, err)
			require.NoError(t, db.AddChannel(ctx, Channel{Brand: name(i), ID: "web", Name: name(i)}))
			bearers[i], err = db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue, ScopeRedeem}, Brands: []string{name(i)}})
			require.NoError(t, err)
			c, created, err := db.ResolveCustomer(ctx, name(i), Customer{Email: "jane@example.com", UniqueID: "1",
				Phone1: "+442012345678"},
				Redemption{Ticket: "the same", Expires: start, Override: true})
			require.NoError(t, err)
			assert.True(t, created)
			customers[c.ID] = name(i)
		}
		assert.Len(t, customers, brands)
		for i := range brands {
			key, err := db.Authenticate(ctx, bearers[i], start)
			require.NoError(t, err)
			for j := range brands {
				for _, scope := range []Scope{ScopeIssue, ScopeRedeem} {
					assert.Equal(t, i == j, key.Allows(scope, name(j)))
				}
			}
			for _, n := range []int{0, agents / 2, agents - 1} {
				a, err := db.MatchAgent(ctx, name(i), fmt.Sprint("agent", n), Fields{Email: fmt.Sprint(n, "@", name(i))})
				require.NoError(t, err)
				assert.Equal(t, name(i), a.Brand)
				_, err = db.MatchAgent(ctx, name(i), fmt.Sprint("agent", n), Fields{Email: fmt.Sprint(n, "@", name((i+1)%brands))})
				assert.ErrorIs(t, err, ErrNotFound)
			}
			c, err := db.Channel(ctx, name(i), "web")
			require.NoError(t, err)
			assert.Equal(t, name(i), c.Name)
			for id, brand := range customers {
				_, err := db.Customer(ctx, name(i), id)
				if brand == name(i) {
					assert.NoError(t, err)
				} else {
					assert.ErrorIs(t, err, ErrNotFound)
				}
			}
			keys, err := db.APIKeys(ctx, name(i), "", 100)
			require.NoError(t, err)
			assert.Len(t, keys, 1)
			listed, err := db.Agents(ctx, name(i), "", agents+1)
			require.NoError(t, err)
			assert.Len(t, listed, agents)
		}
	})
}

// acrossBrands are the statements about what belongs to a brand that do not name
// one, all that there may be.
var acrossBrands = []string{
	// The service's start compares every lifetime with its own.
	`SELECT name, '', max_lifetime FROM brand ` +
		`UNION ALL SELECT brand, id, max_lifetime FROM channel ORDER BY 3 DESC, 1, 2 LIMIT 1`,
	// The strictest policy of all, where it is not known whose session a browser has.
	`SELECT other_user FROM brand UNION SELECT other_user FROM channel`,
	// A restore is of the whole directory.
	`SELECT since FROM departed WHERE brand = '' AND kind = $1`,
	// What is over is over for all.
	`DELETE FROM redemption WHERE expires < $1`,
	`DELETE FROM revocation WHERE expires < $1`,
	// The trail's end is the same for all, and its oldest part goes for all.
	`SELECT at, id, CASE WHEN action = 'events' THEN count ELSE 1 END FROM event WHERE at < $1 ORDER BY at, id LIMIT $2`,
	`DELETE FROM event WHERE (at, id) <= ($1, $2)`,
	`SELECT COALESCE(max(id), 0) FROM event`,
	`SELECT NULL, (SELECT max(at) FROM event)`,
	`SELECT COALESCE(max(id), 0) FROM (SELECT id FROM event WHERE id > $1 ORDER BY id LIMIT 5000) AS examined`,
	// A pack has events of all brands. EventFilter.has says which of them a reader gets.
	selectPack + ` AND ` + notFrequent + ` ORDER BY at DESC, id DESC LIMIT 500`,
	selectPack + ` AND id > $1 AND id <= $2 ORDER BY id`,
	`SELECT details FROM event WHERE id = $1 AND action = 'events'`,
	// The service reminds of every key that ends.
	`SELECT ` + strings.Join(strings.Fields(keyColumns), " ") + `, brand FROM ( SELECT * FROM api_key ` +
		`WHERE revoked IS NULL AND expires > $1 AND expires <= $2 ORDER BY expires, id LIMIT $3 ) AS page ` +
		`LEFT JOIN api_key_brand ON key_id = id ORDER BY expires, id, brand`,
	// The key says which are its brands.
	`DELETE FROM api_key_brand WHERE key_id = $1`,
}

// No query about a brand's agents, channels, customers, redemptions or keys is
// without its brand.
func TestNoQueryWithoutItsBrand(t *testing.T) {
	dsn := sqliteFile.place(t)
	first := open(t, dsn)
	require.NoError(t, first.AddBrand(t.Context(), Brand{Name: "acme"}))
	require.NoError(t, first.AddAgent(t.Context(), Agent{Brand: "acme", Username: "ann", Active: true}))
	require.NoError(t, first.AddChannel(t.Context(), Channel{Brand: "acme", ID: "web"}))
	root := Administrator{Username: "root", Role: RoleAdmin, AllBrands: true, Active: true}
	require.NoError(t, first.AddAdministrator(t.Context(), root))
	bearer, err := first.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
	require.NoError(t, err)
	packed := filled(1, packMin, time.Millisecond)
	for i := range packed {
		packed[i].Brand, packed[i].Name = "acme", "ann"
	}
	writer, err := first.StartRecorder(t.Context(), "one")
	require.NoError(t, err)
	record(t, first, writer, packed)

	var r recorder
	r.Driver = first.write.sql().Driver()
	pool := sql.OpenDB(&connector{r: &r, dsn: "file:" + dsn + "?_txlock=immediate&_foreign_keys=1&_busy_timeout=10000"})
	pool.SetMaxOpenConns(1)
	db := newDB(&connections{read: pool, write: pool, close: pool.Close})
	db.file = first.file // which says that the directory is an SQLite file
	everyCall(t.Context(), db, bearer, func(name string, err error) { assert.NoError(t, err, name) })
	db.jobs.purge(start)
	db.file = nil
	require.NoError(t, db.Close())

	ofBrands := regexp.MustCompile(`\b(agent|channel|customer|redemption|revocation|departed|api_key_brand|event)\b`)
	insert := regexp.MustCompile(`^INSERT INTO \w+ \((key_id, )?brand,? ?`)
	where := regexp.MustCompile(`\bbrand (=|<>) \$\d|` +
		`^SELECT .* FROM api_key LEFT JOIN api_key_brand ON key_id = id WHERE id = \$1`)
	seen := make(map[string]bool)
	whole := regexp.MustCompile(`^SELECT \* FROM \w+$|FROM sqlite_sequence`) // Save takes whole tables
	for _, query := range r.queries {
		query = strings.Join(strings.Fields(query), " ")
		if seen[query] || !ofBrands.MatchString(query) || whole.MatchString(query) {
			continue
		}
		seen[query] = true
		// Of a UNION, every part.
		for part := range strings.SplitSeq(query, " UNION SELECT ") {
			ok := slices.Contains(acrossBrands, query) || insert.MatchString(part) || where.MatchString(part)
			assert.True(t, ok, "without a brand: %s", query)
		}
	}
	for _, query := range acrossBrands {
		assert.True(t, seen[query], "no longer there: %s", query)
	}
	assert.Greater(t, len(seen), 25, "the queries were recorded")
}

// recorder is a driver that notes what is asked.
type recorder struct {
	driver.Driver
	mu      sync.Mutex
	queries []string
}

func (r *recorder) note(query string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, query)
}

type connector struct {
	r   *recorder
	dsn string
}

func (c *connector) Driver() driver.Driver { return c.r.Driver }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.r.Open(c.dsn)
	return &recorded{conn, c.r}, err
}

type recorded struct {
	driver.Conn
	r *recorder
}

func (c *recorded) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.r.note(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *recorded) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.r.note(query)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *recorded) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}
