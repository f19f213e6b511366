package api

import (
	"log/slog"
	"net/http"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// A Gate is what all listeners have in common, for handlers of other packages: the address of
// the client behind proxies, the API key with its limits, the form of refusals, and the log.
type Gate struct{ s *server }

// NewGate returns a Gate. Of the Config it needs Directory, Metrics, Limiter, Limit and Now, and
// for Decided also Audit.
func NewGate(c Config) *Gate {
	s := newServer(c)
	return &Gate{s}
}

// Guard is the outermost handler of a listener: it finds the client's address, sets the headers
// that every answer has, writes the log and turns a panic into a 500.
func (g *Gate) Guard(next http.Handler) http.Handler { return g.s.guard(next) }

// A Refusal is an answer other than success.
type Refusal = refusal

// Refuse returns the Refusal with a status. The description is for the caller, and the reason
// for the log. Data is in the answer unless it is nil.
func Refuse(status int, description, reason string, data any) *Refusal {
	return &Refusal{status: status, description: description, reason: reason, data: data}
}

// RefuseFields returns the Refusal of a request with wrong fields.
func RefuseFields(all []client.FieldError) *Refusal { return badFields(all) }

// RefuseBody returns the Refusal of a request with a wrong body.
func RefuseBody(err error) *Refusal { return badBody(err) }

// Undecided returns the Refusal for an error of the directory that is no answer.
func Undecided(err error) *Refusal { return undecided(err) }

// Operation answers requests with a good API key within its limit. The name is for the log.
func (g *Gate) Operation(
	name string, do func(http.ResponseWriter, *http.Request, directory.APIKey) *Refusal,
) http.Handler {
	return g.s.answered(name, func(w http.ResponseWriter, r *http.Request, c *call) *refusal {
		if denied := g.s.begin(w, r, c, r.Method); denied != nil {
			return denied
		}
		return do(w, r, c.key)
	})
}

// Refuse answers with a Refusal, without the log.
func (g *Gate) Refuse(w http.ResponseWriter, denied *Refusal) { g.s.refuse(w, denied) }

// Decided counts the outcome of a ticket at a page, and takes its event for the audit trail. It
// is for web.Config.Decided.
func (g *Gate) Decided(r *http.Request, t token.Ticket, err error) { g.s.countRedemption(r, t, err) }

// MayLog reports whether the refusal of a ticket at a page gets its lines in the log. It is for
// web.Config.MayLog.
func (g *Gate) MayLog(r *http.Request) bool { return g.s.mayLogRefusal(r) }

// JoiningLog returns a log for the handlers behind Guard: the first event of a request and its
// line in the access log are one.
func JoiningLog(log *slog.Logger) *slog.Logger { return slog.New(joining{log.Handler()}) }

// Actor returns who sends a request behind Guard, for the audit trail: an API key with an ID, or an
// administrator with a username.
func Actor(r *http.Request, kind directory.ActorKind, name string) directory.Actor {
	v := visitOf(r)
	return directory.Actor{Kind: kind, Name: name, Remote: v.address(), Request: v.id[0]}
}
