package directory

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/textrule"
)

func TestAgentRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		for _, a := range []Agent{
			{Brand: "acme", Username: "plain"},
			{Brand: "acme", Username: "ann", Email: "Ann@Example.com", Phone1: "+442501234567", UniqueID: "7",
				FirstName: "Ann", LastName: "Ash", Groups: []string{"sales", "emea & apac", "Größe"}, Active: true},
			{Brand: "acme", Username: "Anna", Email: "ann@example.com", Phone1: "+442501234567", UniqueID: "7",
				Active: true}, // only usernames are unique
			{Brand: "acme", Username: "ann", LastName: "Oak"}, // replaces all of it
		} {
			replaceAgent(t, db, a)
			got, err := db.Agent(ctx, "acme", a.Username)
			require.NoError(t, err)
			assert.Equal(t, chosen(t, a, got), got)
		}
		for given, spelled := range map[string]string{"ANN": "ann", "anna": "Anna"} {
			a, err := db.Agent(ctx, "acme", given)
			require.NoError(t, err)
			assert.Equal(t, spelled, a.Username)
		}
		assert.Equal(t, 3, count(t, db, `SELECT count(*) FROM agent`))
	})
}

func TestAddAgentRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "acme")
		for _, phone := range []string{"442501234567", "+44 250 1234567", "+4402012345678", "+999123456789", "+44",
			"020 1234 5678"} {
			err := db.AddAgent(t.Context(), Agent{Brand: "acme", Username: "ann", Phone1: phone})
			var field *FieldError
			require.ErrorAs(t, err, &field, phone)
			assert.Equal(t, "phone1", field.Field)
			assert.NotContains(t, err.Error(), phone+" ")
		}
		err := db.AddAgent(t.Context(), Agent{Username: "ann"})
		assert.ErrorContains(t, err, "brand is empty")
		err = db.AddAgent(t.Context(), Agent{Brand: "nobody", Username: "ann"})
		assert.ErrorIs(t, err, ErrNotFound)
		assert.ErrorContains(t, err, `brand "nobody"`)
		assert.Zero(t, count(t, db, `SELECT count(*) FROM agent`))
	})
}

func TestMatchAgent(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme", "other")
		ann := Agent{Brand: "acme", Username: "ann", Email: "Ann@Example.com", Phone1: "+442501234567", UniqueID: "Seven",
			FirstName: "Ann", LastName: "Ash", Active: true}
		bare := Agent{Brand: "acme", Username: "bare", Active: true}
		gone := ann
		gone.Username, gone.Active = "gone", false
		for _, a := range []Agent{ann, bare, gone} {
			require.NoError(t, db.AddAgent(ctx, a))
		}
		for _, c := range []struct {
			name, brand, username string
			given                 Fields
			reason                string // "": matches
		}{
			{"username alone", "acme", "ann", Fields{}, ""},
			{"all", "acme", "ann", Fields{"Ann@Example.com", "+442501234567", "Seven", "Ann", "Ash", ""}, ""},
			{"email in other case", "acme", "ann", Fields{Email: "aNN@eXAMPLE.COM"}, ""},
			{"one of them", "acme", "ann", Fields{Phone1: "+442501234567"}, ""},
			{"nothing of a bare record", "acme", "bare", Fields{}, ""},

			{"email", "acme", "ann", Fields{Email: "ann@example.org"}, "email not as in the record"},
			{"phone", "acme", "ann", Fields{Phone1: "+442501234568"}, "phone1 not as in the record"},
			{"phone without +", "acme", "ann", Fields{Phone1: "442501234567"}, ""},
			{"phone with separators", "acme", "ann", Fields{Phone1: "+44 250 123 45 67"}, ""},
			{"phone of the region", "acme", "ann", Fields{Phone1: "0250 1234567", Region: "GB"}, ""},
			{"phone of another region", "acme", "ann", Fields{Phone1: "0250 1234567", Region: "DE"}, "phone1 not as in the record"},
			{"uniqueId in other case", "acme", "ann", Fields{UniqueID: "seven"}, "uniqueId not as in the record"},
			{"first name in other case", "acme", "ann", Fields{FirstName: "ann"}, "firstName not as in the record"},
			{"last name with a space", "acme", "ann", Fields{LastName: "Ash "}, "lastName not as in the record"},
			{"one of many", "acme", "ann", Fields{"Ann@Example.com", "+442501234567", "Eight", "Ann", "Ash", ""},
				"uniqueId not as in the record"},
			{"all of them", "acme", "ann", Fields{"x", "+442501234568", "x", "x", "x", ""},
				"email, phone1, uniqueId, firstName, lastName not as in the record"},
			{"field that the record lacks", "acme", "bare", Fields{Email: "bare@example.com"}, "email not as in the record"},
			{"inactive", "acme", "gone", Fields{}, "inactive"},
			{"inactive, and differs", "acme", "gone", Fields{Email: "x"}, "inactive"},
			{"username in other case", "acme", "Ann", Fields{}, ""},
			{"username with a space", "acme", "ann ", Fields{}, "no such agent"},
			{"email with a space", "acme", "ann", Fields{Email: "Ann@Example.com "}, "email not as in the record"},
			{"no username", "acme", "", Fields{}, "no such agent"},
			{"email is no username", "acme", "Ann@Example.com", Fields{}, "no such agent"},
			{"another brand", "other", "ann", Fields{}, "no such agent"},
			{"no such brand", "nobody", "ann", Fields{}, "no such agent"},
			{"no brand", "", "ann", Fields{}, "no such agent"},
		} {
			t.Run(c.name, func(t *testing.T) {
				got, err := db.MatchAgent(ctx, c.brand, c.username, c.given)
				if c.reason == "" {
					require.NoError(t, err)
					assert.Equal(t, strings.ToLower(c.username), got.Username)
					assert.True(t, got.Active)
					return
				}
				assert.Zero(t, got)
				assert.ErrorIs(t, err, ErrNotFound)
				var mismatch *MismatchError
				require.ErrorAs(t, err, &mismatch)
				assert.Equal(t, MismatchError{Brand: c.brand, Username: c.username, Reason: c.reason}, *mismatch)
				assert.ErrorContains(t, err, c.reason)
			})
		}
		for _, username := range []string{"ann", "nobody"} {
			_, err := db.MatchAgent(ctx, "acme", username, Fields{Phone1: "a number"})
			var wrong *FieldError
			require.ErrorAs(t, err, &wrong, "a number that is none is told, also where there is no such agent")
			assert.Equal(t, "phone1", wrong.Field)
		}
	})
}

// Of two records that differ in one field, only the fields' own record matches.
func TestMatchAgentEveryFieldCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.withBrands(t, "acme")
		values := Fields{"ann@example.com", "+442501234567", "7", "Ann", "Ash", ""}
		fields := func(f *Fields) []*string {
			return []*string{&f.Email, &f.Phone1, &f.UniqueID, &f.FirstName, &f.LastName}
		}
		require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Email: values.Email, Phone1: values.Phone1,
			UniqueID: values.UniqueID, FirstName: values.FirstName, LastName: values.LastName, Active: true}))
		for subset := range 1 << 5 { // which fields are given
			for wrong := -1; wrong < 5; wrong++ { // which of them differs
				var given Fields
				for i, to := range fields(&given) {
					if subset>>i&1 == 1 {
						*to = *fields(&values)[i]
					}
					if i == wrong && *to != "" {
						*to = "1" + *to
						given.Phone1 = strings.Replace(given.Phone1, "1+44", "+1", 1) // another number, and not none
					}
				}
				_, err := db.MatchAgent(ctx, "acme", "ann", given)
				if wrong >= 0 && subset>>wrong&1 == 1 {
					assert.ErrorIs(t, err, ErrNotFound, "%+v", given)
				} else {
					assert.NoError(t, err, "%+v", given)
				}
			}
		}
	})
}

func TestMismatchErrorIsOneLine(t *testing.T) {
	err := &MismatchError{Brand: "a\nb", Username: "c\x1b[31m\u2028d", Reason: "no such agent"}
	assert.False(t, strings.ContainsFunc(err.Error(), textrule.IsControl))
}
