// Package apitest makes the parts of package api that tests of the administration need.
package apitest

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// A Service issues and redeems tickets of a directory under keys of its own.
type Service struct {
	*api.Tickets
	Issuer   *token.Issuer
	Verifier *verify.Verifier
}

// New returns a Service.
func New(t testing.TB, db *directory.DB) Service {
	t.Helper()
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "test"})
	require.NoError(t, err)
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true})
	require.NoError(t, err)
	verifier, err := verify.New(verify.Config{Opener: keys, Realm: "test", AnyBrand: true, Store: store})
	require.NoError(t, err)
	return Service{api.NewTickets(api.Config{
		Directory: db, Issuer: issuer, Verifier: verifier, Metrics: metrics.New(), Now: time.Now,
		MaxLifetime: token.MaxLifetime, Log: slog.New(slog.DiscardHandler),
	}), issuer, verifier}
}

// Ticket returns a ticket of the service for an agent or a customer.
func (s Service) Ticket(t testing.TB, of token.Ticket) string {
	t.Helper()
	if of.Lifetime == 0 {
		of.Lifetime = time.Minute
	}
	text, err := s.Issuer.Issue(&of)
	require.NoError(t, err)
	return text
}
