package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
)

// The README's curl lines work as pasted into a shell, and answer what the
// documentation that backends were written for shows, byte for byte.
func TestReadmeCurl(t *testing.T) {
	t.Parallel()
	needs(t, "curl")
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	// Indented blocks that begin with curl, line by line.
	blocks := regexp.MustCompile(`(?m)^    curl .*\n(?:      .*\n)*`).FindAllString(string(readme), -1)
	require.Len(t, blocks, 3, "two tickets and a redemption")
	_, info := startDemo(t)
	ticket := ""
	paste := func(block string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", block)
		cmd.Env = append(os.Environ(), "URL="+info.URL, "KEY="+info.APIKey, "TICKET="+ticket, "BINDING=0123456789abcdef0123456789abcdef")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		return string(out)
	}
	granted := regexp.MustCompile(`^\{"status":"200","description":"Operation successful","response_time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,6}[1-9])?Z",` +
		`"data":\{"encpryptedString":"(tkt1_[A-Za-z0-9_-]+)"\}\}\n$`)
	for i, page := range []string{info.LoginURL, info.ChatURL} {
		m := granted.FindStringSubmatch(paste(blocks[i]))
		require.NotNil(t, m, blocks[i])
		assert.Equal(t, http.StatusSeeOther, mustEnter(t, page, m[1]))
	}
	redeemed := func() bool {
		var v struct {
			Status string
			Data   struct {
				Result string
				Agent  struct{ Username string }
			}
		}
		out := paste(blocks[2])
		require.NoError(t, json.Unmarshal([]byte(out), &v), out)
		return v.Status == "200" && v.Data.Result == "admitted" && v.Data.Agent.Username == "john.d"
	}
	for again := false; !again; {
		ticket = granted.FindStringSubmatch(paste(blocks[0]))[1]
		began := time.Now()
		require.True(t, redeemed())
		again = redeemed() // with the same binding
		require.True(t, again || time.Since(began) >= replay.Grace)
	}
	assert.Contains(t, paste(strings.Replace(blocks[2], "$BINDING", "$BINDING"+"x", 1)), `"reason":"already_used"`)
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket))
}
