package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/verify"
)

const maxBody = 64 << 10

// failureLimit is the limit of requests without a good API key, counted by the client's
// address. Beyond the limit, the answer is 429. Requests
// with a good key pass all the same, since one misconfigured client must not lock out
// others behind the same address.
var failureLimit = ratelimit.Limit{Rate: 1, Burst: 60}

// failureClients is how many addresses are remembered at least. They take a few megabytes.
const failureClients = 10_000

// call is an authenticated request within its key's limit.
type call struct {
	key  directory.APIKey
	body []byte
}

// operation answers a path under /auth/ for API keys with a scope.
func (s *server) operation(
	name string, scope directory.Scope, do func(http.ResponseWriter, *http.Request, call) *refusal,
) http.HandlerFunc {
	return s.answered(name, func(w http.ResponseWriter, r *http.Request, c *call) *refusal {
		if denied := s.begin(w, r, c, http.MethodPost); denied != nil {
			return denied
		}
		if !slices.Contains(c.key.Scopes, scope) {
			return unauthorized(fmt.Sprintf("the API key may not do this; use one with the scope %s", scope),
				"API key without scope "+string(scope))
		}
		if denied := c.read(w, r); denied != nil {
			return denied
		}
		return do(w, r, *c)
	})
}

// answered logs and answers the refusals of an operation.
func (s *server) answered(
	name string, do func(http.ResponseWriter, *http.Request, *call) *refusal,
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c call
		denied := do(w, r, &c)
		if denied == nil {
			return
		}
		s.recordDenied(r, denied)
		if denied.reason != "" && s.mayLogDenied(r, &c, denied) {
			level := slog.LevelInfo
			if denied.status == http.StatusInternalServerError || denied.status == http.StatusServiceUnavailable {
				level = slog.LevelError
			}
			s.Log.LogAttrs(r.Context(), level, "request refused", slog.String("operation", name),
				slog.String("reason", denied.reason), slog.String("api_key", c.key.ID), slog.String("remote", remote(r)))
		}
		if denied.undecided {
			s.cannotTell(w, &verify.Error{Reason: verify.StoreUnavailable})
			return
		}
		s.refuse(w, denied)
	}
}

// mayLogDenied reports whether a refused request gets its lines in the log. Anybody can send
// requests without a good API key, and a good key any number of requests over its limit.
func (s *server) mayLogDenied(r *http.Request, c *call, denied *refusal) bool {
	switch denied.status {
	case http.StatusUnauthorized, http.StatusNotImplemented:
		return s.floods.mayLog(r, callRefused, caller(clientOf(r)))
	case http.StatusTooManyRequests:
		if denied.reason == rateReason {
			return s.floods.mayLog(r, rateRefused, c.key.ID)
		}
		return s.floods.mayLog(r, callRefused, caller(clientOf(r)))
	}
	return true
}

// begin checks the method and the API key.
func (s *server) begin(w http.ResponseWriter, r *http.Request, c *call, methods ...string) (denied *refusal) {
	if !slices.Contains(methods, r.Method) {
		return &refusal{
			status: http.StatusNotImplemented, description: "Not implemented: use " + methods[0], reason: "method",
			allow: strings.Join(methods, ", "),
		}
	}
	if c.key, denied = s.authenticate(r); denied != nil {
		if denied.status == http.StatusUnauthorized {
			return s.countFailure(w, r, denied)
		}
		return denied
	}
	visitOf(r).key = c.key.ID
	return s.countCall(w, r, c.key)
}

// read reads the body of a request.
func (c *call) read(w http.ResponseWriter, r *http.Request) *refusal {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return badBody(errors.New("the body is compressed; send it as it is, without Content-Encoding"))
	}
	body, err := readAll(w, r)
	if err == nil {
		c.body, err = formData(r.Header.Get("Content-Type"), body)
	}
	if err != nil {
		return badBody(err)
	}
	return nil
}

func readAll(w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	if r.ContentLength >= 0 && r.ContentLength <= maxBody {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errors.New("the body is over 64 KiB; send less")
	}
	if err != nil {
		return nil, errors.New("the body could not be read to its end")
	}
	return body, nil
}

// systemStatus answers GET /core/systemstatus, by which older clients try their API key.
func (s *server) systemStatus(w http.ResponseWriter, r *http.Request, c *call) *refusal {
	if denied := s.begin(w, r, c, http.MethodGet, http.MethodHead); denied != nil {
		return denied
	}
	s.reply(w, http.StatusOK, "System is operational", nil)
	return nil
}

// authenticate returns the API key of a request. For a refused key it returns only the ID,
// for the log.
func (s *server) authenticate(r *http.Request) (directory.APIKey, *refusal) {
	var none directory.APIKey
	sent := r.Header.Values("Authorization")
	if len(sent) > 1 { // a proxy in front may have read another of them
		return none, unauthorized("there is more than one header Authorization; send one", "several headers Authorization")
	}
	scheme, bearer, _ := strings.Cut(strings.Join(sent, ""), " ")
	if bearer = strings.TrimSpace(bearer); !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return none, unauthorized("send an API key in the header Authorization: Bearer <API key>", "no API key")
	}
	key, err := s.Directory.Authenticate(r.Context(), bearer, s.Now())
	if err == nil {
		return key, nil
	}
	if auth, ok := errors.AsType[*directory.AuthError](err); ok {
		return directory.APIKey{ID: auth.KeyID}, unauthorized(
			"the API key is not accepted; check that it is complete, current and of this service",
			"API key "+string(auth.Reason))
	}
	return none, undecided(err)
}

// rateReason is the reason of the refusal of an API key's request over its limit.
const rateReason = "rate limit of the API key"

// countCall counts a request of an API key. The answer's headers say how many requests are
// left.
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
		status: http.StatusTooManyRequests, reason: rateReason, retry: a.Retry,
		description: fmt.Sprintf("Too many requests: the API key may make %v a second, and %d at once; try again in %s s",
			limit.Rate, limit.Burst, seconds(a.Retry)),
	}
}

// countFailure counts a request without a good API key.
func (s *server) countFailure(w http.ResponseWriter, r *http.Request, denied *refusal) *refusal {
	a := s.failures.Take(r.Context(), caller(clientOf(r)), failureLimit)
	if a.OK {
		return denied
	}
	showLimit(w, "address", failureLimit, a)
	return &refusal{
		status: http.StatusTooManyRequests, retry: a.Retry, reason: denied.reason,
		description: "Too many requests without a good API key from your address; " +
			"send one in the header Authorization: Bearer <API key>",
	}
}

// showLimit sets the fields of draft-ietf-httpapi-ratelimit-headers-10: the quota of a
// policy (q) and its window in seconds (w), the remaining quota (r), and the seconds until
// the whole quota is there again (t).
func showLimit(w http.ResponseWriter, policy string, l ratelimit.Limit, a ratelimit.Answer) {
	// Not by fmt, whose reflection is slow beside the rest of a request. Both values are parts
	// of one text.
	b := append(append(make([]byte, 0, 80), '"'), policy...)
	b = strconv.AppendInt(append(b, `";q=`...), int64(l.Burst), 10)
	b = appendSeconds(append(b, ";w="...), l.Window())
	n := len(b)
	b = append(append(append(b, '"'), policy...), `";r=`...)
	b = strconv.AppendInt(b, int64(a.Remaining), 10)
	b = appendSeconds(append(b, ";t="...), a.Reset)
	both := string(b)
	values := []string{both[:n], both[n:]}
	w.Header()["Ratelimit-Policy"], w.Header()["Ratelimit"] = values[:1:1], values[1:]
}
