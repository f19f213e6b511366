// Package view shows tickets in the JSON of the service's API, whose types are those
// of package client.
package view

import (
	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/token"
)

// Ticket returns what a ticket says; nil for nil.
func Ticket(t *token.Ticket) *client.Ticket {
	if t == nil {
		return nil
	}
	return &client.Ticket{
		ID:               t.ID.String(),
		KeyID:            t.KeyID.String(),
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
