package directory

import (
	"context"
	"database/sql"
	"fmt"
)

// A storedKey is an API key as it was read.
type storedKey struct {
	key      APIKey
	hash     string
	revision int64
}

const keyColumns = `id, secret_sha256, scopes, all_brands, note, rate, burst, created, expires, revoked, last_used, revision`

func (s *storedKey) fields() []any {
	k := &s.key
	return []any{&k.ID, &s.hash, texts[Scope]{&k.Scopes}, &k.AllBrands, &k.Note, &k.Rate, &k.Burst,
		instant{&k.Created}, instant{&k.Expires}, instant{&k.Revoked}, instant{&k.LastUsed}, &s.revision}
}

// keysIn returns the keys that the query finds, each once: the query gives
// keyColumns and one of the key's brands, in order.
func keysIn(ctx context.Context, q querier, query string, args ...any) ([]storedKey, error) {
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
		if last := &keys[len(keys)-1].key; brand.Valid {
			last.Brands = append(last.Brands, brand.V)
		}
		return none, nil
	}, query, args...)
	return keys, err
}

// getKey returns the key with the ID, or nil.
func getKey(ctx context.Context, q querier, id string) (*storedKey, error) {
	keys, err := keysIn(ctx, q, `SELECT `+keyColumns+`, brand FROM api_key
		LEFT JOIN api_key_brand ON key_id = id WHERE id = $1 ORDER BY brand`, id)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	return &keys[0], nil
}

// findKey is getKey with the error for a key that does not exist.
func findKey(ctx context.Context, q querier, id string) (*storedKey, error) {
	if !isKeyText(id, idLength) { // perhaps a whole key: not to be repeated
		return nil, fmt.Errorf("not the ID of an API key: give the %d characters after %s: %w", idLength, keyPrefix, ErrNotFound)
	}
	s, err := getKey(ctx, q, id)
	if err == nil && s == nil {
		err = missing("API key", id)
	}
	return s, err
}

// CreateAPIKey stores a new key and returns it in the form in which its holder
// sends it, adm_<id>_<secret>. This is the only time that the secret can be
// seen. The caller chooses Scopes, Brands or AllBrands, Expires, Rate, Burst and
// Note and leaves the rest empty. The error wraps ErrNotFound when one of the
// brands does not exist.
func (db *DB) CreateAPIKey(ctx context.Context, k APIKey) (secret string, err error) {
	now := wholeMillis(db.now())
	switch {
	case k.ID != "" || !k.Created.IsZero() || !k.Revoked.IsZero() || !k.LastUsed.IsZero():
		return "", refuse("id", "and the times of creation, revocation and last use are the directory's to set; leave them empty")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "", refuse("expires", "is not in the future; give a later time")
	}
	if err := k.prepare(); err != nil {
		return "", err
	}
	id, secret := randomText()[:idLength], randomText()
	k.ID, k.Created = id, now
	args, err := values((&storedKey{key: k, hash: hashSecret(secret), revision: 1}).fields())
	if err != nil {
		return "", err
	}
	err = db.change(ctx, "create API key", func(ctx context.Context, tx querier) error {
		_, err := exec(ctx, tx, `INSERT INTO api_key (`+keyColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, args...)
		if err != nil {
			return err
		}
		return writeBrands(ctx, tx, k)
	})
	if err != nil {
		return "", err
	}
	return keyPrefix + id + "_" + secret, nil
}

// writeBrands stores the brands of a key that has none stored.
func writeBrands(ctx context.Context, tx querier, k APIKey) error {
	for _, brand := range k.Brands {
		_, err := exec(ctx, tx, `INSERT INTO api_key_brand (key_id, brand) VALUES ($1, $2)`, k.ID, brand)
		if isForeignKey(err) {
			return missing("brand", brand)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// UpdateAPIKey lets edit change what the caller chooses of a key, as UpdateBrand
// does. It holds for the key's next request. The secret stays; so do revocation
// and expiry once they have come.
func (db *DB) UpdateAPIKey(ctx context.Context, id string, edit func(*APIKey) error) (APIKey, error) {
	var result APIKey
	err := db.change(ctx, "change API key", func(ctx context.Context, tx querier) error {
		was, err := findKey(ctx, tx, id)
		if err != nil {
			return err
		}
		k := was.key
		if err := edit(&k); err != nil {
			return err
		}
		now := wholeMillis(db.now())
		moved := !k.Expires.Equal(was.key.Expires)
		switch {
		case k.ID != id || !k.Created.Equal(was.key.Created) || !k.Revoked.Equal(was.key.Revoked) || !k.LastUsed.Equal(was.key.LastUsed):
			return refuse("id", "and the times of creation, revocation and last use are the directory's to set; leave them as they are")
		case moved && !was.key.Expires.IsZero() && !now.Before(was.key.Expires):
			return refuse("expires", "has come; create another key")
		case moved && !k.Expires.IsZero() && !now.Before(k.Expires):
			return refuse("expires", "is not in the future; give a later time, or revoke the key")
		}
		if err := k.prepare(); err != nil {
			return err
		}
		scopes, err := texts[Scope]{&k.Scopes}.Value()
		if err != nil {
			return err
		}
		expires, _ := instant{&k.Expires}.Value()
		n, err := exec(ctx, tx, `UPDATE api_key SET scopes = $2, all_brands = $3, note = $4, rate = $5, burst = $6, expires = $7,
			revision = revision + 1 WHERE id = $1 AND revision = $8`,
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
		result = k
		return writeBrands(ctx, tx, k)
	})
	if err != nil {
		return APIKey{}, err
	}
	return result, nil
}

// RevokeAPIKey makes Authenticate refuse the key from now on, for good. Revoking
// it again changes nothing. The error wraps ErrNotFound when there is no key with
// this ID.
func (db *DB) RevokeAPIKey(ctx context.Context, id string) error {
	return db.change(ctx, "revoke API key", func(ctx context.Context, tx querier) error {
		if _, err := findKey(ctx, tx, id); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `UPDATE api_key SET revoked = COALESCE(revoked, $2), revision = revision + 1 WHERE id = $1`,
			id, db.now().UnixMilli())
		return err
	})
}

// APIKey looks a key up by its ID, whether or not it is still good. The error
// wraps ErrNotFound when there is none.
func (db *DB) APIKey(ctx context.Context, id string) (APIKey, error) {
	s, err := findKey(ctx, db.read, id)
	if err != nil {
		return APIKey{}, failed("look up API key", err)
	}
	return s.key, nil
}

// APIKeys lists up to limit keys in the order of their IDs: those that are for
// the brand, with "" all of them.
func (db *DB) APIKeys(ctx context.Context, brand, after string, limit int) ([]APIKey, error) {
	if brand != "" {
		if _, err := db.Brand(ctx, brand); err != nil {
			return nil, err
		}
	}
	found, err := keysIn(ctx, db.read, `SELECT `+keyColumns+`, brand FROM (
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

// RemoveAPIKey removes a key, and what is known of it. To end a key's use,
// revoking it says more: its next request is then logged as what it is.
func (db *DB) RemoveAPIKey(ctx context.Context, id string) error {
	return db.change(ctx, "remove API key", func(ctx context.Context, tx querier) error {
		if _, err := findKey(ctx, tx, id); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `DELETE FROM api_key WHERE id = $1`, id)
		return err
	})
}
