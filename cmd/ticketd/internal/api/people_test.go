//go:build unix

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// enterings are the two ways in which a customer enters: the page and the API. Each returns
// the ID of the customer's record.
func (w *world) enterings() map[string]func(fields map[string]any) string {
	key := w.redeemKey("commbox")
	chat := w.chatPath("commbox", "web")
	issue := func(fields map[string]any) string {
		body, err := json.Marshal(fields)
		require.NoError(w.t, err)
		return w.ticket(w.key, string(body))
	}
	return map[string]func(map[string]any) string{
		"page": func(fields map[string]any) string {
			c := w.client()
			require.Equal(w.t, http.StatusSeeOther, c.get(chat+"?ta="+issue(fields)).status)
			w.ns.Add(int64(2 * time.Millisecond)) // an answer from before the entry does not count
			res := c.get("/auth/check-customer")
			require.Equal(w.t, http.StatusOK, res.status)
			return res.header.Get("Remote-User")
		},
		"API": func(fields map[string]any) string {
			v := w.spend(redeemPath, key, map[string]any{"ticket": issue(fields), "audience": "customer", "channel": "web"})
			require.Equal(w.t, http.StatusOK, v.status, v.body)
			return v.Data.Customer.ID
		},
	}
}

// customer returns the record with an ID.
func (w *world) customer(id string) directory.Customer {
	w.t.Helper()
	n, err := strconv.ParseInt(id, 10, 64)
	require.NoError(w.t, err)
	c, err := w.directory.Customer(w.t.Context(), "commbox", n)
	require.NoError(w.t, err)
	return c
}

// Mother and son have one telephone. Whatever the son's ticket says beside the number, he
// does not enter as her, changes nothing of her record, and both find their own afterwards.
//
// trap S1, trap S2
func TestSharedPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	onBoth(t, func(t *testing.T, w *world) {
		n := 0
		for door, enter := range w.enterings() {
			for _, override := range []bool{false, true} {
				for _, his := range []string{"uniqueId", "email", "both"} {
					n++
					name := fmt.Sprintf("%s, override %v, %s", door, override, his)
					phone := fmt.Sprintf("+44250123%04d", n)
					her := func(more ...string) map[string]any {
						f := map[string]any{"brand": "commbox"}
						all := map[string]any{"uniqueId": fmt.Sprint("mum-", n), "email": fmt.Sprintf("mum%d@example.com", n),
							"phone1": phone, "firstName": "Mum"}
						for _, field := range more {
							f[field] = all[field]
						}
						return f
					}
					mum := enter(her("uniqueId", "email", "phone1", "firstName"))
					before := w.customer(mum)
					w.ns.Add(int64(time.Second))

					son := map[string]any{"brand": "commbox", "phone1": phone, "firstName": "Son", "remark": "his",
						"overrideUserInfo": override, "oneTimeUse": true}
					if his != "email" {
						son["uniqueId"] = fmt.Sprint("son-", n)
					}
					if his != "uniqueId" {
						son["email"] = fmt.Sprintf("son%d@example.com", n)
					}
					id := enter(son)
					assert.NotEqual(t, mum, id, name)
					assert.Equal(t, before, w.customer(mum), name)
					got := w.customer(id)
					assert.Equal(t, "Son", got.FirstName, name)
					assert.Empty(t, got.Phone1, "%s: the number stays hers", name)

					for _, by := range []string{"uniqueId", "email", "phone1"} {
						assert.Equal(t, mum, enter(her(by)), "%s: she, by %s", name, by)
					}
					assert.Equal(t, id, enter(son), "%s: he again", name)
					assert.Equal(t, before, w.customer(mum), name)
				}
			}
		}
	})
}

// The whole table, at both doors: each identifier of the ticket is absent, that of the
// record, or another. The highest identifier of the ticket decides.
//
// trap S1, trap S2
func TestTableOfIdentifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	onBoth(t, func(t *testing.T, w *world) {
		n, hers := 0, 0
		for door, enter := range w.enterings() {
			for i := range 2 * 27 {
				relations := [3]int{i % 3, i / 3 % 3, i / 9 % 3} // of uniqueId, email, phone1: absent, same, other
				override := i >= 27
				if relations == [3]int{} || testing.Short() && i%4 != 3 {
					continue
				}
				n++
				name := fmt.Sprintf("%s, %v, override %v", door, relations, override)
				values := [3][3]string{
					{"", fmt.Sprint("u", n), fmt.Sprint("v", n)},
					{"", fmt.Sprintf("u%d@example.com", n), fmt.Sprintf("v%d@example.com", n)},
					{"", fmt.Sprintf("+44250123%04d", n), fmt.Sprintf("+44250124%04d", n)},
				}
				record, err := w.directory.AddCustomer(t.Context(), directory.Customer{Brand: "commbox",
					UniqueID: values[0][1], Email: values[1][1], Phone1: values[2][1], FirstName: "Ann"})
				require.NoError(t, err)
				w.ns.Add(int64(time.Second))
				fields := map[string]any{"brand": "commbox", "firstName": "Bob", "overrideUserInfo": override}
				highest := 0
				for i, field := range []string{"phone1", "email", "uniqueId"} {
					if r := relations[2-i]; r != 0 {
						fields[field], highest = values[2-i][r], r
					}
				}
				id := enter(fields)
				if highest == 1 {
					hers++
					assert.Equal(t, fmt.Sprint(record.ID), id, name)
				} else {
					assert.NotEqual(t, fmt.Sprint(record.ID), id, name)
				}
				if got := w.customer(fmt.Sprint(record.ID)); highest != 1 || !override {
					assert.Equal(t, record, got, name)
				} else {
					assert.Equal(t, "Bob", got.FirstName, name)
				}
				// Each person's next ticket finds the same record.
				assert.Equal(t, id, enter(fields), name)
				assert.Equal(t, fmt.Sprint(record.ID), enter(map[string]any{"brand": "commbox", "uniqueId": record.UniqueID}), name)
			}
		}
		if !testing.Short() {
			assert.Equal(t, 2*2*(9+3+1), hers)
		}
	})
}

// trap S3: what a program writes in place of a missing value is nobody's identifier.
func TestPlaceholdersAreNobody(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{
		"undefined", "null", "nil", "None", "NaN", "N/A", "#N/A", "[object Object]", "[object Undefined]", "${user.id}",
		"{{user.id}}", "x-${id}", "<nil>", "(null)", `"undefined"`, "00000000-0000-0000-0000-000000000000",
	} {
		for _, s := range []string{text, strings.ToUpper(text), strings.ToLower(text)} {
			for field, fields := range map[string]map[string]any{
				"uniqueId": {"uniqueId": s, "email": "jane@example.com"},
				"email":    {"uniqueId": "1", "email": s},
			} {
				for _, username := range []string{"", "john.d"} {
					fields["brand"], fields["username"] = "commbox", username
					body, err := json.Marshal(fields)
					require.NoError(t, err)
					res := w.ask(w.key, string(body))
					assert.Equal(t, http.StatusBadRequest, res.status, "%s", body)
					assert.Contains(t, res.body, `"field":"`+field+`","reason":"is what programs write instead of a missing value`)
				}
			}
		}
	}
	for _, body := range []string{
		`{"brand":"commbox","uniqueId":NaN}`, `{"brand":"commbox","uniqueId":undefined}`, `{"brand":"commbox","uniqueId":{}}`,
		`{"brand":"commbox","uniqueId":null}`, `{"brand":"commbox","uniqueId":""}`, `{"brand":"commbox","email":[]}`,
	} {
		assert.Equal(t, http.StatusBadRequest, w.ask(w.key, body).status, body)
	}
	all, err := w.directory.Customers(t.Context(), "commbox", 0, 10)
	require.NoError(t, err)
	assert.Empty(t, all)
	w.ticket(w.key, `{"brand":"commbox","uniqueId":"nullable","email":"none@example.com"}`)
}

// phoneOf asks for a customer's ticket with a number as JSON, and returns the number of the
// ticket, or "" for a 400 about the number.
func (w *world) phoneOf(brand, number string) string {
	w.t.Helper()
	res := w.ask(w.anyKey, `{"brand":"`+brand+`","phone1":`+number+`}`)
	if res.status != http.StatusOK {
		assert.Equal(w.t, http.StatusBadRequest, res.status, res.body)
		assert.Contains(w.t, res.body, `"field":"phone1"`)
		return ""
	}
	var e struct {
		Data struct {
			Ticket string `json:"encpryptedString"`
		}
	}
	require.NoError(w.t, json.Unmarshal([]byte(res.body), &e))
	var t token.Ticket
	require.NoError(w.t, w.open(e.Data.Ticket, &t))
	return t.Phone1
}

// regions adds a brand for each region, with the region's name; "none" has no region.
func (w *world) regions(all ...string) {
	for _, region := range append(all, "none") {
		b := directory.Brand{Name: region, Region: region}
		if region == "none" {
			b.Region = ""
		}
		require.NoError(w.t, w.directory.AddBrand(w.t.Context(), b))
	}
}

// trap S4: a number that passed through a spreadsheet is refused in every region.
func TestSpreadsheetNumbers(t *testing.T) {
	w := newWorld(t)
	regions := []string{"GB", "US", "DE", "FR", "IT", "IL", "RU", "BR", "none"}
	w.regions(regions[:len(regions)-1]...)
	for _, region := range regions {
		for _, number := range []string{"4915123456789.0", "4.4E+11", "4.4e11", "4.915123456789E+12", "442501234567.00"} {
			assert.Empty(t, w.phoneOf(region, `"`+number+`"`), "%s %s", region, number)
			assert.Empty(t, w.phoneOf(region, number), "%s %s, a number in JSON", region, number)
		}
		assert.Equal(t, "+4915123456789", w.phoneOf(region, `"+4915123456789"`), region)
	}
	assert.Equal(t, "+33612345678", w.phoneOf("FR", `"06.12.34.56.78"`))
	assert.Equal(t, "+442501234567", w.phoneOf("none", `442501234567`), "digits as a number in JSON")
}

// trap S5: digits without a country code, by the steps of the brand's region.
func TestDigitsWithoutCountry(t *testing.T) {
	w := newWorld(t)
	w.regions("GB", "US", "AU", "RU", "HK", "IL", "CO")
	for _, row := range [][3]string{
		{"GB", "442012345678", "+442012345678"}, {"GB", "02012345678", "+442012345678"}, {"GB", "00442012345678", "+442012345678"},
		{"US", "3125551234", "+13125551234"}, {"US", "13125551234", "+13125551234"}, {"US", "442012345678", "+442012345678"},
		{"US", "011442012345678", "+442012345678"}, {"US", "00442012345678", ""}, {"CO", "00573123456789", ""},
		{"AU", "0011442012345678", "+442012345678"}, {"RU", "810442012345678", "+442012345678"},
		{"RU", "89123456789", "+79123456789"}, {"HK", "0085291234567", "+85291234567"}, {"IL", "0501234567", "+972501234567"},
		{"none", "442012345678", "+442012345678"}, {"none", "02012345678", ""}, {"none", "00442012345678", ""},
		{"none", "212-123-4567", ""},
	} {
		assert.Equal(t, row[2], w.phoneOf(row[0], `"`+row[1]+`"`), row)
		if row[1][0] != '0' && !strings.Contains(row[1], "-") {
			assert.Equal(t, row[2], w.phoneOf(row[0], row[1]), "%v, a number in JSON", row)
		}
	}
}

// trap S6: twins of an identifier are the same person or refused, at both doors.
func TestLookAlikes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for door, enter := range w.enterings() {
			by := func(field, value string) string { return enter(map[string]any{"brand": "commbox", field: value}) }
			email, id := "Zo\u00eb."+door+"@example.com", "Zo\u00eb-"+door
			zoe, other := by("email", email), by("uniqueId", id)
			assert.NotEqual(t, zoe, other)
			for _, twin := range []string{
				strings.ToLower(email), "ZO\u00cb." + strings.ToUpper(door) + "@EXAMPLE.COM", "Zoe\u0308." + door + "@example.com",
			} {
				assert.Equal(t, zoe, by("email", twin), "%s %q", door, twin)
			}
			assert.Equal(t, other, by("uniqueId", "Zoe\u0308-"+door), door)
			assert.NotEqual(t, other, by("uniqueId", strings.ToUpper(id)), "unique IDs keep their case")
			for field, value := range map[string]string{"email": email, "uniqueId": id, "username": "john.d"} {
				for _, twin := range []string{
					" " + value, value + " ", "\ufeff" + value, value[:2] + "\u200b" + value[2:], value + "\u00ad", value + "\u00a0",
					strings.Replace(value, "o", "\uff4f", 1),
				} {
					fields := map[string]any{"brand": "commbox", "email": "john.d@gmail.com", field: twin}
					body, err := json.Marshal(fields)
					require.NoError(t, err)
					res := w.ask(w.key, string(body))
					assert.Equal(t, http.StatusBadRequest, res.status, "%+q", twin)
					assert.Contains(t, res.body, `"field":"`+field+`"`, "%+q", twin)
				}
			}
		}
		for _, twin := range []string{"john.d", "JOHN.D", "John.d"} {
			john := w.client()
			body := strings.Replace(reference, `"john.d"`, `"`+twin+`"`, 1)
			require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, body)).status)
			w.ns.Add(int64(2 * time.Millisecond))
			assert.Equal(t, "john.d", john.get("/auth/check").header.Get("Remote-User"), twin)
		}
	})
}
