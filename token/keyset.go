package token

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyset is a plain Tink AEAD keyset as Sealer and Opener, for those who keep
// their keys without the keyring package. Unlike the bare tink.AEAD it knows
// which keys it has, so that a ticket under another key is told from a forgery.
type Keyset struct {
	tink.AEAD
	enabled []KeyID
}

// NewKeyset wraps a keyset of AEAD keys. It refuses a keyset in which any key
// lacks the TINK output prefix, since tickets name their key by it, and one in
// which two keys share an ID.
func NewKeyset(h *keyset.Handle) (*Keyset, error) {
	if h == nil {
		return nil, errors.New("the keyset handle is nil")
	}
	k := new(Keyset)
	var seen []KeyID
	for _, info := range h.KeysetInfo().GetKeyInfo() {
		id := KeyID(info.GetKeyId())
		if info.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK {
			return nil, fmt.Errorf("key %v has output prefix %v; make the keyset's keys with the TINK prefix", id, info.GetOutputPrefixType())
		}
		if slices.Contains(seen, id) {
			return nil, fmt.Errorf("two keys have the ID %v; remove one", id)
		}
		seen = append(seen, id)
		if info.GetStatus() == tinkpb.KeyStatusType_ENABLED {
			k.enabled = append(k.enabled, id)
		}
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("not a keyset of AEAD keys: %w", err)
	}
	k.AEAD = a
	return k, nil
}

// HasKey reports whether the keyset has an enabled key with the given ID.
func (k *Keyset) HasKey(id KeyID) bool {
	return slices.Contains(k.enabled, id)
}
