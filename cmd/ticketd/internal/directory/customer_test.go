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
		want = chosen(t, want, got)
		assert.Equal(t, want, got)
		again, created, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "7"}, Redemption{})
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, want, again)
	})
}

func TestResolveCustomer(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
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
				Customer{UniqueID: "B", Email: "a@example.com", Phone1: phoneB, FirstName: "Ben"}, true, 1,
				Customer{Phone1: phoneB, FirstName: "Ben"}},
			{"another email is another person, phone", []Customer{full},
				Customer{Email: "b@example.com", Phone1: phoneA, FirstName: "Ben"}, true, -1,
				Customer{Email: "b@example.com", FirstName: "Ben"}},
			{"found by phone, takes no email and no uniqueId", []Customer{{Phone1: phoneA}},
				Customer{UniqueID: "B", Email: "b@example.com", Phone1: phoneA, Remark: "new"}, true, 0,
				Customer{Phone1: phoneA, Remark: "new"}},
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
				c.want = chosen(t, c.want, got)
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
		created, updated, record, revision FROM customer ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	var all []Customer
	for rows.Next() {
		var c Customer
		var created, updated int64
		require.NoError(t, rows.Scan(&c.ID, &c.Brand, &c.Email, &c.Phone1, &c.UniqueID, &c.FirstName, &c.LastName,
			&c.Remark, &created, &updated, &c.RecordID, &c.Revision))
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
		conn, err := db.read.sql().Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		explain, scan, ticket := "EXPLAIN QUERY PLAN ", "SCAN", "sqlite_autoindex_redemption_1"
		if d.name == postgresServer.name {
			explain, scan, ticket = "EXPLAIN ", "Seq Scan", "redemption_pkey"
			_, err := conn.ExecContext(t.Context(), `SET enable_seqscan = off`) // which an empty table would get
			require.NoError(t, err)
		}
		rows, err := conn.QueryContext(t.Context(), explain+matchQuery, "acme", "7", "a@example.com", "+44", "1", "")
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

// names tells how the ticket's identifiers relate to a record's.
func names(r, c Customer) (uniqueID, email, phone relation) {
	of := func(ticket, record string) relation {
		switch {
		case ticket == "" || record == "":
			return absent
		case ticket == record:
			return same
		}
		return other
	}
	return of(c.UniqueID, r.UniqueID), of(strings.ToLower(c.Email), strings.ToLower(r.Email)), of(c.Phone1, r.Phone1)
}

// relation is that of an identifier of a ticket to the same one of a record.
type relation string

const (
	absent relation = "absent" // from the ticket or from the record
	same   relation = "same"
	other  relation = "other"
)

// expected is, for each triple of relations, the identifier by which the record is found.
var expected = map[[3]relation]string{
	{same, absent, absent}: "uniqueId", {same, absent, same}: "uniqueId", {same, absent, other}: "uniqueId",
	{same, same, absent}: "uniqueId", {same, same, same}: "uniqueId", {same, same, other}: "uniqueId",
	{same, other, absent}: "uniqueId", {same, other, same}: "uniqueId", {same, other, other}: "uniqueId",

	{absent, same, absent}: "email", {absent, same, same}: "email", {absent, same, other}: "email",
	{absent, absent, same}: "phone1",

	{absent, absent, absent}: "", {absent, absent, other}: "",
	{absent, other, absent}: "", {absent, other, same}: "", {absent, other, other}: "",
	{other, absent, absent}: "", {other, absent, same}: "", {other, absent, other}: "",
	{other, same, absent}: "", {other, same, same}: "", {other, same, other}: "",
	{other, other, absent}: "", {other, other, same}: "", {other, other, other}: "",
}

func (m *model) resolve(brand string, c Customer, override bool) (index int, created bool) {
	by, index := "", -1
	for _, wanted := range []string{"uniqueId", "email", "phone1"} {
		for i, r := range *m {
			uniqueID, email, phone := names(r, c)
			if index < 0 && r.Brand == brand && expected[[3]relation{uniqueID, email, phone}] == wanted {
				by, index = wanted, i
			}
		}
	}
	if created = index < 0; created {
		*m = append(*m, Customer{Brand: brand})
		index = len(*m) - 1
	} else if !override {
		return index, false
	}
	owned := [3]bool{}
	for i, r := range *m {
		uniqueID, email, phone := names(r, c)
		if i != index && r.Brand == brand {
			owned[0], owned[1], owned[2] = owned[0] || uniqueID == same, owned[1] || email == same, owned[2] || phone == same
		}
	}
	take := func(to *string, given string, allowed bool) {
		if given != "" && allowed {
			*to = given
		}
	}
	r := &(*m)[index]
	take(&r.UniqueID, c.UniqueID, !owned[0] && by != "phone1")
	take(&r.Email, c.Email, !owned[1] && by != "phone1")
	take(&r.Phone1, c.Phone1, !owned[2])
	take(&r.FirstName, c.FirstName, true)
	take(&r.LastName, c.LastName, true)
	take(&r.Remark, c.Remark, true)
	return index, created
}

// pairs calls f for each way in which a ticket and a record can have identifiers: each
// of the three is absent from one or both, the same, or another.
func pairs(f func(name string, relations [3]relation, ticket, record Customer)) {
	states := []struct {
		name           string
		relation       relation
		ticket, record int // which value; 0: none
	}{
		{"in neither", absent, 0, 0}, {"in the ticket", absent, 1, 0}, {"in the record", absent, 0, 1},
		{"same", same, 1, 1}, {"other", other, 2, 1},
	}
	customer := func(uniqueID, email, phone int) Customer {
		return Customer{
			UniqueID: []string{"", "U1", "U2"}[uniqueID],
			Email:    []string{"", "mum@example.com", "son@example.com"}[email],
			Phone1:   []string{"", "+442012345678", "+442012345679"}[phone],
		}
	}
	for _, u := range states {
		for _, e := range states {
			for _, p := range states {
				ticket, record := customer(u.ticket, e.ticket, p.ticket), customer(u.record, e.record, p.record)
				if ticket == (Customer{}) || record == (Customer{}) {
					continue
				}
				record.FirstName, record.Remark, ticket.FirstName = "Mum", "hers", "Son"
				f(fmt.Sprintf("uniqueId %s, email %s, phone1 %s", u.name, e.name, p.name),
					[3]relation{u.relation, e.relation, p.relation}, ticket, record)
			}
		}
	}
}

// Every pair of a record and a ticket: whose the record is, what the ticket changes, and
// that the record's owner finds it afterwards.
//
// trap S1, trap S2
func TestOneRecordOnePerson(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		if d.name == sqliteFile.name {
			do(t, db, `PRAGMA synchronous = OFF`)
		}
		seen := make(map[[3]relation]bool)
		pairs(func(name string, relations [3]relation, ticket, record Customer) {
			by, known := expected[relations]
			require.True(t, known, name)
			seen[relations] = true
			for _, override := range []bool{false, true} {
				do(t, db, `DELETE FROM redemption`, `DELETE FROM customer`)
				hers := put(t, db, record)
				on := Redemption{Ticket: "t", Expires: start.Add(time.Minute), Lookup: new(Lookup)}

				// Before the claim a found record stays as it is, whatever the ticket says.
				before, created, err := db.ResolveCustomer(ctx, "acme", ticket, on)
				require.NoError(t, err, name)
				assert.Equal(t, by == "", created, name)
				stored := all(t, db)
				assert.Equal(t, hers, stored[0], name)
				got := before
				if override {
					on.Override = true
					got, _, err = db.ResolveCustomer(ctx, "acme", ticket, on)
					require.NoError(t, err, name)
				}

				m := model{hers}
				index, _ := m.resolve("acme", ticket, override)
				m[index].ID, m[index].Created, m[index].Updated = before.ID, start, start
				m[index] = chosen(t, m[index], got)
				assert.Equal(t, before.RecordID, got.RecordID, name)
				assert.Equal(t, m[index], got, "%s, override %v", name, override)
				assert.Equal(t, []Customer(m), all(t, db), "%s, override %v", name, override)
				if by == "" {
					assert.NotEqual(t, hers.ID, got.ID, name)
				}

				// She finds her record by all of her identifiers, and he finds his.
				again, err := db.KnownCustomer(ctx, "acme", record, Redemption{})
				require.NoError(t, err, name)
				if by == "" || !override {
					assert.Equal(t, hers, again, name)
				} else {
					assert.Equal(t, hers.ID, again.ID, name)
				}
				his, err := db.KnownCustomer(ctx, "acme", ticket, Redemption{})
				require.NoError(t, err, name)
				assert.Equal(t, got.ID, his.ID, name)
			}
		})
		assert.Len(t, seen, len(expected), "each line of the table")
	})
}

// Two tickets at the same moment, for each pair of sets of identifiers: if the second
// would find what the first makes, there is one record. In no case does one of them fail
// or find the wrong person.
//
// trap S1
func TestTwoTicketsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx, dsn := t.Context(), d.place(t)
		dbs := []*DB{open(t, dsn), open(t, dsn)}
		require.NoError(t, dbs[0].AddBrand(ctx, Brand{Name: "acme"}))
		for _, db := range dbs {
			if d.name == sqliteFile.name {
				do(t, db, `PRAGMA synchronous = OFF`)
			}
		}
		n := 0
		pairs(func(name string, relations [3]relation, ticket, record Customer) {
			n++
			if testing.Short() && n%5 != 0 {
				return
			}
			do(t, dbs[0], `DELETE FROM redemption`, `DELETE FROM customer`)
			givens := []Customer{record, ticket}
			var got [2]Customer
			var wg sync.WaitGroup
			for i := range givens {
				wg.Go(func() {
					on := Redemption{Ticket: fmt.Sprint("t", i), Expires: start, Lookup: new(Lookup)}
					for _, on.Override = range []bool{false, true} {
						var err error
						got[i], _, err = dbs[i].ResolveCustomer(ctx, "acme", givens[i], on)
						assert.NoError(t, err, name)
					}
				})
			}
			wg.Wait()
			records := 1
			if expected[relations] == "" {
				records = 2
			}
			assert.Len(t, all(t, dbs[0]), records, name)
			assert.Equal(t, records == 1, got[0].ID == got[1].ID, name)
		})
	})
}

func TestResolveCustomerAgainstModel(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
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
				require.Equal(t, chosen(t, want, got), got, "seed %d step %d", seed, step)
			}
			stored := all(t, db)
			require.Len(t, stored, len(m))
			for i, r := range m {
				r.ID, r.Created, r.Updated = ids[i], start, start
				assert.Equal(t, chosen(t, r, stored[i]), stored[i], "seed %d", seed)
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
				brand, email, email_fold, phone1, uniqueid, first_name, last_name, first_fold, last_fold, remark,
				created, updated, record, revision)
			VALUES ($1, $2, $2, $3, $4, '', '', '', '', '', 0, 0, '', 1)`, brand, email, phone, uniqueID)
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
