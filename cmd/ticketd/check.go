package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/doctor"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

// A diagnosis is the JSON of check-config, doctor and health.
type diagnosis struct {
	Checks []doctor.Finding `json:"checks"`
	Exit   int              `json:"exit"`
}

// errUnwell ends a command that has printed what is wrong.
var errUnwell = errors.New("something is wrong")

func checkConfigCommand(stdout io.Writer) *cobra.Command {
	return examination(&cobra.Command{
		Use:   "check-config",
		Short: "Find mistakes in the settings of serve",
		Long: `check-config has the flags of serve, and reads the same environment variables and
configuration file. It prints all mistakes at once, and checks the files that the
settings name: certificate, keyrings, lists of issuers. It takes no lock, changes
nothing, and connects to nothing but a cloud KMS with the key-encryption key. So it may
run beside a service, before a restart.

Exit codes: 0 no mistake, 1 a file cannot be used, 2 a setting is wrong as written.`,
		Example: `  ticketd check-config --config /etc/ticketd.yaml
  ticketd check-config --data /var/lib/ticketd --tls-cert cert.pem --tls-key key.pem --json`,
	}, stdout, false)
}

func doctorCommand(stdout io.Writer) *cobra.Command {
	return examination(&cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong on this machine, and tell how to repair it",
		Long: `doctor checks all that serve needs on this machine: what check-config checks, the
data folder with owners and modes, the space on the disk, the clock, the directory,
whose file it reads as a whole, the replay store, and certificates and API keys that
end soon. Each check is one line; a check that failed tells the remedy.

Give doctor the flags, the environment and the file of serve, and run it as the user of
the service. It repairs nothing and takes no lock, so it may run beside a service.

Exit codes: 0 a service can run, perhaps with warnings; 1 a check failed; 2 a setting
is wrong as written.`,
		Example: `  ticketd doctor --config /etc/ticketd.yaml
  ticketd doctor --data /var/lib/ticketd --json`,
	}, stdout, true)
}

func healthCommand(stdout io.Writer) *cobra.Command {
	var flags settings.Service
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the service on this machine whether it is ready",
		Long: `health asks the service at the address of --listen for /readyz: the health check of a
container, which needs no other program. It has the flags of serve, and reads the same
environment variables and configuration file.

Exit codes: 0 the service is ready; 1 it is not, or does not answer; 2 a setting is
wrong as written.`,
		Example: `  ticketd health --listen 127.0.0.1:8080
  ticketd health --config /etc/ticketd.yaml --json`,
		Args: cobra.NoArgs,
	}
	flags.AddServeFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		config, err := flags.Load(cmd)
		if err != nil {
			return err
		}
		d := diagnosis{Checks: []doctor.Finding{doctor.Health(cmd.Context(), config)}}
		if d.Checks[0].Result == doctor.Failed {
			d.Exit = exitFailed
		}
		return d.tell(stdout, asJSON)
	})
}

// examination gives cmd the flags of serve, and a body that checks the settings, and with state
// the state as well.
func examination(cmd *cobra.Command, stdout io.Writer, state bool) *cobra.Command {
	var flags settings.Service
	var asJSON bool
	cmd.Args = cobra.NoArgs
	flags.AddServeFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		d := diagnosis{Checks: []doctor.Finding{}}
		config, mistakes := flags.Mistakes(cmd)
		if config.State.Data == "" {
			mistakes = append(mistakes, cli.Usagef("no data folder: give --data DIR, or set ADMITONE_DATA"))
		}
		for _, err := range mistakes {
			lines := strings.Split(cli.Message(settings.Explain(cmd, err)), "\n")
			if len(lines) > 1 {
				lines = lines[1:] // of the configuration file, below their title
			}
			for _, line := range lines {
				d.Checks = append(d.Checks, doctor.Finding{
					Name: "settings", Result: doctor.Failed, Text: line, Remedy: "see ticketd serve --help",
				})
			}
			d.Exit = exitUsage
		}
		if len(mistakes) == 0 {
			d.Checks = append(d.Checks, doctor.Finding{Name: "settings", Result: doctor.Well, Text: "no mistake"})
		}
		now := time.Now()
		if config.State.Data != "" {
			d.Checks = append(d.Checks, doctor.Files(config, now)...)
			if state && len(mistakes) == 0 {
				d.Checks = append(d.Checks, doctor.State(cmd.Context(), config, now)...)
			}
		}
		isFailed := func(f doctor.Finding) bool { return f.Result == doctor.Failed }
		if d.Exit == exitOK && slices.ContainsFunc(d.Checks, isFailed) {
			d.Exit = exitFailed
		}
		return d.tell(stdout, asJSON)
	})
}

// tell prints the checks, and returns the error for the exit code.
func (d *diagnosis) tell(w io.Writer, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(d); err != nil {
			return err
		}
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range d.Checks {
			text := c.Text
			if c.Remedy != "" {
				text += "; " + c.Remedy
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", c.Result, c.Name, cli.Printable(text))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	switch d.Exit {
	case exitOK:
		return nil
	case exitUsage:
		return cli.Usage(errUnwell)
	}
	return errUnwell
}
