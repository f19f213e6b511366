package manage

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/text/language"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// Brands lists the caller's brands.
func (d *Desk) Brands(ctx context.Context, p Page) (List[directory.Brand], error) {
	if err := d.may("Brands", ""); err != nil {
		return List[directory.Brand]{}, err
	}
	return listed(p, func(b *directory.Brand) string { return b.Name },
		func(after string, limit int) ([]directory.Brand, error) {
			if d.caller.AllBrands {
				return d.db.Brands(ctx, after, limit)
			}
			var all []directory.Brand
			for _, name := range slices.Sorted(slices.Values(d.caller.Brands)) {
				if name <= after || len(all) == limit {
					continue
				}
				b, err := d.db.Brand(ctx, name)
				switch {
				case errors.Is(err, directory.ErrNotFound): // removed meanwhile
				case err != nil:
					return nil, err
				default:
					all = append(all, b)
				}
			}
			return all, nil
		})
}

// Brand looks up a brand.
func (d *Desk) Brand(ctx context.Context, brand string) (directory.Brand, error) {
	if err := d.may("Brand", brand); err != nil {
		return directory.Brand{}, err
	}
	return d.db.Brand(ctx, brand)
}

// Effective returns the settings in force for a brand, or with channel for one of its
// channels.
func (d *Desk) Effective(ctx context.Context, brand, channel string) (directory.Effective, error) {
	if err := d.may("Effective", brand); err != nil {
		return directory.Effective{}, err
	}
	return d.db.Effective(ctx, brand, channel)
}

// AddBrand adds a brand, and returns the record.
func (d *Desk) AddBrand(ctx context.Context, b directory.Brand) (directory.Brand, error) {
	if err := d.may("AddBrand", ""); err != nil {
		return directory.Brand{}, err
	}
	if err := d.checkLanguage("", b.Language); err != nil {
		return directory.Brand{}, err
	}
	if err := d.db.AddBrand(ctx, b); err != nil {
		return directory.Brand{}, err
	}
	return d.db.Brand(ctx, b.Name)
}

// ChangeBrand changes a brand by edit, as directory.DB.UpdateBrand does.
func (d *Desk) ChangeBrand(
	ctx context.Context, brand string, edit func(*directory.Brand) error,
) (directory.Brand, error) {
	if err := d.may("ChangeBrand", brand); err != nil {
		return directory.Brand{}, err
	}
	return d.db.UpdateBrand(ctx, brand, func(b *directory.Brand) error {
		was := b.Language
		if err := edit(b); err != nil {
			return err
		}
		return d.checkLanguage(was, b.Language)
	})
}

// checkLanguage refuses a new language for which the service has no texts. A text that is no
// language is the directory's to refuse.
func (d *Desk) checkLanguage(was, is string) error {
	if d.office.CheckLanguage == nil || is == "" || is == was {
		return nil
	}
	if _, err := language.Parse(is); err != nil {
		return nil
	}
	if wrong, ok := errors.AsType[*token.ConfigError](d.office.CheckLanguage(is)); ok {
		return &directory.FieldError{Field: "language", Reason: wrong.Reason}
	}
	return nil
}

// RemoveBrand removes a brand, as directory.DB.RemoveBrand does.
func (d *Desk) RemoveBrand(ctx context.Context, brand string, withAll bool) error {
	if err := d.may("RemoveBrand", brand); err != nil {
		return err
	}
	return d.db.RemoveBrand(ctx, brand, withAll)
}

// EndBrandSessions ends all sessions of a brand that began before now.
func (d *Desk) EndBrandSessions(ctx context.Context, brand string) (directory.Brand, error) {
	if err := d.may("EndBrandSessions", brand); err != nil {
		return directory.Brand{}, err
	}
	return d.db.UpdateBrand(ctx, brand, func(b *directory.Brand) error {
		b.SessionsSince = d.office.Now()
		return nil
	})
}
