package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// maker makes and checks a kind of tickets.
type maker struct {
	name, does string // does says what the two functions do
	encrypted  bool   // a peer whose tickets are encrypted
	issue      func() (string, error)
	check      func(string) error

	issueTime, checkTime, allocations []float64 // CPU time in µs a ticket; allocations of both
	length                            int
}

// measure issues and checks n tickets, and notes the means.
func (m *maker) measure(n int) (err error) {
	tickets := make([]string, n)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, err := cpuTime()
	if err != nil {
		return err
	}
	for i := range tickets {
		if tickets[i], err = m.issue(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	issued, err := cpuTime()
	if err != nil {
		return err
	}
	for _, t := range tickets {
		if err := m.check(t); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	checked, err := cpuTime()
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	m.issueTime = append(m.issueTime, micros(issued-start)/float64(n))
	m.checkTime = append(m.checkTime, micros(checked-issued)/float64(n))
	m.allocations = append(m.allocations, float64(after.Mallocs-before.Mallocs)/float64(n))
	m.length = len(tickets[0])
	return nil
}

// cpuTime returns the CPU time of this process so far, collecting garbage included. Unlike
// the time of the day, the CPU time stands still while other programs have the processor.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// ticketsTable measures tickets of both formats beside their floors and their peers.
func (b *bench) ticketsTable(emit func(*table) error) error {
	t := &table{
		Name: "tickets", Title: "Tickets",
		Columns: []string{"ticket", "the check", "issue µs", "check µs", "issue ÷ ours", "check ÷ ours", "allocations",
			"characters"},
	}
	t.note("All have the same claims. The times are CPU time. *÷ ours* divides by the time of admitone's first row with " +
		"the same number of keys: one shared key, or a key pair for each side. Each floor works on as many bytes as a " +
		"ticket of ours: strict base64, and the bare Tink call or the bare calls of crypto/ed25519 and crypto/hpke. " +
		"Allocations are those of issue and check together. JWS and v4.public are signed and not encrypted. Branca is left " +
		"out: it has no Go package that is kept.")
	shared, err := b.ours()
	if err != nil {
		return err
	}
	others, err := peers()
	if err != nil {
		return err
	}
	pairs, err := b.oursSigned()
	if err != nil {
		return err
	}
	othersPairs, err := peersOfPairs()
	if err != nil {
		return err
	}
	for _, kind := range []struct {
		ours, peers []*maker
		share       int // of the tickets of a round: 1 / share
		goals       func(ours *maker, peers []*maker) string
	}{{shared, others, 1, goals}, {pairs, othersPairs, 20, nil}} {
		all := append(slices.Clone(kind.ours), kind.peers...)
		if err := b.measureMakers(all, max(1, b.tickets/kind.share)); err != nil {
			return err
		}
		for _, m := range all {
			t.row(m.name, m.does, median(m.issueTime), median(m.checkTime), ratio(m.issueTime, all[0].issueTime),
				ratio(m.checkTime, all[0].checkTime), median(m.allocations), m.length)
		}
		if kind.goals != nil {
			t.note("%s", kind.goals(all[0], kind.peers))
		}
	}
	ours, once, floor := shared[0], shared[1], shared[2]
	t.note("Format 1 issues in %.2f, inspects in %.2f and redeems in %.2f times its floor's time.",
		ratio(ours.issueTime, floor.issueTime), ratio(ours.checkTime, floor.checkTime),
		ratio(once.checkTime, floor.checkTime))
	ours, floor = pairs[0], pairs[1]
	t.note("Format 2 issues in %.2f and inspects in %.2f times its floor's time.",
		ratio(ours.issueTime, floor.issueTime), ratio(ours.checkTime, floor.checkTime))
	return emit(t)
}

// measureMakers measures all makers in turns, with n tickets in a round.
func (b *bench) measureMakers(all []*maker, n int) error {
	rounds := ticketRounds*b.rounds + 1
	for i := range rounds {
		b.progress("tickets: round %d of %d", i+1, rounds)
		for k := range all {
			if err := all[(i+k)%len(all)].measure(n); err != nil {
				return err
			}
		}
		if i == 0 { // warm-up
			for _, m := range all {
				m.issueTime, m.checkTime, m.allocations = nil, nil, nil
			}
		}
	}
	return nil
}

// goals says whether ours keeps its distance from the best of the peers with encrypted tickets.
func goals(ours *maker, peers []*maker) string {
	best := func(of func(*maker) float64) *maker {
		encrypted := slices.DeleteFunc(slices.Clone(peers), func(m *maker) bool { return !m.encrypted })
		return slices.MinFunc(encrypted, func(x, y *maker) int { return cmp.Compare(of(x), of(y)) })
	}
	holds := func(ok bool) string {
		if ok {
			return "holds"
		}
		return "DOES NOT HOLD"
	}
	checks := best(func(m *maker) float64 { return median(m.checkTime) })
	issues := best(func(m *maker) float64 { return median(m.issueTime) })
	shortest := best(func(m *maker) float64 { return float64(m.length) })
	check, issue := ratio(checks.checkTime, ours.checkTime), ratio(issues.issueTime, ours.issueTime)
	return fmt.Sprintf("Goals of format 1 beside encrypted tickets. At least 10 times as fast at checking: %s, "+
		"%.1f times (%s: %.2f µs, ours: %.2f µs). At least 5 times as fast at issuing: %s, %.1f times (%s: %.2f µs, "+
		"ours: %.2f µs). Less than half as long: %s (%s: %d characters, ours: %d).",
		holds(check >= 10), check, checks.name, median(checks.checkTime), median(ours.checkTime),
		holds(issue >= 5), issue, issues.name, median(issues.issueTime), median(ours.issueTime),
		holds(2*ours.length < shortest.length), shortest.name, shortest.length, ours.length)
}

// ticketRounds is the number of rounds of tickets in the time of an ordinary round. Tickets
// are so fast that many short rounds cost little, and their median is steadier.
const ticketRounds = 5

// ticketOfJohn returns a ticket to be issued.
func ticketOfJohn(once bool) *token.Ticket {
	return &token.Ticket{
		Audience: token.Agent, Brand: john.Brand, Username: john.Username, Email: john.Email, UniqueID: john.UniqueID,
		FirstName: john.FirstName, LastName: john.LastName, Phone1: john.Phone1, OneTime: once,
	}
}

// ours returns admitone's tickets of format 1, many-use and one-time, and the floor.
func (b *bench) ours() ([]*maker, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	keys, err := token.NewKeyset(handle)
	if err != nil {
		return nil, err
	}
	const realm = "prod"
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: realm})
	if err != nil {
		return nil, err
	}
	store, err := memory.Open(context.Background(), memory.Config{NoBarrier: true, MaxBytes: 512 << 20})
	if err != nil {
		return nil, err
	}
	verifier, err := verify.New(verify.Config{Opener: keys, Realm: realm, Brands: []string{brand}, Store: store})
	if err != nil {
		return nil, err
	}
	issue := func(once bool) func() (string, error) {
		return func() (string, error) { return issuer.Issue(ticketOfJohn(once)) }
	}
	use := verify.Use{Audience: token.Agent}
	many := &maker{
		name: "**admitone**", does: "Inspect", issue: issue(false), check: func(s string) error {
			_, err := verifier.Inspect(context.Background(), s, use)
			return err
		},
	}
	once := &maker{
		name: "**admitone**, one-time", does: "Redeem, from memory", issue: issue(true), check: func(s string) error {
			_, err := verifier.Redeem(context.Background(), s, use)
			return err
		},
	}
	// The floor seals the payload of one of our tickets again and again.
	bare, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	ad, err := token.AssociatedData(realm)
	if err != nil {
		return nil, err
	}
	ticket, err := many.issue()
	if err != nil {
		return nil, err
	}
	encoding := base64.RawURLEncoding.Strict()
	open := func(s string) ([]byte, error) {
		sealed, err := encoding.DecodeString(s)
		if err != nil {
			return nil, err
		}
		return bare.Decrypt(sealed, ad)
	}
	payload, err := open(ticket[len("tkt1_"):])
	if err != nil {
		return nil, err
	}
	floor := &maker{
		name: "the floor", does: "base64, Decrypt",
		issue: func() (string, error) {
			sealed, err := bare.Encrypt(payload, ad)
			return encoding.EncodeToString(sealed), err
		},
		check: func(s string) error {
			_, err := open(s)
			return err
		},
	}
	return []*maker{many, once, floor}, nil
}
