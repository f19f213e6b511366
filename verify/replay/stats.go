package replay

import (
	"context"
	"time"
)

// Managed is an open Store, with numbers for operators and with an end.
type Managed interface {
	Store

	// Epoch returns the beginning of the store's complete memory, without asking a server: of a
	// shared store, the latest beginning that the process has seen. A later epoch than before means that
	// the servers have lost what they knew, or may have. Tickets issued at or before the epoch are
	// IssuedBeforeStart. Zero means no barrier.
	Epoch() time.Time

	// Stats returns the store's numbers. A shared store asks the servers, within the store's
	// time limit; so call Stats for a scrape and not for a request.
	Stats(ctx context.Context) (Stats, error)

	// Close ends the store and waits for claims under way. Claims made later are
	// ErrUnavailable. A second Close does nothing.
	Close() error
}

// Stats is the state of a store, for operators. Numbers unknown to a store are zero.
type Stats struct {
	// Live is the number of nonces remembered, and Windows the number of windows of ticket
	// expiry with these nonces. Expired nonces count until dropped. On Redis and PostgreSQL
	// the nonces of all realms count: on Redis all expiring keys of the database, on
	// PostgreSQL the server's estimate.
	Live    int64
	Windows int
	// Dead is the number of purged rows waiting for PostgreSQL's vacuum.
	Dead int64

	// Bytes is the memory in use, and MaxBytes the bound; 0 means no bound. On Redis both are
	// sums over all primaries. DiskBytes is the disk space taken by the journal's segments, or
	// by PostgreSQL's table and indexes.
	Bytes, MaxBytes, DiskBytes int64

	// Answers counts the answers of Claim since Open, errors excepted. Repeated
	// counts the repeated ones of the Admitted. A rise of Full calls for more
	// memory or shorter lifetimes, and a rise of ClockBehind for a look at the
	// clock. Memory and journal count.
	Answers  map[Status]uint64
	Repeated uint64

	// ClockBehind is how far the clock stands behind the highest reading. Alarm at more than a
	// second or so. DroppedRanges is the number of ranges of dropped windows remembered, and
	// RangeMerges how often two ranges were merged for want of room. Memory and journal have
	// these numbers.
	ClockBehind   time.Duration
	DroppedRanges int
	RangeMerges   uint64

	// ErrorRate is the probability that a good ticket is PossiblyUsed, in the
	// window where the rate is highest; at most 1e-6. LongestChain is the number
	// of filters in the longest chain. Memory has these numbers.
	ErrorRate    float64
	LongestChain int

	// Commits is the number of the journal's group commits, and Failures the number of failed
	// commits. Err is the failure of the latest commit, or nil. Alarm when Err is not nil.
	Commits, Failures uint64
	Err               error
	// Damaged is the number of the journal's windows with an unreadable record. Tickets of
	// these windows that may have been redeemed are IssuedBeforeStart.
	Damaged int
	// Restored reports whether the present Open of the journal began a new epoch in a
	// directory with old contents.
	Restored bool
}
