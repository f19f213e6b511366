package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// services are the services of a flag.
type services struct {
	given []string
	urls  []*url.URL
}

func (s *services) flags(cmd *cobra.Command, name, usage string) {
	cmd.Flags().StringSliceVar(&s.given, name, nil, usage+"; `URL`s, separated by commas")
}

// check parses the URLs. To a URL without a path it adds /keyring.
func (s *services) check(flag *pflag.Flag) error {
	for _, text := range s.given {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return cli.Flagf(flag.Name, "takes http or https URLs, such as http://127.0.0.1:9464")
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/keyring"
		}
		s.urls = append(s.urls, u)
	}
	return nil
}

// redacted returns the URLs without their passwords.
func (s *services) redacted() []string {
	names := make([]string, len(s.urls))
	for i, u := range s.urls {
		names[i] = u.Redacted()
	}
	return names
}

// serviceReport is the JSON that a service serves at /keyring.
type serviceReport struct {
	Time     time.Time        `json:"time"` // by the service's clock
	Keyrings []keyring.Report `json:"keyrings"`
}

// serviceStatus is the state of the keyring in a service.
type serviceStatus struct {
	URL    string          `json:"url"`
	Error  string          `json:"error,omitempty"` // why the state is unknown
	Match  match           `json:"match,omitempty"`
	Stale  float64         `json:"stale"` // seconds since the service last read its file
	Clock  time.Time       `json:"clock,omitzero"`
	Report *keyring.Report `json:"report,omitempty"`
}

// match compares the keyring of a service with the keyring in the file.
type match string

const (
	same   match = "same"
	older  match = "older"
	newer  match = "newer"
	forked match = "forked" // the same generation, with other contents
	other  match = "other"  // another keyring: no key is in both
)

// bad reports whether the service gave no report, or has another keyring.
func (s serviceStatus) bad() bool { return s.Match == "" || s.Match == forked || s.Match == other }

const (
	askTimeout = 10 * time.Second
	maxReport  = 8 << 20
)

// ask asks all services at once.
func (s *services) ask(ctx context.Context, info keyring.Info) []serviceStatus {
	all := make([]serviceStatus, len(s.urls))
	var wg sync.WaitGroup
	for i, u := range s.urls {
		wg.Go(func() {
			all[i].URL = u.Redacted()
			r, at, err := ask(ctx, u, info)
			if err != nil {
				all[i].Error = cli.Printable(err.Error())
				return
			}
			r.Error = cli.Printable(r.Error)
			all[i].Report, all[i].Clock = r, at
			all[i].Match = compare(info, r)
			all[i].Stale = max(0, at.Sub(r.Good).Seconds())
		})
	}
	wg.Wait()
	return all
}

// ask asks a service for its report on the keyring of info's kind and realm.
func ask(ctx context.Context, u *url.URL, info keyring.Info) (*keyring.Report, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, time.Time{}, errNoAnswer
	}
	if uerr, ok := errors.AsType[*url.Error](err); ok {
		err = uerr.Err // without the URL, which may have a password
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("cannot be asked: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("answers %s; "+
			"give the URL of the service's report, for ticketd the URL of --metrics-listen", res.Status)
	}
	var all serviceReport
	if err := json.NewDecoder(io.LimitReader(res.Body, maxReport)).Decode(&all); errors.Is(err, context.DeadlineExceeded) {
		return nil, time.Time{}, errNoAnswer
	} else if err != nil {
		return nil, time.Time{}, fmt.Errorf("gives a report that cannot be read: %w", err)
	}
	for _, r := range all.Keyrings {
		if r.Kind != info.Kind || r.Realm != info.Realm {
			continue
		}
		if sum, err := hex.DecodeString(r.Fingerprint); err != nil || len(sum) != sha256.Size {
			return nil, time.Time{}, errors.New("gives a report with a fingerprint that is not a SHA-256")
		}
		return &r, all.Time, nil
	}
	return nil, time.Time{}, fmt.Errorf("has no %s keyring of realm %q", info.Kind, info.Realm)
}

var errNoAnswer = errors.New("gave no answer in time")

func compare(info keyring.Info, r *keyring.Report) match {
	switch {
	case r.Fingerprint == info.Fingerprint:
		return same
	case !slices.ContainsFunc(r.Keys, func(k keyring.Key) bool {
		_, ok := keyOf(info, k.ID)
		return ok || slices.Contains(info.Tombstones, k.ID)
	}):
		return other
	case r.Generation < info.Generation:
		return older
	case r.Generation > info.Generation:
		return newer
	}
	return forked
}

// keyTotal is the use of a key by all services together since their starts.
type keyTotal struct {
	ID      keyring.KeyID `json:"id"`
	State   keyring.State `json:"state"`
	Sealed  uint64        `json:"sealed"`
	Opened  uint64        `json:"opened"`
	LastUse time.Time     `json:"lastUse,omitzero"`
	Budget  float64       `json:"budget,omitempty"` // Sealed divided by the 2^32 messages of AES-GCM
}

// gcmBudget is the number of messages that a key of AES-GCM may seal with random nonces
// (NIST SP 800-38D, section 8.3).
const gcmBudget = 1 << 32

func totals(info keyring.Info, reports []serviceStatus) []keyTotal {
	var all []keyTotal
	for _, k := range info.Keys {
		t := keyTotal{ID: k.ID, State: k.State}
		found := false
		for _, s := range reports {
			if u, ok := s.keyUse(k.ID); ok && !s.bad() {
				found = true
				t.Sealed += u.Sealed
				t.Opened += u.Opened
				if u.LastUse.After(t.LastUse) {
					t.LastUse = u.LastUse
				}
			}
		}
		if k.Algorithm == "AES256_GCM" {
			t.Budget = float64(t.Sealed) / gcmBudget
		}
		if found {
			all = append(all, t)
		}
	}
	return all
}

// keyUse returns the service's use of a key.
func (s serviceStatus) keyUse(id keyring.KeyID) (keyring.KeyUse, bool) {
	if s.Report == nil {
		return keyring.KeyUse{}, false
	}
	i := slices.IndexFunc(s.Report.Use, func(u keyring.KeyUse) bool { return u.ID == id })
	if i < 0 {
		return keyring.KeyUse{}, false
	}
	return s.Report.Use[i], true
}

// tellServices shows the reports of the services.
func (a *app) tellServices(s status) {
	if len(s.Services) == 0 {
		return
	}
	rows := [][]string{{"SERVICE", "GENERATION", "FILE", "STALE", "ERROR"}}
	for _, r := range s.Services {
		if r.Report == nil {
			rows = append(rows, []string{r.URL, "-", "-", "-", r.Error})
			continue
		}
		rows = append(rows, []string{
			r.URL, fmt.Sprint(r.Report.Generation), string(r.Match) + " " + r.Report.Fingerprint[:8],
			fmt.Sprintf("%.0fs", r.Stale), r.Report.Error,
		})
	}
	a.say("")
	a.table(rows, nil)
	a.say("\n%s", "use of the keys since the services were started:")
	rows = [][]string{{"KEY", "STATE", "SEALED", "OF 2^32", "OPENED", "LAST USE", "BY"}}
	for _, t := range s.Use {
		budget := "-"
		if t.Budget > 0 {
			budget = fmt.Sprintf("%.2g%%", 100*t.Budget)
		}
		rows = append(rows, []string{
			t.ID.String(), string(t.State), fmt.Sprint(t.Sealed), budget, fmt.Sprint(t.Opened), lastUse(t.LastUse), "all",
		})
		for _, r := range s.Services {
			if u, ok := r.keyUse(t.ID); ok && !r.bad() && u.Sealed+u.Opened > 0 {
				rows = append(rows, []string{
					"", "", fmt.Sprint(u.Sealed), "", fmt.Sprint(u.Opened), lastUse(u.LastUse), r.URL,
				})
			}
		}
	}
	a.table(rows, func(column int, text string) string {
		if column == 1 {
			return stateColour[keyring.State(text)]
		}
		return ""
	})
}

func lastUse(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return stamp(t)
}
