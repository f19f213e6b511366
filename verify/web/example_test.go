package web_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/web"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// A login service: a page that admits agents with tickets, the sign-out, and an
// application that reads the session. examples/login is a whole program, with keyrings and a journal.
func Example() {
	// Two keysets: the issuer seals tickets, and this service seals its sessions.
	tickets := must(token.NewKeyset(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	cookies := must(aead.New(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))))
	store := must(memory.Open(context.Background(), memory.Config{NoBarrier: true})) // these keys are newer than it
	verifier := must(verify.New(verify.Config{
		Opener: tickets, Realm: "prod", Brands: []string{"commbox"}, Store: store,
		Skew: verify.Skew, // the issuer is another machine
	}))
	sessions := must(web.NewSessions(web.SessionConfig{Keys: cookies, Realm: "prod"}))

	login := must(web.New(web.Config{
		Verifier: verifier,
		Sessions: sessions,
		Use:      func(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} },
		Admit: func(r *http.Request, t token.Ticket, _ verify.Use) (web.Entry, error) {
			// Look the agent up here; an error refuses the ticket and spends nothing.
			return web.Entry{Session: web.Session{Groups: []string{"support"}}, Switch: web.ConfirmUser}, nil
		},
		Home: "/inbox", Logout: "/logout",
	}))
	mux := http.NewServeMux()
	mux.Handle("/login", login)
	mux.Handle("POST /logout", sessions.Logout("/login"))
	mux.HandleFunc("GET /inbox", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Current(w, r, token.Agent)
		if err != nil { // nobody is signed in: see ErrNoSession
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		fmt.Fprintf(w, "hello %s of %v", s.User, s.Groups)
	})

	server := httptest.NewTLSServer(mux)
	defer server.Close()
	browser := server.Client()
	browser.Jar = must(cookiejar.New(nil))
	issuer := must(token.NewIssuer(token.Config{Sealer: tickets, Realm: "prod"}))
	ticket := must(issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "commbox", Username: "john.d", OneTime: true}))
	link := must(token.LoginURL(server.URL+"/login", ticket))

	page := must(browser.Get(link))
	fmt.Println(page.Request.URL.RequestURI(), string(must(io.ReadAll(page.Body))))

	browser.Jar = nil // another browser
	fmt.Println(must(browser.Get(link)).Status)

	// Output:
	// /inbox hello john.d of [support]
	// 403 Forbidden
}
