package pgstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/admitone/admitone/verify/replay"
)

type commandTag = pgconn.CommandTag

// SQLSTATE codes, as in PostgreSQL's Appendix A; wrongIsolation and otherLineage are our own.
const (
	readOnly             = "25006"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	noSchema             = "3F000"
	noFunction           = "42883"
	noTable              = "42P01"
	noRight              = "42501"
	tooManyConnections   = "53300"
	wrongIsolation       = "AD001"
	otherLineage         = "AD002"
)

var remedies = map[string]string{
	readOnly: "the server takes no writes: connect to the primary, for instance with several hosts and " +
		"target_session_attrs=read-write in the URL",
	noSchema: "the schema is missing: " +
		"open the store as a role that may create it, or let its owner run schema.sql of package pgstore",
	noFunction: "the schema is missing or damaged: " +
		"open the store as a role that may create it, or let its owner run schema.sql of package pgstore",
	noTable: "the schema is damaged: drop the schema admitone_replay, " +
		"and let its owner run schema.sql of package pgstore",
	otherLineage:       "the connections lead to several servers that each take writes: give the URL of one",
	noRight:            "GRANT USAGE ON SCHEMA admitone_replay to this role",
	tooManyConnections: "raise the server's max_connections, or lower pool_max_conns in the URL",
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// unavailable wraps an error of pgx. These errors name user, host and database at most.
func unavailable(err error) error {
	if remedy, ok := remedies[sqlState(err)]; ok {
		return fmt.Errorf("%w: postgres: %w (%s)", replay.ErrUnavailable, err, remedy)
	}
	return fmt.Errorf("%w: postgres: %w", replay.ErrUnavailable, err)
}

// undone reports whether the statement is certain to have had no effect, since the server
// reports a rollback. (Do not use pgconn.SafeToRetry: it returns true for a batch sent on a
// breaking connection.)
func undone(err error) bool {
	state := sqlState(err)
	return state == serializationFailure || state == deadlockDetected
}
