package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// programs are the commands of the main module, the largest first.
var programs = []string{"ticketd", "ticket", "keyring"}

// build builds a program of this checkout as for a release, in dir, unless the program is
// there, and returns the path.
func build(dir, program string) (exe string, err error) {
	exe = filepath.Join(dir, program)
	if _, err := os.Stat(exe); err == nil {
		return exe, nil
	}
	return exe, buildAs(exe, program, "-trimpath", "-ldflags=-s -w")
}

// buildAs builds a program of this checkout with flags of go build.
func buildAs(exe, program string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", exe}, flags...), "./cmd/"+program)...)
	cmd.Dir = repository()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", program, err, out)
	}
	return nil
}

// start is a program that is started again and again.
type start struct {
	name string
	exe  string
	run  func() (*begun, error)

	ready, cpu, memory, file []float64 // ms, ms, MiB, MiB
}

// begun has the measurements of one start.
type begun struct {
	ready, cpu time.Duration
	resident   int64 // bytes; 0 for a command, which ends
	file       int64
}

// startTable measures the start of each program, and the memory of an idle service.
func (b *bench) startTable(emit func(*table) error) error {
	t := &table{
		Name: "start", Title: "Start",
		Columns: []string{"program", "binary MB", "ready ms", "CPU ms", "idle MiB", "of these, of files"},
	}
	t.note("The programs are built with -trimpath -ldflags='-s -w'. A service is ready at the first 200 of /readyz, and " +
		"a command when --version has ended. demo first makes its keys and its directory; serve has SQLite and a journal. " +
		"The idle memory is the resident set of the process after the time of a round. The pages of files are those of the " +
		"binary, which processes share and which the kernel can drop.")
	s, err := b.service()
	if err != nil {
		return err
	}
	all := []*start{
		{name: "ticketd demo", exe: s.exe, run: func() (*begun, error) { return b.startService(s, "demo") }},
		{name: "ticketd serve", exe: s.exe, run: func() (*begun, error) { return b.startService(s, "serve") }},
	}
	for _, name := range programs[1:] {
		b.progress("start: building %s", name)
		exe, err := build(b.dir, name)
		if err != nil {
			return err
		}
		all = append(all, &start{name: name, exe: exe, run: func() (*begun, error) { return runCommand(exe) }})
	}
	for i := range b.rounds + 1 {
		b.progress("start: round %d of %d", i+1, b.rounds+1)
		for _, x := range all {
			got, err := x.run()
			if err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			if i == 0 { // warm-up: the binary comes from the disk
				continue
			}
			x.ready, x.cpu = append(x.ready, micros(got.ready)/1000), append(x.cpu, micros(got.cpu)/1000)
			if got.resident > 0 {
				x.memory, x.file = append(x.memory, float64(got.resident)/(1<<20)), append(x.file, float64(got.file)/(1<<20))
			}
		}
	}
	for _, x := range all {
		info, err := os.Stat(x.exe)
		if err != nil {
			return err
		}
		t.row(x.name, megabytes(info.Size()), median(x.ready), median(x.cpu), median(x.memory), median(x.file))
	}
	return emit(t)
}

// startService starts ticketd with a subcommand, waits until it is ready and then idle, and
// ends it.
func (b *bench) startService(s *service, subcommand string) (*begun, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := s.command(subcommand, "--listen", address)
	if subcommand == "demo" { // in a folder of its own
		dir, err := os.MkdirTemp(b.dir, "demo-")
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "ADMITONE_DATA="+dir)
	}
	from := time.Now()
	p, err := begin(cmd, filepath.Join(b.dir, subcommand+".log"), func(p *process, _ []byte) bool {
		p.address = address
		return isReady(address)
	})
	if err != nil {
		return nil, err
	}
	got := &begun{ready: time.Since(from)}
	u, err := p.usage()
	if err == nil {
		got.cpu = u.cpu
		time.Sleep(b.time)
		u, err = p.usage()
		got.resident, got.file = u.resident, u.file
	}
	if ended := p.end(); err == nil {
		err = ended
	}
	return got, err
}

// isReady reports whether a service answers 200 at /readyz.
func isReady(address string) bool {
	r, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// runCommand runs a command that prints its version.
func runCommand(exe string) (*begun, error) {
	cmd := exec.Command(exe, "--version")
	from := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return &begun{ready: time.Since(from), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
