package directory

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

func TestEffectiveDefaults(t *testing.T) {
	want := Effective{
		Brand: "acme", TicketLogin: true, AgentLifetime: token.AgentLifetime, CustomerLifetime: token.CustomerLifetime,
		MaxLifetime: token.MaxLifetime, OtherUser: Replace, DisplayName: "acme", FrameAncestors: []string{"'none'"},
	}
	assert.Equal(t, want, Brand{Name: "acme"}.Effective(nil))
	want.Channel = "web"
	assert.Equal(t, want, Brand{Name: "acme"}.Effective(&Channel{Brand: "acme", ID: "web", Name: "Web"}))
}

// Setting by setting: a channel's own wins over its brand's, the brand's over the
// default, and what a channel sets moves no other.
func TestEffectivePrecedence(t *testing.T) {
	brand := Settings{TicketLogin: new(false), OneTime: new(true), CustomerLifetime: time.Minute,
		MaxLifetime:  20 * time.Minute,
		APIAddresses: addresses(t, "192.0.2.1"), Confirm: new(true), OtherUser: Confirm,
		DisplayName: "Brand", Colour: "#000000",
		Language: "de", FrameAncestors: []string{"'self'"},
		CustomerSignInURL: "https://b.example/?{return}", CustomerHome: "/b", ReturnOrigins: []string{"https://b.example"}}
	channel := Settings{TicketLogin: new(true), OneTime: new(false), CustomerLifetime: 2 * time.Minute,
		MaxLifetime:  10 * time.Minute,
		APIAddresses: addresses(t, "any"), Confirm: new(false), OtherUser: Refuse, DisplayName: "Channel", Colour: "#ffffff",
		Language: "fr", FrameAncestors: []string{"https://example.com"},
		CustomerSignInURL: "https://c.example/?{return}", CustomerHome: "/c", ReturnOrigins: []string{"https://c.example"}}
	name := func(i int) string { return reflect.TypeFor[Settings]().Field(i).Name }
	effective := func(e Effective, name string) any { return reflect.ValueOf(e).FieldByName(name).Interface() }
	plain := func(v reflect.Value) any { return reflect.Indirect(v).Interface() }
	for i := range reflect.TypeFor[Settings]().NumField() {
		brandSet, channelSet := reflect.ValueOf(brand).Field(i), reflect.ValueOf(channel).Field(i)
		require.False(t, brandSet.IsZero() || channelSet.IsZero(), name(i))
		none, onBrand, onChannel := Brand{Name: "x"}, Brand{Name: "x"}, Channel{ID: "c"}
		reflect.ValueOf(&onBrand.Settings).Elem().Field(i).Set(brandSet)
		reflect.ValueOf(&onChannel.Settings).Elem().Field(i).Set(channelSet)
		assert.Equal(t, plain(brandSet), effective(onBrand.Effective(nil), name(i)), name(i))
		assert.Equal(t, plain(brandSet), effective(onBrand.Effective(&Channel{ID: "c"}), name(i)), name(i))
		assert.Equal(t, plain(channelSet), effective(none.Effective(&onChannel), name(i)), name(i))
		assert.Equal(t, plain(channelSet), effective(onBrand.Effective(&onChannel), name(i)), name(i))
		assert.Equal(t, plain(brandSet), effective(onBrand.Effective(nil), name(i)), "and the brand's stays")
		both := Brand{Name: "x", Settings: brand}.Effective(&onChannel)
		for j := range reflect.TypeFor[Settings]().NumField() {
			want := plain(reflect.ValueOf(brand).Field(j))
			if i == j {
				want = plain(channelSet)
			}
			assert.Equal(t, want, effective(both, name(j)), "%s beside the channel's %s", name(j), name(i))
		}
	}
}

// Lifetimes from different places still fit together.
func TestEffectiveLifetimes(t *testing.T) {
	for _, c := range []struct {
		brand   Brand
		channel *Channel
		want    [3]time.Duration // agents, customers, longest
	}{
		{Brand{Settings: Settings{MaxLifetime: 30 * time.Second}}, nil,
			[3]time.Duration{30 * time.Second, 30 * time.Second, 30 * time.Second}},
		{Brand{AgentLifetime: 2 * time.Minute, Settings: Settings{CustomerLifetime: 10 * time.Minute,
			MaxLifetime: time.Hour}}, nil,
			[3]time.Duration{2 * time.Minute, 10 * time.Minute, time.Hour}},
		{Brand{Settings: Settings{CustomerLifetime: 10 * time.Minute}},
			&Channel{Settings: Settings{MaxLifetime: time.Minute}},
			[3]time.Duration{time.Minute, time.Minute, time.Minute}},
		{Brand{Settings: Settings{MaxLifetime: time.Minute}}, &Channel{Settings: Settings{CustomerLifetime: 2 * time.Minute}},
			[3]time.Duration{time.Minute, time.Minute, time.Minute}},
		{Brand{Settings: Settings{MaxLifetime: time.Minute}}, &Channel{Settings: Settings{MaxLifetime: time.Hour}},
			[3]time.Duration{time.Minute, 5 * time.Minute, time.Hour}},
	} {
		e := c.brand.Effective(c.channel)
		assert.Equal(t, c.want, [3]time.Duration{e.AgentLifetime, e.CustomerLifetime, e.MaxLifetime}, "%+v", c)
	}
}

func TestSettingsRefuse(t *testing.T) {
	many := make([]string, maxFrameAncestors+1)
	for i := range many {
		many[i] = "https://" + strings.Repeat("a", i+1) + ".example"
	}
	for _, c := range []struct {
		field string
		s     Settings
	}{
		{"colour", Settings{Colour: "red"}},
		{"colour", Settings{Colour: "#12345"}},
		{"colour", Settings{Colour: "#1234567"}},
		{"colour", Settings{Colour: "#12345g"}},
		{"colour", Settings{Colour: "#12345\n"}},
		{"colour", Settings{Colour: "#123456;}body{display:none"}},
		{"otherUser", Settings{OtherUser: "Replace"}},
		{"otherUser", Settings{OtherUser: "ask"}},
		{"language", Settings{Language: "english please"}},
		{"language", Settings{Language: "und"}},
		{"language", Settings{Language: "de\x00"}},
		{"language", Settings{Language: "en-" + strings.Repeat("x", 40)}},
		{"displayName", Settings{DisplayName: "a\nb"}},
		{"frameAncestors", Settings{FrameAncestors: []string{""}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"'none'", "'self'"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"'self'", "'self'"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"self"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"*"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://*"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://*.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://*.co.uk:8443"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://*.github.io"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https:"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"example.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"javascript://example.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com/"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com/a"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com?"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://user@example.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://EXAMPLE.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://exa mple.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com; script-src *"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com,https://example.org"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com:"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example.com:port"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://example..com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://-example.com"}}},
		{"frameAncestors", Settings{FrameAncestors: []string{"https://a.*.com"}}},
		{"frameAncestors", Settings{FrameAncestors: many}},
	} {
		var field *FieldError
		if assert.ErrorAs(t, c.s.prepare(), &field, "%+v", c.s) {
			assert.Equal(t, c.field, field.Field)
		}
	}
	good := Settings{FrameAncestors: []string{"https://example.com", "https://*.example.com", "http://localhost:3000",
		"https://a-b.c9.example:8443", "'self'"}}
	assert.NoError(t, good.prepare())
}

// Whatever form a setting comes in, one is stored.
func TestSettingsHaveOneForm(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		later := start.Add(1500 * time.Microsecond).In(time.FixedZone("", 3600))
		_, err := db.UpdateBrand(t.Context(), "acme", func(b *Brand) error {
			b.Colour, b.Language, b.SessionsSince = "#ABCDEF", "DE-at", later
			b.LoginAddresses = addresses(t, "192.0.2.9, 192.0.2.7, 192.0.2.9")
			return nil
		})
		require.NoError(t, err)
		b, err := db.Brand(t.Context(), "acme")
		require.NoError(t, err)
		assert.Equal(t, "#abcdef", b.Colour)
		assert.Equal(t, "de-AT", b.Language)
		assert.Equal(t, start.Add(time.Millisecond), b.SessionsSince)
		assert.Equal(t, "192.0.2.7, 192.0.2.9", b.LoginAddresses.String())
	})
}

func TestEffectiveOfTheDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		longest, whose, err := db.LongestLifetime(ctx)
		require.NoError(t, err)
		assert.Equal(t, token.MaxLifetime, longest)
		assert.Empty(t, whose)
		strictest := func(want string) {
			t.Helper()
			policy, err := db.StrictestOtherUser(ctx)
			require.NoError(t, err)
			assert.Equal(t, want, policy)
		}
		strictest(Replace)
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web", Settings: Settings{MaxLifetime: time.Hour}}))
		for _, policy := range []string{Confirm, Refuse} { // trap W11
			set := Settings{OtherUser: policy}
			require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: policy, Settings: set}))
			strictest(policy)
		}
		require.NoError(t, db.RemoveChannel(ctx, "acme", Refuse))
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "strict", Settings: Settings{OtherUser: Refuse}}))
		strictest(Refuse)
		e, err := db.Effective(ctx, "acme", "web")
		require.NoError(t, err)
		assert.Equal(t, time.Hour, e.MaxLifetime)
		e, err = db.Effective(ctx, "acme", "")
		require.NoError(t, err)
		assert.Equal(t, token.MaxLifetime, e.MaxLifetime)
		for _, names := range [][2]string{{"nobody", ""}, {"nobody", "web"}, {"other", "web"}, {"acme", "Web"}, {"", ""}} {
			e, err := db.Effective(ctx, names[0], names[1])
			assert.ErrorIs(t, err, ErrNotFound)
			assert.Zero(t, e)
		}
		longest, whose, err = db.LongestLifetime(ctx)
		require.NoError(t, err)
		assert.Equal(t, time.Hour, longest)
		assert.Equal(t, `channel "web" of brand "acme"`, whose)
		_, err = db.UpdateBrand(ctx, "other", func(b *Brand) error { b.MaxLifetime = 2 * time.Hour; return nil })
		require.NoError(t, err)
		_, whose, err = db.LongestLifetime(ctx)
		require.NoError(t, err)
		assert.Equal(t, `brand "other"`, whose)
	})
}

// trap W17: places to which people are sent are exact, and refused where they are not.
func TestReturns(t *testing.T) {
	for _, s := range []Settings{
		{ReturnOrigins: []string{"https://shop.example.com", "https://shop.example.com:8443"}},
		{CustomerHome: "/inbox"}, {CustomerHome: "https://shop.example.com/account?x=1"},
		{CustomerSignInURL: "https://crm.example.com/signin?return={return}&x=1"}, {CustomerSignInURL: "http://localhost:3000/?r={return}"},
	} {
		require.NoError(t, s.prepare(), s)
		require.NoError(t, (&Brand{Name: "acme", AgentSignInURL: s.CustomerSignInURL}).prepare(), s)
	}
	for _, s := range []Settings{
		{ReturnOrigins: []string{"http://shop.example.com"}}, {ReturnOrigins: []string{"https://*.example.com"}},
		{ReturnOrigins: []string{"https://shop.example.com/"}}, {ReturnOrigins: []string{"https://Shop.example.com"}},
		{ReturnOrigins: []string{"'self'"}}, {ReturnOrigins: []string{"https://a.example", "https://a.example"}},
		{CustomerHome: "inbox"}, {CustomerHome: "//evil.example"}, {CustomerHome: "http://shop.example.com/"}, {CustomerHome: "/a\\b"}, {CustomerHome: "/\n"},
		{CustomerHome: "javascript:alert(1)"}, {CustomerHome: "/a//b"}, {CustomerHome: "/a/%2Fb"}, {CustomerHome: "/%255c"}, {CustomerHome: "/%0a"},
		{CustomerHome: "https://shop.example.com?x=1"}, {CustomerHome: "https://shop.example.com/a//b"}, {CustomerHome: "https://shop.example.com:65536/"},
		{ReturnOrigins: []string{"https://shop.example.com:65536"}}, {CustomerHome: "https:/x"}, {CustomerHome: "https:x"}, {CustomerHome: "///x"}, {CustomerHome: "https://u@shop.example.com/"}, {CustomerHome: "/" + strings.Repeat("x", maxURL)},
		{CustomerSignInURL: "https://crm.example.com/signin"}, {CustomerSignInURL: "http://crm.example.com/?r={return}"},
		{CustomerSignInURL: "https://crm.example.com/{return}"}, {CustomerSignInURL: "https://crm.example.com/?{return}{return}"},
		{CustomerSignInURL: "https://{return}/?x"}, {CustomerSignInURL: "https://u@crm.example.com/?{return}"}, {CustomerSignInURL: "x?{return}"},
	} {
		require.Error(t, s.prepare(), s)
		if s.CustomerSignInURL != "" {
			var refused *FieldError
			require.ErrorAs(t, (&Brand{Name: "acme", AgentSignInURL: s.CustomerSignInURL}).prepare(), &refused, s)
			require.Equal(t, "agentSignInUrl", refused.Field)
		}
	}
}

// trap W15: a home to which nobody would be sent is refused.
func TestHomeOnReturnOrigins(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		require.NoError(t, db.AddChannel(ctx, Channel{Brand: "acme", ID: "web"}))
		brand := func(home string, origins ...string) error {
			_, err := db.UpdateBrand(ctx, "acme", func(b *Brand) error {
				b.CustomerHome, b.ReturnOrigins = home, origins
				return nil
			})
			return err
		}
		channel := func(home string, origins ...string) error {
			_, err := db.UpdateChannel(ctx, "acme", "web",
				func(c *Channel) error { c.CustomerHome, c.ReturnOrigins = home, origins; return nil })
			return err
		}
		const home, shop, other = "https://shop.example/x", "https://shop.example", "https://other.example"
		const want = "customerHome is on no return origin; add https://shop.example to the return origins"
		for _, change := range []func(string, ...string) error{brand, channel} {
			assert.EqualError(t, change(home, other), want)
			assert.NoError(t, change(home, other, shop))
			assert.NoError(t, change("/inbox", other))
			assert.NoError(t, change(shop, shop))
		}
		assert.EqualError(t, brand(home), want)
		assert.NoError(t, channel(home), "the brand's origins hold")
	})
}
