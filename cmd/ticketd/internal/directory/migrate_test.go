package directory

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The scripts for the two databases are the same but for what the first of them
// says, so that one set of queries fits both.
func TestMigrationsAreTheSame(t *testing.T) {
	sqlite, err := migrations.ReadDir("migrations/sqlite")
	require.NoError(t, err)
	postgres, err := migrations.ReadDir("migrations/postgres")
	require.NoError(t, err)
	require.NotEmpty(t, sqlite)
	require.Len(t, postgres, len(sqlite))
	spaces := regexp.MustCompile(` +`)
	plain := func(file string) string {
		content, err := migrations.ReadFile("migrations/" + file)
		require.NoError(t, err)
		s := strings.NewReplacer(` COLLATE "C"`, "",
			"INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "SERIAL",
			"BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "SERIAL")
		return s.Replace(spaces.ReplaceAllString(string(content), " "))
	}
	for i, f := range sqlite {
		assert.Equal(t, f.Name(), postgres[i].Name())
		if f.Name() == "00002_changes.sql" { // triggers are written otherwise
			continue
		}
		assert.Equal(t, plain("sqlite/"+f.Name()), plain("postgres/"+f.Name()))
	}
	// Names and identifiers are ordered and indexed by their bytes.
	content, err := migrations.ReadFile("migrations/postgres/00001_directory.sql")
	require.NoError(t, err)
	for _, column := range []string{"name", "brand", "id", "username_fold", "email_fold", "phone1", "uniqueid", "ticket",
		"key_id"} {
		assert.Regexp(t, `(?m)^ +`+column+` +TEXT COLLATE "C" NOT NULL`, string(content), column)
	}
}
