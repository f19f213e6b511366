package web

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/admitone/admitone/token"
)

// The plaintext of a session, which every request can read at little cost:
//
//	format u8 (2) · audience u8 · flags u8 (bit 0: one-time) · key ID u32 · signing key ID u32 · ticket ID 16 bytes
//	issued, entered, renewed   i64 each, milliseconds since the Unix epoch
//	ID, brand, user, name, email, record, channel, actor, issuer, then each group   length uvarint, bytes
//
// Numbers are big-endian, and the groups fill the rest. A session of another format is
// refused, and the person enters again.
const (
	sessionFormat = 2
	sessionFixed  = 3 + 2*4 + 16 + 3*8
)

// The limits of a session. Browsers keep 4,096 bytes of a cookie's name, value and
// attributes.
const (
	maxCookie    = 3800                        // characters of a sealed session
	maxOverhead  = 64                          // bytes that sealing adds, with the algorithms of keyrings
	maxPlaintext = maxCookie*6/8 - maxOverhead // bytes of a session
	idLength     = 26                          // of Session.ID
)

var errTooLarge = errors.New("the session is too large for a cookie")

func tooLarge(has, most int, unit string) error {
	return fmt.Errorf("%w: it has %d %s, and %d fit; give it fewer groups, or shorter names", errTooLarge, has, unit, most)
}

// CheckSize returns an error if Sessions cannot keep s in a cookie. Nobody enters with such a
// session. So call CheckSize when a person's record is added or changed, with the longest
// values of the fields that the ticket decides: Brand, Channel, Actor and Issuer. CheckSize is right
// for the keys of every keyring of kind session.
func (s Session) CheckSize() error {
	if n := s.size() + idLength - len(s.ID); n > maxPlaintext {
		return tooLarge(n, maxPlaintext, "bytes")
	}
	return nil
}

func (s *Session) texts() [9]string {
	return [...]string{s.ID, s.Brand, s.User, s.Name, s.Email, s.Record, s.Channel, s.Actor, s.Issuer}
}

// size returns the number of bytes that append adds.
func (s *Session) size() int {
	n := sessionFixed
	texts := s.texts()
	for _, all := range [...][]string{texts[:], s.Groups} {
		for _, text := range all {
			n += len(text)
			for length := len(text); ; length >>= 7 {
				n++
				if length < 0x80 {
					break
				}
			}
		}
	}
	return n
}

// append appends s, renewed at a time, to b.
func (s *Session) append(b []byte, renewed time.Time) []byte {
	var flags byte
	if s.OneTime {
		flags = 1
	}
	b = append(b, sessionFormat, byte(s.Audience), flags)
	b = binary.BigEndian.AppendUint32(b, uint32(s.KeyID))
	b = binary.BigEndian.AppendUint32(b, uint32(s.SigningKey))
	b = append(b, s.TicketID[:]...)
	for _, t := range []time.Time{s.Issued, s.Entered, renewed} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
	}
	for _, text := range s.texts() {
		b = appendText(b, text)
	}
	for _, g := range s.Groups {
		b = appendText(b, g)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode is the reverse of append. The session keeps parts of the text.
func (s *Session) decode(text string) (renewed time.Time, ok bool) {
	*s = Session{}
	if len(text) < sessionFixed || text[0] != sessionFormat || text[2] > 1 {
		return renewed, false
	}
	s.Audience, s.OneTime = token.Audience(text[1]), text[2] == 1
	s.KeyID = token.KeyID(binary.BigEndian.Uint32([]byte(text[3:7])))
	s.SigningKey = token.KeyID(binary.BigEndian.Uint32([]byte(text[7:11])))
	copy(s.TicketID[:], text[11:27])
	s.Issued, s.Entered, renewed = moment(text[27:35]), moment(text[35:43]), moment(text[43:51])
	text = text[sessionFixed:]
	for _, to := range []*string{
		&s.ID, &s.Brand, &s.User, &s.Name, &s.Email, &s.Record, &s.Channel, &s.Actor, &s.Issuer,
	} {
		if *to, text, ok = cutText(text); !ok {
			return renewed, false
		}
	}
	if text != "" {
		s.Groups = make([]string, 0, 4)
	}
	for text != "" {
		var group string
		if group, text, ok = cutText(text); !ok {
			return renewed, false
		}
		s.Groups = append(s.Groups, group)
	}
	return renewed, true
}

// moment reads a time from eight bytes.
func moment(s string) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64([]byte(s)))).UTC()
}

// cutText cuts a text off the front of s. Lengths have at most two bytes, since a cookie
// is shorter than 16 KiB.
func cutText(s string) (text, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	n, used := int(s[0]), 1
	if n >= 0x80 {
		if len(s) < 2 || s[1] >= 0x80 {
			return "", "", false
		}
		n, used = n&0x7f|int(s[1])<<7, 2
	}
	if len(s)-used < n {
		return "", "", false
	}
	return s[used : used+n], s[used+n:], true
}
