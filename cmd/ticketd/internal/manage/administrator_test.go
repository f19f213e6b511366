package manage

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// keyActor is an API key, for the audit trail.
var keyActor = directory.Actor{Kind: directory.ActorKey}

// An administrator of a brand sees and changes those of the brand alone, and gives no more
// than the brand.
func TestAdministratorsOfABrand(t *testing.T) {
	t.Parallel()
	office, _ := newOffice(t, t.TempDir()+"/directory.db")
	ctx := t.Context()
	desk := office.For(callers()["brand admin"])
	list, err := desk.Administrators(ctx, Page{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	assert.Equal(t, "own", list.Items[0].Username)

	var forbidden *ForbiddenError
	var field *directory.FieldError
	for name, row := range map[string]struct {
		brands []string
		all    bool
		is     func(error) bool
	}{
		"another brand":  {[]string{"other"}, false, func(err error) bool { return errors.Is(err, directory.ErrNotFound) }},
		"one more brand": {[]string{"own", "other"}, false, func(err error) bool { return errors.Is(err, directory.ErrNotFound) }},
		"the deployment": {nil, true, func(err error) bool { return errors.As(err, &forbidden) }},
		"no brand":       {nil, false, func(err error) bool { return errors.As(err, &field) }},
	} {
		for _, role := range []directory.Role{directory.RoleAdmin, directory.RoleAuditor} {
			_, err := desk.AddAdministrator(ctx,
				directory.Administrator{Username: "new", Role: role, Brands: row.brands, AllBrands: row.all})
			assert.True(t, row.is(err), "%s: add %s: %v", name, role, err)
			_, err = desk.ChangeAdministrator(ctx, "own", func(a *directory.Administrator) error {
				a.Role, a.Brands, a.AllBrands, a.Active = role, row.brands, row.all, false
				return nil
			})
			assert.True(t, row.is(err), "%s: change to %s: %v", name, role, err)
		}
	}
	for _, username := range []string{"other", "both", "all", "OTHER"} {
		_, err := desk.Administrator(ctx, username)
		_, none := desk.Administrator(ctx, "nobody-"+username)
		assert.Equal(t, len(none.Error())-len("nobody-"), len(err.Error()), "as one who does not exist: %v", err)
		assert.ErrorIs(t, err, directory.ErrNotFound, username)
		_, err = desk.ChangeAdministrator(ctx, username, func(a *directory.Administrator) error {
			a.Brands, a.AllBrands = []string{"own"}, false
			return nil
		})
		assert.ErrorIs(t, err, directory.ErrNotFound, username)
		assert.ErrorIs(t, desk.RemoveAdministrator(ctx, username), directory.ErrNotFound, username)
		_, err = desk.EndAdministratorSessions(ctx, username)
		assert.ErrorIs(t, err, directory.ErrNotFound, username)
	}
	made, err := desk.AddAdministrator(ctx,
		directory.Administrator{Username: "new", Role: directory.RoleAdmin, Brands: []string{"own"}, Active: true})
	require.NoError(t, err)
	ended, err := desk.EndAdministratorSessions(ctx, "NEW")
	require.NoError(t, err)
	assert.NotEqual(t, made.RecordID, ended.RecordID)
}

// Nobody locks themselves out: administrators do not change their own rights, and the last
// admin of the deployment stays.
func TestOwnRights(t *testing.T) {
	t.Parallel()
	office, _ := newOffice(t, t.TempDir()+"/directory.db")
	ctx := t.Context()
	actor := directory.Actor{Kind: directory.ActorAdministrator, Name: "all"}
	desk := office.For(Caller{Actor: actor, Role: directory.RoleAdmin, AllBrands: true})
	for field, edit := range map[string]func(*directory.Administrator){
		"role":   func(a *directory.Administrator) { a.Role = directory.RoleAuditor },
		"brands": func(a *directory.Administrator) { a.AllBrands, a.Brands = false, []string{"own"} },
		"active": func(a *directory.Administrator) { a.Active = false },
	} {
		_, err := desk.ChangeAdministrator(ctx, "ALL", func(a *directory.Administrator) error { edit(a); return nil })
		var wrong *directory.FieldError
		if assert.ErrorAs(t, err, &wrong) {
			assert.Equal(t, field, wrong.Field)
		}
		key := office.For(Caller{Actor: directory.Actor{Kind: directory.ActorKey, Name: "all"},
			Role: directory.RoleAdmin, AllBrands: true})
		_, err = key.ChangeAdministrator(ctx, "all", func(a *directory.Administrator) error { edit(a); return nil })
		assert.ErrorIs(t, err, directory.ErrLastAdministrator, "an API key with the name is somebody else")
		assert.ErrorIs(t, key.RemoveAdministrator(ctx, "all"), directory.ErrLastAdministrator)
	}
	var forbidden *ForbiddenError
	assert.ErrorAs(t, desk.RemoveAdministrator(ctx, "All"), &forbidden)
	_, err := desk.ChangeAdministrator(ctx, "all", func(a *directory.Administrator) error { a.Name = "Ann"; return nil })
	assert.NoError(t, err)
	_, err = desk.EndAdministratorSessions(ctx, "all")
	assert.NoError(t, err)
}

// Only callers that can let administrators in give others the scope console.
func TestScopeConsole(t *testing.T) {
	t.Parallel()
	office, keys := newOffice(t, t.TempDir()+"/directory.db")
	ctx := t.Context()
	person := office.For(callers()["brand admin"])
	console := directory.APIKey{Scopes: []directory.Scope{directory.ScopeConsole}, Brands: []string{"own"}}
	made, _, err := person.AddAPIKey(ctx, console)
	require.NoError(t, err)
	admin := office.For(KeyCaller(directory.APIKey{
		ID: "admin", Scopes: []directory.Scope{directory.ScopeAdmin}, AllBrands: true}, keyActor))
	both := office.For(KeyCaller(directory.APIKey{
		ID: "both", Scopes: []directory.Scope{directory.ScopeAdmin, directory.ScopeConsole}, AllBrands: true}, keyActor))
	var forbidden *ForbiddenError
	widen := func(k *directory.APIKey) error { k.Brands = []string{"other", "own"}; return nil }
	give := func(k *directory.APIKey) error { k.Scopes = append(k.Scopes, directory.ScopeConsole); return nil }
	_, _, err = admin.AddAPIKey(ctx, console)
	assert.ErrorAs(t, err, &forbidden)
	_, err = admin.ChangeAPIKey(ctx, made.ID, widen)
	assert.ErrorAs(t, err, &forbidden)
	_, err = admin.ChangeAPIKey(ctx, keys["own"], give)
	assert.ErrorAs(t, err, &forbidden)
	_, _, err = admin.ReplaceAPIKey(ctx, made.ID, 0)
	assert.ErrorAs(t, err, &forbidden, "the new key would be the caller's")
	_, err = admin.ChangeAPIKey(ctx, made.ID, func(k *directory.APIKey) error { k.Expires = time.Time{}; return nil })
	assert.ErrorAs(t, err, &forbidden, "lives longer")
	_, err = both.ChangeAPIKey(ctx, keys["own"], give)
	assert.NoError(t, err)
	_, err = admin.RevokeAPIKey(ctx, made.ID)
	assert.NoError(t, err, "takes away")
}

// An API key gives no more time than it has, and does not change itself: somebody with a stolen
// key cannot outlive its replacement.
func TestTimeOfAPIKeys(t *testing.T) {
	t.Parallel()
	office, keys := newOffice(t, t.TempDir()+"/directory.db")
	ctx := t.Context()
	now := office.Now()
	record := directory.APIKey{ID: "short", Scopes: []directory.Scope{directory.ScopeAdmin}, AllBrands: true,
		Expires: now.Add(24 * time.Hour)}
	short, free := office.For(KeyCaller(record, keyActor)), office.For(KeyCaller(directory.APIKey{
		ID: "free", Scopes: record.Scopes, AllBrands: true}, keyActor))
	within := directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}, Brands: []string{"own"},
		Expires: now.Add(time.Hour)}
	var forbidden *ForbiddenError
	for name, change := range map[string]func(*directory.APIKey){
		"no end": func(k *directory.APIKey) { k.Expires = time.Time{} },
		"later":  func(k *directory.APIKey) { k.Expires = record.Expires.Add(time.Second) },
	} {
		k := within
		change(&k)
		_, _, err := short.AddAPIKey(ctx, k)
		assert.ErrorAs(t, err, &forbidden, name)
		_, _, err = free.AddAPIKey(ctx, k)
		assert.NoError(t, err, name)
		made, _, err := short.AddAPIKey(ctx, within)
		require.NoError(t, err, name)
		_, err = short.ChangeAPIKey(ctx, made.ID, func(k *directory.APIKey) error { change(k); return nil })
		assert.ErrorAs(t, err, &forbidden, name)
	}
	_, err := short.ChangeAPIKey(ctx, keys["own"], func(k *directory.APIKey) error { k.Note = "n"; return nil })
	assert.NoError(t, err, "a key that lives longer, and goes on as it is")
	_, _, err = short.ReplaceAPIKey(ctx, keys["own"], 0)
	assert.ErrorAs(t, err, &forbidden, "the new key would live longer")

	made, bearer, err := free.AddAPIKey(ctx, directory.APIKey{Scopes: record.Scopes, AllBrands: true})
	require.NoError(t, err)
	_, _, err = free.ReplaceAPIKey(ctx, made.ID, time.Minute)
	require.NoError(t, err)
	in, err := office.Directory.Authenticate(ctx, bearer, office.Now())
	require.NoError(t, err)
	old := office.For(KeyCaller(in, keyActor))
	_, err = old.ChangeAPIKey(ctx, made.ID, func(k *directory.APIKey) error { k.Expires = time.Time{}; return nil })
	assert.ErrorAs(t, err, &forbidden)
	_, _, err = old.ReplaceAPIKey(ctx, made.ID, time.Minute)
	assert.ErrorAs(t, err, &forbidden)
	_, _, err = old.AddAPIKey(ctx, directory.APIKey{Scopes: record.Scopes, AllBrands: true})
	assert.ErrorAs(t, err, &forbidden)
	_, err = old.RevokeAPIKey(ctx, made.ID)
	assert.NoError(t, err, "takes away")
}

// A record that another change takes out of the caller's brands is not changed afterwards: in
// the audit trail, the caller's event comes first, or is not there.
func TestCheckAndChangeAreOne(t *testing.T) {
	t.Parallel()
	office, _ := newOffice(t, t.TempDir()+"/directory.db")
	ctx, db := t.Context(), office.Directory
	desk := office.For(callers()["brand admin"])
	for name, do := range map[string]func(key, username string) error{
		"RevokeAPIKey":             func(key, _ string) error { _, err := desk.RevokeAPIKey(ctx, key); return err },
		"ReplaceAPIKey":            func(key, _ string) error { _, _, err := desk.ReplaceAPIKey(ctx, key, 0); return err },
		"RemoveAPIKey":             func(key, _ string) error { return desk.RemoveAPIKey(ctx, key) },
		"RemoveAdministrator":      func(_, user string) error { return desk.RemoveAdministrator(ctx, user) },
		"EndAdministratorSessions": func(_, user string) error { _, err := desk.EndAdministratorSessions(ctx, user); return err },
	} {
		for i := range 10 {
			user := name + strconv.Itoa(i)
			addAdministrator(t, db, directory.Administrator{Username: user, Brands: []string{"own"}})
			bearer, err := db.CreateAPIKey(ctx,
				directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}, Brands: []string{"own"}})
			require.NoError(t, err)
			key := directory.APIKeyID(bearer)
			before, err := db.LastEvent(ctx)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := db.UpdateAPIKey(ctx, key, func(k *directory.APIKey) error { k.Brands = []string{"other"}; return nil })
				assert.True(t, err == nil || errors.Is(err, directory.ErrNotFound), err)
			})
			wg.Go(func() {
				_, err := db.UpdateAdministrator(ctx, user, true, func(a *directory.Administrator) error {
					a.Brands = []string{"other"}
					return nil
				})
				assert.True(t, err == nil || errors.Is(err, directory.ErrNotFound), err)
			})
			wg.Go(func() {
				err := do(key, user)
				assert.True(t, err == nil || errors.Is(err, directory.ErrNotFound), err)
			})
			wg.Wait()
			events, _, err := db.NewEvents(ctx, directory.EventFilter{AllBrands: true}, before, 100)
			require.NoError(t, err)
			moved := make(map[string]bool)
			for _, e := range events {
				switch {
				case e.Actor.Kind != directory.ActorAdministrator:
					moved[e.Name] = true
				case moved[e.Name]:
					t.Errorf("%s: %s of %q after it was taken away", name, e.Action, e.Name)
				}
			}
		}
	}
}
