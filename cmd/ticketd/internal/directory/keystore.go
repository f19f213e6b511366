package directory

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// A storedKey is an API key as read from the database.
type storedKey struct {
	key      APIKey
	hash     string
	revision int64
}

const keyColumns = `id, secret_sha256, scopes, all_brands, note, rate, burst,
	created, expires, revoked, last_used, revision`

func (s *storedKey) fields() []any {
	k := &s.key
	return []any{&k.ID, &s.hash, texts[Scope]{&k.Scopes}, &k.AllBrands, &k.Note, &k.Rate, &k.Burst,
		instant{&k.Created}, instant{&k.Expires}, instant{&k.Revoked}, instant{&k.LastUsed}, &s.revision}
}

// queryKeys returns the keys that the query selects. A row has keyColumns and one brand
// of the key; the rows of a key follow each other.
func queryKeys(ctx context.Context, q querier, query string, args ...any) ([]storedKey, error) {
	var keys []storedKey
	_, err := list(ctx, q, func(r row) (none struct{}, err error) {
		var s storedKey
		var brand sql.Null[string]
		if err := r.Scan(append(s.fields(), &brand)...); err != nil {
			return none, err
		}
		if n := len(keys); n == 0 || keys[n-1].key.ID != s.key.ID {
			keys = append(keys, s)
		}
		last := &keys[len(keys)-1].key
		last.Revision = s.revision
		if brand.Valid {
			last.Brands = append(last.Brands, brand.V)
		}
		return none, nil
	}, query, args...)
	return keys, err
}

// getKey returns the key with the ID, or nil.
func getKey(ctx context.Context, q querier, id string) (*storedKey, error) {
	keys, err := queryKeys(ctx, q, `SELECT `+keyColumns+`, brand FROM api_key
		LEFT JOIN api_key_brand ON key_id = id WHERE id = $1 ORDER BY brand`, id)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	return &keys[0], nil
}

// findKey returns the key with the ID. If the key does not exist, the error wraps
// ErrNotFound.
func findKey(ctx context.Context, q querier, id string) (*storedKey, error) {
	if !isKeyText(id, idLength) { // the text may be a whole key, and is not repeated
		return nil, fmt.Errorf("not the ID of an API key; give the %d characters after %s: %w",
			idLength, keyPrefix, ErrNotFound)
	}
	s, err := getKey(ctx, q, id)
	if err == nil && s == nil {
		err = notFound("API key", id)
	}
	return s, err
}

// CreateAPIKey stores a new key and returns the key in the form for its holder,
// adm_<id>_<secret>. The secret cannot be seen again. The caller chooses Scopes, Brands
// or AllBrands, Expires, Rate, Burst and Note, and leaves the rest empty. If one of the
// brands does not exist, the error wraps ErrNotFound.
func (db *DB) CreateAPIKey(ctx context.Context, k APIKey) (secret string, err error) {
	now := wholeMillis(db.now())
	switch {
	case k.ID != "" || !k.Created.IsZero() || !k.Revoked.IsZero() || !k.LastUsed.IsZero():
		return "", refuse("id", "and the times of creation, revocation and last use are set by the directory; "+
			"leave them empty")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "", refuse("expires", "is not in the future; give a later time")
	}
	if err := k.prepare(); err != nil {
		return "", err
	}
	err = db.change(ctx, "create API key", func(ctx context.Context, tx *change) error {
		secret, err = insertKey(ctx, tx, db, k)
		return err
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// insertKey inserts a key with a new ID and secret, and returns the key for its holder.
func insertKey(ctx context.Context, tx *change, db *DB, k APIKey) (bearer string, err error) {
	id, secret := randomText()[:idLength], randomText()
	k.ID, k.Created, k.Revoked, k.LastUsed = id, wholeMillis(db.now()), time.Time{}, time.Time{}
	args, err := values((&storedKey{key: k, hash: hashSecret(secret), revision: newRevision()}).fields())
	if err != nil {
		return "", err
	}
	_, err = exec(ctx, tx, `INSERT INTO api_key (`+keyColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, args...)
	if err != nil {
		return "", err
	}
	if err := noteKey(tx, db, ActionAddKey, APIKey{}, k); err != nil {
		return "", err
	}
	return keyPrefix + id + "_" + secret, writeBrands(ctx, tx, k)
}

// MaxGrace is the longest time for which a replaced API key stays good.
const MaxGrace = 30 * 24 * time.Hour

// ReplaceAPIKey makes a new key like the key with the ID, and ends that key: at once without
// grace, and else when the grace is over, at most MaxGrace. Both are one change. The new key
// expires after as long a time as the replaced one, or never. It is returned as by
// CreateAPIKey. If the key does not exist, the error wraps ErrNotFound.
func (db *DB) ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (secret string, err error) {
	if grace < 0 || grace > MaxGrace {
		return "", refuse("grace", "is not a time from 0 to %d seconds, which are 30 days", int(MaxGrace.Seconds()))
	}
	err = db.change(ctx, "replace API key", func(ctx context.Context, tx *change) error {
		was, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, "API key", id, was.key); err != nil {
			return err
		}
		now, old, is := wholeMillis(db.now()), was.key, was.key
		switch {
		case !old.Revoked.IsZero():
			return refuse("id", "is of a revoked key; create another key")
		case !old.Expires.IsZero() && !now.Before(old.Expires):
			return refuse("id", "is of an expired key; create another key")
		case !old.Expires.IsZero():
			is.Expires = now.Add(old.Expires.Sub(old.Created))
		}
		if secret, err = insertKey(ctx, tx, db, is); err != nil {
			return err
		}
		action, end := ActionSetKey, now.Add(grace)
		if is = old; grace == 0 {
			action, is.Revoked = ActionRevokeKey, now
		} else if old.Expires.IsZero() || end.Before(old.Expires) {
			is.Expires = end
		}
		expires, _ := instant{&is.Expires}.Value()
		revoked, _ := instant{&is.Revoked}.Value()
		err = once(exec(ctx, tx, `UPDATE api_key SET expires = $2, revoked = $3, revision = revision + 1
			WHERE id = $1 AND revision = $4`, id, expires, revoked, was.revision))
		if err != nil {
			return err
		}
		return noteKey(tx, db, action, old, is)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// APIKeyID returns the ID in a key for its holder, or "".
func APIKeyID(bearer string) string {
	id, _, _ := parseKey(bearer)
	return id
}

// writeBrands stores the brands of a key without stored brands.
func writeBrands(ctx context.Context, tx *change, k APIKey) error {
	for _, brand := range k.Brands {
		_, err := exec(ctx, tx, `INSERT INTO api_key_brand (key_id, brand) VALUES ($1, $2)`, k.ID, brand)
		if isForeignKey(err) {
			return notFound("brand", brand)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// UpdateAPIKey changes by edit the fields that the caller of CreateAPIKey chooses, as
// UpdateBrand does. The secret
// stays the same. A revocation stays, and so does an expiry in the past.
func (db *DB) UpdateAPIKey(ctx context.Context, id string, edit func(*APIKey) error) (APIKey, error) {
	var result APIKey
	err := db.change(ctx, "change API key", func(ctx context.Context, tx *change) error {
		was, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, "API key", id, was.key); err != nil {
			return err
		}
		k := was.key
		if err := edit(&k); err != nil {
			return err
		}
		now := wholeMillis(db.now())
		moved := !k.Expires.Equal(was.key.Expires)
		switch {
		case k.ID != id || !k.Created.Equal(was.key.Created) || !k.Revoked.Equal(was.key.Revoked) ||
			!k.LastUsed.Equal(was.key.LastUsed):
			return refuse("id", "and the times of creation, revocation and last use are set by the directory; "+
				"leave them as they are")
		case moved && !was.key.Expires.IsZero() && !now.Before(was.key.Expires):
			return refuse("expires", "has come; create another key")
		case moved && !k.Expires.IsZero() && !now.Before(k.Expires):
			return refuse("expires", "is not in the future; give a later time, or revoke the key")
		}
		if err := k.prepare(); err != nil {
			return err
		}
		result = k
		result.Revision = was.revision
		d, err := compareKeys(was.key, k)
		if err != nil || !d.changed {
			return err
		}
		scopes, err := texts[Scope]{&k.Scopes}.Value()
		if err != nil {
			return err
		}
		expires, _ := instant{&k.Expires}.Value()
		n, err := exec(ctx, tx, `UPDATE api_key SET scopes = $2, all_brands = $3, note = $4, rate = $5, burst = $6,
			expires = $7, revision = revision + 1 WHERE id = $1 AND revision = $8`,
			id, scopes, k.AllBrands, k.Note, k.Rate, k.Burst, expires, was.revision)
		if err != nil {
			return err
		}
		if n == 0 {
			return errStale
		}
		if _, err := exec(ctx, tx, `DELETE FROM api_key_brand WHERE key_id = $1`, id); err != nil {
			return err
		}
		result.Revision = was.revision + 1
		if err := noteKey(tx, db, ActionSetKey, was.key, k); err != nil {
			return err
		}
		return writeBrands(ctx, tx, k)
	})
	if err != nil {
		return APIKey{}, err
	}
	return result, nil
}

// RevokeAPIKey makes Authenticate refuse the key for good. A second
// revocation changes nothing. If the key does not exist, the error wraps ErrNotFound.
func (db *DB) RevokeAPIKey(ctx context.Context, id string) error {
	return db.change(ctx, "revoke API key", func(ctx context.Context, tx *change) error {
		was, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, "API key", id, was.key); err != nil {
			return err
		}
		if !was.key.Revoked.IsZero() {
			return nil
		}
		err = once(exec(ctx, tx, `UPDATE api_key SET revoked = $2, revision = revision + 1 WHERE id = $1 AND revision = $3`,
			id, db.now().UnixMilli(), was.revision))
		if err != nil {
			return err
		}
		return noteKey(tx, db, ActionRevokeKey, was.key, was.key)
	})
}

// APIKey looks up a key by ID, good or not. If the key does not exist, the error wraps
// ErrNotFound.
func (db *DB) APIKey(ctx context.Context, id string) (APIKey, error) {
	s, err := findKey(ctx, db.read, id)
	if err != nil {
		return APIKey{}, failed("look up API key", err)
	}
	return s.key, nil
}

// APIKeys lists up to limit keys in the order of their IDs: the keys for the brand, or
// with "" all keys.
func (db *DB) APIKeys(ctx context.Context, brand, after string, limit int) ([]APIKey, error) {
	if brand != "" {
		if _, err := db.Brand(ctx, brand); err != nil {
			return nil, err
		}
	}
	found, err := queryKeys(ctx, db.read, `SELECT `+keyColumns+`, brand FROM (
			SELECT * FROM api_key WHERE id > $1
			AND ($2 = '' OR all_brands OR id IN (SELECT key_id FROM api_key_brand WHERE brand = $2))
			ORDER BY id LIMIT $3
		) AS page LEFT JOIN api_key_brand ON key_id = id ORDER BY id, brand`, after, brand, limit)
	if err != nil {
		return nil, failed("list API keys", err)
	}
	keys := make([]APIKey, len(found))
	for i, s := range found {
		keys[i] = s.key
	}
	return keys, nil
}

// ExpiringAPIKeys lists up to limit keys of which ExpiresSoon is true, the first to end first.
// It is for the process as a whole, and not for one caller: the keys are of all brands.
func (db *DB) ExpiringAPIKeys(ctx context.Context, now time.Time, limit int) ([]APIKey, error) {
	found, err := queryKeys(ctx, db.read, `SELECT `+keyColumns+`, brand FROM (
			SELECT * FROM api_key WHERE revoked IS NULL AND expires > $1 AND expires <= $2
			ORDER BY expires, id LIMIT $3
		) AS page LEFT JOIN api_key_brand ON key_id = id ORDER BY expires, id, brand`,
		now.UnixMilli(), now.Add(ExpiryNotice).UnixMilli(), limit)
	if err != nil {
		return nil, failed("list API keys", err)
	}
	keys := make([]APIKey, len(found))
	for i, s := range found {
		keys[i] = s.key
	}
	return keys, nil
}

// APIKeysWithin lists up to limit keys, in the order of their IDs, whose brands are all among
// some brands. With a brand, only keys for this brand are listed.
func (db *DB) APIKeysWithin(ctx context.Context, within []string, brand, after string, limit int) ([]APIKey, error) {
	if len(within) == 0 {
		return nil, nil
	}
	args := []any{after, limit, brand}
	in := inList(&args, within)
	found, err := queryKeys(ctx, db.read, `SELECT `+keyColumns+`, brand FROM (
			SELECT * FROM api_key WHERE id > $1 AND NOT all_brands
			AND id IN (SELECT key_id FROM api_key_brand WHERE brand `+in+` AND ($3 = '' OR brand = $3))
			AND NOT EXISTS (SELECT 1 FROM api_key_brand WHERE key_id = api_key.id AND NOT brand `+in+`)
			ORDER BY id LIMIT $2
		) AS page LEFT JOIN api_key_brand ON key_id = id ORDER BY id, brand`, args...)
	if err != nil {
		return nil, failed("list API keys", err)
	}
	keys := make([]APIKey, len(found))
	for i, s := range found {
		keys[i] = s.key
	}
	return keys, nil
}

// RemoveAPIKey removes the record of a key. To end the use of a key, rather revoke the
// key: the log then says that later requests came with a revoked key.
func (db *DB) RemoveAPIKey(ctx context.Context, id string) error {
	return db.change(ctx, "remove API key", func(ctx context.Context, tx *change) error {
		was, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, "API key", id, was.key); err != nil {
			return err
		}
		if err := once(exec(ctx, tx, `DELETE FROM api_key WHERE id = $1 AND revision = $2`, id, was.revision)); err != nil {
			return err
		}
		return noteKey(tx, db, ActionRemoveKey, was.key, was.key)
	})
}

// keyKind is the kind of the record of an API key in events.
const keyKind = "key"

// compareKeys compares the fields of two API keys that the holder of the directory chooses.
func compareKeys(was, is APIKey) (difference, error) {
	fields := func(k *APIKey) []any {
		return []any{texts[Scope]{&k.Scopes}, texts[string]{&k.Brands}, &k.AllBrands, &k.Note, &k.Rate, &k.Burst,
			instant{&k.Expires}}
	}
	return compare([]string{"scopes", "brands", "all_brands", "note", "rate", "burst", "expires"},
		fields(&was), fields(&is), false)
}

// noteKey adds the event of an action on an API key. The event belongs to the brand if the
// key is for one brand alone, and else to the deployment.
func noteKey(tx *change, db *DB, action string, was, is APIKey) error {
	d, err := compareKeys(was, is)
	if err != nil {
		return err
	}
	brand := ""
	if len(is.Brands) == 1 && (len(was.Brands) == 0 && !was.AllBrands || slices.Equal(was.Brands, is.Brands)) {
		brand = is.Brands[0]
	}
	e := db.event(action, brand, keyKind, is.ID)
	e.Fields = d.fields
	tx.note(e)
	return nil
}
