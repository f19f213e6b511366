package manage

import (
	"context"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// sees returns an error unless all brands of an API key are among the caller's.
func (d *Desk) sees(k directory.APIKey) error {
	if !d.caller.hasAll(k.Brands, k.AllBrands) {
		return notFound("API key", k.ID)
	}
	return nil
}

// gives returns an error unless the caller may give an API key its brands.
func (d *Desk) gives(k directory.APIKey) error {
	if !d.caller.AllBrands && k.AllBrands {
		return &ForbiddenError{"only administrators and API keys of all brands make API keys for all brands; name the brands"}
	}
	for _, brand := range k.Brands {
		if !d.caller.has(brand) {
			return notFound("brand", brand)
		}
	}
	return nil
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
	if err := d.gives(k); err != nil {
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
	return d.db.UpdateAPIKey(ctx, id, func(k *directory.APIKey) error {
		if err := d.sees(*k); err != nil {
			return err
		}
		was := *k
		was.Brands = slices.Clone(k.Brands)
		if err := edit(k); err != nil {
			return err
		}
		if slices.Equal(was.Brands, k.Brands) && was.AllBrands == k.AllBrands {
			return nil
		}
		return d.gives(*k)
	})
}

// RevokeAPIKey ends an API key's use for good, and returns the record.
func (d *Desk) RevokeAPIKey(ctx context.Context, id string) (directory.APIKey, error) {
	if err := d.may("RevokeAPIKey", ""); err != nil {
		return directory.APIKey{}, err
	}
	if _, err := d.apiKey(ctx, id); err != nil {
		return directory.APIKey{}, err
	}
	if err := d.db.RevokeAPIKey(ctx, id); err != nil {
		return directory.APIKey{}, err
	}
	return d.db.APIKey(ctx, id)
}

// ReplaceAPIKey makes an API key in place of another one, as directory.DB.ReplaceAPIKey
// does. It returns the new record and the new key for its holder.
func (d *Desk) ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (directory.APIKey, string, error) {
	if err := d.may("ReplaceAPIKey", ""); err != nil {
		return directory.APIKey{}, "", err
	}
	if _, err := d.apiKey(ctx, id); err != nil {
		return directory.APIKey{}, "", err
	}
	bearer, err := d.db.ReplaceAPIKey(ctx, id, grace)
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
	if _, err := d.apiKey(ctx, id); err != nil {
		return err
	}
	return d.db.RemoveAPIKey(ctx, id)
}
