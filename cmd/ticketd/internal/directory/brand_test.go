package directory

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBrandRoundTrip(t *testing.T) {
	ctx := t.Context()
	db := fresh(t)
	for _, b := range []Brand{
		{Name: "plain"},
		{Name: "full", Region: "GB", RequiredAgentFields: []string{"email", "phone1", "uniqueId", "firstName", "lastName"},
			TicketLogin: true, OneTimeDefault: true,
			AgentLifetime: time.Millisecond, CustomerLifetime: 90*time.Second + 5*time.Millisecond, MaxLifetime: time.Hour},
		{Name: "full", RequiredAgentFields: []string{"phone1"}, OneTimeDefault: true}, // replaces all of it
		{Name: "Full", Region: "US"}, // another brand
		{Name: "longest", AgentLifetime: math.MaxUint32 * time.Millisecond, MaxLifetime: math.MaxUint32 * time.Millisecond},
		{Name: "equal", AgentLifetime: 15 * time.Minute, CustomerLifetime: 15 * time.Minute},
		{Name: "short", AgentLifetime: 30 * time.Second, CustomerLifetime: 30 * time.Second, MaxLifetime: 30 * time.Second},
	} {
		require.NoError(t, db.PutBrand(ctx, b), b.Name)
		got, err := db.Brand(ctx, b.Name)
		require.NoError(t, err)
		assert.Equal(t, b, got)
	}
	all, err := db.Brands(ctx)
	require.NoError(t, err)
	var names []string
	for _, b := range all {
		one, err := db.Brand(ctx, b.Name)
		require.NoError(t, err)
		assert.Equal(t, one, b)
		names = append(names, b.Name)
	}
	assert.Equal(t, []string{"Full", "equal", "full", "longest", "plain", "short"}, names)
	_, err = db.Brand(ctx, "FULL")
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestBrandsOfEmptyDirectory(t *testing.T) {
	all, err := fresh(t).Brands(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
}

func TestPutBrandRefuses(t *testing.T) {
	db := fresh(t)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		brand       Brand
		field, want string
	}{
		"region unknown":      {Brand{Region: "XX"}, "region", "ISO 3166"},
		"region small":        {Brand{Region: "gb"}, "region", "capital"},
		"region not ISO":      {Brand{Region: "UK"}, "region", "GB"},
		"field unknown":       {Brand{RequiredAgentFields: []string{"email", "remark"}}, "requiredAgentFields", "nothing else"},
		"field in other case": {Brand{RequiredAgentFields: []string{"uniqueID"}}, "requiredAgentFields", "uniqueId"},
		"field twice":         {Brand{RequiredAgentFields: []string{"email", "email"}}, "requiredAgentFields", "once"},
		"agent negative":      {Brand{AgentLifetime: -1}, "agentLifetime", "whole number"},
		"customer fraction":   {Brand{CustomerLifetime: time.Microsecond}, "customerLifetime", "whole number"},
		"max negative":        {Brand{MaxLifetime: -time.Second}, "maxLifetime", "whole number"},
		"max too long":        {Brand{MaxLifetime: 50 * day}, "maxLifetime", "4294967295"},
		"agent over max":      {Brand{AgentLifetime: time.Hour}, "agentLifetime", "15m0s"},
		"customer over max":   {Brand{CustomerLifetime: 2 * time.Minute, AgentLifetime: time.Second, MaxLifetime: time.Minute}, "customerLifetime", "2m0s"},
		"default over max":    {Brand{MaxLifetime: time.Minute}, "customerLifetime", "5m0s"},
		"agent's default":     {Brand{MaxLifetime: time.Second}, "agentLifetime", "1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			c.brand.Name = "acme"
			err := db.PutBrand(t.Context(), c.brand)
			var field *FieldError
			require.ErrorAs(t, err, &field)
			assert.Equal(t, c.field, field.Field)
			assert.Contains(t, field.Reason, c.want)
			_, err = db.Brand(t.Context(), "acme")
			assert.ErrorIs(t, err, ErrNotFound, "nothing was written")
		})
	}
}

func TestChannelRoundTrip(t *testing.T) {
	ctx := t.Context()
	db := withBrands(t, "acme")
	on, off := true, false
	for _, c := range []Channel{
		{Brand: "acme", ID: "plain"},
		{Brand: "acme", ID: "full", Name: "Sales", TicketLogin: &on, OneTimeDefault: &off,
			CustomerLifetime: time.Minute, MaxLifetime: time.Minute},
		{Brand: "acme", ID: "full", TicketLogin: &off, OneTimeDefault: &on, CustomerLifetime: 2 * time.Hour}, // the brand's maximum holds
		{Brand: "acme", ID: "full", MaxLifetime: time.Second},                                                // replaces all of it
		{Brand: "acme", ID: "Full", Name: "another"},
	} {
		require.NoError(t, db.PutChannel(ctx, c))
		got, err := db.Channel(ctx, c.Brand, c.ID)
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
	_, err := db.Channel(ctx, "acme", "FULL")
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestPutChannelRefuses(t *testing.T) {
	db := withBrands(t, "acme")
	for name, c := range map[string]struct {
		channel Channel
		field   string
	}{
		"no brand":       {Channel{ID: "c"}, "brand"},
		"negative":       {Channel{Brand: "acme", ID: "c", CustomerLifetime: -time.Second}, "customerLifetime"},
		"max fraction":   {Channel{Brand: "acme", ID: "c", MaxLifetime: 1}, "maxLifetime"},
		"over own max":   {Channel{Brand: "acme", ID: "c", CustomerLifetime: 2 * time.Second, MaxLifetime: time.Second}, "customerLifetime"},
		"beyond tickets": {Channel{Brand: "acme", ID: "c", CustomerLifetime: 1200 * time.Hour}, "customerLifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			var field *FieldError
			require.ErrorAs(t, db.PutChannel(t.Context(), c.channel), &field)
			assert.Equal(t, c.field, field.Field)
		})
	}
	err := db.PutChannel(t.Context(), Channel{Brand: "nobody", ID: "c"})
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorContains(t, err, `brand "nobody"`)
}
