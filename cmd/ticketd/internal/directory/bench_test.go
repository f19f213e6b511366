package directory

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkTicketLookups makes the look-ups of one POST /auth/ticket for an agent
// (the key, the settings, the agent) among 50 brands of 200 agents each, from one
// caller and from many, with and without what is remembered, and those of a customer's
// redemption.
func BenchmarkTicketLookups(b *testing.B) {
	for _, d := range both {
		b.Run(d.name, func(b *testing.B) {
			ctx := b.Context()
			db := d.empty(b)
			db.cache.interval = lookInterval
			const brands, agents = 50, 200
			var bearers []string
			for i := range brands {
				brand := fmt.Sprint("brand", i)
				require.NoError(b, db.AddBrand(ctx, Brand{Name: brand}))
				_, err := db.ImportAgents(ctx, brand, numbered(agents, nil), nil)
				require.NoError(b, err)
				bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{brand}})
				require.NoError(b, err)
				bearers = append(bearers, bearer)
				_, err = db.AddCustomer(ctx, Customer{Brand: brand, Email: "jane@example.com"})
				require.NoError(b, err)
			}
			issue := func(i int) error {
				brand := fmt.Sprint("brand", i%brands)
				if _, err := db.Authenticate(ctx, bearers[i%brands], start); err != nil {
					return err
				}
				if _, err := db.Effective(ctx, brand, ""); err != nil {
					return err
				}
				n := i % agents
				_, err := db.MatchAgent(ctx, brand, fmt.Sprintf("agent%06d", n), Fields{Email: fmt.Sprintf("%d@example.com", n)})
				return err
			}
			redeem := func(i int) error {
				brand := fmt.Sprint("brand", i%brands)
				if _, err := db.Effective(ctx, brand, ""); err != nil {
					return err
				}
				_, _, err := db.ResolveCustomer(ctx, brand, Customer{Email: "jane@example.com"},
					Redemption{Ticket: fmt.Sprint(i), Expires: start})
				return err
			}
			cold := func(i int) error {
				db.cache.forget()
				return issue(i)
			}
			for name, f := range map[string]func(int) error{"issue": issue, "issue-cold": cold, "redeem": redeem} {
				b.Run(name, func(b *testing.B) {
					for i := 0; b.Loop(); i++ {
						if err := f(i); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(name+"-parallel", func(b *testing.B) {
					b.SetParallelism(8)
					b.RunParallel(func(pb *testing.PB) {
						for i := 0; pb.Next(); i++ {
							if err := f(i); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
		})
	}
}
