package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
)

// journalVariable names the journal's directory to a process that owns a journal.
const journalVariable = "ADMITONE_HISTORIES_JOURNAL"

// journalTimeout bounds a claim, as a login service does.
const journalTimeout = 400 * time.Millisecond

// request is a claim for the journal's process. With Limit, it sets the size of the largest
// file that the process may write, as a full disk does; below 0, there is none.
type request struct {
	ID    uint64
	Claim replay.Claim
	Limit bool
	Size  int64
}

type reply struct {
	ID     uint64
	Answer replay.Answer
	Err    string // the claim is unavailable
	Wrong  bool   // the error is another one
}

// serveJournal is the process of a journal: requests come in on standard input.
func serveJournal(dir string) error {
	signal.Ignore(syscall.SIGXFSZ) // writes beyond the limit fail
	store, err := journal.Open(context.Background(), journal.Config{
		Dir: dir, Log: slog.New(slog.DiscardHandler), // of folders that were restored
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := gob.NewEncoder(os.Stdout)
	send := func(r reply) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(r)
	}
	send(reply{}) // the journal is open
	in := gob.NewDecoder(os.Stdin)
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			return nil // the parent has ended
		}
		if r.Limit {
			limit := syscall.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)}
			if r.Size >= 0 {
				limit.Cur = uint64(r.Size)
			}
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
				return err
			}
			continue
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), journalTimeout)
			defer cancel()
			a, err := store.Claim(ctx, r.Claim)
			answer := reply{ID: r.ID, Answer: a}
			if err != nil {
				answer.Err, answer.Wrong = err.Error(), !unavailable(err)
			}
			send(answer)
		}()
	}
}

// owner is a process that owns a journal.
type owner struct {
	cmd *exec.Cmd

	mu      sync.Mutex
	in      *gob.Encoder
	waiting map[uint64]chan reply
	next    uint64
	ended   bool
	over    chan struct{} // closed when the process has ended
}

var errEnded = fmt.Errorf("%w: the journal's process has ended", replay.ErrUnavailable)

// startOwner starts a process, and returns when the journal is open.
func startOwner(dir string) (*owner, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := &owner{cmd: exec.Command(exe), waiting: make(map[uint64]chan reply), over: make(chan struct{})}
	o.cmd.Env = append(os.Environ(), journalVariable+"="+dir)
	o.cmd.Stderr = os.Stderr
	in, err := o.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := o.cmd.Start(); err != nil {
		return nil, err
	}
	o.in = gob.NewEncoder(in)
	from := gob.NewDecoder(out)
	var r reply
	if err := from.Decode(&r); err != nil {
		return nil, errors.Join(errors.New("the journal's process did not start"), o.cmd.Wait())
	}
	go o.read(from)
	return o, nil
}

// read hands on replies until the process has ended.
func (o *owner) read(from *gob.Decoder) {
	for {
		var r reply
		if err := from.Decode(&r); err != nil {
			break
		}
		o.mu.Lock()
		waiting := o.waiting[r.ID]
		delete(o.waiting, r.ID)
		o.mu.Unlock()
		if waiting != nil {
			waiting <- r
		}
	}
	o.mu.Lock()
	o.ended = true
	for _, waiting := range o.waiting {
		close(waiting)
	}
	o.waiting = nil
	o.mu.Unlock()
	_ = o.cmd.Wait()
	close(o.over)
}

// Claim has the process claim.
func (o *owner) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	answered := make(chan reply, 1)
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return replay.Answer{}, errNotSent
	}
	o.next++
	id := o.next
	o.waiting[id] = answered
	err := o.in.Encode(request{ID: id, Claim: c})
	o.mu.Unlock()
	if err != nil {
		return replay.Answer{}, errEnded
	}
	ctx, cancel := context.WithTimeout(ctx, 2*journalTimeout)
	defer cancel()
	select {
	case r, ok := <-answered:
		switch {
		case !ok:
			return replay.Answer{}, errEnded
		case r.Wrong:
			return replay.Answer{}, errors.New(r.Err)
		case r.Err != "":
			return replay.Answer{}, fmt.Errorf("%w: %s", replay.ErrUnavailable, r.Err)
		}
		return r.Answer, nil
	case <-ctx.Done():
		return replay.Answer{}, replay.Unavailable(ctx.Err())
	}
}

// Peek is not used.
func (o *owner) Peek(context.Context, replay.Claim) (replay.Answer, error) {
	return replay.Answer{}, replay.ErrUnavailable
}

func (o *owner) limit(size int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		_ = o.in.Encode(request{Limit: true, Size: size})
	}
}

func (o *owner) signal(s syscall.Signal) { _ = o.cmd.Process.Signal(s) }

// kill ends the process, and returns when it has ended.
func (o *owner) kill() {
	o.signal(syscall.SIGKILL)
	<-o.over
}

// journalRig is a journal whose clients share a process, or are divided while another
// process takes over.
type journalRig struct {
	host    *servers.Host
	dir     string
	handles []*handle
	owners  []*owner // alive
}

func journalDeployment(h *servers.Host) *deployment {
	g := &journalRig{host: h, dir: filepath.Join(h.TempDir(), "journal")}
	for range clients {
		g.handles = append(g.handles, &handle{open: func() (replay.Store, func(), error) { return nil, nil, errNotSent }})
	}
	h.Cleanup(g.stop)
	g.start(g.handles)
	return &deployment{clients: g.handles, faults: g.faults()}
}

// start starts a process for some clients.
func (g *journalRig) start(handles []*handle) {
	o, err := startOwner(g.dir)
	if err != nil {
		g.host.Fatal(err)
	}
	g.owners = append(g.owners, o)
	for _, h := range handles {
		h.mu.Lock()
		h.store = o
		h.mu.Unlock()
	}
}

// stop kills all processes.
func (g *journalRig) stop() {
	for _, o := range g.owners {
		o.kill()
	}
	g.owners = nil
}

func (g *journalRig) faults() []fault {
	const longest = 60 * time.Millisecond
	start := func() { g.start(g.handles) }
	return []fault{
		{name: "killed", weight: 4, server: true, lasts: longest / 4, takes: 50 * time.Millisecond,
			begin: func(*rand.Rand) func() { g.stop(); return start }},
		{name: "paused", weight: 3, server: true, lasts: 3 * longest, begin: func(*rand.Rand) func() {
			o := g.owners[0]
			o.signal(syscall.SIGSTOP)
			return func() { o.signal(syscall.SIGCONT) }
		}},
		{name: "disk full", weight: 4, server: true, lasts: longest, takes: 50 * time.Millisecond, begin: g.fullDisk},
		{name: "taken over", weight: 3, server: true, lasts: longest, takes: 50 * time.Millisecond, forgets: true,
			begin: g.takeOver},
		{name: "wiped", weight: 1, server: true, lasts: longest / 4, takes: 50 * time.Millisecond, forgets: true,
			begin: func(*rand.Rand) func() {
				g.stop()
				g.must(os.RemoveAll(g.dir))
				return start
			}},
		{name: "restored", weight: 1, server: true, lasts: longest, takes: 50 * time.Millisecond, forgets: true,
			begin: func(*rand.Rand) func() {
				backup := g.dir + "-backup"
				g.must(os.CopyFS(backup, os.DirFS(g.dir)))
				return func() {
					g.stop()
					g.must(os.RemoveAll(g.dir))
					g.must(os.Rename(backup, g.dir))
					g.start(g.handles)
				}
			}},
	}
}

func (g *journalRig) must(err error) {
	if err != nil {
		g.host.Fatal(err)
	}
}

// fullDisk lets writes fail, beyond any size or beyond one that cuts a record. The process is
// killed meanwhile, or not.
func (g *journalRig) fullDisk(r *rand.Rand) func() {
	limit := []int64{0, int64(r.IntN(4000))}[r.IntN(2)]
	kill := r.IntN(2) == 0
	o := g.owners[0]
	o.limit(limit)
	return func() {
		if kill {
			g.stop()
			g.start(g.handles)
			return
		}
		o.limit(-1)
	}
}

// takeOver starts a second owner, on a file system whose locks exclude nobody. The first
// owner is paused meanwhile, or not, and goes on for one client.
func (g *journalRig) takeOver(r *rand.Rand) func() {
	first, paused := g.owners[0], r.IntN(2) == 0
	if paused {
		first.signal(syscall.SIGSTOP)
	}
	g.must(os.Remove(filepath.Join(g.dir, "lock")))
	g.start(g.handles[1:])
	if paused {
		first.signal(syscall.SIGCONT)
	}
	return func() {
		first.kill()
		g.owners = g.owners[1:]
		h := g.handles[0]
		h.mu.Lock()
		defer h.mu.Unlock()
		h.store = g.owners[0]
	}
}
