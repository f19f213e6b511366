package attribute

import "github.com/admitone/admitone/cmd/ticketd/internal/directory"

// The fields of each kind of record, in the order in which people see them.

// Brands are the fields of a brand.
var Brands = append([]Field[directory.Brand]{
	{"name", "", true, func(b *directory.Brand) any { return &b.Name }},
	{"region", "country of phone numbers without a country code, such as GB",
		true, func(b *directory.Brand) any { return &b.Region }},
	{"required-agent-fields", "fields that a request for an agent's ticket must give beside the username: " +
		"email, phone1, uniqueId, firstName, lastName, separated by commas",
		true, func(b *directory.Brand) any { return &b.RequiredAgentFields }},
	{"agent-lifetime", "lifetime of an agent's ticket if the request does not say, such as 30s, or default (60s)",
		false, func(b *directory.Brand) any { return &b.AgentLifetime }},
	{"login-addresses", "addresses and networks from which agents may log in, separated by commas; empty for all",
		false, func(b *directory.Brand) any { return &b.LoginAddresses }},
	{"agent-sign-in-url", "address of the organisation's own sign-in page for agents, with {return} for the address " +
		"to come back to, such as https://crm.example.com/signin?return={return}; empty for the one of ticketd serve",
		false, func(b *directory.Brand) any { return &b.AgentSignInURL }},
	{"sessions-since", "", false, func(b *directory.Brand) any { return &b.SessionsSince }},
}, settingFields(func(b *directory.Brand) *directory.Settings { return &b.Settings })...)

// Agents are the fields of an agent.
var Agents = []Field[directory.Agent]{
	{"brand", "", false, func(a *directory.Agent) any { return &a.Brand }},
	{"username", "", true, func(a *directory.Agent) any { return &a.Username }},
	{"email", emailUsage, true, func(a *directory.Agent) any { return &a.Email }},
	{"phone1", phoneUsage, true, func(a *directory.Agent) any { return &a.Phone1 }},
	{"unique-id", uniqueIDUsage, true, func(a *directory.Agent) any { return &a.UniqueID }},
	{"first-name", "first name", true, func(a *directory.Agent) any { return &a.FirstName }},
	{"last-name", "last name", true, func(a *directory.Agent) any { return &a.LastName }},
	{"groups", "groups of the agent in applications behind the service: names separated by commas",
		false, func(a *directory.Agent) any { return &a.Groups }},
	{"active", "whether the agent may enter: true or false (with add: true)",
		true, func(a *directory.Agent) any { return &a.Active }},
}

// Help of the flags shared by agents and customers.
const (
	emailUsage    = "email address"
	phoneUsage    = "phone number, with + and country code, or as it is written in the brand's region"
	uniqueIDUsage = "identifier of the person in the organisation's other systems"
)

// Customers are the fields of a customer.
var Customers = []Field[directory.Customer]{
	{"brand", "", false, func(c *directory.Customer) any { return &c.Brand }},
	{"id", "", true, func(c *directory.Customer) any { return &c.ID }},
	{"email", emailUsage, true, func(c *directory.Customer) any { return &c.Email }},
	{"phone1", phoneUsage, true, func(c *directory.Customer) any { return &c.Phone1 }},
	{"unique-id", uniqueIDUsage, true, func(c *directory.Customer) any { return &c.UniqueID }},
	{"first-name", "first name", true, func(c *directory.Customer) any { return &c.FirstName }},
	{"last-name", "last name", true, func(c *directory.Customer) any { return &c.LastName }},
	{"remark", "remark for agents", false, func(c *directory.Customer) any { return &c.Remark }},
	{"created", "", false, func(c *directory.Customer) any { return &c.Created }},
	{"updated", "", false, func(c *directory.Customer) any { return &c.Updated }},
}

// Identifiers are the fields by which a customer is found.
var Identifiers = Customers[2:5]

// Channels are the fields of a channel.
var Channels = append([]Field[directory.Channel]{
	{"brand", "", false, func(c *directory.Channel) any { return &c.Brand }},
	{"id", "", true, func(c *directory.Channel) any { return &c.ID }},
	{"name", "name of the channel for operators", true, func(c *directory.Channel) any { return &c.Name }},
}, settingFields(func(c *directory.Channel) *directory.Settings { return &c.Settings })...)

// APIKeys are the fields of an API key.
var APIKeys = []Field[directory.APIKey]{
	{"id", "", true, func(k *directory.APIKey) any { return &k.ID }},
	{"scopes", "what the key may be used for: issue, redeem, admin, console, separated by commas (with add: issue)",
		true, func(k *directory.APIKey) any { return &k.Scopes }},
	{"brands", "brands for which the key may be used, separated by commas",
		true, func(k *directory.APIKey) any { return &k.Brands }},
	{"all-brands", "the key may be used for every brand, future ones too",
		false, func(k *directory.APIKey) any { return &k.AllBrands }},
	{"note", "note for people, such as the owner of the key", true, func(k *directory.APIKey) any { return &k.Note }},
	{"rate", "requests per second in the long run; 0 for serve's --rate-limit",
		false, func(k *directory.APIKey) any { return &k.Rate }},
	{"burst", "requests at once, with --rate; 0 for serve's --rate-burst",
		false, func(k *directory.APIKey) any { return &k.Burst }},
	{"expires", "end of the key: a date such as 2030-01-31, a time of RFC 3339, a time from now such as 90d, or never",
		true, func(k *directory.APIKey) any { return &k.Expires }},
	{"created", "", false, func(k *directory.APIKey) any { return &k.Created }},
	{"revoked", "", true, func(k *directory.APIKey) any { return &k.Revoked }},
	{"last-used", "", true, func(k *directory.APIKey) any { return &k.LastUsed }},
}

// Administrators are the fields of an administrator.
var Administrators = []Field[directory.Administrator]{
	{"username", "", true, func(a *directory.Administrator) any { return &a.Username }},
	{"name", "name of the administrator for people", true, func(a *directory.Administrator) any { return &a.Name }},
	{"email", emailUsage, true, func(a *directory.Administrator) any { return &a.Email }},
	{"role", "admin, who may change, or auditor, who may read",
		true, func(a *directory.Administrator) any { return &a.Role }},
	{"brands", "brands in which the role holds, separated by commas",
		true, func(a *directory.Administrator) any { return &a.Brands }},
	{"all-brands", "the role holds in the whole deployment, future brands too",
		false, func(a *directory.Administrator) any { return &a.AllBrands }},
	{"active", "whether the administrator may enter: true or false (with add: true)",
		true, func(a *directory.Administrator) any { return &a.Active }},
}

// Issuers are the fields of a named issuer, which a list of ticketd serve has.
var Issuers = []Field[directory.Issuer]{
	{"name", "", true, func(i *directory.Issuer) any { return &i.Name }},
	{"denied", "", true, func(i *directory.Issuer) any { return &i.Denied }},
	{"brands", "", true, func(i *directory.Issuer) any { return &i.Brands }},
	{"all-brands", "", false, func(i *directory.Issuer) any { return &i.AllBrands }},
	{"audiences", "", true, func(i *directory.Issuer) any { return &i.Audiences }},
	{"max-lifetime", "", false, func(i *directory.Issuer) any { return &i.MaxLifetime }},
	{"many-times", "", false, func(i *directory.Issuer) any { return &i.ManyTimes }},
	{"override", "", false, func(i *directory.Issuer) any { return &i.Override }},
	{"claims", "", false, func(i *directory.Issuer) any { return &i.Claims }},
	{"until", "", true, func(i *directory.Issuer) any { return &i.Until }},
	{"rate", "", false, func(i *directory.Issuer) any { return &i.Rate }},
	{"format", "", true, func(i *directory.Issuer) any { return &i.Format }},
	{"keys", "", false, func(i *directory.Issuer) any { return &i.Keys }},
	{"denied-keys", "", false, func(i *directory.Issuer) any { return &i.DeniedKeys }},
	{"generation", "", false, func(i *directory.Issuer) any { return &i.Generation }},
	{"bundle-until", "", false, func(i *directory.Issuer) any { return &i.BundleUntil }},
	{"sessions-since", "", false, func(i *directory.Issuer) any { return &i.SessionsSince }},
	{"last-used", "", true, func(i *directory.Issuer) any { return &i.LastUsed }},
	{"key-uses", "", false, func(i *directory.Issuer) any { return &i.KeyUses }},
}

// settingFields returns the fields of the settings that brands and channels share.
func settingFields[T any](of func(*T) *directory.Settings) []Field[T] {
	at := func(part func(*directory.Settings) any) func(*T) any {
		return func(record *T) any { return part(of(record)) }
	}
	return []Field[T]{
		{"ticket-login", "issue and redeem tickets: true, false or default (true)",
			true, at(func(s *directory.Settings) any { return &s.TicketLogin })},
		{"one-time", "make a ticket one-time if the request does not say: true, false or default (false)",
			false, at(func(s *directory.Settings) any { return &s.OneTime })},
		{"customer-lifetime", "lifetime of a customer's ticket if the request does not say, such as 5m, or default (5m)",
			false, at(func(s *directory.Settings) any { return &s.CustomerLifetime })},
		{"max-lifetime", "longest lifetime that a request may ask for, such as 10m, or default (15m); " +
			"serve --max-lifetime is the limit of all brands",
			false, at(func(s *directory.Settings) any { return &s.MaxLifetime })},
		{"api-addresses", "addresses and networks from which tickets may be requested, separated by commas; empty for all",
			false, at(func(s *directory.Settings) any { return &s.APIAddresses })},
		{"confirm", "ask a person before a ticket is spent: true, false or default (false)",
			false, at(func(s *directory.Settings) any { return &s.Confirm })},
		{"other-user", "what to do if another user is signed in: replace, confirm, refuse, or empty (replace)",
			false, at(func(s *directory.Settings) any { return &s.OtherUser })},
		{"display-name", "name on pages; empty for the name of the record",
			false, at(func(s *directory.Settings) any { return &s.DisplayName })},
		{"colour", "colour of pages, such as #0a7d44; empty for the service's",
			false, at(func(s *directory.Settings) any { return &s.Colour })},
		{"language", "language of pages, such as de; empty for the browser's",
			false, at(func(s *directory.Settings) any { return &s.Language })},
		{"frame-ancestors", "sites that may show the pages in a frame, separated by commas, " +
			"such as https://crm.example.com; empty for none",
			false, at(func(s *directory.Settings) any { return &s.FrameAncestors })},
		{"customer-sign-in-url", "address of the organisation's own sign-in page for customers, with {return} for the " +
			"address to come back to, such as https://shop.example.com/signin?return={return}; empty for none",
			false, at(func(s *directory.Settings) any { return &s.CustomerSignInURL })},
		{"customer-home", "where customers go after the entry, such as /inbox or a URL on one of the return origins; " +
			"empty for the chat's own page",
			false, at(func(s *directory.Settings) any { return &s.CustomerHome })},
		{"return-origins", "other sites to which people may be sent after the entry, separated by commas, " +
			"such as https://shop.example.com; empty for none",
			false, at(func(s *directory.Settings) any { return &s.ReturnOrigins })},
	}
}
