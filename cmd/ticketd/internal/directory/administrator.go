package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/admitone/admitone/token"
)

// A Role is what an administrator may do.
type Role string

// The roles.
const (
	RoleAdmin   Role = "admin"   // read and change
	RoleAuditor Role = "auditor" // read
)

// An Administrator administers brands, or the whole deployment. An administrator belongs to
// no brand: the username is unique in the deployment.
type Administrator struct {
	Username string // as given, in NFC; compared without regard to case; at most 255 bytes
	Name     string // for people; at most 100 bytes
	Email    string
	Role     Role

	// The role holds in the brands, in the order of their names, or in the whole
	// deployment, including future brands.
	Brands    []string
	AllBrands bool

	Active bool // whether the administrator may enter

	// RecordID is chosen by the directory, and is another whenever the administrator is
	// added or made active again, or the sessions are ended. A link and a session belong to
	// the record, and not to the name.
	RecordID string

	Revision int64 // see DB.IfRevision
}

// ErrLastAdministrator is wrapped by the error for a change that would leave nobody who may
// change the whole deployment.
var ErrLastAdministrator = errors.New("this is the last active admin of the whole deployment, " +
	"without whom nobody can enter to make another; make another first")

// May reports whether the administrator has the rights of a role in a brand, or with the
// brand "" in the deployment as a whole. An admin has the rights of an auditor.
func (a Administrator) May(role Role, brand string) bool {
	if !a.Active || a.Role != RoleAdmin && (a.Role != RoleAuditor || role != RoleAuditor) {
		return false
	}
	return a.AllBrands || brand != "" && slices.Contains(a.Brands, brand)
}

// rules reports whether the administrator may change the whole deployment.
func (a *Administrator) rules() bool { return a.May(RoleAdmin, "") }

var administrators = table[Administrator]{
	kind: "administrator", name: "administrator", keys: 1, whole: true,
	columns: []string{
		"username_fold", "username", "name", "email", "role", "brands", "all_brands", "active", "record",
	},
	fields: func(a *Administrator) []any {
		return []any{
			folded{&a.Username, UsernameKey}, &a.Username, &a.Name, &a.Email, &a.Role, texts[string]{&a.Brands},
			&a.AllBrands, &a.Active, &a.RecordID,
		}
	},
	label:    func(a *Administrator) string { return a.Username },
	revision: func(a *Administrator) *int64 { return &a.Revision },
	prepare:  (*Administrator).prepare,
}

// prepare refuses a wrong record and normalizes a good one.
func (a *Administrator) prepare() error {
	var none string
	err := cmp.Or(
		checkName("username", a.Username, maxIdentifier),
		NormalizeIdentifiers(&a.Username, &a.Email, &none),
		checkPerson(&a.Email, &none, a.Name, "", ""))
	if wrong, ok := errors.AsType[*FieldError](err); ok && wrong.Field == "firstName" {
		return &FieldError{Field: "name", Reason: wrong.Reason}
	}
	switch {
	case err != nil:
		return err
	case a.Role != RoleAdmin && a.Role != RoleAuditor:
		return refuse("role", "is neither admin nor auditor")
	case len(a.Brands) > 0 && a.AllBrands:
		return refuse("brands", "names brands, and the role holds in all of them; choose one")
	case len(a.Brands) == 0 && !a.AllBrands && a.Active:
		return refuse("brands", "is empty; name the administrator's brands, or say that it is all of them")
	}
	a.Brands = slices.Sorted(slices.Values(a.Brands))
	if len(slices.Compact(slices.Clone(a.Brands))) < len(a.Brands) {
		return refuse("brands", "names a brand twice; name it once")
	}
	for _, brand := range a.Brands {
		if err := checkName("brands", brand, maxBrand); err != nil {
			return err
		}
	}
	return nil
}

// AddAdministrator adds an administrator with a new RecordID. If the deployment has an
// administrator with the username, the error wraps ErrExists; if a brand does not exist,
// ErrNotFound.
func (db *DB) AddAdministrator(ctx context.Context, a Administrator) error {
	a.RecordID = newRecordID()
	return administrators.add(ctx, db, &a, func(ctx context.Context, tx *change) error {
		return db.lockBrands(ctx, tx, a.Brands)
	})
}

// lockBrands returns an error that wraps ErrNotFound if one of the brands does not exist.
// The others stay until the transaction ends: RemoveBrand waits, and then finds the lists
// that name the brand.
func (db *DB) lockBrands(ctx context.Context, tx querier, names []string) error {
	if len(names) == 0 {
		return nil
	}
	var args []any
	in := inList(&args, names)
	scan := func(r row) (name string, err error) { return name, r.Scan(&name) }
	found, err := list(ctx, tx, scan, "SELECT name FROM brand WHERE name "+in+" ORDER BY name"+db.lockRows, args...)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(found, name) {
			return notFound("brand", name)
		}
	}
	return nil
}

// UpdateAdministrator changes the administrator by edit, as UpdateBrand does. An inactive
// administrator who is made active has a new RecordID. Unless last is set, the error wraps
// ErrLastAdministrator if nobody would be left who may change the whole deployment.
func (db *DB) UpdateAdministrator(
	ctx context.Context, username string, last bool, edit func(*Administrator) error,
) (Administrator, error) {
	return administrators.updateThen(ctx, db, func(a *Administrator) error {
		was := *a
		a.Brands = slices.Clone(a.Brands)
		if err := edit(a); err != nil {
			return err
		}
		if a.Username != was.Username {
			return refuse("username", "of the administrator cannot change; add another administrator instead")
		}
		a.RecordID = was.RecordID
		if a.Active && !was.Active {
			a.RecordID = newRecordID()
		}
		return nil
	}, func(ctx context.Context, tx *change, was, is *Administrator) error {
		if err := db.lockBrands(ctx, tx, is.Brands); err != nil || last || !was.rules() || is.rules() {
			return err
		}
		return db.othersRule(ctx, tx)
	}, UsernameKey(username))
}

// othersRule returns ErrLastAdministrator if no administrator may change the whole
// deployment. It locks those who may, so that two changes at once do not each count on the
// other's administrator.
func (db *DB) othersRule(ctx context.Context, tx querier) error {
	scan := func(r row) (name string, err error) { return name, r.Scan(&name) }
	left, err := list(ctx, tx, scan, `SELECT username_fold FROM administrator
		WHERE active AND all_brands AND role = 'admin' ORDER BY username_fold`+db.lockRows)
	if err == nil && len(left) == 0 {
		return ErrLastAdministrator
	}
	return err
}

// Administrator looks up an administrator by username, active or not. If the administrator
// does not exist, the error wraps ErrNotFound.
func (db *DB) Administrator(ctx context.Context, username string) (Administrator, error) {
	name := UsernameKey(username)
	return remembered(ctx, db.cache, cacheKey{kind: "administrator", name: name}, func() (Administrator, error) {
		v, err := administrators.get(ctx, db.read, name)
		return v.record, err
	})
}

// Administrators lists up to limit administrators, in the order of their usernames without
// regard to case.
func (db *DB) Administrators(ctx context.Context, after string, limit int) ([]Administrator, error) {
	return administrators.page(ctx, db.read, nil, UsernameKey(after), limit)
}

// AdministratorsWithin lists as Administrators does, but only administrators whose brands are
// all among some brands. It reads the whole table, which is short.
func (db *DB) AdministratorsWithin(
	ctx context.Context, within []string, after string, limit int,
) (all []Administrator, err error) {
	const part = 500
	foreign := func(brand string) bool { return !slices.Contains(within, brand) }
	for {
		read, err := db.Administrators(ctx, after, part)
		if err != nil {
			return nil, err
		}
		for _, a := range read {
			if len(a.Brands) == 0 || a.AllBrands || slices.ContainsFunc(a.Brands, foreign) {
				continue
			}
			if all = append(all, a); len(all) == limit {
				return all, nil
			}
		}
		if len(read) < part {
			return all, nil
		}
		after = read[part-1].Username
	}
}

// RemoveAdministrator removes an administrator. The parameter last is as of
// UpdateAdministrator.
func (db *DB) RemoveAdministrator(ctx context.Context, username string, last bool) error {
	name := UsernameKey(username)
	return db.change(ctx, "remove administrator", func(ctx context.Context, tx *change) error {
		was, err := administrators.get(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := db.mayChange(was.revision, administrators.kind, was.record.Username, was.record); err != nil {
			return err
		}
		err = once(exec(ctx, tx, "DELETE FROM administrator"+administrators.where()+" AND revision = $2",
			name, was.revision))
		if err != nil {
			return err
		}
		err = administrators.note(tx, db, "administrator.remove", difference{}, &was.record)
		if err != nil || last || !was.record.rules() {
			return err
		}
		return db.othersRule(ctx, tx)
	})
}

// EndAdministratorSessions ends the sessions and the unspent links of an administrator, and
// returns the record with its new RecordID. If the administrator does not exist, the error
// wraps ErrNotFound.
func (db *DB) EndAdministratorSessions(ctx context.Context, username string) (Administrator, error) {
	renew := func(a *Administrator) error { a.RecordID = newRecordID(); return nil }
	return administrators.update(ctx, db, renew, UsernameKey(username))
}

// RecordLink writes the event of a ticket that was made for an administrator.
func (db *DB) RecordLink(ctx context.Context, t *token.Ticket) error {
	return db.transact(ctx, "record a link", func(_ context.Context, tx *change) error {
		e := db.event(ActionIssueTicket, "", administrators.kind, UsernameKey(t.Username))
		e.Ticket, e.TicketKey = t.ID.String(), t.KeyID.String()
		tx.note(e)
		return nil
	})
}

// forgetBrand takes a brand, which was removed in the same transaction, out of the lists of
// administrators. An administrator without any brand left is inactive.
func forgetBrand(ctx context.Context, db *DB, tx *change, brand string) error {
	all, err := list(ctx, tx, administrators.scan, administrators.selected()+" WHERE NOT all_brands")
	if err != nil {
		return err
	}
	for _, v := range all {
		i := slices.Index(v.record.Brands, brand)
		if i < 0 {
			continue
		}
		was := v.record
		v.record.Brands = slices.Delete(slices.Clone(was.Brands), i, i+1)
		v.record.Active = was.Active && len(v.record.Brands) > 0
		if err := administrators.write(ctx, tx, v, UsernameKey(was.Username)); err != nil {
			return err
		}
		d, err := administrators.compare(&was, &v.record)
		if err != nil {
			return err
		}
		if err := administrators.noteChanged(tx, db, d, &v.record); err != nil {
			return err
		}
	}
	return nil
}

// BrandNames returns the brands of the administrator as a list for people.
func (a Administrator) BrandNames() string {
	if a.AllBrands {
		return "all"
	}
	return strings.Join(a.Brands, ", ")
}
