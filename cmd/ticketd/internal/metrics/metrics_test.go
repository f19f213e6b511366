package metrics

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	tkt "github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/memory"
)

// lint wants names, types and help texts as Prometheus' users expect them.
func lint(t *testing.T, m *Metrics) {
	t.Helper()
	problems, err := testutil.GatherAndLint(m.registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// scrape returns what a scrape says of our own metrics.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.Equal(t, 200, w.Code, string(body))
	return string(body)
}

func TestMetrics(t *testing.T) {
	m := New()
	m.Issued(&tkt.Ticket{Audience: tkt.Agent, OneTime: true})
	m.Issued(&tkt.Ticket{Audience: tkt.Customer})
	now := time.Unix(1_800_000_000, 0)
	redeemed := tkt.Ticket{IssuedAt: now.Add(-15 * time.Second), Lifetime: time.Minute}
	m.Verified(Redeem, redeemed, nil, now)
	m.Verified(Redeem, tkt.Ticket{IssuedAt: now.Add(time.Second), Lifetime: time.Minute}, nil, now)
	m.Verified(Redeem, tkt.Ticket{}, &verify.Error{Reason: verify.Forged}, now)
	m.Verified(Redeem, tkt.Ticket{}, &verify.Error{Reason: "commbox"}, now)
	m.Verified(Redeem, tkt.Ticket{}, errors.New("tkt1_secret"), now)
	m.Verified(Inspect, redeemed, nil, now)
	m.Request("GET /login", 303, 3*time.Millisecond)
	m.Request("none", 404, time.Millisecond)
	lint(t, m)
	text := scrape(t, m)
	for _, line := range []string{
		`ticketd_tickets_issued_total{audience="agent",one_time="true"} 1`,
		`ticketd_tickets_issued_total{audience="agent",one_time="false"} 0`,
		`ticketd_tickets_issued_total{audience="customer",one_time="false"} 1`,
		`ticketd_ticket_verifications_total{call="redeem",result="accepted"} 2`,
		`ticketd_ticket_verifications_total{call="redeem",result="forged"} 1`,
		`ticketd_ticket_verifications_total{call="redeem",result="already_used"} 0`,
		`ticketd_ticket_verifications_total{call="redeem",result="other"} 2`,
		`ticketd_ticket_verifications_total{call="inspect",result="accepted"} 1`,
		`ticketd_redeemed_ticket_age_ratio_bucket{le="0.2"} 1`,
		`ticketd_redeemed_ticket_age_ratio_bucket{le="0.3"} 2`,
		`ticketd_redeemed_ticket_age_ratio_sum 0.25`,
		`ticketd_redeemed_ticket_age_ratio_count 2`,
		`ticketd_http_requests_total{code="303",route="GET /login"} 1`,
		`ticketd_http_request_duration_seconds_count{route="none"} 1`,
		`go_goroutines `,
		`go_build_info{`,
		`process_start_time_seconds `,
	} {
		assert.Contains(t, text, line)
	}
	for _, secret := range []string{"commbox", "tkt1_"} {
		assert.NotContains(t, text, secret)
	}
}

// stub answers what it is told to.
type stub struct {
	answer replay.Answer
	err    error
}

func (s *stub) Claim(context.Context, replay.Claim) (replay.Answer, error) { return s.answer, s.err }
func (s *stub) Peek(context.Context, replay.Claim) (replay.Answer, error)  { return s.answer, s.err }

// Every answer and every error of a store is counted under its own word, and
// passed on as it is.
func TestClaimsAreCounted(t *testing.T) {
	m := New()
	s := new(stub)
	counted := m.Store(s)
	outage := errors.Join(errors.New("down"), replay.ErrUnavailable)
	rows := []struct {
		answer replay.Answer
		err    error
		result string
	}{
		{replay.Answer{Status: replay.Admitted, Repeated: true, FirstUsed: time.Now()}, nil, "repeated"},
		{replay.Answer{}, outage, "unavailable"},
		{replay.Answer{}, errors.New("no claim"), "invalid"},
		{replay.Answer{}, nil, "other"},
		{replay.Answer{Status: replay.ClockBehind + 1}, nil, "other"},
	}
	for status := replay.Admitted; status <= replay.ClockBehind; status++ {
		rows = append(rows, struct {
			answer replay.Answer
			err    error
			result string
		}{replay.Answer{Status: status}, nil, status.String()})
	}
	want := make(map[string]int)
	for _, row := range rows {
		s.answer, s.err = row.answer, row.err
		a, err := counted.Claim(t.Context(), replay.Claim{})
		assert.Equal(t, row.answer, a)
		assert.Equal(t, row.err, err)
		_, _ = counted.Peek(t.Context(), replay.Claim{}) // which is none
		want[row.result]++
	}
	text := scrape(t, m)
	for result, n := range want {
		assert.Contains(t, text, `ticketd_replay_claims_total{result="`+result+`"} `+strconv.Itoa(n)+"\n")
	}
	assert.Contains(t, text, "ticketd_replay_claim_duration_seconds_count "+strconv.Itoa(len(rows))+"\n")
	lint(t, m)
}

// Every reason of package verify has its word here.
func TestReasonsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../../../verify/reason.go", nil, 0)
	require.NoError(t, err)
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Reason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			declared = append(declared, value)
		}
		return true
	})
	require.Greater(t, len(declared), 10)
	var known []string
	for _, r := range reasons {
		known = append(known, string(r))
	}
	assert.ElementsMatch(t, declared, known)
}

// The state of stores in this process. That of the others is shown in the tests of
// ticketd, with servers.
func TestStateOfMemoryAndJournal(t *testing.T) {
	now := time.Now()
	claim := func(n byte) replay.Claim {
		return replay.Claim{
			Nonce: [16]byte{n}, Issued: now.Add(time.Minute), NotBefore: now.Add(time.Minute),
			Expires: now.Add(2 * time.Minute), RetainUntil: now.Add(3 * time.Minute),
		}
	}
	redeem := func(t *testing.T, s replay.Store) {
		for _, n := range []byte{1, 2, 1, 1} {
			_, err := s.Claim(t.Context(), claim(n))
			require.NoError(t, err)
		}
	}
	t.Run("memory", func(t *testing.T) {
		m := New()
		s, err := memory.Open(t.Context(), memory.Config{MaxBytes: 1 << 20})
		require.NoError(t, err)
		m.WatchStore("memory", s)
		redeem(t, s)
		lint(t, m)
		text := scrape(t, m)
		for _, line := range []string{
			`ticketd_replay_up{store="memory"} 1`,
			"ticketd_replay_live_nonces 2\n",
			"ticketd_replay_bound_bytes 1.048576e+06\n",
			`ticketd_replay_maybe_total{settled="true"} 2`,
			`ticketd_replay_maybe_total{settled="false"} 0`,
			"ticketd_replay_clock_behind_seconds 0\n",
			"ticketd_replay_epoch_timestamp_seconds 1.",
			"ticketd_replay_filter_error_ratio ",
		} {
			assert.Contains(t, text, line)
		}
		st, err := s.Stats(t.Context())
		require.NoError(t, err)
		assert.InDelta(t, 1-float64(st.Bytes)/(1<<20), value(t, text, "ticketd_replay_headroom_ratio"), 1e-9)
		assert.EqualValues(t, st.Bytes, value(t, text, "ticketd_replay_used_bytes"))
	})
	t.Run("journal", func(t *testing.T) {
		m := New()
		s, err := journal.Open(t.Context(), journal.Config{Dir: t.TempDir()})
		require.NoError(t, err)
		m.WatchStore("journal", s)
		redeem(t, s)
		lint(t, m)
		text := scrape(t, m)
		for _, line := range []string{
			`ticketd_replay_up{store="journal"} 1`,
			"ticketd_replay_live_nonces 2\n",
			"ticketd_replay_commits_total 2\n",
			"ticketd_replay_commit_failures_total 0\n",
			"ticketd_replay_damaged_slices 0\n",
		} {
			assert.Contains(t, text, line)
		}
		st, err := s.Stats(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, st.DiskBytes, value(t, text, "ticketd_replay_disk_bytes"))
		assert.Greater(t, value(t, text, "ticketd_replay_headroom_ratio"), 0.99)
		require.NoError(t, s.Close())
	})
}

// value returns the value of a metric without labels.
func value(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return 0
}
