package keyring

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"
)

// timed is a ticket keyring with a clock that the test moves.
func timed(t *testing.T) (path string, c Config, clock *clock) {
	t.Helper()
	clock = newClock()
	c = config(Ticket)
	c.Now = clock.now
	return newFile(t, c), c, clock
}

func mustChange(t *testing.T, path string, c Config, steps ...Step) Info {
	t.Helper()
	info, err := Change(path, c, "as a test", steps...)
	require.NoError(t, err)
	return info
}

func stateOf(t *testing.T, i Info, id KeyID) Key {
	t.Helper()
	for _, k := range i.Keys {
		if k.ID == id {
			return k
		}
	}
	t.Fatalf("no key %v", id)
	return Key{}
}

func assertBlocked(t *testing.T, want *BlockedError, err error) {
	t.Helper()
	b, ok := errors.AsType[*BlockedError](err)
	if assert.True(t, ok, "%v", err) {
		assert.Equal(t, want, b)
		assert.NotEmpty(t, b.Error())
	}
}

// TestLifecycle takes a key from its making to its tombstone.
func TestLifecycle(t *testing.T) {
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	info, err := Read(path, c)
	require.NoError(t, err)
	first, made := info.Primary, clock.t
	bySealed := func() []byte { b, err := r.Encrypt([]byte("text"), nil); require.NoError(t, err); return b }
	oldTicket := bySealed()

	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: Rotate})
	second := info.Keys[1]
	assert.Equal(t, Key{ID: second.ID, Algorithm: "AES256_GCM", State: Pending, Created: clock.t, Enabled: clock.t},
		second)
	assert.Equal(t, first, info.Primary)
	require.NoError(t, r.Reload())
	assert.True(t, r.HasKey(second.ID), "a pending key opens")
	_, err = Change(path, c, "", Step{Do: Rotate})
	assertBlocked(t, &BlockedError{Do: Rotate, ID: second.ID, State: Pending}, err)

	from := clock.t.Add(2*time.Minute + 10*time.Second)
	assert.Equal(t, from, info.Policy.PromoteFrom(second))
	clock.t = from.Add(-time.Millisecond)
	_, err = Change(path, c, "", Step{Do: Promote, Key: second.ID})
	assertBlocked(t, &BlockedError{Do: Promote, ID: second.ID, State: Pending, From: from}, err)
	clock.t = from
	info = mustChange(t, path, c, Step{Do: Promote, Key: second.ID})
	assert.Equal(t, second.ID, info.Primary)
	assert.Equal(t, Key{ID: first, Algorithm: "AES256_GCM", State: Retiring, Created: made, Enabled: made, Promoted: made,
		Demoted: from}, info.Keys[0])
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(oldTicket, nil)
	assert.NoError(t, err)
	_, err = Change(path, c, "", Step{Do: Promote, Key: second.ID})
	assert.ErrorIs(t, err, ErrAlready)
	_, err = Change(path, c, "", Step{Do: Promote, Key: first})
	assertBlocked(t, &BlockedError{Do: Promote, ID: first, State: Retiring}, err)

	clock.t = from.Add(17*time.Minute + 30*time.Second)
	info = mustChange(t, path, c, Step{Do: Disable, Key: first})
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(oldTicket, nil)
	assert.Error(t, err)

	// It may come back, though not as the primary.
	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: Enable, Key: first})
	assert.Equal(t, Retiring, info.Keys[0].State)
	assert.Equal(t, clock.t.Add(17*time.Minute+30*time.Second), info.Policy.DisableFrom(info.Keys[0]),
		"long enough for what it is back for")
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(oldTicket, nil)
	assert.NoError(t, err)
	_, err = Change(path, c, "", Step{Do: Destroy, Key: first})
	assertBlocked(t, &BlockedError{Do: Destroy, ID: first, State: Retiring}, err)
	info = mustChange(t, path, c, Step{Do: Disable, Key: first, Unsafe: true})
	grace := clock.t.AddDate(0, 0, 30)
	clock.t = grace.Add(-time.Millisecond)
	_, err = Change(path, c, "", Step{Do: Destroy, Key: first})
	assertBlocked(t, &BlockedError{Do: Destroy, ID: first, State: Disabled, From: grace}, err)
	clock.t = grace
	info = mustChange(t, path, c, Step{Do: Destroy, Key: first})
	assert.Equal(t, []KeyID{first}, info.Tombstones)
	assert.Len(t, info.Keys, 1)
	require.NoError(t, r.Reload(), "a destroyed key may be lacking")
	_, err = Change(path, c, "", Step{Do: Enable, Key: first})
	assert.ErrorContains(t, err, "was destroyed")
}

// trap K5
func TestDestroyedIDIsNotGivenAgain(t *testing.T) {
	h := &header{Tombstones: []KeyID{7, 8}, Keys: []Key{{ID: 9}}}
	ids, removed := []uint32{7, 0, 8, 9, 10, 11}, []uint32(nil)
	id, err := h.newID(
		func() (uint32, error) { id := ids[0]; ids = ids[1:]; return id, nil },
		func(id uint32) error { removed = append(removed, id); return nil })
	require.NoError(t, err)
	assert.Equal(t, KeyID(10), id)
	assert.Equal(t, []uint32{7, 0, 8, 9}, removed)
}

// TestStaged brings in an algorithm that older readers do not know.
//
// trap K7
func TestStaged(t *testing.T) {
	path, c, clock := timed(t)
	info := mustChange(t, path, c, Step{Do: Stage, Algorithm: "XAES_256_GCM"})
	id := info.Keys[1].ID
	assert.Equal(t, Key{ID: id, Algorithm: "XAES_256_GCM", State: Staged, Created: clock.t}, info.Keys[1])
	r := newRing(t, path, c)
	assert.False(t, r.HasKey(id))
	_, err := Change(path, c, "", Step{Do: Promote, Key: id, Unsafe: true})
	assertBlocked(t, &BlockedError{Do: Promote, ID: id, State: Staged}, err)
	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: Enable, Key: id})
	assert.Equal(t, Pending, info.Keys[1].State)
	assert.Equal(t, clock.t.Add(130*time.Second), info.Policy.PromoteFrom(info.Keys[1]),
		"counted from when it was enabled")
	clock.t = clock.t.Add(130 * time.Second)
	info = mustChange(t, path, c, Step{Do: Promote, Key: id})
	require.NoError(t, r.Reload())
	assert.Equal(t, id, r.Report().Primary)
}

// TestUnknownAlgorithm is what an older reader sees: a key of an algorithm that
// it does not know, disabled; and what it must never see, the same enabled.
//
// trap K7
func TestUnknownAlgorithm(t *testing.T) {
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	info := mustChange(t, path, c, Step{Do: Stage, Algorithm: "XAES_256_GCM"})
	id := info.Keys[1].ID
	ks, h := material(t, path, c), headerOf(t, path)
	h.Keys[1].Algorithm = "ML_AEAD_512"
	ks.Key[1].KeyData.TypeUrl = "type.googleapis.com/example.NewAeadKey"
	forge(t, path, c, encodeHeader(t, h), ks)
	require.NoError(t, r.Reload())
	assert.False(t, r.HasKey(id))
	_, err := r.Encrypt(nil, nil)
	assert.NoError(t, err)

	// Older writers carry it along, and do not enable it.
	before := proto.Clone(ks.Key[1]).(*tinkpb.Keyset_Key)
	require.NoError(t, removeAudit(path))
	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: BeginAudit}, Step{Do: Rotate, Now: true})
	assert.Equal(t, Staged, stateOf(t, info, id).State)
	assert.True(t, proto.Equal(before, material(t, path, c).Key[1]))
	_, err = Change(path, c, "", Step{Do: Enable, Key: id})
	assert.ErrorContains(t, err, "does not know")
	info = mustChange(t, path, c, Step{Do: Disable, Key: id})
	assert.Equal(t, Disabled, stateOf(t, info, id).State)

	ks, h = material(t, path, c), headerOf(t, path)
	for _, edit := range []func(){
		func() { ks.Key[1].Status = tinkpb.KeyStatusType_ENABLED },
		func() { k := h.key(id); k.State, k.Enabled, k.Disabled = Pending, k.Created, time.Time{} },
	} {
		edit()
		line, err := h.encode()
		require.NoError(t, err)
		forge(t, path, c, line, ks)
		_, err = Open(path, c)
		assert.Error(t, err)
	}
}

// TestAlgorithmOfTink is an older reader whose Tink knows an algorithm that it does
// not take itself: disabled it may be there, enabled it must not.
//
// trap K7
func TestAlgorithmOfTink(t *testing.T) {
	path, c, _ := timed(t)
	id := mustChange(t, path, c, Step{Do: Stage, Algorithm: "XAES_256_GCM"}).Keys[1].ID
	template, err := keyset.NewHandle(aead.AES128GCMKeyTemplate())
	require.NoError(t, err)
	ks, h := material(t, path, c), headerOf(t, path)
	h.Keys[1].Algorithm = "AES128_GCM"
	ks.Key[1].KeyData = insecurecleartextkeyset.KeysetMaterial(template).Key[0].KeyData
	forge(t, path, c, encodeHeader(t, h), ks)
	r := newRing(t, path, c)
	assert.False(t, r.HasKey(id))
	ks.Key[1].Status = tinkpb.KeyStatusType_ENABLED
	forge(t, path, c, encodeHeader(t, h), ks)
	_, err = Open(path, c)
	assertCause(t, BadKeyset, err)
	// Under a name that it knows, it is not what it is called.
	h.Keys[1].Algorithm, ks.Key[1].Status = "AES256_GCM", tinkpb.KeyStatusType_DISABLED
	forge(t, path, c, encodeHeader(t, h), ks)
	_, err = Open(path, c)
	assertCause(t, BadKeyset, err)
}

// TestBadNewestKey holds, rolls back and revokes a bad key while the policy runs.
//
// trap K12
func TestBadNewestKey(t *testing.T) {
	path, c, clock := timed(t)
	info := mustChange(t, path, c, Step{Do: Rotate})
	first, bad := info.Primary, info.Keys[1].ID
	runs := func(d time.Duration) Info {
		t.Helper()
		for end := clock.t.Add(d); clock.t.Before(end); clock.t = clock.t.Add(4 * time.Hour) {
			var err error
			info, _, err = Apply(path, c, nil)
			require.NoError(t, err)
			if k := info.Keys[0]; k.ID == bad {
				assert.NotEqual(t, Primary, k.State)
			}
			assert.NotEqual(t, bad, info.Primary)
		}
		return info
	}
	mustChange(t, path, c, Step{Do: Hold, Key: bad})
	_, err := Change(path, c, "", Step{Do: Hold, Key: bad})
	assert.ErrorIs(t, err, ErrAlready)
	info = runs(40 * 24 * time.Hour)
	assert.Equal(t, "as a test", stateOf(t, info, bad).Reason)
	assert.NotEqual(t, first, info.Primary, "rotation goes on, with another key")
	_, err = Change(path, c, "", Step{Do: Promote, Key: bad, Unsafe: true})
	assertBlocked(t, &BlockedError{Do: Promote, ID: bad, State: Pending, Held: true}, err)

	// One that was promoted before it was found to be bad.
	mustChange(t, path, c, Step{Do: Unhold, Key: bad})
	_, err = Change(path, c, "", Step{Do: Unhold, Key: bad})
	assert.ErrorIs(t, err, ErrAlready)
	good := info.Primary
	mustChange(t, path, c, Step{Do: Promote, Key: bad})
	_, err = Change(path, c, "", Step{Do: Hold, Key: bad})
	assertBlocked(t, &BlockedError{Do: Hold, ID: bad, State: Primary}, err)
	_, err = Change(path, c, "", Step{Do: Rollback, Key: bad})
	assert.ErrorContains(t, err, "the key to go back to is "+good.String())
	clock.t = clock.t.Add(time.Minute)
	info = mustChange(t, path, c, Step{Do: Rollback})
	assert.Equal(t, good, info.Primary)
	assert.Zero(t, stateOf(t, info, good).Demoted)
	k := stateOf(t, info, bad)
	assert.Equal(t, Key{ID: bad, Algorithm: k.Algorithm, State: Retiring, Created: k.Created, Enabled: k.Enabled,
		Promoted: clock.t.Add(-time.Minute), Demoted: clock.t, Held: true, Reason: "as a test"}, k)
	_, err = Change(path, c, "", Step{Do: Rollback})
	assert.ErrorContains(t, err, "no retiring key to go back to", "and not forth to the bad one")
	info = runs(20 * 24 * time.Hour)
	assert.Equal(t, Disabled, stateOf(t, info, bad).State, "what it sealed has run out")
}

// TestRevoke distrusts the primary in one write.
//
// trap K12
// trap K15
// trap K20
func TestRevoke(t *testing.T) {
	path, c, clock := timed(t)
	r := newRing(t, path, c)
	info := mustChange(t, path, c, Step{Do: Rotate}) // a pending key, which the same people may have
	first, pending := info.Primary, info.Keys[1].ID
	stolen, err := r.Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	_, err = Change(path, c, "", Step{Do: Revoke, Key: first})
	assert.ErrorContains(t, err, "reason")

	clock.t = clock.t.Add(time.Hour)
	info = mustChange(t, path, c, Step{Do: Revoke, Key: first})
	assert.Equal(t, uint64(3), info.Generation, "one write")
	assert.NotEqual(t, pending, info.Primary)
	k := stateOf(t, info, first)
	assert.Equal(t, Key{ID: first, Algorithm: k.Algorithm, State: Disabled, Created: k.Created, Enabled: k.Created,
		Promoted: k.Created,
		Demoted:  clock.t, Disabled: clock.t, Revoked: true, Reason: "as a test"}, k)
	require.NoError(t, r.Reload())
	_, err = r.Decrypt(stolen, nil)
	assert.Error(t, err)
	assert.Equal(t, info.Primary, r.Report().Primary)
	assert.True(t, stateOf(t, info, pending).Held)
	clock.t = clock.t.Add(time.Hour)
	after, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	assert.Empty(t, done, "the policy does not take the one that the same people may have")
	assert.Equal(t, info.Primary, after.Primary)

	_, err = Change(path, c, "", Step{Do: Enable, Key: first})
	assertBlocked(t, &BlockedError{Do: Enable, ID: first, State: Disabled, Revoked: true}, err)
	_, err = Change(path, c, "again", Step{Do: Revoke, Key: first})
	assert.ErrorIs(t, err, ErrAlready)
	info = mustChange(t, path, c, Step{Do: Revoke, Key: pending})
	assert.True(t, stateOf(t, info, pending).Revoked)
	entries, err := Audit(path, &c)
	require.NoError(t, err)
	assert.Equal(t, []Step{
		{Do: Hold, Key: pending}, {Do: Rotate, Key: r.Report().Primary, Algorithm: "AES256_GCM", Now: true}, {Do: Revoke, Key: first},
	}, entries[2].Steps)

	// Revoked keys stay so, while the policy runs, until they are destroyed.
	for range 31 {
		clock.t = clock.t.AddDate(0, 0, 1)
		info, _, err = Apply(path, c, nil)
		require.NoError(t, err)
	}
	assert.ElementsMatch(t, []KeyID{first, pending}, info.Tombstones)
}

// TestLifetimeLowered shortens the lifetime: what was sealed for longer lives on.
func TestLifetimeLowered(t *testing.T) {
	path, c, clock := timed(t)
	p := DefaultPolicy(Ticket)
	p.Lifetime = time.Hour
	mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	demoted := clock.t
	clock.t = clock.t.Add(time.Minute)
	p.Lifetime = 5 * time.Minute
	info = mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	assert.Equal(t, demoted.Add(62*time.Minute+30*time.Second), info.Policy.DisableFrom(info.Keys[0]))
	clock.t = clock.t.Add(time.Minute)
	info = mustChange(t, path, c, Step{Do: Rotate, Now: true})
	assert.Equal(t, demoted.Add(63*time.Minute+30*time.Second), info.Policy.DisableFrom(info.Keys[1]),
		"a minute later, with the last file that said an hour")
	_, err := Change(path, c, "", Step{Do: SetPolicy, Policy: &p})
	assert.ErrorIs(t, err, ErrAlready)
	p.RotateEvery = p.Propagation
	_, err = Change(path, c, "", Step{Do: SetPolicy, Policy: &p})
	assert.ErrorContains(t, err, "RotateEvery")
	_, err = Change(path, c, "", Step{Do: SetPolicy})
	assert.Error(t, err)
}

func TestUnknownStep(t *testing.T) {
	path, c, _ := timed(t)
	before := mustRead(t, path)
	info, err := Read(path, c)
	require.NoError(t, err)
	for _, s := range []Step{{}, {Do: "dance", Key: info.Primary}, {Do: created}, {Do: rewrapped, Key: info.Primary},
		{Do: Promote, Key: 1}} {
		_, err := Change(path, c, "", s)
		assert.Error(t, err, s)
	}
	// All or none.
	_, err = Change(path, c, "", Step{Do: Rotate}, Step{Do: Promote, Key: 1})
	assert.Error(t, err)
	assert.Equal(t, before, mustRead(t, path))
}

// TestRollbackToADisabledKey goes back to a key that was disabled in between, and
// that other processes do not open yet.
//
// trap K12
func TestRollbackToADisabledKey(t *testing.T) {
	path, c, clock := timed(t)
	verifier := newRing(t, path, c)
	clock.t = clock.t.Add(time.Hour)
	info := mustChange(t, path, c, Step{Do: Rotate, Now: true})
	first := info.Keys[0].ID
	clock.t = clock.t.Add(time.Hour)
	mustChange(t, path, c, Step{Do: Disable, Key: first})
	require.NoError(t, verifier.Reload())
	clock.t = clock.t.Add(time.Hour)
	from := clock.t.Add(130 * time.Second)
	mustChange(t, path, c, Step{Do: Enable, Key: first})
	before := mustRead(t, path)
	clock.t = from.Add(-time.Millisecond)
	_, err := Change(path, c, "", Step{Do: Rollback})
	assertBlocked(t, &BlockedError{Do: Rollback, ID: first, State: Retiring, From: from}, err)
	assert.ErrorContains(t, err, "go back to it then")
	assert.Equal(t, before, mustRead(t, path))

	unsafe := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, os.WriteFile(unsafe, before, 0o600))
	info = mustChange(t, unsafe, c, Step{Do: BeginAudit}, Step{Do: Rollback, Unsafe: true})
	assert.Equal(t, first, info.Primary)
	sealed, err := newRing(t, unsafe, c).Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	_, err = verifier.Decrypt(sealed, nil)
	assert.Error(t, err, "which is why it is blocked")

	clock.t = from
	require.NoError(t, verifier.Reload())
	info = mustChange(t, path, c, Step{Do: Rollback})
	assert.Equal(t, first, info.Primary)
	sealed, err = newRing(t, path, c).Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	_, err = verifier.Decrypt(sealed, nil)
	assert.NoError(t, err)
}

// TestLifetimeLoweredWhileDisabled shortens the lifetime while a key is disabled
// by mistake: when it is back, it stays for what it sealed.
//
// trap K11
func TestLifetimeLoweredWhileDisabled(t *testing.T) {
	path, c, clock := timed(t)
	p := DefaultPolicy(Ticket)
	p.Lifetime = 24 * time.Hour
	info := mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p}, Step{Do: Rotate, Now: true})
	first, demoted := info.Keys[0].ID, clock.t
	mustChange(t, path, c, Step{Do: Disable, Key: first, Unsafe: true})
	p.Lifetime = 5 * time.Minute
	mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	info = mustChange(t, path, c, Step{Do: Enable, Key: first})
	assert.Equal(t, demoted.Add(24*time.Hour+150*time.Second), info.Policy.DisableFrom(stateOf(t, info, first)))

	// A lifetime that is raised counts at once, for all that still opens.
	p.Lifetime = 48 * time.Hour
	info = mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	assert.Equal(t, demoted.Add(48*time.Hour+150*time.Second), info.Policy.DisableFrom(stateOf(t, info, first)))
}

// TestFull fills a keyring with keys: the policy makes room by itself, and a leaked
// key can be revoked in any case.
func TestFull(t *testing.T) {
	path, c, clock := timed(t)
	steps := make([]Step, maxKeys-1)
	for i := range steps {
		steps[i] = Step{Do: Rotate, Now: true}
	}
	info := mustChange(t, path, c, steps...)
	require.Len(t, info.Keys, maxKeys)
	before := mustRead(t, path)
	for _, s := range []Step{{Do: Rotate}, {Do: Rotate, Now: true}, {Do: Stage}} {
		_, err := Change(path, c, "", s)
		assert.ErrorContains(t, err, "the most that a keyring may have; destroy some")
	}
	keyset, err := Export(newFile(t, c), c, Binary, InsecureCleartext, "")
	require.NoError(t, err)
	_, err = Import(path, c, keyset, InsecureCleartext, "")
	assert.ErrorContains(t, err, "the most that a keyring may have")
	assert.Equal(t, before, mustRead(t, path))
	reason := strings.Repeat("\"", maxReason)
	for range 5 {
		info, err = Change(path, c, reason, Step{Do: Revoke, Key: info.Primary})
		require.NoError(t, err)
	}
	require.Len(t, info.Keys, maxKeys+5)
	newRing(t, path, c)

	// Due for a rotation longer than for making room.
	clock.t = clock.t.Add(time.Hour)
	_, _, err = Apply(path, c, nil)
	require.NoError(t, err)
	clock.t = clock.t.AddDate(0, 0, 31)
	info, done, err := Apply(path, c, nil)
	require.NoError(t, err)
	assert.Equal(t, Rotate, done[len(done)-1].Do)
	assert.Len(t, info.Keys, 2)
	assert.Len(t, info.Tombstones, maxKeys+4)
}

// TestHeaderRoom has so many destroyed keys that there is no room for more keys,
// but for a revocation's.
func TestHeaderRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("writes the largest files in one goroutine; the whole run has it")
	}
	path, c, _ := timed(t)
	ks, h := material(t, path, c), headerOf(t, path)
	for i := range (maxHeader - headerReserve - len(encodeHeader(t, h)) - 50) / len(`"00000000",`) {
		h.Tombstones = append(h.Tombstones, KeyID(i+1))
	}
	forge(t, path, c, encodeHeader(t, h), ks)
	require.NoError(t, removeAudit(path))
	before := mustRead(t, path)
	_, err := Change(path, c, "why", Step{Do: BeginAudit}, Step{Do: Rotate})
	assert.ErrorContains(t, err, "no room for another key")
	assert.Equal(t, before, mustRead(t, path))
	info := mustChange(t, path, c, Step{Do: BeginAudit}, Step{Do: Revoke, Key: h.primary().ID})
	for range 9 {
		info = mustChange(t, path, c, Step{Do: Revoke, Key: info.Primary})
	}
	newRing(t, path, c)
}
