package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
)

const maxBody = 64 << 10

// Requests without a good API key are counted by the client's address. Beyond the
// limit they are answered 429 and leave no line each in the audit trail; those
// with a good key pass all the same, since one wrong client behind an address must
// not lock the others out.
var failureLimit = ratelimit.Limit{Rate: 1, Burst: 60}

// failureClients is how many addresses are remembered at least: a few megabytes.
const failureClients = 10_000

// call is a request that is authenticated and within its key's limit.
type call struct {
	key  directory.APIKey
	body []byte
}

// operation answers one of the paths under /auth/ for API keys with a scope.
func (s *server) operation(name string, scope directory.Scope, do func(http.ResponseWriter, *http.Request, call) *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c call
		no := s.begin(w, r, scope, &c)
		if no == nil {
			no = do(w, r, c)
		}
		if no == nil {
			return
		}
		if no.reason != "" {
			level := s.Log.Info
			if no.status == http.StatusInternalServerError {
				level = s.Log.Error
			}
			level("request refused", "operation", name, "status", no.status, "reason", no.reason, "api_key", c.key.ID, "remote", remote(r))
		}
		s.refuse(w, no)
	}
}

// begin checks the method and the API key before anything is read of the body,
// and then reads that.
func (s *server) begin(w http.ResponseWriter, r *http.Request, scope directory.Scope, c *call) (no *refusal) {
	if r.Method != http.MethodPost {
		return &refusal{status: http.StatusNotImplemented, description: "Not implemented: use POST", reason: "method"}
	}
	if c.key, no = s.authenticate(r); no != nil {
		if no.status == http.StatusUnauthorized {
			return s.countFailure(w, r, no)
		}
		return no
	}
	if no := s.countCall(w, r, c.key); no != nil {
		return no
	}
	if !slices.Contains(c.key.Scopes, scope) {
		return unauthorized(fmt.Sprintf("the API key may not do this; use one with the scope %s", scope), "API key without scope "+string(scope))
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return badBody(errors.New("the body is compressed; send it as it is, without Content-Encoding"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return badBody(errors.New("the body is over 64 KiB; send less"))
	case err != nil:
		return badBody(errors.New("the body could not be read to its end"))
	}
	c.body = body
	return nil
}

// authenticate returns the API key of a request. Of one that is not accepted it
// returns the ID only, for the log.
func (s *server) authenticate(r *http.Request) (directory.APIKey, *refusal) {
	var none directory.APIKey
	sent := r.Header.Values("Authorization")
	if len(sent) > 1 { // whatever stands in front may go by another one
		return none, unauthorized("there is more than one header Authorization; send one", "several headers Authorization")
	}
	scheme, bearer, _ := strings.Cut(strings.Join(sent, ""), " ")
	if bearer = strings.TrimSpace(bearer); !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return none, unauthorized("send an API key in the header Authorization: Bearer <API key>", "no API key")
	}
	key, err := s.Directory.Authenticate(r.Context(), bearer, s.Now())
	var auth *directory.AuthError
	switch {
	case errors.As(err, &auth):
		return directory.APIKey{ID: auth.KeyID}, unauthorized("the API key is not accepted; check that it is complete, current and of this service", "API key "+string(auth.Reason))
	case err != nil:
		return none, internal(err)
	}
	return key, nil
}

// countCall counts a request of an API key, and says in its answer what is left.
func (s *server) countCall(w http.ResponseWriter, r *http.Request, key directory.APIKey) *refusal {
	limit := s.Limit
	if key.Rate > 0 {
		limit = ratelimit.Limit{Rate: key.Rate, Burst: key.Burst}
	}
	a := s.Limiter.Take(r.Context(), key.ID, limit)
	showLimit(w, "key", limit, a)
	if a.OK {
		return nil
	}
	return &refusal{
		status: http.StatusTooManyRequests, reason: "rate limit of the API key", retry: a.Retry,
		description: fmt.Sprintf("Too many requests: the API key may make %v a second, and %d at once; try again in %s s", limit.Rate, limit.Burst, seconds(a.Retry)),
	}
}

// countFailure counts a request without a good API key.
func (s *server) countFailure(w http.ResponseWriter, r *http.Request, no *refusal) *refusal {
	a := s.failures.Take(r.Context(), caller(clientOf(r)), failureLimit)
	if a.OK {
		return no
	}
	showLimit(w, "address", failureLimit, a)
	return &refusal{
		status: http.StatusTooManyRequests, retry: a.Retry,
		description: "Too many requests without a good API key from your address; send one in the header Authorization: Bearer <API key>",
	}
}

// showLimit sets the fields of draft-ietf-httpapi-ratelimit-headers-10: the quota
// of a policy (q) and its window in seconds (w), what remains of it (r), and in how
// many seconds all of it is there again (t).
func showLimit(w http.ResponseWriter, policy string, l ratelimit.Limit, a ratelimit.Answer) {
	w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%s`, policy, l.Burst, seconds(l.Window())))
	w.Header().Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%s`, policy, a.Remaining, seconds(a.Reset)))
}
