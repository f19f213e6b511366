package redisstore

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
)

func TestDecode(t *testing.T) {
	used := time.Date(2026, 11, 21, 6, 0, 0, 123456000, time.UTC)
	for reply, want := range map[int64]replay.Answer{
		1:                 {Status: replay.Admitted},
		2:                 {Status: replay.IssuedBeforeStart},
		3:                 {Status: replay.TooLate},
		4:                 {Status: replay.Admitted},
		5:                 {Status: replay.IssuedBeforeStart},
		used.UnixMicro():  {Status: replay.AlreadyUsed, FirstUsed: used},
		-used.UnixMicro(): {Status: replay.Admitted, FirstUsed: used, Repeated: true},
	} {
		a, err := decode(reply)
		require.NoError(t, err)
		assert.Equal(t, want, a)
	}
	a, err := decode(0)
	assert.ErrorIs(t, err, replay.ErrUnavailable)
	assert.Zero(t, a)
}

// No time overflows, or becomes later than it is.
//
// trap R21
func TestMicros(t *testing.T) {
	for _, test := range []struct {
		time time.Time
		want int64
	}{
		{time.Time{}, 0},
		{time.Unix(0, -1), 0},
		{time.Unix(0, 0), 0},
		{time.Unix(0, 1999), 1},
		{time.Unix(1_800_000_000, 999_999_999), 1_800_000_000_999_999},
		{time.UnixMicro(lastMicro), lastMicro},
		{time.UnixMicro(lastMicro + 1), lastMicro},
		{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), lastMicro},
		{time.Unix(math.MaxInt64/1000, 0), lastMicro},
		{time.Unix(1<<55, 0), lastMicro},
		{time.Unix(-1<<55, 0), 0},
	} {
		assert.Equal(t, test.want, micros(test.time), "%v", test.time)
	}
	assert.Equal(t, 2255, lastTime.UTC().Year())
}

func TestEncode(t *testing.T) {
	c := replay.Claim{
		Nonce:       [16]byte{0x7f, 15: 0xff},
		NotBefore:   time.UnixMicro(1_800_000_000_000_001),
		RetainUntil: time.UnixMicro(1_800_000_000_000_002),
	}
	want := args{
		what: doPeek, bucket: 63, key: "admitone:1:{3f/prod}:7f0000000000000000000000000000ff",
		notBefore: "1800000000000001", retainUntil: "1800000000000002",
	}
	assert.Equal(t, want, newKeys("prod").encode(&c, doPeek))
	c.Binding = [32]byte{31: 1}
	want.bound = strings.Repeat("\x00", 31) + "\x01"
	assert.Equal(t, want, newKeys("prod").encode(&c, doPeek))
	assert.Equal(t, "admitone:1:{00/}:epoch", newKeys("").epoch[0])
}

// Whatever two realms are called, even like a part of our keys, they have no
// key in common; and a nonce and its epoch are in one slot of a Cluster.
//
// trap R19
func TestKeysOfRealms(t *testing.T) {
	realms := []string{"", "prod", "prod}", "}", "{", "}:epoch", "prod}:epoch", "}:00000000000000000000000000000000",
		"00/prod", "{00/prod}", "/", ":"}
	seen := make(map[string]string)
	for _, realm := range realms {
		keys := newKeys(realm)
		for first := range buckets {
			for _, last := range []byte{0, 1} {
				a := keys.encode(&replay.Claim{Nonce: [16]byte{0: byte(first), 15: last}}, doClaim)
				for _, key := range []string{a.key, keys.epoch[a.bucket]} {
					if owner, ok := seen[key]; ok && (owner != realm || key == a.key) {
						t.Errorf("realms %q and %q have the key %q in common", owner, realm, key)
					}
					seen[key] = realm
				}
				assert.Equal(t, slot(a.key), slot(keys.epoch[a.bucket]), "%q", a.key)
			}
		}
	}
}

// A realm's buckets come to lie on all shards of a Cluster, evenly enough.
func TestBucketsSpread(t *testing.T) {
	for _, realm := range []string{"", "prod", "eu-west/chat", "}"} {
		for _, shards := range []int{2, 3, 6, 10} {
			count := make([]int, shards)
			for _, key := range newKeys(realm).epoch {
				count[int(slot(key))*shards/16384]++
			}
			for _, n := range count {
				assert.InDelta(t, buckets/shards, n, float64(buckets)/float64(shards), "realm %q on %d shards: %v", realm, shards,
					count)
				assert.NotZero(t, n, "realm %q on %d shards: %v", realm, shards, count)
			}
		}
	}
}

// slot is the Cluster's, as the specification has it: CRC-16 (XMODEM) of what
// is between the first brace and the next closing one, if that is something.
func slot(key string) uint16 {
	if begin := strings.IndexByte(key, '{'); begin >= 0 {
		if length := strings.IndexByte(key[begin+1:], '}'); length > 0 {
			key = key[begin+1 : begin+1+length]
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func TestSlot(t *testing.T) {
	assert.EqualValues(t, 0x31c3, slot("123456789")) // the specification's own example
}

// The script deletes nothing, and shortens no key's life.
//
// trap R20
func TestScriptRemovesNothing(t *testing.T) {
	var commands []string
	for _, m := range regexp.MustCompile(`redis\.p?call\('(\w+)'`).FindAllStringSubmatch(script, -1) {
		commands = append(commands, m[1])
	}
	assert.ElementsMatch(t, []string{"TIME", "INFO", "INFO", "GET", "SET", "GET", "SET", "SET"}, commands)
}

func TestOutOfMemory(t *testing.T) {
	for message, want := range map[string]bool{
		"OOM command not allowed when used memory > 'maxmemory'.":                   true,
		"@user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.": true,
		"READONLY You can't write against a read only replica.":                     false,
	} {
		assert.Equal(t, want, outOfMemory(serverError(message)), message)
	}
}

type serverError string

func (e serverError) Error() string { return string(e) }
