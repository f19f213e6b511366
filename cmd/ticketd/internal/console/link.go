package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// recordClaim is the claim of a link's ticket with the administrator's RecordID. The ticket
// is good only as long as the record is the same.
const recordClaim = "record"

// A Link lets an administrator into the console, once.
type Link struct {
	URL     string // has the ticket: whoever has the URL is let in
	Ticket  *token.Ticket
	Expires time.Time
}

// Links makes the links to a console. All fields are mandatory.
type Links struct {
	Directory *directory.DB // with the actor to whom the audit trail ascribes the links; see directory.DB.As
	Issuer    *token.Issuer
	URL       string // origin of the console for browsers, such as https://console.example.com
}

// ErrNotActive is wrapped by the error for a link of an inactive administrator.
var ErrNotActive = errors.New("the administrator is inactive; make the record active first")

// ForShell makes a link for an administrator. The actor names the caller in the log: at most
// 64 bytes. If the administrator does not exist, the error wraps directory.ErrNotFound.
func (l Links) ForShell(ctx context.Context, username, actor string) (Link, error) {
	a, err := l.Directory.Administrator(ctx, username)
	if err != nil {
		return Link{}, err
	}
	return l.make(ctx, a, actor)
}

// ForKey makes a link for an administrator as ForShell does, for the holder of an API key
// that Authenticate accepted. The key needs the scope console, and all brands in which the
// administrator has rights: otherwise the error wraps directory.ErrNotFound, as for an
// administrator who does not exist.
func (l Links) ForKey(ctx context.Context, key directory.APIKey, username string) (Link, error) {
	a, err := l.Directory.Administrator(ctx, username)
	if err == nil && !covers(key, a) {
		err = fmt.Errorf("administrator %q: %w", username, directory.ErrNotFound)
	}
	if err != nil {
		return Link{}, err
	}
	return l.make(ctx, a, key.ID)
}

// covers reports whether a key may let an administrator in: nobody can give more than they
// have.
func covers(key directory.APIKey, a directory.Administrator) bool {
	if !slices.Contains(key.Scopes, directory.ScopeConsole) {
		return false
	}
	if key.AllBrands {
		return true
	}
	foreign := func(brand string) bool { return !slices.Contains(key.Brands, brand) }
	return !a.AllBrands && len(a.Brands) > 0 && !slices.ContainsFunc(a.Brands, foreign)
}

// make makes a link. No link is given out whose event is not in the audit trail.
func (l Links) make(ctx context.Context, a directory.Administrator, actor string) (Link, error) {
	if !a.Active {
		return Link{}, fmt.Errorf("administrator %q: %w", a.Username, ErrNotActive)
	}
	t := &token.Ticket{
		Audience: token.Administrator, OneTime: true, Username: a.Username, Actor: actor,
		Claims: map[string]string{recordClaim: a.RecordID},
	}
	text, err := l.Issuer.Issue(t)
	if err != nil {
		return Link{}, err
	}
	if err := l.Directory.RecordLink(ctx, t); err != nil {
		return Link{}, err
	}
	url, err := token.LoginURL(l.URL+EnterPath, text)
	return Link{URL: url, Ticket: t, Expires: t.Expires()}, err
}
