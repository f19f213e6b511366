package directory

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/admitone/admitone/token"
)

const (
	maxRevoked  = 100_000   // IDs in memory, which take about 4 MB
	revokedStep = 1000      // rows that a look reads at most
	revokedRest = time.Hour // between two attempts to have all IDs in memory
)

// revokedIDs has the IDs of the revoked tickets of an SQLite file in memory, so that most
// redemptions need no statement. A ticket whose ID is missing was not revoked. A ticket
// whose ID is there may belong to another brand or issuer, or the revocation may be over: the
// database decides.
//
// Each revocation has a number above all earlier numbers, in the order of the commits. A
// look reads the rows above the last number. Deleted rows stay in memory.
type revokedIDs struct {
	mu    sync.RWMutex
	of    *connections // whose rows were read
	ids   map[token.ID]struct{}
	last  int64     // number of the last row that was read
	whole bool      // ids had all rows at the last look
	again time.Time // when the next attempt is due, if there are too many rows
}

// The statements of a look at a file: fileStateQuery is stateQuery with the number of the
// newest revocation.
const (
	fileStateQuery = `SELECT id || ' ' || changes, (SELECT coalesce(max(number), 0) FROM revocation) FROM directory_state`
	revokedQuery   = `SELECT number, ticket FROM revocation WHERE number > $1 ORDER BY number LIMIT $2`
)

// lacks reports that a ticket was not revoked at the last look. False means: ask the database.
func (r *revokedIDs) lacks(open *connections, id token.ID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, revoked := r.ids[id]
	return r.of == open && r.whole && !revoked
}

// add notes a revocation by this process.
func (r *revokedIDs) add(id token.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) >= maxRevoked {
		r.forget()
	}
	if r.ids != nil {
		r.ids[id] = struct{}{}
	}
}

// forget forgets all IDs. The caller holds mu.
func (r *revokedIDs) forget() { r.ids, r.last, r.whole = nil, 0, false }

// behind reports whether a look should read rows even if nothing has changed.
func (r *revokedIDs) behind(now time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return !r.whole && !now.Before(r.again)
}

// read reads the rows that are new at a look. newest is the number of the newest row.
func (r *revokedIDs) read(ctx context.Context, open *connections, newest int64, now time.Time) error {
	last, due := r.begin(open, newest, now)
	if !due {
		return nil
	}
	rows, err := open.revoked.QueryContext(ctx, last, revokedStep)
	if err != nil {
		return err
	}
	defer rows.Close()
	var read []token.ID
	for rows.Next() {
		var text string
		if err := rows.Scan(&last, &text); err != nil {
			return err
		}
		id, _ := hex.DecodeString(text)
		read = append(read, token.ID(append(id, make([]byte, len(token.ID{}))...)))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids)+len(read) > maxRevoked {
		r.forget()
		r.again = now.Add(revokedRest)
		return nil
	}
	for _, id := range read {
		r.ids[id] = struct{}{}
	}
	r.last, r.whole = last, len(read) < revokedStep
	return nil
}

// begin returns the number after which the rows are new, and whether to read rows.
func (r *revokedIDs) begin(open *connections, newest int64, now time.Time) (last int64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of != open || newest < r.last { // other rows than before
		r.forget()
		r.of, r.again = open, time.Time{}
	}
	if !r.whole && now.Before(r.again) {
		return 0, false
	}
	if r.ids == nil {
		r.ids = make(map[token.ID]struct{})
	}
	return r.last, !r.whole || newest > r.last
}
