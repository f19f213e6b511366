package settings

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/token"
)

// Each field of the table has a flag of serve.
func TestFieldsHaveFlags(t *testing.T) {
	var s Service
	cmd := new(cobra.Command)
	s.AddServeFlags(cmd.Flags())
	for field, flag := range fields {
		assert.NotNil(t, cmd.Flags().Lookup(flag), "%s: --%s", field, flag)
	}
	for _, name := range reloadable {
		assert.NotNil(t, cmd.Flags().Lookup(name), name)
	}
}

// An error that names a field is told with its flag, and with the source of the flag's value.
func TestExplain(t *testing.T) {
	var s Service
	cmd := new(cobra.Command)
	s.AddServeFlags(cmd.Flags())
	wrong := &token.ConfigError{Field: "service.Config.RateStore", Reason: "cannot be used", Cause: errors.New("no route")}
	assert.EqualError(t, Explain(cmd, wrong), "--rate-store cannot be used: no route")
	require.NoError(t, cli.SetFrom(cmd.Flags(), "rate-store", "redis://x", "c.yaml:3"))
	assert.EqualError(t, Explain(cmd, wrong), "c.yaml:3: --rate-store cannot be used: no route")
	other := errors.New("disk full")
	assert.Equal(t, other, Explain(cmd, other))
}
