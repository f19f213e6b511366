//go:build unix

package redisstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// A server that may evict, one that is a replica, and one that lacks replicas
// are refused, with the remedy, and nothing of that is an outage.
func TestUnfitServersAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		primary := servers.Redis(t, program, servers.Forgetful...)
		replica := servers.Redis(t, program, append([]string{"--replicaof", "127.0.0.1 " + fmt.Sprint(primary.Port)},
			servers.Forgetful...)...)
		refused := func(config Config, want string) {
			t.Helper()
			config.Timeout = patience
			s, err := Open(context.Background(), config)
			require.Nil(t, s)
			require.ErrorContains(t, err, want)
			require.NotErrorIs(t, err, replay.ErrUnavailable)
		}
		refused(Config{URL: replica.URL}, "give the primary's address")
		refused(Config{URL: primary.URL, Wait: Wait{Replicas: 2}}, "ask for fewer")
		for _, policy := range []string{"allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl", "volatile-lfu"} {
			primary.Do("CONFIG", "SET", "maxmemory-policy", policy)
			refused(Config{URL: primary.URL}, "set maxmemory-policy to noeviction")
		}
		primary.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
		open(t, Config{URL: primary.URL})
		_, err := Open(context.Background(), Config{URL: primary.URL + "?addr=" + replica.Address, Timeout: patience})
		require.ErrorContains(t, err, "master_set")
	})
}

// A policy that turns bad while the store is open admits nobody from the next
// look on, and it is the same when it is good again.
//
// trap R1
func TestPolicyChanges(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := openUnwatched(t, Config{URL: server.URL})
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		s.look(context.Background())
		for _, call := range []func(context.Context, replay.Claim) (replay.Answer, error){s.Claim, s.Peek} {
			a, err := call(context.Background(), ticket())
			requireUnavailable(t, a, err)
			require.ErrorContains(t, err, "set maxmemory-policy to noeviction")
		}
		server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
		s.look(context.Background())
		require.Equal(t, "already_used", status(t, s, c))
	})
}

// A user who may do what the package comment lists, and no more.
func TestACL(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		doc, err := os.ReadFile("doc.go")
		require.NoError(t, err)
		_, rule, found := strings.Cut(string(doc), "ACL SETUSER admitone on >PASSWORD ")
		require.True(t, found)
		rule, _, found = strings.Cut(rule, "\n//\n")
		require.True(t, found)
		rule = strings.NewReplacer("//\t", "").Replace(rule)
		server.Do(append([]string{"ACL", "SETUSER", "admitone", "on", ">" + secret}, strings.Fields(rule)...)...)
		server.Do("ACL", "SETUSER", "other", "on", ">"+secret, "~*", "+@all", "-info")
		server.Do("ACL", "SETUSER", "default", "resetpass", ">"+secret)
		at := func(user, password string) string {
			return "redis://" + user + ":" + password + "@" + server.Address
		}
		s := open(t, Config{URL: at("admitone", secret)})
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		require.Equal(t, "already_used", status(t, s, c))
		s.look(context.Background())
		require.Nil(t, s.fault.Load())
		open(t, Config{URL: at("", secret)}) // the default user

		for _, test := range []struct{ url, want string }{
			{at("admitone", "wrong-"+secret), "correct user and password"},
			{server.URL, "put user and password into the URL"},
			{at("other", secret), "ACL SETUSER"},
		} {
			s, err := Open(context.Background(), Config{URL: test.url, Timeout: patience})
			require.Nil(t, s)
			require.ErrorIs(t, err, replay.ErrUnavailable)
			require.ErrorContains(t, err, test.want)
			requireNoSecret(t, err)
		}

		// The right to use our keys is taken away, and given back.
		admin := open(t, Config{URL: at("", secret)})
		doOn(t, admin.client, "ACL", "SETUSER", "admitone", "resetkeys")
		a, err := s.Claim(context.Background(), c)
		requireUnavailable(t, a, err)
		require.ErrorContains(t, err, "ACL SETUSER")
		doOn(t, admin.client, "ACL", "SETUSER", "admitone", "~admitone:1:*")
		require.Equal(t, "already_used", status(t, s, c))
	})
}

func TestTLS(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		dir := t.TempDir()
		roots, clientCertificate := writeCertificates(t, dir)
		port := servers.Port(t)
		server := servers.Redis(t, program, append([]string{
			"--tls-port", fmt.Sprint(port), "--tls-ca-cert-file", filepath.Join(dir, "ca.pem"),
			"--tls-cert-file", filepath.Join(dir, "server.pem"), "--tls-key-file", filepath.Join(dir, "server-key.pem"),
		}, servers.Forgetful...)...)
		secure := fmt.Sprintf("rediss://127.0.0.1:%d", port)
		config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{clientCertificate}}
		s := open(t, Config{URL: secure, TLS: config})
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		require.Equal(t, "already_used", status(t, open(t, Config{URL: server.URL}), c))
		open(t, Config{URL: fmt.Sprintf("valkeys://localhost:%d", port), TLS: config})

		for what, config := range map[string]Config{
			"system's roots":        {URL: secure},
			"no client certificate": {URL: secure, TLS: &tls.Config{RootCAs: roots}},
			"another name":          {URL: secure, TLS: &tls.Config{RootCAs: roots, Certificates: config.Certificates, ServerName: "elsewhere.example"}},
			"without TLS":           {URL: strings.Replace(secure, "rediss", "redis", 1)},
			"TLS to a plain port":   {URL: strings.Replace(server.URL, "redis", "rediss", 1), TLS: config},
		} {
			config.Timeout = 500 * time.Millisecond
			s, err := Open(context.Background(), config)
			require.Nil(t, s, what)
			require.ErrorIs(t, err, replay.ErrUnavailable, what)
		}
	})
}

// writeCertificates makes an authority, and certificates of a server on the
// loopback and of a client.
func writeCertificates(t *testing.T, dir string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	writePEM := func(name, kind string, der []byte) []byte {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		return text
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(writePEM("ca.pem", "CERTIFICATE", der)))
	var pair tls.Certificate
	for n, name := range []string{"server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(int64(n) + 2), Subject: pkix.Name{CommonName: name},
			NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, authority, &key.PublicKey, authorityKey)
		require.NoError(t, err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		pair, err = tls.X509KeyPair(writePEM(name+".pem", "CERTIFICATE", der),
			writePEM(name+"-key.pem", "PRIVATE KEY", keyDER))
		require.NoError(t, err)
	}
	return roots, pair
}

// A socket, with a database of its own.
func TestUnixSocket(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		dir, err := os.MkdirTemp("", "redis") // a socket's path is at most 104 bytes long
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		socket := filepath.Join(dir, "s")
		server := servers.Redis(t, program, append([]string{"--unixsocket", socket}, servers.Forgetful...)...)
		s := open(t, Config{URL: "unix://" + socket + "?db=3"})
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		require.Equal(t, "already_used", status(t, open(t, Config{URL: server.URL + "/3"}), c))
		require.Equal(t, "0", server.Do("DBSIZE"))
	})
}

// Behind one address the primary changes, and the old one lives on as a replica:
// the store does not stay with it.
//
// trap R24
func TestPrimaryBecomesReplica(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		old := servers.Redis(t, program, servers.Forgetful...)
		proxy := startProxy(t, old.Address)
		s := open(t, Config{URL: "redis://" + proxy.address()})
		stays := openUnwatched(t, Config{URL: old.URL})
		settle(t, s)
		next := servers.Redis(t, program, servers.Forgetful...)
		address := next.Address
		before := ticket()
		proxy.target.Store(&address)
		old.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(next.Port))
		// The store leaves the old one with its next look, which may have been by now.
		if a, err := s.Claim(context.Background(), before); err != nil {
			requireUnavailable(t, a, err)
		} else {
			require.NotEqual(t, replay.Admitted, a.Status)
		}
		// The remedy is told to who has no other to go to, when the replica has loaded.
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			a, err := stays.Claim(context.Background(), before)
			require.ErrorIs(c, err, replay.ErrUnavailable)
			require.Zero(c, a)
			require.ErrorContains(c, err, "the server is a replica")
		}, patience, 10*time.Millisecond)
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			_ = s.look(context.Background())
			for range connections {
				a, err := s.Claim(context.Background(), ticket())
				require.NoError(c, err)
				require.Equal(c, replay.Admitted, a.Status)
			}
		}, patience, 10*time.Millisecond)
		require.NotEqual(t, "admitted", status(t, s, before))
	})
}
