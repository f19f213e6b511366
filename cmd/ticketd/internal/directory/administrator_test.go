package directory

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAdministrators(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "beta")
		root := Administrator{Username: "root", Name: "Ro Ot", Email: "Root@example.com", Role: RoleAdmin, AllBrands: true,
			Active: true}
		ann := Administrator{Username: "Ann", Role: RoleAuditor, Brands: []string{"beta", "acme"}, Active: true}
		require.NoError(t, db.AddAdministrator(ctx, root))
		require.NoError(t, db.AddAdministrator(ctx, ann))
		all, err := db.Administrators(ctx, "", 10)
		require.NoError(t, err)
		require.Len(t, all, 2)
		ann.Brands = []string{"acme", "beta"}
		for i, want := range []Administrator{ann, root} {
			assert.NotEmpty(t, all[i].RecordID)
			want.RecordID, want.Revision = all[i].RecordID, all[i].Revision
			assert.Equal(t, want, all[i])
		}
		next, err := db.Administrators(ctx, "ANN", 10)
		require.NoError(t, err)
		assert.Equal(t, all[1:], next)
		_, err = db.Administrator(ctx, "nobody")
		assert.ErrorIs(t, err, ErrNotFound)

		for field, a := range map[string]Administrator{
			"username": {Role: RoleAdmin, AllBrands: true},
			"role":     {Username: "x", Role: "owner", AllBrands: true},
			"brands":   {Username: "x", Role: RoleAdmin, Active: true},
			"brands ":  {Username: "x", Role: RoleAdmin, AllBrands: true, Brands: []string{"acme"}},
			"brands  ": {Username: "x", Role: RoleAdmin, Brands: []string{"acme", "acme"}},
			"name":     {Username: "x", Role: RoleAdmin, AllBrands: true, Name: "a\n"},
			"email":    {Username: "x", Role: RoleAdmin, AllBrands: true, Email: "undefined"},
		} {
			var wrong *FieldError
			require.ErrorAs(t, db.AddAdministrator(ctx, a), &wrong, field)
			assert.Contains(t, field, wrong.Field)
		}
		twin := Administrator{Username: "ANN", Role: RoleAdmin, AllBrands: true}
		assert.ErrorIs(t, db.AddAdministrator(ctx, twin), ErrExists)
		assert.ErrorIs(t, db.AddAdministrator(ctx,
			Administrator{Username: "x", Role: RoleAdmin, Brands: []string{"gamma"}, Active: true}), ErrNotFound)
		_, err = db.UpdateAdministrator(ctx, "ann", false, func(a *Administrator) error {
			a.Brands = []string{"gamma"}
			return nil
		})
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

// trap W9: whoever was removed, made inactive or signed out comes back with another record.
func TestAdministratorRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		dsn := d.place(t)
		db, other := open(t, dsn), open(t, dsn)
		a := Administrator{Username: "root", Role: RoleAdmin, AllBrands: true, Active: true}
		require.NoError(t, db.AddAdministrator(ctx, a))
		seen := map[string]bool{}
		record := func() string {
			got, err := other.Administrator(ctx, "ROOT") // remembered there since the last call
			require.NoError(t, err)
			return got.RecordID
		}
		set := func(active bool) {
			_, err := db.UpdateAdministrator(ctx, "root", true, func(a *Administrator) error {
				a.Active, a.RecordID = active, "chosen by the caller"
				return nil
			})
			require.NoError(t, err)
		}
		seen[record()] = true
		set(true)
		assert.True(t, seen[record()], "still the same")
		set(false)
		set(true)
		seen[record()] = true
		_, err := db.EndAdministratorSessions(ctx, "root")
		require.NoError(t, err)
		seen[record()] = true
		require.NoError(t, db.RemoveAdministrator(ctx, "root", true))
		_, err = other.Administrator(ctx, "root")
		assert.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, db.AddAdministrator(ctx, a))
		seen[record()] = true
		assert.Len(t, seen, 4, "each time another")

		page, err := db.Events(ctx, EventFilter{AllBrands: true, Kind: "administrator", Name: "root"}, "", 20)
		require.NoError(t, err)
		var actions []string
		for _, e := range page.Events {
			assert.Empty(t, e.Brand, "an administrator belongs to no brand")
			actions = append(actions, e.Action)
		}
		slices.Reverse(actions)
		assert.Equal(t, []string{
			"administrator.add", "administrator.set", "administrator.set", ActionEndSessions, "administrator.remove",
			"administrator.add",
		}, actions)
	})
}

func TestMay(t *testing.T) {
	admin := Administrator{Role: RoleAdmin, Brands: []string{"acme"}, Active: true}
	auditor := Administrator{Role: RoleAuditor, Brands: []string{"acme"}, Active: true}
	whole := Administrator{Role: RoleAdmin, AllBrands: true, Active: true}
	reader := Administrator{Role: RoleAuditor, AllBrands: true, Active: true}
	gone := Administrator{Role: RoleAdmin, AllBrands: true}
	for _, row := range []struct {
		role  Role
		brand string
		may   []Administrator
	}{
		{RoleAdmin, "acme", []Administrator{admin, whole}},
		{RoleAuditor, "acme", []Administrator{admin, auditor, whole, reader}},
		{RoleAdmin, "beta", []Administrator{whole}},
		{RoleAuditor, "beta", []Administrator{whole, reader}},
		{RoleAdmin, "", []Administrator{whole}},
		{RoleAuditor, "", []Administrator{whole, reader}},
	} {
		for _, a := range []Administrator{admin, auditor, whole, reader, gone, {}} {
			in := slices.ContainsFunc(row.may, func(b Administrator) bool { return assert.ObjectsAreEqual(a, b) })
			assert.Equal(t, in, a.May(row.role, row.brand), "%+v as %s in %q", a, row.role, row.brand)
		}
	}
	assert.False(t, auditor.May("", "acme"), "no role is no right")
	assert.False(t, auditor.May("owner", "acme"))
}

// Nobody locks everybody out by accident, also with two changes at once.
func TestLastAdministrator(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		add := func(name string, role Role) {
			a := Administrator{Username: name, Role: role, AllBrands: true, Active: true}
			require.NoError(t, db.AddAdministrator(ctx, a))
		}
		add("one", RoleAdmin)
		add("reader", RoleAuditor)
		edits := []func(*Administrator) error{
			func(a *Administrator) error { a.Active = false; return nil },
			func(a *Administrator) error { a.Role = RoleAuditor; return nil },
			func(a *Administrator) error { a.AllBrands, a.Brands = false, []string{"acme"}; return nil },
		}
		for _, edit := range edits {
			_, err := db.UpdateAdministrator(ctx, "one", false, edit)
			assert.ErrorIs(t, err, ErrLastAdministrator)
		}
		assert.ErrorIs(t, db.RemoveAdministrator(ctx, "one", false), ErrLastAdministrator)
		require.NoError(t, db.RemoveAdministrator(ctx, "reader", false))
		assert.ErrorIs(t, db.RemoveAdministrator(ctx, "reader", false), ErrNotFound)

		add("two", RoleAdmin)
		var wait sync.WaitGroup
		errs := make([]error, 2)
		for i, name := range []string{"one", "two"} {
			wait.Go(func() { errs[i] = db.RemoveAdministrator(ctx, name, false) })
		}
		wait.Wait()
		slices.SortFunc(errs, func(a, b error) int {
			if a == nil {
				return -1
			}
			return 1
		})
		assert.NoError(t, errs[0])
		assert.ErrorIs(t, errs[1], ErrLastAdministrator)
		left, err := db.Administrators(ctx, "", 10)
		require.NoError(t, err)
		require.Len(t, left, 1)
		require.NoError(t, db.RemoveAdministrator(ctx, left[0].Username, true), "the caller insists")
	})
}

// A brand that goes leaves the lists of administrators, also if a list is just being made.
func TestAdministratorsLoseBrand(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "beta")
		require.NoError(t, db.AddAdministrator(ctx,
			Administrator{Username: "both", Role: RoleAdmin, Brands: []string{"acme", "beta"}, Active: true}))
		require.NoError(t, db.AddAdministrator(ctx,
			Administrator{Username: "one", Role: RoleAdmin, Brands: []string{"acme"}, Active: true}))
		var wait sync.WaitGroup
		var added error
		wait.Go(func() {
			added = db.AddAdministrator(ctx,
				Administrator{Username: "late", Role: RoleAdmin, Brands: []string{"acme", "beta"}, Active: true})
		})
		require.NoError(t, db.RemoveBrand(ctx, "acme", false))
		wait.Wait()
		require.True(t, added == nil || errors.Is(added, ErrNotFound), added)
		all, err := db.Administrators(ctx, "", 10)
		require.NoError(t, err)
		for _, a := range all {
			assert.NotContains(t, a.Brands, "acme", a.Username)
			assert.Equal(t, a.Username != "one", a.Active, a.Username)
		}
		require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
		one, err := db.Administrator(ctx, "one")
		require.NoError(t, err)
		assert.False(t, one.May(RoleAuditor, "acme"), "the brand that returns is another")
	})
}

// The list within brands has the administrators of these brands alone, in parts.
func TestAdministratorsWithin(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "beta", "gamma")
		for username, brands := range map[string][]string{
			"all": nil, "a": {"acme"}, "B": {"beta"}, "ab": {"acme", "beta"}, "ag": {"acme", "gamma"}, "g": {"gamma"},
		} {
			require.NoError(t, db.AddAdministrator(ctx, Administrator{
				Username: username, Role: RoleAuditor, Brands: brands, AllBrands: brands == nil, Active: true}))
		}
		names := func(after string, limit int, within ...string) (all []string) {
			found, err := db.AdministratorsWithin(ctx, within, after, limit)
			require.NoError(t, err)
			for _, a := range found {
				all = append(all, a.Username)
			}
			return all
		}
		assert.Equal(t, []string{"a"}, names("", 10, "acme"))
		assert.Equal(t, []string{"a", "ab", "B"}, names("", 10, "beta", "acme"))
		assert.Equal(t, []string{"a", "ab"}, names("", 2, "beta", "acme"))
		assert.Equal(t, []string{"B"}, names("ab", 2, "beta", "acme"))
		assert.Empty(t, names("", 10))
		require.NoError(t, db.RemoveBrand(ctx, "gamma", false))
		assert.Equal(t, []string{"a", "ag"}, names("", 10, "acme"), "g has no brand left")
	})
}
