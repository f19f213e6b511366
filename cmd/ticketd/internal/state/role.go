package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// Role says which half of a deployment a service is. Both halves have the same directory.
type Role string

// The roles. The zero Role is Both.
const (
	Both  Role = "both"
	Issue Role = "issue" // makes tickets of format 2, and has the administration
	Login Role = "login" // lets people in, and has no key that makes tickets
)

// Kinds returns the keyrings that a service of a role has, in the order of reports. A Recipient
// keyring is not among them: it belongs to a trust list.
func (r Role) Kinds() []keyring.Kind {
	switch r {
	case Issue:
		return []keyring.Kind{keyring.Issuer, keyring.Ticket, keyring.Session, keyring.Channel}
	case Login:
		return []keyring.Kind{keyring.Session, keyring.Channel}
	}
	return []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel}
}

// made returns the keyrings that MakeKeys makes for a role, in this order. The issuing half gets
// a copy of the login half's Channel keyring.
func (r Role) made() []keyring.Kind {
	switch r {
	case Issue:
		return []keyring.Kind{keyring.Session, keyring.Ticket, keyring.Issuer}
	case Login:
		return []keyring.Kind{keyring.Session, keyring.Channel, keyring.Recipient}
	}
	// The ticket keyring last: if one of the others fails, the next attempt still finds no
	// ticket keys.
	return []keyring.Kind{keyring.Session, keyring.Channel, keyring.Ticket}
}

// CheckLogin refuses a place of the role Login with keys that make tickets: under whatever name,
// a keyring of kind Issuer or Ticket, or the private half of the identity that signs the trust
// list. With issuers, there may be Ticket keyrings of named issuers. The identity may be nil.
func (p Place) CheckLogin(issuers bool, identity keyring.KEK) error {
	for _, dir := range []string{p.Data, p.Keyrings} {
		if dir == "" {
			continue
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			path := filepath.Join(dir, f.Name())
			if err := checkLoginFile(path, issuers && path != p.KeyringFile(keyring.Ticket), identity); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkLoginFile(path string, issuers bool, identity keyring.KEK) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	begin, err := beginning(path)
	switch {
	case err != nil:
		return err
	case isKeyring(begin, keyring.Issuer):
		return fmt.Errorf("%s is an issuer keyring: a service of the role login has no keys that make tickets, "+
			"or their thief could let anybody in everywhere; move the file to the issuing service", path)
	case isKeyring(begin, keyring.Ticket) && !issuers:
		return fmt.Errorf("%s is a ticket keyring, whose keys make tickets as well as open them: "+
			"a service of the role login has none; move the file to the issuing service", path)
	case bytes.HasPrefix(begin, []byte("-----BEGIN PRIVATE KEY-----")) && identity != nil:
		kek, err := kms.Open("signed:"+path, nil)
		if err != nil {
			return nil // another key, of TLS for example
		}
		have, _ := keyring.IdentityOf(kek)
		if want, _ := keyring.IdentityOf(identity); have == want {
			return fmt.Errorf("%s is the identity key that signs the trust list: whoever has it can add issuers; "+
				"move the file to the machine where keyrings are changed", path)
		}
	}
	return nil
}

// beginning returns the first bytes of a file.
func beginning(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil // of no use to a thief of this service
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64))
}

// isKeyring reports whether a file with such a beginning is a keyring of a kind. The header of
// a keyring has one form.
func isKeyring(begin []byte, kind keyring.Kind) bool {
	return bytes.HasPrefix(begin, []byte(`{"format":1,"kind":"`+string(kind)+`"`))
}

// TicketsAreSigned reports whether this is the place of a half of a deployment, all of whose
// tickets for people have an issuer's name.
func (p Place) TicketsAreSigned() bool {
	if _, err := os.Stat(p.KeyringFile(keyring.Issuer)); err == nil {
		return true
	}
	_, own := os.Stat(p.KeyringFile(keyring.Ticket))
	_, opens := os.Stat(p.KeyringFile(keyring.Recipient))
	return errors.Is(own, fs.ErrNotExist) && opens == nil
}
