package adminapi

import (
	"encoding/json"
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
		Ticket: e.Ticket, Issuer: e.Issuer, Key: e.TicketKey, Reason: e.Reason, Count: e.Count, Details: details,
	}
}

// events lists events, the newest first. Without the parameter brand, they are those of every
// brand and of the deployment; with an empty one, those of the deployment.
func events(c *call) *api.Refusal {
	q, denied := c.query("limit", "after", "brand", "ticketId", "kind", "name", "action", "actorKind", "actor", "since",
		"until")
	if denied != nil {
		return denied
	}
	p, denied := page(q)
	if denied != nil {
		return denied
	}
	brand, named := q["brand"]
	f := directory.EventFilter{
		Brand: brand, AllBrands: !named, Ticket: q["ticketId"], Kind: q["kind"], Name: q["name"], Action: q["action"],
		ActorKind: directory.ActorKind(q["actorKind"]), Actor: q["actor"],
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
