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
//   - Nobody gives another caller more brands than their own.
//
// A record of another brand is not found, exactly as a record that does not exist. Changes
// are recorded as the caller's.
//
// The errors are those of package directory, and *ForbiddenError.
package manage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
)

// An Office has the parts of the service that operations need. A field is mandatory unless
// its comment says otherwise.
type Office struct {
	Directory *directory.DB
	Now       func() time.Time

	ChatURL  func(brand, channel string) (string, error) // address of a channel's page
	Keyrings func() []keyring.Report                     // of the service
	Health   []Check                                     // the parts that answer requests
	Settings []Setting                                   // of the service, without secrets
}

// A Caller is who asks, and what the caller may do.
type Caller struct {
	Actor     directory.Actor
	Role      Role
	Brands    []string // the brands of the caller
	AllBrands bool     // every brand, and the deployment itself; Brands is empty then
}

// A Role is what a caller may do in its brands.
type Role string

// The roles.
const (
	Admin   Role = "admin"   // reads and changes
	Auditor Role = "auditor" // reads
)

// KeyCaller returns the caller of an API key of scope admin, from a client's address.
func KeyCaller(k directory.APIKey, remote string) Caller {
	return Caller{
		Actor: directory.Actor{Kind: directory.ActorKey, Name: k.ID, Remote: remote},
		Role:  Admin, Brands: k.Brands, AllBrands: k.AllBrands,
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
	case o.Does != Reads && d.caller.Role != Admin:
		return &ForbiddenError{"an auditor changes nothing; ask an administrator"}
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

// A List is a part of a list.
type List[T any] struct {
	Items []T
	Next  string // asks for the next part; "": there is none
}

// listed reads a part of a list. read returns up to limit records after a name.
func listed[T any](p Page, name func(*T) string, read func(after string, limit int) ([]T, error)) (List[T], error) {
	if p.Limit < 0 || p.Limit > MaxLimit {
		return List[T]{}, &directory.FieldError{Field: "limit", Reason: fmt.Sprintf("is not a number from 1 to %d", MaxLimit)}
	}
	if p.Limit == 0 {
		p.Limit = DefaultLimit
	}
	all, err := read(p.After, p.Limit+1)
	if err != nil || len(all) <= p.Limit {
		return List[T]{Items: all}, err
	}
	all = all[:p.Limit]
	return List[T]{Items: all, Next: name(&all[p.Limit-1])}, nil
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
