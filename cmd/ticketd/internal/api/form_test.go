package api

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

const urlencoded = "application/x-www-form-urlencoded"

// older is the request of an older client.
const older = `{"Brand":"commbox","UserName":"john.d","Email":"john.d@gmail.com","FIRSTNAME":"John","LastName":"Doe",` +
	`"Phone1":"+442501234567","OneTimeUse":true,"OverrideUserInfo":false,"UniqueID":"123456"}`

// multipartOf returns a multipart form and its Content-Type.
func multipartOf(t *testing.T, pairs ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, m.WriteField(pairs[i], pairs[i+1]))
	}
	require.NoError(t, m.Close())
	return b.String(), m.FormDataContentType()
}

// post sends a body with a Content-Type, or with none if it is "".
func (w *world) post(path, key, contentType, body string) response {
	w.t.Helper()
	header := map[string]string{"Authorization": "Bearer " + key}
	if contentType != "" {
		header["Content-Type"] = contentType
	}
	return w.client().do(http.MethodPost, path, strings.NewReader(body), header)
}

func TestOlderClients(t *testing.T) {
	w := newWorld(t)
	form := "data=" + url.QueryEscape(older)
	parts, multi := multipartOf(t, "data", older)
	shouted, multiShouted := multipartOf(t, "DATA", `{"Data":`+older+`}`)
	for name, row := range map[string]struct{ path, contentType, body string }{
		"form":                    {"/auth/ticket", urlencoded, form},
		"form with a charset":     {"/auth/ticket", urlencoded + "; charset=UTF-8", form},
		"path in another case":    {"/Auth/Ticket", urlencoded, form},
		"path in capitals":        {"/AUTH/TICKET", "application/json", older},
		"no Content-Type":         {"/auth/ticket", "", form},
		"name in another case":    {"/auth/ticket", urlencoded, "Data=" + url.QueryEscape(older)},
		"wrapped in a form":       {"/auth/ticket", urlencoded, "data=" + url.QueryEscape(`{"data":`+older+`}`)},
		"multipart":               {"/Auth/Ticket", multi, parts},
		"multipart, wrapped":      {"/auth/ticket", multiShouted, shouted},
		"JSON that is said so":    {"/auth/ticket", "application/json", older},
		"JSON, and called a form": {"/auth/ticket", urlencoded, older},
		"JSON, of no type":        {"/auth/ticket", "", older},
	} {
		t.Run(name, func(t *testing.T) {
			res := w.post(row.path, w.key, row.contentType, row.body)
			require.Equal(t, http.StatusOK, res.status, res.body)
			ticket := res.body[strings.Index(res.body, "tkt1_"):strings.Index(res.body, `"}}`)]
			w.secrets = append(w.secrets, ticket[10:])
			var got token.Ticket
			require.NoError(t, w.open(ticket, &got))
			assert.Equal(t, []string{"john.d", "John", "Doe", "123456", "+442501234567"},
				[]string{got.Username, got.FirstName, got.LastName, got.UniqueID, got.Phone1})
			assert.True(t, got.OneTime)
		})
	}
	redeem := `data=` + url.QueryEscape(`{"Ticket":"`+w.ticket(w.key, reference)+`","Audience":"agent"}`)
	assert.Equal(t, http.StatusOK, w.post("/Auth/Redeem", w.redeemKey(), urlencoded, redeem).status)
	w.server.Close() // when all have their line
	assert.NotContains(t, w.log.String(), "Auth", "the log has the route in the service's spelling")
	assert.Contains(t, w.log.String(), "route=/auth/redeem")
}

// Any other form is told to be JSON, and not that there is an error at a byte of it.
func TestOtherForms(t *testing.T) {
	w := newWorld(t)
	none, multi := multipartOf(t, "brand", "commbox")
	beside, multiBeside := multipartOf(t, "data", older, "brand", "commbox")
	twice, multiTwice := multipartOf(t, "data", older, "data", older)
	for name, row := range map[string]struct{ contentType, body string }{
		"fields":                 {urlencoded, "brand=commbox&email=a%40b"},
		"fields, called JSON":    {"application/json", "brand=commbox&email=a%40b"},
		"fields, of no type":     {"", "brand=commbox&email=a%40b"},
		"fields of data":         {urlencoded, "data%5Bbrand%5D=commbox"},
		"fields of data, as are": {"", "data[brand]=commbox"},
		"data and more":          {urlencoded, "data=" + url.QueryEscape(older) + "&brand=commbox"},
		"data twice":             {urlencoded, "data=%7B%7D&data=%7B%7D"},
		"JSON without a name":    {urlencoded, url.QueryEscape(older)},
		"not encoded":            {urlencoded, `data={"Brand":"commbox","LastName":"100%"}`},
		"multipart":              {multi, none},
		"multipart, more":        {multiBeside, beside},
		"multipart, twice":       {multiTwice, twice},
		"multipart, cut off":     {multi, none[:len(none)-10]},
		"multipart, no boundary": {"multipart/form-data", none},
	} {
		t.Run(name, func(t *testing.T) {
			res := w.post("/auth/ticket", w.key, row.contentType, row.body)
			assert.Equal(t, http.StatusBadRequest, res.status, res.body)
			assert.Contains(t, gjson(t, res.body, "description"), "send JSON")
			assert.NotContains(t, res.body, "at byte")
		})
	}
	for _, body := range []string{"data=", "data=%20", "data=commbox", `data=[]`} {
		res := w.post("/auth/ticket", w.key, urlencoded, body)
		assert.Equal(t, http.StatusBadRequest, res.status, res.body)
	}
}

func TestSystemStatus(t *testing.T) {
	w := newWorld(t)
	ask := func(method, path, key string) response {
		return w.client().do(method, path, nil, map[string]string{"Authorization": "Bearer " + key})
	}
	redeems := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"acme"}})
	for _, path := range []string{"/core/systemstatus", "/Core/SystemStatus"} {
		for _, key := range []string{w.key, redeems} {
			res := ask(http.MethodGet, path, key)
			assert.Equal(t, http.StatusOK, res.status)
			assert.Equal(t, `{"status":"200","description":"System is operational",`+
				`"response_time":"2025-01-19T14:18:47.63079Z"}`+"\n", res.body)
		}
		assert.Equal(t, http.StatusUnauthorized, ask(http.MethodGet, path, "hello").status)
	}
	assert.Equal(t, http.StatusOK, ask(http.MethodHead, "/core/systemstatus", w.key).status)
	other := ask(http.MethodPost, "/core/systemstatus", w.key)
	assert.Equal(t, http.StatusNotImplemented, other.status)
	assert.Equal(t, "GET, HEAD", other.header.Get("Allow"))
	assert.Equal(t, http.StatusNotFound, ask(http.MethodGet, "/Core/Nothing", w.key).status)
	assert.Contains(t, ask(http.MethodGet, "/core/nothing", w.key).body, "no operation at this path")
}
