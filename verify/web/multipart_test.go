package web

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A ticket in a form of parts is as one in any other form. What is too large, broken
// off or malformed is refused, spends nothing and leaves nothing on the disk.
func TestMultipart(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	w := newWorld(t).start()
	body := func(write func(m *multipart.Writer)) (contentType, text string) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		write(m)
		require.NoError(t, m.Close())
		return m.FormDataContentType(), b.String()
	}
	field := func(m *multipart.Writer, name, value string) { require.NoError(t, m.WriteField(name, value)) }
	file := func(m *multipart.Writer, name, value string) {
		part, err := m.CreateFormFile(name, "f.txt")
		require.NoError(t, err)
		_, err = part.Write([]byte(value))
		require.NoError(t, err)
	}
	// Not over a connection, which would break where a body is not read to its end.
	post := func(target, contentType, text string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(text))
		r.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		return rec
	}

	kind, text := body(func(m *multipart.Writer) {
		file(m, "picture", strings.Repeat("x", 32<<10))
		field(m, "ta", w.issue(nil))
		field(m, "next", "/inbox")
	})
	res := post("/login", kind, text)
	assert.Equal(t, http.StatusSeeOther, res.Code)
	assert.Equal(t, "/inbox", res.Header().Get("Location"))
	assert.Equal(t, http.StatusForbidden, post("/login", kind, text).Code, "it was good once")

	ticket := w.issue(nil)
	good := func(m *multipart.Writer) { field(m, "ta", ticket) }
	kind, text = body(good)
	asked := w.store.accesses
	largeField, withLargeField := body(func(m *multipart.Writer) { good(m); field(m, "x", strings.Repeat("x", maxForm)) })
	largeFile, withLargeFile := body(func(m *multipart.Writer) { good(m); file(m, "x", strings.Repeat("x", 1<<20)) })
	manyParts, withManyParts := body(func(m *multipart.Writer) {
		good(m)
		for range 2000 {
			file(m, "x", "x")
		}
	})
	twice, withTwo := body(func(m *multipart.Writer) { good(m); field(m, "TA", ticket) })
	for what, in := range map[string]struct{ target, contentType, text string }{
		"large field":           {"/login", largeField, withLargeField},
		"large file":            {"/login", largeFile, withLargeFile},
		"many parts":            {"/login", manyParts, withManyParts},
		"broken off":            {"/login", kind, text[:len(text)-8]},
		"no boundary":           {"/login", "multipart/form-data", text},
		"another boundary":      {"/login", "multipart/form-data; boundary=other", text},
		"two tickets":           {"/login", twice, withTwo},
		"one in the query, too": {"/login?ta=" + ticket, kind, text},
	} {
		res := post(in.target, in.contentType, in.text)
		assert.Equal(t, http.StatusForbidden, res.Code, what)
		assert.Contains(t, res.Body.String(), "does not work any more", what)
	}
	// A form that ends before its first field has none, and a file is no field.
	assert.Contains(t, post("/login", kind, text[:strings.Index(text, "\r\n\r\n")]).Body.String(), "You are not signed in")
	k, b := body(func(m *multipart.Writer) { file(m, "ta", ticket) })
	assert.Contains(t, post("/login", k, b).Body.String(), "You are not signed in")
	assert.Equal(t, asked, w.store.accesses, "nothing was asked of the store")

	assert.Equal(t, http.StatusSeeOther, post("/login", kind, text).Code, "after all of these, it is unspent")
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
}
