package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/clienttest"
)

// ticketd stands in for the service, so that the Examples need none. Its brand commbox has an
// agent, John. A program has URL and APIKey in its own Config.
func ticketd() (*clienttest.Service, client.Config) {
	service := clienttest.New()
	service.AddAgent("commbox", client.AgentRecord{Username: "john.d", Email: "john.d@gmail.com"})
	return service, service.Config()
}

// issue returns a ticket for John that works once.
func issue(tickets *client.Client) string {
	issued, err := tickets.Issue(context.Background(), client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true),
	})
	if err != nil {
		log.Fatal(err)
	}
	return issued.Ticket
}

// A backend sends a person who is known to it to the login page.
func ExampleClient_Issue() {
	_, config := ticketd()
	tickets, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tickets.Issue(context.Background(), client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true),
	})
	if err != nil {
		log.Fatal(err)
	}
	link := "https://login.example.com/login?ta=" + issued.Ticket
	fmt.Println(link[:41] + "…")
	// Output: https://login.example.com/login?ta=tkt1_A…
}

// A support tool shows what a ticket says. The ticket stays unspent.
func ExampleClient_Inspect() {
	service, config := ticketd()
	tickets, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	ticket := issue(tickets)
	service.Advance(2 * time.Minute)
	found, err := tickets.Inspect(context.Background(), client.RedeemRequest{Ticket: ticket, Audience: client.Agent})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Result, found.Reason, found.Ticket.Username, found.Ticket.ExpiresAt.Sub(found.Ticket.IssuedAt))
	// Output: refused expired john.d 1m0s
}

// A login service tells three cases apart: the person is in, the ticket does not
// admit, or nobody can tell now.
func ExampleClient_Redeem() {
	_, config := ticketd()
	tickets, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	ticket := issue(tickets)
	for range 2 {
		admitted, err := tickets.Redeem(context.Background(), client.RedeemRequest{
			Ticket: ticket, Audience: client.Agent,
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
	}
	// Output:
	// signed in: john.d
	// 403: this link does not work; the log has the reason: already_used
}

// A backend takes back a ticket that went to the wrong person.
func ExampleClient_Revoke() {
	_, config := ticketd()
	tickets, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	ticket := issue(tickets)
	if _, err := tickets.Revoke(context.Background(), client.RevokeRequest{Ticket: ticket}); err != nil {
		log.Fatal(err)
	}
	_, err = tickets.Redeem(context.Background(), client.RedeemRequest{Ticket: ticket, Audience: client.Agent})
	var failed *client.Error
	fmt.Println(errors.As(err, &failed) && failed.Reason == client.RefusedByCaller)
	// Output: true
}

// A program tries its API key when it starts.
func ExampleClient_TryKey() {
	_, config := ticketd()
	config.APIKey = "adm_0123456789_mistyped"
	tickets, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	var failed *client.Error
	if err := tickets.TryKey(context.Background()); errors.As(err, &failed) && failed.Status == 401 {
		fmt.Println("give another API key: ticketd apikey add makes one")
	}
	// Output: give another API key: ticketd apikey add makes one
}
