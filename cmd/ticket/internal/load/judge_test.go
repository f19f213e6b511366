package load

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

func TestDoubleEntry(t *testing.T) {
	bad := fmt.Sprintf("%032x", 60)
	s := &service{redeem: func(ticket string, _, _ int) (int, string) {
		if id(ticket) == bad {
			return http.StatusOK, fmt.Sprintf(admits, id(ticket))
		}
		return 0, ""
	}}
	r := run(t, s, nil)
	assert.Equal(t, Failed, r.Verdict)
	assert.Equal(t, 1, r.DoubleEntries)
	assert.Equal(t, 199, r.AdmittedOnce)
	assert.Equal(t, []Example{{ID: bad}}, r.DoubleEntryIDs)
}

// The third caller comes when the others were answered.
func TestDoubleEntryAfterwards(t *testing.T) {
	s := &service{redeem: func(ticket string, _, tries int) (int, string) {
		if tries == 3 {
			return http.StatusOK, fmt.Sprintf(admits, id(ticket))
		}
		return 0, ""
	}}
	r := run(t, s, nil)
	assert.Equal(t, 20, r.DoubleEntries)
	assert.Len(t, r.DoubleEntryIDs, 5)
}

func TestGoodRefused(t *testing.T) {
	s := &service{redeem: func(ticket string, n, _ int) (int, string) {
		if n == 7 {
			return http.StatusForbidden, `{"result":"refused","reason":"possibly_used","ticketId":"` + id(ticket) + `"}`
		}
		return 0, ""
	}}
	r := run(t, s, nil)
	assert.Equal(t, Failed, r.Verdict)
	assert.Equal(t, 1, r.GoodRefused)
	assert.Equal(t, 199, r.AdmittedOnce)
	require.Len(t, r.GoodRefusedIDs, 1)
	assert.Equal(t, client.PossiblyUsed, r.GoodRefusedIDs[0].Reason)
	assert.Regexp(t, "^[0-9a-f]{32}$", r.GoodRefusedIDs[0].ID)
}

// Of a replayed ticket, the refusal of one caller says nothing while another is admitted.
func TestRefusedBesideAnAdmission(t *testing.T) {
	s := &service{redeem: func(ticket string, _, tries int) (int, string) {
		if tries == 1 {
			return http.StatusForbidden, fmt.Sprintf(refuses, id(ticket))
		}
		return 0, ""
	}}
	r := run(t, s, func(c *Config) { c.Replays = 1 })
	assert.Equal(t, Good, r.Verdict)
	assert.Equal(t, 400, r.ReplaysRefused)
}

func TestCannotTell(t *testing.T) {
	const away = `{"result":"cannot_tell","reason":"store_unavailable"}`
	for name, c := range map[string]struct {
		redeem   func(ticket string, n, tries int) (int, string)
		issue    func(n int) (int, string)
		want     Counts
		failures []Failure
		repeated int
		verdict  Verdict
	}{
		"store away": {
			redeem:  func(_ string, n, _ int) (int, string) { return []int{0, 503}[n/200], away },
			want:    Counts{Begun: 200, Issued: 200, AdmittedOnce: 199, CannotTell: 1},
			verdict: CannotTell, repeated: 1,
			failures: []Failure{{"redeem", 503, 1, "redeem: status 503: by the test"}},
		},
		"store away once": {
			redeem:  func(_ string, n, _ int) (int, string) { return []int{503, 0}[min(n/10, 1)], away },
			want:    Counts{Begun: 200, Issued: 200, AdmittedOnce: 200},
			verdict: Good, repeated: 9, failures: []Failure{},
		},
		"answers lost": {
			redeem:  func(string, int, int) (int, string) { return -1, "" },
			want:    Counts{Begun: 200, Issued: 200, CannotTell: 200},
			verdict: CannotTell, repeated: 200,
			failures: []Failure{{"redeem", 0, 200, `redeem: no answer: `}},
		},
		"spent by a lost answer": {
			redeem: func(ticket string, _, tries int) (int, string) {
				return []int{0, -1, 403}[tries], fmt.Sprintf(refuses, id(ticket))
			},
			want:    Counts{Begun: 200, Issued: 200, CannotTell: 200},
			verdict: CannotTell, repeated: 200,
			failures: []Failure{{"redeem", 403, 200, "redeem: status 403: by the test"}},
		},
		"expired": {
			redeem: func(_ string, n, _ int) (int, string) {
				return []int{403, 0}[min(n/2, 1)], `{"result":"refused","reason":"expired"}`
			},
			want:     Counts{Begun: 200, Issued: 200, AdmittedOnce: 199, CannotTell: 1},
			verdict:  CannotTell,
			failures: []Failure{{"redeem", 403, 1, "redeem: status 403: by the test"}},
		},
		"rate limit": {
			issue:    func(n int) (int, string) { return []int{0, 429}[n%2], `{}` },
			want:     Counts{Begun: 200, Issued: 100, NotIssued: 100, AdmittedOnce: 100},
			verdict:  CannotTell,
			failures: []Failure{{"issue", 429, 100, "issue: status 429: by the test"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, &service{issue: c.issue, redeem: c.redeem}, func(c *Config) { c.Replays = 0 })
			assert.Equal(t, c.verdict, r.Verdict)
			assert.Equal(t, c.want, r.Counts)
			assert.Equal(t, c.repeated, r.Repeated)
			require.Len(t, r.Failures, len(c.failures))
			for i, f := range c.failures {
				assert.Contains(t, r.Failures[i].Example, f.Example)
				f.Example = r.Failures[i].Example
				assert.Equal(t, f, r.Failures[i])
			}
			assert.Zero(t, r.InFlight)
		})
	}
}
