package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/admitone/admitone/token"
)

// agentFields lists the fields for RequiredAgentFields.
var agentFields = []string{"email", "phone1", "uniqueId", "firstName", "lastName"}

// A Brand is a business account with its settings.
type Brand struct {
	Name   string // at most 64 bytes; see checkBrandName
	Region string // ISO 3166 code of the region of phone numbers without a country code; "": none

	// RequiredAgentFields are the fields that a request for an agent's ticket must have
	// beside the username: email, phone1, uniqueId, firstName, lastName. The caller of
	// MatchAgent enforces the rule.
	RequiredAgentFields []string

	AgentLifetime  time.Duration // as Settings.CustomerLifetime; 0: token.AgentLifetime
	LoginAddresses Addresses     // allowed addresses of agents who log in; empty: any
	AgentSignInURL string        // as Settings.CustomerSignInURL, for agents; "": the service's
	SessionsSince  time.Time     // sessions of the brand that began earlier are over

	// TicketsSince is as Agent.TicketsSince, for all tickets of the brand. A brand needs no ID
	// of its own beside it: sessions and API keys belong to records of the brand, which are
	// removed with the brand, and whose IDs never come again.
	TicketsSince time.Time

	Revision int64 // see DB.IfRevision; set by the directory

	Settings
}

var brands = table[Brand]{
	kind: "brand", name: "brand", keys: 1,
	columns: slices.Concat([]string{
		"name", "region", "required_agent_fields", "agent_lifetime", "login_addresses", "agent_sign_in_url",
		"sessions_since", "tickets_since",
	}, settingColumns),
	fields: func(b *Brand) []any {
		return append([]any{&b.Name, &b.Region, texts[string]{&b.RequiredAgentFields}, lifetime{&b.AgentLifetime},
			prefixes{&b.LoginAddresses}, &b.AgentSignInURL,
			instant{&b.SessionsSince}, instant{&b.TicketsSince}}, b.Settings.fields()...)
	},
	label:    func(b *Brand) string { return b.Name },
	revision: func(b *Brand) *int64 { return &b.Revision },
	public:   true,
	prepare:  (*Brand).prepare,
}

func (b *Brand) prepare() error {
	if err := cmp.Or(checkName("brand", b.Name, maxBrand), checkBrandName(b.Name)); err != nil {
		return err
	}
	if b.Region != "" && phonenumbers.GetCountryCodeForRegion(b.Region) == 0 {
		return refuse("region", "is not known; give an ISO 3166 code of two capital letters, such as GB")
	}
	for i, field := range b.RequiredAgentFields {
		if !slices.Contains(agentFields, field) || slices.Contains(b.RequiredAgentFields[:i], field) {
			return refuse("requiredAgentFields", "may name each of %q once and nothing else", agentFields)
		}
	}
	b.SessionsSince = wholeMillis(b.SessionsSince)
	longest := cmp.Or(b.MaxLifetime, token.MaxLifetime)
	return cmp.Or(
		b.Settings.prepare(),
		b.checkHome(b.ReturnOrigins),
		checkAddresses("loginAddresses", &b.LoginAddresses),
		checkSignInURL("agentSignInUrl", b.AgentSignInURL),
		checkLifetime("maxLifetime", b.MaxLifetime, longest),
		checkLifetime("agentLifetime", b.AgentLifetime, longest),
		checkLifetime("customerLifetime", b.CustomerLifetime, longest))
}

// checkBrandName refuses a name that stands in no list of an API key's brands, or in no path
// of a proxy's check: nobody could use such a brand.
func checkBrandName(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, ",/") || strings.TrimSpace(name) != name {
		return refuse("brand", "is . or .., or has a comma, a slash, or a space at an end; "+
			"names stand in lists and in paths, so choose another")
	}
	return nil
}

// AddBrand adds a brand. If a brand with the name exists, the error wraps ErrExists.
func (db *DB) AddBrand(ctx context.Context, b Brand) error {
	b.TicketsSince = time.Time{}
	return brands.add(ctx, db, &b, func(ctx context.Context, tx *change) error {
		return returnBrand(ctx, tx, db.now(), b.Name)
	})
}

// UpdateBrand changes the brand's settings by edit, and returns the changed brand.
// Concurrent changes of one brand are made one after the other, each from the result of
// the one before; so edit may run more than once. If edit returns an error, nothing
// changes. If the brand does not exist, the error wraps ErrNotFound.
func (db *DB) UpdateBrand(ctx context.Context, name string, edit func(*Brand) error) (Brand, error) {
	return brands.update(ctx, db, func(b *Brand) error {
		since := b.TicketsSince
		err := edit(b)
		b.TicketsSince = since
		return err
	}, name)
}

// Brand looks up a brand by name. If the brand does not exist, the error wraps
// ErrNotFound.
func (db *DB) Brand(ctx context.Context, name string) (Brand, error) {
	v, err := brands.get(ctx, db.read, name)
	return v.record, err
}

// Brands lists up to limit brands.
func (db *DB) Brands(ctx context.Context, after string, limit int) ([]Brand, error) {
	return brands.page(ctx, db.read, nil, after, limit)
}

// placeQuery selects brand $1, and channel $2 of the brand if there is one, in the
// columns of a brand, after the revision and the channel's ID and record, which a brand
// does not have. A channel has its name, TicketsSince and settings, and no other values.
var placeQuery = "SELECT '', '', revision, " + strings.Join(brands.columns, ", ") + ` FROM brand WHERE name = $1
	UNION ALL SELECT id, record, revision, name, '', '[]', 0, '', '', NULL, tickets_since, ` + strings.Join(settingColumns, ", ") + `
	FROM channel WHERE brand = $1 AND id = $2`

// A Place is where tickets are used: a brand, or a channel of a brand. Nobody may change a
// Place.
type Place struct {
	Brand    Brand
	Channel  *Channel  // nil for the brand itself
	Settings Effective // in force at the place
}

// Place looks up a brand and one of its channels in one statement. The place is the brand
// itself if the ID is "" or the channel does not exist. If the brand does not exist, the
// error wraps ErrNotFound.
func (db *DB) Place(ctx context.Context, brand, channel string) (*Place, error) {
	if !isText(brand) {
		return nil, notFound("brand", brand)
	}
	if !isText(channel) {
		channel = "" // no channel has such an ID
	}
	key := cacheKey{"channel", brand, channel}
	found, err := remembered(ctx, db.cache, key, func() (*Place, error) { return db.place(ctx, brand, channel) })
	if errors.Is(err, errNoChannel) {
		err = nil
	}
	return found, err
}

// errNoChannel is the error for a place without its channel.
var errNoChannel = errors.New("no such channel")

// place reads a brand and its channel, if a channel is named. The error wraps errNoChannel
// if the place has only a brand.
func (db *DB) place(ctx context.Context, brand, channel string) (*Place, error) {
	var b *Brand
	var c *Channel
	_, err := list(ctx, db.read, func(r row) (none struct{}, err error) {
		var id, record string
		var got Brand
		if err := r.Scan(append([]any{&id, &record, &got.Revision}, brands.fields(&got)...)...); err != nil {
			return none, err
		}
		if id == "" {
			b = &got
		} else {
			c = &Channel{Brand: brand, ID: id, Name: got.Name, RecordID: record, TicketsSince: got.TicketsSince,
				Revision: got.Revision, Settings: got.Settings}
		}
		return none, nil
	}, placeQuery, brand, channel)
	switch {
	case err != nil:
		return nil, failed("look up brand", err)
	case b == nil:
		return nil, notFound("brand", brand)
	case c == nil && channel != "":
		err = errNoChannel
	}
	return &Place{*b, c, b.Effective(c)}, err
}

// BrandChannel looks up a place, and returns its brand and its channel.
func (db *DB) BrandChannel(ctx context.Context, brand, channel string) (Brand, *Channel, error) {
	p, err := db.Place(ctx, brand, channel)
	if err != nil {
		return Brand{}, nil, err
	}
	return p.Brand, p.Channel, nil
}

// Effective returns the settings in force for the brand's channel, or with "" for the
// brand itself, in one statement. If brand or channel does not exist, the error wraps
// ErrNotFound.
func (db *DB) Effective(ctx context.Context, brand, channel string) (Effective, error) {
	p, err := db.Place(ctx, brand, channel)
	switch {
	case err != nil:
		return Effective{}, err
	case p.Channel == nil && channel != "":
		return Effective{}, notFound("channel", channel)
	}
	return p.Settings, nil
}

// StrictestOtherUser returns the strictest OtherUser of all brands and channels.
func (db *DB) StrictestOtherUser(ctx context.Context) (string, error) {
	return remembered(ctx, db.cache, cacheKey{kind: "other user"}, func() (string, error) {
		return db.strictestOtherUser(ctx)
	})
}

func (db *DB) strictestOtherUser(ctx context.Context) (string, error) {
	scan := func(r row) (policy string, err error) { return policy, r.Scan(&policy) }
	all, err := list(ctx, db.read, scan, "SELECT other_user FROM brand UNION SELECT other_user FROM channel")
	switch {
	case err != nil:
		return "", failed("look up the policies on other users' sessions", err)
	case slices.Contains(all, Refuse):
		return Refuse, nil
	case slices.Contains(all, Confirm):
		return Confirm, nil
	}
	return Replace, nil
}

// LongestLifetime returns the longest lifetime that any brand or channel allows for a
// ticket, and the owner of that setting, for a comparison with the verifier's maximum.
// Without any setting the result is token.MaxLifetime and "".
func (db *DB) LongestLifetime(ctx context.Context) (d time.Duration, whose string, err error) {
	type setting struct {
		brand, channel string
		longest        time.Duration
	}
	all, err := list(ctx, db.read, func(r row) (s setting, err error) {
		return s, r.Scan(&s.brand, &s.channel, lifetime{&s.longest})
	}, `SELECT name, '', max_lifetime FROM brand
		UNION ALL SELECT brand, id, max_lifetime FROM channel
		ORDER BY 3 DESC, 1, 2 LIMIT 1`)
	switch {
	case err != nil:
		return 0, "", failed("look up the longest lifetime", err)
	case len(all) == 0 || all[0].longest == 0:
		return token.MaxLifetime, "", nil
	case all[0].channel == "":
		return all[0].longest, fmt.Sprintf("brand %q", all[0].brand), nil
	}
	return all[0].longest, fmt.Sprintf("channel %q of brand %q", all[0].channel, all[0].brand), nil
}

// RemoveBrand removes a brand. If the brand has agents, channels, customers or API
// keys, the error is an *InUseError, unless withAll is set. With withAll these records
// are removed, too; an API key for several brands loses this brand only. So do
// administrators, and one whose last brand goes becomes inactive. RemoveBrand has no time
// limit but that of ctx, since a brand may have millions of customers. If
// the brand does not exist, the error wraps ErrNotFound.
func (db *DB) RemoveBrand(ctx context.Context, name string, withAll bool) error {
	defer db.cache.forget()
	return db.retry(ctx, "remove brand", func(ctx context.Context, tx *change) error {
		was, err := brands.get(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, brands.kind, name, was.record); err != nil {
			return err
		}
		if !withAll {
			if err := inUse(ctx, tx, name); err != nil {
				return err
			}
		}
		e, err := removalEvent(ctx, tx, db, name)
		if err != nil {
			return err
		}
		tx.note(e)
		for _, statement := range []string{
			`DELETE FROM redemption WHERE brand = $1`,
			`DELETE FROM revocation WHERE brand = $1`,
			`DELETE FROM customer WHERE brand = $1`,
			`DELETE FROM channel WHERE brand = $1`,
			`DELETE FROM agent WHERE brand = $1`,
			`DELETE FROM api_key WHERE id IN (` + ownKeys + `)`,
			`DELETE FROM api_key_brand WHERE brand = $1`,
			`DELETE FROM departed WHERE brand = $1`, // the brand's own return counts for them
		} {
			if _, err := exec(ctx, tx, statement, name); err != nil {
				return err
			}
		}
		err = once(exec(ctx, tx, `DELETE FROM brand WHERE name = $1 AND revision = $2`, name, was.revision))
		switch {
		case isForeignKey(err): // a record was added meanwhile
			return errStale
		case err != nil:
			return err
		}
		if err := forgetBrand(ctx, db, tx, name); err != nil { // after the brand is gone: see lockBrands
			return err
		}
		return depart(ctx, tx, db.now(), name, brands.kind, "")
	})
}

// removalEvent returns the event for the removal of a brand with all that it has: how many
// records, and the IDs of the API keys of this brand alone.
func removalEvent(ctx context.Context, tx *change, db *DB, brand string) (Event, error) {
	e := db.event("brand.remove", brand, brands.kind, brand)
	var had *InUseError
	if err := inUse(ctx, tx, brand); err != nil && !errors.As(err, &had) {
		return e, err
	}
	if had == nil {
		return e, nil
	}
	scan := func(r row) (id string, err error) { return id, r.Scan(&id) }
	keys, err := list(ctx, tx, scan, ownKeys+" ORDER BY id", brand)
	if err != nil {
		return e, err
	}
	details, err := json.Marshal(map[string]any{
		"agents": had.Agents, "channels": had.Channels, "customers": had.Customers, "keys": keys,
	})
	e.Details = string(details)
	return e, err
}

// ownKeys selects the API keys that are for brand $1 alone.
const ownKeys = `SELECT id FROM api_key WHERE id IN (SELECT key_id FROM api_key_brand WHERE brand = $1)
	AND id NOT IN (SELECT key_id FROM api_key_brand WHERE brand <> $1)`

// inUse returns an *InUseError if the brand has any records.
func inUse(ctx context.Context, tx *change, brand string) error {
	e := &InUseError{Brand: brand}
	for query, to := range map[string]*int{
		`SELECT count(*) FROM agent WHERE brand = $1`:         &e.Agents,
		`SELECT count(*) FROM channel WHERE brand = $1`:       &e.Channels,
		`SELECT count(*) FROM customer WHERE brand = $1`:      &e.Customers,
		`SELECT count(*) FROM api_key_brand WHERE brand = $1`: &e.Keys,
	} {
		var err error
		if *to, err = number(ctx, tx, query, brand); err != nil {
			return err
		}
	}
	if e.Agents+e.Channels+e.Customers+e.Keys == 0 {
		return nil
	}
	return e
}
