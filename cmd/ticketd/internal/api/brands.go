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

// look returns the looks of pages under the settings, without the places to which the
// pages of agents and of customers lead.
func (s *server) look(set *directory.Effective) web.Page {
	p := web.Page{
		Brand: set.DisplayName, Logo: s.Looks.Logos[set.Brand],
		Colour: set.Colour, Language: set.Language, ReturnOrigins: set.ReturnOrigins,
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
	own, _, _ := strings.Cut(r.URL.RawQuery, "to=/") // what follows is where the person wants to go
	query, _ := url.ParseQuery(own)
	brand := query.Get("brand")
	if session, err := s.Sessions.Current(nil, r, token.Agent); err == nil && brand == "" {
		brand = session.Brand
	}
	p := s.agentsPage(s.settingsIn(r.Context(), place{brand, ""}))
	p.SessionBrand = brand // an application of this brand has sent here whom it does not know
	return p
}

// agentsPage returns the pages of agents under the settings.
func (s *server) agentsPage(set *directory.Effective) web.Page {
	p := s.look(set)
	p.SignIn = cmp.Or(set.AgentSignInURL, s.AgentSignInURL)
	return p
}

// customersPage returns the pages of customers under the settings.
func (s *server) customersPage(set *directory.Effective) web.Page {
	p := s.look(set)
	p.SignIn, p.Home = set.CustomerSignInURL, set.CustomerHome
	return p
}

// pageCustomer returns the looks of a page without a good ticket: those of the brand of
// the code in the URL.
func (s *server) pageCustomer(r *http.Request) web.Page {
	return s.customersPage(s.settingsIn(r.Context(), s.placeOf(r.PathValue("code"))))
}

// settingsIn returns the settings at a place, or none, for pages with the default looks, if
// there is no place or the directory cannot be asked.
func (s *server) settingsIn(ctx context.Context, p place) *directory.Effective {
	if p.brand == "" {
		return new(directory.Effective)
	}
	at, err := s.Directory.Place(ctx, p.brand, p.channel)
	if err != nil || at.Channel == nil && p.channel != "" {
		return new(directory.Effective)
	}
	return &at.Settings
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
