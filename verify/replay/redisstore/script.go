package redisstore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/admitone/admitone/verify/replay"
)

// script answers claims, each on its own, on the server. Redis runs nothing in between. So
// looking and spending are a single step, by a single reading of the server's clock. A claim
// that fails has an error in place of its answer, and the others have theirs.
//
//	KEYS     for each claim, the nonce's key     first use in µs, 16 digits, then the binding's 32 bytes or nothing
//	         and the bucket's epoch              16 digits each: epoch in µs; latest time seen in µs; the server's
//	                                             count of evicted keys; then the replication ID of the primary
//	                                             that wrote it, a colon, and the origin
//	ARGV[1]  fence               1 if a new replication ID is a new epoch, else 0
//	ARGV[2]  the caller's time   µs
//	ARGV[3]  replicas            how many must be connected
//	ARGV[4]  origin              a random text, for an epoch that has none
//
// And for each claim:
//
//	task           claim, peek, touch (restore the epoch only), prove (touch, and write
//	               something), or renew (begin a new epoch)
//	not before     µs
//	retain until   µs
//	binding        32 bytes or nothing
//	lineage        the bucket's, as last seen by the caller, or nothing
//
// The answer to claim and peek is an integer: a reply from the list below; or, for a spent
// nonce, the time of the first use in µs, negated if the claim repeats the first. The answer
// to the other tasks is the epoch and the lineage. All times are below 2⁵³, the limit of
// exact numbers in Lua.
//
// With too few replicas, claim and peek change nothing. A replica counts if it is online and
// was heard from within 3 s.
//
// If replicas must be connected, a claim of a spent nonce writes the existing value again,
// whether or not the claim repeats the first: WAIT concerns the writes of its own connection,
// and the first use may have come by another. The value and its expiry stay.
//
// The lineage is the replication ID with fence, and otherwise the origin: a text made with
// the first epoch and kept by all later ones. A caller that last saw another lineage comes
// from another server, with redemptions unknown to this server. So a new epoch begins.
//
// Evicted keys may have been nonces. The count is read in the same step as the nonce, so no
// eviction is between. A count that rose, or fell by a reset, is a new epoch. Without fence,
// a count of 0 under a new replication ID is a restart, and none.
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
local fence, caller, replicas, fresh = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local info = redis.call('INFO', 'replication')
local online = 0
if replicas > 0 then
  for lag in string.gmatch(info, 'slave%d+:[^\r\n]*state=online[^\r\n]*lag=(%d+)') do
    if tonumber(lag) <= 3 then online = online + 1 end
  end
end
local id = string.match(info, 'master_replid:(%x+)') or ''
info = redis.call('INFO', 'stats')
local _, at = string.find(info, '\nevicted_keys:', 1, true)
local evicted = tonumber(at and string.match(info, '^%d+', at + 1) or 0)
local function answer(nonce, bucket, what, notBefore, retain, binding, lineage)
  if online < replicas and (what == 'claim' or what == 'peek') then return 7 end
  local record = redis.call('GET', bucket)
  local epoch, seen, count, wrote, origin
  if record then
    epoch, seen, count = tonumber(string.sub(record, 1, 16)), tonumber(string.sub(record, 17, 32)), tonumber(string.sub(record, 33, 48))
    wrote, origin = string.match(string.sub(record, 49), '^(%x*):(%x+)$')
  end
  local write, tell = true, false
  if not epoch or not seen or not count or not origin or what == 'renew'
    or fence and wrote ~= id
    or evicted ~= count and (wrote == id or evicted ~= 0)
    or lineage ~= '' and lineage ~= (fence and id or origin)
    or now < seen - 20000000 then
    epoch, seen, tell, origin = math.max(now, caller), now, true, origin or fresh
  elseif now >= seen + 20000000 then
    seen, tell = now, true
  elseif now >= seen + 10000000 then
    seen = now
  else
    write = wrote ~= id or evicted ~= count or what == 'prove'
  end
  local failed
  if what == 'peek' then
    tell = false
  elseif write then
    local value = string.format('%016.0f%016.0f%016.0f%s:%s', epoch, seen, evicted, id, origin)
    local set = redis.pcall('SET', bucket, value)
    if set.err then failed, tell = set, false end
  end
  if what ~= 'claim' and what ~= 'peek' then return failed or {epoch, fence and id or origin} end
  if now >= retain then return tell and 6 or 3 end
  local spent = redis.call('GET', nonce)
  if spent then
    if tell then return 6 end
    local first = tonumber(string.sub(spent, 1, 16)) or 0
    local repeats = binding ~= '' and string.sub(spent, 17) == binding and now >= first and now < first + 10000000
    if what == 'claim' and (repeats or replicas > 0) then redis.call('SET', nonce, spent, 'KEEPTTL') end
    return repeats and -first or first
  end
  if failed then return failed end
  if notBefore <= epoch then return tell and 5 or 2 end
  if what == 'claim' then
    redis.call('SET', nonce, string.format('%016.0f', now) .. binding, 'PXAT', string.format('%.0f', math.ceil(retain / 1000)))
  end
  return tell and 4 or 1
end
local answers = {}
for i = 1, #KEYS / 2 do
  local a = 5 * i
  local ok, one = pcall(answer, KEYS[2 * i - 1], KEYS[2 * i],
    ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3], ARGV[a + 4])
  if not ok and type(one) ~= 'table' then one = redis.error_reply(one) end
  answers[i] = one
end
return answers`

// Replies of the script other than times.
const (
	replyAdmitted          = 1
	replyIssuedBeforeStart = 2
	replyTooLate           = 3
	replyAdmittedTell      = 4
	replyIssuedBeforeTell  = 5
	replyAskAgain          = 6
	replyTooFewReplicas    = 7
)

// The tasks of the script.
const (
	doClaim = "claim"
	doPeek  = "peek"
	doTouch = "touch"
	doProve = "prove"
	doRenew = "renew"
)

func decode(reply int64) (replay.Answer, error) {
	switch {
	case reply == replyAdmitted, reply == replyAdmittedTell:
		return replay.Answer{Status: replay.Admitted}, nil
	case reply == replyIssuedBeforeStart, reply == replyIssuedBeforeTell:
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	case reply == replyTooLate:
		return replay.Answer{Status: replay.TooLate}, nil
	case reply > replyTooFewReplicas:
		return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: time.UnixMicro(reply).UTC()}, nil
	case reply < 0:
		return replay.Answer{Status: replay.Admitted, FirstUsed: time.UnixMicro(-reply).UTC(), Repeated: true}, nil
	}
	return replay.Answer{}, fmt.Errorf("%w: the script answered %d, which is nothing", replay.ErrUnavailable, reply)
}

// decodeEpoch reads the answer to a task other than claim and peek.
func decodeEpoch(reply rueidis.RedisMessage) (epoch time.Time, lineage string, err error) {
	values, err := reply.ToArray()
	if err != nil {
		return epoch, "", err
	}
	if len(values) != 2 {
		return epoch, "", fmt.Errorf("the script answered %d values, and 2 are an epoch", len(values))
	}
	micro, err := values[0].AsInt64()
	if err != nil {
		return epoch, "", err
	}
	lineage, err = values[1].ToString()
	return time.UnixMicro(micro).UTC(), lineage, err
}

// Buckets is the number of hash tags in a realm, each with an equal part of the nonces. So
// at most as many shards of a Cluster share the realm's load.
const Buckets = 64

// buckets is also the number of epochs. All processes on a server must agree on the number:
// it is part of the format.
const buckets = Buckets

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

// args is a task of the script, with its arguments.
type args struct {
	what                               string
	bucket                             int
	key, notBefore, retainUntil, bound string
	lineage                            string // as the store knows it when the command is made
}

// encode lays out all arguments in a single string, for a single allocation.
func (k *keys) encode(c *replay.Claim, what string) args {
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
	s := string(b)
	return args{
		what: what, bucket: bucket, key: s[:keyEnd], notBefore: s[keyEnd:notBeforeEnd],
		retainUntil: s[notBeforeEnd:retainEnd], bound: s[retainEnd:],
	}
}

// onEpoch is a task that concerns a bucket's epoch alone.
func (k *keys) onEpoch(bucket int, what, lineage string) args {
	return args{what: what, bucket: bucket, key: k.epoch[bucket], notBefore: "0", retainUntil: "0", lineage: lineage}
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

// outOfMemory recognizes the answer of a full server that may not evict. In Redis 6.2 the script's
// place stands before it.
func outOfMemory(err error) bool {
	return strings.Contains(err.Error(), "OOM command not allowed")
}
