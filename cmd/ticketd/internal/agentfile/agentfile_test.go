package agentfile

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Imports come to the agents in one order, whatever that of the file, so that of two
// at the same time none ends in a deadlock.
func TestImportOrder(t *testing.T) {
	file, mistakes, err := Read(strings.NewReader("username,email\nzoe,z@x\nann,a@x\nZoey,b@x\nÄnne,c@x\n"),
		directory.Brand{Name: "acme"})
	require.NoError(t, err)
	require.Empty(t, mistakes)
	var names []string
	for _, a := range file.Agents {
		names = append(names, a.Username)
	}
	assert.Equal(t, []string{"ann", "zoe", "Zoey", "Änne"}, names)
}

// Each mistake is told with its line, and the other lines are read.
func TestMistakes(t *testing.T) {
	brand := directory.Brand{Name: "acme", Region: "GB"}
	for name, c := range map[string]struct {
		text, want string // the mistakes, as "line column"
		agents     int
	}{
		"empty":            {"", "1 ", 0},
		"semicolons":       {"username;email\nann;x\n", "1 ", 0},
		"no username":      {"email\na@x\n", "1 ", 0},
		"a column twice":   {"username,username\n", "1 username", 0},
		"unknown column":   {"username,e-mail\n", "1 ", 0},
		"not UTF-8":        {"username,\xff\n", "1 ", 0},
		"a mark":           {"\ufeff\"username\"\nann\n", "", 1},
		"blank lines":      {"username\n\nann\n\n\nbob\n", "", 2},
		"too many values":  {"username\nann,x\nbob\n", "2 ", 1},
		"a quote open":     {"username\nann\n\"bob\ncleo\n", "3 ", 1},
		"two lines in one": {"username,firstName\nann,\"A\nB\"\nbob,B\n", "2 firstName", 1},
		"an agent twice":   {"username\nann\nbob\nANN\n", "4 username", 2},
		"values":           {"username,email,phone1,active\nann,x,,\nbob,,12,\ncleo,,,maybe\ndan,,,TRUE\n,,,\n", "2 email,3 phone1,4 active,6 username", 1},
	} {
		file, mistakes, err := Read(strings.NewReader(c.text), brand)
		require.NoError(t, err, name)
		var got []string
		for _, m := range mistakes {
			assert.NotEmpty(t, m.Reason, name)
			got = append(got, fmt.Sprint(m.Line, " ", m.Column))
		}
		assert.Equal(t, c.want, strings.Join(got, ","), name)
		assert.Len(t, file.Agents, c.agents, name)
	}
	_, mistakes, err := Read(strings.NewReader("username\n"+strings.Repeat("a,b\n", 2*MaxMistakes)), brand)
	require.NoError(t, err)
	assert.Len(t, mistakes, MaxMistakes)
}

// FuzzRead: whatever the file, each mistake has a line and words, and each agent is good, has
// a line of its own, and comes in the order of the usernames.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"username,email,phone1,uniqueId,firstName,lastName,groups,active\nann,a@x,+442501234567,7,A,B,\"x, y\",true\n",
		"\ufeffusername\r\nann\r\n\r\nbob\r\n", "username;email\n", "username,active\nann,\nANN,TRUE\n", "username\n\"ann\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, mistakes, err := Read(strings.NewReader(text), directory.Brand{Name: "acme", Region: "GB"})
		require.NoError(t, err)
		require.LessOrEqual(t, len(mistakes), MaxMistakes)
		for _, m := range mistakes {
			require.Positive(t, m.Line, text)
			require.NotEmpty(t, m.String())
		}
		lines := make(map[int]bool)
		last := ""
		for _, a := range file.Agents {
			require.NoError(t, a.Validate())
			line := file.Line(a.Username)
			require.Positive(t, line)
			require.False(t, lines[line], "line %d has two agents", line)
			lines[line] = true
			key := directory.UsernameKey(a.Username)
			require.Less(t, last, key)
			last = key
			file.Missing(a)
		}
		// Every line is an agent or a mistake: encoding/csv, in one call, has as many.
		records, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).ReadAll()
		if len(mistakes) == 0 && err == nil {
			require.Len(t, file.Agents, len(records)-1)
		}
	})
}
