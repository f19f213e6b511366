package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/web"
)

// trap R24: what cannot be told now is not told as a refusal, and reloading the page
// enters when it can.
func browserLater(t *testing.T, p *pages) {
	ctx := p.person(t)
	u := p.info.LoginURL + "?ta=" + p.john(t)
	db, err := sql.Open("sqlite", filepath.Join(p.data, "admitone.db"))
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	do := func(statement string) {
		t.Helper()
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	do("PRAGMA busy_timeout = 60000")
	do("ALTER TABLE revocation RENAME TO away") // it is asked for each ticket
	back := sync.OnceFunc(func() { do("ALTER TABLE away RENAME TO revocation") })
	defer back()
	goTo(t, ctx, u)
	assert.Equal(t, "Please try again in a moment", title(t, ctx))
	assert.Equal(t, http.StatusServiceUnavailable, p.strangers(t, u))
	p.look(t, ctx, "later")
	back()
	goTo(t, ctx, u)
	assert.Equal(t, johnIsIn, title(t, ctx))
}

// A fault on our side after the ticket was spent: of a login service that cannot
// keep a record, since ticketd gets by without one.
func browserFailed(t *testing.T, p *pages) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys})
	require.NoError(t, err)
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true})
	require.NoError(t, err)
	verifier, err := verify.New(verify.Config{Opener: keys, AnyBrand: true, Store: store})
	require.NoError(t, err)
	sessions, err := web.NewSessions(web.SessionConfig{Keys: keys})
	require.NoError(t, err)
	door, err := web.New(web.Config{
		Verifier: verifier, Sessions: sessions, Log: slog.New(slog.DiscardHandler),
		Use: func(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} },
		Admit: func(*http.Request, token.Ticket, verify.Use) (web.Entry, error) {
			return web.Entry{Then: func(context.Context, *web.Session) error { return errors.New("no record") }}, nil
		},
	})
	require.NoError(t, err)
	ticket, err := issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "commbox", Username: "john.d", OneTime: true})
	require.NoError(t, err)
	ctx := p.person(t)
	goTo(t, ctx, p.mount("failing", "/login", door)+"?ta="+ticket)
	assert.Equal(t, "Something went wrong on our side", title(t, ctx))
	p.look(t, ctx, "failed")
}
