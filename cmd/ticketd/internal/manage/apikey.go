package manage

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// givesKey returns an error unless the caller may give an API key its brands and scopes.
func (d *Desk) givesKey(k directory.APIKey) error {
	if err := d.givesScopes(k); err != nil {
		return err
	}
	return d.gives("API keys", k.Brands, k.AllBrands)
}

// givesScopes returns an error unless the caller may give an API key its scopes.
func (d *Desk) givesScopes(k directory.APIKey) error {
	for _, scope := range k.Scopes {
		if !d.caller.MayGive(scope) {
			return &ForbiddenError{"only administrators and API keys of scope " + string(scope) +
				" make API keys of this scope; leave the scope out"}
		}
	}
	return nil
}

// givesTime returns an error if an API key would give another one more time than it has. A
// limit of requests is about load, and no right.
func (d *Desk) givesTime(k directory.APIKey) error {
	c := d.caller
	if c.Actor.Kind == directory.ActorKey && !c.Expires.IsZero() && (k.Expires.IsZero() || k.Expires.After(c.Expires)) {
		return &ForbiddenError{"the calling API key ends on " + c.Expires.UTC().Format(time.RFC3339) +
			" and makes no API key that ends later; name an earlier end, or let an administrator make the key"}
	}
	return nil
}

// changesKey returns an error unless the caller may change an API key that it sees. An API
// key does not change itself: else a stolen key would undo its own replacement.
func (d *Desk) changesKey(k directory.APIKey) error {
	if d.caller.Actor.Kind == directory.ActorKey && d.caller.Actor.Name == k.ID {
		return &ForbiddenError{"an API key neither changes nor replaces itself; use another API key, or an administrator"}
	}
	return d.givesScopes(k)
}

// APIKeys lists the API keys that the caller sees: with brand, those for this brand.
func (d *Desk) APIKeys(ctx context.Context, brand string, p Page) (List[directory.APIKey], error) {
	err := d.may("APIKeys", "")
	if err == nil && brand != "" && !d.caller.has(brand) {
		err = notFound("brand", brand)
	}
	if err != nil {
		return List[directory.APIKey]{}, err
	}
	return listed(p, func(k *directory.APIKey) string { return k.ID },
		func(after string, limit int) ([]directory.APIKey, error) {
			if d.caller.AllBrands {
				return d.db.APIKeys(ctx, brand, after, limit)
			}
			return d.db.APIKeysWithin(ctx, d.caller.Brands, brand, after, limit)
		})
}

// APIKey looks up an API key.
func (d *Desk) APIKey(ctx context.Context, id string) (directory.APIKey, error) {
	if err := d.may("APIKey", ""); err != nil {
		return directory.APIKey{}, err
	}
	return d.apiKey(ctx, id)
}

// apiKey looks up an API key that the caller sees.
func (d *Desk) apiKey(ctx context.Context, id string) (directory.APIKey, error) {
	k, err := d.db.APIKey(ctx, id)
	if err == nil {
		err = d.sees(k)
	}
	if err != nil {
		return directory.APIKey{}, err
	}
	return k, nil
}

// AddAPIKey makes an API key, and returns the record and the key for its holder, which
// nobody can see again.
func (d *Desk) AddAPIKey(ctx context.Context, k directory.APIKey) (directory.APIKey, string, error) {
	if err := d.may("AddAPIKey", ""); err != nil {
		return directory.APIKey{}, "", err
	}
	if err := cmp.Or(d.givesKey(k), d.givesTime(k)); err != nil {
		return directory.APIKey{}, "", err
	}
	bearer, err := d.db.CreateAPIKey(ctx, k)
	if err != nil {
		return directory.APIKey{}, "", err
	}
	k, err = d.db.APIKey(ctx, directory.APIKeyID(bearer))
	return k, bearer, err
}

// ChangeAPIKey changes an API key by edit, as directory.DB.UpdateAPIKey does.
func (d *Desk) ChangeAPIKey(
	ctx context.Context, id string, edit func(*directory.APIKey) error,
) (directory.APIKey, error) {
	if err := d.may("ChangeAPIKey", ""); err != nil {
		return directory.APIKey{}, err
	}
	return d.db.Provided(d.sees).UpdateAPIKey(ctx, id, func(k *directory.APIKey) error {
		if err := d.changesKey(*k); err != nil {
			return err
		}
		was := *k
		was.Brands, was.Scopes = slices.Clone(k.Brands), slices.Clone(k.Scopes)
		if err := edit(k); err != nil {
			return err
		}
		if !was.Expires.Equal(k.Expires) {
			if err := d.givesTime(*k); err != nil {
				return err
			}
		}
		if slices.Equal(was.Brands, k.Brands) && was.AllBrands == k.AllBrands && slices.Equal(was.Scopes, k.Scopes) {
			return nil
		}
		return d.givesKey(*k)
	})
}

// RevokeAPIKey ends an API key's use for good, and returns the record.
func (d *Desk) RevokeAPIKey(ctx context.Context, id string) (directory.APIKey, error) {
	if err := d.may("RevokeAPIKey", ""); err != nil {
		return directory.APIKey{}, err
	}
	if err := d.db.Provided(d.sees).RevokeAPIKey(ctx, id); err != nil {
		return directory.APIKey{}, err
	}
	return d.apiKey(ctx, id)
}

// ReplaceAPIKey makes an API key in place of another one, as directory.DB.ReplaceAPIKey
// does. It returns the new record and the new key for its holder.
func (d *Desk) ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (directory.APIKey, string, error) {
	if err := d.may("ReplaceAPIKey", ""); err != nil {
		return directory.APIKey{}, "", err
	}
	mayReplace := func(record any) error {
		if err := d.sees(record); err != nil {
			return err
		}
		k := record.(directory.APIKey)
		if err := cmp.Or(d.changesKey(k), d.givesKey(k)); err != nil {
			return err
		}
		if !k.Expires.IsZero() { // of the new key
			k.Expires = d.office.Now().Add(k.Expires.Sub(k.Created))
		}
		return d.givesTime(k)
	}
	bearer, err := d.db.Provided(mayReplace).ReplaceAPIKey(ctx, id, grace)
	if err != nil {
		return directory.APIKey{}, "", err
	}
	k, err := d.db.APIKey(ctx, directory.APIKeyID(bearer))
	return k, bearer, err
}

// RemoveAPIKey removes the record of an API key.
func (d *Desk) RemoveAPIKey(ctx context.Context, id string) error {
	if err := d.may("RemoveAPIKey", ""); err != nil {
		return err
	}
	return d.db.Provided(d.sees).RemoveAPIKey(ctx, id)
}
