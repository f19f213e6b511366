package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// The ways in which a field may stand in a request.
var ways = []string{"absent", "present", "empty", "null", "integer", "fraction", "exponent", "negative", "boolean",
	"false", "text", "list", "object", "long"}

// matrixField is a field of the request with its present value, as JSON.
type matrixField struct {
	name, kind string // kind: text, digits (text or whole number), flag, seconds
	present    string
	most       int // bytes
}

func matrixFields(brand string) []matrixField {
	return []matrixField{
		{"brand", "text", `"` + brand + `"`, 64}, {"username", "text", `"john.d"`, 255}, {"email", "text", `"john.d@gmail.com"`, 255},
		{"uniqueId", "digits", `"123456"`, 255}, {"firstName", "text", `"John"`, 100}, {"lastName", "text", `"Doe"`, 100},
		{"phone1", "digits", `"442501234567"`, 0}, {"remark", "text", `"VIP"`, 512}, {"channel", "text", `"web"`, 64},
		{"overrideUserInfo", "flag", `true`, 0}, {"oneTimeUse", "flag", `true`, 0}, {"expiresIn", "seconds", `45`, 0},
	}
}

// json returns the field as it is sent in a way, or "" where it is not.
func (f matrixField) json(way string) string {
	switch way {
	case "absent":
		return ""
	case "present":
		return f.present
	case "empty":
		return `""`
	case "integer":
		return `123`
	case "fraction":
		return `1.5`
	case "exponent":
		return `1e3`
	case "negative":
		return `-123`
	case "boolean":
		return `true`
	case "text":
		return `"true"`
	case "list":
		return `["x"]`
	case "object":
		return `{"x":1}`
	case "long":
		switch f.kind {
		case "seconds":
			return `100000`
		case "flag":
			return `"` + strings.Repeat("x", 10_000) + `"`
		}
		return `"` + strings.Repeat("7", f.most+1+40) + `"`
	}
	return way // null, false
}

// The settings of the matrix's brands.
type matrixBrand struct {
	name            string
	required        []string
	oneTime, off    bool
	agent, customer int // seconds
	most            int
}

var matrixBrands = []matrixBrand{
	{name: "plain", agent: 60, customer: 300, most: 900},
	{name: "strict", required: []string{"email", "phone1", "uniqueId", "firstName", "lastName"}, oneTime: true, agent: 30, customer: 40, most: 44},
	{name: "some", required: []string{"lastName"}, agent: 60, customer: 120, most: 120},
	{name: "off", off: true, agent: 60, customer: 300, most: 900},
}

// expected is what the API's description promises for a request.
type expected struct {
	status int
	fields []string      // with 400: all of them are named, and nothing else
	oneOf  []string      // or: one of them is
	ticket *token.Ticket // with 200
}

// expect is written from the description of the API, and shares nothing with the
// code: how is the way of each field.
func (b matrixBrand) expect(how map[string]string) expected {
	given := func(name string) bool {
		return how[name] != "absent" && how[name] != "empty" && how[name] != "null"
	}
	// 1. Types, and the brand itself.
	var wrong []string
	for _, f := range matrixFields(b.name) {
		ok := false
		switch how[f.name] {
		case "absent", "null", "present":
			ok = true
		case "empty", "text":
			ok = f.kind == "text" || f.kind == "digits"
		case "long":
			ok = f.kind != "flag"
		case "integer":
			ok = f.kind == "digits" || f.kind == "seconds"
		case "boolean", "false":
			ok = f.kind == "flag"
		}
		if !ok {
			wrong = append(wrong, f.name)
		}
	}
	if !given("brand") {
		wrong = append(wrong, "brand")
	}
	if len(wrong) > 0 {
		return expected{status: 400, fields: wrong}
	}
	// 2. Lengths, the form of an address, and which fields go together.
	agent := given("username")
	for _, f := range matrixFields(b.name) {
		if how[f.name] == "long" && f.most > 0 {
			wrong = append(wrong, f.name)
		}
	}
	if how["email"] == "text" { // "true" is no address
		wrong = append(wrong, "email")
	}
	if agent && given("channel") {
		wrong = append(wrong, "channel")
	}
	if !agent && !given("email") && !given("uniqueId") && !given("phone1") {
		wrong = append(wrong, "email")
	}
	if len(wrong) > 0 {
		return expected{status: 400, oneOf: wrong}
	}
	// 3. What exists, and is switched on.
	switch {
	case how["brand"] == "text": // "true"
		return expected{status: 404}
	case how["channel"] == "text":
		return expected{status: 404}
	case b.off:
		return expected{status: 501}
	}
	// 4. A phone number: "123", "true" and one of fifty digits are none.
	if given("phone1") && how["phone1"] != "present" {
		return expected{status: 400, fields: []string{"phone1"}}
	}
	// 5. The agent's record.
	if agent {
		for _, name := range b.required {
			if !given(name) {
				wrong = append(wrong, name)
			}
		}
		if len(wrong) == 0 && !given("email") && !given("uniqueId") && !given("phone1") {
			wrong = []string{"email"}
		}
		if len(wrong) > 0 {
			return expected{status: 400, fields: wrong}
		}
		for _, name := range []string{"username", "email", "uniqueId", "firstName", "lastName"} {
			if given(name) && how[name] != "present" {
				return expected{status: 404}
			}
		}
	}
	// 6. The lifetime.
	seconds := map[string]int{"present": 45, "integer": 123, "long": 100_000}[how["expiresIn"]]
	if seconds > b.most {
		return expected{status: 400, fields: []string{"expiresIn"}}
	}
	if seconds == 0 {
		if seconds = b.customer; agent {
			seconds = b.agent
		}
	}
	value := func(name, present string) string {
		switch how[name] {
		case "present":
			return present
		case "text":
			return "true"
		case "integer":
			return "123"
		}
		return ""
	}
	flag := func(name string) bool { return how[name] == "present" || how[name] == "boolean" }
	t := &token.Ticket{
		Audience: token.Customer, Brand: b.name, Username: value("username", "john.d"),
		Email:    value("email", "john.d@gmail.com"),
		UniqueID: value("uniqueId", "123456"), FirstName: value("firstName", "John"), LastName: value("lastName", "Doe"),
		Phone1: value("phone1", "+442501234567"), Remark: value("remark", "VIP"), Channel: value("channel", "web"),
		Lifetime: time.Duration(seconds) * time.Second, OneTime: flag("oneTimeUse"),
		OverrideUserInfo: !agent && flag("overrideUserInfo"),
	}
	if !given("oneTimeUse") {
		t.OneTime = b.oneTime
	}
	if agent {
		t.Audience = token.Agent
	}
	return expected{status: 200, ticket: t}
}

// Every field in every way, in both shapes, for agents and customers, under every
// brand's settings; then any ways together.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	for _, b := range matrixBrands {
		brand := directory.Brand{Name: b.name, RequiredAgentFields: b.required,
			AgentLifetime: time.Duration(b.agent) * time.Second}
		brand.CustomerLifetime, brand.MaxLifetime = time.Duration(b.customer)*time.Second, time.Duration(b.most)*time.Second
		on := !b.off
		brand.TicketLogin, brand.OneTime = &on, &b.oneTime
		if b.name == "off" {
			_, err := w.directory.UpdateBrand(ctx, "off", func(old *directory.Brand) error { *old = brand; return nil })
			require.NoError(t, err)
		} else {
			require.NoError(t, w.directory.AddBrand(ctx, brand))
		}
		require.NoError(t, w.directory.AddChannel(ctx, directory.Channel{Brand: b.name, ID: "web"}))
		require.NoError(t, w.directory.AddAgent(ctx, directory.Agent{Brand: b.name, Username: "john.d",
			Email:  "john.d@gmail.com",
			Phone1: "+442501234567", UniqueID: "123456", FirstName: "John", LastName: "Doe", Active: true}))
	}
	asked, outcomes := 0, make(map[int]int)
	try := func(b matrixBrand, how map[string]string, wrapped bool) {
		t.Helper()
		var members []string
		for _, f := range matrixFields(b.name) {
			if v := f.json(how[f.name]); v != "" {
				members = append(members, fmt.Sprintf("%q:%s", f.name, v))
			}
		}
		body := "{" + strings.Join(members, ",") + "}"
		if wrapped {
			body = `{"data":` + body + `}`
		}
		want := b.expect(how)
		res := w.ask(w.anyKey, body)
		require.Equal(t, want.status, res.status, "%s\n%s", body, res.body)
		asked++
		outcomes[want.status]++
		if want.status == http.StatusOK {
			var e struct{ Data client.Issued }
			require.NoError(t, json.Unmarshal([]byte(res.body), &e))
			var got token.Ticket
			require.NoError(t, w.open(e.Data.Ticket, &got))
			want.ticket.ID, want.ticket.KeyID, want.ticket.IssuedAt, want.ticket.Actor = got.ID, got.KeyID, got.IssuedAt,
				w.anyKey[4:14]
			require.Equal(t, *want.ticket, got, body)
			return
		}
		var e struct{ Data client.Error }
		require.NoError(t, json.Unmarshal([]byte(res.body), &e))
		var named []string
		for _, f := range e.Data.Fields {
			named = append(named, f.Field)
		}
		if want.oneOf != nil {
			require.Len(t, named, 1, res.body)
			require.Contains(t, want.oneOf, named[0], "%s\n%s", body, res.body)
			return
		}
		require.ElementsMatch(t, want.fields, named, "%s\n%s", body, res.body)
	}
	base := func(audience string) map[string]string {
		how := make(map[string]string)
		for _, f := range matrixFields("") {
			how[f.name] = "present"
		}
		if how["channel"] = "absent"; audience == "customer" {
			how["username"] = "absent"
		}
		return how
	}
	for _, b := range matrixBrands {
		for _, audience := range []string{"agent", "customer"} {
			for _, f := range matrixFields(b.name) {
				for _, way := range ways {
					for _, wrapped := range []bool{false, true} {
						how := base(audience)
						how[f.name] = way
						try(b, how, wrapped)
					}
				}
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := 3000
	if testing.Short() {
		random = 500
	}
	for range random {
		how := base([]string{"agent", "customer"}[r.IntN(2)])
		for name := range how {
			if r.IntN(4) == 0 {
				how[name] = ways[r.IntN(4)] // mostly what gets far
			} else if r.IntN(20) == 0 {
				how[name] = ways[r.IntN(len(ways))]
			}
		}
		try(matrixBrands[r.IntN(len(matrixBrands))], how, r.IntN(2) == 0)
	}
	t.Logf("%d requests, by status %v", asked, outcomes)
	for _, status := range []int{200, 400, 404, 501} {
		require.Greater(t, outcomes[status], 50, "the matrix reaches every answer")
	}
}
