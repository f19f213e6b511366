package redisstore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// script is the whole of a claim, on the server. Redis runs it with nothing in
// between, so looking and spending are one step, by one reading of the server's
// clock.
//
//	KEYS[1]  the nonce's key     first use in µs, 16 digits, then the binding's 32 bytes or nothing
//	KEYS[2]  the bucket's epoch  epoch in µs, 16 digits; latest time seen in µs, 16 digits;
//	                             replication ID of the primary that wrote it, or nothing
//	ARGV[1]  what to do          claim, peek, or touch (see to the epoch only)
//	ARGV[2]  fence               1 if a new replication ID is a new epoch, else 0
//	ARGV[3]  not before          µs
//	ARGV[4]  retain until        µs
//	ARGV[5]  binding             32 bytes or nothing
//	ARGV[6]  the caller's time   µs
//
// The answer is an integer: one of the replies below; the time of the first use
// in µs, where the nonce is spent; or that time negated, where the claim repeats
// the first. All times are below 2⁵³, which is as far as Lua's numbers count.
//
// A repetition writes again what is there, since WAIT is about the writes of its
// own connection, and the first use may have come by another.
//
// An epoch begins by the caller's clock where that is ahead of the server's. A
// server that has lost its memory, or has leapt, may stand behind the true time, and
// an epoch in the past would let in again what was redeemed since.
//
// The latest time seen lags behind by up to 10 s, so that few claims write it. A
// claim that comes too late or for a spent nonce writes it, too: when the clock
// has leapt so far ahead that keys expire, there may be no other. Where the clock
// stands 20 s behind it, it was set back by 20 to 30 s or more; keys may have
// expired meanwhile, so a new epoch begins. Where that is so, or the clock has
// leapt ahead, the answer tells, and all buckets are touched before it is passed
// on: a new epoch is not to come to each of them with the first of its tickets; and
// all must have seen the wrong time when the clock is set right. A claim that was too
// late or spent by such a time is asked again. If the latest time cannot be
// written, as where memory is short, nobody is admitted. A value that is none of ours
// counts as a loss where the epoch should be, and is answered 0, which is nothing,
// where the nonce should be.
const script = `
local what, fence = ARGV[1], ARGV[2] == '1'
local notBefore, retain, binding = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local record = redis.call('GET', KEYS[2])
local epoch, seen, id
if record then
  epoch, seen, id = tonumber(string.sub(record, 1, 16)), tonumber(string.sub(record, 17, 32)), string.sub(record, 33)
end
local same = true
if fence then
  local current = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  same, id = current == id, current
end
local write, tell = true, false
if not epoch or not seen or not same or now < seen - 20000000 then
  epoch, seen, tell = math.max(now, tonumber(ARGV[6])), now, true
elseif now >= seen + 20000000 then
  seen, tell = now, true
elseif now >= seen + 10000000 then
  seen = now
else
  write = false
end
local failed
if what == 'peek' then
  tell = false
elseif write then
  local answer = redis.pcall('SET', KEYS[2], string.format('%016.0f%016.0f%s', epoch, seen, id or ''))
  if answer.err then failed, tell = answer, false end
end
if what == 'touch' then return failed or epoch end
if now >= retain then return tell and 6 or 3 end
local spent = redis.call('GET', KEYS[1])
if spent then
  if tell then return 6 end
  local first = tonumber(string.sub(spent, 1, 16)) or 0
  if binding ~= '' and string.sub(spent, 17) == binding and now >= first and now < first + 10000000 then
    if what == 'claim' then redis.call('SET', KEYS[1], spent, 'KEEPTTL') end
    return -first
  end
  return first
end
if failed then return failed end
if notBefore <= epoch then return tell and 5 or 2 end
if what == 'claim' then
  redis.call('SET', KEYS[1], string.format('%016.0f', now) .. binding, 'PXAT', string.format('%.0f', math.ceil(retain / 1000)))
end
return tell and 4 or 1`

// Replies of the script that are no times.
const (
	replyAdmitted          = 1
	replyIssuedBeforeStart = 2
	replyTooLate           = 3
	replyAdmittedTell      = 4
	replyIssuedBeforeTell  = 5
	replyAskAgain          = 6
)

// What the script is to do.
const (
	doClaim = "claim"
	doPeek  = "peek"
	doTouch = "touch"
)

func decode(reply int64) (replay.Answer, error) {
	switch {
	case reply == replyAdmitted, reply == replyAdmittedTell:
		return replay.Answer{Status: replay.Admitted}, nil
	case reply == replyIssuedBeforeStart, reply == replyIssuedBeforeTell:
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	case reply == replyTooLate:
		return replay.Answer{Status: replay.TooLate}, nil
	case reply > replyAskAgain:
		return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: time.UnixMicro(reply).UTC()}, nil
	case reply < 0:
		return replay.Answer{Status: replay.Admitted, FirstUsed: time.UnixMicro(-reply).UTC(), Repeated: true}, nil
	}
	return replay.Answer{}, fmt.Errorf("%w: the script answered %d, which is nothing", replay.ErrUnavailable, reply)
}

// buckets is how many hash tags, and epochs, a realm has, and with it the limit
// to how many shards of a Cluster can share its load. All processes on one
// server must agree on it: it is part of the format.
const buckets = 64

// keys has what the keys of one realm have in common, by bucket.
type keys struct {
	prefix [buckets]string
	epoch  [buckets]string
}

// newKeys puts the bucket into the hash tag, and before the realm: whatever the
// realm contains, a brace too, the tag is not empty and differs between buckets.
// Keys of different realms, and the epochs', never meet, since all but the
// realm is of fixed length.
func newKeys(realm string) *keys {
	k := new(keys)
	for i := range buckets {
		k.prefix[i] = fmt.Sprintf("admitone:1:{%02x/%s}:", i, realm)
		k.epoch[i] = k.prefix[i] + "epoch"
	}
	return k
}

// args is a claim as the script wants it.
type args struct {
	bucket                                  int
	key, notBefore, retainUntil, bound, now string
}

// encode lays all of it out in one string, for one allocation.
func (k *keys) encode(c *replay.Claim, now time.Time) args {
	bucket := int(c.Nonce[0] % buckets)
	var space [256]byte
	b := append(space[:0], k.prefix[bucket]...)
	b = hex.AppendEncode(b, c.Nonce[:])
	keyEnd := len(b)
	b = strconv.AppendInt(b, micros(c.NotBefore), 10)
	notBeforeEnd := len(b)
	b = strconv.AppendInt(b, micros(c.RetainUntil), 10)
	retainEnd := len(b)
	if c.Binding != [32]byte{} {
		b = append(b, c.Binding[:]...)
	}
	boundEnd := len(b)
	b = strconv.AppendInt(b, micros(now), 10)
	s := string(b)
	return args{bucket, s[:keyEnd], s[keyEnd:notBeforeEnd], s[notBeforeEnd:retainEnd], s[retainEnd:boundEnd], s[boundEnd:]}
}

// lastMicro is in the year 2255.
const lastMicro = 1<<53 - 1

var lastTime = time.UnixMicro(lastMicro)

// micros counts whole microseconds. Dropping the fraction refuses, if
// anything, sooner. So does the limit: a nonce with a later retain-until is kept
// until 2255, and then it is too late for it.
func micros(t time.Time) int64 {
	switch {
	case t.Before(time.UnixMicro(0)):
		return 0
	case t.After(lastTime):
		return lastMicro
	}
	return t.UnixMicro()
}

// outOfMemory recognizes the answer of a server that may not evict and has no
// room. Redis 6.2 wraps it into the script's error.
func outOfMemory(err error) bool {
	return strings.Contains(err.Error(), "OOM command not allowed")
}
