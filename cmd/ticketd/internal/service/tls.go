package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/token"
)

// certificate is the TLS certificate of the service. The files can be read again; if
// the files hold no usable pair, the last good pair stays in use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	ends              atomic.Pointer[time.Time]
}

// openCertificate reads a certificate and its key.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.load()
}

// load reads the files. After an error the pair in use stays.
func (c *certificate) load() error {
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return badCertificate("CertFile", "cannot be read", err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return badCertificate("KeyFile", "cannot be read", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return badCertificate("CertFile", "and its key are not a usable pair", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return badCertificate("CertFile", "is not a certificate", err)
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		c.log.Warn("the certificate is not in time",
			"file", c.certFile, "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	}
	c.current.Store(&pair)
	c.ends.Store(&leaf.NotAfter)
	c.log.Info("certificate in use",
		"file", c.certFile, "serial", leaf.SerialNumber.Text(16), "not_after", leaf.NotAfter)
	return nil
}

// badCertificate is the error for a file of Config.
func badCertificate(field, reason string, err error) error {
	return &token.ConfigError{Field: "service.Config." + field, Reason: reason, Cause: err}
}

// get returns the certificate in use, as tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errors.New("no certificate")
}
