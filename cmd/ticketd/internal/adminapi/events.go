package adminapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// event is an event of the audit trail as JSON.
type event struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   actor           `json:"actor"`
	Brand   string          `json:"brand"`
	Action  string          `json:"action"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name"`
	Fields  []string        `json:"fields"`
	Ticket  string          `json:"ticketId"`
	Issuer  string          `json:"issuer"`
	Key     string          `json:"keyId"`
	Signing string          `json:"signingKey"`
	Reason  string          `json:"reason"`
	Count   int             `json:"count"`
	Details json.RawMessage `json:"details"`
}

type actor struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Machine string `json:"machine"`
	Remote  string `json:"remote"`
}

// showEvent returns an event as JSON.
func showEvent(e *directory.Event) any {
	details := json.RawMessage("null")
	if e.Details != "" {
		details = json.RawMessage(e.Details)
	}
	return event{
		ID: e.ID, At: e.At, Actor: actor{string(e.Actor.Kind), e.Actor.Name, e.Actor.Machine, e.Actor.Remote},
		Brand: e.Brand, Action: e.Action, Kind: e.Kind, Name: e.Name, Fields: append([]string{}, e.Fields...),
		Ticket: e.Ticket, Issuer: e.Issuer, Key: e.TicketKey, Signing: e.SigningKey, Reason: e.Reason, Count: e.Count,
		Details: details,
	}
}

// filterParameters are the parameters of the query that choose events.
var filterParameters = []string{"brand", "ticketId", "issuer", "kind", "name", "action", "actorKind", "actor"}

// filter returns the events that a query chooses. Without the parameter brand, they are those
// of every brand and of the deployment; with an empty one, those of the deployment.
func filter(q map[string]string) (directory.EventFilter, *api.Refusal) {
	brand, named := q["brand"]
	f := directory.EventFilter{
		Brand: brand, AllBrands: !named, Issuer: q["issuer"], Kind: q["kind"], Name: q["name"],
		Action: q["action"], ActorKind: directory.ActorKind(q["actorKind"]), Actor: q["actor"],
	}
	if text := q["ticketId"]; text != "" {
		id, err := directory.ParseTicketID(text)
		if err != nil {
			return f, failed(err)
		}
		f.Ticket = id.String()
	}
	return f, nil
}

// events lists events, the newest first.
func events(c *call) *api.Refusal {
	q, denied := c.query(append([]string{"limit", "after", "since", "until"}, filterParameters...)...)
	if denied != nil {
		return denied
	}
	p, denied := page(q)
	if denied != nil {
		return denied
	}
	f, denied := filter(q)
	if denied != nil {
		return denied
	}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text, ok := q[name]; ok {
			var err error
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return badHeader(name, "is not a time of RFC 3339; write it like 2030-01-31T00:00:00Z")
			}
		}
	}
	l, err := c.desk.Events(c.r.Context(), f, p)
	if err != nil {
		return failed(err)
	}
	return replyList(c, l, showEvent)
}

// newEvents lists events in the order in which they were written.
func newEvents(c *call) *api.Refusal {
	q, denied := c.query(append([]string{"limit", "last"}, filterParameters...)...)
	if denied != nil {
		return denied
	}
	p, denied := page(q)
	if denied != nil {
		return denied
	}
	after := int64(-1)
	if text, ok := q["last"]; ok {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return badHeader("last", "is not the ID of an event; send the number last as it was given")
		}
	}
	f, denied := filter(q)
	if denied != nil {
		return denied
	}
	all, last, err := c.desk.NewEvents(c.r.Context(), f, after, p.Limit)
	if err != nil {
		return failed(err)
	}
	items := make([]any, len(all))
	for i := range all {
		items[i] = showEvent(&all[i])
	}
	return c.reply(http.StatusOK, map[string]any{"items": items, "last": last})
}
