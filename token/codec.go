package token

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/admitone/admitone/internal/textrule"
)

// The payload, before sealing:
//
//	flags     u8        bit 0 one-time, bit 1 override-user-info, all others 0
//	audience  u8        1 agent, 2 customer, 3 administrator
//	id        16 bytes
//	issuedAt  u48       milliseconds since the Unix epoch, big-endian
//	lifetime  u32       milliseconds, big-endian, > 0
//	fields    *( tag uvarint, length uvarint, value )
//
// Tags ascend strictly, with one exception: tag 64 (claim) repeats. The value of a claim
// is a uvarint length, the claim's name of that length, and the claim's value to the end.
// The names ascend strictly. Uvarints are minimal. One Ticket has one payload, and one
// payload is one Ticket.
//
// Nothing can be added: each reader of formats 1 and 2 refuses flags, tags, audiences and lengths
// that are not here. A payload with anything new needs a format of another number.
const (
	flagOneTime  = 1 << 0
	flagOverride = 1 << 1

	idOffset    = 1 + 1
	headerSize  = idOffset + 16 + 6 + 4
	maxIssuedAt = 1<<48 - 1
	maxLifetime = 1<<32 - 1
)

var errPayload = fmt.Errorf("%w: the payload is not in canonical form", ErrMalformed)

// appendPayload appends t's payload to b. t must be valid.
func (t *Ticket) appendPayload(b []byte) []byte {
	var flags byte
	if t.OneTime {
		flags |= flagOneTime
	}
	if t.OverrideUserInfo {
		flags |= flagOverride
	}
	b = append(b, flags, byte(t.Audience))
	b = append(b, t.ID[:]...)
	ms := uint64(t.IssuedAt.UnixMilli())
	b = append(b, byte(ms>>40), byte(ms>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(ms))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Lifetime/time.Millisecond))
	texts := t.texts()
	for i := range texts {
		if v := *texts[i]; v != "" {
			b = append(b, byte(i+1))
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	if len(t.Claims) > 0 {
		for _, name := range t.claimNames() {
			v := t.Claims[name]
			b = append(b, tagClaim)
			b = binary.AppendUvarint(b, uint64(1+len(name)+len(v)))
			b = append(b, byte(len(name))) // at most 64: a one-byte uvarint
			b = append(b, name...)
			b = append(b, v...)
		}
	}
	return b
}

// DecodePayload fills t from a payload, whose texts become those of t. It is for readers of
// tickets whose payload was authenticated in another way than Open does. The error wraps
// ErrMalformed, and leaves t zero.
func (t *Ticket) DecodePayload(payload string) error {
	*t = Ticket{}
	err := t.decodePayload(payload)
	if err != nil {
		*t = Ticket{}
	}
	return err
}

// decodePayload fills t, which must be zero, from a payload. The texts of t are parts of p.
func (t *Ticket) decodePayload(p string) error {
	if len(p) < headerSize || p[0]&^(flagOneTime|flagOverride) != 0 {
		return errPayload
	}
	t.OneTime = p[0]&flagOneTime != 0
	t.OverrideUserInfo = p[0]&flagOverride != 0
	t.Audience = Audience(p[1])
	copy(t.ID[:], p[2:18])
	issued := int64(p[18])<<40 | int64(p[19])<<32 | int64(p[20])<<24 |
		int64(p[21])<<16 | int64(p[22])<<8 | int64(p[23])
	t.IssuedAt = time.UnixMilli(issued).UTC()
	lifetime := uint32(p[24])<<24 | uint32(p[25])<<16 | uint32(p[26])<<8 | uint32(p[27])
	t.Lifetime = time.Duration(lifetime) * time.Millisecond
	if t.Lifetime == 0 {
		return errPayload
	}
	texts := t.texts()
	last, lastClaim := uint64(0), ""
	for at := headerSize; at < len(p); {
		var tag, length uint64
		start := at + 2
		if start < len(p) && p[at] < 0x80 && p[at+1] < 0x80 { // nearly all fields
			tag, length = uint64(p[at]), uint64(p[at+1])
		} else {
			var n, m int
			tag, n = uvarint(p[at:])
			length, m = uvarint(p[at+n:])
			if n == 0 || m == 0 {
				return errPayload
			}
			start = at + n + m
		}
		if tag < last || tag == last && tag != tagClaim || length == 0 || length > uint64(len(p)-start) {
			return errPayload
		}
		last, at = tag, start+int(length)
		value := p[start:at]
		switch {
		case tag >= 1 && tag <= uint64(len(fields)):
			if textrule.Fault(value, fields[tag-1].max) != "" {
				return errPayload
			}
			*texts[tag-1] = value
		case tag == tagClaim:
			name, v, ok := splitClaim(value)
			if !ok || name <= lastClaim {
				return errPayload
			}
			lastClaim = name
			if t.Claims == nil {
				t.Claims = make(map[string]string)
			}
			t.Claims[name] = v
		default:
			return errPayload
		}
	}
	if t.validateShape() != nil {
		return errPayload
	}
	return nil
}

func splitClaim(s string) (name, value string, ok bool) {
	n, m := uvarint(s)
	if m == 0 || n > uint64(len(s)-m) {
		return "", "", false
	}
	name, value = s[m:m+int(n)], s[m+int(n):]
	return name, value, validName(name) && value != "" && textrule.Fault(value, maxClaimValue) == ""
}

// uvarint reads the minimal uvarint at the beginning of p. It returns the value and the
// length of the uvarint in bytes, or a length of 0 if p begins with no minimal uvarint of at
// most three bytes. No length in a payload needs more bytes.
func uvarint(p string) (v uint64, n int) {
	for n < 3 && n < len(p) {
		c := p[n]
		v |= uint64(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			if c == 0 && n > 1 {
				return 0, 0 // not minimal
			}
			return v, n
		}
	}
	return 0, 0
}
