package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// squat makes a schema that admits every claim, as the role of url.
func squat(t *testing.T, url string) {
	t.Helper()
	admits := strings.NewReplacer("\n        status := 'too_late';\n        RETURN;", "\n        RETURN;",
		"status := 'already_used'", "status := 'admitted'").Replace(Schema())
	require.NotEqual(t, Schema(), admits)
	exec1(t, url, "BEGIN;"+admits+";GRANT USAGE ON SCHEMA admitone_replay TO PUBLIC; COMMIT")
}

// trap R36: another role made the schema first, or a part of it, or may add to it. The
// store refuses, and calls no function of it.
func TestSquattedSchema(t *testing.T) {
	url := servers.Database(t)
	squatter, service := role(t, url, "squatter", ""), role(t, url, "attacked", "")
	database := ask1[string](t, url, "SELECT current_database()")
	exec1(t, url, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO squatter", database))
	refused := func(want string) {
		t.Helper()
		for _, url := range []string{url, service} {
			_, err := Open(context.Background(), Config{URL: url, Timeout: patience})
			require.ErrorContains(t, err, want)
			require.NotErrorIs(t, err, replay.ErrUnavailable)
		}
	}
	squat(t, squatter)
	refused("belongs to the role squatter")
	exec1(t, squatter, "DROP SCHEMA admitone_replay CASCADE; CREATE SCHEMA admitone_replay")
	refused("the schema belongs to the role squatter")
	exec1(t, squatter, "DROP SCHEMA admitone_replay")

	exec1(t, url, "BEGIN;"+Schema()+"; GRANT USAGE ON SCHEMA admitone_replay TO attacked; COMMIT")
	open(t, service)
	for change, want := range map[string]string{
		"ALTER FUNCTION admitone_replay.window_of OWNER TO squatter": "the function window_of belongs to the role squatter",
		"ALTER TABLE admitone_replay.claims OWNER TO squatter":       "the table claims belongs to the role squatter",
		"GRANT CREATE ON SCHEMA admitone_replay TO squatter":         "the right to create functions belongs to the role squatter",
		"GRANT CREATE ON SCHEMA admitone_replay TO PUBLIC":           "the right to create functions belongs to everybody",
	} {
		exec1(t, url, "GRANT CREATE ON SCHEMA admitone_replay TO squatter; "+change+
			"; REVOKE CREATE ON SCHEMA admitone_replay FROM squatter")
		if strings.HasPrefix(change, "GRANT") {
			exec1(t, url, change)
		}
		refused(want)
		exec1(t, url, "REASSIGN OWNED BY squatter TO postgres; REVOKE CREATE ON SCHEMA admitone_replay FROM squatter, PUBLIC")
	}
	open(t, service)
}

// trap R36: a store that does not look at the owners is caught: here the squatter is trusted,
// and a ticket is admitted twice.
func TestBlindToOwners(t *testing.T) {
	url := servers.Database(t)
	squat(t, url)
	s := open(t, url)
	c := fresh()
	for range 2 {
		require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	}
}

// trap R36: a function that another role replaced later is noticed, and so is a schema that
// another role made after a loss. When the schema is in order, service goes on.
func TestReplacedFunction(t *testing.T) {
	url := servers.Database(t)
	squatter, service := role(t, url, "replacer", ""), role(t, url, "served", "")
	exec1(t, url, "BEGIN;"+Schema()+"; GRANT USAGE ON SCHEMA admitone_replay TO served; COMMIT")
	var log bytes.Buffer
	s := open(t, service, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	c := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, c).Status)

	exec1(t, url, "GRANT CREATE ON SCHEMA admitone_replay TO replacer; "+
		"ALTER FUNCTION admitone_replay.window_of OWNER TO replacer")
	exec1(t, squatter, "CREATE OR REPLACE FUNCTION admitone_replay.window_of(p_expires bigint) RETURNS bigint "+
		"LANGUAGE sql IMMUTABLE AS 'SELECT 7'")
	s.look(context.Background())
	for _, call := range []func(context.Context, replay.Claim) (replay.Answer, error){s.Claim, s.Peek} {
		_, err := call(context.Background(), fresh())
		require.ErrorIs(t, err, replay.ErrUnavailable)
		require.ErrorContains(t, err, "belongs to the role replacer")
	}
	exec1(t, url, "REASSIGN OWNED BY replacer TO postgres; REVOKE CREATE ON SCHEMA admitone_replay FROM replacer")
	exec1(t, url, `CREATE OR REPLACE FUNCTION admitone_replay.window_of(p_expires bigint) RETURNS bigint
		LANGUAGE sql IMMUTABLE AS 'SELECT p_expires / 16000'`)
	s.look(context.Background())
	require.Equal(t, replay.AlreadyUsed, claim(t, s, c).Status)

	// The store looks by itself.
	exec1(t, url, "GRANT CREATE ON SCHEMA admitone_replay TO replacer")
	require.Eventually(t, func() bool {
		_, err := s.Peek(context.Background(), c)
		return err != nil
	}, patience, 100*time.Millisecond)
	exec1(t, url, fmt.Sprintf("DROP SCHEMA admitone_replay CASCADE; GRANT CREATE ON DATABASE %s TO replacer",
		ask1[string](t, url, "SELECT current_database()")))
	squat(t, squatter)
	for range 3 {
		a, err := s.Claim(context.Background(), c)
		require.Error(t, err, "answered %v", a)
	}
	require.NoError(t, s.Close())
	assert.Contains(t, log.String(), "in the power of another role")
}
