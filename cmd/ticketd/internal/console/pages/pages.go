// Package pages has the pages of the console: forms and lists for administrators, rendered on
// the server, which work without JavaScript.
//
// Every page calls a manage.Desk of the request's administrator, and nothing else: the desk
// decides who may do what. A page of a brand that the administrator does not have is the same
// page as for a brand that does not exist.
//
// A GET request changes nothing. A form that was accepted leads to another page, with a code
// for the message in the query; a refused form is shown again with what was typed, and each
// error is beside its field. Actions that nobody can take back want the name of the record
// typed, and a session younger than FreshSession.
//
// The caller of this package refuses requests from other sites, and ends sessions.
package pages

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/verify/web"
)

// Root is the path of the overview. All other paths begin with Root and a slash.
const Root = "/console"

// FreshSession is the age up to which a session may do what nobody can take back.
const FreshSession = 10 * time.Minute

// limits of requests
const (
	maxForm = 64 << 10 // bytes of a form
	maxFile = 2 << 20  // bytes of a form with a file of agents
)

// A Visit is the session of an administrator.
type Visit struct {
	Name    string        // of the administrator, for people
	Age     time.Duration // since the entry
	SignOut string        // path that ends the session by POST
}

// Config says how the pages work. Office and Caller are mandatory.
type Config struct {
	Office *manage.Office

	// Caller returns the administrator of a request. The error wraps web.ErrNoSession if
	// nobody is signed in. Any other error means that the directory cannot tell.
	Caller func(*http.Request) (manage.Caller, Visit, error)

	ServiceURL string       // origin of the service for API callers, for the curl line; "": an example
	Log        *slog.Logger // nil means slog.Default()
}

type pages struct {
	Config
	mux *http.ServeMux
}

// New returns the handler of the pages, for paths from Root on.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.ServiceURL == "" {
		c.ServiceURL = "https://login.example.com"
	}
	p := &pages{c, http.NewServeMux()}
	p.mux.HandleFunc("GET "+Root+"/pages.css", serveStyle)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r, func(*request) error { return directory.ErrNotFound })
	})
	p.routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "+
			"base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		p.mux.ServeHTTP(w, r)
	})
}

// routes registers the pages. A page of a brand has {brand} in its path.
func (p *pages) routes() {
	const brand = Root + "/brands/{brand}"
	get := func(path string, h func(*request) error) {
		p.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, h) })
	}
	// A form is a page that only admins have.
	form := func(path string, h func(*request) error) {
		for _, method := range []string{"GET ", "POST "} {
			p.mux.HandleFunc(method+path, func(w http.ResponseWriter, r *http.Request) {
				p.serve(w, r, func(q *request) error {
					if !q.CanChange() {
						return &manage.ForbiddenError{Reason: "an auditor changes nothing; ask an administrator"}
					}
					return h(q)
				})
			})
		}
	}
	// A shown form is a page that auditors see without the form.
	shown := func(path string, h func(*request) error) {
		get(path, h)
		p.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			p.serve(w, r, func(q *request) error {
				if !q.CanChange() {
					return &manage.ForbiddenError{Reason: "an auditor changes nothing; ask an administrator"}
				}
				return h(q)
			})
		})
	}
	get(Root, (*request).home)
	get(Root+"/switch", (*request).switchBrand)

	get(Root+"/api-keys", (*request).apiKeys)
	form(Root+"/api-keys/add", (*request).addAPIKey)
	form(Root+"/api-keys/replace", (*request).replaceAPIKey)
	form(Root+"/api-keys/revoke", destroys((*request).revokeAPIKey))

	get(Root+"/administrators", (*request).administrators)
	form(Root+"/administrators/add", (*request).addAdministrator)
	shown(Root+"/administrators/edit", (*request).editAdministrator)
	form(Root+"/administrators/remove", destroys((*request).removeAdministrator))
	form(Root+"/administrators/end-sessions", destroys((*request).endAdministratorSessions))

	get(Root+"/issuers", (*request).issuers)
	form(Root+"/issuers/end-sessions", destroys((*request).endIssuerSessions))

	get(Root+"/brands", (*request).brands)
	form(Root+"/brands/add", (*request).addBrand)
	get(Root+"/audit", (*request).audit)
	get(Root+"/audit/export", (*request).exportAudit)
	get(Root+"/keyrings", (*request).keyrings)
	get(Root+"/explain", (*request).explain)
	p.mux.HandleFunc("POST "+Root+"/explain", func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r, (*request).explain) // changes nothing
	})

	get(brand, (*request).overview)
	shown(brand+"/settings", (*request).brandSettings)
	form(brand+"/end-sessions", destroys((*request).endBrandSessions))
	form(brand+"/remove", destroys((*request).removeBrand))
	get(brand+"/agents", (*request).agents)
	form(brand+"/agents/add", (*request).addAgent)
	shown(brand+"/agents/edit", (*request).editAgent)
	form(brand+"/agents/import", (*request).importAgents)
	form(brand+"/agents/remove", destroys((*request).removeAgent))
	form(brand+"/agents/end-sessions", destroys((*request).endAgentSessions))
	get(brand+"/customers", (*request).customers)
	form(brand+"/customers/add", (*request).addCustomer)
	shown(brand+"/customers/edit", (*request).editCustomer)
	form(brand+"/customers/remove", destroys((*request).removeCustomer))
	form(brand+"/customers/end-sessions", destroys((*request).endCustomerSessions))
	get(brand+"/channels", (*request).channels)
	form(brand+"/channels/add", (*request).addChannel)
	shown(brand+"/channels/edit", (*request).editChannel)
	form(brand+"/channels/remove", destroys((*request).removeChannel))
	form(brand+"/try", (*request).tryAgent)
	form(brand+"/try/customer", (*request).tryCustomer)
	get(brand+"/audit", (*request).audit)
	get(brand+"/audit/export", (*request).exportAudit)
}

// serve answers a request by a page.
func (p *pages) serve(w http.ResponseWriter, r *http.Request, page func(*request) error) {
	q := &request{pages: p, w: w, r: r, RequestID: w.Header().Get("X-Request-Id")}
	caller, visit, err := p.Caller(r)
	switch {
	case errors.Is(err, web.ErrNoSession):
		q.problem(http.StatusUnauthorized, "You are not signed in",
			"Ask for a link to the console and open the link. A session ends after an hour.")
		return
	case err != nil:
		q.failed(err)
		return
	}
	q.Visit, q.desk, q.known = visit, p.Office.For(caller), true
	if err := q.prepare(); err != nil {
		q.fail(err)
		return
	}
	if err := page(q); err != nil {
		q.fail(err)
	}
}

// prepare reads the form, the brands of the caller and the brand in the path.
func (q *request) prepare() error {
	limit := int64(maxForm)
	if strings.HasSuffix(q.r.URL.Path, "/import") {
		limit = maxFile
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, limit)
	if err := q.r.ParseForm(); err != nil {
		return &directory.FieldError{Field: "form", Reason: "cannot be read; send it again from the page"}
	}
	if q.r.Method == http.MethodPost && strings.HasPrefix(q.r.Header.Get("Content-Type"), "multipart/") {
		if err := q.r.ParseMultipartForm(limit); err != nil {
			return &directory.FieldError{Field: "file", Reason: "cannot be read; a file has at most 2 MB"}
		}
	}
	list, err := q.desk.Brands(q.r.Context(), manage.Page{Limit: manage.MaxLimit})
	if err != nil {
		return err
	}
	for _, b := range list.Items {
		q.Brands = append(q.Brands, b.Name)
	}
	if name := q.r.PathValue("brand"); name != "" {
		q.brand, err = q.desk.Brand(q.r.Context(), name)
		q.Brand = q.brand.Name
	}
	return err
}

// fail answers with the page of an error.
func (q *request) fail(err error) {
	var forbidden *manage.ForbiddenError
	var field *directory.FieldError
	switch {
	case errors.Is(err, directory.ErrNotFound):
		q.Brand = ""
		q.problem(http.StatusNotFound, "There is nothing here",
			"The page or the record does not exist, or it is not yours. Choose from the contents.")
	case errors.As(err, &forbidden):
		q.problem(http.StatusForbidden, "You may not do this", sentence(forbidden.Reason))
	case errors.As(err, &field):
		q.problem(http.StatusBadRequest, "The request was refused", "The field "+field.Field+" "+field.Reason+".")
	default:
		q.failed(err)
	}
}

// failed answers for an error that is not the administrator's.
func (q *request) failed(err error) {
	q.Log.ErrorContext(q.r.Context(), "a page of the console failed", "error", err, "path", q.r.Pattern)
	q.problem(http.StatusInternalServerError, "The service cannot answer now",
		"Nothing was changed by this request. Try again; the log of the service has the reason.")
}

func (q *request) problem(status int, title, text string) {
	q.render(status, title, "problem", text)
}

// stale is whether the session is too old for what nobody can take back.
func (q *request) stale() bool { return q.Visit.Age < 0 || q.Visit.Age >= FreshSession }

// leave redirects after a change, with the code of a message.
func (q *request) leave(to, code string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	values := u.Query()
	values.Set("did", code)
	u.RawQuery = values.Encode()
	http.Redirect(q.w, q.r, u.String(), http.StatusSeeOther)
	return nil
}

// at returns the address of a page of the request's brand.
func (q *request) at(page string, query ...string) string { return address(q.Brand, page, query...) }

// address returns the address of a page: of a brand, or with "" of the console. query has
// names and values.
func address(brand, page string, query ...string) string {
	to := Root
	if brand != "" {
		to += "/brands/" + url.PathEscape(brand)
	}
	if page != "" {
		to += "/" + page
	}
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			values.Set(query[i], query[i+1])
		}
	}
	if len(values) > 0 {
		to += "?" + values.Encode()
	}
	return to
}

// sentence makes a sentence of the text of an error.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
