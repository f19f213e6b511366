package directory

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// numberedID returns another ID for each number.
func numberedID(n int) (id token.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// revoked asks whether a ticket of acme was revoked.
func revoked(t testing.TB, db *DB, id token.ID) bool {
	t.Helper()
	yes, err := db.TicketRevoked(t.Context(), "acme", "", id)
	require.NoError(t, err)
	return yes
}

// A revocation by another process holds although the memory has "not revoked": at once on a
// server, and after a millisecond with a file. One by the same process holds at once on both.
func TestRevocationByAnotherProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, clock := cached(t, dsn)
		other := open(t, dsn)
		prepare(t, db)
		asked := 0 // statements for a ticket that was not revoked
		if d.name == postgresServer.name {
			asked = 1
		}
		for n := range 3 {
			own, others := numberedID(2*n), numberedID(2*n+1)
			for range 2 { // the second time, the memory is warm
				assert.False(t, revoked(t, db, own))
				assert.False(t, revoked(t, db, others))
			}
			assert.Equal(t, asked, statements(t, db, func() { revoked(t, db, others) }))
			require.NoError(t, db.RevokeTicket(ctx, "acme", "", own))
			assert.True(t, revoked(t, db, own))
			require.NoError(t, other.RevokeTicket(ctx, "acme", "", others))
			if d.name == sqliteFile.name {
				assert.False(t, revoked(t, db, others), "no look is due")
				clock.add(fileInterval)
			}
			assert.True(t, revoked(t, db, others))
			assert.True(t, revoked(t, other, own))
			assert.False(t, revoked(t, db, numberedID(100)))
			assert.Equal(t, asked, statements(t, db, func() { revoked(t, db, numberedID(100)) }))
		}
		// Records are remembered across revocations.
		_, err := db.Agent(ctx, "acme", "ann")
		require.NoError(t, err)
		require.NoError(t, other.RevokeTicket(ctx, "acme", "", numberedID(50)))
		clock.add(d.lookInterval())
		assert.Zero(t, statements(t, db, func() { _, err = db.Agent(ctx, "acme", "ann") }))
		require.NoError(t, err)
	})
}

// Revocations and redemptions at the same time, in two processes: a redemption that begins
// after a revocation was answered finds it, and a file is looked at for each here.
func TestRevocationsUnderLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, clock := cached(t, dsn)
		other := open(t, dsn)
		prepare(t, db)
		const all = 100
		var answered [all]atomic.Bool
		var revoking, asking sync.WaitGroup
		var over atomic.Bool
		for i, by := range []*DB{db, other} {
			revoking.Go(func() {
				for n := i; n < all; n += 2 {
					assert.NoError(t, by.RevokeTicket(ctx, "acme", "", numberedID(n)))
					answered[n].Store(true)
				}
			})
		}
		for range 4 {
			asking.Go(func() {
				for !over.Load() {
					n := rand.IntN(all)
					must := answered[n].Load()
					clock.add(fileInterval)
					if !revoked(t, db, numberedID(n)) && must {
						assert.Fail(t, "a revocation is not seen", n)
						return
					}
				}
			})
		}
		revoking.Wait()
		over.Store(true)
		asking.Wait()
	})
}

// Rows that were removed or come from an older copy of the file leave nothing wrong behind.
func TestRevocationsThatGo(t *testing.T) {
	ctx := t.Context()
	dsn := sqliteFile.place(t)
	db, clock := cached(t, dsn)
	other := open(t, dsn)
	prepare(t, db)
	look := func() { clock.add(fileInterval); db.cache.look(ctx) }
	require.NoError(t, other.RevokeTicket(ctx, "acme", "", numberedID(1)))
	look()
	assert.True(t, revoked(t, db, numberedID(1)))
	other.jobs.purge(start.Add(revocationKept + time.Millisecond))
	look()
	assert.False(t, revoked(t, db, numberedID(1)))
	// The number of a removed row is not given again.
	require.NoError(t, other.RevokeTicket(ctx, "acme", "", numberedID(2)))
	look()
	assert.True(t, revoked(t, db, numberedID(2)))
	// By hand: an older copy is put into the file.
	do(t, other, `DELETE FROM revocation`, `UPDATE sqlite_sequence SET seq = 0 WHERE name = 'revocation'`)
	look()
	require.NoError(t, other.RevokeTicket(ctx, "acme", "", numberedID(3)))
	look()
	assert.True(t, revoked(t, db, numberedID(3)))
	assert.False(t, revoked(t, db, numberedID(2)))
}

// With many revocations, each look reads some of them. With too many, the database is asked
// for each ticket, and the next attempt comes after an hour.
func TestManyRevocations(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	ctx := t.Context()
	dsn := sqliteFile.place(t)
	db, clock := cached(t, dsn)
	other := open(t, dsn)
	prepare(t, db)
	insert := func(from, n int) {
		do(t, other, fmt.Sprintf(`WITH RECURSIVE count (n) AS (SELECT %d UNION ALL SELECT n + 1 FROM count WHERE n < %d)
			INSERT INTO revocation (brand, issuer, ticket, expires) SELECT 'acme', '', printf('%%032x', n), 4102444800000 FROM count`,
			from, from+n-1))
	}
	asks := func(id int, want bool) int {
		clock.add(fileInterval)
		return statements(t, db, func() { assert.Equal(t, want, revoked(t, db, numberedID(id)), id) })
	}
	insert(1, 3*revokedStep/2)
	assert.Equal(t, 1, asks(1<<20, false), "one step is read")
	assert.Equal(t, 1, asks(3*revokedStep/2, true))
	assert.Zero(t, asks(1<<20, false))
	assert.Equal(t, 1, asks(1, true))

	insert(3*revokedStep/2+1, maxRevoked)
	for range maxRevoked/revokedStep + 1 {
		assert.Equal(t, 1, asks(1<<20, false))
	}
	assert.Nil(t, db.cache.revoked.ids)
	insert(maxRevoked*2, 1)
	assert.Equal(t, 1, asks(maxRevoked*2, true))
	assert.Nil(t, db.cache.revoked.ids, "no other attempt yet")
	require.NoError(t, db.RevokeTicket(ctx, "acme", "", numberedID(maxRevoked*2+1)))
	assert.Equal(t, 1, asks(maxRevoked*2+1, true))

	do(t, other, `DELETE FROM revocation WHERE number > 10`)
	assert.Equal(t, 1, asks(1<<20, false))
	clock.add(revokedRest)
	assert.Zero(t, asks(1<<20, false))
	assert.Len(t, db.cache.revoked.ids, 10)
}

// The memory is bounded also if no look comes, and tells nothing of rows that it lost.
func TestRevokedIDsAreBounded(t *testing.T) {
	r, open := &revokedIDs{}, &connections{}
	r.add(numberedID(1))
	assert.Nil(t, r.ids, "nothing was read yet")
	_, due := r.begin(open, 0, start)
	assert.True(t, due)
	r.whole = true
	for i := range maxRevoked {
		r.add(numberedID(i))
	}
	assert.True(t, r.lacks(open, numberedID(maxRevoked)))
	assert.False(t, r.lacks(open, numberedID(1)))
	assert.False(t, r.lacks(&connections{}, numberedID(maxRevoked)), "another file")
	r.add(numberedID(maxRevoked))
	assert.Empty(t, r.ids)
	assert.False(t, r.lacks(open, numberedID(1)))
	assert.False(t, r.lacks(open, numberedID(maxRevoked+1)))
	assert.True(t, r.behind(start))
}
