package pages

import (
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

func (q *request) channels() error {
	list, err := q.desk.Channels(q.r.Context(), q.brand.Name, manage.Page{After: q.r.URL.Query().Get("after")})
	if err != nil {
		return err
	}
	t := table{
		Caption: "Channels", Columns: []string{"Channel", "Name", "Chat URL", "Where customers go", "Who may frame it"},
		Next:  q.nextPage(list.Next),
		Empty: "There is no channel yet. Add one for each place where customers enter, such as a web site.",
	}
	if q.CanChange() {
		t.Actions = []action{{Text: "Add a channel", Href: q.at("channels/add")}}
	}
	for _, c := range list.Items {
		e := q.brand.Effective(&c.Channel)
		t.Rows = append(t.Rows, []cell{
			{Text: c.ID, Href: q.at("channels/edit", "id", c.ID)}, {Text: c.Name}, {Text: c.URL},
			{Text: e.CustomerHome, Quiet: "the chat's own page"}, {Text: strings.Join(e.FrameAncestors, ", ")},
		})
	}
	return q.list("Channels", t)
}

func (q *request) addChannel() error {
	f := &form{
		Submit: "Add the channel", Cancel: q.at("channels"),
		Groups: []group{{Fields: []*field{
			{Name: "channel", Label: "ID", Kind: "text", Hint: "Unique in the brand, such as web. It never changes."},
			{Name: "name", Label: "Name", Kind: "text", Hint: "For operators. May be empty."},
		}}},
	}
	if q.posted() {
		f.typed(q.r)
		given := f.Groups[0].Fields
		c, err := q.desk.AddChannel(q.r.Context(), q.brand.Name, directory.Channel{ID: given[0].Value,
			Name: given[1].Value})
		if err == nil {
			return q.leave(q.at("channels/edit", "id", c.ID), "added")
		}
		if err := f.refused(err); err != nil {
			return err
		}
	}
	return q.show("Add a channel", f, nil)
}

func (q *request) editChannel() error {
	c, err := q.desk.Channel(q.r.Context(), q.brand.Name, q.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	f := settingsForm(attribute.Channels, &c.Channel, q.brand.Effective(nil), nil)
	f.Groups = append([]group{{"Channel", fieldsOf(attribute.Channels, &c.Channel, settingMeans, "name")}}, f.Groups...)
	f.Revision, f.Cancel = c.Revision, q.at("channels")
	f.Intro = "An empty field has the brand's value, which is in grey."
	if q.posted() {
		f.typed(q.r)
		if change, ok := read(f, attribute.Channels); ok {
			_, err := q.revised().ChangeChannel(q.r.Context(), q.brand.Name, c.ID,
				func(c *directory.Channel) error { change(c); return nil })
			if err == nil {
				return q.leave(q.at("channels/edit", "id", c.ID), "saved")
			}
			if err := f.refused(err); err != nil {
				return err
			}
		}
	}
	above := []action{{Text: "Chat URL, to copy", URL: c.URL}}
	if q.CanChange() {
		above = append(above, action{Text: "Remove the channel", Href: q.at("channels/remove", "id", c.ID), Danger: true})
	}
	return q.show("Channel "+c.ID, f, above)
}

func (q *request) removeChannel() (destruction, error) {
	c, err := q.desk.Channel(q.r.Context(), q.brand.Name, q.r.URL.Query().Get("id"))
	return destruction{
		Title: "Remove a channel", Kind: "channel", Name: c.ID, Button: "Remove the channel",
		Text: "The chat URL stops working. Tickets that name the channel are refused.",
		Back: q.at("channels"), Code: "removed",
		do: func() error { return q.desk.RemoveChannel(q.r.Context(), q.brand.Name, c.ID) },
	}, err
}
