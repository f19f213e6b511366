package token

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/internal/textrule"
)

// Channels turns internal channel IDs into the codes of chat URLs, and back. URLs are
// published, so the code of a channel stays the same under the same primary key. A code
// tells a stranger neither the brand nor the ID, nor whether two brands use the same ID.
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

// ErrChannelCode is the error of Channels.Place for a text that is not a code, and of
// Channels.ID for one that is not a code of the brand.
var ErrChannelCode = errors.New("no such channel code")

const (
	maxCode = 256 // the longest code that is read, in characters
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
	sealed, err := c.keys.EncryptDeterministically([]byte(brand+"\x00"+channelID), c.associatedData())
	if err != nil {
		return "", fmt.Errorf("sealing a channel ID: %w", err)
	}
	return base64url.Encode("", sealed), nil
}

// isName reports whether s can be a brand or a channel ID.
func isName(s string) bool { return s != "" && textrule.Fault(s, maxName) == "" }

// Place returns the brand and the channel ID of a code, or ErrChannelCode. Code returns a
// code for each such pair. The work is the same for any number of brands.
func (c *Channels) Place(code string) (brand, channelID string, err error) {
	if len(code) > maxCode {
		return "", "", ErrChannelCode
	}
	sealed, _ := base64url.Decode(make([]byte, len(code)), code)
	if _, ok := sealing.KeyID(sealed); !ok {
		return "", "", ErrChannelCode
	}
	place, err := c.keys.DecryptDeterministically(sealed, c.associatedData())
	if err != nil {
		return "", "", ErrChannelCode
	}
	brand, channelID, _ = strings.Cut(string(place), "\x00")
	if !isName(brand) || !isName(channelID) {
		return "", "", ErrChannelCode
	}
	return brand, channelID, nil
}

// ID returns the channel ID of a brand's code, or ErrChannelCode if the code is another
// brand's or none.
func (c *Channels) ID(brand, code string) (string, error) {
	of, id, err := c.Place(code)
	if err != nil || of != brand {
		return "", ErrChannelCode
	}
	return id, nil
}

func (c *Channels) associatedData() []byte {
	return sealing.AssociatedData("admitone/channel/1", c.realm)
}
