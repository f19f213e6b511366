package directory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

const (
	maxGroups = 64 // of an agent
	maxGroup  = 64 // bytes of a group's name

	// maxGroupList is the length of the list with a comma between two names, in bytes. The
	// session of an agent is a cookie, and must hold the list beside the longest values of
	// all other fields: a test of package api compares the limit with that of package web.
	maxGroupList = 1700
)

// An Agent is a user of a brand's management system. Only the username is unique in the
// brand.
type Agent struct {
	Brand     string
	Username  string // as given, in NFC; compared without regard to case; at most 255 bytes
	Email     string
	Phone1    string // E.164 with the leading +, as E164 gives it
	UniqueID  string
	FirstName string
	LastName  string
	Groups    []string // for applications behind the service; see checkGroups
	Active    bool     // whether the agent may enter
	RecordID  string   // chosen by the directory; see newRecordID

	// TicketsSince is when the name returned, if the agent was removed and added, or made
	// inactive and active again: older tickets are not for this agent. The directory
	// chooses it.
	TicketsSince time.Time

	Revision int64 // see DB.IfRevision; set by the directory
}

var agents = table[Agent]{
	kind: "agent", name: "agent", keys: 2,
	columns: []string{
		"brand", "username_fold", "username", "email", "email_fold", "phone1", "uniqueid", "first_name", "last_name",
		"first_fold", "last_fold", "group_names", "active", "record", "tickets_since",
	},
	fields: func(a *Agent) []any {
		return []any{
			&a.Brand, folded{&a.Username, UsernameKey}, &a.Username, &a.Email, folded{&a.Email, foldEmail}, &a.Phone1,
			&a.UniqueID, &a.FirstName, &a.LastName, folded{&a.FirstName, foldName},
			folded{&a.LastName, foldName}, texts[string]{&a.Groups}, &a.Active, &a.RecordID,
			instant{&a.TicketsSince},
		}
	},
	label:    func(a *Agent) string { return a.Username },
	revision: func(a *Agent) *int64 { return &a.Revision },
	prepare:  (*Agent).check,
}

// Validate returns a *FieldError if the directory would refuse the agent.
func (a Agent) Validate() error { return a.check() }

// check refuses a wrong record, and puts the identifiers into their normal form.
func (a *Agent) check() error {
	err := cmp.Or(
		checkName("brand", a.Brand, maxBrand),
		checkName("username", a.Username, maxIdentifier),
		NormalizeIdentifiers(&a.Username, &a.Email, &a.UniqueID),
		checkPerson(&a.Email, &a.UniqueID, a.FirstName, a.LastName, a.Phone1),
		checkGroups(a.Groups))
	if err != nil || a.Phone1 == "" {
		return err
	}
	// A number in another form, such as with a 0 after the country code, would be stored
	// and never match.
	if same, err := E164(a.Phone1, ""); err != nil || same != a.Phone1 {
		return refuse("phone1", "is not the E.164 form of a possible number; "+
			"write + and the country code, then the number without the 0 for calls within the country")
	}
	return nil
}

// checkGroups refuses groups that do not fit into a header with a list separated by
// commas, or into a session: at most 64 names of 64 bytes, 1,700 bytes in all.
func checkGroups(groups []string) error {
	if len(groups) > maxGroups {
		return refuse("groups", "has more than %d names; give fewer", maxGroups)
	}
	if n := len(strings.Join(groups, ",")); n > maxGroupList {
		return refuse("groups", "has %d bytes with the commas, and a session holds %d; give fewer groups or shorter names",
			n, maxGroupList)
	}
	for i, group := range groups {
		if err := checkName("groups", group, maxGroup); err != nil {
			return err
		}
		switch {
		case strings.Contains(group, ","):
			return refuse("groups", "has a name with a comma; applications separate the names with it")
		case strings.TrimSpace(group) != group:
			return refuse("groups", "has a name with a space at its beginning or end; remove it")
		case slices.Contains(groups[:i], group):
			return refuse("groups", "has a name twice; give it once")
		}
	}
	return nil
}

// AddAgent adds an agent with a new RecordID. If the brand has an agent with the
// username, the error wraps ErrExists; if the brand does not exist, ErrNotFound.
func (db *DB) AddAgent(ctx context.Context, a Agent) error {
	a.RecordID, a.TicketsSince = newRecordID(), time.Time{}
	return agents.add(ctx, db, &a, func(ctx context.Context, tx *change) error {
		_, err := returnAgents(ctx, tx, db.now(), a.Brand, a.Username)
		return err
	})
}

// UpdateAgent changes the agent by edit, as UpdateBrand does. An inactive agent who is
// made active has a new RecordID and a TicketsSince; edit itself changes neither. The
// username stays as it is spelled.
func (db *DB) UpdateAgent(ctx context.Context, brand, username string, edit func(*Agent) error) (Agent, error) {
	now := db.now()
	return agents.updateThen(ctx, db, func(a *Agent) error {
		was := *a
		if err := edit(a); err != nil {
			return err
		}
		if a.Username != was.Username {
			return refuse("username", "of the agent cannot change; add another agent instead")
		}
		a.RecordID, a.TicketsSince = was.RecordID, was.TicketsSince
		if a.Active && !was.Active {
			a.RecordID = newRecordID()
		}
		return nil
	}, func(ctx context.Context, tx *change, was, is *Agent) error {
		switch {
		case was.Active && !is.Active:
			return departAgents(ctx, tx, now, brand, username)
		case !was.Active && is.Active:
			n, err := returnAgents(ctx, tx, now, brand, username)
			if n > 0 {
				is.TicketsSince = wholeMillis(now)
			}
			return err
		}
		return nil
	}, brand, UsernameKey(username))
}

// Agent looks up an agent of the brand by username, active or not. The record has the
// username as it was spelled when the agent was added. If the agent does not exist, the
// error wraps ErrNotFound.
func (db *DB) Agent(ctx context.Context, brand, username string) (Agent, error) {
	name := UsernameKey(username)
	return remembered(ctx, db.cache, cacheKey{"agent", brand, name}, func() (Agent, error) {
		v, err := agents.get(ctx, db.read, brand, name)
		return v.record, err
	})
}

// Agents lists up to limit agents of the brand, in the order of their usernames without
// regard to case.
func (db *DB) Agents(ctx context.Context, brand, after string, limit int) ([]Agent, error) {
	if _, err := db.Brand(ctx, brand); err != nil {
		return nil, err
	}
	return agents.page(ctx, db.read, []any{brand}, UsernameKey(after), limit)
}

// RemoveAgent removes an agent.
func (db *DB) RemoveAgent(ctx context.Context, brand, username string) error {
	return agents.remove(ctx, db, func(ctx context.Context, tx *change) error {
		return departAgents(ctx, tx, db.now(), brand, username)
	}, brand, UsernameKey(username))
}
