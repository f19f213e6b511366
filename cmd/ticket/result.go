package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticket/internal/load"
	"github.com/admitone/admitone/verify"
)

// verdict is the judgement of a command on a ticket.
type verdict string

const (
	good       verdict = "good"
	refused    verdict = "refused"
	unverified verdict = "unverified" // read without a key
	cannotTell verdict = "cannot_tell"
	failed     verdict = "failed"

	rateNotKept = verdict(load.RateNotKept) // of bench
)

// verdicts lists every verdict, the worst last. failed is the worst: waiting does not
// mend a failure, and a failure says nothing about the ticket.
var verdicts = []verdict{good, rateNotKept, refused, unverified, cannotTell, failed}

func worse(a, b verdict) verdict {
	return verdicts[max(slices.Index(verdicts, a), slices.Index(verdicts, b))]
}

// exit returns the exit code of a verdict.
func (v verdict) exit() int {
	switch v {
	case good:
		return exitGood
	case rateNotKept:
		return exitRate
	case refused:
		return exitRefused
	case unverified, cannotTell:
		return exitCannotTell
	}
	return exitFailed
}

// outcome is the beginning of every result.
type outcome struct {
	Number      int           `json:"number"` // position of the ticket on the command line and standard input, from 1
	Verdict     verdict       `json:"verdict"`
	Reason      verify.Reason `json:"reason,omitempty"`
	Explanation string        `json:"explanation,omitempty"` // for people; never holds the ticket
}

// report prints a result: with --json the object, which contains the outcome, and
// otherwise a line with the outcome and the details.
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

type pair struct{ name, value string }

// pairs is the part of a result line behind the verdict.
type pairs []pair

// ticketPairs returns the fields of a ticket, without empty texts.
func ticketPairs(t *client.Ticket) pairs {
	p := pairs{
		{"id", t.ID}, {"keyId", t.KeyID}, {"audience", string(t.Audience)},
		{"oneTimeUse", strconv.FormatBool(t.OneTimeUse)}, {"overrideUserInfo", strconv.FormatBool(t.OverrideUserInfo)},
		{"issuedAt", t.IssuedAt.Format(time.RFC3339Nano)}, {"expiresAt", t.ExpiresAt.Format(time.RFC3339Nano)},
	}
	for _, text := range (pairs{
		{"issuer", t.Issuer}, {"signingKey", t.SigningKey},
		{"brand", t.Brand}, {"username", t.Username}, {"email", t.Email}, {"uniqueId", t.UniqueID},
		{"firstName", t.FirstName}, {"lastName", t.LastName}, {"phone1", t.Phone1}, {"remark", t.Remark},
		{"channel", t.Channel}, {"actor", t.Actor},
	}) {
		if text.value != "" {
			p = append(p, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		p = append(p, pair{"claims." + name, t.Claims[name]})
	}
	return p
}

// String returns " name=value" for each pair. A value is quoted as in Go unless it
// consists of printable characters without spaces, quotes and equals signs. So no
// ticket can write to the terminal or add pairs to the line.
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
