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
  /z/{p}:
    parameters: [{name: p, in: path, required: true, example: v, schema: {type: string}}]
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
        "400": {$ref: "#/components/responses/Bad"}
  /a:
    servers: [{url: "http://x/", description: elsewhere}]
    delete:
      operationId: a
      tags: [First]
      parameters:
        - {name: q, in: query, example: 1, schema: {type: integer}}
        - {name: n, in: query, schema: {type: integer}}
        - {name: If-Match, in: header, example: 3, schema: {type: string}}
      responses: {"204": {description: none}}
    get: {operationId: hidden, x-internal: true, tags: [First], responses: {"400": {$ref: "#/components/responses/Unused"}}}
  /f:
    post:
      operationId: f
      tags: [Second]
      requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object}, example: {ta: x y, n: 1}}}}
      responses: {"303": {description: go}}
components:
  requestBodies:
    Z:
      content:
        application/json: {schema: {$ref: "#/components/schemas/Either"}, examples: {e: {summary: E, value: {k: "<"}}}}
        multipart/form-data: {schema: {$ref: "#/components/schemas/B"}}
        text/csv: {schema: {type: string}, example: "it's"}
  headers: {H: {required: true, schema: {type: integer}}}
  responses:
    Bad: {description: bad, headers: {H: {$ref: "#/components/headers/H"}}}
    Unused: {description: unused}
  schemas:
    Either:
      oneOf:
        - $ref: "#/components/schemas/A"
        - $ref: "#/components/schemas/B"
        - {title: Wrapped, type: object, properties: {data: {$ref: "#/components/schemas/A"}}}
    A:
      type: object
      title: Title A
      required: [n]
      properties:
        n: {$ref: "#/components/schemas/B"}
        o: {type: object, properties: {i: {type: array, items: {$ref: "#/components/schemas/B"}}}}
        e: {type: string, enum: [x, y]}
        c: {type: string, const: z}
    B: {type: object, description: B, properties: {m: {type: string, description: b}}}
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
	assert.Equal(t, []Field{{Name: "p", Type: "string, in the path", Required: true}}, z.Parameters)
	assert.Equal(t, []string{"application/json", "multipart/form-data", "text/csv"}, z.Body.Types, "in order")
	inner := []Field{{Name: "n.m", Type: "string", Description: "<p>b</p>"}}
	assert.Equal(t, []Object{
		{"Title A", append([]Field{{Name: "n", Type: "object", Required: true, Description: "<p>B</p>"}}, append(inner,
			Field{Name: "o", Type: "object"}, Field{Name: "o.i", Type: "array of object"},
			Field{Name: "o.i[].m", Type: "string", Description: "<p>b</p>"},
			Field{Name: "e", Type: "x or y"}, Field{Name: "c", Type: `"z"`})...)},
		{"application/json", []Field{{Name: "m", Type: "string", Description: "<p>b</p>"}}},
		{"text/csv", nil},
	}, z.Body.Objects, "without the same fields again, also within data")
	require.Len(t, z.Responses, 2)
	assert.Equal(t, Response{Status: "400", Name: "Bad", Description: "<p>bad</p>"}, z.Responses[1])
	assert.Equal(t, "http://x/, elsewhere", a.Server)
	assert.Nil(t, a.Body)
	answer := z.Responses[0]
	assert.Equal(t, []string{"application/json"}, answer.Types)
	assert.Equal(t, []Field{{Name: "H", Type: "integer", Required: true}}, answer.Headers)
	assert.Len(t, answer.Fields, 7)
	require.Len(t, answer.Examples, 1)
	assert.JSONEq(t, `{"b":1,"a":"x","l":[true,null,"2025-01-19T14:18:47Z"]}`, answer.Examples[0].Text)
	assert.Equal(t, []Response{{
		Name: "Bad", Description: "<p>bad</p>", Headers: answer.Headers,
	}}, d.Answers, "only answers that are referred to")
}

func TestCommands(t *testing.T) {
	d, err := Read([]byte(document))
	require.NoError(t, err)
	z, a := d.Groups[1].Operations[0], d.Groups[1].Operations[1]
	const start = `curl "$ADMITONE_URL/z/v"` + " \\\n" + `  --header "Authorization: Bearer $ADMITONE_API_KEY"` + " \\\n"
	assert.Equal(t, []Example{
		{"E", start + "  --json '{\n  \"k\": \"<\"\n}'"},
		{"", start + "  --header 'Content-Type: text/csv' \\\n  --data-binary 'it'\\''s'"},
	}, z.Commands)
	assert.Equal(t, []Example{{Text: `curl --include "$ADMITONE_URL/a?q=1"` + " \\\n  --header 'If-Match: 3' \\\n" +
		"  --request DELETE"}}, a.Commands)
	assert.Equal(t, []Example{{
		Text: `curl --include "$ADMITONE_URL/f"` + " \\\n  --data-urlencode 'ta=x y' \\\n  --data-urlencode 'n=1'",
	}}, d.Groups[0].Operations[0].Commands)
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
