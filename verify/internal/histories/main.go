// Command histories makes histories of the replay stores under faults, and has porcupine check
// that they are linearizable. It is a module of its own: porcupine stays out of admitone's
// requirements.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const help = `histories starts real stores, lets several clients claim the same few tickets, and inflicts
faults meanwhile: processes are killed and paused, links are cut in one direction or both,
replicas take over, disks are full. Each claim is recorded with its begin, its end and its
answer. A claim without an answer may have had an effect, or have it later. porcupine then
looks for an order of the claims that a correct store could have answered in the same way.

The seeds of a run are -seed and the numbers after it. The same seed makes the same claims and
faults again, as far as real time allows. A rejected history is printed, and the exit code is 1.
SIGTERM ends the run after the present histories, and the tables are printed.
histories needs Linux or another Unix, redis-server and PostgreSQL.

Usage:
  go run . [flags]

Examples:
  go run .
  go run . -stores postgres -histories 100
  go run . -stores sentinel -histories 1 -seed 212

Flags:
`

// errUsage marks a mistake on the command line.
var errUsage = errors.New("run go run . -help for the flags")

// errRejected is the end of a run with rejected histories.
var errRejected = errors.New("a history was rejected")

func main() {
	var err error
	if dir := os.Getenv(journalVariable); dir != "" {
		err = serveJournal(dir)
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "histories:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("histories", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(stderr, help)
		set.PrintDefaults()
	}
	known := slices.Sorted(maps.Keys(deployments))
	stores := set.String("stores", strings.Join(known, ","), "`stores`, separated by commas; they run side by side")
	count := set.Int("histories", 1000, "`number` of histories of each store")
	seed := set.Uint64("seed", 1, "`seed` of the first history")
	asJSON := set.Bool("json", false, "print JSON, one store a line, in place of Markdown")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w", errUsage)
	case set.NArg() > 0:
		return fmt.Errorf("histories takes no argument %q; %w", set.Arg(0), errUsage)
	case *count < 1:
		return fmt.Errorf("-histories must be above 0; %w", errUsage)
	}
	names := strings.Split(*stores, ",")
	for _, name := range names {
		if deployments[name] == nil {
			return fmt.Errorf("-stores: %q is none of %s; %w", name, strings.Join(known, ", "), errUsage)
		}
	}
	dir, err := os.MkdirTemp("", "admitone-histories-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var mu sync.Mutex
	say := func(text string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(stderr, text+"\n", args...)
	}
	rows, errs := make([]*row, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { rows[i], errs[i] = runStore(ctx, name, dir, *seed, *count, say) })
	}
	wg.Wait()
	err = errors.Join(errs...)
	rows = slices.DeleteFunc(rows, func(r *row) bool { return r == nil })
	for _, r := range rows {
		if len(r.Rejected) > 0 || r.Missed > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %w", r.Store, errRejected))
		}
	}
	return errors.Join(err, write(stdout, rows, *asJSON))
}

// row is the outcome of a store's histories.
type row struct {
	Store     string         `json:"store"`
	Histories int            `json:"histories"`
	First     uint64         `json:"first_seed"`
	Last      uint64         `json:"last_seed"`
	Claims    int            `json:"claims"`
	Answers   map[string]int `json:"answers"`
	Faults    map[string]int `json:"faults"`
	Rejected  []uint64       `json:"rejected_seeds"`
	Doctored  int            `json:"doctored"`
	Missed    int            `json:"doctored_accepted"` // a fault of the checker
	Seconds   float64        `json:"seconds"`
}

func newRow(name string, seed uint64) *row {
	return &row{Store: name, First: seed, Answers: map[string]int{}, Faults: map[string]int{}, Rejected: []uint64{}}
}

// progressEvery is the interval of the lines of progress.
const progressEvery = 10 * time.Second

// runStore makes and checks the histories of a store.
func runStore(ctx context.Context, name, dir string, seed uint64, count int, say func(string, ...any)) (*row, error) {
	begin := time.Now()
	say("%s: starting, with seed %d", name, seed)
	d, err := deploy(name, dir, deployments[name])
	if err != nil {
		return nil, err
	}
	defer d.end()
	w := newRow(name, seed)
	defer func() { w.Seconds = time.Since(begin).Seconds() }()
	next := begin.Add(progressEvery)
	for n := range uint64(count) {
		if ctx.Err() != nil {
			break
		}
		h, err := d.run(seed + n)
		if err != nil {
			say("%s: ended by an error after %d histories", name, w.Histories)
			return w, fmt.Errorf("%s: %w", name, err)
		}
		w.add(h, say)
		if time.Now().After(next) {
			say("%s: %d of %d histories, %d rejected", name, n+1, count, len(w.Rejected))
			next = time.Now().Add(progressEvery)
		}
	}
	say("%s: %d histories, %d rejected", name, w.Histories, len(w.Rejected))
	return w, nil
}

// add checks a history and counts it.
func (w *row) add(h *history, say func(string, ...any)) {
	w.Histories++
	w.Last = h.seed
	for r, n := range h.counts() {
		w.Claims += n
		if n > 0 {
			w.Answers[result(r).String()] += n
		}
	}
	for _, f := range h.faults {
		w.Faults[f]++
	}
	if !h.check() {
		w.Rejected = append(w.Rejected, h.seed)
		say("%s: REJECTED: %v", w.Store, h)
		return
	}
	for what, doctored := range h.doctored() {
		w.Doctored++
		if doctored.check() {
			w.Missed++
			say("%s: a doctored history (%s) was accepted: %v", w.Store, what, doctored)
		}
	}
}

// write prints the outcomes.
func write(to io.Writer, rows []*row, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(to)
		for _, r := range rows {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	b.WriteString("| store | seeds | histories | accepted | claims | admitted | repeated | used | refused | unknown " +
		"| doctored | of these rejected |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d to %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", r.Store, r.First, r.Last,
			r.Histories, r.Histories-len(r.Rejected), r.Claims, r.Answers["admitted"], r.Answers["repeated"],
			r.Answers["used"], r.Answers["refused"], r.Answers["unknown"], r.Doctored, r.Doctored-r.Missed)
	}
	b.WriteString("\n| store | faults |\n|---|---|\n")
	for _, r := range rows {
		var all []string
		for _, f := range slices.Sorted(maps.Keys(r.Faults)) {
			all = append(all, fmt.Sprintf("%s %d", f, r.Faults[f]))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", r.Store, strings.Join(all, ", "))
	}
	_, err := io.WriteString(to, b.String())
	return err
}
