package redisstore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// script is the whole of a claim, on the server. Redis runs nothing in between. So looking
// and spending are a single step, by a single reading of the server's clock.
//
//	KEYS[1]  the nonce's key     first use in µs, 16 digits, then the binding's 32 bytes or nothing
//	KEYS[2]  the bucket's epoch  epoch in µs, 16 digits; latest time seen in µs, 16 digits;
//	                             replication ID of the primary that wrote it, or nothing
//	ARGV[1]  task                claim, peek, or touch (restore the epoch only)
//	ARGV[2]  fence               1 if a new replication ID is a new epoch, else 0
//	ARGV[3]  not before          µs
//	ARGV[4]  retain until        µs
//	ARGV[5]  binding             32 bytes or nothing
//	ARGV[6]  the caller's time   µs
//
// The answer is an integer: a reply from the list below; or, for a spent nonce, the time
// of the first use in µs, negated if the claim repeats the first. All times are below 2⁵³,
// the limit of exact numbers in Lua.
//
// A repetition writes the existing value again: WAIT concerns the writes of its own
// connection, and the first use may have come by another.
//
// An epoch begins by the caller's clock if this is ahead of the server's. A server after a
// loss of memory, or a leap, may stand behind the true time. An epoch in the past would
// admit again the tickets redeemed since.
//
// The latest time seen lags behind by up to 10 s, so few claims write the time. A late
// claim or a claim of a spent nonce writes it, too: after a leap ahead in which keys
// expire, no other claim may come. A clock 20 s behind the latest time was set back by 20
// to 30 s or more. Keys may have expired in the meantime, so a new epoch begins.
//
// In this case, and after a leap ahead, the reply asks for a touch of all buckets before
// the answer is passed on. Otherwise each bucket would begin a new epoch with its own first
// ticket. Besides, all buckets must have seen the wrong time before the clock is set right.
// A claim that was too late or spent by a wrong time is asked again.
//
// If the latest time cannot be written, for instance without memory, nobody is admitted. A
// foreign value in place of the epoch counts as a loss. In place of a nonce it is answered
// 0, and 0 is no answer.
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

// Replies of the script other than times.
const (
	replyAdmitted          = 1
	replyIssuedBeforeStart = 2
	replyTooLate           = 3
	replyAdmittedTell      = 4
	replyIssuedBeforeTell  = 5
	replyAskAgain          = 6
)

// The tasks of the script.
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

// buckets is the number of hash tags, and of epochs, in a realm. It also limits the number
// of shards in a Cluster that share the realm's load. All processes on a server must agree
// on the number: it is part of the format.
const buckets = 64

// keys has the common parts of a realm's keys, by bucket.
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

// args is a claim in the form of the script's arguments.
type args struct {
	bucket                                  int
	key, notBefore, retainUntil, bound, now string
}

// encode lays out all arguments in a single string, for a single allocation.
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

// micros counts whole microseconds. Dropping the fraction refuses, if anything, sooner. So
// does the limit: a nonce with a later retain-until is kept until 2255, and then its claim
// is too late.
func micros(t time.Time) int64 {
	switch {
	case t.Before(time.UnixMicro(0)):
		return 0
	case t.After(lastTime):
		return lastMicro
	}
	return t.UnixMicro()
}

// outOfMemory recognizes the answer of a full server that may not evict. Redis 6.2 wraps
// the answer into the script's error.
func outOfMemory(err error) bool {
	return strings.Contains(err.Error(), "OOM command not allowed")
}
