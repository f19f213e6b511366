package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/verify/replay"
)

// request is a claim (spend) or a peek, awaited by a caller.
type request struct {
	claim  replay.Claim
	spend  bool
	answer replay.Answer
	err    error
}

// answer sends a batch and answers its requests, within Config.Timeout. A caller that gives
// up does not disturb the others.
func (s *Store) answer(batch []*request) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	// The server takes locks in this order; see the SQL function claims.
	slices.SortStableFunc(batch, func(a, b *request) int { return bytes.Compare(a.claim.Nonce[:], b.claim.Nonce[:]) })
	rows, err := s.sendToOurs(ctx, batch)
	if err != nil {
		s.heal(ctx, err)
		err = unavailable(err)
	}
	for i, r := range batch {
		if r.err = err; err == nil {
			r.answer, r.err = rows[i].answer(&r.claim)
		}
	}
}

const (
	claimSQL = "SELECT 1, status, first_used, binding, seen " +
		"FROM admitone_replay.claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	claimsSQL = "SELECT n, status, first_used, binding, seen " +
		"FROM admitone_replay.claims($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
)

// sendToOurs is send. If the server is not the server last seen, or has lost its memory, the
// server undoes the statement; then sendToOurs has a new epoch begun, and sends again. The
// other connections may lead to the server last seen, and are closed.
func (s *Store) sendToOurs(ctx context.Context, batch []*request) (rows []row, err error) {
	for range attempts {
		named := *s.lineage.last.Load()
		if rows, err = s.send(ctx, batch, named); sqlState(err) != otherLineage {
			return rows, err
		}
		s.pool.Reset()
		if err := s.renew(ctx, named); err != nil {
			return nil, err
		}
	}
	return nil, err
}

// send asks the server, and returns a row for each of the batch or an error.
func (s *Store) send(ctx context.Context, batch []*request, lineage string) ([]row, error) {
	n := len(batch)
	nonces, bindings := make([][]byte, n), make([][]byte, n)
	issued, notBefore := make([]int64, n), make([]int64, n)
	expires, retain := make([]int64, n), make([]int64, n)
	spend := make([]bool, n)
	for i, r := range batch {
		c := &r.claim
		nonces[i] = c.Nonce[:]
		if c.Binding != [32]byte{} {
			bindings[i] = c.Binding[:]
		}
		issued[i], notBefore[i] = c.Issued.UnixMilli(), c.NotBefore.UnixMilli()
		expires[i], retain[i] = c.Expires.UnixMilli(), c.RetainUntil.UnixMilli()
		spend[i] = r.spend
	}
	now := s.now().UnixMilli()
	sql, args := claimsSQL, []any{s.realm, nonces, issued, notBefore, expires, retain, bindings, spend, now, lineage}
	if n == 1 { // which the server has less work with
		sql = claimSQL
		args = []any{
			s.realm, nonces[0], issued[0], notBefore[0], expires[0], retain[0], bindings[0], spend[0], now, lineage,
		}
	}
	var rows []row
	err := s.query(ctx, sql, args, func(result pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(result, scanRow)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(rows) != n {
		return nil, fmt.Errorf("the database answered %d of %d claims", len(rows), n)
	}
	for i := range rows {
		if rows[i].n != i+1 {
			return nil, errors.New("the database answered claims in another order")
		}
	}
	return rows, nil
}

// row is the answer of the SQL functions claim and claims to a claim.
type row struct {
	n               int // from 1
	status          string
	firstUsed, seen *int64 // milliseconds since the epoch
	binding         []byte
}

func scanRow(from pgx.CollectableRow) (r row, err error) {
	err = from.Scan(&r.n, &r.status, &r.firstUsed, &r.binding, &r.seen)
	return r, err
}
