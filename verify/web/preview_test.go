package web

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

const (
	appleWebKit = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Mobile/15E148"
	chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0 Mobile Safari/537.36"
)

// previews are the names by which crawlers go.
var previews = []string{
	"TelegramBot (like TwitterBot)",
	"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
	"facebookexternalhit/1.1",
	"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
	"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
	"Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com", // Teams too
	"WhatsApp/2.23.20.0",
	"WhatsApp/2.2413.9 W",
	"WhatsApp/2", // Signal
	"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
	"Slackbot 1.0 (+https://api.slack.com/robots)",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 " +
		"Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", // iMessage
	"Twitterbot/1.0",
	"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
	"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
	"Mozilla/5.0 (compatible; Redditbot/1.0; +http://www.reddit.com/feedback)",
	"Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
	"Synapse (bot; +https://github.com/matrix-org/synapse)",
}

// inApp are the names of browsers that people use inside apps.
var inApp = []string{
	appleWebKit + " [FBAN/FBIOS;FBAV/470.0.0.40.112;FBBV/618187092;FBDV/iPhone14,5]",
	"Mozilla/5.0 (Linux; Android 14; Pixel 8) " + chrome + " [FB_IAB/FB4A;FBAV/466.0]",
	appleWebKit + " [LinkedInApp]/9.29.6",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + chrome + " Slack/4.38.121 Slack_SSB/4.38",
	"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Teams/24072 Edg/124.0 Electron/28 Safari/537.36",
	appleWebKit + " Instagram 331.0.3.29.90 (iPhone14,5; iOS 17_5)",
	appleWebKit + " Twitter for iPhone/10.42",
	appleWebKit + " GSA/318.0 Safari/604.1",
	appleWebKit + " BingSapphire/27.9",
	appleWebKit + " WhatsApp/24.11",
	appleWebKit + " Telegram-iOS/10.13",
	"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 discord/1.0.9146 Chrome/120.0 Electron/28 Safari/537.36",
	appleWebKit + " [Pinterest/iOS]",
	"Mozilla/5.0 (Linux; Android 11; CUBOT KINGKONG) AppleWebKit/537.36 Chrome/125.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0) SkypeSpaces/1440 Skype/8.119 Electron/28",
	"curl/8.5.0",
	"",
}

// trap W14: link previews spend nothing, and get a page that is worth previewing and names
// nobody. A person who got that page enters by its button.
func TestPreview(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		w := newWorld(t)
		w.looks(Page{Brand: "Comm & Box"})
		admit := w.Admit
		w.Admit = func(r *http.Request, tk token.Ticket, use verify.Use) (Entry, error) {
			e, err := admit(r, tk, use)
			e.Confirm = confirm
			return e, err
		}
		w.start()
		ticket := w.issue(nil)
		opened := w.opener.opened.Load()
		var pages []string
		for _, agent := range previews {
			b := w.browser()
			page := b.get("/login?next=/inbox&ta="+ticket, "User-Agent", agent, "Sec-Fetch-Mode", "navigate")
			require.Equal(t, http.StatusOK, page.StatusCode, agent)
			pages = append(pages, page.body)
			assert.Equal(t, http.StatusOK, b.do(http.MethodHead, "/login?ta="+ticket, "", "User-Agent", agent).StatusCode)
			assert.Empty(t, page.Cookies())
			assert.Equal(t, "no-store", page.Header.Get("Cache-Control"))
			forged := b.get("/login?next=/inbox&ta="+ticket[:len(ticket)-4]+"AAAA", "User-Agent", agent)
			assert.Equal(t, http.StatusOK, forged.StatusCode, "a stranger learns nothing about tickets")
		}
		page := pages[0]
		for _, want := range []string{
			"<title>Sign in</title>", `<meta property="og:title" content="Sign in">`,
			`<meta name="description" content="This `,
			`<meta property="og:description" content="This `, `<meta property="og:site_name" content="Comm &amp; Box">`,
		} {
			assert.Contains(t, page, want)
		}
		for _, name := range []string{"John", "john", "Doe"} {
			assert.NotContains(t, page, name)
		}
		assert.Equal(t, opened, w.opener.opened.Load(), "no ticket was opened")
		assert.Zero(t, w.store.accesses)

		// Who got the page in a browser with such a name enters by its button.
		person := w.browser()
		agent := []string{"User-Agent", previews[0]}
		answer := person.press(person.get("/login?next=/inbox&ta="+ticket, agent...), append(ownForm, agent...)...)
		if confirm {
			assert.Contains(t, answer.body, "Continue as")
			answer = person.press(answer, append(ownForm, agent...)...)
		}
		assert.Equal(t, "/inbox", w.entered(answer))
		assert.Equal(t, "john.d", person.user())
		if confirm {
			continue
		}
		for _, agent := range inApp {
			w.entered(w.browser().get("/login?ta="+w.issue(nil), "User-Agent", agent))
		}
	}
}

// A crawler's page for a link from which nobody can tell the ticket has no button.
func TestPreviewWithoutTicket(t *testing.T) {
	w := newWorld(t).start()
	page := w.browser().get("/login?ta=a&ta=b", "User-Agent", previews[0])
	assert.Equal(t, http.StatusOK, page.StatusCode)
	assert.NotContains(t, page.body, "<form")
	none := w.browser().get("/login", "User-Agent", previews[0])
	assert.Equal(t, http.StatusForbidden, none.StatusCode)
}
