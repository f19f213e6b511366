package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered yields n agents, and then the error if there is one.
func numbered(n int, err error) iter.Seq2[Agent, error] {
	return func(yield func(Agent, error) bool) {
		for i := range n {
			if !yield(Agent{Username: fmt.Sprintf("agent%06d", i), Email: fmt.Sprintf("%d@example.com", i),
				Groups: []string{"all"}, Active: true}, nil) {
				return
			}
		}
		if err != nil {
			yield(Agent{}, err)
		}
	}
}

func TestImportAgents(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		for _, brand := range []string{"acme", "other"} {
			require.NoError(t, db.AddAgent(ctx, Agent{Brand: brand, Username: "agent000007", Email: "old@x", LastName: "Old"}))
			require.NoError(t, db.AddAgent(ctx, Agent{Brand: brand, Username: "stays", Email: "stays@x"}))
		}
		const n = 2*importBatch + 17
		var progress []int
		did, err := db.ImportAgents(ctx, "acme", numbered(n, nil),
			&ImportOptions{Progress: func(n int) { progress = append(progress, n) }})
		require.NoError(t, err)
		assert.Equal(t, Imported{Added: n - 1, Changed: 1, Activated: 1}, did)
		assert.Equal(t, []int{importBatch, 2 * importBatch, n}, progress)
		a, err := db.Agent(ctx, "acme", "agent000007")
		require.NoError(t, err)
		want := Agent{Brand: "acme", Username: "agent000007", Email: "7@example.com", Groups: []string{"all"}, Active: true}
		assert.Equal(t, chosen(t, want, a), a, "replaced")
		_, err = db.Agent(ctx, "acme", "stays")
		assert.NoError(t, err)
		a, err = db.Agent(ctx, "other", "agent000007")
		require.NoError(t, err)
		assert.Equal(t, "old@x", a.Email)

		did, err = db.ImportAgents(ctx, "acme", numbered(n, nil), nil)
		require.NoError(t, err)
		assert.Equal(t, Imported{Unchanged: n}, did)
		did, err = db.ImportAgents(ctx, "acme", numbered(0, nil), nil)
		require.NoError(t, err)
		assert.Zero(t, did)
	})
}

// An import that ends early, for whatever reason, has done nothing.
func TestImportAgentsAllOrNothing(t *testing.T) {
	stop := errors.New("line 731: not a phone number")
	then := func(a Agent) iter.Seq2[Agent, error] {
		return func(yield func(Agent, error) bool) {
			for a, err := range numbered(3*importBatch, nil) {
				if !yield(a, err) {
					return
				}
			}
			yield(a, nil)
		}
	}
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme", "other")
		require.NoError(t, db.AddAgent(t.Context(), Agent{Brand: "acme", Username: "agent000000", Email: "old@x"}))
		var field *FieldError
		var duplicate *DuplicateError
		for name, c := range map[string]struct {
			brand  string
			agents iter.Seq2[Agent, error]
			check  func(err error)
		}{
			"error of the reader": {"acme", numbered(3*importBatch+1, stop), func(err error) { assert.ErrorIs(t, err, stop) }},
			"refused field": {"acme", then(Agent{Username: "x", Email: "\x00"}),
				func(err error) { assert.ErrorAs(t, err, &field) }},
			"no username": {"acme", then(Agent{Email: "x@x"}), func(err error) { assert.ErrorAs(t, err, &field) }},
			"group with a comma": {"acme", then(Agent{Username: "x", Groups: []string{"a,b"}}),
				func(err error) { assert.ErrorAs(t, err, &field) }},
			"another brand": {"acme", then(Agent{Brand: "other", Username: "x"}),
				func(err error) { assert.ErrorAs(t, err, &field) }},
			"twice": {"acme", then(Agent{Username: "agent000001"}),
				func(err error) { assert.ErrorAs(t, err, &duplicate) }},
			"twice in a row": {"acme", then(Agent{Username: fmt.Sprintf("agent%06d", 3*importBatch-1)}),
				func(err error) { assert.ErrorAs(t, err, &duplicate) }},
			"no such brand": {"nobody", numbered(1, nil), func(err error) { assert.ErrorIs(t, err, ErrNotFound) }},
		} {
			t.Run(name, func(t *testing.T) {
				did, err := db.ImportAgents(t.Context(), c.brand, c.agents, nil)
				require.Error(t, err)
				c.check(err)
				assert.Zero(t, did)
				assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM agent`))
				a, err := db.Agent(t.Context(), "acme", "agent000000")
				require.NoError(t, err)
				assert.Equal(t, "old@x", a.Email)
			})
		}
		t.Run("cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := db.ImportAgents(ctx, "acme", numbered(5*importBatch, nil),
				&ImportOptions{Progress: func(int) { cancel() }})
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM agent`))
		})
		t.Run("panic of the reader", func(t *testing.T) {
			assert.Panics(t, func() {
				_, _ = db.ImportAgents(t.Context(), "acme", func(yield func(Agent, error) bool) {
					for a, err := range numbered(2*importBatch, nil) {
						yield(a, err)
					}
					panic("reader")
				}, nil)
			})
			assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM agent`), "and the writer is free again")
			require.NoError(t, db.AddAgent(t.Context(), Agent{Brand: "acme", Username: "next"}))
			require.NoError(t, db.RemoveAgent(t.Context(), "acme", "next"))
		})
	})
}

// While an import runs, everybody else reads, and sees nothing of it.
func TestImportAgentsIsSeenAtItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		looked := 0
		_, err := db.ImportAgents(t.Context(), "acme", numbered(3*importBatch, nil), &ImportOptions{Progress: func(int) {
			looked++
			all, err := db.Agents(t.Context(), "acme", "", 10)
			assert.NoError(t, err)
			assert.Empty(t, all)
		}})
		require.NoError(t, err)
		assert.Equal(t, 3, looked)
	})
}

// Two imports of the same agents at the same time wait for each other, and each tells
// rightly which of them were new.
func TestImportAgentsBesideAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		const n = 2 * importBatch
		begun := make(chan struct{})
		type result struct {
			did Imported
			err error
		}
		other := make(chan result, 1)
		first := true
		did, err := db.ImportAgents(t.Context(), "acme", numbered(n, nil), &ImportOptions{Progress: func(int) {
			if !first {
				return
			}
			first = false
			go func() {
				did, err := db.ImportAgents(t.Context(), "acme", func(yield func(Agent, error) bool) {
					close(begun)
					numbered(n, nil)(yield)
				}, nil)
				other <- result{did, err}
			}()
			if d.name == postgresServer.name { // SQLite has one writer at a time
				<-begun
			}
		}})
		require.NoError(t, err)
		assert.Equal(t, Imported{Added: n}, did)
		later := <-other
		require.NoError(t, later.err)
		assert.Equal(t, Imported{Unchanged: n}, later.did)
	})
}

// A hundred thousand agents go in at once, within memory that does not depend on
// how much is known of each.
func TestImportManyAgents(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	try := func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		long := strings.Repeat("x", maxIdentifier-4) + "@x.y"
		var before, most runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := time.Now()
		did, err := db.ImportAgents(t.Context(), "acme", func(yield func(Agent, error) bool) {
			for a, err := range numbered(n, nil) {
				a.Email = strings.Clone(long)
				if !yield(a, err) {
					return
				}
			}
		}, &ImportOptions{Progress: func(done int) {
			if done == n {
				runtime.GC()
				runtime.ReadMemStats(&most)
			}
		}})
		require.NoError(t, err)
		assert.Equal(t, n, did.Added)
		used := int64(most.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%d agents in %v, %d KiB", n, time.Since(begin).Round(time.Millisecond), used>>10)
		assert.Less(t, used, int64(n)*150+4<<20)
	}
	for _, d := range both { // with nothing beside it that takes memory
		t.Run(d.name, func(t *testing.T) { try(t, d) })
	}
}
