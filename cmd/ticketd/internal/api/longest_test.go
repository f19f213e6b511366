//go:build unix

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// longestHeader is the longest header line that common servers take by default: Apache's
// LimitRequestFieldSize, less a byte.
const longestHeader = 8189

// longest returns a text of n bytes that is n letters, or as many letters of two bytes as fit.
func longest(n int, letter string) string {
	return strings.Repeat("x", n%len(letter)) + strings.Repeat(letter, n/len(letter))
}

// longestAgents returns agents with the longest values that the directory accepts.
func longestAgents(t *testing.T, brand string) (all []directory.Agent) {
	for _, letter := range []string{"g", "\u00e9"} {
		for _, name := range []string{"", longest(100, letter)} {
			a := directory.Agent{
				Brand: brand, Username: fmt.Sprint(len(all)) + longest(254, letter), Email: longest(243, letter) + "@example.com",
				UniqueID: longest(255, letter), FirstName: name, LastName: name, Active: true,
			}
			for a.Validate() == nil && len(a.Groups) < 70 {
				a.Groups = append(a.Groups, fmt.Sprintf("%02d", len(a.Groups))+longest(30, letter))
			}
			for last := &a.Groups[len(a.Groups)-1]; a.Validate() != nil && len(*last) > 1; {
				*last = (*last)[:len(*last)-1]
			}
			require.NoError(t, a.Validate())
			all = append(all, a)
		}
	}
	return all
}

// trap W15: every agent whom the directory accepts can enter, and passes the check.
func TestLongestAgent(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		brand := strings.Repeat("b", 64)
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: brand}))
		most := 0
		for _, a := range longestAgents(t, brand) {
			groups := strings.Join(a.Groups, ",")
			most = max(most, len(groups))
			// Another issuer with the same keys may name an actor of any length.
			s := web.Session{Audience: token.Agent, Brand: a.Brand, Actor: strings.Repeat("a", 64)}
			a.RecordID = strings.Repeat("r", 26)
			describeAgent(&s, a)
			require.NoError(t, s.CheckSize(), "%d groups of %d bytes", len(a.Groups), len(groups))

			require.NoError(t, w.directory.AddAgent(t.Context(), a))
			body, err := json.Marshal(map[string]string{"brand": a.Brand, "username": a.Username, "email": a.Email,
				"uniqueId": a.UniqueID, "firstName": a.FirstName, "lastName": a.LastName})
			require.NoError(t, err)
			john := w.client()
			res := john.get("/login?ta=" + w.ticket(w.anyKey, string(body)))
			require.Equal(t, http.StatusSeeOther, res.status, w.log.String())
			res = john.get("/auth/check")
			require.Equal(t, http.StatusOK, res.status)
			for name := range res.header {
				assert.LessOrEqual(t, len(name+": "+res.header.Get(name)), longestHeader, name)
			}
			assert.LessOrEqual(t, len("Cookie: "+john.cookies[0].Name+"="+john.cookies[0].Value), longestHeader)
		}
		assert.Equal(t, 1700, most, "the limit is reached")
	})
}

// trap W15: an agent whom no session can carry is refused when added, changed or imported.
func TestTooManyGroups(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		groups := strings.Split(strings.Repeat(strings.Repeat("g", 30)+",", 55), ",")[:55]
		for i := range groups {
			groups[i] = fmt.Sprintf("%02d%s", i, groups[i][2:])
		}
		require.Len(t, strings.Join(groups, ","), 1704)
		a := second
		a.Groups = groups
		_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
			func(old *directory.Agent) error { old.Groups = groups; return nil })
		const want = "groups has 1704 bytes with the commas, and a session holds 1700; give fewer groups or shorter names"
		assert.EqualError(t, err, want)
		_, err = w.directory.ImportAgents(t.Context(), "commbox",
			func(yield func(directory.Agent, error) bool) { yield(a, nil) }, nil)
		assert.ErrorContains(t, err, want)
		a.Username = "new"
		assert.EqualError(t, w.directory.AddAgent(t.Context(), a), want)
		john := w.client()
		require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
		assert.Empty(t, john.get("/auth/check").header.Get("Remote-Groups"), "nothing was changed")
	})
}

// trap W15: the longest ticket that is issued enters, and a longer one is not issued.
func TestLongestTicket(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		brand, channel := strings.Repeat("b", 64), strings.Repeat("c", 64)
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: brand}))
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: brand, ID: channel}))
		fields := map[string]any{
			"brand": brand, "channel": channel, "email": strings.Repeat("\u00e9", 121) + "e@example.com",
			"uniqueId": strings.Repeat("\u00e9", 127) + "u", "phone1": "+4917612345678",
			"firstName": strings.Repeat("\u00e9", 50), "lastName": strings.Repeat("\u00e9", 50),
			"remark": strings.Repeat("r", 512), "overrideUserInfo": true,
		}
		body, err := json.Marshal(fields)
		require.NoError(t, err)
		ticket := w.ticket(w.anyKey, string(body))
		jane := w.client()
		res := jane.get(w.chatPath(brand, channel) + "?ta=" + ticket)
		require.Equal(t, http.StatusSeeOther, res.status, w.log.String())
		res = jane.get("/auth/check-customer")
		require.Equal(t, http.StatusOK, res.status)
		assert.Equal(t, channel, res.header.Get("Admitone-Channel"))

		// An agent's username and email address leave less room for a remark.
		for _, a := range longestAgents(t, brand) {
			require.NoError(t, w.directory.AddAgent(t.Context(), a))
			body, err := json.Marshal(map[string]string{"brand": brand, "username": a.Username, "email": a.Email,
				"uniqueId": a.UniqueID, "firstName": a.FirstName, "lastName": a.LastName,
				"remark": strings.Repeat("r", 512)})
			require.NoError(t, err)
			res := w.ask(w.anyKey, string(body))
			if a.FirstName == "" {
				assert.Equal(t, http.StatusOK, res.status, res.body)
				continue
			}
			assert.Equal(t, http.StatusBadRequest, res.status, res.body)
			assert.Contains(t, res.body, "remark has 512 bytes, and the whole ticket would be longer than 2048 characters; ")
		}
	})
}

// trap W15: what a brand's name may have, the check's path may have as well.
func TestEveryBrandCanBeChecked(t *testing.T) {
	w := newWorld(t)
	for _, brand := range []string{
		"a b", "100%", "a%2Fb", "..a", "a\\b", "a?b#c", "a;b", "\u00e9", "%2e", "+", "a&b=c", "~", "...",
	} {
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: brand}), brand)
		a := second
		a.Brand = brand
		require.NoError(t, w.directory.AddAgent(t.Context(), a))
		body, err := json.Marshal(map[string]string{"brand": brand, "username": "john.d", "email": "john.d@gmail.com"})
		require.NoError(t, err)
		john := w.client()
		require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.anyKey, string(body))).status, brand)
		assert.Equal(t, http.StatusOK, john.get("/auth/brand/"+url.PathEscape(brand)+"/check").status, brand)
		assert.Equal(t, http.StatusUnauthorized, john.get("/auth/brand/commbox/check").status, brand)
	}
}

// trap W15: the directory accepts no home and no sign-in page that the pages leave out.
func TestEveryHomeIsFollowed(t *testing.T) {
	w := newWorld(t)
	chat := w.chatPath("commbox", "web")
	accepted := 0
	const shop = "https://shop.example"
	for _, origin := range []string{"", shop, shop + ":8443", shop + ":99999"} {
		for _, path := range []string{
			"", "/", "/inbox", "/a//b", "/a/%2fb", "/a/%5Cb", "/%252f", "/%0a", "/a/../b", "/x?y=z", "/?u=//x", "?x", "/#a", "//x",
			"///", "/%zz", "/%C3%A9", "/a%20b", "/a b", "/\u00e9", "/x?a=\\b", "/x?y=%2F%2F", "/./", "/:", "/a@b",
		} {
			home := origin + path
			_, err := w.directory.UpdateBrand(t.Context(), "commbox", func(b *directory.Brand) error {
				b.CustomerHome, b.ReturnOrigins = home, nil
				if origin != "" {
					b.ReturnOrigins = []string{origin}
				}
				return nil
			})
			if err != nil || home == "" {
				continue
			}
			accepted++
			ticket := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com","oneTimeUse":true}`)
			res := w.client().get(chat + "?ta=" + ticket)
			require.Equal(t, http.StatusSeeOther, res.status, res.body)
			got, want := res.header.Get("Location"), home
			if path == "" {
				want += "/"
			}
			assert.Equal(t, want, got)
		}
	}
	assert.Greater(t, accepted, 20)
	assert.NotContains(t, w.log.String(), "left out")
}
