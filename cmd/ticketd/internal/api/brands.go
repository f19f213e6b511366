package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// pageOf returns the looks of pages under the settings.
func pageOf(set directory.Effective) web.Page {
	p := web.Page{
		Brand: set.DisplayName, Colour: set.Colour, Language: set.Language,
		Home: set.Home, ReturnOrigins: set.ReturnOrigins, SignIn: set.SignInURL,
	}
	for _, source := range set.FrameAncestors {
		if source != "'none'" {
			p.FrameAncestors = append(p.FrameAncestors, source)
		}
	}
	return p
}

// pageAgent returns the looks of a page without a good ticket: those of the brand that the
// URL names (brand=), or else of the session's. The page of a refused ticket does not tell
// the ticket's brand.
func (s *server) pageAgent(r *http.Request) web.Page {
	var p web.Page
	own, _, _ := strings.Cut(r.URL.RawQuery, "to=/") // what follows is where the person wants to go
	query, _ := url.ParseQuery(own)
	brand := query.Get("brand")
	if session, err := s.Sessions.Current(nil, r, token.Agent); err == nil && brand == "" {
		brand = session.Brand
	}
	if brand != "" {
		p = s.pageIn(r.Context(), place{brand, ""})
	}
	return s.agentsPage(p)
}

// agentsPage returns p for agents: a brand's Home is for its customers.
func (s *server) agentsPage(p web.Page) web.Page {
	p.Home = ""
	p.SignIn = cmp.Or(p.SignIn, s.SignInURL)
	return p
}

// pageCustomer returns the looks of a page without a good ticket: those of the brand of
// the code in the URL.
func (s *server) pageCustomer(r *http.Request) web.Page {
	return s.pageIn(r.Context(), s.placeOf(r.PathValue("code")))
}

// pageIn returns the looks of pages at a place, or the default looks if there is no place
// or the directory cannot be asked.
func (s *server) pageIn(ctx context.Context, p place) web.Page {
	if p.brand == "" {
		return web.Page{}
	}
	set, err := s.Directory.Effective(ctx, p.brand, p.channel)
	if err != nil {
		return web.Page{}
	}
	return pageOf(set)
}

// place is a brand, or a channel of a brand.
type place struct{ brand, channel string }

// placeOf returns the place of a code, or none. It is for pages: channelOf decides where a
// ticket may be used.
func (s *server) placeOf(code string) place {
	brand, channel, err := s.Channels.Place(code)
	if err != nil {
		return place{}
	}
	return place{brand, channel}
}
