package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticket/internal/load"
)

// benched is the JSON form of the result of bench.
type benched struct {
	load.Report
	URL          string   `json:"url"`
	Explanations []string `json:"explanations"` // for people; empty with a good verdict
}

// reportBench prints the result of bench.
func (a *app) reportBench(r load.Report, c load.Config) error {
	a.worst = verdict(r.Verdict)
	b := benched{r, c.Service.URL, explainBench(r)}
	for i, f := range b.Failures {
		b.Failures[i].Example = cli.Printable(scrub(cli.InFlags(f.Example)))
	}
	var err error
	if a.json {
		err = a.print(b)
	} else {
		_, err = io.WriteString(a.stdout, benchText(r))
	}
	for _, line := range b.Explanations {
		fmt.Fprintf(a.stderr, "ticket: %s\n", line)
	}
	return err
}

// benchText shows the figures of a load.
func benchText(r load.Report) string {
	n := func(count int) string { return humanize.Comma(int64(count)) }
	var b strings.Builder
	fmt.Fprintf(&b, "rate       %.4g tickets a second for %.4gs, %.4g asked for: %s begun, %s late, %s not begun\n",
		r.BegunRate, r.Seconds, r.Rate, n(r.Begun), n(r.Late), n(r.NotBegun))
	fmt.Fprintf(&b, "tickets    %s issued: %s admitted once, %s double entries, %s good refused, %s cannot tell\n",
		n(r.Issued), n(r.AdmittedOnce), n(r.DoubleEntries), n(r.GoodRefused), n(r.CannotTell))
	fmt.Fprintf(&b, "replays    %s tickets, %s tries rightly refused\n", n(r.Replayed), n(r.ReplaysRefused))
	fmt.Fprintf(&b, "failures   %s requests; %s redemptions sent again\n\n", n(failedRequests(r)), n(r.Repeated))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "latency\trequests\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t")
	for _, row := range []struct {
		name string
		load.Latency
	}{{"issue", r.Issue}, {"redeem", r.Redeem}} {
		fmt.Fprintf(w, "%-8s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n",
			row.name, n(row.Count), row.P50, row.P90, row.P99, row.P999, row.Max)
	}
	_ = w.Flush() // into memory
	so := ""
	if r.Interrupted {
		so = fmt.Sprintf(", of a load that was interrupted; tickets without a verdict: %d", r.CutOff)
	}
	fmt.Fprintf(&b, "\nverdict    %s%s\n", r.Verdict, so)
	return b.String()
}

// explainBench explains a verdict, and tells the remedy.
func explainBench(r load.Report) []string {
	all := []string{}
	say := func(format string, args ...any) {
		all = append(all, cli.Printable(scrub(fmt.Sprintf(format, args...))))
	}
	if r.DoubleEntries > 0 {
		say("double entry: tickets that were admitted more than once: %d; look for their IDs in the service's log: %s",
			r.DoubleEntries, exampleList(r.DoubleEntryIDs))
	}
	if r.GoodRefused > 0 {
		say("good tickets that were refused: %d; look for their IDs in the service's log: %s",
			r.GoodRefused, exampleList(r.GoodRefusedIDs))
	}
	for _, f := range r.Failures {
		say("failed requests: %d; the first: %s", f.Count, cli.InFlags(f.Example))
	}
	if slices.ContainsFunc(r.Failures, func(f load.Failure) bool { return f.Status == http.StatusTooManyRequests }) {
		say("the service limits the requests of the API key: lower --rate, or raise the service's --rate-limit")
	}
	if missed := r.Late + r.NotBegun; float64(missed) > load.LateShare*float64(r.Planned) {
		limit := "this machine is too slow or too busy for the rate"
		if r.AtBound > 0 {
			limit = "the bound of --in-flight was reached: the service is too slow for the rate, or the bound too low"
		}
		say("the rate was not kept: of %d tickets, %d began over %v late, and %d did not begin; %s",
			r.Planned, r.Late, load.Tolerance, r.NotBegun, limit)
	}
	return all
}

func exampleList(examples []load.Example) string {
	var all []string
	for _, e := range examples {
		text := e.ID
		if text == "" {
			text = "unknown ID"
		}
		if e.Reason != "" {
			text += " (" + string(e.Reason) + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// progress shows the state of a load on standard error: on a terminal a line in place of
// the last one, and otherwise a line every 10 seconds.
type progress struct {
	w        io.Writer
	terminal bool
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu    sync.Mutex
	shown int // characters of the line on the terminal
}

func (a *app) showProgress(l *load.Load, of time.Duration) *progress {
	p := &progress{w: a.stderr, stop: make(chan struct{})}
	if f, ok := a.stderr.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	every := 10 * time.Second
	if p.terminal {
		every = time.Second
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.show(progressLine(l.Report(), of))
			}
		}
	})
	return p
}

func progressLine(r load.Report, of time.Duration) string {
	seconds := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	line := fmt.Sprintf("%v of %v: %d begun, %d late, %d in flight, p99 %.3g ms to issue, %.3g ms to redeem, %d failures",
		seconds, of, r.Begun, r.Late, r.InFlight, r.Issue.P99, r.Redeem.P99, failedRequests(r))
	if r.DoubleEntries+r.GoodRefused > 0 {
		line += fmt.Sprintf(", %d double entries, %d good tickets refused", r.DoubleEntries, r.GoodRefused)
	}
	return line
}

func failedRequests(r load.Report) (n int) {
	for _, f := range r.Failures {
		n += f.Count
	}
	return n
}

// show prints the state.
func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprintf(p.w, "\r%-*s", p.shown, line)
	p.shown = len(line)
}

// say prints a line to keep.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.w, line)
}

func (p *progress) clear() {
	if p.shown > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.shown, "")
	}
	p.shown = 0
}

// end stops the progress, and clears its line.
func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	p.clear()
}
