// Package view converts tickets to the JSON types of package client, for the service and
// for cmd/ticket.
package view

import (
	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/token"
)

// Ticket converts a ticket; nil to nil.
func Ticket(t *token.Ticket) *client.Ticket {
	if t == nil {
		return nil
	}
	signingKey := ""
	if t.SigningKey != 0 {
		signingKey = t.SigningKey.String()
	}
	return &client.Ticket{
		ID:               t.ID.String(),
		KeyID:            t.KeyID.String(),
		Issuer:           t.Issuer,
		SigningKey:       signingKey,
		Audience:         client.Audience(t.Audience.String()),
		OneTimeUse:       t.OneTime,
		OverrideUserInfo: t.OverrideUserInfo,
		IssuedAt:         t.IssuedAt,
		ExpiresAt:        t.Expires(),
		Brand:            t.Brand,
		Username:         t.Username,
		Email:            t.Email,
		UniqueID:         t.UniqueID,
		FirstName:        t.FirstName,
		LastName:         t.LastName,
		Phone1:           t.Phone1,
		Remark:           t.Remark,
		Channel:          t.Channel,
		Actor:            t.Actor,
		Claims:           t.Claims,
	}
}
