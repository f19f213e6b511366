package keyring

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

// Action is the kind of a Step.
type Action string

// The actions, with the fields of Step for each action. The field Unsafe does a blocked
// step.
const (
	// Rotate adds a pending key of Algorithm, or of the primary's algorithm. The policy
	// promotes the key when every process has it. While another key is pending and not held,
	// Rotate is blocked.
	//
	// With Now the key is the primary at once, and Rotate is never blocked. Processes that
	// have not read the new file refuse the key's ciphertexts; a Ring looks at the file as
	// soon as it meets an unknown key.
	Rotate Action = "rotate"

	// Stage adds a staged key of Algorithm, which older readers need not know.
	Stage Action = "stage"

	// Promote makes the pending Key the primary. The old primary retires. Promote is
	// blocked until Policy.PromoteFrom. With Unsafe, processes that have not read the file
	// since the key was enabled refuse the key's ciphertexts.
	Promote Action = "promote"

	// Hold keeps Key from becoming the primary, until Unhold. Others are not told of a pending key
	// that is held: it is in no bundle. So a pending key of an Issuer keyring counts as enabled by
	// Unhold, and waits for Policy.PromoteFrom again.
	Hold   Action = "hold"
	Unhold Action = "unhold"

	// Rollback makes the previous primary the primary again. The current primary retires
	// and is held. Key may be zero; if not, it must be the previous primary. A key that was
	// disabled in between is blocked until every process has it again. With Unsafe,
	// processes that have not read the new file refuse the key's ciphertexts. After a Rollback
	// of an Issuer keyring, others refuse good tickets as forged until they have a new bundle:
	// an older one names the time of the key's last ticket. Publish at once.
	Rollback Action = "rollback"

	// Disable makes Key open nothing. A retiring key is blocked until Policy.DisableFrom.
	// With Unsafe, good ciphertexts of the key are refused. The primary cannot be disabled.
	Disable Action = "disable"

	// Enable makes Key open again, unless the key was revoked. A former primary is retiring
	// then, any other key pending.
	Enable Action = "enable"

	// Destroy removes the disabled Key. The ID is never given again. Destroy is blocked
	// until Policy.DestroyFrom. With Unsafe, disabling the key can no longer be undone.
	Destroy Action = "destroy"

	// Revoke disables Key for good, for example because the key leaked. If Key is the
	// primary, a new key becomes the primary at once, and all waiting keys are held, since
	// they leaked with the file. The next bundle is without them. Revoke needs a reason.
	Revoke Action = "revoke"

	// SetPolicy sets Policy.
	SetPolicy Action = "set-policy"

	// BeginAudit begins a new audit log if the old log is lost or damaged. The rest of the
	// old log is kept beside the new log. BeginAudit needs a reason.
	BeginAudit Action = "begin-audit"

	// The steps of a trust list, which package verify/trust makes.
	TrustAdd    Action = "trust-add"    // Issuer, with the grant in Detail
	TrustGrant  Action = "trust-grant"  // of Issuer, in Detail
	TrustBundle Action = "trust-bundle" // a bundle of Issuer was taken
	TrustKey    Action = "trust-key"    // with it, Key of Issuer
	TrustDrop   Action = "trust-drop"   // Key of Issuer is no more
	TrustDeny   Action = "trust-deny"   // Key of Issuer, or all of Issuer

	// The audit log also records these actions, which are not steps: redated comes from
	// Config.UnsafeClockBehind, the others have functions of their own.
	redated   Action = "redate"
	created   Action = "create"
	rewrapped Action = "rewrap"
	imported  Action = "import"
	exported  Action = "export"
)

// Step is a step of a change, or the record of a step in the audit log.
type Step struct {
	Do        Action  `json:"do"`
	Key       KeyID   `json:"key,omitzero"`        // in the log also the ID of a new key
	Algorithm string  `json:"algorithm,omitempty"` // of a new key
	Now       bool    `json:"now,omitempty"`
	Unsafe    bool    `json:"unsafe,omitempty"`
	Policy    *Policy `json:"policy,omitempty"`
	Issuer    string  `json:"issuer,omitempty"` // of a trust list
	Detail    string  `json:"detail,omitempty"` // in the log of a trust list: a grant in words, for example
	KEK       string  `json:"kek,omitempty"`    // in the log only: hint of the KEK of a rewrap, export or import
}

// edit is a change before the write.
type edit struct {
	h   *header
	m   *keyset.Manager
	now time.Time
	why string
	kek KEK // for the new file

	document []byte // of a signed file, in place of m

	done []Step // for the log
}

// do does the steps in turn.
func (e *edit) do(steps []Step) error {
	for _, s := range steps {
		if err := e.doStep(&s); err != nil {
			return err
		}
		e.done = append(e.done, s)
	}
	return nil
}

// doStep does a step, and completes the step for the log.
func (e *edit) doStep(s *Step) error {
	switch s.Do {
	case Rotate:
		return e.rotate(s)
	case Stage:
		k, err := e.add(s.Algorithm)
		if err != nil {
			return err
		}
		if err := e.checkRoom(); err != nil {
			return err
		}
		k.State, k.Enabled, k.Known = Staged, time.Time{}, time.Time{}
		s.Key, s.Algorithm = k.ID, k.Algorithm
		return e.m.Disable(uint32(k.ID))
	case Rollback:
		return e.rollback(s)
	case SetPolicy:
		return e.setPolicy(s.Policy)
	case BeginAudit:
		if e.why == "" {
			return errors.New("a new audit log needs a reason, for the record")
		}
		return nil
	}
	k := e.h.key(s.Key)
	if k == nil {
		if slices.Contains(e.h.Tombstones, s.Key) {
			return fmt.Errorf("%w %v any more: the key was destroyed", ErrNoKey, s.Key)
		}
		return fmt.Errorf("%w %v; keyring status lists the keys", ErrNoKey, s.Key)
	}
	switch s.Do {
	case Promote:
		return e.promote(k, s.Unsafe)
	case Hold:
		switch {
		case k.State == Primary:
			return &BlockedError{Do: s.Do, ID: k.ID, State: k.State}
		case k.Held:
			return already(k, "held")
		}
		k.Held, k.Reason = true, e.reason(k)
		return nil
	case Unhold:
		if !k.Held {
			return already(k, "not held")
		}
		k.Held = false
		if k.State != Disabled {
			k.Reason = ""
		}
		if k.State == Pending && e.h.Kind == Issuer { // bundles were without it
			k.Enabled = e.now
			e.spread(k)
		}
		return nil
	case Disable:
		return e.disable(k, s.Unsafe)
	case Enable:
		return e.enable(k)
	case Destroy:
		return e.destroy(k, s.Unsafe)
	case Revoke:
		return e.revoke(k)
	}
	return fmt.Errorf("%q is not an action", string(s.Do))
}

func already(k *Key, what string) error {
	return fmt.Errorf("key %v is %s %w", k.ID, what, ErrAlready)
}

// reason returns the reason for k's entry: that of the change, or else the old reason.
func (e *edit) reason(k *Key) string {
	if e.why != "" {
		return e.why
	}
	return k.Reason
}

func (e *edit) rotate(s *Step) error {
	old := *e.h.primary()
	if s.Algorithm == "" {
		s.Algorithm = old.Algorithm
	}
	if i := slices.IndexFunc(e.h.Keys, func(k Key) bool { return k.State == Pending && !k.Held }); i >= 0 && !s.Now {
		return &BlockedError{Do: Rotate, ID: e.h.Keys[i].ID, State: Pending}
	}
	k, err := e.add(s.Algorithm)
	if err != nil {
		return err
	}
	if err := e.checkRoom(); err != nil {
		return err
	}
	s.Key, s.Algorithm = k.ID, k.Algorithm
	if s.Now {
		return e.makePrimary(k)
	}
	return nil
}

// add makes a pending key.
func (e *edit) add(algorithm string) (*Key, error) {
	params, err := parameters(e.h.Kind, algorithm)
	if err != nil {
		return nil, err
	}
	if algorithm, err = algorithmOf(e.h.Kind, params); err != nil {
		return nil, err
	}
	id, err := e.h.newID(
		func() (uint32, error) { return e.m.AddNewKeyFromParameters(params) },
		e.m.Delete)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	e.h.Keys = append(e.h.Keys, Key{ID: id, Algorithm: algorithm, State: Pending, Created: e.now, Enabled: e.now})
	k := &e.h.Keys[len(e.h.Keys)-1]
	e.spread(k)
	return k, nil
}

// spread sets Known of the key k, which was enabled now.
func (e *edit) spread(k *Key) {
	k.Known = time.Time{}
	if e.h.Known.After(k.Enabled.Add(e.h.Policy.spread(e.h.Kind))) {
		k.Known = e.h.Known
	}
}

// checkRoom refuses a key for which the file has no room. A revocation may use the reserve,
// and does not call checkRoom.
func (e *edit) checkRoom() error {
	if len(e.h.Keys) > maxKeys {
		return fmt.Errorf("there are %d keys already, the most that a keyring may have; destroy some", maxKeys)
	}
	line, err := e.h.encode()
	if err == nil && len(line) > maxHeader-headerReserve {
		err = fmt.Errorf("the header has no room for another key beside %d keys and the IDs of %d destroyed keys; "+
			"destroy keys, or make a new keyring", len(e.h.Keys)-1, len(e.h.Tombstones))
	}
	return err
}

// newID makes keys until the ID of a key is new. Tink knows only the IDs of present keys.
func (h *header) newID(add func() (uint32, error), remove func(uint32) error) (KeyID, error) {
	for {
		id, err := add()
		if err != nil {
			return 0, err
		}
		if id != 0 && h.key(KeyID(id)) == nil && !slices.Contains(h.Tombstones, KeyID(id)) {
			return KeyID(id), nil
		}
		if err := remove(id); err != nil {
			return 0, err
		}
	}
}

// makePrimary makes k, which opens, the primary. The old primary retires.
func (e *edit) makePrimary(k *Key) error {
	if i := slices.IndexFunc(e.h.Keys, func(k Key) bool { return k.State == Primary }); i >= 0 {
		e.h.Keys[i].State, e.h.Keys[i].Demoted = Retiring, e.now
	}
	k.State, k.Demoted = Primary, time.Time{}
	if k.Promoted.IsZero() {
		k.Promoted = e.now
	}
	return e.m.SetPrimary(uint32(k.ID))
}

func (e *edit) promote(k *Key, unsafe bool) error {
	switch from := e.h.Policy.PromoteFrom(*k); {
	case k.State == Primary:
		return already(k, "the primary")
	case k.State != Pending || k.Held:
		return &BlockedError{Do: Promote, ID: k.ID, State: k.State, Held: k.Held}
	case !unsafe && e.now.Before(from):
		return &BlockedError{Do: Promote, ID: k.ID, State: k.State, From: from}
	}
	return e.makePrimary(k)
}

func (e *edit) rollback(s *Step) error {
	var to *Key
	for i := range e.h.Keys {
		if k := &e.h.Keys[i]; k.State == Retiring && !k.Held && (to == nil || k.Demoted.After(to.Demoted)) {
			to = k
		}
	}
	if to == nil {
		return &BlockedError{Do: Rollback}
	}
	if s.Key != 0 && s.Key != to.ID {
		return fmt.Errorf("the key to go back to is %v, not %v; hold %v to go back further", to.ID, s.Key, to.ID)
	}
	// A key that was disabled meanwhile does not open everywhere yet.
	from := e.h.Policy.knownFrom(*to)
	if to.Enabled.After(to.Demoted) && e.now.Before(from) && !s.Unsafe {
		return &BlockedError{Do: Rollback, ID: to.ID, State: to.State, From: from}
	}
	s.Key = to.ID
	bad := e.h.primary().ID
	if err := e.makePrimary(to); err != nil {
		return err
	}
	k := e.h.key(bad)
	k.Held, k.Reason = true, e.why
	return nil
}

func (e *edit) disable(k *Key, unsafe bool) error {
	switch k.State {
	case Disabled:
		return already(k, "disabled")
	case Primary:
		return &BlockedError{Do: Disable, ID: k.ID, State: k.State}
	case Retiring:
		if from := e.h.Policy.DisableFrom(*k); !unsafe && (from.IsZero() || e.now.Before(from)) {
			return &BlockedError{Do: Disable, ID: k.ID, State: k.State, From: from}
		}
	}
	k.State, k.Disabled, k.Reason = Disabled, e.now, e.reason(k)
	return e.m.Disable(uint32(k.ID))
}

func (e *edit) enable(k *Key) error {
	switch {
	case k.opens():
		return already(k, "enabled")
	case k.Revoked:
		return &BlockedError{Do: Enable, ID: k.ID, State: k.State, Revoked: true}
	case !slices.Contains(Algorithms(e.h.Kind), k.Algorithm):
		return fmt.Errorf("key %v is of %s, which this program does not know; use the version that made the key",
			k.ID, k.Algorithm)
	}
	k.State, k.Enabled, k.Disabled = Pending, e.now, time.Time{}
	e.spread(k)
	if !k.Promoted.IsZero() {
		k.State = Retiring
	}
	if !k.Held {
		k.Reason = ""
	}
	return e.m.Enable(uint32(k.ID))
}

func (e *edit) destroy(k *Key, unsafe bool) error {
	if k.State != Disabled {
		return &BlockedError{Do: Destroy, ID: k.ID, State: k.State}
	}
	if from := e.h.Policy.DestroyFrom(*k); !unsafe && (from.IsZero() || e.now.Before(from)) {
		return &BlockedError{Do: Destroy, ID: k.ID, State: k.State, From: from}
	}
	id := k.ID
	e.h.Keys = slices.DeleteFunc(e.h.Keys, func(k Key) bool { return k.ID == id })
	e.h.Tombstones = append(e.h.Tombstones, id)
	return e.m.Delete(uint32(id))
}

func (e *edit) revoke(k *Key) error {
	switch {
	case e.why == "":
		return errors.New("a revocation needs a reason, for the record")
	case k.Revoked:
		return already(k, "revoked")
	}
	id, disabled := k.ID, k.State == Disabled
	if k.State == Primary {
		for i := range e.h.Keys {
			if w := &e.h.Keys[i]; (w.State == Pending || w.State == Staged) && !w.Held {
				w.Held, w.Reason = true, e.why
				e.done = append(e.done, Step{Do: Hold, Key: w.ID})
			}
		}
		next, err := e.add(k.Algorithm)
		if err != nil {
			return err
		}
		e.done = append(e.done, Step{Do: Rotate, Key: next.ID, Algorithm: next.Algorithm, Now: true})
		if err := e.makePrimary(next); err != nil {
			return err
		}
		k = e.h.key(id)
	}
	k.State, k.Revoked, k.Reason = Disabled, true, e.why
	if !disabled {
		k.Disabled = e.now
	}
	return e.m.Disable(uint32(id))
}

// setPolicy changes the policy. What a longer policy promised stays so: readers that may lag,
// public keys that others may hold, and ciphertexts.
func (e *edit) setPolicy(p *Policy) error {
	if p == nil {
		return &token.ConfigError{Field: "keyring.Step.Policy", Reason: "is nil; give the new policy"}
	}
	if err := p.Check(e.h.Kind); err != nil {
		return err
	}
	old, kind := e.h.Policy, e.h.Kind
	if *p == old {
		return fmt.Errorf("the policy is so %w", ErrAlready)
	}
	sooner := p.spread(kind) < old.spread(kind)
	if sooner {
		e.h.Known = later(e.h.Known, e.now.Add(old.spread(kind)))
	}
	for i := range e.h.Keys {
		k := &e.h.Keys[i]
		if from := old.knownFrom(*k); sooner && k.opens() && from.After(e.now) {
			k.Known = from
		}
		if k.Promoted.IsZero() {
			continue
		}
		sealed, needed := old.sealedUntil(*k), old.DisableFrom(*k)
		switch k.State {
		case Primary:
			sealed = later(e.now.Add(old.sealing(kind)), k.Sealed)
			needed = sealed.Add(old.lives())
		case Disabled: // the key may be enabled again
			needed = sealed.Add(old.lives())
		}
		if p.sealing(kind) < old.sealing(kind) { // also in the past: see PublicKey.LastIssue
			k.Sealed = later(k.Sealed, sealed)
		}
		if (p.lives() < old.lives() || p.needed(kind) < old.needed(kind)) && needed.After(e.now) {
			k.Needed = later(k.Needed, needed)
		}
	}
	e.h.Policy = *p
	return nil
}
