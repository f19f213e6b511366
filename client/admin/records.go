package admin

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Duration is a time.Duration that is a number of seconds in JSON. 0 is null there, and means
// the value that the service has by default.
type Duration time.Duration

// MarshalJSON writes seconds, or null.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(time.Duration(d).Seconds())
}

// UnmarshalJSON reads seconds, or null.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var seconds float64
	err := json.Unmarshal(text, &seconds)
	*d = Duration(time.Duration(seconds * float64(time.Second)).Round(time.Microsecond))
	return err
}

// Settings are the settings that a brand has for itself and its channels, and that a channel may
// override. An empty field of a channel means the brand's setting; of a brand, the default.
type Settings struct {
	TicketLogin      *bool    `json:"ticketLogin"`             // whether tickets are issued and redeemed; default true
	OneTime          *bool    `json:"oneTime"`                 // whether a ticket works once if the request does not say
	CustomerLifetime Duration `json:"customerLifetimeSeconds"` // of a customer's ticket if the request does not say
	MaxLifetime      Duration `json:"maxLifetimeSeconds"`      // longest that a request may ask for
	APIAddresses     []string `json:"apiAddresses"`            // addresses and networks of callers of the API; empty: all
	Confirm          *bool    `json:"confirm"`                 // whether a person is asked before a ticket is spent
	OtherUser        string   `json:"otherUser"`               // replace, confirm or refuse; default replace

	DisplayName    string   `json:"displayName"`    // name on pages
	Colour         string   `json:"colour"`         // of pages, #rrggbb
	Language       string   `json:"language"`       // of pages, a BCP 47 tag
	FrameAncestors []string `json:"frameAncestors"` // sites that may show the pages in a frame

	CustomerSignInURL string   `json:"customerSignInUrl"` // own sign-in page for customers, with {return}
	CustomerHome      string   `json:"customerHome"`      // where customers go after the entry
	ReturnOrigins     []string `json:"returnOrigins"`     // other sites to which people may be sent after the entry
}

// Brand is a business account.
type Brand struct {
	Name                string   `json:"name"`
	Region              string   `json:"region"`               // of phone numbers without a country code, such as GB
	RequiredAgentFields []string `json:"requiredAgentFields"`  // which a request for an agent's ticket must give
	AgentLifetime       Duration `json:"agentLifetimeSeconds"` // of an agent's ticket if the request does not say
	LoginAddresses      []string `json:"loginAddresses"`       // addresses and networks of agents who log in; empty: all
	AgentSignInURL      string   `json:"agentSignInUrl"`       // own sign-in page for agents, with {return}

	SessionsSince time.Time `json:"sessionsSince"` // sessions that began earlier are over; set by EndBrandSessions
	Revision      int64     `json:"revision"`      // set by the service

	Settings
}

var brandKind = kind{"brand", []string{"name"}, []string{"sessionsSince", "revision"}}

// Brands lists the brands of the API key, in the order of their names.
func (c *Client) Brands(ctx context.Context) iter.Seq2[Brand, error] {
	return list[Brand](ctx, c, "list brands", nil, "brands")
}

// Brand returns a brand.
func (c *Client) Brand(ctx context.Context, name string) (Brand, error) {
	return read[Brand](ctx, c, "show brand", nil, "brands", name)
}

// AddBrand adds a brand, and returns the record. The API key must be for all brands.
func (c *Client) AddBrand(ctx context.Context, b Brand) (Brand, error) {
	return add[Brand](ctx, c, "add brand", members(b, brandKind.never), "brands")
}

// ChangeBrand changes a brand, and returns the record; see "Changes" above.
func (c *Client) ChangeBrand(ctx context.Context, b Brand) (Brand, error) {
	return change(ctx, c, brandKind, b, b.Revision, "brands", b.Name)
}

// RemoveBrand removes a brand, and with withAll also its agents, channels, customers and API
// keys. Without withAll, a brand that has some stays; see [InUse].
func (c *Client) RemoveBrand(ctx context.Context, name string, withAll bool) error {
	return remove(ctx, c, brandKind, url.Values{"with-all": {strconv.FormatBool(withAll)}}, "brands", name)
}

// EndBrandSessions signs out everybody who entered the brand before now.
func (c *Client) EndBrandSessions(ctx context.Context, name string) (Brand, error) {
	return write[Brand](ctx, c, "end sessions of brand", http.MethodPost, nil, c.revision, "brands", name, "end-sessions")
}

// Agent is a user of a brand's management system.
type Agent struct {
	Brand     string   `json:"brand"`
	Username  string   `json:"username"` // compared without regard to case
	Email     string   `json:"email"`
	Phone1    string   `json:"phone1"` // E.164; the service also takes the form of the brand's region
	UniqueID  string   `json:"uniqueId"`
	FirstName string   `json:"firstName"`
	LastName  string   `json:"lastName"`
	Groups    []string `json:"groups"`   // for applications behind the service
	Active    bool     `json:"active"`   // whether the agent may enter
	Revision  int64    `json:"revision"` // set by the service
}

var agentKind = kind{"agent", []string{"username"}, []string{"brand", "revision"}}

// Agents lists the agents of a brand, in the order of their usernames.
func (c *Client) Agents(ctx context.Context, brand string) iter.Seq2[Agent, error] {
	return list[Agent](ctx, c, "list agents", nil, "brands", brand, "agents")
}

// SearchAgents returns agents of a brand whose username, unique ID, email address, first name or
// last name begins with the text, or who have this phone number: at most limit (1 to 500). A longer
// text finds fewer.
func (c *Client) SearchAgents(ctx context.Context, brand, text string, limit int) ([]Agent, error) {
	query := url.Values{"q": {text}, "limit": {strconv.Itoa(limit)}}
	p, err := read[part[Agent]](ctx, c, "search agents", query, "brands", brand, "agents")
	return p.Items, err
}

// Agent returns an agent.
func (c *Client) Agent(ctx context.Context, brand, username string) (Agent, error) {
	return read[Agent](ctx, c, "show agent", nil, "brands", brand, "agents", username)
}

// AddAgent adds an agent to the brand in the record, and returns the record. An agent who is
// not Active may not enter.
func (c *Client) AddAgent(ctx context.Context, a Agent) (Agent, error) {
	return add[Agent](ctx, c, "add agent", members(a, agentKind.never), "brands", a.Brand, "agents")
}

// ChangeAgent changes an agent, and returns the record; see "Changes" above.
func (c *Client) ChangeAgent(ctx context.Context, a Agent) (Agent, error) {
	return change(ctx, c, agentKind, a, a.Revision, "brands", a.Brand, "agents", a.Username)
}

// RemoveAgent removes an agent for good.
func (c *Client) RemoveAgent(ctx context.Context, brand, username string) error {
	return remove(ctx, c, agentKind, nil, "brands", brand, "agents", username)
}

// EndAgentSessions signs an agent out, within 5 seconds.
func (c *Client) EndAgentSessions(ctx context.Context, brand, username string) (Agent, error) {
	return write[Agent](ctx, c, "end sessions of agent", http.MethodPost, nil, c.revision,
		"brands", brand, "agents", username, "end-sessions")
}

// Customer is a person whom the tickets of a brand name by an email address, a phone number or a
// unique ID. Each of the three is unique in the brand, and a record has at least one.
type Customer struct {
	Brand     string `json:"brand"`
	ID        int64  `json:"id"` // chosen by the service
	Email     string `json:"email"`
	Phone1    string `json:"phone1"` // E.164; the service also takes the form of the brand's region
	UniqueID  string `json:"uniqueId"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	Remark    string `json:"remark"`

	Created  time.Time `json:"created"`  // set by the service
	Updated  time.Time `json:"updated"`  // set by the service
	Revision int64     `json:"revision"` // set by the service
}

var customerKind = kind{"customer", nil, []string{"brand", "id", "created", "updated", "revision"}}

// Customers lists the customers of a brand, in the order of creation.
func (c *Client) Customers(ctx context.Context, brand string) iter.Seq2[Customer, error] {
	return list[Customer](ctx, c, "list customers", nil, "brands", brand, "customers")
}

// SearchCustomers returns customers of a brand whose unique ID, email address, first name or last
// name begins with the text, or who have this phone number: at most limit (1 to 500). A longer
// text finds fewer.
func (c *Client) SearchCustomers(ctx context.Context, brand, text string, limit int) ([]Customer, error) {
	query := url.Values{"q": {text}, "limit": {strconv.Itoa(limit)}}
	p, err := read[part[Customer]](ctx, c, "search customers", query, "brands", brand, "customers")
	return p.Items, err
}

// FindCustomers returns the customers of a brand who have the email address, phone number or
// unique ID of one: at most three.
func (c *Client) FindCustomers(ctx context.Context, brand string, one Customer) ([]Customer, error) {
	query := values("email", one.Email, "phone1", one.Phone1, "uniqueId", one.UniqueID)
	p, err := read[part[Customer]](ctx, c, "find customers", query, "brands", brand, "customers")
	return p.Items, err
}

// values returns a query of the names whose values are not empty.
func values(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

func customerID(id int64) string { return strconv.FormatInt(id, 10) }

// Customer returns a customer.
func (c *Client) Customer(ctx context.Context, brand string, id int64) (Customer, error) {
	return read[Customer](ctx, c, "show customer", nil, "brands", brand, "customers", customerID(id))
}

// AddCustomer adds a customer to the brand in the record, and returns the record.
func (c *Client) AddCustomer(ctx context.Context, one Customer) (Customer, error) {
	body := members(one, customerKind.never)
	return add[Customer](ctx, c, "add customer", body, "brands", one.Brand, "customers")
}

// ChangeCustomer changes a customer, and returns the record; see "Changes" above.
func (c *Client) ChangeCustomer(ctx context.Context, one Customer) (Customer, error) {
	return change(ctx, c, customerKind, one, one.Revision, "brands", one.Brand, "customers", customerID(one.ID))
}

// RemoveCustomer removes a customer. The next ticket for the person makes a new record.
func (c *Client) RemoveCustomer(ctx context.Context, brand string, id int64) error {
	return remove(ctx, c, customerKind, nil, "brands", brand, "customers", customerID(id))
}

// EndCustomerSessions signs a customer out, within 5 seconds.
func (c *Client) EndCustomerSessions(ctx context.Context, brand string, id int64) (Customer, error) {
	return write[Customer](ctx, c, "end sessions of customer", http.MethodPost, nil, c.revision,
		"brands", brand, "customers", customerID(id), "end-sessions")
}

// Channel is a place of a brand where its customers enter.
type Channel struct {
	Brand    string `json:"brand"`
	ID       string `json:"id"`
	Name     string `json:"name"`     // for operators
	URL      string `json:"url"`      // of the channel's page, to which ?ta=TICKET is appended; set by the service
	Revision int64  `json:"revision"` // set by the service

	Settings
}

var channelKind = kind{"channel", []string{"id"}, []string{"brand", "url", "revision"}}

// Channels lists the channels of a brand, in the order of their IDs.
func (c *Client) Channels(ctx context.Context, brand string) iter.Seq2[Channel, error] {
	return list[Channel](ctx, c, "list channels", nil, "brands", brand, "channels")
}

// Channel returns a channel.
func (c *Client) Channel(ctx context.Context, brand, id string) (Channel, error) {
	return read[Channel](ctx, c, "show channel", nil, "brands", brand, "channels", id)
}

// AddChannel adds a channel to the brand in the record, and returns the record.
func (c *Client) AddChannel(ctx context.Context, one Channel) (Channel, error) {
	body := members(one, channelKind.never)
	return add[Channel](ctx, c, "add channel", body, "brands", one.Brand, "channels")
}

// ChangeChannel changes a channel, and returns the record; see "Changes" above.
func (c *Client) ChangeChannel(ctx context.Context, one Channel) (Channel, error) {
	return change(ctx, c, channelKind, one, one.Revision, "brands", one.Brand, "channels", one.ID)
}

// RemoveChannel removes a channel for good.
func (c *Client) RemoveChannel(ctx context.Context, brand, id string) error {
	return remove(ctx, c, channelKind, nil, "brands", brand, "channels", id)
}
