package pages

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/keyring"
)

// countedPages is the number of pages of events that the overview counts.
const countedPages = 20

// Sizes of the chart.
const (
	hours     = 24
	hourWidth = 31
	height    = 140
)

// A day is the overview of a brand's last day.
type day struct {
	Attention                 []action
	Issued, Admitted, Refused int
	Any, Partial              bool
	Bars                      []bar
	Marks                     []mark
	Reasons                   []reason
}

type bar struct {
	Class, Text  string
	X, Y, Height int
}

type mark struct {
	X    int
	Text string
}

type reason struct {
	Reason string
	Count  int
}

// An hour counts events.
type hour struct{ issued, admitted, refused int }

func (q *request) overview() error {
	now := q.Office.Now()
	first := now.Truncate(time.Hour).Add(-(hours - 1) * time.Hour)
	counts, reasons := make([]hour, hours), make(map[string]int)
	d := day{Partial: true}
	page := manage.Page{Limit: manage.MaxLimit}
	for range countedPages {
		list, err := q.desk.Events(q.r.Context(), directory.EventFilter{Brand: q.brand.Name, Action: "ticket.",
			Since: first}, page)
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			i := int(e.At.Sub(first) / time.Hour)
			if i < 0 || i >= hours {
				continue
			}
			switch e.Action {
			case directory.ActionIssueTicket:
				counts[i].issued += e.Count
			case directory.ActionEnter, directory.ActionRedeemTicket:
				counts[i].admitted += e.Count
			case directory.ActionRefuseTicket:
				counts[i].refused += e.Count
				reasons[e.Reason] += e.Count
			}
		}
		if page.After = list.Next; page.After == "" {
			d.Partial = false
			break
		}
	}
	d.draw(first, counts)
	for _, name := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(reasons[b]-reasons[a], cmp.Compare(a, b))
	}) {
		d.Reasons = append(d.Reasons, reason{name, reasons[name]})
	}
	var err error
	if d.Attention, err = q.attention(now); err != nil {
		return err
	}
	q.render(http.StatusOK, "Overview", "overview", d)
	return nil
}

// draw makes the bars of the chart.
func (d *day) draw(first time.Time, counts []hour) {
	most := 0
	for _, c := range counts {
		d.Issued, d.Admitted, d.Refused = d.Issued+c.issued, d.Admitted+c.admitted, d.Refused+c.refused
		most = max(most, c.issued, c.admitted, c.refused)
	}
	d.Any = most > 0
	for i, c := range counts {
		at := first.Add(time.Duration(i) * time.Hour).UTC()
		for j, n := range []int{c.issued, c.admitted, c.refused} {
			if n == 0 {
				continue
			}
			class := []string{"issued", "admitted", "refused"}[j]
			h := max(n*height/most, 2)
			d.Bars = append(d.Bars, bar{class, fmt.Sprintf("%s UTC: %d %s", at.Format("15:04"), n, class),
				i*hourWidth + j*9, 150 - h, h})
		}
		if i%4 == 0 {
			d.Marks = append(d.Marks, mark{i * hourWidth, at.Format("15:04")})
		}
	}
}

// attention returns what an administrator should look at.
func (q *request) attention(now time.Time) (all []action, err error) {
	if len(q.brand.APIAddresses) == 0 {
		all = append(all, action{
			Text: "The brand has no allow-list: a stolen API key works from any address.",
			Href: q.at("settings") + "#f-apiAddresses"})
	}
	page := manage.Page{Limit: manage.MaxLimit}
	for {
		list, err := q.desk.APIKeys(q.r.Context(), q.brand.Name, page)
		if err != nil {
			return nil, err
		}
		for _, k := range list.Items {
			if text := attribute.Reminder(k, now); text != "" {
				all = append(all, action{Text: text, Href: address("", "api-keys")})
			}
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	issuers, err := q.issuerReminders()
	if err != nil {
		return nil, err
	}
	all = append(all, issuers...)
	if !q.AllBrands() {
		return all, nil
	}
	health, err := q.desk.Health(q.r.Context())
	if err != nil {
		return nil, err
	}
	for _, c := range health {
		if !c.OK {
			all = append(all, action{Text: "The " + c.Name + " does not answer: " + c.Problem})
		}
	}
	rings, err := q.desk.Keyrings(q.r.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range rings {
		for _, s := range r.Plan(now).Steps {
			if s.Urgency == keyring.Overdue {
				all = append(all, action{Text: fmt.Sprintf("A step of the %s keyring is overdue.", r.Kind), Href: address("",
					"keyrings")})
			}
		}
	}
	return all, nil
}
