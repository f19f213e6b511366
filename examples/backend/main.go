// Command backend is a website that knows its users and sends them to the login page
// with a ticket. Environment: LISTEN, TICKETD (URL of the service), API_KEY (scope
// issue), LOGIN_URL.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/admitone/admitone/client"
)

// user returns the person behind a request. Take the person from your own session here.
func user(*http.Request) client.IssueRequest {
	return client.IssueRequest{Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", OneTimeUse: new(true)}
}

func main() {
	tickets, err := client.New(client.Config{URL: os.Getenv("TICKETD"), APIKey: os.Getenv("API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		issued, err := tickets.Issue(r.Context(), user(r))
		if err != nil {
			log.Print(err)
			http.Error(w, "Cannot sign you in now. Try again later.", http.StatusBadGateway)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, os.Getenv("LOGIN_URL")+"?ta="+issued.Ticket, http.StatusSeeOther)
	})
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}
