package directory

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/admitone/admitone/token"
)

// The fate of a session of another user in the browser of somebody who enters.
const (
	Replace = "replace" // the new session takes its place
	Confirm = "confirm" // the person is asked
	Refuse  = "refuse"  // the session stays, and the ticket unspent
)

const (
	maxFrameAncestors = 20
	maxLanguage       = 35 // bytes, which RFC 5646 asks for
	maxURL            = 1000
)

// Settings are the settings that a brand has for itself and its channels, and that a
// channel may override. A zero field of a channel means the brand's setting; a zero
// field of a brand means the default stated here.
type Settings struct {
	TicketLogin *bool // whether tickets are issued and redeemed; default true
	OneTime     *bool // whether a ticket is one-time if the request does not say; default false

	// Whole milliseconds: the lifetime of a customer's ticket if the request has none
	// (default token.CustomerLifetime), and the longest lifetime that a request may ask
	// for (default token.MaxLifetime).
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration

	APIAddresses Addresses // allowed addresses of callers of the API; default any

	Confirm   *bool  // whether a person is asked before a ticket is spent; default false
	OtherUser string // Replace, Confirm or Refuse; default Replace

	DisplayName string // name of the brand on pages, at most 100 bytes; default the brand's name
	Colour      string // of pages, #rrggbb; default the service's
	Language    string // of pages, a BCP 47 tag; default the browser's

	// FrameAncestors are the pages that may show this page in a frame, as sources of the
	// CSP directive frame-ancestors: https://host or http://host, with an optional port
	// and an optional *. for the first label, 'self', or 'none' alone. The default is
	// 'none'.
	FrameAncestors []string

	// CustomerSignInURL is the address of the organisation's own sign-in page for customers,
	// with {return} in its query for the address to come back to with a ticket. CustomerHome
	// is where customers go after the entry: a path such as /inbox, or a URL on one of
	// ReturnOrigins. ReturnOrigins are the other sites to which people may be sent, as
	// https://host with an optional port.
	CustomerSignInURL string   // default none
	CustomerHome      string   // default the chat's own page
	ReturnOrigins     []string // default none
}

// Effective is the settings in force for a brand or for a channel.
type Effective struct {
	Brand               string
	Channel             string // "" for the brand itself
	Region              string // "": none
	RequiredAgentFields []string

	TicketLogin bool
	OneTime     bool

	// AgentLifetime and CustomerLifetime are at most MaxLifetime, and the maximum of the
	// service may be lower still.
	AgentLifetime    time.Duration
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration

	APIAddresses   Addresses
	LoginAddresses Addresses

	Confirm       bool
	OtherUser     string // Replace, Confirm or Refuse
	SessionsSince time.Time
	TicketsSince  time.Time // see Brand

	DisplayName    string
	Colour         string // "": the service's
	Language       string // "": the browser's
	FrameAncestors []string

	AgentSignInURL    string // "": the service's
	CustomerSignInURL string // "": none
	CustomerHome      string // "": none
	ReturnOrigins     []string
}

// Effective returns the settings in force for the channel, or with nil for the brand:
// the channel's settings, then the brand's, then the defaults that Settings states.
func (b Brand) Effective(c *Channel) Effective {
	var own Settings
	id := ""
	if c != nil {
		own, id = c.Settings, c.ID
	}
	longest := cmp.Or(own.MaxLifetime, b.MaxLifetime, token.MaxLifetime)
	return Effective{
		Brand: b.Name, Channel: id, Region: b.Region, RequiredAgentFields: b.RequiredAgentFields,
		TicketLogin:       first(own.TicketLogin, b.TicketLogin, true),
		OneTime:           first(own.OneTime, b.OneTime, false),
		AgentLifetime:     min(cmp.Or(b.AgentLifetime, token.AgentLifetime), longest),
		CustomerLifetime:  min(cmp.Or(own.CustomerLifetime, b.CustomerLifetime, token.CustomerLifetime), longest),
		MaxLifetime:       longest,
		APIAddresses:      firstList(own.APIAddresses, b.APIAddresses),
		LoginAddresses:    b.LoginAddresses,
		Confirm:           first(own.Confirm, b.Confirm, false),
		OtherUser:         cmp.Or(own.OtherUser, b.OtherUser, Replace),
		SessionsSince:     b.SessionsSince,
		TicketsSince:      b.TicketsSince,
		DisplayName:       cmp.Or(own.DisplayName, b.DisplayName, b.Name),
		Colour:            cmp.Or(own.Colour, b.Colour),
		Language:          cmp.Or(own.Language, b.Language),
		FrameAncestors:    firstList(own.FrameAncestors, b.FrameAncestors, []string{"'none'"}),
		AgentSignInURL:    b.AgentSignInURL,
		CustomerSignInURL: cmp.Or(own.CustomerSignInURL, b.CustomerSignInURL),
		CustomerHome:      cmp.Or(own.CustomerHome, b.CustomerHome),
		ReturnOrigins:     firstList(own.ReturnOrigins, b.ReturnOrigins),
	}
}

// first returns the first value that is set.
func first(channel, brand *bool, byDefault bool) bool {
	switch {
	case channel != nil:
		return *channel
	case brand != nil:
		return *brand
	}
	return byDefault
}

// firstList returns the first list that is not empty.
func firstList[S ~[]E, E any](lists ...S) S {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

var settingColumns = []string{
	"ticket_login", "one_time", "customer_lifetime", "max_lifetime", "api_addresses", "confirm",
	"other_user", "display_name", "colour", "language", "frame_ancestors",
	"customer_sign_in_url", "customer_home", "return_origins",
}

func (s *Settings) fields() []any {
	return []any{
		&s.TicketLogin, &s.OneTime, lifetime{&s.CustomerLifetime}, lifetime{&s.MaxLifetime},
		prefixes{&s.APIAddresses}, &s.Confirm, &s.OtherUser, &s.DisplayName, &s.Colour, &s.Language,
		texts[string]{&s.FrameAncestors}, &s.CustomerSignInURL, &s.CustomerHome, texts[string]{&s.ReturnOrigins},
	}
}

var colourForm = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// prepare refuses wrong settings and normalizes good ones.
func (s *Settings) prepare() error {
	s.Colour = strings.ToLower(s.Colour)
	if s.Colour != "" && !colourForm.MatchString(s.Colour) {
		return refuse("colour", "is not of the form #rrggbb; write it like #1a73e8")
	}
	if s.OtherUser != "" && !slices.Contains([]string{Replace, Confirm, Refuse}, s.OtherUser) {
		return refuse("otherUser", "is not replace, confirm or refuse; give one of these")
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
	if err := s.checkReturns(); err != nil {
		return err
	}
	return checkText("displayName", s.DisplayName, maxName)
}

// checkAddresses refuses a list if ParseAddresses cannot read the text of the list.
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
		return refuse("frameAncestors", "has more than %d sources; give fewer, with *. for the first label",
			maxFrameAncestors)
	}
	for i, source := range s.FrameAncestors {
		if slices.Contains(s.FrameAncestors[:i], source) {
			return refuse("frameAncestors", "names a source twice; name it once")
		}
		switch {
		case source == "'none'" && len(s.FrameAncestors) > 1:
			return refuse("frameAncestors", "has 'none' beside others; give it alone")
		case source != "'none'" && source != "'self'" && !isOrigin(source):
			return refuse("frameAncestors", "has a source other than https://host, http://host, 'self' and 'none'; "+
				"write it like https://www.example.com or https://*.example.com")
		case everybodys(source):
			return refuse("frameAncestors", "has *. before a name under which anybody can have a site; "+
				"write the organisation's own name behind it, like https://*.example.com")
		}
	}
	return nil
}

// checkLifetime refuses a lifetime that exceeds the longest or the format of tickets. 0
// means no lifetime.
func checkLifetime(field string, d, longest time.Duration) error {
	if d != 0 && d < time.Second || d%time.Millisecond != 0 || d > math.MaxUint32*time.Millisecond {
		return refuse(field, "is not a whole number of milliseconds from 1000 to %d; nobody enters within less than a second",
			uint32(math.MaxUint32))
	}
	if d > longest {
		return refuse(field, "is %v and the longest allowed is %v; lower the one or raise the other", d, longest)
	}
	return nil
}
