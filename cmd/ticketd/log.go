package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// logOptions are the flags of the log.
type logOptions struct {
	format string
	level  string
}

func (l *logOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.format, "log-format", "text", "of the log on standard error: text (logfmt) or json")
	f.StringVar(&l.level, "log-level", "info", "the least important `level` that is logged: debug, info, warn or error; the audit trail is of info and warn")
}

func (l *logOptions) check() error {
	if l.format != "text" && l.format != "json" {
		return cli.Usagef("--log-format %q is neither text nor json", l.format)
	}
	if _, ok := levels[l.level]; !ok {
		return cli.Usagef("--log-level %q is none of debug, info, warn and error", l.level)
	}
	return nil
}

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// open returns the log, whose level can change.
func (l *logOptions) open(w io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(levels[l.level])
	h := &slog.HandlerOptions{Level: level}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}
