package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/admin"
)

// ticketd stands in for the service: each path has a fixed answer.
func ticketd(answers map[string]string) *httptest.Server {
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	}
	return httptest.NewServer(mux)
}

// A program puts an agent into a group.
func ExampleClient_ChangeAgent() {
	server := ticketd(map[string]string{
		"GET /admin/brands/commbox/agents/john.d": `{"brand":"commbox","username":"john.d","active":true,"revision":7}`,
		"PATCH /admin/brands/commbox/agents/john.d": `{"brand":"commbox","username":"john.d","active":true,
			"groups":["sales"],"revision":8}`,
	})
	defer server.Close()

	service, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-admin"})
	if err != nil {
		log.Fatal(err)
	}
	office := admin.New(service)
	john, err := office.Agent(context.Background(), "commbox", "john.d")
	if err != nil {
		log.Fatal(err)
	}
	john.Groups = append(john.Groups, "sales")
	john, err = office.ChangeAgent(context.Background(), john)
	var failed *client.Error
	switch {
	case errors.As(err, &failed) && failed.Status == http.StatusPreconditionFailed:
		fmt.Println("somebody else changed the agent: read the record again")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(john.Username, john.Groups, john.Revision)
	}
	// Output: john.d [sales] 8
}

// A program goes through all agents of a brand.
func ExampleClient_Agents() {
	server := ticketd(map[string]string{
		"GET /admin/brands/commbox/agents": `{"items":[{"username":"jane","active":true},{"username":"john.d"}],"next":null}`,
	})
	defer server.Close()

	service, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-admin"})
	if err != nil {
		log.Fatal(err)
	}
	for agent, err := range admin.New(service).Agents(context.Background(), "commbox") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(agent.Username, agent.Active)
	}
	// Output:
	// jane true
	// john.d false
}

// A program brings its agents up to date from a file. A wrong line changes nothing.
func ExampleClient_ImportAgents() {
	server := ticketd(map[string]string{
		"POST /admin/brands/commbox/agents/import": `{"imported":2,"added":1,"changed":1,"unchanged":0,"faults":[],"lines":[]}`,
	})
	defer server.Close()

	service, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-admin"})
	if err != nil {
		log.Fatal(err)
	}
	file := strings.NewReader("username,email\njane,jane@example.com\njohn.d,john.d@gmail.com\n")
	did, err := admin.New(service).ImportAgents(context.Background(), "commbox", file)
	for _, f := range did.Faults {
		fmt.Printf("line %d: %s %s\n", f.Line, f.Column, f.Reason)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(did.Added, "added,", did.Changed, "changed")
	// Output: 1 added, 1 changed
}

// A program hands the audit trail on, event by event, and goes on where it ended.
func ExampleClient_NewEvents() {
	server := ticketd(map[string]string{
		"GET /admin/events/new": `{"items":[{"id":18,"actor":{"kind":"key","name":"AbCdEfGhIj"},"action":"agent.set",
			"brand":"commbox","name":"john.d","fields":["groups"]}],"last":18}`,
	})
	defer server.Close()

	service, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-admin"})
	if err != nil {
		log.Fatal(err)
	}
	last := int64(17) // from the last time
	events, last, err := admin.New(service).NewEvents(context.Background(), admin.EventFilter{Brand: "commbox"}, last)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range events {
		fmt.Println(e.Action, e.Name, e.Fields, "by", e.Actor.Name)
	}
	fmt.Println("next time from", last)
	// Output:
	// agent.set john.d [groups] by AbCdEfGhIj
	// next time from 18
}

// A program replaces an API key. The old key stays good for a day.
func ExampleClient_ReplaceAPIKey() {
	server := ticketd(map[string]string{
		"POST /admin/api-keys/AbCdEfGhIj/replace": `{"id":"KlMnOpQrSt","scopes":["issue"],"key":"adm_KlMnOpQrSt_new"}`,
	})
	defer server.Close()

	service, err := client.New(client.Config{URL: server.URL, APIKey: "adm_0123456789_key-of-scope-admin"})
	if err != nil {
		log.Fatal(err)
	}
	made, err := admin.New(service).ReplaceAPIKey(context.Background(), "AbCdEfGhIj", 24*time.Hour)
	if id, repeated := admin.Repeated(err); repeated {
		log.Fatalf("the answer was lost: remove the key %s, and try again", id)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.ID, made.Scopes, made.Key)
	// Output: KlMnOpQrSt [issue] adm_KlMnOpQrSt_new
}
