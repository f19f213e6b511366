package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/internal/textrule"
)

// Channels turns internal channel IDs into the codes of chat URLs, and back. URLs are
// published, so the code of a channel stays the same under the same primary key. A code
// tells a stranger neither the ID nor whether two brands use the same ID.
type Channels struct {
	keys  tink.DeterministicAEAD
	realm string
}

// NewChannels returns the codes of a realm. The keys are a keyring.Ring of kind channel
// or another deterministic AEAD, such as Tink's AES-SIV (RFC 5297). NewChannels tries the
// keys, and refuses a primary key without the TINK prefix. The error is a *ConfigError.
func NewChannels(keys tink.DeterministicAEAD, realm string) (*Channels, error) {
	const field = "token.NewChannels.keys"
	if keys == nil {
		return nil, &ConfigError{
			Field:  field,
			Reason: "is nil; give a keyring.Ring of kind channel or another deterministic AEAD",
		}
	}
	if err := keysFault(field, sealing.TryDeterministic(keys)); err != nil {
		return nil, err
	}
	if err := CheckRealm("token.NewChannels.realm", realm); err != nil {
		return nil, err
	}
	return &Channels{keys, realm}, nil
}

// ErrChannelCode is the error of Channels.ID for a code that is not a code of the brand.
var ErrChannelCode = errors.New("no such channel code")

const (
	maxCode = 256 // the longest code that Channels.ID reads, in characters
	maxName = 64  // the longest brand and the longest channel ID, in bytes
)

// Code returns the code of a brand's channel: base64url without padding. Brand and
// channel ID must be 1 to 64 bytes of text each; if not, the error is a *FieldError.
func (c *Channels) Code(brand, channelID string) (string, error) {
	if !isName(brand) {
		return "", &FieldError{"brand", "is not 1 to 64 bytes of text"}
	}
	if !isName(channelID) {
		return "", &FieldError{"channel", "is not 1 to 64 bytes of text"}
	}
	sealed, err := c.keys.EncryptDeterministically([]byte(channelID), c.associatedData(brand))
	if err != nil {
		return "", fmt.Errorf("sealing a channel ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// isName reports whether s can be a brand or a channel ID.
func isName(s string) bool { return s != "" && textrule.Fault(s, maxName) == "" }

// ID returns the channel ID of a brand's code, or ErrChannelCode. The ID is a text for which
// Code returns a code.
func (c *Channels) ID(brand, code string) (string, error) {
	if !isName(brand) || len(code) > maxCode || strings.ContainsAny(code, "\r\n") {
		return "", ErrChannelCode
	}
	sealed, err := encoding.DecodeString(code)
	if _, ok := sealing.KeyID(sealed); err != nil || !ok {
		return "", ErrChannelCode
	}
	id, err := c.keys.DecryptDeterministically(sealed, c.associatedData(brand))
	if err != nil || !isName(string(id)) {
		return "", ErrChannelCode
	}
	return string(id), nil
}

func (c *Channels) associatedData(brand string) []byte {
	return sealing.AssociatedData("admitone/channel/1", c.realm, brand)
}
