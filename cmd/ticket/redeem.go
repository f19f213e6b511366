package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/token"
)

// redeemTimeout is how long a page may take to answer.
const redeemTimeout = 30 * time.Second

// redemption is what redeem prints of a ticket with --json.
type redemption struct {
	outcome
	Status   int    `json:"status,omitempty"`   // of the answer; 0: there was none
	Location string `json:"location,omitempty"` // where it leads to, without the query
}

func (a *app) redeemCommand() *cobra.Command {
	var page string
	cmd := &cobra.Command{
		Use:   "redeem --url URL [TICKET]...",
		Short: "Spend tickets at a login or chat page",
		Long: `redeem does what the browser of the person does that a ticket is for: it asks the
page for itself with the ticket, in earnest. A one-time ticket is spent by it, and
the session that it buys is thrown away.

URL is the login page's (https://login.example.com/login) or the chat's
(https://apps.example.com/chat/CODE). It may carry the ticket already (?ta=...);
then no other is read.

Tickets come one a line on standard input, or as arguments; "-" among these
stands for standard input. Prefer standard input: arguments stay in the shell's
history.

good         the page let the ticket in: a redirect (303) to a URL without it
refused      it did not (403); the reason is in the login service's log, since the
             page does not tell it to strangers
cannot_tell  the page says that it cannot tell now (503), or there was no answer
failed       any other answer: this is not such a page, or it is out of order

What is not of a ticket's form is refused here and not sent.`,
		Example: `  ticket redeem --url https://login.example.com/login < ticket.txt
  ticket issue --brand commbox --username john.d --one-time | ticket redeem --url https://login.example.com/login
  ticket redeem --url https://apps.example.com/chat/CODE --json < tickets.txt`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&page, "url", "", "the login or chat page's `URL`")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// On a connection that was used before, net/http may send a request again
		// whose answer was lost: the ticket's second visit would hide the first.
		transport.DisableKeepAlives = true
		return a.redeem(args, page, transport)
	})
}

func (a *app) redeem(args []string, page string, transport http.RoundTripper) error {
	if page == "" {
		return cli.Usagef("redeem needs --url, the login or chat page where the tickets are to be spent")
	}
	u, err := url.Parse(page)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return cli.Usagef("--url is not an absolute URL; write it like https://login.example.com/login")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return cli.Usagef("--url has a query that cannot be read; give the page's URL without it")
	}
	client := &http.Client{
		Transport:     transport,
		Timeout:       redeemTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	spend := func(number int, pageWithTicket string) error {
		r := visit(client, pageWithTicket)
		r.Number = number
		return a.report(r.outcome, r, r.pairs())
	}
	if query.Has("ta") || query.Has("TA") {
		if len(args) > 0 {
			return cli.Usagef("--url carries a ticket already; give the page's URL without it, or no other ticket")
		}
		return spend(1, u.String())
	}
	return a.eachTicket(args, func(number int, ticket string) error {
		if _, err := token.KeyID(ticket); err != nil && !errors.Is(err, token.ErrUnsupportedVersion) {
			o := shapeFault(number, err)
			o.Explanation += "; it was not sent"
			return a.report(o, redemption{outcome: o}, nil)
		}
		full, err := token.LoginURL(page, ticket)
		if err != nil {
			return err
		}
		return spend(number, full)
	})
}

func (r *redemption) pairs() (p pairs) {
	if r.Status != 0 {
		p = append(p, pair{"status", strconv.Itoa(r.Status)})
	}
	if r.Location != "" {
		p = append(p, pair{"location", r.Location})
	}
	return p
}

// visit asks for a page whose URL has a ticket, and says what became of that.
func visit(client *http.Client, page string) redemption {
	result := func(v verdict, explanation string) redemption {
		return redemption{outcome: outcome{Verdict: v, Explanation: scrub(explanation)}}
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, page, nil)
	if err != nil {
		return result(failed, "the page's URL cannot be asked for; check --url")
	}
	request.Header.Set("User-Agent", "admitone-ticket")
	response, err := client.Do(request)
	if err != nil {
		return result(cannotTell, noAnswer(err))
	}
	response.Body.Close()
	r := result(judge(response))
	r.Status = response.StatusCode
	if to, err := response.Location(); err == nil {
		r.Location = scrub((&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path, RawPath: to.RawPath}).String())
	}
	return r
}

// noAnswer says why there was none, and what that means for the ticket.
func noAnswer(err error) string {
	// A url.Error repeats the URL and with it the ticket.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return fmt.Sprintf("the page cannot be reached: %v; the ticket was not sent; check --url and that the service runs", err)
	}
	return fmt.Sprintf("the page gave no answer: %v; the ticket may have been spent: see the service's log", err)
}

// judge says what an answer means.
func judge(response *http.Response) (v verdict, explanation string) {
	status := response.StatusCode
	to, err := response.Location()
	switch {
	case status == http.StatusSeeOther && err != nil:
		return failed, "the page redirects (303) to nowhere; check that --url is a login or chat page"
	case status == http.StatusSeeOther && hasTicket(to):
		return failed, "the page redirects (303) to a URL that still has the ticket, so it did not redeem it; check that --url is a login or chat page, and not something before it"
	case status == http.StatusSeeOther && len(response.Header.Values("Set-Cookie")) == 0:
		return cannotTell, "the page redirects (303) and sets no cookie, so it may be something before the login or chat page; check --url, and the service's log"
	case status == http.StatusSeeOther:
		return good, ""
	case status == http.StatusForbidden:
		return refused, "the page does not tell strangers why; its operator's log has the reason"
	case status == http.StatusServiceUnavailable:
		return cannotTell, "the page cannot check tickets just now (503); the ticket is not spent: try again in a few seconds"
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return cannotTell, fmt.Sprintf("a proxy got no answer from the page (%d); the ticket may have been spent: see the service's log", status)
	case status >= 300 && status < 400:
		return failed, fmt.Sprintf("the page redirects (%d) without redeeming; give --url the address where it is in the end, with its scheme and host", status)
	case status == http.StatusNotFound:
		return failed, "there is no such page (404); check that --url ends in /login, or /chat/ and a channel's code"
	case status >= 200 && status < 300:
		return failed, fmt.Sprintf("the page answers (%d) without redeeming the ticket; check that --url ends in /login, or /chat/ and a channel's code", status)
	case status >= 500:
		return failed, fmt.Sprintf("the page is out of order (%d); the ticket may have been spent: see the service's log", status)
	}
	return failed, fmt.Sprintf("the page gives an answer (%d) that no login or chat page gives to a ticket; check --url, and what stands before the page", status)
}

// hasTicket reports whether a URL has a ticket in it, or may have.
func hasTicket(u *url.URL) bool {
	q, err := url.ParseQuery(u.RawQuery)
	text, err2 := url.PathUnescape(u.String())
	return err != nil || err2 != nil || q.Has("ta") || q.Has("TA") || ticketPattern.MatchString(text)
}
