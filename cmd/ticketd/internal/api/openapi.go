package api

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/textproto"
	"regexp"

	"github.com/admitone/admitone/cmd/ticketd/internal/apidoc"
	"github.com/admitone/admitone/verify/web"
)

// openAPI describes all routes of this package, in OpenAPI 3.1
// (https://spec.openapis.org/oas/v3.1.1.html). Tests check every answer against the
// description.
//
//go:embed openapi.yaml
var openAPI []byte

//go:embed assets
var assets embed.FS

// exampleStatus matches the status of an answer in an example.
var exampleStatus = regexp.MustCompile(`(?m)^( +status: )"([1-5][0-9][0-9])"$`)

// checkHeader matches a header of the check's answers.
var checkHeader = regexp.MustCompile(`(?m)^        [A-Z][A-Za-z-]+: \{required: true,`)

// renameHeaders replaces the default names of headers by the configured names.
func renameHeaders(doc []byte, h web.Headers) []byte {
	names := map[string]string{
		"Remote-User": h.User, "Remote-Name": h.Name, "Remote-Email": h.Email, "Remote-Groups": h.Groups,
		"Admitone-Brand": h.Brand, "Admitone-Audience": h.Audience, "Admitone-Channel": h.Channel,
		"Admitone-Ticket-Id": h.TicketID, "Admitone-Key-Id": h.KeyID, "Admitone-Actor": h.Actor,
		"Admitone-Issuer": h.Issuer, "Admitone-Signing-Key": h.SigningKey,
	}
	return checkHeader.ReplaceAllFunc(doc, func(line []byte) []byte {
		usual, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		name := cmp.Or(names[string(usual)], string(usual))
		return []byte("        " + textproto.CanonicalMIMEHeaderKey(name) + ":" + string(rest))
	})
}

// documents serve the description: as YAML for programs, and as a page.
type documents struct {
	yaml []byte
	page []byte
}

func newDocuments(integerStatus bool, h web.Headers, p Part) (documents, error) {
	d := documents{yaml: ofPart(renameHeaders(openAPI, h), p)}
	if integerStatus {
		const text = "      type: string\n      pattern: \"^[1-5][0-9][0-9]$\"\n" +
			"      description: The HTTP status again, as text. (The operator can make it a number.)\n"
		const number = "      type: integer\n      description: The HTTP status again.\n"
		if !bytes.Contains(d.yaml, []byte(text)) {
			return d, fmt.Errorf("the OpenAPI document has no schema Status as expected")
		}
		d.yaml = bytes.Replace(d.yaml, []byte(text), []byte(number), 1)
		d.yaml = exampleStatus.ReplaceAll(d.yaml, []byte("${1}${2}"))
	}
	doc, err := apidoc.Read(d.yaml)
	if err != nil {
		return d, err
	}
	t, err := template.ParseFS(assets, "assets/docs.html")
	if err != nil {
		return d, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, doc); err != nil {
		return d, err
	}
	d.page = b.Bytes()
	return d, nil
}

func (d documents) serveYAML(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	// Tools in a browser can then read the document from any site.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(d.yaml)
}

func (d documents) servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; "+
		"form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(d.page)
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	b, err := assets.ReadFile("assets/docs.css")
	if err != nil {
		panic(err) // it is embedded
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b)
}
