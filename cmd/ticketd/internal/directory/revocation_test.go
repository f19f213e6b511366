package directory

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

func TestRevokeTicket(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		one, two := token.ID{1}, token.ID{2}
		for range 2 {
			require.NoError(t, db.RevokeTicket(ctx, "acme", "", one))
		}
		for _, c := range []struct {
			brand string
			id    token.ID
			want  bool
		}{{"acme", one, true}, {"acme", two, false}, {"other", one, false}, {"nobody", one, false}} {
			got, err := db.TicketRevoked(ctx, c.brand, "", c.id)
			require.NoError(t, err)
			assert.Equal(t, c.want, got, "%+v", c)
		}
		assert.ErrorIs(t, db.RevokeTicket(ctx, "nobody", "", one), ErrNotFound)

		// A revocation is kept as long as the ticket might be good, and goes then.
		db.jobs.purge(start.Add(revocationKept))
		assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM revocation`))
		db.jobs.purge(start.Add(revocationKept + time.Millisecond))
		assert.Zero(t, count(t, db, `SELECT count(*) FROM revocation`))
		require.NoError(t, db.RevokeTicket(ctx, "acme", "", one))
		require.NoError(t, db.RemoveBrand(ctx, "acme", false))
	})
}

// A revocation is of one issuer's ticket.
//
// trap F15
func TestRevokeTicketOfIssuer(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		id := token.ID{1}
		var revoked []string
		for _, issuer := range []string{"beta", "", "gamma"} {
			for range 2 {
				require.NoError(t, db.RevokeTicket(ctx, "acme", issuer, id))
			}
			revoked = append(revoked, issuer)
			for _, of := range []string{"", "beta", "gamma", "delta"} {
				got, err := db.TicketRevoked(ctx, "acme", of, id)
				require.NoError(t, err)
				assert.Equal(t, slices.Contains(revoked, of), got, of)
			}
		}
		assert.Equal(t, 3, count(t, db, `SELECT count(*) FROM event WHERE action = 'ticket.revoke'`))
		var field *FieldError
		assert.ErrorAs(t, db.RevokeTicket(ctx, "acme", "a\nb", id), &field)
	})
}

func TestParseTicketID(t *testing.T) {
	id := token.ID{0xab, 15: 0xcd}
	got, err := ParseTicketID(id.String())
	require.NoError(t, err)
	assert.Equal(t, id, got)
	for _, wrong := range []string{"", "ab", id.String()[1:], id.String() + "00", "tkt1_" + id.String()[5:]} {
		_, err := ParseTicketID(wrong)
		var field *FieldError
		assert.ErrorAs(t, err, &field, wrong)
	}
}
