package directory

import (
	"context"
	"encoding/hex"
	"math"
	"time"

	"github.com/admitone/admitone/token"
)

// revocationKept is how long a revocation is kept. The ticket's end is not known, so this is
// the longest lifetime of any ticket, and two days for the clocks.
const revocationKept = math.MaxUint32*time.Millisecond + 48*time.Hour

// ParseTicketID parses the ID of a ticket: 32 hexadecimal digits. The error is a
// *FieldError.
func ParseTicketID(text string) (id token.ID, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, refuse("ticketId", "is not 32 hexadecimal digits; the log and ticket inspect have the IDs of tickets")
	}
	return token.ID(raw), nil
}

// RevokeTicket revokes a ticket of the brand and the issuer: TicketRevoked is true from now on, for each
// further use of the ticket. In another process that has the same SQLite file open,
// TicketRevoked is true within a millisecond; with PostgreSQL, at once everywhere. A second
// revocation changes nothing. Whether the ticket exists, or is spent already, is not known
// here. The issuer "" stands for the deployment's own keys. If the brand does not exist, the
// error wraps ErrNotFound.
func (db *DB) RevokeTicket(ctx context.Context, brand, issuer string, id token.ID) error {
	if err := checkText("issuer", issuer, maxBrand); err != nil {
		return err
	}
	defer db.cache.revoked.add(id) // also after an error, since the change may have been made
	return db.transact(ctx, "revoke ticket", func(ctx context.Context, tx *change) error {
		if _, err := brands.get(ctx, tx, brand); err != nil {
			return err
		}
		n, err := exec(ctx, tx, `INSERT INTO revocation (brand, issuer, ticket, expires) VALUES ($1, $2, $3, $4)
			ON CONFLICT (brand, issuer, ticket) DO NOTHING`,
			brand, issuer, id.String(), db.now().Add(revocationKept).UnixMilli())
		if isForeignKey(err) {
			return notFound("brand", brand)
		}
		if n > 0 {
			e := db.event(ActionRevokeTicket, brand, "", "")
			e.Ticket, e.Issuer = id.String(), issuer
			tx.note(e)
		}
		return err
	})
}

// TicketRevoked reports whether a ticket of the brand and the issuer was revoked. A PostgreSQL server is
// asked for each ticket: a memory of it would be behind by up to a second, and no other call
// must admit a ticket after RevokeTicket has returned. The IDs of up to 100,000 revoked
// tickets of an SQLite file are in memory, and tickets with other IDs take no statement.
func (db *DB) TicketRevoked(ctx context.Context, brand, issuer string, id token.ID) (bool, error) {
	if db.cache.notRevoked(ctx, id) {
		return false, nil
	}
	n, err := number(ctx, db.read, `SELECT count(*) FROM revocation WHERE brand = $1 AND issuer = $2 AND ticket = $3`,
		brand, issuer, id.String())
	return n > 0, failed("look up a revocation", err)
}
