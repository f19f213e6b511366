package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"regexp"
	"strings"
)

// formName matches the start of a form: a name and an equals sign. No JSON starts so.
var formName = regexp.MustCompile(`^[A-Za-z0-9_.%\[\]-]+=`)

var (
	errForm = errors.New("the body is a form that is not well-formed; send JSON")

	errFormData = errors.New(
		"the body is a form, and data with the JSON object is not its only parameter; send JSON")
)

// formData returns the JSON of a body. Older clients send a form, and the JSON is its only
// parameter, data. The body itself is the JSON if it starts as JSON does, also where the
// Content-Type says that it is a form: curl says so of whatever it sends.
func formData(contentType string, body []byte) ([]byte, error) {
	start := bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if len(start) == 0 || strings.IndexByte(`{["`, start[0]) >= 0 {
		return body, nil
	}
	kind, parameters, _ := mime.ParseMediaType(contentType)
	var form []parameter
	var err error
	switch {
	case kind == "multipart/form-data":
		form, err = multipartForm(body, parameters["boundary"])
	case kind == "application/x-www-form-urlencoded", formName.Match(start):
		form, err = urlForm(string(start))
	default:
		return body, nil
	}
	if err != nil {
		return nil, errForm
	}
	if len(form) != 1 || lower(form[0].name) != "data" {
		return nil, errFormData
	}
	return form[0].value, nil
}

// parameter is a parameter of a form.
type parameter struct {
	name  string
	value []byte
}

func urlForm(body string) (all []parameter, err error) {
	for pair := range strings.SplitSeq(body, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return nil, err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, err
		}
		all = append(all, parameter{name, []byte(value)})
	}
	return all, nil
}

func multipartForm(body []byte, boundary string) (all []parameter, err error) {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		all = append(all, parameter{part.FormName(), value})
	}
}
