package main

import "github.com/admitone/admitone/internal/servers"

// host starts database servers.
type host struct {
	*servers.Host
	redisURL, postgresURL string // of servers that run
}

// redis returns the URL of a durable Redis, as a login service needs.
func (h *host) redis() (string, error) {
	if h.redisURL != "" {
		return h.redisURL, nil
	}
	err := h.Try(func() { h.redisURL = servers.Redis(h, "", servers.Durable...).URL })
	return h.redisURL, err
}

// postgres returns the URL of a PostgreSQL.
func (h *host) postgres() (string, error) {
	if h.postgresURL != "" {
		return h.postgresURL, nil
	}
	err := h.Try(func() { h.postgresURL = servers.PostgreSQL(h).URL })
	return h.postgresURL, err
}
