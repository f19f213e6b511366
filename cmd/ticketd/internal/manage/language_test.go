package manage

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
)

// A language for which the service has no texts is refused when it is set, and stays where it
// is: the service may have had texts before.
func TestLanguageWithoutTexts(t *testing.T) {
	t.Parallel()
	office, _ := newOffice(t, filepath.Join(t.TempDir(), "d"))
	desk := office.For(Caller{Role: directory.RoleAdmin, AllBrands: true})
	ctx := t.Context()
	brand := func(language string) error {
		_, err := desk.ChangeBrand(ctx, "own", func(b *directory.Brand) error { b.Language = language; return nil })
		return err
	}
	require.NoError(t, brand("ja"), "this office does not know")
	office.CheckLanguage = looks.Folder{}.CheckLanguage
	for _, good := range []string{"ja", "fr-CA", ""} {
		assert.NoError(t, brand(good))
	}
	assert.ErrorContains(t, brand("ja"), "there are en, de, es, fr, he")
	var wrong *directory.FieldError
	require.ErrorAs(t, brand("english please"), &wrong)
	assert.Equal(t, "language", wrong.Field)
	_, err := desk.AddBrand(ctx, directory.Brand{Name: "new", Settings: directory.Settings{Language: "ja"}})
	require.ErrorAs(t, err, &wrong)
	_, err = desk.AddChannel(ctx, "own", directory.Channel{ID: "c", Settings: directory.Settings{Language: "ja"}})
	require.ErrorAs(t, err, &wrong)
	_, err = desk.AddChannel(ctx, "own", directory.Channel{ID: "c", Settings: directory.Settings{Language: "es"}})
	require.NoError(t, err)
	_, err = desk.ChangeChannel(ctx, "own", "c", func(c *directory.Channel) error { c.Language = "ja"; return nil })
	require.ErrorAs(t, err, &wrong)
}
