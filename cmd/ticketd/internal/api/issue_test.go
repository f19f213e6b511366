package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

func TestEnvelope(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{"wrapped": `{"data":` + reference + `}`, "flat": reference} {
		t.Run(name, func(t *testing.T) {
			res := w.ask(w.key, body)
			require.Equal(t, http.StatusOK, res.status, res.body)
			ticket := w.ticket(w.key, body)
			assert.LessOrEqual(t, len(ticket), 200)
			var e struct{ Data client.Issued }
			require.NoError(t, json.Unmarshal([]byte(res.body), &e))
			w.secrets = append(w.secrets, e.Data.Ticket[10:])
			assert.Equal(t, `{"status":"200","description":"Operation successful","response_time":"2025-01-19T14:18:47.63079Z","data":{"encpryptedString":"`+e.Data.Ticket+`"}}`+"\n", res.body)
			assert.Equal(t, "application/json; charset=utf-8", res.header.Get("Content-Type"))
			assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	redeemOnly := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, AllBrands: true})
	for _, row := range []struct {
		name, key, body string
		status          int
		says            string
		field           string
	}{
		{"empty", w.key, "", 400, "empty", ""},
		{"blank", w.key, " \n ", 400, "empty", ""},
		{"not JSON", w.key, "commbox", 400, "not JSON", ""},
		{"cut off", w.key, `{"brand":"commbox"`, 400, "not JSON", ""},
		{"error after fields", w.key, `{"brand":"commbox", "email":"a@b", "overrideUserInfo": True}`, 400, "error at byte 56", ""},
		{"error in data", w.key, `{"data": {"brand":"commbox",}}`, 400, "error at byte 28", ""},
		{"error at the start", w.key, `{'brand':'commbox'}`, 400, "error at byte 2", ""},
		{"array", w.key, `[` + reference + `]`, 400, "not a JSON object", ""},
		{"string", w.key, `"commbox"`, 400, "not a JSON object", ""},
		{"null", w.key, `null`, 400, "not a JSON object", ""},
		{"two byte order marks", w.key, "\ufeff\ufeff" + reference, 400, "not JSON", ""},
		{"byte order mark alone", w.key, "\ufeff", 400, "empty", ""},
		{"blank email", w.key, `{"brand":"commbox","email":" "}`, 400, "blank", "email"},
		{"blank uniqueId", w.key, `{"brand":"commbox","email":"a@b","uniqueId":"\t\u00a0"}`, 400, "blank", "uniqueId"},
		{"blank phone1", w.key, `{"brand":"commbox","email":"a@b","phone1":" "}`, 400, "blank", "phone1"},
		{"blank username", w.key, `{"brand":"commbox","email":"a@b","username":" "}`, 400, "blank", "username"},
		{"two values", w.key, reference + reference, 400, "goes on after", ""},
		{"two shapes", w.key, `{"data":` + reference + `,"brand":"commbox"}`, 400, "both inside data and beside", ""},
		{"data is text", w.key, `{"data":"x"}`, 400, "not an object", "data"},
		{"data is null", w.key, `{"data":null}`, 400, "not an object", "data"},
		{"data in data", w.key, `{"data":{"data":` + reference + `}}`, 400, "not a known field", "data"},
		{"not UTF-8", w.key, "{\"brand\":\"\xff\"}", 400, "UTF-8", ""},
		{"over 64 KiB", w.key, `{"brand":"` + long(70_000) + `"}`, 400, "64 KiB", ""},
		{"1 MB", w.key, `{"brand":"` + long(1<<20) + `"}`, 400, "64 KiB", ""},
		{"field twice", w.key, `{"brand":"commbox","br\u0061nd":"acme"}`, 400, "brand comes twice", "brand"},
		{"data twice", w.key, `{"data":{},"data":{}}`, 400, "data comes twice", "data"},
		{"half a surrogate pair", w.key, `{"brand":"commbox","uniqueId":"\ud800"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"the other half", w.key, `{"brand":"commbox","uniqueId":"a\udfffb"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"halves in the wrong order", w.key, `{"brand":"commbox","uniqueId":"\udc00\ud800"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"unknown field", w.key, `{"brand":"commbox","email":"a@b","oneTimeUsed":true}`, 400, "oneTimeUsed is not a known field; did you mean oneTimeUse?", "oneTimeUsed"},
		{"unknown field, far from all", w.key, `{"brand":"commbox","email":"a@b","colour":true}`, 400, "colour is not a known field; check its spelling", "colour"},
		{"field in two cases", w.key, `{"brand":"commbox","Brand":"commbox"}`, 400, "brand comes twice, also as Brand", "brand"},
		{"data in two cases", w.key, `{"Data":{},"data":{}}`, 400, "Data comes twice, also as data", "Data"},
		{"a letter like a K", w.key, `{"brand":"commbox","email":"a@b","remar\u212a":"x"}`, 400, "not a known field", "remar\u212a"},
		{"no brand", w.key, `{"email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand empty", w.key, `{"brand":"","email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand null", w.key, `{"brand":null,"email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand a number", w.key, `{"brand":1,"email":"a@b"}`, 400, "brand is not a string", "brand"},
		{"email a list", w.key, `{"brand":"commbox","email":["a@b"]}`, 400, "email is not a string", "email"},
		{"uniqueId a fraction", w.key, `{"brand":"commbox","uniqueId":1.5}`, 400, "uniqueId is neither", "uniqueId"},
		{"phone1 negative", w.key, `{"brand":"commbox","phone1":-442501234567}`, 400, "phone1 is neither", "phone1"},
		{"phone1 exponent", w.key, `{"brand":"commbox","phone1":4.4e11}`, 400, "phone1 is neither", "phone1"},
		{"oneTimeUse text", w.key, `{"brand":"commbox","email":"a@b","oneTimeUse":"true"}`, 400, "oneTimeUse is neither", "oneTimeUse"},
		{"oneTimeUse 1", w.key, `{"brand":"commbox","email":"a@b","oneTimeUse":1}`, 400, "oneTimeUse is neither", "oneTimeUse"},
		{"expiresIn text", w.key, `{"brand":"commbox","email":"a@b","expiresIn":"60"}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn 0", w.key, `{"brand":"commbox","email":"a@b","expiresIn":0}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn -1", w.key, `{"brand":"commbox","email":"a@b","expiresIn":-1}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn 1.5", w.key, `{"brand":"commbox","email":"a@b","expiresIn":1.5}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn huge", w.key, `{"brand":"commbox","email":"a@b","expiresIn":99999999999999999999}`, 400, "more than the 900 seconds", "expiresIn"},
		{"expiresIn over the maximum", w.key, `{"brand":"commbox","email":"a@b","expiresIn":901}`, 400, "more than the 900 seconds", "expiresIn"},
		{"expiresIn over the brand's", w.acmeKey, `{"brand":"acme","email":"a@b","expiresIn":601}`, 400, "more than the 600 seconds", "expiresIn"},
		{"expiresIn over the channel's", w.acmeKey, `{"brand":"acme","email":"a@b","channel":"short","expiresIn":11}`, 400, "more than the 10 seconds", "expiresIn"},
		{"brand too long", w.key, `{"brand":"` + long(65) + `","email":"a@b"}`, 400, "brand is longer than 64 bytes", "brand"},
		{"email too long", w.key, `{"brand":"commbox","email":"` + long(256) + `"}`, 400, "email is longer than 255 bytes", "email"},
		{"newline in a name", w.key, `{"brand":"commbox","email":"a@b","firstName":"a\nb"}`, 400, "firstName contains a control character", "firstName"},
		{"phone written locally, no region", w.key, `{"brand":"commbox","phone1":"212-123-4567"}`, 400, "+", "phone1"},
		{"phone too short", w.key, `{"brand":"commbox","phone1":"+4425"}`, 400, "phone1", "phone1"},
		{"phone with letters", w.key, `{"brand":"commbox","phone1":"call me"}`, 400, "phone1", "phone1"},
		{"placeholder", w.key, `{"brand":"commbox","uniqueId":"undefined"}`, 400, "missing value", "uniqueId"},                // trap S3
		{"unexpanded", w.key, `{"brand":"commbox","uniqueId":"1","email":"${EMAIL}"}`, 400, "missing value", "email"},         // trap S3
		{"no address", w.key, `{"brand":"commbox","email":"jane"}`, 400, "local@domain", "email"},                             // trap S6
		{"padded email", w.key, `{"brand":"commbox","email":" a@b"}`, 400, "white space", "email"},                            // trap S6
		{"invisible in uniqueId", w.key, `{"brand":"commbox","uniqueId":"1\u200b"}`, 400, "invisible", "uniqueId"},            // trap S6
		{"full-width uniqueId", w.key, `{"brand":"commbox","uniqueId":"１"}`, 400, "ordinary", "uniqueId"},                     // trap S6
		{"username twin", w.key, `{"brand":"commbox","username":"john\ufeff.d","email":"a@b"}`, 400, "invisible", "username"}, // trap S6
		{"amount", w.key, `{"brand":"commbox","phone1":"4915123456789.0"}`, 400, "amount", "phone1"},                          // trap S4
		{"nobody", w.key, `{"brand":"commbox","firstName":"Jane"}`, 400, "email is missing, and so are uniqueId and phone1", "email"},
		{"agent without identifier", w.key, `{"brand":"commbox","username":"john.d","firstName":"John"}`, 400, "at least one", "email"},
		{"agent without the brand's fields", w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com"}`, 400, "phone1 is missing", "phone1"},
		{"agent with channel", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","channel":"web"}`, 400, "customers' tickets only", "channel"},

		{"no key", "", reference, 401, "Authorization: Bearer", ""},
		{"not a key", "hello", reference, 401, "not accepted", ""},
		{"unknown key", "adm_aaaaaaaaaa_" + long(52), reference, 401, "not accepted", ""},
		{"wrong secret", w.key[:20] + "zzzz" + w.key[24:], reference, 401, "not accepted", ""},
		{"key without scope", redeemOnly, reference, 401, "scope issue", ""},
		{"key of another brand", w.acmeKey, reference, 401, "not for this brand", ""},
		{"key before body", "hello", "not JSON", 401, "not accepted", ""},

		{"no such brand", w.key, `{"brand":"nobody","email":"a@b"}`, 404, "no such brand", ""},
		{"brand in another case", w.key, `{"brand":"Commbox","email":"a@b"}`, 404, "no such brand", ""},
		{"no such agent", w.key, `{"brand":"commbox","username":"jane","email":"john.d@gmail.com"}`, 404, "no agent", ""},
		{"agent of another brand", w.acmeKey, `{"brand":"acme","username":"john.d","email":"john.d@gmail.com","phone1":"442501234567"}`, 404, "no agent", ""},
		{"agent inactive", w.key, `{"brand":"commbox","username":"gone","email":"gone@example.com"}`, 404, "no agent", ""},
		{"wrong email", w.key, `{"brand":"commbox","username":"john.d","email":"other@gmail.com"}`, 404, "no agent", ""},
		{"wrong phone", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","phone1":"442501234568"}`, 404, "no agent", ""},
		{"wrong uniqueId", w.key, `{"brand":"commbox","username":"john.d","uniqueId":"1234567"}`, 404, "no agent", ""},
		{"wrong name", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","lastName":"Dough"}`, 404, "no agent", ""},
		{"no such channel", w.key, `{"brand":"commbox","email":"a@b","channel":"nowhere"}`, 404, "no such channel", ""},

		{"brand switched off", w.anyKey, `{"brand":"off","email":"a@b"}`, 501, "switched off for this brand", ""},
		{"channel switched off", w.key, `{"brand":"commbox","email":"a@b","channel":"closed"}`, 501, "switched off for this channel", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := w.ask(row.key, row.body)
			assert.Equal(t, row.status, res.status, res.body)
			var e struct {
				Status, Description string
				ResponseTime        string `json:"response_time"`
				Data                client.Error
			}
			require.NoError(t, json.Unmarshal([]byte(res.body), &e), res.body)
			assert.Equal(t, row.status, must(json.Number(e.Status).Int64()))
			assert.Contains(t, e.Description, row.says)
			assert.Equal(t, "2025-01-19T14:18:47.63079Z", e.ResponseTime)
			if row.field == "" {
				assert.Empty(t, e.Data.Fields)
			} else {
				require.NotEmpty(t, e.Data.Fields)
				assert.Equal(t, row.field, e.Data.Fields[0].Field)
				assert.NotEmpty(t, e.Data.Fields[0].Reason)
			}
			assert.NotContains(t, res.body, "encpryptedString")
			assert.Equal(t, row.status == 401, res.header.Get("WWW-Authenticate") == "Bearer")
			if row.status == 404 && strings.Contains(row.body, "username") {
				assert.Equal(t, "Not found: the brand has no agent with this username and these details", e.Description,
					"which field differs is not told")
			}
		})
	}
}

// Headers that two programs read in two ways, and bodies that are not what the
// OpenAPI document says.
func TestOddRequests(t *testing.T) {
	w := newWorld(t)
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	_, err := z.Write([]byte(reference))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, row := range map[string]struct {
		header http.Header
		body   string
		status int
		says   string
	}{
		"lower case":        {http.Header{"authorization": {"bearer " + w.key}}, reference, 200, ""},
		"two keys":          {http.Header{"Authorization": {"Bearer " + w.key, "Bearer " + w.acmeKey}}, reference, 401, "more than one header"},
		"the same key":      {http.Header{"Authorization": {"Bearer " + w.key, "Bearer " + w.key}}, reference, 401, "more than one header"},
		"two in one":        {http.Header{"Authorization": {"Bearer " + w.key + ", Bearer " + w.key}}, reference, 401, "not accepted"},
		"another scheme":    {http.Header{"Authorization": {"Basic " + w.key}}, reference, 401, "send an API key"},
		"no scheme":         {http.Header{"Authorization": {w.key}}, reference, 401, "send an API key"},
		"identity":          {http.Header{"Authorization": {"Bearer " + w.key}, "Content-Encoding": {"identity"}}, reference, 200, ""},
		"gzip":              {http.Header{"Authorization": {"Bearer " + w.key}, "Content-Encoding": {"gzip"}}, zipped.String(), 400, "compressed"},
		"said to be gzip":   {http.Header{"Authorization": {"Bearer " + w.key}, "Content-Encoding": {"gzip"}}, reference, 400, "compressed"},
		"byte order mark":   {http.Header{"Authorization": {"Bearer " + w.key}}, "\ufeff" + reference, 200, ""},
		"form's media type": {http.Header{"Authorization": {"Bearer " + w.key}, "Content-Type": {"application/x-www-form-urlencoded"}}, reference, 200, ""}, // curl -d
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/auth/ticket",
			strings.NewReader(row.body))
		require.NoError(t, err)
		r.Header = row.header
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, row.status, res.StatusCode, name)
		assert.Contains(t, string(body), row.says, name)
	}
}

// The log says which key was refused, and nothing of its secret.
func TestRefusedKeyIsNamed(t *testing.T) {
	w := newWorld(t)
	for reason, key := range map[string]string{
		"revoked": w.key, "wrong_secret": w.acmeKey[:20] + strings.Repeat("a", len(w.acmeKey)-20), "unknown": "adm_aaaaaaaaaa" + w.anyKey[14:],
	} {
		if reason == "revoked" {
			require.NoError(t, w.directory.RevokeAPIKey(t.Context(), key[4:14]))
		}
		require.Equal(t, http.StatusUnauthorized, w.ask(key, reference).status)
		assert.Contains(t, w.log.String(), fmt.Sprintf("reason=\"API key %s\" api_key=%s ", reason, key[4:14]))
	}
}

// Under /auth/ callers read the envelope, whatever the path.
func TestNoOperation(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/auth/ticket/", "/auth/tickets", "/auth/", "/auth/redeem/x", "/auth/ticket%00",
		"/auth/Tickets"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+path, strings.NewReader(reference))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+w.key)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		var e client.Envelope
		require.NoError(t, json.NewDecoder(res.Body).Decode(&e), path)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusNotFound, res.StatusCode, path)
		assert.Equal(t, "404", e.Status, path)
		assert.Contains(t, e.Description, "/auth/ticket", path)
		assert.NotEmpty(t, e.ResponseTime, path)
	}
	assert.Contains(t, w.log.String(), "route=/auth/ ")
}

func TestExpiredKey(t *testing.T) {
	w := newWorld(t)
	key := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}, AllBrands: true,
		Expires: time.Now().Add(time.Hour)})
	assert.Equal(t, http.StatusOK, w.ask(key, `{"brand":"commbox","email":"a@b"}`).status)
	w.ns.Store(time.Now().Add(2 * time.Hour).UnixNano())
	assert.Equal(t, http.StatusUnauthorized, w.ask(key, `{"brand":"commbox","email":"a@b"}`).status)
}

func TestOtherMethods(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch,
		http.MethodOptions, "BREW"} {
		res := w.client().do(method, "/auth/ticket", strings.NewReader(reference),
			map[string]string{"Authorization": "Bearer " + w.key})
		assert.Equal(t, http.StatusNotImplemented, res.status, method)
		assert.Equal(t, http.MethodPost, res.header.Get("Allow"))
		assert.Contains(t, res.body, `"status":"501"`)
	}
	assert.Equal(t, http.StatusNotImplemented, w.client().do(http.MethodHead, "/auth/ticket", nil, nil).status)
}

func TestIssueAccepts(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		key, body string
		want      func(t *testing.T, tk token.Ticket)
	}{
		"numbers as digits": {w.key, `{"brand":"commbox","username":"john.d","uniqueId":123456,"phone1":442501234567}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "123456", tk.UniqueID)
			assert.Equal(t, "+442501234567", tk.Phone1)
		}},
		"phone with plus and separators": {w.key, `{"brand":"commbox","phone1":"+44 250 123-4567"}`,
			func(t *testing.T, tk token.Ticket) {
				assert.Equal(t, "+442501234567", tk.Phone1)
				assert.Equal(t, token.Customer, tk.Audience)
			}},
		"phone written locally, with region": {w.acmeKey, `{"brand":"acme","phone1":"212-123-4567"}`,
			func(t *testing.T, tk token.Ticket) {
				assert.Equal(t, "+12121234567", tk.Phone1)
				assert.True(t, tk.OneTime, "the brand's default")
				assert.Equal(t, 2*time.Minute, tk.Lifetime)
			}},
		"email in another case": {w.key, `{"brand":"commbox","username":"john.d","email":"John.D@Gmail.com"}`, func(t *testing.T, tk token.Ticket) {
			assert.False(t, tk.OneTime)
			assert.Equal(t, time.Minute, tk.Lifetime)
		}},
		"username in another case": {w.key, `{"brand":"commbox","username":"JOHN.D","email":"john.d@gmail.com"}`,
			func(t *testing.T, tk token.Ticket) { assert.Equal(t, "john.d", tk.Username, "the record's spelling") }}, // trap S6
		"NFD": {w.key, `{"brand":"commbox","uniqueId":"Zoe\u0308","email":"zoe\u0308@x"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, [2]string{"Zo\u00eb", "zo\u00eb@x"}, [2]string{tk.UniqueID, tk.Email}) // trap S6
		}},
		"the documentation's whole example": {w.key, `{"data":{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","overrideUserInfo":true,"oneTimeUse":true}}`, func(t *testing.T, tk token.Ticket) {
			assert.False(t, tk.OverrideUserInfo, "it means nothing for agents")
			assert.True(t, tk.OneTime)
		}},
		"customer with all": {w.key, `{"brand":"commbox","email":"j@x","uniqueId":"7","firstName":"Jane","lastName":"Roe","phone1":"442501234567","remark":"VIP","channel":"web","overrideUserInfo":true,"oneTimeUse":true,"expiresIn":900}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, 15*time.Minute, tk.Lifetime)
			assert.True(t, tk.OverrideUserInfo)
			assert.Equal(t, "web", tk.Channel)
			assert.Equal(t, "VIP", tk.Remark)
			assert.Equal(t, w.key[4:14], tk.Actor)
		}},
		"escapes": {w.key, `{"brand":"commbox","uniqueId":"\ud83d\ude00\\ud800\"\ufffd"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "😀\\ud800\"\ufffd", tk.UniqueID)
		}},
		"empty and null are absent": {w.key, `{"brand":"commbox","username":"","email":"j@x","firstName":null,"oneTimeUse":null,"expiresIn":null}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, token.Customer, tk.Audience)
			assert.Equal(t, 5*time.Minute, tk.Lifetime)
		}},
		"one-time switched off by the request": {w.acmeKey, `{"brand":"acme","email":"j@x","oneTimeUse":false}`, func(t *testing.T, tk token.Ticket) { assert.False(t, tk.OneTime) }},
		"the channel's settings": {w.acmeKey, `{"brand":"acme","email":"j@x","channel":"short"}`,
			func(t *testing.T, tk token.Ticket) {
				assert.False(t, tk.OneTime)
				assert.Equal(t, 5*time.Second, tk.Lifetime)
			}},
		"the brand's agents": {w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"(212) 123-4567"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "mary", tk.Username)
			assert.Equal(t, 30*time.Second, tk.Lifetime)
		}},
		"a key of every brand": {w.anyKey, `{"brand":"acme","email":"j@x"}`, func(t *testing.T, tk token.Ticket) {}},
	} {
		t.Run(name, func(t *testing.T) {
			var tk token.Ticket
			require.NoError(t, w.open(w.ticket(row.key, row.body), &tk))
			row.want(t, tk)
		})
	}
}

func TestManyUnknownFields(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for i := range maxFields - 1 {
		fmt.Fprintf(&b, `,"field%04d":1`, i)
	}
	first := w.ask(w.key, `{"brand":"commbox"`+b.String()+`}`)
	assert.Equal(t, http.StatusBadRequest, first.status)
	assert.Less(t, len(first.body), 4000, "the answer is not many times the request")
	assert.Contains(t, first.body, "and 989 more")
	assert.Equal(t, first.body, w.ask(w.key, `{"brand":"commbox"`+b.String()+`}`).body, "in the same order each time")
	tooMany := w.ask(w.key, `{"brand":"commbox"`+b.String()+`,"more":1}`)
	assert.Equal(t, http.StatusBadRequest, tooMany.status)
	assert.Contains(t, tooMany.body, "over 1000 fields")
}

// FuzzParse: whatever the body, it is parsed or refused with words.
func FuzzParse(f *testing.F) {
	f.Add(`{"data":` + reference + `}`)
	f.Add(reference)
	f.Add(`{"brand":{"a":[1,2,{}]},"expiresIn":18446744073709551616}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, wrong, err := parseTicket([]byte(body))
		if err == nil && len(wrong) == 0 {
			require.NotEmpty(t, r.Brand)
		}
		for _, w := range wrong {
			require.NotEmpty(t, w.Reason)
		}
	})
}

// A field whose name is empty shows as one.
func TestFieldWithoutName(t *testing.T) {
	w := newWorld(t)
	res := w.ask(w.key, `{"brand":"commbox","email":"a@b","":1}`)
	assert.Equal(t, http.StatusBadRequest, res.status)
	assert.Equal(t, `Bad request: "" is not a known field; check its spelling`, gjson(t, res.body, "description"))
}
