package main

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// scrapeURL returns where a process serves its metrics, which its log says.
func (p *process) scrapeURL() string {
	p.t.Helper()
	p.logs(`msg="serving metrics"`)
	m := regexp.MustCompile(`msg="serving metrics" address=(\S+) path=(\S+)`).FindStringSubmatch(p.stderr.String())
	require.NotNil(p.t, m, p.stderr.String())
	return "http://" + m[1] + m[2]
}

// scrape returns all samples of a scrape, by name and labels as they are written,
// with histograms' sums and counts.
func scrape(t testing.TB, url string) (samples map[string]float64, text string) {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	require.NoError(t, err)
	samples = make(map[string]float64)
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			if h := m.GetHistogram(); h != nil {
				samples[key+"_count"], samples[key+"_sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				continue
			}
			samples[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return samples, string(body)
}

// get returns the status of a GET.
func get(t testing.TB, url string) int {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

// What was done shows in a scrape, on every store.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		store   string
		uri     func(t *testing.T) string
		bounded bool // the memory is
		inside  bool // replays are answered in this process, and not by a front
	}{
		{"memory", func(*testing.T) string { return "memory" }, true, true},
		{"journal", func(t *testing.T) string { return "journal:" + filepath.Join(t.TempDir(), "journal") }, true, true},
		{"redis", func(t *testing.T) string {
			return servers.Redis(t, "", append([]string{"--maxmemory", "64mb"}, servers.Forgetful...)...).URL
		}, true, false},
		{"postgres", func(t *testing.T) string { return servers.Database(t) }, false, false},
	} {
		t.Run(row.store, func(t *testing.T) {
			args := []string{"--metrics-listen", "127.0.0.1:0", "--replay", row.uri(t)}
			if !row.inside {
				args = append(args, "--replay-timeout", "4s")
			}
			p, info := startDemo(t, args...)
			url := p.scrapeURL()
			var tickets []string
			for range 3 {
				ticket := info.ticket(t, info.request(true))
				tickets = append(tickets, ticket)
				require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, ticket))
			}
			for range 2 {
				require.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, tickets[0]))
			}
			many := info.ticket(t, info.request(false))
			require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, many))
			require.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, tickets[0][:40]+"AAAA"+tickets[0][44:]))
			require.Equal(t, http.StatusNotFound, get(t, info.URL+"/nowhere-"+info.Brand))

			// A request is counted when its answer is out; PostgreSQL's numbers are up to a
			// second old.
			want := map[string]float64{
				"ticketd_replay_up{store=" + row.store + "}":                               1,
				"ticketd_replay_claims_total{result=admitted}":                             3,
				"ticketd_replay_claims_total{result=already_used}":                         2,
				"ticketd_replay_claims_total{result=possibly_used}":                        0,
				"ticketd_replay_claims_total{result=unavailable}":                          0,
				"ticketd_replay_claim_duration_seconds_count":                              5,
				"ticketd_ticket_verifications_total{call=redeem,result=accepted}":          4,
				"ticketd_ticket_verifications_total{call=redeem,result=already_used}":      2,
				"ticketd_ticket_verifications_total{call=redeem,result=forged}":            1,
				"ticketd_ticket_verifications_total{call=redeem,result=store_unavailable}": 0,
				"ticketd_redeemed_ticket_age_ratio_count":                                  4,
				"ticketd_tickets_issued_total{audience=agent,one_time=true}":               3,
				"ticketd_tickets_issued_total{audience=agent,one_time=false}":              1,
				"ticketd_tickets_issued_total{audience=customer,one_time=true}":            0,
				"ticketd_http_requests_total{code=200,route=/auth/ticket}":                 4,
				"ticketd_http_requests_total{code=303,route=GET /login}":                   4,
				"ticketd_http_requests_total{code=403,route=GET /login}":                   3,
				"ticketd_http_request_duration_seconds{route=GET /login}_count":            7,
				"ticketd_http_requests_total{code=404,route=none}":                         1,
				"ticketd_replay_live_nonces":                                               3,
			}
			var got map[string]float64
			var text string
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				got, text = scrape(t, url)
				for name, want := range want {
					v, ok := got[name]
					assert.True(c, ok, name)
					assert.Equal(c, want, v, name)
				}
			}, time.Minute, 20*time.Millisecond)
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			require.NoError(t, err)
			assert.Empty(t, problems)
			assert.Less(t, got["ticketd_redeemed_ticket_age_ratio_sum"], 4.0)
			assert.Equal(t, row.bounded, got["ticketd_replay_bound_bytes"] > 0)
			if row.bounded {
				assert.InDelta(t, 1-got["ticketd_replay_used_bytes"]/got["ticketd_replay_bound_bytes"],
					got["ticketd_replay_headroom_ratio"], 1e-9)
				assert.Greater(t, got["ticketd_replay_headroom_ratio"], 0.5)
			}
			if row.inside {
				assert.Zero(t, got["ticketd_replay_clock_behind_seconds"])
				assert.NotContains(t, got, "ticketd_replay_round_trips_total")
			} else {
				assert.EqualValues(t, 4, got["ticketd_replay_round_trips_total"], "the first replay too")
				assert.EqualValues(t, 1, got["ticketd_replay_round_trips_spared_total"])
			}
			switch row.store {
			case "memory":
				assert.EqualValues(t, 2, got["ticketd_replay_maybe_total{settled=true}"])
			case "journal":
				assert.EqualValues(t, 3, got["ticketd_replay_commits_total"])
				assert.Greater(t, got["ticketd_replay_disk_bytes"], 3*68.0)
			case "postgres":
				assert.Greater(t, got["ticketd_replay_disk_bytes"], 8192.0)
			}

			// trap W2: no ticket, and nothing else that somebody chose, is in a metric.
			for _, secret := range append(tickets, many, info.APIKey, info.Brand, john.Username, john.Email) {
				assert.NotContains(t, text, strings.TrimPrefix(secret, "tkt1_"))
			}
			require.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
		})
	}
}

// Metrics are on the listener of --metrics-listen, which serves nothing else, and
// nowhere without it.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t, "--metrics-listen", "127.0.0.1:0")
	url := p.scrapeURL()
	assert.Equal(t, http.StatusOK, get(t, url))
	assert.Equal(t, http.StatusNotFound, get(t, info.URL+"/metrics"), "though we are on the loopback interface")
	for _, path := range []string{"/healthz", "/login", "/"} {
		assert.Equal(t, http.StatusNotFound, get(t, strings.TrimSuffix(url, "/metrics")+path), path)
	}
	res, err := http.Post(url, "text/plain", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)

	taken := start(t, "demo", "--metrics-listen", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics"))
	assert.Equal(t, 1, taken.wait())
	assert.Contains(t, taken.stderr.String(), "--metrics-listen cannot be listened on; choose another address")

	quiet, info := startDemo(t)
	assert.Equal(t, http.StatusNotFound, get(t, info.URL+"/metrics"))
	assert.Equal(t, 0, quiet.end(syscall.SIGTERM))
	assert.NotContains(t, quiet.stderr.String(), "metrics")
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}

// An outage of the store shows, and that it is over.
func TestMetricsInAnOutage(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, "", servers.Forgetful...)
	p, info := startDemo(t, "--metrics-listen", "127.0.0.1:0", "--replay", redis.URL, "--replay-timeout", "4s")
	url := p.scrapeURL()
	ticket := info.ticket(t, info.request(true))
	redis.Kill()
	assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, info.LoginURL, ticket))
	got, _ := scrape(t, url)
	assert.Zero(t, got["ticketd_replay_up{store=redis}"])
	assert.Contains(t, got, "ticketd_replay_up{store=redis}")
	assert.NotContains(t, got, "ticketd_replay_live_nonces", "nobody knows")
	assert.GreaterOrEqual(t, got["ticketd_replay_claims_total{result=unavailable}"], 1.0)
	assert.GreaterOrEqual(t, got["ticketd_ticket_verifications_total{call=redeem,result=store_unavailable}"], 1.0)
	redis.Start()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got, _ := scrape(t, url)
		assert.EqualValues(c, 1, got["ticketd_replay_up{store=redis}"])
	}, time.Minute, 50*time.Millisecond)
	p.logs("the replay store has lost what it knew") // it came back empty
}
