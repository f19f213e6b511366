package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mutate returns b changed in one to four places.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	pieces := []string{"\x00", "\xff", "\r\n", "\n", "%", "%0d%0a", "\"", "{", "}", "[", ":", ",", "null", "-1", "1e999",
		"\\ud800", "\\u0000", "é", "\u2028",
		strings.Repeat("[", 500), strings.Repeat(`{"a":`, 500), strings.Repeat("x", 3000), `"data":{`,
		"../", "//", "?ta=", "&ta=tkt1_", "Bearer ", "adm_", "\xed\xa0\x80"}
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return b
		}
		i := r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[i] ^= byte(1 << r.IntN(8))
		case 1:
			b = append(b[:i:i], b[min(len(b), i+1+r.IntN(10)):]...)
		case 2:
			b = append(b[:i:i], append([]byte(pieces[r.IntN(len(pieces))]), b[i:]...)...)
		case 3:
			b = b[:i]
		case 4:
			j := min(len(b), i+1+r.IntN(60))
			b = append(b[:j:j], b[i:]...) // said twice
		case 5:
			b[i] = byte(r.IntN(256))
		}
	}
	return b
}

// Ten thousand malformed requests, in body, headers and path, sent as they are: no
// 500, no panic, no ticket from a body that is no request, and no memory kept.
func TestMalformedRequests(t *testing.T) {
	total := 10_000
	if testing.Short() {
		total = 1000
	}
	w := newWorld(t)
	both := w.redeemKey()
	ticket := w.ticket(w.key, strings.Replace(reference, "true", "false", 1))
	address := strings.TrimPrefix(w.server.URL, "http://")
	type seed struct{ method, path, headers, body string }
	seeds := []seed{
		{"POST", "/auth/ticket", "Authorization: Bearer " + w.key + "\r\nContent-Type: application/json\r\n", `{"data":` + reference + `}`},
		{"POST", "/auth/ticket", "Authorization: Bearer " + w.key + "\r\n", reference},
		{"POST", "/auth/redeem", "Authorization: Bearer " + both + "\r\n", `{"ticket":"` + ticket + `","audience":"agent","binding":"0123456789abcdef"}`},
		{"POST", "/auth/inspect", "Authorization: Bearer " + both + "\r\n", `{"ticket":"` + ticket + `","audience":"customer","channelCode":"abc","address":"::1"}`},
		{"POST", "/auth/revoke", "Authorization: Bearer " + w.key + "\r\n", `{"ticket":"` + w.ticket(w.key, reference) + `"}`},
		{"POST", "/auth/revoke", "Authorization: Bearer " + w.key + "\r\n", `{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`},
		{"GET", "/login?ta=" + ticket, "Cookie: admitone_agent=x; a=b\r\nX-Forwarded-For: 1.2.3.4\r\nSec-Purpose: prefetch\r\n", ""},
		{"POST", "/login", "Content-Type: application/x-www-form-urlencoded\r\n", "ta=" + ticket},
		{"GET", w.chatPath("commbox", "web") + "?ta=" + ticket, "Forwarded: for=1.2.3.4\r\n", ""},
		{"GET", "/docs", "", ""},
	}
	request := func(r *rand.Rand) []byte {
		s := seeds[r.IntN(len(seeds))]
		line, headers, body := []byte(s.method+" "+s.path+" HTTP/1.1\r\n"), []byte(s.headers), []byte(s.body)
		switch part := r.IntN(10); {
		case part < 5 && len(body) > 0:
			body = mutate(r, body)
		case part < 7 && len(headers) > 0:
			headers = mutate(r, headers)
		case part < 9:
			line = mutate(r, line)
		default:
			headers = append(headers, bytes.Repeat([]byte("X-Long: "+strings.Repeat("y", 200)+"\r\n"), r.IntN(400))...)
		}
		return fmt.Appendf(nil, "%sHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", line, len(body), headers,
			body)
	}
	send := func(sent []byte) (status int, err error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		go func() { // the server may answer, and stop reading, before it has all
			_, _ = conn.Write(sent)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, nil // the server hung up: what came was no HTTP
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		if err != nil && res.StatusCode < 300 {
			return 0, err
		}
		return res.StatusCode, nil
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	first := uint64(time.Now().UnixNano())
	t.Logf("seed %d", first)
	var mu sync.Mutex
	statuses := make(map[int]int)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(first, uint64(worker)))
			for range total / 8 {
				sent := request(r)
				status, err := send(sent)
				// Where there is more than it reads, a server cuts the connection soon after
				// its answer: too soon for who reads late.
				for tries := 0; errors.Is(err, syscall.ECONNRESET) && tries < 10; tries++ {
					status, err = send(sent)
				}
				if !assert.NoError(t, err) {
					return
				}
				assert.NotEqual(t, http.StatusInternalServerError, status, "%q", sent[:min(len(sent), 2000)])
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("answers by status: %v", statuses)
	assert.NotContains(t, w.log.String(), "panic")
	assert.NotContains(t, w.log.String(), "level=ERROR")
	assert.Positive(t, statuses[400])
	assert.Positive(t, statuses[401])
	assert.Positive(t, statuses[404])
	// What is kept is the log of this test, and connections that are closing.
	grown := int64(heap()) - int64(before) - 3*int64(len(w.log.String()))
	assert.Less(t, grown, int64(32<<20), "no memory is kept")
	require.Equal(t, http.StatusOK, w.ask(w.key, reference).status)
}

// FuzzParseRedemption: whatever the body, it is read or refused with words.
func FuzzParseRedemption(f *testing.F) {
	f.Add(`{"ticket":"tkt1_x","audience":"agent","binding":"0123456789abcdef"}`)
	f.Add(`{"data":{"ticket":"%2574","audience":"customer","channel":"x","address":"::1%x"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		q, wrong, err := parseRedemption([]byte(body))
		if err == nil && len(wrong) == 0 {
			require.NotEmpty(t, q.Ticket)
			require.NotEmpty(t, q.Audience)
		}
		for _, w := range wrong {
			require.NotEmpty(t, w.Reason)
		}
	})
}

// FuzzParseRevocation: whatever the body, it names one ticket or is refused with words.
func FuzzParseRevocation(f *testing.F) {
	f.Add(`{"ticket":"tkt1_x"}`)
	f.Add(`{"data":{"brand":"commbox","ticketId":"00112233445566778899AABBCCDDEEFF"}}`)
	f.Add(`{"ticket":"tkt1_x","brand":"commbox","ticketId":"%30"}`)
	f.Fuzz(func(t *testing.T, body string) {
		q, id, wrong, err := parseRevocation([]byte(body))
		if err == nil && len(wrong) == 0 {
			require.NotEqual(t, q.Ticket == "", q.Brand == "")
			require.Equal(t, q.Ticket == "", id.String() == strings.ToLower(q.TicketID))
		}
		for _, w := range wrong {
			require.NotEmpty(t, w.Reason)
		}
	})
}

// FuzzObject: a body is taken or refused as encoding/json does, and each of its members has the
// same name and value.
func FuzzObject(f *testing.F) {
	for _, body := range []string{
		reference, `{"data":` + reference + `}`, `{"a":"\ud83d\ude00","A":1}`, `{"a":[{}],"b":{"a":1},"a":2}`, `{"x":"\ud83d"}`,
		`{"":null,"\u0000":1e400}`, ` {} `, `[]`, `{"a":1}{}`, `{"a":.5}`, "{\"a\":\"\x7f\"}",
	} {
		f.Add(body)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, body string) {
		all, err := readObject([]byte(body), "{}")
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal([]byte(body), &want)
		if errors.Is(err, errFields) || !utf8.ValidString(body) {
			require.Error(t, err)
			return
		}
		if err != nil {
			require.True(t, wantErr != nil || want == nil, "%v", err)
			return
		}
		require.NoError(t, wantErr)
		for _, m := range all {
			value, ok := want[m.name]
			require.True(t, ok, "%q", m.name)
			switch {
			case m.twice != "": // want has the last one
			case m.inner != nil || m.value == "{":
				require.Equal(t, byte('{'), value[0])
			default:
				require.Equal(t, string(value), m.value)
			}
		}
		for name := range want {
			require.True(t, slices.ContainsFunc(all, func(m member) bool { return sameName(m.name, name) }), "%q", name)
		}
	})
}
