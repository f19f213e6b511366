package token

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/admitone/admitone/internal/textrule"
)

// Audience is the kind of login for which a ticket is issued.
type Audience uint8

// The audiences of format 1. No ticket has the zero Audience.
const (
	Agent         Audience = 1 // the management login
	Customer      Audience = 2 // the chat
	Administrator Audience = 3 // the login of those who administer the deployment or its brands
)

// String returns "agent", "customer" or "administrator", and "audience(N)" for any other
// value.
func (a Audience) String() string {
	switch a {
	case Agent:
		return "agent"
	case Customer:
		return "customer"
	case Administrator:
		return "administrator"
	}
	return "audience(" + strconv.Itoa(int(a)) + ")"
}

// ID is a ticket's random identifier: the name of the ticket in logs, and the source of the
// nonce of the replay cache (see Ticket.Nonce). An ID is no secret: nobody enters with an ID.
type ID [16]byte

// String returns the ID as 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler; an ID in JSON is a string of the same
// digits.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// Default lifetimes of tickets, and the default maximum.
const (
	AgentLifetime    = 60 * time.Second
	CustomerLifetime = 5 * time.Minute
	MaxLifetime      = 15 * time.Minute

	// AdministratorLifetime is the default for administrators, and their maximum whatever
	// the maximum of an Issuer or a Verifier is.
	AdministratorLifetime = 5 * time.Minute
)

// Ticket is the content of a ticket. Text fields are UTF-8 without control characters; an
// empty field is absent.
type Ticket struct {
	ID    ID    // set by Issue
	KeyID KeyID // ID of the key that opens it; set by Issue and Open, not part of the payload

	// Issuer is the name by which the verifier knows the issuer, and SigningKey the ID of the
	// issuer's key. Both are set by opening, and never from the payload. The keyring without a
	// name leaves Issuer empty, and format 1 leaves SigningKey 0.
	Issuer     string
	SigningKey KeyID

	Audience         Audience
	OneTime          bool // may be redeemed once only; administrators: always
	OverrideUserInfo bool // customers: the login copies the ticket's data into the customer's record

	IssuedAt time.Time     // UTC, whole milliseconds; set by Issue
	Lifetime time.Duration // whole milliseconds, at least 1

	Brand     string // the business account; mandatory except for administrators; at most 64 bytes
	Username  string // agents and administrators, mandatory there; at most 255 bytes
	Email     string // at most 255 bytes
	UniqueID  string // at most 255 bytes
	FirstName string // at most 100 bytes
	LastName  string // at most 100 bytes
	Phone1    string // E.164: "+" and digits; at most 32 bytes
	Remark    string // at most 512 bytes
	Channel   string // customers: the only channel in which the ticket is good; at most 64 bytes
	Actor     string // the caller that asked for the ticket: an API key's ID; at most 64 bytes

	// Claims are the caller's own. Names match [a-z0-9_.-]{1,64}; values are
	// 1 to 512 bytes of text.
	Claims map[string]string
}

// Nonce returns what a replay store remembers of a redeemed ticket: the ID for the issuer
// without a name, and for a named issuer a hash of the name and the ID. The sealer chooses
// the ID, and logs show it; so the hash keeps each issuer from spending the tickets of the
// others.
func (t *Ticket) Nonce() ID {
	if t.Issuer == "" {
		return t.ID
	}
	b := make([]byte, 0, 128) // on the stack for every name of at most 64 bytes
	b = append(b, "admitone/nonce/2\x00"...)
	b = append(b, t.Issuer...)
	b = append(b, 0)
	sum := sha256.Sum256(append(b, t.ID[:]...))
	return ID(sum[:len(ID{})])
}

// Expires returns the end of the ticket's lifetime. The ticket is good before this moment,
// and no longer at this moment.
func (t *Ticket) Expires() time.Time { return t.IssuedAt.Add(t.Lifetime) }

// FieldError is the error for a field of a ticket. The text holds no part of the field's
// value.
type FieldError struct {
	Field  string // the field's name in JSON, such as "uniqueId"
	Reason string // the fault and the remedy, such as "is longer than 64 bytes; shorten it"
}

// Error returns the field and the reason.
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// fields are the payload's text fields, in the order of their tags 1 to 10, with their
// names in JSON and their greatest lengths in bytes. Tags 11 to 63 stay unused.
var fields = [...]struct {
	name string
	max  int
}{
	{"brand", 64},
	{"username", 255},
	{"email", 255},
	{"uniqueId", 255},
	{"firstName", 100},
	{"lastName", 100},
	{"phone1", 32},
	{"remark", 512},
	{"channel", 64},
	{"actor", 64},
}

const (
	tagClaim      = 64
	maxClaimName  = 64
	maxClaimValue = 512
)

// texts returns pointers to the text fields, in the order of their tags. The array is on the
// caller's stack; to return the array itself would copy it, and the processor would wait.
func (t *Ticket) texts() *[len(fields)]*string {
	return &[...]*string{
		&t.Brand, &t.Username, &t.Email, &t.UniqueID, &t.FirstName,
		&t.LastName, &t.Phone1, &t.Remark, &t.Channel, &t.Actor,
	}
}

// Validate checks the fields that an issuer decides: the audience, the text fields, the
// claims, and their combination. Validate ignores ID, KeyID, IssuedAt and Lifetime. The
// error is a *FieldError.
func (t *Ticket) Validate() error {
	if err := t.ValidateTexts(); err != nil {
		return err
	}
	if len(t.Claims) > 0 {
		if err := t.validateClaims(); err != nil {
			return err
		}
	}
	if err := t.validateShape(); err != nil {
		return err
	}
	return nil
}

// ValidateTexts checks the text fields one by one, for a caller who has only some of
// them yet. The error is a *FieldError.
func (t *Ticket) ValidateTexts() error {
	texts := t.texts()
	for i := range texts {
		v := texts[i]
		if *v == "" {
			continue
		}
		if reason := textrule.Fault(*v, fields[i].max); reason != "" {
			return &FieldError{fields[i].name, reason}
		}
	}
	return nil
}

func (t *Ticket) validateClaims() error {
	for name, v := range t.Claims {
		if !validName(name) {
			return &FieldError{"claims",
				"has a name that is not 1 to 64 characters of a-z, 0-9, '_', '.' and '-'; rename it"}
		}
		if v == "" {
			return &FieldError{"claims." + name, "is empty; leave it out"}
		}
		if reason := textrule.Fault(v, maxClaimValue); reason != "" {
			return &FieldError{"claims." + name, reason}
		}
	}
	return nil
}

// validateShape checks the combination of the fields, and the form of the telephone number,
// for which the rule of text fields is too wide.
func (t *Ticket) validateShape() *FieldError {
	if t.Brand == "" && t.Audience != Administrator {
		return &FieldError{"brand", "is missing; name the business account"}
	}
	if t.Phone1 != "" && !isE164(t.Phone1) {
		return &FieldError{"phone1", `is not in E.164 form; write "+", the country code and the number, ` +
			`digits only, and no 0 before the country code`}
	}
	switch t.Audience {
	case Agent:
		switch {
		case t.Username == "":
			return &FieldError{"username", "is missing; an agent's ticket names the agent"}
		case t.Channel != "":
			return &FieldError{"channel", "is for customers' tickets only; leave it out"}
		case t.OverrideUserInfo:
			return &FieldError{"overrideUserInfo", "is for customers' tickets only; leave it out"}
		}
	case Customer:
		switch {
		case t.Username != "":
			return &FieldError{"username", "is for agents' tickets only; leave it out"}
		case t.Email == "" && t.UniqueID == "" && t.Phone1 == "":
			return &FieldError{"email", "is missing, and so are uniqueId and phone1; give at least one of them"}
		}
	case Administrator:
		return t.validateAdministrator()
	default:
		return &FieldError{"audience", "is neither agent, customer nor administrator"}
	}
	return nil
}

// validateAdministrator allows a name and no details of a person: these come from the
// service's own record.
func (t *Ticket) validateAdministrator() *FieldError {
	switch {
	case t.Username == "":
		return &FieldError{"username", "is missing; an administrator's ticket names the administrator"}
	case !t.OneTime:
		return &FieldError{"oneTimeUse", "is false; an administrator's ticket works once"}
	case t.OverrideUserInfo:
		return &FieldError{"overrideUserInfo", "is for customers' tickets only; leave it out"}
	}
	texts := t.texts()
	for i := range texts {
		switch texts[i] {
		case &t.Brand, &t.Username, &t.Actor:
		default:
			if *texts[i] != "" {
				return &FieldError{fields[i].name, "is not for administrators' tickets; leave it out"}
			}
		}
	}
	return nil
}

func isE164(s string) bool {
	if len(s) < 2 || s[0] != '+' || s[1] == '0' { // no country code begins with 0
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func validName(s string) bool {
	if len(s) < 1 || len(s) > maxClaimName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// claimNames returns the names of the claims in ascending order.
func (t *Ticket) claimNames() []string {
	names := make([]string, 0, len(t.Claims))
	for name := range t.Claims {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
