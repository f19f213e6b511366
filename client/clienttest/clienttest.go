// Package clienttest has a stand-in for ticketd, for the tests of programs that use package
// client. It answers issue, inspect, redeem and revoke in the process of the test, with real
// tickets under keys that nobody keeps.
//
//	service := clienttest.New()
//	service.AddAgent("commbox", client.AgentRecord{Username: "john.d", Email: "john.d@gmail.com"})
//	tickets, err := client.New(service.Config())
//
// Config leads all requests to the stand-in without a network. A Service is also an
// http.Handler, for programs that take a URL: httptest.NewServer(service). Package testing/synctest
// then has no control of the time, so prefer Config for faults that wait.
//
// # Faults
//
// A program must also cope with a service that is slow, busy or away. [Service.Next] gives the
// next requests a [Fault] each, and [Service.Every] gives one to all requests:
//
//	service.Next(clienttest.LoseAnswer)                        // the ticket is spent, and no answer comes
//	service.Every(clienttest.Verdict(client.StoreUnavailable)) // the service cannot tell now
//
// Two refusals need no fault: a second Redeem is refused as already used, and after
// [Service.Advance] a ticket is expired.
//
// # Differences
//
// The answers have the status, the form and the reasons of ticketd; the descriptions for people
// differ. The stand-in has no settings of brands and channels: tickets have the default
// lifetimes, and work once only if the request says so. It takes phone numbers in E.164 form
// only, and finds a customer by the uniqueId, or else by the email address, or else by the phone
// number. It has no rate limit, no pages and no administration.
package clienttest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// realm is the realm of the stand-in's tickets, so that no other service takes them.
const realm = "clienttest"

// Service is a stand-in for ticketd. A Service is safe for concurrent use.
type Service struct {
	operations *http.ServeMux
	issuer     *token.Issuer
	verifier   *verify.Verifier
	channels   *token.Channels
	allBrands  string // the API key of Config

	mu      sync.Mutex
	ahead   time.Duration // of the clock
	next    []Fault
	every   Fault
	keys    map[string][]string // the brands of each API key; nil: all
	brands  map[string]*brand
	revoked map[token.ID]bool
}

// brand has the records of a brand.
type brand struct {
	agents    map[string]client.AgentRecord // by username in lower case
	channels  []string
	customers []client.CustomerRecord
}

// New returns a Service without brands.
func New() *Service {
	s := &Service{
		operations: http.NewServeMux(), keys: make(map[string][]string), brands: make(map[string]*brand),
		revoked: make(map[token.ID]bool),
	}
	s.allBrands = s.AddKey()
	if err := s.makeKeys(); err != nil {
		panic(err) // no program can go on that has no random numbers
	}
	for path, answer := range map[string]func(*request) *client.Error{
		"/auth/ticket": s.issue, "/auth/inspect": s.inspect, "/auth/redeem": s.redeem, "/auth/revoke": s.revoke,
		"/core/systemstatus": s.status,
	} {
		s.operations.Handle(path, s.operation(path, answer))
	}
	s.operations.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, &client.Error{Status: http.StatusNotFound, Description: "Not found: there is no operation at this path"})
	})
	return s
}

// makeKeys makes the issuer, the verifier and the channel codes.
func (s *Service) makeKeys() error {
	sealing, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	codes, err := keyset.NewHandle(daead.AESSIVKeyTemplate())
	if err != nil {
		return err
	}
	siv, err := daead.New(codes)
	if err != nil {
		return err
	}
	if s.channels, err = token.NewChannels(siv, realm); err != nil {
		return err
	}
	keys, err := token.NewKeyset(sealing)
	if err != nil {
		return err
	}
	if s.issuer, err = token.NewIssuer(token.Config{Sealer: keys, Realm: realm, Now: s.now}); err != nil {
		return err
	}
	store, err := memory.Open(context.Background(), memory.Config{NoBarrier: true, Now: s.now})
	if err != nil {
		return err
	}
	s.verifier, err = verify.New(verify.Config{Opener: keys, Realm: realm, AnyBrand: true, Store: store, Now: s.now})
	return err
}

// now is the stand-in's clock.
func (s *Service) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// Advance sets the clock of the Service forward, by a time above 0. A ticket whose lifetime has
// passed is expired.
func (s *Service) Advance(by time.Duration) {
	if by < 0 {
		panic("Advance sets no clock back")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += by
}

// Config returns the configuration of a client whose requests go to the Service without a
// network. Its API key may issue, inspect, redeem and revoke tickets of every brand.
func (s *Service) Config() client.Config {
	return client.Config{URL: "http://ticketd.localhost", APIKey: s.allBrands, Transport: transport{s}}
}

// AddKey returns a new API key for the brands, or for every brand if none is named. The key may
// do all that a client can do.
func (s *Service) AddKey(brands ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := "adm_" + rand.Text()[:10] + "_" + rand.Text()
	s.keys[key] = brands
	return key
}

// AddBrand adds a brand, unless the Service has it.
func (s *Service) AddBrand(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.brand(name)
}

// brand returns a brand, and adds it first if the Service lacks it.
func (s *Service) brand(name string) *brand {
	b := s.brands[name]
	if b == nil {
		b = &brand{agents: make(map[string]client.AgentRecord)}
		s.brands[name] = b
	}
	return b
}

// AddAgent adds an agent, or changes the agent with the same username. A brand that the Service
// lacks is added too.
func (s *Service) AddAgent(brand string, record client.AgentRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record.Groups = slices.Clone(record.Groups)
	s.brand(brand).agents[strings.ToLower(record.Username)] = record
}

// RemoveAgent removes an agent. Redeem then refuses the agent's tickets as refused by the service.
func (s *Service) RemoveAgent(brand, username string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.brand(brand).agents, strings.ToLower(username))
}

// AddChannel adds a channel, and returns the code that stands in the URL of its page. A brand
// that the Service lacks is added too. AddChannel panics if brand or id cannot be names.
func (s *Service) AddChannel(brand, id string) (code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code, err := s.channels.Code(brand, id)
	if err != nil {
		panic(err.Error())
	}
	if b := s.brand(brand); !slices.Contains(b.channels, id) {
		b.channels = append(b.channels, id)
	}
	return code
}

// customer returns the record of a ticket's customer, and makes or changes it first if that is due.
func (b *brand) customer(t *token.Ticket) client.CustomerRecord {
	same := func(c client.CustomerRecord) bool {
		switch {
		case t.UniqueID != "":
			return c.UniqueID == t.UniqueID
		case t.Email != "":
			return strings.EqualFold(c.Email, t.Email)
		}
		return c.Phone1 == t.Phone1
	}
	told := client.CustomerRecord{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID,
		FirstName: t.FirstName, LastName: t.LastName, Remark: t.Remark,
	}
	at := slices.IndexFunc(b.customers, same)
	if at < 0 {
		told.ID = strconv.Itoa(len(b.customers) + 1)
		b.customers = append(b.customers, told)
		return told
	}
	c := &b.customers[at]
	if t.OverrideUserInfo {
		for _, field := range []struct {
			to   *string
			from string
		}{
			{&c.Email, t.Email}, {&c.Phone1, t.Phone1}, {&c.UniqueID, t.UniqueID},
			{&c.FirstName, t.FirstName}, {&c.LastName, t.LastName}, {&c.Remark, t.Remark},
		} {
			if field.from != "" {
				*field.to = field.from
			}
		}
	}
	return *c
}

// requestID is the header that names a request, in the request and in the answer.
const requestID = "X-Request-Id"

// chosenID is the form of an ID that a request may bring.
var chosenID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ServeHTTP answers a request as ticketd does, or as the Fault of this request wants.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	if sent := r.Header.Values(requestID); len(sent) == 1 && chosenID.MatchString(sent[0]) {
		id = sent[0]
	}
	w.Header().Set(requestID, id)
	s.mu.Lock()
	fault := s.every
	if len(s.next) > 0 {
		fault, s.next = s.next[0], s.next[1:]
	}
	s.mu.Unlock()
	var answer http.Handler = s.operations
	if fault != nil {
		answer = fault(answer)
	}
	answer.ServeHTTP(w, r)
}

// String returns the name of the package. A Service has secrets.
func (s *Service) String() string { return fmt.Sprintf("clienttest.Service at %p", s) }
