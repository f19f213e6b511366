package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/pgstore"
)

const postgresTimeout = time.Second

// postgresDeployment is a PostgreSQL. Each client has a network of its own.
func postgresDeployment(h *servers.Host) *deployment {
	server := servers.PostgreSQL(h)
	proxies := proxiesTo(h, fmt.Sprintf("127.0.0.1:%d", server.Port))
	dir := h.TempDir()
	d := &deployment{}
	for i, p := range proxies {
		config := pgstore.Config{
			URL:     fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", p.address()),
			Timeout: postgresTimeout, LineageFile: filepath.Join(dir, strconv.Itoa(i)),
			Log: slog.New(slog.DiscardHandler), // of faults
		}
		d.clients = append(d.clients, &handle{open: managed(func() (replay.Managed, error) {
			return pgstore.Open(context.Background(), config)
		})})
	}
	run := func(name string, weight int, forgets bool, sql string) fault {
		return fault{name: name, weight: weight, server: true, forgets: forgets, begin: func(*rand.Rand) func() {
			if err := execute(server.URL, sql); err != nil {
				h.Fatal(err)
			}
			return func() {}
		}}
	}
	stop := func(name string, weight int, stop func()) fault {
		return fault{name: name, weight: weight, server: true, lasts: 50 * time.Millisecond, takes: 700 * time.Millisecond,
			begin: func(*rand.Rand) func() { stop(); return server.Start }}
	}
	d.faults = append(linkFaults(proxies), restartOf(d.clients, func(i int) { proxies[i].reset() }),
		stop("killed", 3, server.Kill), stop("restarted", 1, server.Stop), pauseOf(server),
		run("sessions ended", 2, false, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
			"WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"),
		run("wiped", 1, true, "TRUNCATE admitone_replay.claims"),
	)
	return d
}

// execute runs SQL on a connection of its own.
func execute(url, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
