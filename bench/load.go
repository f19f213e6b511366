package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a keep-alive connection of the load generator. The requests are written out
// beforehand, and an answer is read with as little work as possible: the generator shares
// the machine with the server, so the generator's own time counts.
type conn struct {
	net.Conn
	buf []byte
	n   int // bytes of buf that are filled
}

func dial(address string) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, buf: make([]byte, 16<<10)}, nil
}

// patience is the time limit of every answer.
const patience = time.Minute

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// do sends a request and returns the answer: the status, the head with the status line, and
// the body. Head and body are valid until the next call. An answer without a Content-Length
// has no body: net/http gives every short answer a Content-Length.
func (c *conn) do(request []byte) (status int, head, body []byte, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, nil, nil, err
	}
	c.n = 0
	end := -1
	for end < 0 {
		if err := c.more(); err != nil {
			return 0, nil, nil, err
		}
		end = bytes.Index(c.buf[:c.n], endOfHead)
	}
	head = c.buf[:end+2]
	if len(head) < len("HTTP/1.1 200") {
		return 0, nil, nil, fmt.Errorf("no HTTP answer: %q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, nil, nil, fmt.Errorf("no status in %q", head)
	}
	length := 0
	if i := bytes.Index(head, contentLength); i >= 0 {
		for _, d := range head[i+len(contentLength):] {
			if d == '\r' {
				break
			}
			length = 10*length + int(d-'0')
		}
	}
	start := end + len(endOfHead)
	for c.n < start+length {
		if err := c.more(); err != nil {
			return 0, nil, nil, err
		}
	}
	if c.n > start+length {
		return 0, nil, nil, fmt.Errorf("bytes after the answer: %q", c.buf[start+length:c.n])
	}
	return status, c.buf[:end+2], c.buf[start:c.n], nil
}

// more reads the next bytes of an answer.
func (c *conn) more() error {
	if c.n == len(c.buf) {
		c.buf = slices.Grow(c.buf, len(c.buf))[:2*len(c.buf)]
	}
	n, err := c.Read(c.buf[c.n:])
	c.n += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return errors.New("the server closed the connection")
	}
	return err
}

// load describes a round of requests.
type load struct {
	conns []*conn // one a client

	// requests are sent in turn, again and again. With once, each request is sent once, and
	// the round ends with the last request.
	requests [][]byte
	once     bool

	// rate, if not 0, is the number of requests a second. They begin by a schedule, and the
	// latency of a request counts from its moment in the schedule.
	rate float64

	time time.Duration // the longest time of a round
	want int           // the status of a good answer
	also int           // another status of a good answer, or 0

	// answered, if not nil, gets the answer to request number i. Many goroutines call
	// answered at the same time.
	answered func(i, status int, body []byte)
}

// round is the outcome of a round.
type round struct {
	n       int
	took    time.Duration
	latency []time.Duration // of each request, sorted
}

func (r *round) perSecond() float64 { return float64(r.n) / r.took.Seconds() }

// quantile returns the latency below which a share q of the requests stayed.
func (r *round) quantile(q float64) time.Duration {
	return r.latency[min(int(q*float64(len(r.latency))), len(r.latency)-1)]
}

// run sends requests on all connections until the time or the requests end.
func (l *load) run() (*round, error) {
	var (
		wg      sync.WaitGroup
		next    atomic.Int64
		samples = make([][]time.Duration, len(l.conns))
		errs    = make([]error, len(l.conns))
	)
	start := time.Now()
	for k, c := range l.conns {
		samples[k] = make([]time.Duration, 0, 1<<14)
		if err := c.SetDeadline(start.Add(l.time + patience)); err != nil {
			return nil, err
		}
		wg.Go(func() {
			for now := start; now.Sub(start) < l.time; {
				i := int(next.Add(1) - 1)
				if l.once && i >= len(l.requests) {
					return
				}
				if l.rate > 0 {
					now = start.Add(time.Duration(float64(i) / l.rate * float64(time.Second)))
					if now.Sub(start) >= l.time {
						return
					}
					time.Sleep(time.Until(now))
				}
				i %= len(l.requests)
				status, _, body, err := c.do(l.requests[i])
				if err == nil && status != l.want && status != l.also {
					err = fmt.Errorf("status %d in place of %d: %s", status, l.want, body)
				}
				if err != nil {
					errs[k] = err
					return
				}
				if l.answered != nil {
					l.answered(i, status, body)
				}
				done := time.Now()
				samples[k] = append(samples[k], done.Sub(now))
				now = done
			}
		})
	}
	wg.Wait()
	r := &round{took: time.Since(start), latency: slices.Concat(samples...)}
	r.n = len(r.latency)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if r.n == 0 {
		return nil, errors.New("no request was sent")
	}
	slices.Sort(r.latency)
	return r, nil
}

// clients opens n connections.
func clients(address string, n int) (all []*conn, err error) {
	for range n {
		c, err := dial(address)
		if err != nil {
			hangUp(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func hangUp(all []*conn) {
	for _, c := range all {
		_ = c.Close()
	}
}
