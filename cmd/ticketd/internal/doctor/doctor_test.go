package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/internal/servers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// lines returns findings as lines.
func lines(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s: %s; %s\n", f.Result, f.Name, f.Text, f.Remedy)
	}
	return b.String()
}

// pair writes a certificate for login.example.com, and its key.
func pair(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to,
		DNSNames: []string{"login.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return cert, key
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := pair(t, now, now.Add(90*day))
	check := func(at time.Time, publicURL string) string {
		f := &findings{c: service.Config{CertFile: cert, KeyFile: key, PublicURL: publicURL}, now: at}
		f.certificate()
		return lines(f.all)
	}
	good := check(now.Add(time.Hour), "https://login.example.com:8443")
	assert.Regexp(t, `^ok certificate: .* is good until \S+; \n$`, good)
	assert.Regexp(t, `warning certificate: .* in 29 days; renew it`, check(now.Add(60*day+time.Hour), ""))
	assert.Regexp(t, `failed certificate: .* ended at`, check(now.Add(91*day), ""))
	assert.Regexp(t, `failed certificate: .* is good from`, check(now.Add(-day), ""))
	assert.Regexp(t, `warning certificate's names: other.example.com of --public-url`,
		check(now.Add(time.Hour), "https://other.example.com"))
	assert.NotContains(t, check(now.Add(time.Hour), "http://other.example.com"), "names")
	require.NoError(t, os.WriteFile(key, []byte("x"), 0o600))
	assert.Contains(t, check(now, ""), "failed certificate: ")
}

// A clock that was set back is found, on both kinds of database, and nothing is made.
func TestState(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := state.Place{Data: t.TempDir()}
			require.NoError(t, os.Chmod(p.Data, 0o700))
			if kind == "postgres" {
				p.Database = servers.Database(t)
			}
			c := service.Config{State: p, MaxLifetime: time.Minute, Replay: service.Replay{URI: "memory"}}
			for range 2 {
				assert.Contains(t, lines(State(t.Context(), c, time.Now())), "failed directory: ", "nothing was made")
			}
			_, err := p.Make(t.Context(), time.Minute)
			require.NoError(t, err)
			db, err := directory.Open(t.Context(), p.Directory())
			require.NoError(t, err)
			require.NoError(t, db.AddBrand(t.Context(), directory.Brand{Name: "commbox"}))
			require.NoError(t, db.Close())
			whole := lines(append(Files(c, time.Now()), State(t.Context(), c, time.Now())...))
			assert.NotContains(t, whole, "failed")
			assert.Contains(t, whole, "ok directory: whole")
			assert.Contains(t, whole, "warning replay store: memory")
			c.Pages = t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(c.Pages, "logos"), 0o700))
			for _, brand := range []string{"commbox", "Commbox"} {
				require.NoError(t, os.WriteFile(filepath.Join(c.Pages, "logos", brand+".svg"), []byte("<svg/>"), 0o600))
			}
			pages := lines(State(t.Context(), c, time.Now()))
			assert.Contains(t, pages, `warning pages: there is a logo of the brand "Commbox", which does not exist`)
			assert.NotContains(t, pages, `"commbox"`)
			c.Pages = ""
			early := time.Now().Add(-time.Hour)
			assert.Contains(t, lines(Files(c, early)), "failed clock: the clock is ")
			if kind == "sqlite" { // a server's clock is compared within the time that the checks take
				assert.Contains(t, lines(State(t.Context(), c, time.Now().Add(time.Hour))), "ok clock: ")
			} else {
				assert.Contains(t, lines(State(t.Context(), c, time.Now().Add(time.Hour))), "failed clock: ")
			}
		})
	}
}

// A shared store that does not answer, or is not fit, fails.
func TestSharedStore(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, "", servers.Forgetful...)
	check := func(uri string) string {
		f := &findings{c: service.Config{Replay: service.Replay{URI: uri}}, now: time.Now()}
		f.replay(t.Context())
		return lines(f.all)
	}
	assert.Contains(t, check(redis.URL), "ok replay store: redis://")
	assert.Contains(t, check(fmt.Sprintf("redis://127.0.0.1:%d", servers.Port(t))), "failed replay store: ")
	assert.Contains(t, check(servers.Database(t)), "ok replay store: postgres://")
}
