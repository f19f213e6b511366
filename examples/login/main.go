// Command login serves a proxy with /login?ta=…, /auth/check, /logout. Environment: LISTEN, KEK (a URI), REALM.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/web"
)

func main() {
	kek, realm := must(kms.Open(os.Getenv("KEK"), nil)), os.Getenv("REALM") // as in ticketd init --realm
	tickets := must(keyring.Open("ticket.keyring", keyring.Config{Kind: keyring.Ticket, Realm: realm, KEK: kek}))
	cookies := must(keyring.Open("session.keyring", keyring.Config{Kind: keyring.Session, Realm: realm, KEK: kek}))
	store := must(journal.Open(context.Background(), journal.Config{Dir: "replay"}))
	config := verify.Config{Opener: tickets, Realm: realm, Brands: []string{"commbox"}, Store: store, Skew: verify.Skew}
	sessions := must(web.NewSessions(web.SessionConfig{Keys: cookies, Realm: realm}))
	http.Handle("/login", must(web.New(web.Config{Verifier: must(verify.New(config)), Sessions: sessions, Home: "/",
		Use:   func(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} },
		Admit: func(*http.Request, token.Ticket, verify.Use) (web.Entry, error) { return web.Entry{Confirm: true}, nil },
	})))
	check := web.CheckConfig{Sessions: sessions, Audience: token.Agent, Brands: config.Brands}
	http.Handle("/auth/check", must(web.NewCheck(check)))
	http.Handle("/logout", sessions.Logout("/"))
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
