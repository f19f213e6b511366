package token

import (
	"fmt"
	"net/url"
	"strings"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// LoginURL returns the URL that logs an agent in: the login page's URL with
// ta=ticket added to its query. login must be an absolute http or https URL
// that carries no ticket yet.
func LoginURL(login, ticket string) (string, error) {
	u, err := url.Parse(login)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("the page's URL is not absolute; write it like https://example.com/login")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || q.Has("ta") || q.Has("TA") || strings.HasPrefix(q.Get(""), "TA") {
		return "", fmt.Errorf("the page's URL has a bad query or carries a ticket already; give it without")
	}
	if ticket == "" {
		return "", fmt.Errorf("there is no ticket for the page's URL; give it as Issue returned it")
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "ta=" + url.QueryEscape(ticket)
	return u.String(), nil
}

// ChatURL returns the URL that starts a customer's chat: apps, such as
// https://apps.example.com, then /chat/, the channel's code (see Channels) and
// the ticket.
func ChatURL(apps, code, ticket string) (string, error) {
	if code == "" || strings.Trim(code, alphabet) != "" {
		return "", fmt.Errorf("the channel's code is not of A-Z, a-z, 0-9, '-' and '_'; give it as Channels.Code returned it")
	}
	u, err := url.JoinPath(apps, "chat", code)
	if err != nil {
		return "", fmt.Errorf("the apps URL is not a URL; write it like https://apps.example.com")
	}
	return LoginURL(u, ticket)
}
