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

// redemption is the JSON form of a result of redeem.
type redemption struct {
	outcome
	Status   int    `json:"status,omitempty"`   // of HTTP; 0: no answer came
	Location string `json:"location,omitempty"` // the target of the redirect, without the query
}

func (a *app) redeemCommand() *cobra.Command {
	var page string
	cmd := &cobra.Command{
		Use:   "redeem --url URL [TICKET]...",
		Short: "Spend tickets at a login or chat page",
		Long: `redeem opens the page with the ticket, like the browser of the person whom the
ticket is for. A one-time ticket is spent. redeem throws the new session away.

URL is the address of the login page (https://login.example.com/login) or of the
chat (https://apps.example.com/chat/CODE). If URL carries a ticket already
(?ta=...), redeem spends that ticket and reads no other.

Give tickets one a line on standard input, or as arguments; the argument "-" stands
for standard input. Prefer standard input: arguments stay in the shell's history.

good         the page let the ticket in: a redirect (303) to a URL without the ticket
refused      the page refused (403). Strangers get no reason; the log of the login
             service has it
cannot_tell  the page cannot check tickets now (503), or no answer came
failed       any other answer: the URL is not such a page, or the page is out of order

A text that does not have the form of a ticket is refused here and not sent.`,
		Example: `  ticket redeem --url https://login.example.com/login < ticket.txt
  ticket issue --brand commbox --username john.d --one-time | ticket redeem --url https://login.example.com/login
  ticket redeem --url https://apps.example.com/chat/CODE --json < tickets.txt`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&page, "url", "", "`URL` of the login or chat page at which the tickets are spent")
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// On a connection that served an earlier request, net/http may repeat a
		// request whose answer was lost. The answer to the second request would be
		// a refusal, although the first admitted the ticket.
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
		return cli.Flagf("url", "is not an absolute URL; write it like https://login.example.com/login")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return cli.Flagf("url", "has a query that cannot be read; give the page's URL without the query")
	}
	browser := &http.Client{
		Transport:     transport,
		Timeout:       redeemTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	spend := func(number int, pageWithTicket string) error {
		r := redeemAt(browser, pageWithTicket)
		r.Number = number
		return a.report(r.outcome, r, r.pairs())
	}
	if query.Has("ta") || query.Has("TA") {
		if len(args) > 0 {
			return cli.Flagf("url", "carries a ticket already; give the URL without a ticket, or no other ticket")
		}
		return spend(1, u.String())
	}
	return a.eachTicket(args, func(number int, ticket string) error {
		if _, err := token.UnverifiedKeyID(ticket); err != nil && !errors.Is(err, token.ErrUnsupportedVersion) {
			o := malformed(number, err)
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

// redeemAt opens a page whose URL carries a ticket, and reports the page's verdict.
func redeemAt(browser *http.Client, page string) redemption {
	result := func(v verdict, explanation string) redemption {
		return redemption{outcome: outcome{Verdict: v, Explanation: scrub(explanation)}}
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, page, nil)
	if err != nil {
		return result(failed, "the page's URL cannot be opened; check --url")
	}
	request.Header.Set("User-Agent", "admitone-ticket")
	response, err := browser.Do(request)
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

// noAnswer explains a request without an answer, and the consequence for the ticket.
func noAnswer(err error) string {
	// The text of a url.Error repeats the URL, with the ticket.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return fmt.Sprintf("the page cannot be reached: %v; the ticket was not sent; "+
			"check --url and that the service runs", err)
	}
	return fmt.Sprintf("the page gave no answer: %v; the ticket may have been spent: see the service's log", err)
}

// judge returns the verdict that an answer stands for.
func judge(response *http.Response) (v verdict, explanation string) {
	status := response.StatusCode
	switch {
	case status == http.StatusSeeOther:
		return judgeEntry(response)
	case status == http.StatusForbidden:
		return refused, "the page tells strangers no reason; the log of the login service has the reason"
	case status == http.StatusServiceUnavailable:
		return cannotTell, "the page cannot check tickets just now (503); the ticket is not spent: " +
			"try again in a few seconds"
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return cannotTell, fmt.Sprintf("a proxy got no answer from the page (%d); "+
			"the ticket may have been spent: see the service's log", status)
	case status >= 300 && status < 400:
		return failed, fmt.Sprintf("the page redirects (%d) without redeeming; "+
			"give --url the final address, with its scheme and host", status)
	case status == http.StatusNotFound:
		return failed, "there is no such page (404); check that --url ends in /login, or /chat/ and a channel's code"
	case status >= 200 && status < 300:
		return failed, fmt.Sprintf("the page answers (%d) without redeeming the ticket; "+
			"check that --url ends in /login, or /chat/ and a channel's code", status)
	case status >= 500:
		return failed, fmt.Sprintf("the page is out of order (%d); "+
			"the ticket may have been spent: see the service's log", status)
	}
	return failed, fmt.Sprintf("the page gives an answer (%d) that no login or chat page gives to a ticket; "+
		"check --url, and any proxy before the page", status)
}

// judgeEntry is judge for a redirect with status 303, by which pages let a ticket in.
func judgeEntry(response *http.Response) (v verdict, explanation string) {
	to, err := response.Location()
	switch {
	case err != nil:
		return failed, "the page redirects (303) to nowhere; check that --url is a login or chat page"
	case hasTicket(to):
		return failed, "the page redirects (303) to a URL that still has the ticket, so the ticket was not redeemed; " +
			"check that --url is a login or chat page, and not something before it"
	case len(response.Header.Values("Set-Cookie")) == 0:
		return cannotTell, "the page redirects (303) and sets no cookie, " +
			"so it may be something before the login or chat page; check --url, and the service's log"
	}
	return good, ""
}

// hasTicket reports whether a URL contains a ticket, or cannot be searched for one.
func hasTicket(u *url.URL) bool {
	q, err := url.ParseQuery(u.RawQuery)
	text, err2 := url.PathUnescape(u.String())
	return err != nil || err2 != nil || q.Has("ta") || q.Has("TA") || ticketPattern.MatchString(text)
}
