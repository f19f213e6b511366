package api

import (
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/admitone/admitone/client"
)

// appendRedemption appends the JSON of a redemption. Each redemption is answered by it, and
// encoding/json takes several times as long.
func appendRedemption(b []byte, r *client.Redemption) []byte {
	b = appendText(b, `{"result":`, string(r.Result))
	b = append(b, `,"ticket":`...)
	if r.Ticket == nil {
		b = append(b, `null`...)
	} else {
		b = appendTicket(b, r.Ticket)
	}
	if a := r.Agent; a != nil {
		b = appendText(b, `,"agent":{"username":`, a.Username)
		b = appendTexts(b, []textMember{
			{"email", a.Email}, {"phone1", a.Phone1}, {"uniqueId", a.UniqueID}, {"firstName", a.FirstName},
			{"lastName", a.LastName},
		})
		for i, group := range a.Groups {
			before := `,`
			if i == 0 {
				before = `,"groups":[`
			}
			b = appendText(b, before, group)
		}
		if len(a.Groups) > 0 {
			b = append(b, ']')
		}
		b = append(b, '}')
	}
	if c := r.Customer; c != nil {
		b = appendText(b, `,"customer":{"id":`, c.ID)
		b = appendTexts(b, []textMember{
			{"email", c.Email}, {"phone1", c.Phone1}, {"uniqueId", c.UniqueID}, {"firstName", c.FirstName},
			{"lastName", c.LastName}, {"remark", c.Remark},
		})
		b = append(b, '}')
	}
	return append(appendTexts(b, []textMember{{"channel", r.Channel}}), '}')
}

func appendTicket(b []byte, t *client.Ticket) []byte {
	b = appendText(b, `{"id":`, t.ID)
	b = appendText(b, `,"keyId":`, t.KeyID)
	b = appendTexts(b, []textMember{{"issuer", t.Issuer}, {"signingKey", t.SigningKey}})
	b = appendText(b, `,"audience":`, string(t.Audience))
	if t.OneTimeUse {
		b = append(b, `,"oneTimeUse":true`...)
	} else {
		b = append(b, `,"oneTimeUse":false`...)
	}
	if t.OverrideUserInfo {
		b = append(b, `,"overrideUserInfo":true`...)
	}
	b = t.IssuedAt.AppendFormat(append(b, `,"issuedAt":"`...), time.RFC3339Nano)
	b = t.ExpiresAt.AppendFormat(append(b, `","expiresAt":"`...), time.RFC3339Nano)
	b = appendText(b, `","brand":`, t.Brand)
	b = appendTexts(b, []textMember{
		{"username", t.Username}, {"email", t.Email}, {"uniqueId", t.UniqueID}, {"firstName", t.FirstName},
		{"lastName", t.LastName}, {"phone1", t.Phone1}, {"remark", t.Remark}, {"channel", t.Channel}, {"actor", t.Actor},
	})
	if len(t.Claims) > 0 {
		before := `,"claims":{`
		for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
			b = append(appendText(b, before, name), ':')
			b = appendText(b, "", t.Claims[name])
			before = `,`
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// textMember is a member of a JSON object, which is left out if the text is empty.
type textMember struct{ name, text string }

func appendTexts(b []byte, all []textMember) []byte {
	for _, m := range all {
		if m.text != "" {
			b = append(append(append(b, `,"`...), m.name...), `":`...)
			b = appendText(b, "", m.text)
		}
	}
	return b
}

// appendText appends JSON and a string after it.
func appendText(b []byte, before, text string) []byte {
	b, _ = jsontext.AppendQuote(append(b, before...), text) // bytes that are no UTF-8 become U+FFFD
	return b
}
