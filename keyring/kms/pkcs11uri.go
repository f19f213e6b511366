package kms

import (
	"net/url"
	"path/filepath"
	"strings"
)

const pkcs11Prefix = "pkcs11:"

// pkcs11URI is a parsed URI of RFC 7512, for a key in a token.
type pkcs11URI struct {
	token, serial string // of the token: label and serial number
	object, id    string // of the key: CKA_LABEL and CKA_ID
	module        string // the library's path
	pinSource     string // source of the PIN: file:PATH or env:NAME; empty for a token without a PIN
}

// parsePKCS11 parses a URI. The attributes of the RFC that name a token by slot or by
// maker are not supported: slots change, and a maker has many tokens. Errors do not repeat
// values.
func parsePKCS11(uri string) (*pkcs11URI, error) {
	rest, ok := strings.CutPrefix(uri, pkcs11Prefix)
	if !ok {
		return nil, uriError("does not begin with pkcs11:")
	}
	path, query, _ := strings.Cut(rest, "?")
	u := new(pkcs11URI)
	class := "secret-key"
	for _, part := range []struct {
		text, separator string
		known           map[string]*string
	}{
		{path, ";", map[string]*string{
			"token": &u.token, "serial": &u.serial, "object": &u.object, "id": &u.id, "type": &class,
		}},
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
				return nil, uriError("must not hold the PIN, since process lists and histories would show the PIN; " +
					"give pin-source=file:PATH or pin-source=env:NAME")
			case !ok:
				return nil, uriError("has an unknown attribute; the attributes of a pkcs11: URI are " +
					"token, serial, object, id and type, and after the question mark module-path and pin-source")
			case seen[name]:
				return nil, uriError("gives %s twice", name)
			}
			seen[name] = true
			value, err := url.PathUnescape(value)
			if err != nil || value == "" {
				return nil, uriError("has a %s that is empty or not percent-encoded", name)
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
		return uriError("names no token; add token=LABEL or serial=NUMBER")
	case u.object == "" && u.id == "":
		return uriError("names no key; add object=LABEL or id=%%XX%%XX")
	case class != "secret-key":
		return uriError("has a type other than secret-key; leave type out")
	case !filepath.IsAbs(u.module):
		return uriError("names no library; add ?module-path=/PATH, an absolute path")
	case u.pinSource != "" && (from != "file" && from != "env" || where == ""):
		return uriError("has a pin-source other than file:PATH and env:NAME")
	}
	return nil
}
