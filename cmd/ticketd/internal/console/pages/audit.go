package pages

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
)

// maxExport is the largest number of events in a file.
const maxExport = 100_000

// An auditPage is a part of the audit trail.
type auditPage struct {
	Ticket         string // of a filter for one ticket
	Fields         []*field
	Events         []shownEvent
	Next           string
	All, CSV, JSON string
}

// A shownEvent is an event for people.
type shownEvent struct {
	When, What, Reason, Fields, Record, Who, From, Ticket, Follow string
}

// eventFilter reads the filter in the query, and the form with its fields.
func (q *request) eventFilter() (directory.EventFilter, []*field, bool) {
	v := q.r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	f := directory.EventFilter{
		Brand: q.brand.Name, AllBrands: q.Brand == "", Ticket: get("ticket"), Issuer: get("issuer"),
		Kind: get("kind"), Name: get("name"), Action: get("action"), ActorKind: directory.ActorKind(get("by")),
		Actor: get("actor"),
	}
	var what []option
	for _, o := range [][2]string{
		{"", "everything"}, {"ticket.", "all about tickets"}, {directory.ActionIssueTicket, "issued"},
		{directory.ActionEnter, "entered"}, {directory.ActionRedeemTicket, "redeemed"},
		{directory.ActionRefuseTicket, "refused"}, {directory.ActionRevokeTicket, "tickets revoked"},
		{directory.ActionEndSessions, "sessions ended"}, {"agent.", "agents"}, {"customer.", "customers"},
		{"channel.", "channels"}, {"brand.", "brands"}, {"key.", "API keys"}, {"administrator.", "administrators"},
		{"issuer.", "issuers"},
	} {
		what = append(what, option{Value: o[0], Text: o[1]})
	}
	by := []option{{Value: "", Text: "anybody"}}
	for _, k := range directory.ActorKinds() {
		by = append(by, option{Value: string(k), Text: string(k)})
	}
	fields := []*field{
		{Name: "action", Label: "What", Options: what, Value: f.Action},
		{Name: "by", Label: "By a", Options: by, Value: string(f.ActorKind)},
		{Name: "actor", Label: "Name of who", Value: f.Actor},
		{Name: "kind", Label: "Kind of record", Value: f.Kind}, {Name: "name", Label: "Name of the record", Value: f.Name},
		{Name: "ticket", Label: "Ticket ID", Value: f.Ticket}, {Name: "issuer", Label: "Issuer", Value: f.Issuer},
		{Name: "since", Label: "From (UTC day)", Value: get("since")}, {Name: "until", Label: "To (UTC day)",
			Value: get("until")},
	}
	(&form{Groups: []group{{Fields: fields}}}).choose()
	ok := true
	days := map[string]*time.Time{"since": &f.Since, "until": &f.Until}
	for _, field := range fields {
		to := days[field.Name]
		if to == nil || field.Value == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, field.Value)
		if err != nil {
			field.Error, ok = "This is no day. Write it like 2030-01-31.", false
		}
		if *to = t; to == &f.Until && ok {
			*to = t.AddDate(0, 0, 1) // the whole day
		}
	}
	return f, fields, ok
}

func (q *request) audit() error {
	f, fields, ok := q.eventFilter()
	page := auditPage{Ticket: f.Ticket, Fields: fields, All: q.at("audit")}
	exported := func(format string) string {
		v := q.r.URL.Query()
		v.Del("after")
		v.Set("format", format)
		return q.at("audit/export") + "?" + v.Encode()
	}
	page.CSV, page.JSON = exported("csv"), exported("json")
	status := http.StatusUnprocessableEntity
	if ok {
		status = http.StatusOK
		list, err := q.desk.Events(q.r.Context(), f, manage.Page{After: q.r.URL.Query().Get("after")})
		var wrong *directory.FieldError
		switch {
		case errors.As(err, &wrong):
			status = http.StatusUnprocessableEntity
			for _, field := range fields {
				if field.Name == wrong.Field {
					field.Error = "This " + wrong.Reason + "."
				}
			}
		case err != nil:
			return err
		}
		page.Next = q.nextPage(list.Next)
		for _, e := range list.Items {
			page.Events = append(page.Events, q.shown(e))
		}
		if f.Ticket != "" { // a ticket's way is read from its start
			slices.Reverse(page.Events)
		}
	}
	title := "Audit"
	switch {
	case f.Ticket != "":
		title = "The way of a ticket"
	case q.Brand == "":
		title = "Audit of all brands"
	}
	q.render(status, title, "audit", page)
	return nil
}

// shown returns an event for people.
func (q *request) shown(e directory.Event) shownEvent {
	s := shownEvent{
		When: e.At.UTC().Format("2 Jan 2006 15:04:05"), What: e.Action, Reason: e.Reason,
		Fields: strings.Join(e.Fields, ", "),
		Record: strings.TrimSpace(e.Kind + " " + e.Name), Who: strings.TrimSpace(string(e.Actor.Kind) + " " + e.Actor.Name),
		From: strings.TrimSpace(e.Actor.Machine + " " + e.Actor.Remote), Ticket: e.Ticket,
		Follow: q.at("audit", "ticket", e.Ticket),
	}
	if e.Count > 1 {
		s.What += " × " + strconv.Itoa(e.Count)
	}
	if q.Brand == "" && e.Brand != "" {
		s.Record = e.Brand + ": " + s.Record
	}
	return s
}

// exportAudit answers with the events of the filter as a file, the newest first.
func (q *request) exportAudit() error {
	f, _, ok := q.eventFilter()
	format := q.r.URL.Query().Get("format")
	if !ok || format != "csv" && format != "json" {
		return &directory.FieldError{Field: "filter", Reason: "has a wrong day or format; export from the page of the " +
			"audit"}
	}
	page := manage.Page{Limit: manage.MaxLimit}
	list, err := q.desk.Events(q.r.Context(), f, page)
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Content-Disposition", `attachment; filename="audit.`+format+`"`)
	write := writeJSON(q.w)
	h.Set("Content-Type", "application/json; charset=utf-8")
	if format == "csv" {
		h.Set("Content-Type", "text/csv; charset=utf-8")
		write = writeCSV(q.w)
	}
	for n := len(list.Items); ; n += len(list.Items) {
		if err := write(list.Items, list.Next == "" || n >= maxExport); err != nil || list.Next == "" || n >= maxExport {
			return nil // the browser sees the end of the connection
		}
		page.After = list.Next
		if list, err = q.desk.Events(q.r.Context(), f, page); err != nil {
			panic(http.ErrAbortHandler) // half a file must not look like a whole one
		}
	}
}

// exportColumns are the columns of a CSV file, as exportRow has them.
var exportColumns = []string{
	"id", "at", "brand", "action", "kind", "name", "fields", "actor_kind", "actor", "machine", "remote", "ticket",
	"issuer",
	"ticket_key", "signing_key", "reason", "count",
}

func exportRow(e directory.Event) []string {
	row := []string{
		strconv.FormatInt(e.ID, 10), e.At.UTC().Format(time.RFC3339Nano), e.Brand, e.Action, e.Kind, e.Name,
		strings.Join(e.Fields, " "), string(e.Actor.Kind), e.Actor.Name, e.Actor.Machine, e.Actor.Remote, e.Ticket,
		e.Issuer,
		e.TicketKey, e.SigningKey, e.Reason, strconv.Itoa(e.Count),
	}
	for i, text := range row { // a spreadsheet would compute these
		if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
			row[i] = "'" + text
		}
	}
	return row
}

// writeCSV returns a function that writes events as lines.
func writeCSV(out io.Writer) func([]directory.Event, bool) error {
	w := csv.NewWriter(out)
	_ = w.Write(exportColumns) // Error tells
	return func(all []directory.Event, _ bool) error {
		for _, e := range all {
			_ = w.Write(exportRow(e))
		}
		w.Flush()
		return w.Error()
	}
}

// writeJSON returns a function that writes events as the objects of a list.
func writeJSON(out io.Writer) func([]directory.Event, bool) error {
	separator := "["
	return func(all []directory.Event, last bool) error {
		for _, e := range all {
			b, err := json.Marshal(map[string]any{
				"id": e.ID, "at": e.At.UTC(), "brand": e.Brand, "action": e.Action, "kind": e.Kind, "name": e.Name,
				"fields": append([]string{}, e.Fields...), "actorKind": e.Actor.Kind, "actor": e.Actor.Name,
				"machine": e.Actor.Machine, "remote": e.Actor.Remote, "ticket": e.Ticket, "issuer": e.Issuer,
				"ticketKey": e.TicketKey, "signingKey": e.SigningKey, "reason": e.Reason, "count": e.Count,
			})
			if err == nil {
				_, err = io.WriteString(out, separator+string(b))
			}
			if err != nil {
				return err
			}
			separator = ",\n"
		}
		if !last {
			return nil
		}
		if separator == "[" {
			_, err := io.WriteString(out, "[]\n")
			return err
		}
		_, err := io.WriteString(out, "]\n")
		return err
	}
}
