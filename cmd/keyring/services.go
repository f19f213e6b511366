package main

import (
	"cmp"
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
	"github.com/admitone/admitone/token"
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

	whole serviceReport // on all keyrings
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
			report, err := ask(ctx, u)
			r := report.of(info.Kind, info.Realm)
			if err == nil && r == nil {
				err = fmt.Errorf("has no %s keyring of realm %q", info.Kind, info.Realm)
			}
			if err == nil {
				if sum, wrong := hex.DecodeString(r.Fingerprint); wrong != nil || len(sum) != sha256.Size {
					err = errors.New("gives a report with a fingerprint that is not a SHA-256")
				}
			}
			if err != nil {
				all[i].Error = cli.Printable(err.Error())
				return
			}
			r.Error = cli.Printable(r.Error)
			all[i].Report, all[i].Clock, all[i].whole = r, report.Time, report
			all[i].Match = compare(info, r)
			all[i].Stale = max(0, report.Time.Sub(r.Good).Seconds())
		})
	}
	wg.Wait()
	return all
}

// ask asks a service for its report.
func ask(ctx context.Context, u *url.URL) (all serviceReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return all, err
	}
	res, err := http.DefaultClient.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return all, errNoAnswer
	}
	if uerr, ok := errors.AsType[*url.Error](err); ok {
		err = uerr.Err // without the URL, which may have a password
	}
	if err != nil {
		return all, fmt.Errorf("cannot be asked: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return all, fmt.Errorf("answers %s; "+
			"give the URL of the service's report, for ticketd the URL of --metrics-listen", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxReport)).Decode(&all); errors.Is(err, context.DeadlineExceeded) {
		return all, errNoAnswer
	} else if err != nil {
		return all, fmt.Errorf("gives a report that cannot be read: %w", err)
	}
	return all, nil
}

// of returns the report on a keyring of a kind and realm, or nil.
func (s *serviceReport) of(kind keyring.Kind, realm string) *keyring.Report {
	i := slices.IndexFunc(s.Keyrings, func(r keyring.Report) bool { return r.Kind == kind && r.Realm == realm })
	if i < 0 {
		return nil
	}
	return &s.Keyrings[i]
}

var errNoAnswer = errors.New("gave no answer in time")

func compare(info keyring.Info, r *keyring.Report) match {
	switch {
	case r.Fingerprint == info.Fingerprint:
		return same
	case !isSigned(info.Kind) && !slices.ContainsFunc(r.Keys, func(k keyring.Key) bool {
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

	By []keyring.IssuerUse `json:"by,omitempty"` // of a recipient's key: whose verified tickets came under it
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
				t.By = addUses(t.By, u.By)
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

// addUses adds the uses that a service tells to those of others, in the order of issuers and
// keys. What is no issuer's name is left out.
func addUses(all, more []keyring.IssuerUse) []keyring.IssuerUse {
	for _, u := range more {
		if token.CheckIssuer("", u.Issuer) != nil {
			continue
		}
		i, found := slices.BinarySearchFunc(all, u, func(a, b keyring.IssuerUse) int {
			return cmp.Or(strings.Compare(a.Issuer, b.Issuer), cmp.Compare(a.SigningKey, b.SigningKey))
		})
		if !found {
			all = slices.Insert(all, i, u)
			continue
		}
		all[i].Opened += u.Opened
		if u.LastUse.After(all[i].LastUse) {
			all[i].LastUse = u.LastUse
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
	a.tellReports(s.Services)
	a.say("\n%s", "use of the keys since the services were started:")
	rows := [][]string{{"KEY", "STATE", "SEALED", "OF 2^32", "OPENED", "LAST USE", "BY"}}
	for _, t := range s.Use {
		budget := "-"
		if t.Budget > 0 {
			budget = fmt.Sprintf("%.2g%%", 100*t.Budget)
		}
		rows = append(rows, []string{
			t.ID.String(), string(t.State), fmt.Sprint(t.Sealed), budget, fmt.Sprint(t.Opened), lastUse(t.LastUse), "all",
		})
		for _, u := range t.By {
			rows = append(rows, []string{
				"", "", "", "", fmt.Sprint(u.Opened), lastUse(u.LastUse), fmt.Sprintf("issuer %s, key %v", u.Issuer, u.SigningKey),
			})
		}
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

// tellReports shows what services have loaded.
func (a *app) tellReports(services []serviceStatus) {
	rows := [][]string{{"SERVICE", "GENERATION", "FILE", "STALE", "ERROR"}}
	for _, r := range services {
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
}

func lastUse(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return stamp(t)
}
