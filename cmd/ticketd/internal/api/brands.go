package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

// pageOf returns the looks of pages under the settings.
func pageOf(set directory.Effective) web.Page {
	p := web.Page{Brand: set.DisplayName, Colour: set.Colour, Language: set.Language}
	for _, source := range set.FrameAncestors {
		if source != "'none'" {
			p.FrameAncestors = append(p.FrameAncestors, source)
		}
	}
	return p
}

// pageAgent returns the looks of a page without a good ticket: those of the session's
// brand. The page of a refused ticket does not tell the ticket's brand.
func (s *server) pageAgent(r *http.Request) web.Page {
	session, ok := s.Sessions.Current(nil, r, token.Agent)
	if !ok {
		return web.Page{}
	}
	return s.pageIn(r.Context(), place{session.Brand, ""})
}

// pageCustomer returns the looks of a page without a good ticket: those of the brand of
// the code in the URL.
func (s *server) pageCustomer(r *http.Request) web.Page {
	return s.pageIn(r.Context(), s.placeOf(r.Context(), r.PathValue("code")))
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

const (
	maxCodes    = 10_000
	codeBrands  = 1000             // brands in which a code is looked for
	brandsKnown = 10 * time.Second // time for which the list of brands is good
)

// codes remember the places of the codes in URLs. A code does not name its brand, and
// opens under the brand's name only.
type codes struct {
	mu     sync.Mutex
	known  map[string]place
	brands []string
	listed time.Time
}

// placeOf returns the place of a code in any brand, or none. It is for pages: channelOf
// decides where a ticket may be used.
func (s *server) placeOf(ctx context.Context, code string) place {
	c := &s.codes
	c.mu.Lock()
	p, ok := c.known[code]
	brands, listed := c.brands, c.listed
	c.mu.Unlock()
	if ok {
		return p
	}
	now := s.Now()
	if age := now.Sub(listed); brands == nil || age < 0 || age > brandsKnown {
		all, err := s.Directory.Brands(ctx, "", codeBrands)
		if err != nil {
			return place{}
		}
		brands = make([]string, len(all))
		for i, b := range all {
			brands[i] = b.Name
		}
		listed = now
	}
	for _, brand := range brands {
		if id, err := s.Channels.ID(brand, code); err == nil {
			p = place{brand, id}
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brands, c.listed = brands, listed
	if p.brand == "" {
		return p // not remembered: anybody can make up any number of such codes
	}
	if c.known == nil || len(c.known) >= maxCodes {
		c.known = make(map[string]place)
	}
	c.known[code] = p
	return p
}
