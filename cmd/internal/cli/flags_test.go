package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

var fields = Fields{
	"redisstore.Config.URL":     "replay",
	"redisstore.Config.Timeout": "replay-timeout",
	"claims":                    "claim",
	"claims.*":                  "claim",
}

func someFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.String("replay", "memory", "where tickets are remembered")
	f.Duration("replay-timeout", time.Second, "how long to wait")
	f.StringArray("claim", nil, "a claim")
	f.Int("replicas", 1, "how many")
	return f
}

func TestExplain(t *testing.T) {
	url := &token.ConfigError{Field: "redisstore.Config.URL", Reason: "has a query", Cause: fs.ErrInvalid}
	for _, row := range []struct {
		err  error
		want string
	}{
		{url, "f.yaml:3: --replay has a query: invalid argument"},
		{fmt.Errorf("opening the store: %w", Usage(url)), "f.yaml:3: --replay has a query: invalid argument"},
		{&token.ConfigError{Field: "redisstore.Config.Timeout", Reason: "is too short"}, "ADMITONE_X: --replay-timeout is too short"},
		{Flagf("replicas", "%d is less than 1", 0), "--replicas 0 is less than 1"},
		{&token.FieldError{Field: "claims", Reason: "has too many"}, "--claim has too many"},
		{&token.FieldError{Field: "claims.tier", Reason: "is empty"}, "--claim tier is empty"},
		{&token.ConfigError{Field: "pgstore.Config.URL", Reason: "is wrong"}, "pgstore.Config.URL is wrong"},
		{errors.New("disk full"), "disk full"},
		{Flagf("unknown", "is wrong"), "--unknown is wrong"},
		{failure{&FlagError{Flag: "replay", Cause: errors.New("disk full")}}, "f.yaml:3: --replay: disk full"},
		{&FlagError{Flag: "replicas", Others: []string{"replay"}, Reason: "and --replay do not fit"}, "f.yaml:3: --replicas and --replay do not fit"},
		{&FlagError{Flag: "replay", Others: []string{"replay-timeout", "replay"}, Reason: "is odd"}, "f.yaml:3, ADMITONE_X: --replay is odd"},
	} {
		f := someFlags()
		require.NoError(t, SetFrom(f, "replay", "memory", "f.yaml:3"))
		require.NoError(t, SetFrom(f, "replay-timeout", "1s", "ADMITONE_X"))
		got := fields.Explain(f, row.err)
		assert.EqualError(t, got, row.want)
		assert.ErrorIs(t, got, row.err)
		assert.Equal(t, IsUsage(failure{row.err}), IsUsage(failure{got}))
	}
	assert.NoError(t, fields.Explain(someFlags(), nil))
	assert.EqualError(t, fields.Explain(someFlags(), url), "--replay has a query: invalid argument", "of the command line")
}

func TestForFlag(t *testing.T) {
	assert.EqualError(t, ForFlag("kek", &token.ConfigError{Field: "kms.URI", Reason: "names no token"}),
		"--kek names no token")
	assert.EqualError(t, ForFlag("realm", &token.FieldError{Field: "realm", Reason: "is missing"}), "--realm is missing")
	assert.EqualError(t, ForFlag("ca", fs.ErrNotExist), "--ca: file does not exist")
	assert.ErrorIs(t, ForFlag("ca", fs.ErrNotExist), fs.ErrNotExist)
}

// A value of the wrong form may be a secret that was meant for another flag.
func TestWrongValues(t *testing.T) {
	const secret = "hunter2"
	for flag, want := range map[string]string{
		"replay-timeout": "write a duration such as 10s or 5m",
		"replicas":       "write a whole number",
	} {
		f := someFlags()
		err := SetFrom(f, flag, secret, "ADMITONE_X")
		assert.EqualError(t, fields.Explain(f, err), "ADMITONE_X: --"+flag+": "+want)

		root := &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true}
		root.RunE = func(*cobra.Command, []string) error { return nil }
		root.Flags().AddFlagSet(someFlags())
		Finish(root)
		root.SetArgs([]string{"--" + flag, secret})
		err = root.Execute()
		assert.EqualError(t, err, "--"+flag+": "+want)
		assert.True(t, IsUsage(err))
	}
}

func TestVariable(t *testing.T) {
	for _, row := range []struct {
		variable string
		args     []string
		value    string
		err      string
	}{
		{"", nil, "1", ""},
		{"3", nil, "3", ""},
		{"3", []string{"--replicas", "2"}, "2", ""},
		{"hunter2", []string{"--replicas", "2"}, "2", ""},
		{"hunter2", nil, "1", "ADMITONE_REPLICAS: --replicas: write a whole number"},
	} {
		t.Setenv("ADMITONE_REPLICAS", row.variable)
		var value string
		cmd := Command(&cobra.Command{SilenceErrors: true, SilenceUsage: true}, func(cmd *cobra.Command, _ []string) error {
			value = cmd.Flag("replicas").Value.String()
			return nil
		})
		cmd.Flags().AddFlagSet(someFlags())
		Variable(cmd.Flags(), "replicas", "ADMITONE_REPLICAS")
		assert.Equal(t, "how many (environment: ADMITONE_REPLICAS)", cmd.Flag("replicas").Usage)
		cmd.SetArgs(row.args)
		err := cmd.Execute()
		if row.err == "" {
			require.NoError(t, err)
			assert.Equal(t, row.value, value)
			continue
		}
		assert.True(t, IsUsage(err))
		assert.EqualError(t, fields.Explain(cmd.Flags(), err), row.err)
	}
}
