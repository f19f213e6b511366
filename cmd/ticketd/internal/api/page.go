package api

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.ParseFS(assets, "assets/*.html"))

// page is what the one template shows.
type page struct {
	Title   string
	Text    string
	Session *web.Session // nil: nobody
	Agent   bool
}

func (s *server) show(w http.ResponseWriter, status int, p page) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "page.html", p); err != nil {
		panic(err) // the template is ours: a fault in it shows in any test
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// showSession shows who is signed in and how, or that nobody is.
func (s *server) showSession(w http.ResponseWriter, session web.Session, ok bool) {
	if !ok {
		s.show(w, http.StatusForbidden, page{
			Title: "You are not signed in",
			Text:  "This page is opened by a link with a ticket. Go back to where you came from and open the link there again.",
		})
		return
	}
	p := page{Title: "Signed in as " + session.Name, Session: &session, Agent: session.Audience == token.Agent}
	if !p.Agent {
		p.Title = "Chatting as " + session.Name
	}
	s.show(w, http.StatusOK, p)
}

// showRefused is the one answer to every ticket that does not admit: a stranger
// learns nothing from it about tickets that are not his.
func (s *server) showRefused(w http.ResponseWriter) {
	s.show(w, http.StatusForbidden, page{
		Title: "This link does not work any more",
		Text:  "Such a link works for a short time, and often only once. Go back to where you got it and ask for a new one.",
	})
}

func (s *server) showNotNow(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	s.show(w, http.StatusServiceUnavailable, page{
		Title: "Please try again in a moment",
		Text:  "Your link could not be checked just now. It has not been used up: reload this page in a few seconds.",
	})
}

func (s *server) showFailed(w http.ResponseWriter) {
	s.show(w, http.StatusInternalServerError, page{
		Title: "Something went wrong on our side",
		Text:  "You could not be signed in. Go back to where you got the link and ask for a new one.",
	})
}

func stylesheet(w http.ResponseWriter, r *http.Request) {
	b, err := assets.ReadFile("assets/page.css")
	if err != nil {
		panic(err) // it is embedded
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(b)
}
