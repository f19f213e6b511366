package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reason is why a ticket was not accepted: a stable word, the same as in the
// service's logs and metrics.
type Reason string

// Reasons of tickets that the service never issued, or that arrived damaged.
const (
	Malformed          Reason = "malformed"           // not in the form of a ticket; send the issuer's string unchanged
	UnsupportedVersion Reason = "unsupported_version" // a format that the service does not know
	UnknownKey         Reason = "unknown_key"         // sealed with a key that the service does not have, or no longer
	UnknownIssuer      Reason = "unknown_issuer"      // signed with a key of nobody whom the service knows
	Forged             Reason = "forged"              // altered, made up, or issued in another realm
)

// Reasons of genuine tickets.
const (
	IssuerNotAllowed  Reason = "issuer_not_allowed"  // the ticket's issuer may not issue such a ticket
	NotYetValid       Reason = "not_yet_valid"       // issued in the future: compare the clocks
	Expired           Reason = "expired"             // ask for a new ticket
	LifetimeTooLong   Reason = "lifetime_too_long"   // longer than the service's maximum
	WrongBrand        Reason = "wrong_brand"         // not for a brand of the API key; nothing else is told
	WrongAudience     Reason = "wrong_audience"      // for another kind of login
	WrongChannel      Reason = "wrong_channel"       // bound to another channel
	RefusedByCaller   Reason = "refused_by_caller"   // by the service: the agent is inactive, ticket login is off, …
	AlreadyUsed       Reason = "already_used"        // the one-time ticket was redeemed before
	PossiblyUsed      Reason = "possibly_used"       // the one-time ticket may have been redeemed before
	IssuedBeforeStart Reason = "issued_before_start" // issued before the service's memory begins, or just after that
)

// Reasons why the service cannot judge a ticket now.
const (
	IssuerOverRate   Reason = "issuer_over_rate"  // tickets of the issuer come faster than the service allows
	StoreUnavailable Reason = "store_unavailable" // the replay store or the directory does not answer
	StoreFull        Reason = "store_full"        // the replay store's memory is at its bound
	ClockBehind      Reason = "clock_behind"      // the service's clock has stepped back
)

// Result is the service's verdict on a ticket.
type Result string

const (
	Acceptable Result = "acceptable"  // of Inspect: Redeem would admit the ticket
	Admitted   Result = "admitted"    // of Redeem: the ticket admits, and a one-time ticket is spent
	Refused    Result = "refused"     // the ticket does not admit, and never will under this audience and channel
	CannotTell Result = "cannot_tell" // ask again; admit nobody meanwhile
)

// Error is why a call failed. As JSON it is the data of the service's answer.
type Error struct {
	Operation   string        `json:"-"` // such as issue, inspect or redeem
	Status      int           `json:"-"` // of HTTP; 0: no answer came
	Description string        `json:"-"` // by the service, for people: what is wrong and what to do
	RequestID   string        `json:"-"` // names the request in the service's log; "" if no answer came
	RetryAfter  time.Duration `json:"-"` // how long to wait before the next attempt; 0 without a header Retry-After

	// Result is Refused with status 403 and CannotTell with status 503, or 429
	// for IssuerOverRate. Result is
	// empty if no answer came, or if the service did not look at the ticket, for
	// example because the API key is not accepted (401).
	Result    Result       `json:"result,omitempty"`
	Reason    Reason       `json:"reason,omitempty"`   // set if Result is set
	FirstUsed time.Time    `json:"firstUsed,omitzero"` // with AlreadyUsed: the time of the redemption, if known
	TicketID  string       `json:"ticketId,omitempty"` // as in logs; empty if the ticket did not open
	Fields    []FieldError `json:"errors,omitempty"`   // with status 400: the fields at fault

	// Data is all data of the answer to Call, as JSON; nil for other calls, and without data.
	Data json.RawMessage `json:"-"`

	// Cause is the error of the transport or the context if no answer came. After
	// the second request of a Redeem, Cause includes the error of the first
	// request. If the second is refused as AlreadyUsed, the first request may
	// have spent the ticket.
	Cause error `json:"-"`
}

// FieldError is a wrong field of a request.
type FieldError struct {
	Field  string `json:"field"`  // by its JSON name
	Reason string `json:"reason"` // the rest of a sentence that begins with Field
}

// Error returns the operation, the status and the description, or the cause if no
// answer came.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: no answer: %v", e.Operation, e.Cause)
	}
	description := e.Description
	if description == "" {
		description = http.StatusText(e.Status)
	}
	return fmt.Sprintf("%s: status %d: %s", e.Operation, e.Status, description)
}

// Unwrap returns Cause.
func (e *Error) Unwrap() error { return e.Cause }

// hide replaces a secret in every text of the error.
func (e *Error) hide(secret string) {
	hidden := func(text string) string { return strings.ReplaceAll(text, secret, "…") }
	e.Description, e.TicketID, e.RequestID = hidden(e.Description), hidden(e.TicketID), hidden(e.RequestID)
	e.Result, e.Reason = Result(hidden(string(e.Result))), Reason(hidden(string(e.Reason)))
	for i, f := range e.Fields {
		e.Fields[i] = FieldError{Field: hidden(f.Field), Reason: hidden(f.Reason)}
	}
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3): seconds, or
// a date.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}
