// Package postgres holds the rules for a PostgreSQL database that the packages of
// this module share: how a connection string is read, and which server is good enough.
package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A URLError is the error for a connection string that cannot be used. Its text
// quotes nothing of the string, which may hold a password.
type URLError struct {
	Reason string // continues the name of a setting, such as "is not a connection string; write …"
	Cause  error  // the error behind the reason, or nil
}

// Error returns the reason, then the cause.
func (e *URLError) Error() string {
	text := "the connection string " + e.Reason
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the Cause.
func (e *URLError) Unwrap() error { return e.Cause }

// Defaults are the settings of a pool where the connection string has none.
type Defaults struct {
	MaxConns       int32         // pool_max_conns
	ConnectTimeout time.Duration // connect_timeout
}

// Parse reads a connection string in the form of libpq and pgx. Unless the string
// has default_query_exec_mode, statements are not prepared, so that PgBouncer may
// stand between. The error is a *URLError.
func Parse(dsn string, d Defaults) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The text of pgx's error may quote the string, and so the password.
		if file, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, &URLError{"names a file that cannot be read", file}
		}
		return nil, &URLError{Reason: "is not a connection string; " +
			"write postgres://user:password@host:5432/database?sslmode=verify-full, " +
			"with special characters of the password percent-encoded"}
	}
	if !has(dsn, "pool_max_conns") {
		config.MaxConns = d.MaxConns
	}
	if !has(dsn, "connect_timeout") {
		config.ConnConfig.ConnectTimeout = d.ConnectTimeout
	}
	if !has(dsn, "default_query_exec_mode") {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return config, nil
}

// has reports whether the connection string sets the parameter.
func has(dsn, parameter string) bool {
	if !strings.Contains(dsn, "://") {
		return strings.Contains(dsn, parameter) // keywords and values
	}
	u, err := url.Parse(dsn)
	return err == nil && u.Query().Has(parameter)
}

// oldest is the oldest server that the module works with, as server_version_num.
const oldest = 130_000

// A Server is the part of a server's state that decides whether anything can be
// kept on that server.
type Server struct {
	version  int
	standby  bool
	readOnly bool
}

// ServerColumns are the columns of a query for a Server.
const ServerColumns = `current_setting('server_version_num')::int, pg_is_in_recovery(),
	current_setting('default_transaction_read_only') = 'on'`

// Fields returns the destinations of ServerColumns.
func (s *Server) Fields() []any { return []any{&s.version, &s.standby, &s.readOnly} }

// Check returns an error with a remedy if nothing can be kept on the server.
func (s Server) Check() error {
	switch {
	case s.version < oldest:
		return fmt.Errorf("the server is PostgreSQL %d; use 13 or newer", s.version/10_000)
	case s.standby:
		return errors.New("the server is a standby, which takes no writes; connect to the primary, " +
			"for instance with several hosts and target_session_attrs=read-write in the URL")
	case s.readOnly:
		return errors.New("default_transaction_read_only is on, so that nothing can be written; " +
			"ALTER ROLE … SET default_transaction_read_only = off, or connect to the primary")
	}
	return nil
}
