package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

// The kinds of signed files. Such a file has the form of a keyring file, without a policy and
// without keys in the header. In place of the wrapped keyset is JSON with a signature: everybody
// can read the file, and only the owner of the identity key can write one. See NewIdentity.
const (
	IssuerPublic    Kind = "issuer-public"    // a Bundle with the public keys of an Issuer keyring
	RecipientPublic Kind = "recipient-public" // a Bundle with the public keys of a Recipient keyring
	Trust           Kind = "trust"            // a list of issuers; see package verify/trust
)

// isSigned reports whether files of kind k are signed, and hold no secret.
func (k Kind) isSigned() bool { return k == IssuerPublic || k == RecipientPublic || k == Trust }

// Document is the content of a signed file.
type Document struct {
	Info
	Content []byte // JSON, in the one form that CanonicalJSON accepts
	File    []byte // the bytes of the file; nil in a change
}

// kekFault is the fault of a KEK that is not for files of kind k, or nil.
func kekFault(k Kind, hint string) error {
	switch {
	case k.isSigned() && hint != signedHint:
		return fmt.Errorf("has the KEK %q; a file of kind %s is signed by an identity key: "+
			"give signed:PATH, or verify:PATH to read", hint, k)
	case !k.isSigned() && hint == signedHint:
		return fmt.Errorf("has the KEK %q, which does not encrypt; a %s keyring holds secrets: give another KEK", hint, k)
	}
	return nil
}

// ReadDocument opens the signed file at path. If an audit log is beside the file, the two must
// agree. The errors are those of Read.
func ReadDocument(path string, c Config) (Document, error) {
	if err := c.check(); err != nil {
		return Document{}, err
	}
	f, _, err := readBoth(path, &c)
	if err != nil {
		return Document{}, err
	}
	return f.documentOf()
}

// DecodeDocument opens the bytes of a signed file. name stands for the path in errors, which are
// *FileErrors.
func DecodeDocument(name string, data []byte, c Config) (Document, error) {
	if err := c.check(); err != nil {
		return Document{}, err
	}
	f, err := decode(name, data, &c)
	if err != nil {
		return Document{}, err
	}
	return f.documentOf()
}

func (f *contents) documentOf() (Document, error) {
	if !f.header.Kind.isSigned() {
		return Document{}, fileError(WrongKind, "is a %s keyring, and no signed file; give the right file", f.header.Kind)
	}
	return Document{f.info(), f.document, f.file}, nil
}

// CreateDocument makes a signed file with an audit log, mode 0644. It never overwrites: if there
// is a file, the error wraps fs.ErrExist.
func CreateDocument(path string, c Config, content any) (Info, error) {
	var info Info
	err := create(path, &c, Policy{}, func(e *edit) (err error) {
		e.done = []Step{{Do: created}}
		e.document, err = json.Marshal(content)
		return err
	})
	if err == nil {
		info, err = Read(path, c)
	}
	return info, err
}

// ChangeDocument replaces the content of a signed file with the answer of next, which gets the
// present content. The rest is as for Change: a lock, the audit log with the steps, and a write of
// the whole file. If next returns no steps, nothing is written.
func ChangeDocument(path string, c Config, why string, next func(Document) (content any, steps []Step, err error)) (
	Info, error,
) {
	o := changeOptions{anyClock: true, document: true}
	return change(path, &c, why, o, func(e *edit, now Info) error {
		content, steps, err := next(Document{Info: now, Content: e.document})
		if err != nil || len(steps) == 0 {
			return err
		}
		e.done = append(e.done, steps...)
		e.document, err = json.Marshal(content)
		return err
	})
}

// encodeDocument returns the bytes of a signed file without an audit log, for others to read.
func encodeDocument(h *header, content any, c *Config) ([]byte, *contents, error) {
	document, err := json.Marshal(content)
	if err != nil {
		return nil, nil, err
	}
	return encode("the new file", h, nil, document, c)
}

// CanonicalJSON decodes JSON into to, a pointer to a struct. It refuses bytes that json.Marshal
// of the struct would not have written: a field that is unknown, repeated or spelt otherwise.
func CanonicalJSON(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	again, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, again) {
		return errors.New("the content is not in canonical form (a field is repeated, spelt otherwise or out of place)")
	}
	return nil
}

// Follower holds the parsed content of a signed file and keeps it up to date, as a Ring does
// with the keys of a keyring file. After a failure, the last good content stays. A Follower is
// safe for concurrent use.
type Follower[T any] struct{ ring *Ring }

// Follow loads the signed file at path, and returns a Follower over it. parse is called for each
// new file, by one goroutine at a time; an error refuses the file. Close ends the polling.
func Follow[T any](path string, c Config, parse func(Document) (T, error)) (*Follower[T], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !c.Kind.isSigned() {
		return nil, &token.ConfigError{Field: "keyring.Config.Kind",
			Reason: fmt.Sprintf("is %q; give the kind of a signed file: IssuerPublic, RecipientPublic or Trust", string(c.Kind))}
	}
	c.parse = func(d Document) (any, error) { return parse(d) }
	ring, err := openRing(path, c)
	if err != nil {
		return nil, err
	}
	return &Follower[T]{ring}, nil
}

// Load returns the parsed content of the last good file.
func (f *Follower[T]) Load() T { return f.ring.keys.Load().parsed.(T) }

// Reload looks at the file now; see Ring.Reload.
func (f *Follower[T]) Reload() error { return f.ring.Reload() }

// Report returns the state of the Follower, without a look at the file.
func (f *Follower[T]) Report() Report { return f.ring.Report() }

// Close ends the polling; see Ring.Close.
func (f *Follower[T]) Close() error { return f.ring.Close() }

// parseDocument fills s.parsed. The error is a *FileError for the file at path.
func (s *keySet) parseDocument(path string, c *Config) error {
	if c.parse == nil {
		return nil
	}
	d, err := s.documentOf()
	if err == nil {
		s.parsed, err = c.parse(d)
	}
	if err != nil {
		return &FileError{path, BadContent, fmt.Errorf("is signed, and cannot be used: %w", err)}
	}
	return nil
}

// checkSigned refuses the header of a signed file with things that such files do not have.
func (h *header) checkSigned() error {
	if h.Policy != (Policy{}) || !h.Known.IsZero() || h.Keys == nil || len(h.Keys) > 0 || h.Tombstones != nil {
		return fmt.Errorf("has a policy or keys, which files of kind %s do not have", h.Kind)
	}
	return nil
}

// managerOf returns a Manager for the keys of f, or nil for a signed file.
func managerOf(f *contents) *keyset.Manager {
	if f.handle == nil {
		return nil
	}
	return keyset.NewManagerFromHandle(f.handle)
}
