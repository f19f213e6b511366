package admin

import (
	"context"
	"iter"
	"net/http"
)

// Role is what an administrator may do.
type Role string

// The roles.
const (
	Administers Role = "admin"   // reads and changes
	Audits      Role = "auditor" // reads
)

// Administrator administers brands, or the whole deployment, in the console.
type Administrator struct {
	Username  string   `json:"username"` // compared without regard to case
	Name      string   `json:"name"`     // for people
	Email     string   `json:"email"`
	Role      Role     `json:"role"`
	Brands    []string `json:"brands"`    // in which the role holds
	AllBrands bool     `json:"allBrands"` // the role holds in the whole deployment
	Active    bool     `json:"active"`    // whether the administrator may enter
	Revision  int64    `json:"revision"`  // set by the service
}

var administratorKind = kind{"administrator", []string{"username"}, []string{"revision"}}

// Administrators lists the administrators whose brands are all among the API key's, in the order
// of their usernames.
func (c *Client) Administrators(ctx context.Context) iter.Seq2[Administrator, error] {
	return list[Administrator](ctx, c, "list administrators", nil, "administrators")
}

// Administrator returns an administrator.
func (c *Client) Administrator(ctx context.Context, username string) (Administrator, error) {
	return read[Administrator](ctx, c, "show administrator", nil, "administrators", username)
}

// AddAdministrator adds an administrator, and returns the record. An administrator who is not
// Active may not enter; see [Client.Link] for the way in.
func (c *Client) AddAdministrator(ctx context.Context, a Administrator) (Administrator, error) {
	return add[Administrator](ctx, c, "add administrator", members(a, administratorKind.never), "administrators")
}

// ChangeAdministrator changes an administrator, and returns the record; see "Changes" above. A
// change that leaves no active admin of the whole deployment has status 409.
func (c *Client) ChangeAdministrator(ctx context.Context, a Administrator) (Administrator, error) {
	return change(ctx, c, administratorKind, a, a.Revision, "administrators", a.Username)
}

// RemoveAdministrator removes an administrator for good. The last active admin of the whole
// deployment stays, with status 409.
func (c *Client) RemoveAdministrator(ctx context.Context, username string) error {
	return remove(ctx, c, administratorKind, nil, "administrators", username)
}

// EndAdministratorSessions ends the sessions of an administrator, and the links that are not used
// yet.
func (c *Client) EndAdministratorSessions(ctx context.Context, username string) (Administrator, error) {
	return write[Administrator](ctx, c, "end sessions of administrator", http.MethodPost, nil, c.revision,
		"administrators", username, "end-sessions")
}
