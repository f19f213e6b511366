package exactstore

import "time"

// Fault is a fault of a Store.
type Fault string

// None is the absence of a fault.
const None Fault = ""

// The faults of memory and retention.
const (
	EvictsWhenFull      Fault = "evicts when full"
	ForgetsAtExpiry     Fault = "forgets at expiry"
	ForgetsWithoutSkew  Fault = "forgets at retain-until without the skew"
	ForgetsLastMilli    Fault = "forgets in the last millisecond"
	MonthAtMost         Fault = "time to live of a month at most"
	ReplayCutsRetention Fault = "replay cuts retention short"
	WindowTooShort      Fault = "drops a window before its last ticket is over"
	WindowMadeAgain     Fault = "window made again after a backward step"
	DroppedForGood      Fault = "refuses a dropped window's tickets of after the leap"
	DroppedByNotBefore  Fault = "takes NotBefore for the issue of dropped tickets"
	DroppedBehindLive   Fault = "window made again hides the dropped"
	LeapNotSeen         Fault = "leap not seen by late claims"
	ForgetsInOutage     Fault = "forgets in an outage"
	ForgetsAtRestart    Fault = "forgets at a restart"
	ForgetsAWindow      Fault = "forgets the fullest window at a restart" // as if its file were missing: trap R35
	EpochStays          Fault = "forgets at a reset, and its epoch stays"
)

// The faults of judging.
const (
	ChecksThenSets      Fault = "checks, then sets"
	EdgeOfRetention     Fault = "> for >= at the edge"
	LateClaimAdmitted   Fault = "late claim admitted"
	LateClaimStored     Fault = "late claim stored"
	AnchoredAtNewest    Fault = "anchored at the newest"
	NoBarrier           Fault = "no barrier"
	BarrierWithoutEpoch Fault = "barrier without the epoch itself"
	BarrierWithoutSkew  Fault = "barrier without the skew"
	BarrierAtRestart    Fault = "barrier at the restart"
	FirstUseForgotten   Fault = "first use forgotten"
	PossiblyUsed        Fault = "possibly used"
	PeekSpends          Fault = "looking spends"
	SpendsRefused       Fault = "spends what it refuses"
	NonceCut            Fault = "nonce cut to 8 bytes"
	NonceJoined         Fault = "nonce's bytes joined without a separator"
	ZeroNonceIsNone     Fault = "zero nonce is none"
)

// The faults of the grace.
const (
	GraceToAnybody      Fault = "grace to anybody"
	GraceForAnyBinding  Fault = "grace for any binding"
	GraceWithoutBinding Fault = "grace without a binding"
	GraceForEver        Fault = "grace for ever"
	GraceBeforeFirst    Fault = "grace before the first use"
	NoGrace             Fault = "no grace"
	GraceExtended       Fault = "grace is extended"
)

// The faults of errors.
const (
	InvalidAccepted  Fault = "invalid claim accepted"
	InvalidIsOutage  Fault = "invalid claim called an outage"
	CancelledSpends  Fault = "cancelled claim spends"
	CancelledAnswers Fault = "cancelled claim is answered"
	OutageAdmits     Fault = "outage admits"
	OutageIsReplay   Fault = "outage told as a replay"
	OutageForEver    Fault = "outage for ever"
	Deadlock         Fault = "deadlock of two methods"
)

// Faults are all faults.
var Faults = []Fault{
	EvictsWhenFull, ForgetsAtExpiry, ForgetsWithoutSkew, ForgetsLastMilli, MonthAtMost,
	ReplayCutsRetention, WindowTooShort, WindowMadeAgain, DroppedForGood, DroppedByNotBefore,
	DroppedBehindLive, LeapNotSeen, ForgetsInOutage, ForgetsAtRestart, ForgetsAWindow, EpochStays,

	ChecksThenSets, EdgeOfRetention, LateClaimAdmitted, LateClaimStored, AnchoredAtNewest,
	NoBarrier, BarrierWithoutEpoch, BarrierWithoutSkew, BarrierAtRestart, FirstUseForgotten,
	PossiblyUsed, PeekSpends, SpendsRefused, NonceCut, NonceJoined, ZeroNonceIsNone,

	GraceToAnybody, GraceForAnyBinding, GraceWithoutBinding, GraceForEver, GraceBeforeFirst,
	NoGrace, GraceExtended,

	InvalidAccepted, InvalidIsOutage, CancelledSpends, CancelledAnswers, OutageAdmits,
	OutageIsReplay, OutageForEver, Deadlock,
}

// forgetsEarly has the faults that forget single nonces, and how long before the
// retention ends. A Store without them drops whole windows, and remembers the dropped
// windows.
var forgetsEarly = map[Fault]time.Duration{
	ForgetsAtExpiry:     0, // see retain
	ForgetsWithoutSkew:  10 * time.Second,
	ForgetsLastMilli:    time.Millisecond / 2,
	MonthAtMost:         0, // see retain
	WindowMadeAgain:     0,
	LeapNotSeen:         0,
	ReplayCutsRetention: 0, // see spent
}
