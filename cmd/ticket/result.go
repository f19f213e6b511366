package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// verdict is what a command found of a ticket.
type verdict string

const (
	good       verdict = "good"
	refused    verdict = "refused"
	unverified verdict = "unverified" // it was only looked at, without a key
	cannotTell verdict = "cannot_tell"
	failed     verdict = "failed"
)

// verdicts are all of them, the worst last. A failure is worst: it is the one
// that waiting does not mend, and it says nothing about the ticket.
var verdicts = []verdict{good, refused, unverified, cannotTell, failed}

func worse(a, b verdict) verdict {
	return verdicts[max(slices.Index(verdicts, a), slices.Index(verdicts, b))]
}

// exit returns the exit code of a verdict.
func (v verdict) exit() int {
	switch v {
	case good:
		return exitGood
	case refused:
		return exitRefused
	case unverified, cannotTell:
		return exitCannotTell
	}
	return exitFailed
}

// outcome is what every result begins with.
type outcome struct {
	Number      int           `json:"number"` // of the ticket among those given, from 1
	Verdict     verdict       `json:"verdict"`
	Reason      verify.Reason `json:"reason,omitempty"`
	Explanation string        `json:"explanation,omitempty"` // for people; never holds the ticket
}

// report prints a result: the object, which contains the outcome, or a line of
// the outcome and the details.
func (a *app) report(o outcome, object any, details pairs) error {
	a.worst = worse(a.worst, o.Verdict)
	var err error
	if a.json {
		err = a.print(object)
	} else {
		if o.Reason != "" {
			details = append(pairs{{"reason", string(o.Reason)}}, details...)
		}
		_, err = fmt.Fprintf(a.stdout, "%d %s%s\n", o.Number, o.Verdict, details)
	}
	if o.Explanation != "" {
		fmt.Fprintf(a.stderr, "ticket: %d: %s\n", o.Number, o.Explanation)
	}
	return err
}

// contents is what a ticket says, in JSON: the names are those of the ticket API.
type contents struct {
	ID               token.ID          `json:"id"`
	KeyID            keyring.KeyID     `json:"keyId"`
	Audience         string            `json:"audience"`
	OneTimeUse       bool              `json:"oneTimeUse"`
	OverrideUserInfo bool              `json:"overrideUserInfo"`
	IssuedAt         time.Time         `json:"issuedAt"`
	Expires          time.Time         `json:"expires"`
	Brand            string            `json:"brand"`
	Username         string            `json:"username,omitempty"`
	Email            string            `json:"email,omitempty"`
	UniqueID         string            `json:"uniqueId,omitempty"`
	FirstName        string            `json:"firstName,omitempty"`
	LastName         string            `json:"lastName,omitempty"`
	Phone1           string            `json:"phone1,omitempty"`
	Remark           string            `json:"remark,omitempty"`
	Channel          string            `json:"channel,omitempty"`
	Actor            string            `json:"actor,omitempty"`
	Claims           map[string]string `json:"claims,omitempty"`
}

func contentsOf(t *token.Ticket) *contents {
	return &contents{
		ID: t.ID, KeyID: keyring.KeyID(t.KeyID), Audience: t.Audience.String(),
		OneTimeUse: t.OneTime, OverrideUserInfo: t.OverrideUserInfo, IssuedAt: t.IssuedAt, Expires: t.Expires(),
		Brand: t.Brand, Username: t.Username, Email: t.Email, UniqueID: t.UniqueID,
		FirstName: t.FirstName, LastName: t.LastName, Phone1: t.Phone1, Remark: t.Remark,
		Channel: t.Channel, Actor: t.Actor, Claims: t.Claims,
	}
}

// pairs returns the same for a line of text, without what the ticket has not.
func (c *contents) pairs() pairs {
	p := pairs{
		{"id", c.ID.String()}, {"keyId", c.KeyID.String()}, {"audience", c.Audience},
		{"oneTimeUse", strconv.FormatBool(c.OneTimeUse)}, {"overrideUserInfo", strconv.FormatBool(c.OverrideUserInfo)},
		{"issuedAt", c.IssuedAt.Format(time.RFC3339Nano)}, {"expires", c.Expires.Format(time.RFC3339Nano)},
	}
	for _, text := range (pairs{
		{"brand", c.Brand}, {"username", c.Username}, {"email", c.Email}, {"uniqueId", c.UniqueID},
		{"firstName", c.FirstName}, {"lastName", c.LastName}, {"phone1", c.Phone1}, {"remark", c.Remark},
		{"channel", c.Channel}, {"actor", c.Actor},
	}) {
		if text.value != "" {
			p = append(p, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		p = append(p, pair{"claims." + name, c.Claims[name]})
	}
	return p
}

type pair struct{ name, value string }

// pairs is the part of a result line after the verdict.
type pairs []pair

// String returns " name=value" for each. A value that is not plain is quoted as
// in Go, so that no ticket can write to the terminal or add to the line.
func (p pairs) String() string {
	var b strings.Builder
	for _, pair := range p {
		value := pair.value
		if q := strconv.Quote(value); q != `"`+value+`"` || value == "" || strings.ContainsAny(value, " =") {
			value = q
		}
		b.WriteString(" " + pair.name + "=" + value)
	}
	return b.String()
}
