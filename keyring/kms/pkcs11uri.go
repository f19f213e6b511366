package kms

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

const pkcs11Prefix = "pkcs11:"

// pkcs11URI is what a URI of RFC 7512 names: a key in a token.
type pkcs11URI struct {
	token, serial string // of the token: label and serial number
	object, id    string // of the key: CKA_LABEL and CKA_ID
	module        string // the library's path
	pinSource     string // where the PIN is: file:PATH or env:NAME; empty for a token without
}

// parsePKCS11 reads a URI. Of the attributes that the RFC has, those that name a
// token by its slot or its maker are not taken: slots change, and makers have
// many tokens. Errors do not repeat values.
func parsePKCS11(uri string) (*pkcs11URI, error) {
	rest, ok := strings.CutPrefix(uri, pkcs11Prefix)
	if !ok {
		return nil, errors.New("kms: a PKCS#11 URI begins with its scheme, pkcs11")
	}
	path, query, _ := strings.Cut(rest, "?")
	u := new(pkcs11URI)
	class := "secret-key"
	for _, part := range []struct {
		text, separator string
		known           map[string]*string
	}{
		{path, ";", map[string]*string{"token": &u.token, "serial": &u.serial, "object": &u.object, "id": &u.id, "type": &class}},
		{query, "&", map[string]*string{"module-path": &u.module, "pin-source": &u.pinSource}},
	} {
		if part.text == "" {
			continue
		}
		seen := map[string]bool{}
		for attribute := range strings.SplitSeq(part.text, part.separator) {
			name, value, _ := strings.Cut(attribute, "=")
			to, ok := part.known[name]
			switch {
			case name == "pin-value":
				return nil, errors.New("kms: a PIN is not given in the URI, where process lists and histories show it; give pin-source=file:PATH or pin-source=env:NAME")
			case !ok:
				return nil, errors.New("kms: a PKCS#11 URI has the attributes token, serial, object, id and type, and after the question mark module-path and pin-source; no others are taken")
			case seen[name]:
				return nil, fmt.Errorf("kms: the PKCS#11 URI says %s twice", name)
			}
			seen[name] = true
			value, err := url.PathUnescape(value)
			if err != nil || value == "" {
				return nil, fmt.Errorf("kms: the PKCS#11 URI's %s is empty, or not percent-encoded as it must be", name)
			}
			*to = value
		}
	}
	return u, u.check(class)
}

func (u *pkcs11URI) check(class string) error {
	from, where, _ := strings.Cut(u.pinSource, ":")
	switch {
	case u.token == "" && u.serial == "":
		return errors.New("kms: the PKCS#11 URI names no token; say token=LABEL or serial=NUMBER")
	case u.object == "" && u.id == "":
		return errors.New("kms: the PKCS#11 URI names no key; say object=LABEL or id=%XX%XX")
	case class != "secret-key":
		return errors.New("kms: the PKCS#11 URI's type must be secret-key")
	case !filepath.IsAbs(u.module):
		return errors.New("kms: the PKCS#11 URI names no library; say ?module-path=/PATH, from the root")
	case u.pinSource != "" && (from != "file" && from != "env" || where == ""):
		return errors.New("kms: the PKCS#11 URI's pin-source must be file:PATH or env:NAME")
	}
	return nil
}
