package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// alertRules is examples/prometheus/rules.yml.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// promtool runs promtool on a file of examples/prometheus, or at another path.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(needs(t, "promtool"), args...)
	cmd.Dir = filepath.Join("..", "..", "examples", "prometheus")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// The alerts fire on the series of their tests and not beside them, and each alert has a test.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "rules.yml")
	promtool(t, "test", "rules", "rules_test.yml")
	var rules alertRules
	parse(t, "prometheus/rules.yml", &rules)
	var tests struct {
		Tests []struct {
			Name   string
			Series []any `yaml:"input_series"`
			Expr   []struct {
				Expr    string
				Samples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	parse(t, "prometheus/rules_test.yml", &tests)
	var alerts, tested []string
	for _, r := range rules.Groups[0].Rules {
		alerts = append(alerts, r.Alert)
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		for _, name := range []string{"summary", "description"} {
			assert.NotEmpty(t, r.Annotations[name], r.Alert)
		}
	}
	for _, test := range tests.Tests {
		tested = append(tested, test.Name)
		assert.Greater(t, len(test.Series), 1-strings.Count(test.Name, "Down"), test.Name)
		fires, quiet := 0, 0
		for _, e := range test.Expr {
			assert.Equal(t, `ALERTS{alertname="`+test.Name+`", alertstate="firing"}`, e.Expr)
			if len(e.Samples) > 0 {
				fires++
			} else {
				quiet++
			}
		}
		assert.NotZero(t, fires, test.Name)
		assert.NotZero(t, quiet, test.Name)
	}
	assert.Equal(t, alerts, tested)
}

// dashboardQueries returns the queries of the panels, and the labels of their legends.
func dashboardQueries(t *testing.T) (queries []string, legends []string) {
	t.Helper()
	var board struct {
		Panels []struct {
			ID                 int
			Title, Description string
			Type               string
			Targets            []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(recipe(t, "grafana/ticketd.json"), &board))
	ids := make(map[int]bool)
	for _, p := range board.Panels {
		assert.False(t, ids[p.ID], "%s has the ID of another panel", p.Title)
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		assert.NotEmpty(t, p.Description, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", ".+", "$instance", ".+").Replace(target.Expr)
			assert.NotContains(t, expr, "$", p.Title)
			queries, legends = append(queries, expr), append(legends, target.LegendFormat)
		}
	}
	require.NotEmpty(t, queries)
	return queries, legends
}

// exposed has the labels of the metrics of a service, with their values.
type exposed map[string]map[string][]string

// exposedBy reads the metrics of a service. Prometheus adds up, job and instance.
func exposedBy(t *testing.T, url string) exposed {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	require.NoError(t, err)
	all := exposed{"up": {"job": nil, "instance": nil}}
	for name, family := range families {
		labels := map[string][]string{"job": nil, "instance": nil}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
			if m.GetHistogram() != nil {
				name = family.GetName() + "_bucket"
				labels["le"] = nil
			}
		}
		all[name] = labels
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b(up|(?:ticketd|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|group_left) \(([^)]*)\)`)
	inLegend = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
)

// has wants a service to have the metrics and labels of a query, the labels by which the query groups, and
// those that a text beside the query names.
func (e exposed) has(t *testing.T, query, text string) {
	t.Helper()
	known := make(map[string]bool)
	found := selector.FindAllStringSubmatch(query, -1)
	assert.NotEmpty(t, found, query)
	for _, m := range found {
		labels, ok := e[m[1]]
		if !assert.True(t, ok, "no metric %s: %s", m[1], query) {
			continue
		}
		for name := range labels {
			known[name] = true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			assert.Contains(t, labels, l[1], query)
			if l[2] == "=" && l[1] != "job" {
				assert.True(t, e.knows(l[1], l[3]), "no metric has %s: %s", l[0], query)
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			if name = strings.TrimSpace(name); name != "" {
				assert.True(t, known[name], "no label %s: %s", name, query)
			}
		}
	}
	for _, m := range inLegend.FindAllStringSubmatch(text, -1) {
		assert.True(t, known[m[1]], "no label %s: %s", m[1], query)
	}
}

// knows reports whether a metric has a label with a value. That of another metric will do: the reasons
// of refusals are counted from the start by one metric only.
func (e exposed) knows(label, value string) bool {
	for _, labels := range e {
		if slices.Contains(labels[label], value) {
			return true
		}
	}
	return false
}

// Every metric and label that an alert or the dashboard names is in the metrics of a service that has a
// certificate, a trust list and a bundle. promtool parses all queries.
func TestMonitoringNamesMetrics(t *testing.T) {
	t.Parallel()
	needs(t, "promtool")
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	o := newOutside(t, kek)
	recipient, c := filepath.Join(dir, "recipient.keyring"), o.config(keyring.Recipient)
	require.NoError(t, keyring.Create(recipient, c, keyring.DefaultPolicy(keyring.Recipient), ""))
	ring, err := keyring.Open(recipient, c)
	require.NoError(t, err)
	o.to, err = ring.SealingKey()
	require.NoError(t, err)
	private, public := identityKey(t, 2)
	bundle, _, err := keyring.Publish(recipient, c, keyring.Publication{Name: "login", Identity: private})
	require.NoError(t, err)
	require.NoError(t, ring.Close())
	published, identity := filepath.Join(o.dir, "login.pub"), filepath.Join(o.dir, "identity.pub")
	text, err := kms.PublicIdentity(public)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(published, bundle, 0o600))
	require.NoError(t, os.WriteFile(identity, text, 0o600))
	certificate, key := writePair(t)
	address := strings.TrimPrefix(info.URL, "http://")
	p = start(t, "serve", "--data", dir, "--trust", o.list, "--trust-kek", "verify:"+filepath.Join(o.dir, "our.pub"),
		"--bundle", published, "--bundle-identity", "verify:"+identity, "--tls-cert", certificate, "--tls-key", key,
		"--listen", address, "--metrics-listen", "127.0.0.1:0", "--skew", "0s")
	url := p.scrapeURL()
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Get("https://" + address + "/login?ta=" + o.ticket())
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusSeeOther, res.StatusCode, p.stderr.String())
	client.CloseIdleConnections()

	var all exposed
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		all = exposedBy(t, url)
		assert.Contains(c, all, "ticketd_http_requests_total", "it is counted when the answer is out")
		assert.Contains(c, all, "ticketd_api_keys_expiring", "the first look is a moment after the start")
	}, time.Minute, 20*time.Millisecond)
	values, _ := scrape(t, url)
	week := (7 * 24 * time.Hour).Seconds()
	assert.InDelta(t, week, values["ticketd_issuer_left_seconds{issuer=outside}"], 3600, "until the end of the bundle")
	assert.InDelta(t, week, values["ticketd_bundle_left_seconds{bundle=login,use=served}"], 3600)
	assert.InDelta(t, 30*24*3600, values["ticketd_keyring_rotation_left_seconds{kind=ticket}"], 3600)
	assert.NotContains(t, values, "ticketd_keyring_rotation_left_seconds{kind=channel}", "it never rotates")
	assert.InDelta(t, time.Now().Unix(), values["ticketd_clock_timestamp_seconds"], 3600)

	var rules alertRules
	parse(t, "prometheus/rules.yml", &rules)
	for _, r := range rules.Groups[0].Rules {
		all.has(t, r.Expr, r.Annotations["summary"]+r.Annotations["description"])
	}
	queries, legends := dashboardQueries(t)
	type recorded struct {
		Record, Expr string
	}
	var parsed []recorded
	for i, q := range queries {
		all.has(t, q, legends[i])
		parsed = append(parsed, recorded{"panel:query:x" + string(rune('a'+i/26)) + string(rune('a'+i%26)), q})
	}
	type group struct {
		Name  string
		Rules []recorded
	}
	out, err := yaml.Marshal(map[string][]group{"groups": {{"dashboard", parsed}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(file, out, 0o600))
	promtool(t, "check", "rules", file)
}
