package directory

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// put creates a record and returns it.
func put(t *testing.T, db *DB, c Customer) Customer {
	t.Helper()
	got, created, err := db.ResolveCustomer(t.Context(), "acme", c, Redemption{})
	require.NoError(t, err)
	require.True(t, created)
	return got
}

func TestResolveCustomerCreates(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		db.now = func() time.Time { return start.Add(1234567 * time.Nanosecond).In(time.FixedZone("", 3600)) }
		want := Customer{Brand: "acme", Email: "Bob@Example.com", Phone1: "+442012345678", UniqueID: "7",
			FirstName: "Bob", LastName: "Birch", Remark: "vip"}
		given := want
		given.ID, given.Created, given.Updated = 99, start.Add(-time.Hour), start.Add(time.Hour) // not looked at
		got := put(t, db, given)
		assert.NotEqual(t, int64(99), got.ID)
		assert.Positive(t, got.ID)
		want.ID, want.Created, want.Updated = got.ID, start.Add(time.Millisecond), start.Add(time.Millisecond)
		assert.Equal(t, want, got)
		again, created, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "7"}, Redemption{})
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, want, again)
	})
}

func TestResolveCustomer(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		const phoneA, phoneB, phoneC = "+442012345678", "+442012345679", "+442012345670"
		full := Customer{Email: "a@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Ann", LastName: "Ash",
			Remark: "old"}
		for _, c := range []struct {
			name     string
			records  []Customer // 0, 1, …
			given    Customer
			override bool
			found    int // index of the record; -1: a new one
			want     Customer
		}{
			{"by uniqueId", []Customer{full}, Customer{UniqueID: "A"}, false, 0, full},
			{"by email", []Customer{full}, Customer{Email: "a@example.com"}, false, 0, full},
			{"by email in other case", []Customer{full}, Customer{Email: "A@EXAMPLE.com"}, false, 0, full},
			{"by phone", []Customer{full}, Customer{Phone1: phoneA}, false, 0, full},
			{"uniqueId counts case", []Customer{full}, Customer{UniqueID: "a"}, false, -1, Customer{UniqueID: "a"}},
			{"names find nobody", []Customer{full}, Customer{UniqueID: "B", FirstName: "Ann", LastName: "Ash"}, false, -1,
				Customer{UniqueID: "B", FirstName: "Ann", LastName: "Ash"}},

			{"found, stays as it is", []Customer{{Email: "a@example.com"}},
				Customer{Email: "A@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Ann", LastName: "Ash",
					Remark: "new"}, false, 0,
				Customer{Email: "a@example.com"}},
			{"found, takes what is given", []Customer{{Email: "a@example.com"}},
				Customer{Email: "A@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Ann", LastName: "Ash",
					Remark: "new"}, true, 0,
				Customer{Email: "A@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Ann", LastName: "Ash", Remark: "new"}},
			{"found, keeps what is not given", []Customer{full}, Customer{UniqueID: "A", FirstName: "Anna"}, true, 0,
				Customer{Email: "a@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Anna", LastName: "Ash", Remark: "old"}},
			{"new email by uniqueId", []Customer{full}, Customer{UniqueID: "A", Email: "new@example.com"}, true, 0,
				Customer{Email: "new@example.com", Phone1: phoneA, UniqueID: "A", FirstName: "Ann", LastName: "Ash",
					Remark: "old"}},
			{"new phone by email", []Customer{full}, Customer{Email: "a@example.com", Phone1: phoneB}, true, 0,
				Customer{Email: "a@example.com", Phone1: phoneB, UniqueID: "A", FirstName: "Ann", LastName: "Ash", Remark: "old"}},
			{"override of nobody", []Customer{full}, Customer{UniqueID: "B", Remark: "new"}, true, -1,
				Customer{UniqueID: "B", Remark: "new"}},

			{"uniqueId before email", []Customer{{Email: "a@example.com"}, {UniqueID: "A"}},
				Customer{UniqueID: "A", Email: "a@example.com"}, false, 1, Customer{UniqueID: "A"}},
			{"uniqueId before phone", []Customer{{Phone1: phoneA}, {UniqueID: "A"}},
				Customer{UniqueID: "A", Phone1: phoneA}, false, 1, Customer{UniqueID: "A"}},
			{"email before phone", []Customer{{Phone1: phoneA}, {Email: "a@example.com"}},
				Customer{Email: "a@example.com", Phone1: phoneA}, false, 1, Customer{Email: "a@example.com"}},
			{"three records", []Customer{{Phone1: phoneA}, {Email: "a@example.com"}, {UniqueID: "A"}},
				Customer{UniqueID: "A", Email: "a@example.com", Phone1: phoneA}, false, 2, Customer{UniqueID: "A"}},

			{"another's email and phone stay", []Customer{{Phone1: phoneA}, {Email: "a@example.com"}, {UniqueID: "A"}},
				Customer{UniqueID: "A", Email: "A@Example.com", Phone1: phoneA,
					FirstName: "Ann"}, true, 2, Customer{UniqueID: "A", FirstName: "Ann"}},
			{"another's phone stays, a free email is taken", []Customer{{Phone1: phoneA}, {UniqueID: "A", Phone1: phoneC}},
				Customer{UniqueID: "A", Email: "a@example.com", Phone1: phoneA}, true, 1,
				Customer{UniqueID: "A", Email: "a@example.com", Phone1: phoneC}},

			{"another uniqueId is another person, email", []Customer{full},
				Customer{UniqueID: "B", Email: "A@example.com", FirstName: "Ben"}, false, -1, Customer{UniqueID: "B",
					FirstName: "Ben"}},
			{"another uniqueId is another person, phone", []Customer{full},
				Customer{UniqueID: "B", Phone1: phoneA, Email: "b@example.com"}, true, -1, Customer{UniqueID: "B",
					Email: "b@example.com"}},
			{"another person's email, one's own phone", []Customer{full, {Phone1: phoneB}},
				Customer{UniqueID: "B", Email: "a@example.com", Phone1: phoneB}, true, 1, Customer{UniqueID: "B", Phone1: phoneB}},
			{"without a uniqueId of one's own the email decides", []Customer{full},
				Customer{Email: "a@example.com", FirstName: "Ben"}, false, 0, full},
		} {
			t.Run(c.name, func(t *testing.T) {
				db := d.withBrands(t, "acme")
				var records []Customer
				for _, r := range c.records {
					records = append(records, put(t, db, r))
				}
				db.now = func() time.Time { return start.Add(time.Hour) }
				got, created, err := db.ResolveCustomer(t.Context(), "acme", c.given, Redemption{Override: c.override})
				require.NoError(t, err)
				assert.Equal(t, c.found < 0, created)
				c.want.Brand, c.want.ID = "acme", got.ID
				c.want.Created, c.want.Updated = start.Add(time.Hour), start.Add(time.Hour)
				if c.found >= 0 {
					assert.Equal(t, records[c.found].ID, got.ID)
					c.want.Created = start
					if before := records[c.found]; !c.override {
						c.want.Updated = before.Updated
					}
					records[c.found] = c.want
				} else {
					records = append(records, c.want)
				}
				assert.Equal(t, c.want, got)
				assert.Equal(t, records, all(t, db), "and so it is stored; no other record changed")
			})
		}
	})
}

// all returns the customers of all brands in the order of their IDs.
func all(t *testing.T, db *DB) []Customer {
	t.Helper()
	rows, err := db.read.QueryContext(t.Context(), `SELECT
		id, brand, email, phone1, uniqueid, first_name, last_name, remark,
		created, updated FROM customer ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	var all []Customer
	for rows.Next() {
		var c Customer
		var created, updated int64
		require.NoError(t, rows.Scan(&c.ID, &c.Brand, &c.Email, &c.Phone1, &c.UniqueID, &c.FirstName, &c.LastName,
			&c.Remark, &created, &updated))
		c.Created, c.Updated = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		all = append(all, c)
	}
	require.NoError(t, rows.Err())
	return all
}

func TestResolveCustomerUnchangedIsNotUpdated(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		before := put(t, db, Customer{UniqueID: "7", FirstName: "Bob"})
		db.now = func() time.Time { return start.Add(time.Hour) }
		got, created, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "7", FirstName: "Bob"},
			Redemption{Override: true})
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, before, got)
	})
}

func TestResolveCustomerRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		for name, c := range map[string]struct {
			brand string
			given Customer
			field string
		}{
			"no identifier":    {"acme", Customer{FirstName: "Bob", Remark: "x"}, "uniqueId"},
			"no brand":         {"", Customer{UniqueID: "7"}, "brand"},
			"another brand":    {"acme", Customer{Brand: "other", UniqueID: "7"}, "brand"},
			"phone not E.164":  {"acme", Customer{Phone1: "442012345678"}, "phone1"},
			"phone beside uid": {"acme", Customer{UniqueID: "7", Phone1: "212-123-4567"}, "phone1"},
		} {
			t.Run(name, func(t *testing.T) {
				for _, override := range []bool{false, true} {
					_, created, err := db.ResolveCustomer(ctx, c.brand, c.given, Redemption{Override: override})
					var field *FieldError
					require.ErrorAs(t, err, &field)
					assert.Equal(t, c.field, field.Field)
					assert.False(t, created)
				}
			})
		}
		for _, override := range []bool{false, true} {
			_, _, err := db.ResolveCustomer(ctx, "nobody", Customer{UniqueID: "7"}, Redemption{Override: override})
			assert.ErrorIs(t, err, ErrNotFound)
			assert.ErrorContains(t, err, `brand "nobody"`)
		}
		assert.Zero(t, count(t, db, `SELECT count(*) FROM customer`))
		_, _, err := db.ResolveCustomer(ctx, "acme", Customer{Brand: "acme", UniqueID: "7"}, Redemption{})
		assert.NoError(t, err, "and the connection is free again")
	})
}

func TestCustomerIDsAreNeverGivenAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		first := put(t, db, Customer{UniqueID: "7"})
		_, err := db.write.ExecContext(t.Context(), `DELETE FROM customer`)
		require.NoError(t, err)
		assert.Greater(t, put(t, db, Customer{UniqueID: "7"}).ID, first.ID)
	})
}

// A brand may have millions of customers: none of the look-ups is a scan.
func TestResolveCustomerUsesIndexes(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		conn, err := db.read.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		explain, scan, ticket := "EXPLAIN QUERY PLAN ", "SCAN", "sqlite_autoindex_redemption_1"
		if d.name == postgresServer.name {
			explain, scan, ticket = "EXPLAIN ", "Seq Scan", "redemption_pkey"
			_, err := conn.ExecContext(t.Context(), `SET enable_seqscan = off`) // which an empty table would get
			require.NoError(t, err)
		}
		rows, err := conn.QueryContext(t.Context(), explain+matchQuery, "acme", "7", "a@example.com", "+44", "1")
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		var plan []string
		for rows.Next() {
			line := make([]any, len(columns))
			for i := range line {
				line[i] = new(any)
			}
			require.NoError(t, rows.Scan(line...))
			plan = append(plan, fmt.Sprint(*line[len(line)-1].(*any)))
		}
		require.NoError(t, rows.Err())
		text := strings.Join(plan, "\n")
		assert.NotContains(t, text, scan)
		for _, index := range []string{"customer_uniqueid", "customer_email", "customer_phone1", ticket} {
			assert.Contains(t, text, index)
		}
	})
}

// Concurrent redemptions of one customer, by different identifiers and through
// several openings of the file, as if by several processes, make one record.
func TestResolveCustomerConcurrently(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		file := d.place(t)
		dbs := []*DB{open(t, file), open(t, file), open(t, file)}
		require.NoError(t, dbs[0].AddBrand(t.Context(), Brand{Name: "acme"}))
		for round := range 5 {
			id := string(rune('a' + round))
			given := Customer{UniqueID: id, Email: id + "@example.com", FirstName: "Bob"}
			var wg sync.WaitGroup
			var mu sync.Mutex
			ids, creations := make(map[int64]int), 0
			for i := range 24 {
				wg.Go(func() {
					got, created, err := dbs[i%3].ResolveCustomer(t.Context(), "acme", given, Redemption{Override: i%2 == 0})
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					ids[got.ID]++
					if created {
						creations++
					}
				})
			}
			wg.Wait()
			assert.Len(t, ids, 1)
			assert.Equal(t, 1, creations)
		}
		assert.Len(t, all(t, dbs[0]), 5)
	})
}

// model is the directory's customers as plainly as they can be written down.
type model []Customer

func (m *model) resolve(brand string, c Customer, override bool) (index int, created bool) {
	lower := strings.ToLower
	owner := func(by string) int {
		for i, r := range *m {
			if r.Brand == brand && (by == "uniqueId" && c.UniqueID != "" && r.UniqueID == c.UniqueID ||
				by == "email" && c.Email != "" && lower(r.Email) == lower(c.Email) ||
				by == "phone1" && c.Phone1 != "" && r.Phone1 == c.Phone1) {
				return i
			}
		}
		return -1
	}
	owners := map[string]int{"uniqueId": owner("uniqueId"), "email": owner("email"), "phone1": owner("phone1")}
	index = owners["uniqueId"]
	for _, by := range []string{"email", "phone1"} {
		if i := owners[by]; index < 0 && i >= 0 && (c.UniqueID == "" || (*m)[i].UniqueID == "") {
			index = i
		}
	}
	if created = index < 0; created {
		*m = append(*m, Customer{Brand: brand})
		index = len(*m) - 1
	} else if !override {
		return index, false
	}
	take := func(to *string, given, by string) {
		if o, known := owners[by]; given != "" && (!known || o < 0 || o == index) {
			*to = given
		}
	}
	r := &(*m)[index]
	take(&r.UniqueID, c.UniqueID, "uniqueId")
	take(&r.Email, c.Email, "email")
	take(&r.Phone1, c.Phone1, "phone1")
	take(&r.FirstName, c.FirstName, "")
	take(&r.LastName, c.LastName, "")
	take(&r.Remark, c.Remark, "")
	return index, created
}

func TestResolveCustomerAgainstModel(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "a", "b")
		if d.name == sqliteFile.name {
			do(t, db, `PRAGMA synchronous = OFF`) // a thousand transactions
		}
		for seed := range uint64(20) {
			_, err := db.write.ExecContext(t.Context(), `DELETE FROM customer`)
			require.NoError(t, err)
			random := rand.New(rand.NewPCG(seed, 1))
			pick := func(values ...string) string { return values[random.IntN(len(values))] }
			var m model
			var ids []int64 // of the model's records
			for step := range 60 {
				brand := pick("a", "a", "b")
				c := Customer{
					UniqueID:  pick("", "", "1", "2", "3"),
					Email:     pick("", "", "x@example.com", "X@example.com", "y@example.com", "z@example.com"),
					Phone1:    pick("", "", "+441", "+442", "+443"),
					FirstName: pick("", "Ann", "Bob"),
					LastName:  pick("", "Ash", "Birch"),
					Remark:    pick("", "r", "s"),
				}
				if c.UniqueID+c.Email+c.Phone1 == "" {
					continue
				}
				override := random.IntN(2) == 0
				got, created, err := db.ResolveCustomer(t.Context(), brand, c, Redemption{Override: override})
				require.NoError(t, err)
				index, wantCreated := m.resolve(brand, c, override)
				require.Equal(t, wantCreated, created, "seed %d step %d", seed, step)
				if created {
					ids = append(ids, got.ID)
				}
				want := m[index]
				want.ID, want.Created, want.Updated = ids[index], start, start
				require.Equal(t, want, got, "seed %d step %d", seed, step)
			}
			stored := all(t, db)
			require.Len(t, stored, len(m))
			for i, r := range m {
				r.ID, r.Created, r.Updated = ids[i], start, start
				assert.Equal(t, r, stored[i], "seed %d", seed)
			}
		}
	})
}

// The schema itself holds what ResolveCustomer promises, whoever writes.
func TestCustomerConstraints(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme", "other")
		insert := func(brand, email, phone, uniqueID string) error {
			_, err := db.write.ExecContext(t.Context(), `
			INSERT INTO customer (
				brand, email, email_fold, phone1, uniqueid, first_name, last_name, remark, created, updated, revision)
			VALUES ($1, $2, $2, $3, $4, '', '', '', 0, 0, 1)`, brand, email, phone, uniqueID)
			return err
		}
		require.NoError(t, insert("acme", "a@example.com", "+441", "A"))
		assert.NoError(t, insert("other", "a@example.com", "+441", "A"))
		assert.NoError(t, insert("acme", "", "", "B"), "any number lack an email or a phone")
		assert.NoError(t, insert("acme", "", "", "C"))
		assert.NoError(t, insert("acme", "d@example.com", "", ""), "or a uniqueId")
		assert.NoError(t, insert("acme", "e@example.com", "", ""))
		assert.Regexp(t, `UNIQUE|duplicate key`, insert("acme", "a@example.com", "", ""))
		assert.Regexp(t, `UNIQUE|duplicate key`, insert("acme", "", "+441", ""))
		assert.Regexp(t, `UNIQUE|duplicate key`, insert("acme", "", "", "A"))
		assert.Regexp(t, `(?i)CHECK`, insert("acme", "", "", ""))
		assert.Regexp(t, `(?i)FOREIGN KEY`, insert("nobody", "", "", "A"))
	})
}
