package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/admitone/admitone/client"
)

// ticketd stands in for the service: each path has a fixed answer.
func ticketd(status int, path, data string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":"%d","description":"…","response_time":"…","data":%s}`, status, data)
	})
	return httptest.NewServer(mux)
}

// A backend sends a person who is known to it to the login page.
func ExampleClient_Issue() {
	server := ticketd(http.StatusOK, "/auth/ticket", `{"encpryptedString":"tkt1_AVa1oMN4c2RkZ0hqLXl3"}`)
	defer server.Close()

	tickets, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-issue"})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tickets.Issue(context.Background(), client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("https://login.example.com/login?ta=" + issued.Ticket)
	// Output: https://login.example.com/login?ta=tkt1_AVa1oMN4c2RkZ0hqLXl3
}

// A support tool shows what a ticket says. The ticket stays unspent.
func ExampleClient_Inspect() {
	server := ticketd(http.StatusOK, "/auth/inspect", `{"result":"refused","reason":"expired",
		"ticket":{"audience":"agent","brand":"commbox","username":"john.d","expiresAt":"2025-01-19T14:19:30Z"}}`)
	defer server.Close()

	tickets, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-redeem"})
	if err != nil {
		log.Fatal(err)
	}
	found, err := tickets.Inspect(context.Background(), client.RedeemRequest{
		Ticket: "tkt1_AVa1oMN4c2RkZ0hqLXl3", Audience: client.Agent,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Result, found.Reason, found.Ticket.Username, found.Ticket.ExpiresAt)
	// Output: refused expired john.d 2025-01-19 14:19:30 +0000 UTC
}

// A login service tells three cases apart: the person is in, the ticket does not
// admit, or nobody can tell now.
func ExampleClient_Redeem() {
	server := ticketd(http.StatusForbidden, "/auth/redeem", `{"result":"refused","reason":"already_used"}`)
	defer server.Close()

	tickets, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-redeem"})
	if err != nil {
		log.Fatal(err)
	}
	admitted, err := tickets.Redeem(context.Background(), client.RedeemRequest{
		Ticket: "tkt1_AVa1oMN4c2RkZ0hqLXl3", Audience: client.Agent,
	})
	var failed *client.Error
	switch {
	case err == nil:
		fmt.Println("signed in:", admitted.Agent.Username)
	case errors.As(err, &failed) && failed.Result == client.Refused:
		fmt.Println("403: this link does not work; the log has the reason:", failed.Reason)
	default:
		fmt.Println("503: try again later;", err)
	}
	// Output: 403: this link does not work; the log has the reason: already_used
}

// A backend takes back a ticket that went to the wrong person.
func ExampleClient_Revoke() {
	server := ticketd(http.StatusOK, "/auth/revoke", `{"ticketId":"00112233445566778899aabbccddeeff"}`)
	defer server.Close()

	tickets, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-issue"})
	if err != nil {
		log.Fatal(err)
	}
	revoked, err := tickets.Revoke(context.Background(), client.RevokeRequest{Ticket: "tkt1_AVa1oMN4c2RkZ0hqLXl3"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("revoked:", revoked.TicketID)
	// Output: revoked: 00112233445566778899aabbccddeeff
}
