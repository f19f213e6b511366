package client

import (
	"encoding/json"
	"math"
	"net/netip"
	"time"
)

// Envelope is the form of every answer of the API. The names are those of the API
// for which backends were written.
type Envelope struct {
	Status       any    `json:"status"` // the HTTP status, as text or as a number
	Description  string `json:"description"`
	ResponseTime string `json:"response_time"`        // UTC, at most 7 fractional digits
	RequestID    string `json:"request_id,omitempty"` // of a refusal: the request's ID in the service's log
	Data         any    `json:"data,omitempty"`
}

// IssueRequest says for whom a ticket is. Brand is mandatory.
//
// With a Username the ticket is an agent's: the agent must exist in the brand, and
// every detail that is given must match the agent's record. Without a Username the
// ticket is a customer's: give at least one of UniqueID, Email and Phone1.
type IssueRequest struct {
	Brand     string `json:"brand"` // the business account
	Username  string `json:"username,omitempty"`
	Email     string `json:"email,omitempty"`
	UniqueID  string `json:"uniqueId,omitempty"` // the person's ID in the backend's own system
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`
	Phone1    string `json:"phone1,omitempty"` // E.164, such as +442501234567, or as the brand's region writes numbers
	Remark    string `json:"remark,omitempty"`
	Channel   string `json:"channel,omitempty"` // customers: the only channel that the ticket opens, by its internal ID

	// OverrideUserInfo updates the customer's record with the ticket's data at
	// the login.
	OverrideUserInfo bool `json:"overrideUserInfo,omitempty"`

	// OneTimeUse says whether the ticket works once. Nil means the setting of the
	// channel or brand.
	OneTimeUse *bool `json:"oneTimeUse,omitempty"`

	// ExpiresIn is the ticket's lifetime. It is sent in whole seconds, rounded
	// up. 0 means the setting of the channel or brand: 60 seconds for agents and
	// 5 minutes for customers unless an administrator changed it.
	ExpiresIn time.Duration `json:"-"`
}

// MarshalJSON writes the request as the service expects it, with expiresIn in
// seconds.
func (r IssueRequest) MarshalJSON() ([]byte, error) {
	type fields IssueRequest // without this method
	return json.Marshal(struct {
		fields
		ExpiresIn int64 `json:"expiresIn,omitempty"`
	}{fields(r), int64(math.Ceil(r.ExpiresIn.Seconds()))})
}

// Issued is what Issue returns.
type Issued struct {
	// Ticket can be appended to a URL as it is, behind "?ta=". Whoever has the
	// ticket is let in: keep it out of logs.
	Ticket string `json:"encpryptedString"` // spelt so
}

// Audience is the kind of login that a ticket is for.
type Audience string

const (
	Agent    Audience = "agent"    // the management login, /login
	Customer Audience = "customer" // a chat, /chat/CODE
)

// RedeemRequest names a ticket and the login that is being entered. Ticket and
// Audience are mandatory.
type RedeemRequest struct {
	Ticket   string   `json:"ticket"`   // the value of ta in the URL
	Audience Audience `json:"audience"` // of the login, not of the ticket

	// Channel and ChannelCode name the channel that a customer enters: by its
	// internal ID, or by the code in the chat URL. Give at most one of the two.
	// Without either, only tickets that are bound to no channel are good.
	Channel     string `json:"channel,omitempty"`
	ChannelCode string `json:"channelCode,omitempty"`

	// Address is the person's IP address. If the brand allows logins from certain
	// addresses only, the service refuses agents without an Address.
	Address netip.Addr `json:"address,omitzero"`

	// Binding has 16 to 1024 bytes that nobody can guess. A request with the same
	// Ticket and Binding gets the same answer for Grace. Empty means a random
	// value, made by Redeem. Set Binding, for example to a cookie of the browser,
	// if the browser may send its request twice.
	Binding string `json:"binding,omitempty"`
}

// Redemption says who is admitted.
type Redemption struct {
	Result   Result          `json:"result"` // Admitted
	Ticket   *Ticket         `json:"ticket"`
	Agent    *AgentRecord    `json:"agent,omitempty"`    // the record at this moment; nil for a customer's ticket
	Customer *CustomerRecord `json:"customer,omitempty"` // the record after the redemption; nil for an agent's ticket
	Channel  string          `json:"channel,omitempty"`  // the internal ID of the channel that was entered
}

// Inspection says what a ticket is and whether Redeem would admit the ticket now.
type Inspection struct {
	Description string    `json:"-"`                  // by the service, for people
	Result      Result    `json:"result"`             // Acceptable or Refused
	Reason      Reason    `json:"reason,omitempty"`   // why the ticket is refused
	FirstUsed   time.Time `json:"firstUsed,omitzero"` // with AlreadyUsed: the time of the redemption, if known
	Ticket      *Ticket   `json:"ticket,omitempty"`   // nil if the ticket does not open or is not for the API key's brands
}

// RevokeRequest names the ticket to revoke: by Brand, TicketID and Issuer, or by Ticket alone.
type RevokeRequest struct {
	Brand    string `json:"brand,omitempty"`    // the ticket's business account
	TicketID string `json:"ticketId,omitempty"` // 32 hexadecimal digits, as in logs and in Ticket.ID
	Issuer   string `json:"issuer,omitempty"`   // the ticket's issuer, as in Ticket.Issuer; empty for the service's own tickets
	Ticket   string `json:"ticket,omitempty"`   // the value of ta in the URL; an expired ticket is taken too
}

// Revoked is what Revoke returns.
type Revoked struct {
	TicketID string `json:"ticketId"`         // 32 hexadecimal digits
	Issuer   string `json:"issuer,omitempty"` // the ticket's issuer; empty for the service's own tickets
}

// Ticket is what a ticket says. Fields that the ticket does not have are empty.
type Ticket struct {
	ID               string            `json:"id"`                   // 32 hexadecimal digits, as in logs
	KeyID            string            `json:"keyId"`                // of the key that sealed the ticket: 8 hexadecimal digits
	Issuer           string            `json:"issuer,omitempty"`     // the name of the issuer; empty for the service's own tickets
	SigningKey       string            `json:"signingKey,omitempty"` // of the issuer, in format 2: 8 hexadecimal digits
	Audience         Audience          `json:"audience"`
	OneTimeUse       bool              `json:"oneTimeUse"`
	OverrideUserInfo bool              `json:"overrideUserInfo,omitempty"`
	IssuedAt         time.Time         `json:"issuedAt"`
	ExpiresAt        time.Time         `json:"expiresAt"` // the ticket is good before this moment
	Brand            string            `json:"brand"`
	Username         string            `json:"username,omitempty"`
	Email            string            `json:"email,omitempty"`
	UniqueID         string            `json:"uniqueId,omitempty"`
	FirstName        string            `json:"firstName,omitempty"`
	LastName         string            `json:"lastName,omitempty"`
	Phone1           string            `json:"phone1,omitempty"` // E.164, with the leading +
	Remark           string            `json:"remark,omitempty"`
	Channel          string            `json:"channel,omitempty"` // the only channel that the ticket opens
	Actor            string            `json:"actor,omitempty"`   // the ID of the API key that asked for the ticket
	Claims           map[string]string `json:"claims,omitempty"`
}

// AgentRecord is an agent's record in the service's directory.
type AgentRecord struct {
	Username  string   `json:"username"`
	Email     string   `json:"email,omitempty"`
	Phone1    string   `json:"phone1,omitempty"` // E.164
	UniqueID  string   `json:"uniqueId,omitempty"`
	FirstName string   `json:"firstName,omitempty"`
	LastName  string   `json:"lastName,omitempty"`
	Groups    []string `json:"groups,omitempty"`
}

// CustomerRecord is a customer's record in the service's directory.
type CustomerRecord struct {
	ID        string `json:"id"` // within the brand; stays the same
	Email     string `json:"email,omitempty"`
	Phone1    string `json:"phone1,omitempty"` // E.164
	UniqueID  string `json:"uniqueId,omitempty"`
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`
	Remark    string `json:"remark,omitempty"`
}
