package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lookInterval is how often the owners of the schema are looked at.
const lookInterval = 5 * time.Second

// strangersSQL lists what another role has power over: the schema, the tables and the functions
// that do not belong to this role, to the database's owner or to a superuser, and roles
// that may add functions to the schema.
const strangersSQL = `
WITH schema AS (SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = 'admitone_replay'),
trusted AS (
	SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper OR rolname = current_user
	UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
),
power AS (
	SELECT 'the schema belongs' AS what, nspowner AS role FROM schema
	UNION ALL SELECT 'the table ' || relname || ' belongs', relowner
	FROM pg_catalog.pg_class JOIN schema ON relnamespace = schema.oid
	UNION ALL SELECT 'the function ' || proname || ' belongs', proowner
	FROM pg_catalog.pg_proc JOIN schema ON pronamespace = schema.oid
	UNION ALL SELECT 'the right to create functions belongs', a.grantee
	FROM schema, pg_catalog.aclexplode(nspacl) a WHERE a.privilege_type = 'CREATE'
)
SELECT what || ' to ' || CASE role WHEN 0 THEN 'everybody' ELSE 'the role ' || pg_catalog.pg_get_userbyid(role) END
FROM power WHERE role NOT IN (SELECT oid FROM trusted) ORDER BY 1 LIMIT 1`

// strangerError concerns a schema in the power of another role.
type strangerError struct{ power string }

func (e *strangerError) Error() string {
	return "in the schema admitone_replay, " + e.power +
		", who could read what this role reads and admit tickets twice; drop the schema, " +
		"and let this role, the database's owner or a superuser make it"
}

// checkOwners refuses a schema in the power of a role without power over the database.
func (s *Store) checkOwners(ctx context.Context) error {
	var power string
	switch err := s.pool.QueryRow(ctx, strangersSQL).Scan(&power); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return unavailable(err)
	}
	return &strangerError{power}
}

// look checks the owners again, and looks for another server. From a bad answer until a good
// one, nothing is claimed. Without an answer, claims find out for themselves.
func (s *Store) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.checkOwners(ctx)
	if _, strange := errors.AsType[*strangerError](err); strange {
		err = fmt.Errorf("nothing is claimed: %w", err)
		if s.fault.Swap(&err) == nil {
			s.log.Error("replay store: the schema is in the power of another role", "store", s.name, "error", err)
		}
		return
	} else if err != nil {
		return
	}
	err = s.renew(ctx, *s.lineage.last.Load())
	if _, unkept := errors.AsType[*lineageError](err); unkept {
		s.fault.Store(&err)
	} else {
		s.fault.Store(nil)
	}
}

func (s *Store) lookEvery(ctx context.Context, every time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		s.look(ctx)
	}
}
