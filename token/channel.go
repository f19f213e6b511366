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

// Channels turns internal channel IDs into the codes that stand in chat URLs,
// and back. The code of a channel is always the same under the same primary
// key, since it is published; it tells a stranger neither the ID nor whether
// two brands use the same one.
type Channels struct {
	siv   tink.DeterministicAEAD
	realm string
}

// NewChannels returns the codes of a realm under a deterministic AEAD, such as
// a keyring.Ring of kind channel or Tink's AES-SIV (RFC 5297).
func NewChannels(d tink.DeterministicAEAD, realm string) (*Channels, error) {
	if d == nil {
		return nil, errors.New("the channel keys are nil; give a keyring.Ring of kind channel or another deterministic AEAD")
	}
	if err := CheckRealm("realm", realm); err != nil {
		return nil, err
	}
	return &Channels{d, realm}, nil
}

// ErrChannelCode is what Channels.ID returns for a code that is none of the
// brand's.
var ErrChannelCode = errors.New("no such channel code")

// Code returns the code of a brand's channel: base64url without padding. Brand
// and channel ID are 1 to 64 bytes of text each, else the error is a
// *FieldError.
func (c *Channels) Code(brand, channelID string) (string, error) {
	if brand == "" || textrule.Fault(brand, 64) != "" {
		return "", &FieldError{"brand", "is not 1 to 64 bytes of text"}
	}
	if channelID == "" || textrule.Fault(channelID, 64) != "" {
		return "", &FieldError{"channel", "is not 1 to 64 bytes of text"}
	}
	sealed, err := c.siv.EncryptDeterministically([]byte(channelID), c.associatedData(brand))
	if err != nil {
		return "", fmt.Errorf("sealing a channel ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// ID returns the channel ID that code stands for in a brand, or ErrChannelCode.
func (c *Channels) ID(brand, code string) (string, error) {
	if len(code) > 256 || strings.ContainsAny(code, "\r\n") {
		return "", ErrChannelCode
	}
	sealed, err := encoding.DecodeString(code)
	if err != nil {
		return "", ErrChannelCode
	}
	id, err := c.siv.DecryptDeterministically(sealed, c.associatedData(brand))
	if err != nil {
		return "", ErrChannelCode
	}
	return string(id), nil
}

func (c *Channels) associatedData(brand string) []byte {
	return sealing.AssociatedData("admitone/channel/1", c.realm, brand)
}
