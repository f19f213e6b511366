package settings

import (
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// fields is the table from the Go fields that errors name to ticketd's flags.
var fields = cli.Fields{
	"memory.Config.MaxBytes":          "replay-memory",
	"journal.Config.MaxBytes":         "replay-memory",
	"journal.Config.Dir":              "replay",
	"redisstore.Config.URL":           "replay",
	"redisstore.Config.Timeout":       "replay-timeout",
	"redisstore.Config.TLS":           "replay-ca",
	"redisstore.Config.Wait.Replicas": "replay-wait",
	"pgstore.Config.URL":              "replay",
	"pgstore.Config.Timeout":          "replay-timeout",
	"ratelimit.RedisConfig.URL":       "rate-store",
	"directory.dsn":                   "database",
	"web.Config.Home":                 "agent-home",
	"state.Place.Data":                "data",
	"state.Place.Keyrings":            "keyrings",
	"state.Place.Database":            "database",
	"state.Place.Realm":               "realm",
	"state.Place.KEK":                 "kek",
	"service.Config.Listen":           "listen",
	"service.Config.MetricsListen":    "metrics-listen",
	"service.Config.CertFile":         "tls-cert",
	"service.Config.KeyFile":          "tls-key",
	"service.Config.RateStore":        "rate-store",
	"service.Config.Pages":            "pages",
	"service.Config.Issuers":          "issuers",
	"service.Config.Recipient":        "recipient",
	"service.Config.RecipientOf":      "recipient-identity",
	"service.Config.IssuerName":       "issuer-name",
	"service.Config.Bundles":          "bundle",
	"service.Config.BundleOf":         "bundle-identity",
	"service.Config.Trust":            "trust",
	"service.Config.TrustKEK":         "trust-kek",
	"service.Config.MaxLifetime":      "max-lifetime",
	"service.Replay.CAFile":           "replay-ca",
}

// Explain returns an error that a command ended with in the words of its flags, with
// the variable or the line of the configuration file at fault.
func Explain(cmd *cobra.Command, err error) error { return fields.Explain(cmd.Flags(), err) }
