package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/web"
)

func TestDocumentsAreServed(t *testing.T) {
	w := newWorld(t)
	doc := w.client().get("/openapi.yaml")
	assert.Equal(t, http.StatusOK, doc.status)
	assert.Equal(t, string(openAPI), doc.body)
	assert.Equal(t, "application/yaml", doc.header.Get("Content-Type"))

	page := w.client().get("/docs")
	require.Equal(t, http.StatusOK, page.status)
	csp := page.header.Get("Content-Security-Policy")
	assert.True(t, strings.HasPrefix(csp, "default-src 'none'; style-src 'self'"), csp)
	assert.NotContains(t, csp, "unsafe")
	for _, no := range []string{"<script", "style=", "onclick", "//cdn", "ZgotmplZ", "<no value>"} {
		assert.NotContains(t, page.body, no)
	}
	assert.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, page.body, "nothing comes from elsewhere")
	for _, want := range []string{
		`<html lang="en">`, "POST /auth/ticket", "GET /chat/{code}", "oneTimeUse", "encpryptedString",
		"already_used", "data.ticket.id", "multipart/form-data",
		`<th scope="col">`, `&#34;username&#34;: &#34;john.d&#34;`, `--header &#34;Authorization: Bearer $ADMITONE_API_KEY&#34;`,
	} {
		assert.Contains(t, page.body, want)
	}
	for _, no := range []string{"/metrics", "/docs.css</", "/healthz", "check/{path}"} {
		assert.NotContains(t, page.body, no+"</", "operations that are not for callers")
	}
	ids := make(map[string]int)
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		ids[m[1]]++
		assert.Equal(t, 1, ids[m[1]], "the ID %s is there once", m[1])
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		assert.Contains(t, ids, m[1], "no link leads nowhere")
	}
	levels := regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page.body, -1)
	for i := 1; i < len(levels); i++ {
		assert.LessOrEqual(t, levels[i][1][0], levels[i-1][1][0]+1, "no level of headings is left out")
	}
	style := w.client().get("/docs.css")
	assert.Equal(t, http.StatusOK, style.status)
	assert.Equal(t, "text/css; charset=utf-8", style.header.Get("Content-Type"))
}

// The document names the check's headers as they are configured.
func TestDocumentedHeaders(t *testing.T) {
	// Two names are exchanged, and one is written as nobody would.
	h := web.Headers{User: "Remote-Name", Name: "Remote-User", Email: "x-EMAIL", Actor: "X-Actor"}
	w := newWorld(t, func(c *Config) { c.Headers = h })
	res, err := http.Get(w.server.URL + "/openapi.yaml") // unchecked: the document is another
	require.NoError(t, err)
	defer res.Body.Close()
	doc, err := openapi3.NewLoader().LoadFromIoReader(res.Body)
	require.NoError(t, err)
	for path, response := range map[string]string{"/auth/check": "Identity", "/auth/check-customer": "NoIdentity"} {
		documented := doc.Components.Responses[response].Value.Headers
		res, err := http.Get(w.server.URL + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Len(t, documented, 12)
		for name := range documented {
			assert.Contains(t, res.Header, name, response)
		}
	}
	identity := doc.Components.Responses["Identity"].Value.Headers
	assert.Equal(t, "For people.", identity["Remote-User"].Value.Description)
	assert.Contains(t, identity, "X-Email")
	assert.Contains(t, identity, "X-Actor")
	assert.Contains(t, identity, "Remote-Groups")
	page := w.client().get("/docs").body
	assert.Contains(t, page, "X-Email")
	assert.NotContains(t, page, "Remote-Email")
}

// With IntegerStatus the answers and the document agree again.
func TestIntegerStatus(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.IntegerStatus = true })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/auth/ticket",
		strings.NewReader(customer))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+w.key)
	res, err := http.DefaultTransport.RoundTrip(r) // unchecked: the document is another
	require.NoError(t, err)
	defer res.Body.Close()
	body := make([]byte, 20)
	_, err = res.Body.Read(body)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(body), `{"status":200,"`), "%s", body)

	served := w.client().get("/openapi.yaml").body
	doc, err := openapi3.NewLoader().LoadFromData([]byte(served))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background()))
	assert.True(t, doc.Components.Schemas["Status"].Value.Type.Is("integer"))
	assert.Equal(t, strings.Count(string(openAPI), "\n")-1, strings.Count(served, "\n"), "all else is there")
	assert.Contains(t, w.client().get("/docs").body, "&#34;status&#34;: 200,")
}
