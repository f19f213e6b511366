package apidoc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const document = `
openapi: 3.1.1
info: {title: T, summary: S, description: "One <b>.\n\nTwo ` + "`a<b`" + `."}
tags: [{name: Second}, {name: First, description: d}]
paths:
  /z:
    parameters: [{name: p, in: path, required: true, schema: {type: string}}]
    post:
      operationId: z
      tags: [First]
      security: [{key: []}]
      requestBody: {$ref: "#/components/requestBodies/Z"}
      responses:
        "200":
          description: ok
          headers: {H: {$ref: "#/components/headers/H"}}
          content: {application/json: {schema: {$ref: "#/components/schemas/A"}, example: {b: 1, a: "x", l: [true, null, "2025-01-19T14:18:47Z"]}}}
  /a:
    servers: [{url: "http://x/", description: elsewhere}]
    get: {operationId: a, tags: [First], responses: {"204": {description: none}}}
components:
  requestBodies:
    Z:
      content:
        application/json: {schema: {$ref: "#/components/schemas/Either"}, examples: {e: {summary: E, value: {k: "<"}}}}
        multipart/form-data: {schema: {$ref: "#/components/schemas/B"}}
        text/plain: {schema: {type: string}}
  headers: {H: {required: true, schema: {type: integer}}}
  schemas:
    Either: {oneOf: [{$ref: "#/components/schemas/A"}, {$ref: "#/components/schemas/B"}]}
    A:
      type: object
      required: [n]
      properties:
        n: {$ref: "#/components/schemas/B"}
        o: {type: object, properties: {i: {type: array, items: {$ref: "#/components/schemas/B"}}}}
        e: {type: string, enum: [x, y]}
        c: {type: string, const: z}
    B: {type: string, description: b}
`

func TestRead(t *testing.T) {
	d, err := Read([]byte(document))
	require.NoError(t, err)
	assert.EqualValues(t, "<p>One &lt;b&gt;.</p><p>Two <code>a&lt;b</code>.</p>", d.Description)
	require.Len(t, d.Groups, 2)
	assert.Equal(t, "Second", d.Groups[0].Name, "in the order in which they are listed")
	require.Len(t, d.Groups[1].Operations, 2)
	z, a := d.Groups[1].Operations[0], d.Groups[1].Operations[1]
	assert.Equal(t, "POST", z.Method)
	assert.True(t, z.Secured)
	assert.Equal(t, []Field{{Name: "p (path)", Type: "string", Required: true}}, z.Parameters)
	assert.Equal(t, []Content{
		{Type: "application/json", Schemas: []string{"A", "B"}, Examples: []Example{{"E", "{\n  \"k\": \"<\"\n}"}}},
		{Type: "multipart/form-data", Schemas: []string{"B"}},
		{Type: "text/plain"},
	}, z.Body.Contents, "every media type, in order")
	require.Len(t, z.Responses, 1)
	require.Len(t, z.Responses[0].Contents, 1)
	answer := z.Responses[0].Contents[0]
	assert.Equal(t, []string{"A"}, answer.Schemas)
	require.Len(t, answer.Examples, 1)
	assert.JSONEq(t, `{"b":1,"a":"x","l":[true,null,"2025-01-19T14:18:47Z"]}`, answer.Examples[0].JSON)
	assert.Equal(t, "http://x/, elsewhere", a.Server)
	assert.Nil(t, a.Body)
	require.Len(t, d.Schemas, 2)
	assert.Equal(t, []Field{
		{Name: "n", Type: "string", Schema: "B", Required: true}, {Name: "o", Type: "object"}, {Name: "o.i",
			Type: "array of string", Schema: "B"},
		{Name: "e", Type: "x or y"}, {Name: "c", Type: `"z"`},
	}, d.Schemas[0].Fields)
}

func TestReadRefuses(t *testing.T) {
	for says, document := range map[string]string{
		"yaml":          "a: [",
		"empty":         "",
		"leads nowhere": "tags: [{name: x}]\npaths: {/a: {get: {operationId: a, tags: [x], requestBody: {$ref: '#/components/none'}}}}",
		"no tag":        "paths: {/a: {get: {operationId: a}}}",
		"not listed":    "paths: {/a: {get: {operationId: a, tags: [x]}}}",
	} {
		_, err := Read([]byte(document))
		assert.ErrorContains(t, err, says)
	}
}
