package directory

import (
	"math"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// issueKey creates a key for issuing at every brand.
func issueKey(t *testing.T, db *DB) (bearer, id string) {
	t.Helper()
	bearer, err := db.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
	require.NoError(t, err)
	id, _, ok := parseKey(bearer)
	require.True(t, ok)
	return bearer, id
}

func TestAPIKeyRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other", "a;b [\"c\"]")
		shape := regexp.MustCompile(`^adm_[a-z2-7]{10}_[a-z2-7]{52}$`)
		seen := make(map[string]bool)
		for _, k := range []APIKey{
			{Scopes: []Scope{ScopeIssue}, AllBrands: true},
			{Scopes: []Scope{ScopeRedeem, ScopeIssue}, Brands: []string{"acme", "other"}, Note: "CRM – nightly", Rate: 0.5,
				Burst: 3, Expires: start.Add(time.Hour)},
			{Scopes: []Scope{ScopeRedeem}, Brands: []string{"a;b [\"c\"]"}, Expires: start.Add(time.Millisecond)},
		} {
			bearer, err := db.CreateAPIKey(ctx, k)
			require.NoError(t, err)
			require.Regexp(t, shape, bearer)
			id, secret, ok := parseKey(bearer)
			require.True(t, ok)
			for _, part := range []string{id, secret} {
				assert.False(t, seen[part])
				seen[part] = true
			}
			got, err := db.Authenticate(ctx, bearer, start)
			require.NoError(t, err)
			k.ID, k.Created = id, start
			assert.Equal(t, chosen(t, k, got), got)
		}
	})
}

func TestAllows(t *testing.T) {
	issue, redeem := []Scope{ScopeIssue}, []Scope{ScopeRedeem}
	for _, c := range []struct {
		key   APIKey
		scope Scope
		brand string
		want  bool
	}{
		{APIKey{Scopes: issue, AllBrands: true}, ScopeIssue, "acme", true},
		{APIKey{Scopes: issue, AllBrands: true}, ScopeRedeem, "acme", false},
		{APIKey{Scopes: redeem, AllBrands: true}, ScopeIssue, "acme", false},
		{APIKey{Scopes: []Scope{ScopeIssue, ScopeRedeem}, AllBrands: true}, ScopeRedeem, "acme", true},
		{APIKey{Scopes: issue}, ScopeIssue, "acme", false},
		{APIKey{AllBrands: true}, ScopeIssue, "acme", false},
		{APIKey{Scopes: issue, Brands: []string{"acme"}}, ScopeIssue, "acme", true},
		{APIKey{Scopes: issue, Brands: []string{"acme"}}, ScopeIssue, "Acme", false},
		{APIKey{Scopes: issue, Brands: []string{"acme"}}, ScopeIssue, "", false},
		{APIKey{Scopes: issue, Brands: []string{"acme"}}, ScopeRedeem, "acme", false},
		{APIKey{Scopes: issue, Brands: []string{"other", "acme"}}, ScopeIssue, "acme", true},
		{APIKey{}, ScopeIssue, "acme", false},
		{APIKey{}, "", "", false},
		{APIKey{Brands: []string{"acme"}}, ScopeIssue, "acme", false},
	} {
		assert.Equal(t, c.want, c.key.Allows(c.scope, c.brand), "%+v %s %s", c.key, c.scope, c.brand)
	}
}

func TestCreateAPIKeyRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		issue := []Scope{ScopeIssue}
		for name, c := range map[string]struct {
			key  APIKey
			want string
		}{
			"no scope":         {APIKey{}, "scopes is empty"},
			"unknown scope":    {APIKey{Scopes: []Scope{"owner"}, AllBrands: true}, "issue redeem admin console"},
			"scope twice":      {APIKey{Scopes: []Scope{ScopeIssue, ScopeIssue}, AllBrands: true}, "once"},
			"unknown brand":    {APIKey{Scopes: issue, Brands: []string{"acme", "acmee"}}, `brand "acmee"`},
			"no brand":         {APIKey{Scopes: issue}, "name the key's brands"},
			"brands and all":   {APIKey{Scopes: issue, AllBrands: true, Brands: []string{"acme"}}, "choose one"},
			"negative rate":    {APIKey{Scopes: issue, AllBrands: true, Rate: -1}, "rate is not"},
			"no number":        {APIKey{Scopes: issue, AllBrands: true, Rate: math.NaN()}, "rate is not"},
			"infinite rate":    {APIKey{Scopes: issue, AllBrands: true, Rate: math.Inf(1)}, "rate is not"},
			"hardly any rate":  {APIKey{Scopes: issue, AllBrands: true, Rate: 1e-12}, "rate is not"},
			"negative burst":   {APIKey{Scopes: issue, AllBrands: true, Rate: 1, Burst: -1}, "burst is not"},
			"huge burst":       {APIKey{Scopes: issue, AllBrands: true, Rate: 1, Burst: 1e9}, "burst is not"},
			"burst, no rate":   {APIKey{Scopes: issue, AllBrands: true, Burst: 1}, "without a rate"},
			"empty brand":      {APIKey{Scopes: issue, Brands: []string{""}}, "brands is empty"},
			"brand twice":      {APIKey{Scopes: issue, Brands: []string{"acme", "acme"}}, "twice"},
			"expires now":      {APIKey{Scopes: issue, AllBrands: true, Expires: start}, "not in the future"},
			"expired":          {APIKey{Scopes: issue, AllBrands: true, Expires: start.Add(-time.Hour)}, "not in the future"},
			"own ID":           {APIKey{Scopes: issue, AllBrands: true, ID: "aaaaaaaaaa"}, "leave them empty"},
			"own creation":     {APIKey{Scopes: issue, AllBrands: true, Created: start}, "leave them empty"},
			"own revocation":   {APIKey{Scopes: issue, AllBrands: true, Revoked: start}, "leave them empty"},
			"own last use":     {APIKey{Scopes: issue, AllBrands: true, LastUsed: start}, "leave them empty"},
			"note with a line": {APIKey{Scopes: issue, AllBrands: true, Note: "a\nb"}, "note contains a control character"},
		} {
			t.Run(name, func(t *testing.T) {
				bearer, err := db.CreateAPIKey(t.Context(), c.key)
				assert.ErrorContains(t, err, c.want)
				assert.Empty(t, bearer)
			})
		}
		assert.Zero(t, count(t, db, `SELECT count(*) FROM api_key`))
	})
}

func TestAuthenticateRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		bearer, id := issueKey(t, db)
		other, otherID := issueKey(t, db)
		secret := bearer[len("adm_")+idLength+1:]
		expiring, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true,
			Expires: start.Add(time.Minute)})
		require.NoError(t, err)
		revoked, revokedID := issueKey(t, db)
		require.NoError(t, db.RevokeAPIKey(ctx, revokedID))
		expiringID, _, _ := parseKey(expiring)

		flip := func(s string, i int) string { // another character of the alphabet
			c := keyAlphabet[(strings.IndexByte(keyAlphabet, s[i])+1)%len(keyAlphabet)]
			return s[:i] + string(c) + s[i+1:]
		}
		type refusal struct {
			name, bearer string
			now          time.Time
			reason       AuthReason
			id           string
		}
		cases := []refusal{
			{"empty", "", start, AuthMalformed, ""},
			{"prefix", "adm_", start, AuthMalformed, ""},
			{"separators", "adm__", start, AuthMalformed, ""},
			{"ID alone", "adm_" + id, start, AuthMalformed, ""},
			{"no secret", "adm_" + id + "_", start, AuthMalformed, ""},
			{"secret alone", secret, start, AuthMalformed, ""},
			{"with its scheme", "Bearer " + bearer, start, AuthMalformed, ""},
			{"space before", " " + bearer, start, AuthMalformed, ""},
			{"space after", bearer + " ", start, AuthMalformed, ""},
			{"line after", bearer + "\n", start, AuthMalformed, ""},
			{"NUL after", bearer + "\x00", start, AuthMalformed, ""},
			{"padded", bearer + "====", start, AuthMalformed, ""},
			{"capitals", strings.ToUpper(bearer), start, AuthMalformed, ""},
			{"secret in capitals", "adm_" + id + "_" + strings.ToUpper(secret), start, AuthMalformed, ""},
			{"swapped", "adm_" + secret + "_" + id, start, AuthMalformed, ""},
			{"shorter", bearer[:len(bearer)-1], start, AuthMalformed, ""},
			{"longer", bearer + "a", start, AuthMalformed, ""},
			{"third part", bearer + "_a", start, AuthMalformed, ""},
			{"statement", "adm_' OR 1=1-_" + secret, start, AuthMalformed, ""},
			{"invalid UTF-8", "adm_" + strings.Repeat("\xff", idLength) + "_" + secret, start, AuthMalformed, ""},
			{"a megabyte", "adm_" + strings.Repeat("a", 1<<20), start, AuthMalformed, ""},
			{"unknown ID", flip(bearer, 5), start, AuthUnknown, flip(bearer, 5)[4:14]},
			{"another's secret", "adm_" + id + "_" + other[len(other)-secretLength:], start, AuthWrongSecret, id},
			{"another's ID", "adm_" + otherID + "_" + secret, start, AuthWrongSecret, otherID},
			{"at its expiry", expiring, start.Add(time.Minute), AuthExpired, expiringID},
			{"past its expiry", expiring, start.Add(1e6 * time.Hour), AuthExpired, expiringID},
			{"expired, wrong secret", flip(expiring, len(expiring)-1), start.Add(time.Hour), AuthWrongSecret, expiringID},
			{"revoked", revoked, start.Add(time.Hour), AuthRevoked, revokedID},
			{"revoked, clock stepped back", revoked, start.Add(-time.Hour), AuthRevoked, revokedID},
			{"revoked, time zero", revoked, time.Time{}, AuthRevoked, revokedID},
			{"revoked, wrong secret", flip(revoked, len(revoked)-1), start, AuthWrongSecret, revokedID},
		}
		// Every character of the secret counts, the trailing bits of the last too.
		for i := len(bearer) - secretLength; i < len(bearer); i++ {
			cases = append(cases, refusal{"flipped", flip(bearer, i), start, AuthWrongSecret, id})
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				k, err := db.Authenticate(ctx, c.bearer, c.now)
				var auth *AuthError
				require.ErrorAs(t, err, &auth)
				assert.Equal(t, AuthError{Reason: c.reason, KeyID: c.id}, *auth)
				assert.Zero(t, k)
				for _, s := range []string{secret, strings.ToUpper(secret), secret[:8], c.bearer} {
					if s != "" && s != "adm_" {
						assert.NotContains(t, err.Error(), s)
					}
				}
				if len(c.bearer) > secretLength {
					assert.NotContains(t, err.Error(), c.bearer[len(c.bearer)-secretLength:])
				}
			})
		}
		_, err = db.Authenticate(ctx, expiring, start.Add(time.Minute-time.Millisecond))
		assert.NoError(t, err)
		_, err = db.Authenticate(ctx, bearer, start.Add(1e6*time.Hour))
		assert.NoError(t, err, "a key without expiry")
	})
}

func TestAuthErrorTexts(t *testing.T) {
	seen := make(map[string]bool)
	for _, reason := range []AuthReason{AuthMalformed, AuthUnknown, AuthWrongSecret, AuthRevoked, AuthExpired} {
		text := (&AuthError{Reason: reason, KeyID: "abc"}).Error()
		assert.False(t, seen[text], "each reason has its own text")
		seen[text] = true
		assert.Equal(t, reason != AuthMalformed, strings.Contains(text, "abc"))
		assert.Contains(t, text, "; ", "and a remedy")
	}
}

func TestRevokeAPIKey(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		bearer, id := issueKey(t, db)
		other, _ := issueKey(t, db)
		require.NoError(t, db.RevokeAPIKey(ctx, id))
		db.now = func() time.Time { return start.Add(time.Hour) }
		require.NoError(t, db.RevokeAPIKey(ctx, id), "again")
		assert.Equal(t, int(start.UnixMilli()), count(t, db, `SELECT revoked FROM api_key WHERE id = $1`, id),
			"the first time stays")
		_, err := db.Authenticate(ctx, bearer, start)
		assert.ErrorContains(t, err, "revoked")
		_, err = db.Authenticate(ctx, other, start)
		assert.NoError(t, err)
		for _, unknown := range []string{"", "aaaaaaaaaa", "%", "' OR 1=1 --", bearer} {
			assert.ErrorIs(t, db.RevokeAPIKey(ctx, unknown), ErrNotFound)
		}

		// A clock that stands at the epoch revokes like any other.
		db.now = func() time.Time { return time.UnixMilli(0) }
		late, lateID := issueKey(t, db)
		require.NoError(t, db.RevokeAPIKey(ctx, lateID))
		_, err = db.Authenticate(ctx, late, start)
		assert.ErrorContains(t, err, "revoked")
	})
}

// The secret of a key that somebody hands to the wrong method stays out of the
// error.
func TestRevokeAPIKeyDoesNotRepeatASecret(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		bearer, _ := issueKey(t, db)
		err := db.RevokeAPIKey(t.Context(), bearer)
		require.ErrorIs(t, err, ErrNotFound)
		assert.NotContains(t, err.Error(), bearer[len(bearer)-secretLength:])
	})
}

// onUse makes the database do something before each change of a last use.
func (d database) onUse(t testing.TB, db *DB, sqliteAction, postgresAction string) {
	t.Helper()
	if d.name == sqliteFile.name {
		do(t, db, `CREATE TRIGGER used BEFORE UPDATE OF last_used ON api_key BEGIN `+sqliteAction+`; END`)
		return
	}
	do(t, db, `CREATE FUNCTION used() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+postgresAction+`; RETURN new; END $$`,
		`CREATE TRIGGER used BEFORE UPDATE OF last_used ON api_key FOR EACH ROW EXECUTE FUNCTION used()`)
}

// countUses counts in the database how often a last use is written.
func (d database) countUses(t testing.TB, db *DB) {
	t.Helper()
	do(t, db, `CREATE TABLE written (id TEXT)`)
	const insert = `INSERT INTO written VALUES (new.id)`
	d.onUse(t, db, insert, insert)
}

func TestLastUsedAtMostOnceAMinute(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		file := d.place(t)
		db := open(t, file)
		d.countUses(t, db)
		bearer, _ := issueKey(t, db)
		use := func(at time.Duration) APIKey {
			k, err := db.Authenticate(ctx, bearer, start.Add(at))
			require.NoError(t, err)
			return k
		}
		reopen := func() int { // closing writes what is queued
			require.NoError(t, db.Close())
			db = open(t, file)
			return count(t, db, `SELECT count(*) FROM written`)
		}
		assert.Zero(t, use(0).LastUsed)
		use(30 * time.Second)
		use(59*time.Second + 999*time.Millisecond)
		assert.Equal(t, 1, reopen())
		assert.Equal(t, start, use(59*time.Second).LastUsed, "known from the file")
		assert.Equal(t, 1, reopen(), "and not written again")
		use(60 * time.Second)
		use(119 * time.Second)
		use(120 * time.Second)
		use(time.Second) // the clock stepped back
		assert.Equal(t, 3, reopen())
		assert.Equal(t, start.Add(120*time.Second), use(120*time.Second).LastUsed)
	})
}

func TestLastUsedOfARefusedKeyIsNotWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		file := d.place(t)
		db := open(t, file)
		bearer, id := issueKey(t, db)
		_, err := db.Authenticate(ctx, bearer[:len(bearer)-secretLength]+strings.Repeat("a", secretLength), start)
		require.Error(t, err)
		require.NoError(t, db.RevokeAPIKey(ctx, id))
		_, err = db.Authenticate(ctx, bearer, start)
		require.Error(t, err)
		require.NoError(t, db.Close())
		assert.Zero(t, count(t, open(t, file), `SELECT count(*) FROM api_key WHERE last_used IS NOT NULL`))
	})
}

func TestLastUsedFailureFailsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		file := d.place(t)
		db := open(t, file)
		bearer, _ := issueKey(t, db)
		d.onUse(t, db, `SELECT RAISE(ABORT, 'disk full')`, `RAISE 'disk full'`)
		for minute := range 5 {
			_, err := db.Authenticate(ctx, bearer, start.Add(time.Duration(minute)*time.Minute))
			assert.NoError(t, err)
		}
		require.NoError(t, db.Close())

		db = open(t, file)
		assert.Zero(t, count(t, db, `SELECT count(*) FROM api_key WHERE last_used IS NOT NULL`))
		if d.name == sqliteFile.name {
			do(t, db, `DROP TRIGGER used`)
		} else {
			do(t, db, `DROP TRIGGER used ON api_key`)
		}
		_, err := db.Authenticate(ctx, bearer, start)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		assert.Equal(t, 1, count(t, open(t, file), `SELECT count(*) FROM api_key WHERE last_used IS NOT NULL`),
			"and recovers")
	})
}

// While somebody else writes, keys are accepted without waiting for it.
func TestAuthenticateDoesNotWaitForTheWriter(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		var bearers []string
		for range useBacklog + 10 { // more than the queue holds
			bearer, _ := issueKey(t, db)
			bearers = append(bearers, bearer)
		}
		tx, err := db.write.BeginTx(ctx)
		require.NoError(t, err)
		for _, bearer := range bearers {
			_, err := db.Authenticate(ctx, bearer, start)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Rollback())
		// What did not fit into the queue is written at the next use.
		for _, bearer := range bearers {
			_, err := db.Authenticate(ctx, bearer, start)
			require.NoError(t, err)
		}
	})
}

func TestAuthenticateConcurrently(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		file := d.place(t)
		db := open(t, file)
		d.countUses(t, db)
		good, _ := issueKey(t, db)
		doomed, doomedID := issueKey(t, db)
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for range 10 {
					_, err := db.Authenticate(ctx, good, start)
					assert.NoError(t, err)
					if _, err := db.Authenticate(ctx, doomed, start); err != nil {
						var auth *AuthError
						if assert.ErrorAs(t, err, &auth) {
							assert.Equal(t, AuthRevoked, auth.Reason)
						}
					}
				}
				if i == 16 {
					assert.NoError(t, db.RevokeAPIKey(ctx, doomedID))
					_, err := db.Authenticate(ctx, doomed, start)
					assert.Error(t, err, "revoked is revoked at once")
				}
			})
		}
		wg.Wait()
		require.NoError(t, db.Close())
		db = open(t, file)
		assert.LessOrEqual(t, count(t, db, `SELECT count(*) FROM written`), 2, "one a key")
		assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM written JOIN api_key USING (id) WHERE revoked IS NULL`))
	})
}

func TestAuthenticateWhileClosing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		bearer, _ := issueKey(t, db)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for minute := range 20 {
					_, err := db.Authenticate(ctx, bearer, start.Add(time.Duration(minute)*time.Minute))
					var auth *AuthError
					assert.NotErrorAs(t, err, &auth, "closed is not refused")
				}
				if i == 0 {
					assert.NoError(t, db.Close())
				}
			})
		}
		wg.Wait()
	})
}

// Of two processes that write one key's last use, the later use stays.
func TestLastUsedDoesNotGoBack(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		bearer, id := issueKey(t, db)
		db.jobs.putUse(t.Context(), keyUse{id, start})
		db.jobs.putUse(t.Context(), keyUse{id, start.Add(-time.Hour)})
		k, err := db.Authenticate(t.Context(), bearer, start)
		require.NoError(t, err)
		assert.Equal(t, start, k.LastUsed)
	})
}
