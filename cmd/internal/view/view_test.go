package view

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	ticket "github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// Every field of a ticket is shown.
func TestTicket(t *testing.T) {
	assert.Nil(t, Ticket(nil))
	v := Ticket(&ticket.Ticket{
		ID: ticket.ID{0xab}, KeyID: 0x56b5a0c3, Issuer: "n", SigningKey: 0x0b0b0b0b,
		Audience: ticket.Agent, OneTime: true, OverrideUserInfo: true,
		IssuedAt: time.Unix(1e9, 0).UTC(), Lifetime: time.Minute, Brand: "b", Username: "u", Email: "e", UniqueID: "i",
		FirstName: "f", LastName: "l", Phone1: "p", Remark: "r", Channel: "c", Actor: "a",
		Claims: map[string]string{"k": "v"},
	})
	fields := reflect.ValueOf(*v)
	for i := range fields.NumField() {
		assert.False(t, fields.Field(i).IsZero(), fields.Type().Field(i).Name)
	}
	got, err := json.Marshal(v)
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"ab000000000000000000000000000000","keyId":"56b5a0c3","issuer":"n","signingKey":"0b0b0b0b","audience":"agent","oneTimeUse":true,
		"overrideUserInfo":true,"issuedAt":"2001-09-09T01:46:40Z","expiresAt":"2001-09-09T01:47:40Z","brand":"b",
		"username":"u","email":"e","uniqueId":"i","firstName":"f","lastName":"l","phone1":"p","remark":"r","channel":"c","actor":"a",
		"claims":{"k":"v"}}`, string(got))
}

// Package client has words of its own, since it imports no package of this module.
// They are the same words.
func TestClientHasTheLibrarysWords(t *testing.T) {
	reasons := reasonsOf(t, "../../../verify/reason.go")
	require.NotEmpty(t, reasons)
	assert.Equal(t, reasons, reasonsOf(t, "../../../client/error.go"))
	assert.Equal(t, string(verify.Malformed), string(client.Malformed))
	assert.Equal(t, ticket.Agent.String(), string(client.Agent))
	assert.Equal(t, ticket.Customer.String(), string(client.Customer))
	assert.Equal(t, replay.Grace, client.Grace)
}

// reasonsOf returns the constants of type Reason in a Go file, by name.
func reasonsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	reasons := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
			for i, name := range spec.Names {
				reasons[name.Name] = strings.Trim(spec.Values[i].(*ast.BasicLit).Value, `"`)
			}
		}
		return true
	})
	return reasons
}
