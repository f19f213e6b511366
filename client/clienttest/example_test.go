package clienttest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/clienttest"
)

// signIn is the login of a program under test.
func signIn(tickets *client.Client, ticket string) string {
	admitted, err := tickets.Redeem(context.Background(), client.RedeemRequest{Ticket: ticket, Audience: client.Agent})
	var failed *client.Error
	switch {
	case err == nil:
		return "signed in: " + admitted.Agent.FirstName
	case errors.As(err, &failed) && failed.Result == client.Refused:
		return "this link does not work: " + string(failed.Reason)
	}
	return "try again later"
}

// service returns a stand-in with an agent, a client of it, and the agent's ticket.
func service() (*clienttest.Service, *client.Client, string) {
	s := clienttest.New()
	s.AddAgent("commbox", client.AgentRecord{Username: "john.d", Email: "john.d@gmail.com", FirstName: "John"})
	tickets, err := client.New(s.Config())
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tickets.Issue(context.Background(), client.IssueRequest{
		Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true),
	})
	if err != nil {
		log.Fatal(err)
	}
	return s, tickets, issued.Ticket
}

// A login admits a person once.
func Example() {
	_, tickets, ticket := service()
	fmt.Println(signIn(tickets, ticket))
	fmt.Println(signIn(tickets, ticket))
	// Output:
	// signed in: John
	// this link does not work: already_used
}

// The lifetime of a ticket passes without waiting.
func ExampleService_Advance() {
	s, tickets, ticket := service()
	s.Advance(2 * time.Minute)
	fmt.Println(signIn(tickets, ticket))
	// Output: this link does not work: expired
}

// The first request of Redeem meets the fault, and the second is answered.
func ExampleService_Next() {
	s, tickets, ticket := service()
	s.Next(clienttest.LoseAnswer)
	fmt.Println(signIn(tickets, ticket))
	// Output: signed in: John
}

// While the service cannot tell, nobody is admitted and no ticket is spent.
func ExampleService_Every() {
	s, tickets, ticket := service()
	s.Every(clienttest.Verdict(client.StoreUnavailable))
	fmt.Println(signIn(tickets, ticket))
	s.Every(nil)
	fmt.Println(signIn(tickets, ticket))
	// Output:
	// try again later
	// signed in: John
}

// A program that takes a URL and a key is tested over a real connection.
func ExampleService_AddKey() {
	s := clienttest.New()
	s.AddBrand("commbox")
	server := httptest.NewServer(s)
	defer server.Close()

	tickets, err := client.New(client.Config{URL: server.URL, APIKey: s.AddKey("commbox")})
	if err != nil {
		log.Fatal(err)
	}
	_, err = tickets.Issue(context.Background(), client.IssueRequest{Brand: "acme", Email: "jane@example.com"})
	var failed *client.Error
	fmt.Println(errors.As(err, &failed) && failed.Status == http.StatusNotFound)
	// Output: true
}

// A limit of requests makes a backend wait.
func ExampleStatus() {
	s, tickets, _ := service()
	s.Next(clienttest.Status(http.StatusTooManyRequests, 2*time.Second))
	_, err := tickets.Issue(context.Background(), client.IssueRequest{Brand: "commbox", UniqueID: "7"})
	var failed *client.Error
	if errors.As(err, &failed) && failed.Status == http.StatusTooManyRequests {
		fmt.Println("wait", failed.RetryAfter)
	}
	// Output: wait 2s
}
