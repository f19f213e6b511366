package pages

import (
	"net/http"
	"slices"
	"time"

	"github.com/admitone/admitone/keyring"
)

// A ring is a keyring for people, without keys.
type ring struct {
	Kind       string
	Generation uint64
	Loaded     time.Time
	Checked    time.Time
	Error      string
	Steps      []ringStep
	Keys       []ringKey
}

// A ringStep is an entry of a timeline.
type ringStep struct {
	At     time.Time
	Text   string
	Future bool
}

type ringKey struct {
	ID, State, Algorithm string
	Created, LastUse     time.Time
	Sealed, Opened       uint64
}

func (q *request) keyrings() error {
	reports, err := q.desk.Keyrings(q.r.Context())
	if err != nil {
		return err
	}
	var rings []ring
	for _, r := range reports {
		rings = append(rings, ringOf(r, q.Office.Now()))
	}
	q.render(http.StatusOK, "Keys", "keyrings", rings)
	return nil
}

// ringOf returns a keyring's past and planned steps, and its keys.
func ringOf(r keyring.Report, now time.Time) ring {
	all := ring{Kind: string(r.Kind), Generation: r.Generation, Loaded: r.Loaded, Checked: r.Checked, Error: r.Error}
	for _, k := range r.Keys {
		for _, s := range []ringStep{
			{k.Created, "made", false}, {k.Promoted, "became the primary", false},
			{k.Demoted, "ceased to be the primary", false}, {k.Disabled, "was disabled", false},
		} {
			if !s.At.IsZero() {
				s.Text = "Key " + k.ID.String() + " " + s.Text
				all.Steps = append(all.Steps, s)
			}
		}
		key := ringKey{ID: k.ID.String(), State: string(k.State), Algorithm: k.Algorithm, Created: k.Created}
		if i := slices.IndexFunc(r.Use, func(u keyring.KeyUse) bool { return u.ID == k.ID }); i >= 0 {
			key.Sealed, key.Opened, key.LastUse = r.Use[i].Sealed, r.Use[i].Opened, r.Use[i].LastUse
		}
		all.Keys = append(all.Keys, key)
	}
	slices.SortStableFunc(all.Steps, func(a, b ringStep) int { return a.At.Compare(b.At) })
	all.Steps = append(all.Steps, ringStep{At: now, Text: "now"})
	for _, s := range r.Plan(now).Steps {
		text := "planned: " + string(s.Do)
		if s.Key != 0 {
			text += " " + s.Key.String()
		}
		if s.Urgency != keyring.Upcoming {
			text += " (" + string(s.Urgency) + ")"
		}
		all.Steps = append(all.Steps, ringStep{s.At, text, true})
	}
	return all
}
