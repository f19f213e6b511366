package token

import (
	"errors"
	"net/url"
	"strings"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// LoginURL returns the URL with which an agent logs in: the login page's URL with
// ta=ticket added to the query. login must be an absolute http or https URL without a
// ticket.
func LoginURL(login, ticket string) (string, error) {
	u, err := url.Parse(login)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("the page's URL is not absolute; write it like https://example.com/login")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || q.Has("ta") || q.Has("TA") || strings.HasPrefix(q.Get(""), "TA") {
		return "", errors.New("the page's URL has a bad query or carries a ticket already; give the URL without a ticket")
	}
	if ticket == "" {
		return "", errors.New("there is no ticket for the page's URL; give the ticket as Issue returned it")
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "ta=" + url.QueryEscape(ticket)
	return u.String(), nil
}

// ChatURL returns the URL with which a customer starts a chat: apps, such as
// https://apps.example.com, followed by /chat/, the channel's code (see Channels) and the
// ticket in the query.
func ChatURL(apps, code, ticket string) (string, error) {
	if code == "" || strings.Trim(code, alphabet) != "" {
		return "", errors.New("the channel's code is not of A-Z, a-z, 0-9, '-' and '_'; " +
			"give the code as Channels.Code returned it")
	}
	u, err := url.JoinPath(apps, "chat", code)
	if err != nil {
		return "", errors.New("the apps URL is not a URL; write it like https://apps.example.com")
	}
	return LoginURL(u, ticket)
}
