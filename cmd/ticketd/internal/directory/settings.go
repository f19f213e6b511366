package directory

import (
	"cmp"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/admitone/admitone/token"
)

// What happens when somebody enters where another user's session is present.
const (
	Replace = "replace" // the new session takes its place
	Confirm = "confirm" // the person is asked
	Refuse  = "refuse"  // the session stays, and the ticket unspent
)

const (
	maxFrameAncestors = 20
	maxLanguage       = 35 // bytes, which RFC 5646 asks for
)

// Settings are what a channel may decide for itself and a brand for its channels
// and itself. Whatever is left zero is as the brand has it, and for a brand what
// is said here.
type Settings struct {
	TicketLogin *bool // whether tickets are issued and redeemed at all; they are
	OneTime     *bool // whether a ticket is one-time when the request does not say; it is not

	// Whole milliseconds: how long a customer's ticket is good when the request
	// does not say (token.CustomerLifetime), and the longest that a request may
	// ask for (token.MaxLifetime).
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration

	APIAddresses Addresses // from where tickets are asked for; anywhere

	Confirm   *bool  // whether a person is asked before a ticket is spent; not
	OtherUser string // Replace, Confirm or Refuse; Replace

	DisplayName string // what pages call the brand, at most 100 bytes; its name
	Colour      string // of pages, #rrggbb; the service's
	Language    string // of pages, a BCP 47 tag; the browser's

	// FrameAncestors are the pages that may show this one in a frame, as
	// sources of the CSP directive frame-ancestors: https://host, http://host,
	// with a port or with *. for the first label, 'self', or 'none' alone;
	// 'none'.
	FrameAncestors []string
}

// Effective are the settings that hold for a brand, or for one of its channels.
type Effective struct {
	Brand               string
	Channel             string // "" for the brand itself
	Region              string // "": none
	RequiredAgentFields []string

	TicketLogin bool
	OneTime     bool

	// The first two never exceed the third, which the service's own maximum may
	// lower further.
	AgentLifetime    time.Duration
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration

	APIAddresses   Addresses
	LoginAddresses Addresses

	Confirm       bool
	OtherUser     string // Replace, Confirm or Refuse
	SessionsSince time.Time

	DisplayName    string
	Colour         string // "": the service's
	Language       string // "": the browser's
	FrameAncestors []string
}

// Effective are the settings that hold for the brand's channel, or for the brand
// itself if there is none: the channel's own, then the brand's, then what
// Settings says.
func (b Brand) Effective(c *Channel) Effective {
	var own Settings
	id := ""
	if c != nil {
		own, id = c.Settings, c.ID
	}
	longest := cmp.Or(own.MaxLifetime, b.MaxLifetime, token.MaxLifetime)
	return Effective{
		Brand: b.Name, Channel: id, Region: b.Region, RequiredAgentFields: b.RequiredAgentFields,
		TicketLogin:      first(own.TicketLogin, b.TicketLogin, true),
		OneTime:          first(own.OneTime, b.OneTime, false),
		AgentLifetime:    min(cmp.Or(b.AgentLifetime, token.AgentLifetime), longest),
		CustomerLifetime: min(cmp.Or(own.CustomerLifetime, b.CustomerLifetime, token.CustomerLifetime), longest),
		MaxLifetime:      longest,
		APIAddresses:     firstList(own.APIAddresses, b.APIAddresses),
		LoginAddresses:   b.LoginAddresses,
		Confirm:          first(own.Confirm, b.Confirm, false),
		OtherUser:        cmp.Or(own.OtherUser, b.OtherUser, Replace),
		SessionsSince:    b.SessionsSince,
		DisplayName:      cmp.Or(own.DisplayName, b.DisplayName, b.Name),
		Colour:           cmp.Or(own.Colour, b.Colour),
		Language:         cmp.Or(own.Language, b.Language),
		FrameAncestors:   firstList(own.FrameAncestors, b.FrameAncestors, []string{"'none'"}),
	}
}

func first(own, brand *bool, byDefault bool) bool {
	switch {
	case own != nil:
		return *own
	case brand != nil:
		return *brand
	}
	return byDefault
}

func firstList[S ~[]E, E any](lists ...S) S {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

var settingColumns = []string{"ticket_login", "one_time", "customer_lifetime", "max_lifetime", "api_addresses", "confirm",
	"other_user", "display_name", "colour", "language", "frame_ancestors"}

func (s *Settings) fields() []any {
	return []any{&s.TicketLogin, &s.OneTime, lifetime{&s.CustomerLifetime}, lifetime{&s.MaxLifetime}, prefixes{&s.APIAddresses}, &s.Confirm,
		&s.OtherUser, &s.DisplayName, &s.Colour, &s.Language, texts[string]{&s.FrameAncestors}}
}

var colour = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// prepare refuses settings that make no sense, and puts them into their one form.
func (s *Settings) prepare() error {
	s.Colour = strings.ToLower(s.Colour)
	if s.Colour != "" && !colour.MatchString(s.Colour) {
		return refuse("colour", "is not of the form #rrggbb; write it like #1a73e8")
	}
	if s.OtherUser != "" && !slices.Contains([]string{Replace, Confirm, Refuse}, s.OtherUser) {
		return refuse("otherUser", "is none of replace, confirm and refuse; give one of them")
	}
	if s.Language != "" {
		tag, err := language.Parse(s.Language)
		if err != nil || tag == language.Und || len(s.Language) > maxLanguage {
			return refuse("language", "is not a BCP 47 language tag; write it like en, de-AT or zh-Hant")
		}
		s.Language = tag.String()
	}
	if err := checkAddresses("apiAddresses", &s.APIAddresses); err != nil {
		return err
	}
	if err := s.checkFrameAncestors(); err != nil {
		return err
	}
	return checkText("displayName", s.DisplayName, maxName)
}

// checkAddresses refuses a list that was not made by ParseAddresses and would
// not be read again.
func checkAddresses(field string, list *Addresses) error {
	same, err := ParseAddresses(list.String())
	if err != nil {
		return refuse(field, "is refused: %v", err)
	}
	*list = same
	return nil
}

func (s *Settings) checkFrameAncestors() error {
	if len(s.FrameAncestors) > maxFrameAncestors {
		return refuse("frameAncestors", "has more than %d sources; give fewer, with *. for the first label", maxFrameAncestors)
	}
	for i, source := range s.FrameAncestors {
		if slices.Contains(s.FrameAncestors[:i], source) {
			return refuse("frameAncestors", "names a source twice; name it once")
		}
		switch {
		case source == "'none'" && len(s.FrameAncestors) > 1:
			return refuse("frameAncestors", "has 'none' beside others; give it alone")
		case source != "'none'" && source != "'self'" && !isOrigin(source):
			return refuse("frameAncestors", "has a source that is none of https://host, http://host, 'self' and 'none'; "+
				"write it like https://www.example.com or https://*.example.com")
		}
	}
	return nil
}

var host = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// isOrigin reports whether s is a scheme and a host in lower case, perhaps with a
// port, and no more: what stands in a header must not end its directive.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxIdentifier || (u.Scheme != "https" && u.Scheme != "http") || !host.MatchString(u.Hostname()) {
		return false
	}
	origin := u.Scheme + "://" + u.Hostname()
	if port := u.Port(); port != "" {
		origin += ":" + port
	}
	return s == origin
}

// checkLifetime refuses a lifetime that a ticket cannot have, or that exceeds
// the longest; 0 is none.
func checkLifetime(field string, d, longest time.Duration) error {
	if d < 0 || d%time.Millisecond != 0 || d > math.MaxUint32*time.Millisecond {
		return refuse(field, "is not a whole number of milliseconds from 0 to %d", uint32(math.MaxUint32))
	}
	if d > longest {
		return refuse(field, "is %v and the longest allowed is %v; lower the one or raise the other", d, longest)
	}
	return nil
}
