package settings

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/internal/spelling"
)

// No setting can be taken for a variable that Kubernetes sets by itself, nor the other
// way round.
func TestServiceLinks(t *testing.T) {
	links := []string{
		"ADMITONE_SERVICE_HOST=10.0.0.1", "ADMITONE_SERVICE_PORT=443", "ADMITONE_SERVICE_PORT_HTTPS=443",
		"ADMITONE_PORT=tcp://10.0.0.1:443", "ADMITONE_PORT_443_TCP=tcp://10.0.0.1:443",
		"ADMITONE_PORT_443_TCP_PROTO=tcp", "ADMITONE_PORT_443_TCP_PORT=443", "ADMITONE_PORT_443_TCP_ADDR=10.0.0.1",
	}
	for _, service := range append(knownVariables(), "DEMO", "TICKETD_2") {
		for _, link := range links[:8:8] {
			links = append(links, strings.Replace(link, "ADMITONE_", "ADMITONE_"+service+"_", 1))
		}
	}
	assert.Empty(t, unknownVariables(links))
	for _, name := range knownVariables() {
		assert.False(t, serviceLink.MatchString("ADMITONE_"+name), name)
	}
	assert.Equal(t, []string{"ADMITONE_LISTN", "ADMITONE_PORTS", "ADMITONE_"},
		unknownVariables([]string{
			"ADMITONE_LISTN=:80", "ADMITONE_LISTEN=:80", "ADMITONE_PORTS=1", "ADMITONE_EMPTY=", "ADMITONE_ACTOR=a",
			"HOME=/", "ADMITONE_=x", "ADMITONE=1",
		}))
}

func TestNearest(t *testing.T) {
	for written, want := range map[string]string{
		"LISTN": "LISTEN", "TRUSTED_PROXY": "TRUSTED_PROXIES", "DATABSE": "DATABASE", "PUBLICURL": "PUBLIC_URL",
		"REPLAY_TIMOUT": "REPLAY_TIMEOUT",
		"PASSPHRASE":    "", "KEY": "", "API_KEY": "API_KEY", "": "", "HOME": "", "URL": "URL",
	} {
		assert.Equal(t, want, spelling.Nearest(written, knownVariables()), written)
	}
	assert.Equal(t, "b", spelling.Nearest("b", []string{"a", "b"}))
}

// What is no setting and near to none is told in the log, by its name alone; what the
// key-encryption key names is in use.
func TestWarnOfVariables(t *testing.T) {
	t.Setenv("ADMITONE_PASSPHRASE", "hunter2")
	t.Setenv("ADMITONE_WORKERS", "4711")
	var b bytes.Buffer
	WarnOfVariables(slog.New(slog.NewTextHandler(&b, nil)), "passphrase:env:ADMITONE_PASSPHRASE")
	assert.Contains(t, b.String(), "ADMITONE_WORKERS")
	assert.Equal(t, 1, strings.Count(b.String(), "\n"), b.String())
	assert.NotContains(t, b.String(), "4711")
}
