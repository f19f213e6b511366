package directory

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

func TestReopenKeepsEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		file := d.place(t)
		db := open(t, file)
		brand := Brand{Name: "acme", Region: "GB", RequiredAgentFields: []string{"email"}}
		agent := Agent{Brand: "acme", Username: "ann", Email: "ann@example.com", Active: true}
		channel := Channel{Brand: "acme", ID: "sales", Name: "Sales"}
		require.NoError(t, db.AddBrand(ctx, brand))
		require.NoError(t, db.AddAgent(ctx, agent))
		require.NoError(t, db.AddChannel(ctx, channel))
		customer, created, err := db.ResolveCustomer(ctx, "acme", Customer{Email: "bob@example.com"}, Redemption{})
		require.NoError(t, err)
		require.True(t, created)
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
		require.NoError(t, err)
		require.NoError(t, db.Close())

		db = open(t, file)
		gotBrand, err := db.Brand(ctx, "acme")
		require.NoError(t, err)
		assert.Equal(t, chosen(t, brand, gotBrand), gotBrand)
		gotAgent, err := db.Agent(ctx, "acme", "ann")
		require.NoError(t, err)
		assert.Equal(t, chosen(t, agent, gotAgent), gotAgent)
		gotChannel, err := db.Channel(ctx, "acme", "sales")
		require.NoError(t, err)
		assert.Equal(t, chosen(t, channel, gotChannel), gotChannel)
		gotCustomer, created, err := db.ResolveCustomer(ctx, "acme", Customer{Email: "bob@example.com"}, Redemption{})
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, customer, gotCustomer)
		_, err = db.Authenticate(ctx, bearer, start)
		assert.NoError(t, err)
	})
}

// tables are those of the directory, none before one that refers to it.
var tables = []string{
	"directory_state", "event", "recorder", "issuer_use", "issuer_view", "issuer", "redemption", "revocation", "departed", "api_key_brand", "api_key", "customer", "channel", "agent", "brand",
	"administrator",
}

// everyCall makes one call of every method and hands its error to check. All of
// them would work in a directory that has what prepared makes.
func everyCall(ctx context.Context, db *DB, bearer string, check func(name string, err error)) {
	id := "aaaaaaaaaa"
	if found, _, ok := parseKey(bearer); ok {
		id = found
	}
	check("Ping", db.Ping(ctx))
	check("AddBrand", db.AddBrand(ctx, Brand{Name: "new"}))
	_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error { b.Region = "GB"; return nil })
	check("UpdateBrand", err)
	_, err = db.Brand(ctx, "acme")
	check("Brand", err)
	_, err = db.Brands(ctx, "", 10)
	check("Brands", err)
	_, err = db.Effective(ctx, "acme", "web")
	check("Effective", err)
	_, _, err = db.BrandChannel(ctx, "acme", "web")
	check("BrandChannel", err)
	_, err = db.Place(ctx, "acme", "web")
	check("Place", err)
	_, _, err = db.LongestLifetime(ctx)
	check("LongestLifetime", err)
	_, err = db.StrictestOtherUser(ctx)
	check("StrictestOtherUser", err)
	check("AddAgent", db.AddAgent(ctx, Agent{Brand: "acme", Username: "new"}))
	_, err = db.UpdateAgent(ctx, "acme", "ann", func(a *Agent) error { a.FirstName = "Ann"; return nil })
	check("UpdateAgent", err)
	_, err = db.Agent(ctx, "acme", "ann")
	check("Agent", err)
	_, _, err = db.AgentOfSession(ctx, "acme", "ann")
	check("AgentOfSession", err)
	_, err = db.EndAgentSessions(ctx, "acme", "ann")
	check("EndAgentSessions", err)
	check("SeeIssuers", db.SeeIssuers(ctx, "service", start, []IssuerEntry{{Name: "portal"}}))
	check("NoteIssuerUses", db.NoteIssuerUses(ctx, map[IssuerKey]time.Time{{"portal", "1"}: start}))
	_, err = db.IssuerSessionsSince(ctx, "portal")
	check("IssuerSessionsSince", err)
	check("CheckIssuer", db.CheckIssuer(ctx, "portal"))
	_, err = db.EndIssuerSessions(ctx, "portal")
	check("EndIssuerSessions", err)
	_, err = db.Issuers(ctx)
	check("Issuers", err)
	_, err = db.Agents(ctx, "acme", "", 10)
	check("Agents", err)
	_, err = db.SearchAgents(ctx, "acme", "ann", 10)
	check("SearchAgents", err)
	_, err = db.MatchAgent(ctx, "acme", "ann", Fields{})
	check("MatchAgent", err)
	_, err = db.ImportAgents(ctx, "acme", func(yield func(Agent, error) bool) { yield(Agent{Username: "other"}, nil) },
		nil)
	check("ImportAgents", err)
	check("RevokeTicket", db.RevokeTicket(ctx, "acme", "", token.ID{1}))
	_, err = db.TicketRevoked(ctx, "acme", "", token.ID{1})
	check("TicketRevoked", err)
	check("AddChannel", db.AddChannel(ctx, Channel{Brand: "acme", ID: "new"}))
	_, err = db.UpdateChannel(ctx, "acme", "web", func(c *Channel) error { c.Name = "Web"; return nil })
	check("UpdateChannel", err)
	_, err = db.Channel(ctx, "acme", "web")
	check("Channel", err)
	_, err = db.Channels(ctx, "acme", "", 10)
	check("Channels", err)
	customer, _, err := db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1"}, Redemption{Ticket: "1", Expires: start})
	check("ResolveCustomer", err)
	_, _, err = db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1", Remark: "x"},
		Redemption{Ticket: "2", Expires: start, Override: true})
	check("ResolveCustomer, override", err)
	_, err = db.KnownCustomer(ctx, "acme", Customer{UniqueID: "1"}, Redemption{})
	check("KnownCustomer", err)
	_, err = db.AddCustomer(ctx, Customer{Brand: "acme", UniqueID: "2"})
	check("AddCustomer", err)
	_, err = db.UpdateCustomer(ctx, "acme", customer.ID, func(c *Customer) error { c.Remark = "y"; return nil })
	check("UpdateCustomer", err)
	_, err = db.Customer(ctx, "acme", customer.ID)
	check("Customer", err)
	_, _, _, err = db.CustomerOfSession(ctx, "acme", customer.ID, "web")
	check("CustomerOfSession", err)
	_, err = db.EndCustomerSessions(ctx, "acme", customer.ID)
	check("EndCustomerSessions", err)
	_, err = db.Customers(ctx, "acme", 0, 10)
	check("Customers", err)
	_, err = db.FindCustomers(ctx, "acme", Customer{UniqueID: "1"})
	check("FindCustomers", err)
	_, err = db.SearchCustomers(ctx, "acme", "ann", 10)
	check("SearchCustomers", err)
	_, err = db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
	check("CreateAPIKey", err)
	_, err = db.UpdateAPIKey(ctx, id, func(k *APIKey) error { k.Note = "changed"; return nil })
	check("UpdateAPIKey", err)
	_, err = db.APIKey(ctx, id)
	check("APIKey", err)
	_, err = db.APIKeys(ctx, "acme", "", 10)
	check("APIKeys", err)
	_, err = db.APIKeysWithin(ctx, []string{"acme"}, "", "", 10)
	check("APIKeysWithin", err)
	_, err = db.ExpiringAPIKeys(ctx, start, 10)
	check("ExpiringAPIKeys", err)
	_, err = db.ReplaceAPIKey(ctx, id, time.Hour)
	check("ReplaceAPIKey", err)
	_, err = db.Authenticate(ctx, bearer, start)
	check("Authenticate", err)
	recorder, err := db.StartRecorder(ctx, "test")
	check("StartRecorder", err)
	if err != nil {
		recorder = &Recorder{name: "test", run: "1"}
	}
	check("RecordEvents", db.RecordEvents(ctx, recorder, []Event{{At: start, Action: ActionIssueTicket, Count: 1}}, start))
	check("FlushRecorder", db.FlushRecorder(ctx, recorder, start))
	check("EndRecorder", db.EndRecorder(ctx, recorder))
	_, err = db.LastEvent(ctx)
	check("LastEvent", err)
	check("AddAdministrator", db.AddAdministrator(ctx, Administrator{
		Username: "new", Role: RoleAdmin, Brands: []string{"acme"}, Active: true,
	}))
	_, err = db.UpdateAdministrator(ctx, "root", true, func(a *Administrator) error { a.Name = "Root"; return nil })
	check("UpdateAdministrator", err)
	_, err = db.Administrator(ctx, "root")
	check("Administrator", err)
	_, err = db.Administrators(ctx, "", 10)
	check("Administrators", err)
	_, err = db.AdministratorsWithin(ctx, []string{"acme"}, "", 10)
	check("AdministratorsWithin", err)
	_, err = db.EndAdministratorSessions(ctx, "root")
	check("EndAdministratorSessions", err)
	check("RecordLink", db.RecordLink(ctx, &token.Ticket{Username: "root"}))
	check("RemoveAdministrator", db.RemoveAdministrator(ctx, "root", true))
	_, err = db.Events(ctx, EventFilter{Brand: "acme", Kind: "agent", Name: "ann"}, "", 10)
	check("Events", err)
	_, _, err = db.NewEvents(ctx, EventFilter{Brand: "acme"}, 0, 10)
	check("NewEvents", err)
	_, err = db.PurgeEvents(ctx, start, 10)
	check("PurgeEvents", err)
	_, _, err = db.Clocks(ctx)
	check("Clocks", err)
	_, err = db.Restored(ctx)
	check("Restored", err)
	_, err = db.ID(ctx)
	check("ID", err)
	_, err = db.Save(ctx, io.Discard, SaveOptions{})
	check("Save", err)
	if _, err = db.Load(ctx, strings.NewReader(""), LoadOptions{}); errors.Is(err, ErrNotEmpty) {
		err = nil // a good answer here
	}
	check("Load", err)
	check("RevokeAPIKey", db.RevokeAPIKey(ctx, id))
	check("RemoveAPIKey", db.RemoveAPIKey(ctx, id))
	check("RemoveCustomer", db.RemoveCustomer(ctx, "acme", customer.ID))
	check("RemoveChannel", db.RemoveChannel(ctx, "acme", "web"))
	check("RemoveAgent", db.RemoveAgent(ctx, "acme", "ann"))
	check("RemoveBrand", db.RemoveBrand(ctx, "acme", true))
}

// prepared opens a directory in which everyCall works, and returns a key's bearer.
func (d database) prepared(t testing.TB) (*DB, string) {
	db := d.withBrands(t, "acme")
	require.NoError(t, db.AddAgent(t.Context(), Agent{Brand: "acme", Username: "ann", Active: true}))
	require.NoError(t, db.AddChannel(t.Context(), Channel{Brand: "acme", ID: "web"}))
	require.NoError(t, db.AddAdministrator(t.Context(), Administrator{Username: "root", Role: RoleAdmin, AllBrands: true,
		Active: true}))
	bearer, err := db.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
	require.NoError(t, err)
	return db, bearer
}

func TestEveryCallWorks(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db, bearer := d.prepared(t)
		names := make(map[string]bool)
		everyCall(t.Context(), db, bearer, func(name string, err error) {
			assert.NoError(t, err, name)
			name, _, _ = strings.Cut(name, ",")
			names[name] = true
		})
		for m := range reflect.TypeFor[*DB]().Methods() {
			asks := m.Name != "Close" && m.Name != "Trace" && m.Name != "SetClock" && m.Name != "Watch" &&
				m.Name != "As" && m.Name != "IfRevision" && m.Name != "Provided" &&
				m.Name != "Once" && m.Name != "Checkpoint" // which is of SQLite alone
			assert.Equal(t, asks, names[m.Name], "everyCall leaves %s out", m.Name)
		}
	})
}

// isOutage checks that an error is no answer.
func isOutage(t *testing.T) func(string, error) {
	return func(name string, err error) {
		assert.Error(t, err, name)
		assert.NotErrorIs(t, err, ErrNotFound, name)
		assert.NotErrorIs(t, err, ErrExists, name)
		var auth *AuthError
		assert.NotErrorAs(t, err, &auth, name)
		var inUse *InUseError
		assert.NotErrorAs(t, err, &inUse, name)
		var field *FieldError
		assert.NotErrorAs(t, err, &field, name)
	}
}

// Being unable to answer is neither "not found" nor "not accepted".
func TestOutageIsItsOwnError(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		t.Run("closed", func(t *testing.T) {
			db, bearer := d.prepared(t)
			require.NoError(t, db.Close())
			require.NoError(t, db.Close(), "again")
			everyCall(t.Context(), db, bearer, isOutage(t))
		})
		t.Run("cancelled", func(t *testing.T) {
			db, bearer := d.prepared(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			everyCall(ctx, db, bearer, isOutage(t))
		})
		t.Run("tables gone", func(t *testing.T) {
			db, bearer := d.prepared(t)
			for _, table := range tables {
				do(t, db, `DROP TABLE `+table)
			}
			everyCall(t.Context(), db, bearer, isOutage(t))
		})
	})
}

// A list or a hash that was damaged must not turn into a wider permission.
func TestDamagedRowsGiveErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		for name, statement := range map[string]string{
			"scopes null":     `UPDATE api_key SET scopes = 'null'`,
			"scopes empty":    `UPDATE api_key SET scopes = ''`,
			"scopes spaced":   `UPDATE api_key SET scopes = '[ ]'`,
			"scopes object":   `UPDATE api_key SET scopes = '{}'`,
			"scopes not JSON": `UPDATE api_key SET scopes = 'issue'`,
			"hash empty":      `UPDATE api_key SET secret_sha256 = ''`,
		} {
			t.Run(name, func(t *testing.T) {
				db := d.withBrands(t, "acme")
				bearer, err := db.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
				require.NoError(t, err)
				do(t, db, statement)
				got, err := db.Authenticate(t.Context(), bearer, start)
				assert.Error(t, err)
				assert.Zero(t, got)
			})
		}
		for _, statement := range []string{
			`UPDATE brand SET required_agent_fields = 'null'`,
			`UPDATE brand SET login_addresses = 'nowhere'`,
			`UPDATE brand SET api_addresses = '10.0.0.1/8'`,
			`UPDATE brand SET frame_ancestors = ''`,
		} {
			t.Run(statement, func(t *testing.T) {
				db := d.withBrands(t, "acme")
				do(t, db, statement)
				_, err := db.Brand(t.Context(), "acme")
				isOutage(t)("Brand", err)
				_, err = db.Brands(t.Context(), "", 10)
				isOutage(t)("Brands", err)
			})
		}
	})
}

// Whatever brand A holds, no query finds it through brand B.
func TestBrandsAreStrangers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "a", "b")
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "a", Username: "ann", Email: "ann@example.com", Active: true}))
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "a", ID: "sales"}))
		person := Customer{Email: "bob@example.com", Phone1: "+442012345678", UniqueID: "7", FirstName: "Bob"}
		ofA, _, err := db.ResolveCustomer(ctx, "a", person, Redemption{})
		require.NoError(t, err)
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"a"}})
		require.NoError(t, err)

		_, err = db.Agent(ctx, "b", "ann")
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.MatchAgent(ctx, "b", "ann", Fields{Email: "ann@example.com"})
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.Channel(ctx, "b", "sales")
		assert.ErrorIs(t, err, ErrNotFound)
		key, err := db.Authenticate(ctx, bearer, start)
		require.NoError(t, err)
		assert.True(t, key.Allows(ScopeIssue, "a"))
		assert.False(t, key.Allows(ScopeIssue, "b"))

		for _, id := range []Customer{{Email: person.Email}, {Phone1: person.Phone1}, {UniqueID: person.UniqueID}} {
			ofB, created, err := db.ResolveCustomer(ctx, "b", id, Redemption{Override: true})
			require.NoError(t, err)
			assert.True(t, created)
			assert.NotEqual(t, ofA.ID, ofB.ID)
			assert.Equal(t, "b", ofB.Brand)
			assert.Empty(t, ofB.FirstName)
		}
		again, created, err := db.ResolveCustomer(ctx, "a", person, Redemption{})
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, ofA, again, "what b wrote changed nothing of a's")

		// The same names in b are other records.
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "b", Username: "ann", Email: "other@example.com"}))
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "b", ID: "sales", Name: "other"}))
		agent, err := db.Agent(ctx, "a", "ann")
		require.NoError(t, err)
		assert.Equal(t, "ann@example.com", agent.Email)
		channel, err := db.Channel(ctx, "a", "sales")
		require.NoError(t, err)
		assert.Empty(t, channel.Name)
	})
}

func TestStatementsInTextAreText(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "bystander")
		for _, s := range []string{
			`'; DROP TABLE brand; --`, `" OR 1=1 --`, `$1`, `?`, `:x`, `@x`, `%`, `_`,
			`\`, `')`, `null`, `[]`, `x'00'`, "`", `--`,
			`{"a":1}`, `adm_`, `<script>`, `ą'ß"`,
		} {
			t.Run(s, func(t *testing.T) {
				brand := Brand{Name: s}
				// An address has fewer characters, and null is a placeholder.
				address := strings.Map(func(r rune) rune {
					if strings.ContainsRune(` ;:@"\()[]<>`, r) {
						return '*'
					}
					return r
				}, s) + "@example.com"
				uniqueID := s + "."
				agent := Agent{Brand: s, Username: s, Email: address, UniqueID: uniqueID, FirstName: s, LastName: s, Active: true}
				channel := Channel{Brand: s, ID: s, Name: s}
				require.NoError(t, db.AddBrand(ctx, brand))
				require.NoError(t, db.AddAgent(ctx, agent))
				require.NoError(t, db.AddChannel(ctx, channel))
				gotBrand, err := db.Brand(ctx, s)
				require.NoError(t, err)
				assert.Equal(t, chosen(t, brand, gotBrand), gotBrand)
				gotAgent, err := db.MatchAgent(ctx, s, s, Fields{Email: address, UniqueID: uniqueID, FirstName: s, LastName: s})
				require.NoError(t, err)
				assert.Equal(t, chosen(t, agent, gotAgent), gotAgent)
				gotChannel, err := db.Channel(ctx, s, s)
				require.NoError(t, err)
				assert.Equal(t, chosen(t, channel, gotChannel), gotChannel)
				given := Customer{Brand: s, Email: address, UniqueID: uniqueID, FirstName: s, LastName: s, Remark: s}
				first, created, err := db.ResolveCustomer(ctx, s, given, Redemption{Override: true})
				require.NoError(t, err)
				assert.True(t, created)
				given.ID, given.Created, given.Updated = first.ID, start, start
				given = chosen(t, given, first)
				assert.Equal(t, given, first)
				again, created, err := db.ResolveCustomer(ctx, s, Customer{Email: address}, Redemption{})
				require.NoError(t, err)
				assert.False(t, created)
				assert.Equal(t, first, again)
				bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{s}, Note: s})
				require.NoError(t, err)
				key, err := db.Authenticate(ctx, bearer, start)
				require.NoError(t, err)
				assert.Equal(t, []string{s}, key.Brands)
				assert.Equal(t, s, key.Note)
				_, err = db.Agent(ctx, "bystander", s)
				assert.ErrorIs(t, err, ErrNotFound)
			})
		}
		_, err := db.Brand(ctx, "bystander")
		assert.NoError(t, err)
	})
}

// Text that a record cannot hold is looked up without harm and not found.
func TestLookUpOfImpossibleText(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		for _, s := range []string{"", "\x00", "acme\x00", "\xff", strings.Repeat("x", 1<<16), "a\nb"} {
			_, err := db.Brand(ctx, s)
			assert.ErrorIs(t, err, ErrNotFound)
			assert.NotContains(t, err.Error(), "\n")
			_, err = db.MatchAgent(ctx, "acme", s, Fields{})
			assert.ErrorIs(t, err, ErrNotFound)
			assert.NotContains(t, err.Error(), "\n")
			_, err = db.Channel(ctx, "acme", s)
			assert.ErrorIs(t, err, ErrNotFound)
		}
	})
}

func TestMigrateFromEmptyAndAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		file := d.place(t)
		query := `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name`
		if d.name == postgresServer.name {
			query = `SELECT table_name || ' ' || column_name || ' ' || data_type FROM information_schema.columns
				WHERE table_schema = 'public' ORDER BY table_name, ordinal_position`
		}
		schema := func(db *DB) []string {
			all, err := list(t.Context(), db.read, func(r row) (s string, err error) { return s, r.Scan(&s) }, query)
			require.NoError(t, err)
			return all
		}
		db := open(t, file)
		first := schema(db)
		for _, table := range tables {
			assert.Regexp(t, `(?m)^(CREATE TABLE )?`+table+` `, strings.Join(first, "\n"))
		}
		require.NoError(t, db.Close())
		for range 3 {
			db := open(t, file)
			assert.Equal(t, first, schema(db))
			assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM directory_version WHERE version_id = 1`))
			require.NoError(t, db.Close())
		}
	})
}

func TestOpenConcurrently(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		file := d.place(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				db, err := Open(t.Context(), file)
				if assert.NoError(t, err) {
					assert.NoError(t, db.Ping(t.Context()))
					assert.NoError(t, db.Close())
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 1, count(t, open(t, file), `SELECT count(*) FROM directory_version WHERE version_id = 1`))
	})
}
