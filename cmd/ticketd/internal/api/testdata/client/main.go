// The client of TestGeneratedClient, beside the code that oapi-codegen makes of
// openapi.yaml: it asks for a ticket, spends it, and tries again.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	key := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("KEY"))
		return nil
	}
	client, err := NewClientWithResponses(os.Getenv("URL"), WithRequestEditorFn(key))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	var ask IssueTicketJSONRequestBody
	err = ask.FromWrappedTicketRequest(WrappedTicketRequest{Data: TicketRequest{
		Brand: "commbox", Username: to("john.d"), Email: to("john.d@gmail.com"), Phone1: to("442501234567"), OneTimeUse: to(true),
	}})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := client.IssueTicketWithResponse(ctx, ask)
	if err != nil || issued.JSON200 == nil {
		log.Fatal(err, string(issued.Body))
	}
	var spend RedeemTicketJSONRequestBody
	err = spend.FromRedeemRequest(RedeemRequest{Ticket: issued.JSON200.Data.EncpryptedString, Audience: RedeemRequestAudienceAgent})
	if err != nil {
		log.Fatal(err)
	}
	redeemed, err := client.RedeemTicketWithResponse(ctx, spend)
	if err != nil || redeemed.JSON200 == nil {
		log.Fatal(err, string(redeemed.Body))
	}
	again, err := client.RedeemTicketWithResponse(ctx, spend)
	if err != nil || again.JSON403 == nil {
		log.Fatal(err, string(again.Body))
	}
	fmt.Println(issued.JSON200.Status, redeemed.JSON200.Data.Result, redeemed.JSON200.Data.Agent.Username, again.JSON403.Data.Reason)
}

func to[T any](v T) *T { return &v }
