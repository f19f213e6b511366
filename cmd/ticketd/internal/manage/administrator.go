package manage

import (
	"context"
	"slices"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Administrators lists the administrators whose brands are all among the caller's.
func (d *Desk) Administrators(ctx context.Context, p Page) (List[directory.Administrator], error) {
	if err := d.may("Administrators", ""); err != nil {
		return List[directory.Administrator]{}, err
	}
	return listed(p, func(a *directory.Administrator) string { return a.Username },
		func(after string, limit int) ([]directory.Administrator, error) {
			if d.caller.AllBrands {
				return d.db.Administrators(ctx, after, limit)
			}
			return d.db.AdministratorsWithin(ctx, d.caller.Brands, after, limit)
		})
}

// Administrator looks up an administrator.
func (d *Desk) Administrator(ctx context.Context, username string) (directory.Administrator, error) {
	if err := d.may("Administrator", ""); err != nil {
		return directory.Administrator{}, err
	}
	return d.administrator(ctx, username)
}

// administrator looks up an administrator that the caller sees.
func (d *Desk) administrator(ctx context.Context, username string) (directory.Administrator, error) {
	a, err := d.db.Administrator(ctx, username)
	if err == nil {
		err = d.sees(a)
	}
	if err != nil {
		return directory.Administrator{}, err
	}
	return a, nil
}

// AddAdministrator adds an administrator, and returns the record.
func (d *Desk) AddAdministrator(ctx context.Context, a directory.Administrator) (directory.Administrator, error) {
	if err := d.may("AddAdministrator", ""); err != nil {
		return directory.Administrator{}, err
	}
	if len(a.Brands) == 0 && !a.AllBrands && !d.caller.AllBrands {
		return directory.Administrator{}, &directory.FieldError{
			Field: "brands", Reason: "is empty; name the administrator's brands"}
	}
	if err := d.gives("administrators", a.Brands, a.AllBrands); err != nil {
		return directory.Administrator{}, err
	}
	if err := d.db.AddAdministrator(ctx, a); err != nil {
		return directory.Administrator{}, err
	}
	return d.administrator(ctx, a.Username)
}

// ChangeAdministrator changes an administrator by edit, as directory.DB.UpdateAdministrator
// does. If nobody would be left who may change the whole deployment, the error wraps
// directory.ErrLastAdministrator.
func (d *Desk) ChangeAdministrator(
	ctx context.Context, username string, edit func(*directory.Administrator) error,
) (directory.Administrator, error) {
	if err := d.may("ChangeAdministrator", ""); err != nil {
		return directory.Administrator{}, err
	}
	return d.db.Provided(d.sees).UpdateAdministrator(ctx, username, false, func(a *directory.Administrator) error {
		was := *a
		was.Brands = slices.Clone(a.Brands)
		if err := edit(a); err != nil {
			return err
		}
		slices.Sort(a.Brands) // as they are kept
		if err := d.gives("administrators", a.Brands, a.AllBrands); err != nil {
			return err
		}
		if len(a.Brands) == 0 && !a.AllBrands && !d.caller.AllBrands {
			return &directory.FieldError{Field: "brands", Reason: "is empty; leave the administrator a brand, " +
				"or remove the administrator"}
		}
		if d.caller.is(a.Username) {
			return sameRights(&was, a)
		}
		return nil
	})
}

// sameRights returns an error if the rights of a record differ from those of before.
func sameRights(was, is *directory.Administrator) error {
	field := ""
	switch {
	case is.Role != was.Role:
		field = "role"
	case !slices.Equal(is.Brands, was.Brands), is.AllBrands != was.AllBrands:
		field = "brands"
	case is.Active != was.Active:
		field = "active"
	default:
		return nil
	}
	return &directory.FieldError{Field: field, Reason: "is of your own record; ask another administrator to change it"}
}

// RemoveAdministrator removes an administrator. If nobody would be left who may change the
// whole deployment, the error wraps directory.ErrLastAdministrator.
func (d *Desk) RemoveAdministrator(ctx context.Context, username string) error {
	if err := d.may("RemoveAdministrator", ""); err != nil {
		return err
	}
	if d.caller.is(username) {
		return &ForbiddenError{"this is your own record; ask another administrator to remove it"}
	}
	return d.db.Provided(d.sees).RemoveAdministrator(ctx, username, false)
}

// EndAdministratorSessions ends the sessions and the unspent links of an administrator.
func (d *Desk) EndAdministratorSessions(ctx context.Context, username string) (directory.Administrator, error) {
	if err := d.may("EndAdministratorSessions", ""); err != nil {
		return directory.Administrator{}, err
	}
	return d.db.Provided(d.sees).EndAdministratorSessions(ctx, username)
}
