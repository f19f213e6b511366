package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server in a process of its own.
type process struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	log     string // file with its standard error
	address string // of the service
	metrics string // address of /metrics
}

// begin starts a server with standard error in a log file. It returns when ready finds the
// server's addresses in the log.
func begin(cmd *exec.Cmd, log string, ready func(p *process, log []byte) bool) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, ended: make(chan struct{}), log: log}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		said, err := os.ReadFile(log)
		if err != nil {
			return nil, errors.Join(err, p.end())
		}
		if ready(p, said) {
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %s", cmd.Path, said)
		default:
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("%s does not listen: %s", cmd.Path, said), p.end())
		}
	}
}

// end stops the process in good order.
func (p *process) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end in %v", p.cmd.Path, patience)
	}
}

// usage has the resources of a process, in use and used up.
type usage struct {
	cpu         time.Duration // user and system
	resident    int64         // bytes
	file        int64         // of the resident bytes, those of files: the binary and its libraries
	descriptors int
}

// ticks is the number of clock ticks of /proc in a second, the same on all Linux systems.
const ticks = 100

func (p *process) usage() (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may have spaces. The fields after it are numbered from 3.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	for _, f := range []string{fields[14-3], fields[15-3]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * time.Second / ticks
	}
	memory, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return u, err
	}
	var size, resident, file int64 // in pages
	if _, err := fmt.Sscan(string(memory), &size, &resident, &file); err != nil {
		return u, fmt.Errorf("%s/statm: %w", dir, err)
	}
	u.resident, u.file = resident*int64(os.Getpagesize()), file*int64(os.Getpagesize())
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	u.descriptors = len(open)
	return u, err
}

// scrape returns a metric of the process, such as go_memstats_mallocs_total.
func (p *process) scrape(name string) (float64, error) {
	c, err := dial(p.metrics)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	// HTTP/1.0, so that the answer ends with the connection.
	if _, err := fmt.Fprintf(c, "GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n", p.metrics); err != nil {
		return 0, err
	}
	for err == nil {
		err = c.more()
	}
	_, rest, ok := strings.Cut(string(c.buf[:c.n]), "\n"+name+" ")
	if !ok {
		return 0, fmt.Errorf("http://%s/metrics has no %s: %w", p.metrics, name, err)
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseFloat(strings.TrimSpace(value), 64)
}
