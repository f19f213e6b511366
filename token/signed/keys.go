package signed

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/admitone/admitone/token"
)

// entriesOf returns the enabled entries of a keyset. All keys must have the TINK output prefix,
// and no two may share an ID. The error is a *token.ConfigError for field.
func entriesOf(field string, handle *keyset.Handle) ([]*keyset.Entry, error) {
	fault := func(format string, args ...any) error {
		return &token.ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	if handle == nil {
		return nil, fault("is nil; give a keyset")
	}
	var entries []*keyset.Entry
	for i, info := range handle.KeysetInfo().GetKeyInfo() {
		id, prefix := token.KeyID(info.GetKeyId()), info.GetOutputPrefixType()
		if prefix != tinkpb.OutputPrefixType_TINK {
			return nil, fault("has key %v with output prefix %v; make the keyset's keys with the TINK prefix", id, prefix)
		}
		e, err := handle.Entry(i)
		if err != nil {
			return nil, err
		}
		if e.KeyStatus() == keyset.Enabled {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// primaryOf returns the primary entry of a keyset. The error is a *token.ConfigError for field.
func primaryOf(field string, handle *keyset.Handle) (*keyset.Entry, error) {
	if _, err := entriesOf(field, handle); err != nil {
		return nil, err
	}
	return handle.Primary() // Tink makes no handle without a primary key
}

// keyFault is the error for a key of a keyset.
func keyFault(field string, e *keyset.Entry, err error) error {
	reason := fmt.Sprintf("has the unusable key %v", token.KeyID(e.KeyID()))
	return &token.ConfigError{Field: field, Reason: reason, Cause: err}
}

// wrongType is the error for a key of another type than wanted.
func wrongType(k key.Key, wanted string) error {
	return fmt.Errorf("it is a %T; give %s keys", k, wanted)
}
