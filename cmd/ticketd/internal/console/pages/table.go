package pages

import "net/http"

// A table is a list of records.
type table struct {
	Caption, Empty string
	Search, Query  string // label of the search field; "": none
	Actions        []action
	Notes          []string // what needs attention
	Columns        []string
	Rows           [][]cell
	Next           string // address of the next part
}

// A cell is a part of a row. The first cell of a row names the record. Text may have several lines.
type cell struct {
	Text, Href string
	Quiet      string // shown in grey where Text is empty
	More       []action
}

// An action is a link to a page, a text, or an address to copy.
type action struct {
	Text, Href string
	URL        string
	Danger     bool
}

func (q *request) list(title string, t table) error {
	q.render(http.StatusOK, title, "table", t)
	return nil
}

// nextPage returns the address of the next part of a list.
func (q *request) nextPage(next string) string {
	if next == "" {
		return ""
	}
	values := q.r.URL.Query()
	values.Del("did")
	values.Set("after", next)
	return q.r.URL.EscapedPath() + "?" + values.Encode()
}
