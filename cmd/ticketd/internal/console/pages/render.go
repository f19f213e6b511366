package pages

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

//go:embed assets
var assets embed.FS

// A request is one request of an administrator. The exported fields are the layout's.
type request struct {
	*pages
	w     http.ResponseWriter
	r     *http.Request
	desk  *manage.Desk
	brand directory.Brand
	known bool // whether the administrator is

	Visit     Visit
	RequestID string   // that the service gave the request; "": none
	Brand     string   // in the path; "": none
	Brands    []string // of the administrator
	Title     string
	Data      any // of the page
}

// Known reports whether an administrator is signed in.
func (q *request) Known() bool { return q.known }

// CanChange reports whether the administrator may change anything.
func (q *request) CanChange() bool { return q.desk.Caller().Role == directory.RoleAdmin }

// AllBrands reports whether the administrator has the whole deployment.
func (q *request) AllBrands() bool { return q.desk.Caller().AllBrands }

// Here returns the part of the path behind the brand, for the contents.
func (q *request) Here() string {
	path := strings.TrimPrefix(q.r.URL.Path, Root)
	if q.Brand != "" {
		path = strings.TrimPrefix(path, "/brands/"+q.Brand)
	}
	page, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return page
}

// Message returns the message for the code in the query.
func (q *request) Message() string { return messages[q.r.URL.Query().Get("did")] }

var messages = map[string]string{
	"added":    "Added.",
	"saved":    "Saved. The change applies from the next request.",
	"removed":  "Removed.",
	"revoked":  "The API key is revoked. Requests with the key are refused from now on.",
	"ended":    "The sessions are ended.",
	"imported": "The agents are imported.",
}

// A link is an entry of the contents.
type link struct {
	Page, Text string
	Deployment bool // only for administrators of all brands
	Change     bool // only for those who may change anything
}

var brandLinks = []link{
	{Page: "", Text: "Overview"}, {Page: "settings", Text: "Privacy and security"}, {Page: "agents", Text: "Agents"},
	{Page: "customers", Text: "Customers"}, {Page: "channels", Text: "Channels"}, {Page: "audit", Text: "Audit"},
	{Page: "try", Text: "Try it", Change: true},
}

var deploymentLinks = []link{
	{Page: "brands", Text: "Brands"}, {Page: "api-keys", Text: "API keys"},
	{Page: "administrators", Text: "Administrators"}, {Page: "issuers", Text: "Issuers"},
	{Page: "explain", Text: "Explain a ticket"},
	{Page: "audit", Text: "Audit of all brands", Deployment: true}, {Page: "keyrings", Text: "Keys", Deployment: true},
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"at": address, "when": when, "list": func(parts []string) string { return strings.Join(parts, ", ") },
	"brandLinks": func() []link { return brandLinks }, "deploymentLinks": func() []link { return deploymentLinks },
	"pair": func(q *request, data any) map[string]any { return map[string]any{"Q": q, "Data": data} },
}).ParseFS(assets, "assets/*.html"))

// when returns a time for people. No line breaks within a time.
func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return strings.ReplaceAll(t.UTC().Format("2 Jan 2006 15:04 UTC"), " ", "\u00a0")
}

// render answers with a page: the template called page in the layout.
func (q *request) render(status int, title, page string, data any) {
	q.Title, q.Data = title, data
	var body, all bytes.Buffer
	err := templates.ExecuteTemplate(&body, page, q)
	if err == nil {
		err = templates.ExecuteTemplate(&all, "layout", struct {
			*request
			Body template.HTML
		}{q, template.HTML(body.String())}) //nolint:gosec // the output of a template
	}
	if err != nil {
		q.Log.ErrorContext(q.r.Context(), "a page of the console cannot be rendered", "error", err, "page", page)
		http.Error(q.w, "The page cannot be shown. The log of the service has the reason.", http.StatusInternalServerError)
		return
	}
	q.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.w.WriteHeader(status)
	_, _ = all.WriteTo(q.w)
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	http.ServeFileFS(w, r, assets, "assets/pages.css")
}
