// Package manage is the administration of a running service: which caller may do what, in
// which brand. The admin API and the console call it, and neither calls package directory.
//
// An Office has the parts of the service. A Desk is the office for one caller: an API key
// of scope admin, or an administrator in the console. Each operation is a method of Desk
// and has a row in Operations, which says what the operation is about and what it does.
//
//   - An auditor reads everything in its brands and changes nothing.
//   - An admin of named brands does everything in these brands. Of API keys and
//     administrators, the admin sees those whose brands are all among the own ones.
//   - Operations on the whole deployment are for callers of all brands.
//   - Nobody gives another caller more than they have, and no administrators change their own
//     rights.
//
// A record of another brand is not found, exactly as a record that does not exist. Changes
// are recorded as the caller's.
//
// The errors are those of package directory, *ForbiddenError, and of IssueTicket
// *api.RefusedError.
package manage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
)

// An Office has the parts of the service that operations need. A field is mandatory unless
// its comment says otherwise.
type Office struct {
	Directory *directory.DB
	Now       func() time.Time

	Tickets  *api.Tickets
	Issuer   string                                      // name under which tickets of format 2 are made; "" for format 1
	LoginURL string                                      // address of the agents' page
	ChatURL  func(brand, channel string) (string, error) // address of a channel's page
	NoteUses func(context.Context) error                 // writes last uses of issuers into the directory; nil: none wait
	Keyrings func() []keyring.Report                     // of the service
	Health   []Check                                     // the parts that answer requests
	Settings []Setting                                   // of the service, without secrets

	CheckLanguage func(tag string) error // refuses a language without texts; nil: any is good
}

// A Caller is who asks, and what the caller may do.
type Caller struct {
	Actor     directory.Actor
	Role      directory.Role    // in the brands
	Brands    []string          // the brands of the caller
	AllBrands bool              // every brand, and the deployment itself; Brands is empty then
	Scopes    []directory.Scope // of an API key
	Expires   time.Time         // of an API key; zero: never
}

// KeyCaller returns the caller of an API key of scope admin, who is recorded as the actor.
func KeyCaller(k directory.APIKey, a directory.Actor) Caller {
	return Caller{
		Actor: a,
		Role:  directory.RoleAdmin, Brands: k.Brands, AllBrands: k.AllBrands, Scopes: k.Scopes,
		Expires: k.Expires,
	}
}

// has reports whether a brand is among the caller's.
func (c Caller) has(brand string) bool { return c.AllBrands || slices.Contains(c.Brands, brand) }

// hasAll reports whether all brands of a record are among the caller's.
func (c Caller) hasAll(brands []string, allBrands bool) bool {
	if c.AllBrands {
		return true
	}
	for _, brand := range brands {
		if !slices.Contains(c.Brands, brand) {
			return false
		}
	}
	return len(brands) > 0 && !allBrands
}

// MayGive reports whether the caller, if it has the role admin, may give API keys a scope.
// Keys of the scope console let administrators in: an API key that cannot do so makes no
// other key that can.
func (c Caller) MayGive(s directory.Scope) bool {
	return c.Actor.Kind == directory.ActorAdministrator || s != directory.ScopeConsole || slices.Contains(c.Scopes, s)
}

// is reports whether the caller is an administrator with the username.
func (c Caller) is(username string) bool {
	return c.Actor.Kind == directory.ActorAdministrator &&
		directory.UsernameKey(c.Actor.Name) == directory.UsernameKey(username)
}

// A Desk is the office for one caller. Its methods are the operations.
type Desk struct {
	office *Office
	caller Caller
	db     *directory.DB // whose changes are the caller's
}

// For returns the desk of a caller.
func (o *Office) For(c Caller) *Desk {
	return &Desk{office: o, caller: c, db: o.Directory.As(c.Actor)}
}

// Caller returns the caller.
func (d *Desk) Caller() Caller { return d.caller }

// IfRevision returns a desk whose changes are made only if the changed record has this
// revision. Else the error wraps directory.ErrChanged.
func (d *Desk) IfRevision(revision int64) *Desk {
	view := *d
	view.db = d.db.IfRevision(revision)
	return &view
}

// Once returns a desk whose additions are made once for a request, which a text of the
// client's identifies (Idempotency-Key). A repetition within 24 hours is a
// *directory.RepeatedError and adds nothing. The hash is of everything in the request.
func (d *Desk) Once(key string, hash [32]byte) *Desk {
	view := *d
	view.db = d.db.Once(string(d.caller.Actor.Kind)+" "+d.caller.Actor.Name, key, hash)
	return &view
}

// A ForbiddenError is the error for an operation that the caller may not do.
type ForbiddenError struct{ Reason string }

func (e *ForbiddenError) Error() string { return e.Reason }

// may returns an error unless the caller may do an operation, in a brand if the operation
// is of one.
func (d *Desk) may(name, brand string) error {
	i := slices.IndexFunc(Operations, func(o Operation) bool { return o.Name == name })
	if i < 0 {
		panic("manage: no operation " + name)
	}
	o := Operations[i]
	switch {
	case o.Of == OfBrand && !d.caller.has(brand):
		return notFound("brand", brand)
	case o.Of == OfDeployment && !d.caller.AllBrands:
		return &ForbiddenError{"this is for administrators and API keys of all brands"}
	case o.Does != Reads && d.caller.Role != directory.RoleAdmin:
		return &ForbiddenError{"an auditor changes nothing; ask an administrator"}
	}
	return nil
}

// sees returns an error unless all brands of an API key or an administrator are among the
// caller's.
func (d *Desk) sees(record any) error {
	switch r := record.(type) {
	case directory.APIKey:
		if d.caller.hasAll(r.Brands, r.AllBrands) {
			return nil
		}
		return notFound("API key", r.ID)
	case directory.Administrator:
		if d.caller.hasAll(r.Brands, r.AllBrands) {
			return nil
		}
		return notFound("administrator", directory.UsernameKey(r.Username)) // as if there were none
	}
	return fmt.Errorf("manage: a %T has no brands", record)
}

// gives returns an error unless the caller may give brands to a record, which the error calls
// what: "API keys".
func (d *Desk) gives(what string, brands []string, allBrands bool) error {
	if !d.caller.AllBrands && allBrands {
		return &ForbiddenError{"only administrators and API keys of all brands make " + what +
			" for all brands; name the brands"}
	}
	for _, brand := range brands {
		if !d.caller.has(brand) {
			return notFound("brand", brand)
		}
	}
	return nil
}

// notFound returns the error for a record that does not exist, or is another brand's.
func notFound(kind, name string) error {
	return fmt.Errorf("%s %q: %w", kind, name, directory.ErrNotFound)
}

// Lists.
const (
	DefaultLimit = 100 // records in a part of a list, unless the caller says otherwise
	MaxLimit     = 500
)

// A Page asks for a part of a list.
type Page struct {
	After string // Next of the part before; "": the first part
	Limit int    // at most MaxLimit; 0: DefaultLimit
}

// limit returns the number of records in the part.
func (p Page) limit() (int, error) {
	if p.Limit < 0 || p.Limit > MaxLimit {
		return 0, &directory.FieldError{Field: "limit", Reason: fmt.Sprintf("is not a number from 1 to %d", MaxLimit)}
	}
	return cmp.Or(p.Limit, DefaultLimit), nil
}

// A List is a part of a list.
type List[T any] struct {
	Items []T
	Next  string // asks for the next part; "": there is none
}

// listed reads a part of a list. read returns up to limit records after a name.
func listed[T any](p Page, name func(*T) string, read func(after string, limit int) ([]T, error)) (List[T], error) {
	limit, err := p.limit()
	if err != nil {
		return List[T]{}, err
	}
	all, err := read(p.After, limit+1)
	if err != nil || len(all) <= limit {
		return List[T]{Items: all}, err
	}
	all = all[:limit]
	return List[T]{Items: all, Next: name(&all[limit-1])}, nil
}

// A Check is a part of the service that requests need.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// A Setting is a setting of the service.
type Setting struct {
	Name  string `json:"name"` // of the flag of ticketd serve
	Value string `json:"value"`
}
