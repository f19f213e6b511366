package settings

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// logging holds the flags of the log.
type logging struct {
	format string
	level  string
	inUse  slog.LevelVar
}

// levels are the values of --log-level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// addFlags adds the flags of the log.
func (l *logging) addFlags(f *pflag.FlagSet) {
	f.StringVar(&l.format, "log-format", "text", "`format` of the log on standard error: text (logfmt) or json")
	f.StringVar(&l.level, "log-level", "info",
		"least important `level` that is logged: debug, info, warn or error; the audit trail has the levels info and warn")
}

// faults refuses unknown formats and levels.
func (l *logging) faults() (all []error) {
	if l.format != "text" && l.format != "json" {
		all = append(all, cli.Flagf("log-format", "%q is neither text nor json", l.format))
	}
	if _, ok := levels[l.level]; !ok {
		all = append(all, cli.Flagf("log-level", "%q is none of debug, info, warn and error", l.level))
	}
	return all
}

// open returns the log. The level can be changed later.
func (l *logging) open(w io.Writer) *slog.Logger {
	l.setLevel(l.level)
	h := &slog.HandlerOptions{Level: &l.inUse}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, h))
	}
	return slog.New(slog.NewTextHandler(w, h))
}

// setLevel changes the level of the open log.
func (l *logging) setLevel(name string) { l.inUse.Set(levels[name]) }
