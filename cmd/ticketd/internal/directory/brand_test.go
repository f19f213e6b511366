package directory

import (
	"cmp"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBrandRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		for _, b := range []Brand{
			{Name: "plain"},
			{Name: "full", Region: "GB", RequiredAgentFields: []string{"email", "phone1", "uniqueId", "firstName", "lastName"},
				AgentLifetime: time.Second, LoginAddresses: addresses(t, "192.0.2.0/24, 2001:db8::/32"), SessionsSince: start,
				Settings: everySetting(t)},
			{Name: "full", RequiredAgentFields: []string{"phone1"},
				Settings: Settings{OneTime: new(false)}}, // replaces all of it
			{Name: "Full", Region: "US"}, // another brand
			{Name: "longest", AgentLifetime: math.MaxUint32 * time.Millisecond,
				Settings: Settings{MaxLifetime: math.MaxUint32 * time.Millisecond}},
			{Name: "equal", AgentLifetime: 15 * time.Minute, Settings: Settings{CustomerLifetime: 15 * time.Minute}},
			{Name: "short", AgentLifetime: 30 * time.Second, Settings: Settings{CustomerLifetime: 30 * time.Second,
				MaxLifetime: 30 * time.Second}},
		} {
			replaceBrand(t, db, b)
			got, err := db.Brand(ctx, b.Name)
			require.NoError(t, err)
			assert.Equal(t, chosen(t, b, got), got)
		}
		all, err := db.Brands(ctx, "", 100)
		require.NoError(t, err)
		var names []string
		for _, b := range all {
			one, err := db.Brand(ctx, b.Name)
			require.NoError(t, err)
			assert.Equal(t, one, b)
			names = append(names, b.Name)
		}
		assert.Equal(t, []string{"Full", "equal", "full", "longest", "plain", "short"}, names)
		_, err = db.Brand(ctx, "FULL")
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

func TestBrandsOfEmptyDirectory(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		all, err := d.empty(t).Brands(t.Context(), "", 100)
		require.NoError(t, err)
		assert.Empty(t, all)
	})
}

func TestAddBrandRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		const day = 24 * time.Hour
		for name, c := range map[string]struct {
			brand       Brand
			field, want string
		}{
			"region unknown": {Brand{Region: "XX"}, "region", "ISO 3166"},
			"region small":   {Brand{Region: "gb"}, "region", "capital"},
			"region not ISO": {Brand{Region: "UK"}, "region", "GB"},
			"field unknown": {Brand{RequiredAgentFields: []string{"email", "remark"}}, "requiredAgentFields",
				"nothing else"},
			"field in other case": {Brand{RequiredAgentFields: []string{"uniqueID"}}, "requiredAgentFields", "uniqueId"},
			"field twice":         {Brand{RequiredAgentFields: []string{"email", "email"}}, "requiredAgentFields", "once"},
			// trap W15: nobody could use such a brand.
			"comma":        {Brand{Name: "a,b"}, "brand", "comma"},
			"slash":        {Brand{Name: "a/b"}, "brand", "slash"},
			"dot":          {Brand{Name: "."}, "brand", "paths"},
			"dots":         {Brand{Name: ".."}, "brand", "paths"},
			"space before": {Brand{Name: " a"}, "brand", "space"},
			"space behind": {Brand{Name: "a\u00a0"}, "brand", "space"},
			"too short":    {Brand{AgentLifetime: 999 * time.Millisecond}, "agentLifetime", "less than a second"},
			"max too short": {Brand{Settings: Settings{MaxLifetime: time.Millisecond}}, "maxLifetime",
				"less than a second"},
			"agent negative": {Brand{AgentLifetime: -1}, "agentLifetime", "whole number"},
			"customer fraction": {Brand{Settings: Settings{CustomerLifetime: time.Microsecond}}, "customerLifetime",
				"whole number"},
			"max negative":   {Brand{Settings: Settings{MaxLifetime: -time.Second}}, "maxLifetime", "whole number"},
			"max too long":   {Brand{Settings: Settings{MaxLifetime: 50 * day}}, "maxLifetime", "4294967295"},
			"agent over max": {Brand{AgentLifetime: time.Hour}, "agentLifetime", "15m0s"},
			"customer over max": {Brand{AgentLifetime: time.Second,
				Settings: Settings{CustomerLifetime: 2 * time.Minute, MaxLifetime: time.Minute}}, "customerLifetime", "2m0s"},
		} {
			t.Run(name, func(t *testing.T) {
				c.brand.Name = cmp.Or(c.brand.Name, "acme")
				err := db.AddBrand(t.Context(), c.brand)
				var field *FieldError
				require.ErrorAs(t, err, &field)
				assert.Equal(t, c.field, field.Field)
				assert.Contains(t, field.Reason, c.want)
				_, err = db.Brand(t.Context(), c.brand.Name)
				assert.ErrorIs(t, err, ErrNotFound, "nothing was written")
			})
		}
	})
}

func TestChannelRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		for _, c := range []Channel{
			{Brand: "acme", ID: "plain"},
			{Brand: "acme", ID: "full", Name: "Sales", Settings: everySetting(t)},
			{Brand: "acme", ID: "full", Settings: Settings{TicketLogin: new(false), OneTime: new(true),
				CustomerLifetime: 2 * time.Hour}}, // the brand's maximum holds
			{Brand: "acme", ID: "full", Settings: Settings{MaxLifetime: time.Second}}, // replaces all of it
			{Brand: "acme", ID: "Full", Name: "another"},
		} {
			replaceChannel(t, db, c)
			got, err := db.Channel(ctx, c.Brand, c.ID)
			require.NoError(t, err)
			assert.Equal(t, chosen(t, c, got), got)
		}
		_, err := db.Channel(ctx, "acme", "FULL")
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

func TestAddChannelRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		for name, c := range map[string]struct {
			channel Channel
			field   string
		}{
			"no brand": {Channel{ID: "c"}, "brand"},
			"negative": {Channel{Brand: "acme", ID: "c", Settings: Settings{CustomerLifetime: -time.Second}},
				"customerLifetime"},
			"max fraction": {Channel{Brand: "acme", ID: "c", Settings: Settings{MaxLifetime: 1}}, "maxLifetime"},
			"over own max": {Channel{Brand: "acme", ID: "c", Settings: Settings{CustomerLifetime: 2 * time.Second,
				MaxLifetime: time.Second}}, "customerLifetime"},
			"beyond tickets": {Channel{Brand: "acme", ID: "c", Settings: Settings{CustomerLifetime: 1200 * time.Hour}},
				"customerLifetime"},
		} {
			t.Run(name, func(t *testing.T) {
				var field *FieldError
				require.ErrorAs(t, db.AddChannel(t.Context(), c.channel), &field)
				assert.Equal(t, c.field, field.Field)
			})
		}
		err := db.AddChannel(t.Context(), Channel{Brand: "nobody", ID: "c"})
		assert.ErrorIs(t, err, ErrNotFound)
		assert.ErrorContains(t, err, `brand "nobody"`)
	})
}

func addresses(t testing.TB, text string) Addresses {
	t.Helper()
	list, err := ParseAddresses(text)
	require.NoError(t, err)
	return list
}

// everySetting has none that is left to others.
func everySetting(t testing.TB) Settings {
	s := Settings{
		TicketLogin: new(true), OneTime: new(false), CustomerLifetime: 90*time.Second + 5*time.Millisecond,
		MaxLifetime:  time.Hour,
		APIAddresses: addresses(t, "198.51.100.7"), Confirm: new(true), OtherUser: Refuse, DisplayName: "Acme & Sons",
		Colour:   "#1a73e8",
		Language: "de-AT", FrameAncestors: []string{"'self'", "https://*.example.com", "http://localhost:3000"},
		CustomerSignInURL: "https://crm.example.com/signin?return={return}", CustomerHome: "https://shop.example.com/account",
		ReturnOrigins: []string{"https://shop.example.com", "https://shop.example.com:8443"},
	}
	for i, f := range s.fields() {
		v, err := values([]any{f})
		require.NoError(t, err)
		require.NotContains(t, []any{nil, int64(0), "", "[]"}, v[0], settingColumns[i])
	}
	return s
}

// replaceBrand adds the brand, or replaces the one of its name.
func replaceBrand(t testing.TB, db *DB, b Brand) {
	t.Helper()
	if err := db.AddBrand(t.Context(), b); err != nil {
		require.ErrorIs(t, err, ErrExists)
		_, err := db.UpdateBrand(t.Context(), b.Name, func(to *Brand) error { *to = b; return nil })
		require.NoError(t, err)
	}
}

// replaceChannel does the same for a channel.
func replaceChannel(t testing.TB, db *DB, c Channel) {
	t.Helper()
	if err := db.AddChannel(t.Context(), c); err != nil {
		require.ErrorIs(t, err, ErrExists)
		_, err := db.UpdateChannel(t.Context(), c.Brand, c.ID, func(to *Channel) error { *to = c; return nil })
		require.NoError(t, err)
	}
}

// replaceAgent does the same for an agent.
func replaceAgent(t testing.TB, db *DB, a Agent) {
	t.Helper()
	if err := db.AddAgent(t.Context(), a); err != nil {
		require.ErrorIs(t, err, ErrExists)
		_, err := db.UpdateAgent(t.Context(), a.Brand, a.Username, func(to *Agent) error { *to = a; return nil })
		require.NoError(t, err)
	}
}
