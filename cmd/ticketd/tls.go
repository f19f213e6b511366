package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// keyPair is the service's certificate and its key. They are read again when the files
// change, and a pair that is no good leaves the last good one in use.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger
	files             *watch
	current           atomic.Pointer[tls.Certificate]
}

// tlsFlags adds the flags of TLS.
func (o *options) tlsFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` with the service's certificate and those between it and its authority, in PEM; with it the service speaks HTTPS, and reads it again when it changes")
	f.StringVar(&o.tlsKey, "tls-key", "", "`FILE` with the certificate's key, in PEM")
}

func (o *options) checkTLS() error {
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return cli.Usagef("--tls-cert and --tls-key belong together: give both")
	}
	return nil
}

func openCertificate(certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	c := &keyPair{certFile: certFile, keyFile: keyFile, log: log, files: newWatch(certFile, keyFile)}
	return c, c.load()
}

// load reads the files.
func (c *keyPair) load() error {
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return fmt.Errorf("--tls-key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		c.log.Warn("the certificate is not in time", "file", c.certFile, "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	}
	c.current.Store(&pair)
	c.log.Info("certificate in use", "file", c.certFile, "serial", leaf.SerialNumber.Text(16), "not_after", leaf.NotAfter)
	return nil
}

// reload reads the files again.
func (c *keyPair) reload() {
	if err := c.load(); err != nil {
		c.log.Error("the certificate was not taken; the one before stays in use", "error", err)
	}
}

// get is the GetCertificate of a tls.Config.
func (c *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errors.New("no certificate")
}
