package admin

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"time"

	"github.com/admitone/admitone/client"
)

// Scope is a use of API keys.
type Scope string

// The scopes.
const (
	Issue   Scope = "issue"   // ask for tickets and revoke them
	Redeem  Scope = "redeem"  // inspect and redeem tickets
	Admin   Scope = "admin"   // administer the key's brands, or with all brands the deployment
	Console Scope = "console" // make links that let administrators of the key's brands in
)

// APIKey is the record of an API key. Without Scopes, AddAPIKey makes a key of scope Issue.
type APIKey struct {
	ID        string    `json:"id"` // the 10 characters after adm_; chosen by the service
	Scopes    []Scope   `json:"scopes,omitempty"`
	Brands    []string  `json:"brands"` // the brands of the key
	AllBrands bool      `json:"allBrands"`
	Note      string    `json:"note"`    // for people
	Rate      float64   `json:"rate"`    // requests a second in the long run; 0: as the service has it
	Burst     int       `json:"burst"`   // requests at once, with Rate
	Expires   time.Time `json:"expires"` // zero: never

	Created  time.Time `json:"created"`  // set by the service
	Revoked  time.Time `json:"revoked"`  // set by RevokeAPIKey; zero: not revoked
	LastUsed time.Time `json:"lastUsed"` // to the minute; set by the service
	Revision int64     `json:"revision"` // set by the service
}

var apiKeyKind = kind{"API key", nil, []string{"id", "created", "revoked", "lastUsed", "revision"}}

// NewAPIKey is an API key that was just made.
type NewAPIKey struct {
	APIKey

	// Key is the key for its holder. Nobody can see it again.
	Key string `json:"key"`
}

// APIKeys lists the API keys of the brands of the caller's key, in the order of their IDs. With a
// brand, the keys are those for this brand.
func (c *Client) APIKeys(ctx context.Context, brand string) iter.Seq2[APIKey, error] {
	return list[APIKey](ctx, c, "list API keys", values("brand", brand), "api-keys")
}

// APIKey returns the record of an API key.
func (c *Client) APIKey(ctx context.Context, id string) (APIKey, error) {
	return read[APIKey](ctx, c, "show API key", nil, "api-keys", id)
}

// AddAPIKey makes an API key. If the answer was lost and the key exists, the error has status
// 409; see [Repeated].
func (c *Client) AddAPIKey(ctx context.Context, k APIKey) (NewAPIKey, error) {
	return add[NewAPIKey](ctx, c, "add API key", members(k, apiKeyKind.never), "api-keys")
}

// ChangeAPIKey changes the record of an API key, and returns the record; see "Changes" above.
// Scopes stay if the record has none.
func (c *Client) ChangeAPIKey(ctx context.Context, k APIKey) (APIKey, error) {
	return change(ctx, c, apiKeyKind, k, k.Revision, "api-keys", k.ID)
}

// RevokeAPIKey ends an API key's use for good.
func (c *Client) RevokeAPIKey(ctx context.Context, id string) (APIKey, error) {
	return write[APIKey](ctx, c, "revoke API key", http.MethodPost, nil, c.revision, "api-keys", id, "revoke")
}

// ReplaceAPIKey makes an API key like another one, which stays good for the grace, at most 30
// days. Lost answers are as with AddAPIKey.
func (c *Client) ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (NewAPIKey, error) {
	body := map[string]float64{"grace": grace.Seconds()}
	return add[NewAPIKey](ctx, c, "replace API key", body, "api-keys", id, "replace")
}

// RemoveAPIKey removes the record of an API key, which is then of no use.
func (c *Client) RemoveAPIKey(ctx context.Context, id string) error {
	return remove(ctx, c, apiKeyKind, nil, "api-keys", id)
}

// Repeated returns the ID of the API key that exists although the error says that it was not
// made: its answer was lost. The key in the answer is lost for good: remove the record, or
// replace the key.
func Repeated(err error) (id string, ok bool) {
	var data struct{ ID string }
	return data.ID, dataOf(err, http.StatusConflict, &data) && data.ID != ""
}

// Contents counts the records of a brand.
type Contents struct {
	Agents    int `json:"agents"`
	Channels  int `json:"channels"`
	Customers int `json:"customers"`
	APIKeys   int `json:"apiKeys"`
}

// InUse returns the records because of which RemoveBrand removed nothing.
func InUse(err error) (has Contents, ok bool) {
	ok = dataOf(err, http.StatusConflict, &has) && has != Contents{}
	return has, ok
}

// dataOf decodes the data of an error with the status.
func dataOf(err error, status int, data any) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Status == status && len(failed.Data) > 0 &&
		json.Unmarshal(failed.Data, data) == nil
}
