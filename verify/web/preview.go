package web

import (
	"net/http"
	"slices"
	"strings"
)

// crawlers are parts of the User-Agent of programs that fetch links to show or index them,
// in small letters. Each name is the crawler's own: the browsers inside the same
// companies' apps have other names (FBAN, LinkedInApp, Slack_SSB, Teams, GSA), since
// people enter with these.
var crawlers = []string{
	"facebookexternalhit", "facebookcatalog", "facebot", "meta-externalagent", "meta-externalfetcher", // iMessage too
	"telegrambot", "discordbot", "linkedinbot", "skypeuripreview", "twitterbot", // Skype's is that of Teams too
	"slackbot", "slack-imgproxy", "redditbot", "pinterestbot", "applebot", "mattermost-bot", "zulipurlpreview",
	"googlebot", "google-inspectiontool", "googleother", "google-pagerenderer", "google web preview", "google-read-aloud",
	"googleimageproxy", "google-safety", "apis-google", "adsbot-google", "mediapartners-google", "feedfetcher-google",
	"bingbot", "bingpreview", "msnbot", "adidxbot", "microsoftpreview", "ms-office",
	"yandexbot", "duckduckbot", "baiduspider", "petalbot", "vkshare", "kakaotalk-scrap", "line-poker",
	"snap url preview", "embedly", "iframely", "cardyb", "yahoo link preview",
	// Many crawlers name a page about themselves, and no browser does.
	"+http://", "+https://",
}

// crawlerPrefixes begin the User-Agent of crawlers, in small letters. Browsers inside apps
// begin with Mozilla.
var crawlerPrefixes = []string{"whatsapp/", "pinterest/"} // WhatsApp's is that of Signal too

// forPreview reports whether a known crawler made a request, to show or index a link. A
// POST is a person's, whatever the User-Agent.
func forPreview(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	agent := strings.ToLower(r.UserAgent())
	return slices.ContainsFunc(crawlers, func(s string) bool { return strings.Contains(agent, s) }) ||
		slices.ContainsFunc(crawlerPrefixes, func(s string) bool { return strings.HasPrefix(agent, s) })
}

// showPreview shows crawlers a page about a link with a ticket. The ticket is not opened:
// the page names nobody and is the same for all tickets. A person whose browser has the
// name of a crawler enters by the button.
func (h *Handler) showPreview(w http.ResponseWriter, r *http.Request, ticket string) {
	if r.PostForm == nil {
		_ = r.ParseForm() // takes the readable parts of the query
	}
	p := h.c.Page(r).checked(h.c.Log)
	l := h.languages.of(r, p.Language)
	v := view{Title: l.texts.PreviewTitle, Text: []string{l.texts.PreviewText}, Description: l.texts.PreviewText}
	if ticket != "" {
		a := &attempt{Handler: h, r: r, ticket: ticket}
		v.Form = a.form(l.texts.ConfirmButton)
	}
	h.show(w, r, http.StatusOK, p, l, v)
}
