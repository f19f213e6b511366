package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/internal/durable"
)

// envRotate makes the test binary a child that rotates the keyring PATH so many
// times, or with 0 for ever: "N PATH".
const envRotate = "KEYRING_TEST_ROTATE"

func TestMain(m *testing.M) {
	if arg := os.Getenv(envKill); arg != "" {
		dieAtStep(arg)
	}
	if arg := os.Getenv(envRotate); arg != "" {
		number, path, _ := strings.Cut(arg, " ")
		for n := 1; ; n++ {
			info, err := rotateInTurn(path, config(Ticket))
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(info.Generation)
			if number == strconv.Itoa(n) {
				os.Exit(0)
			}
		}
	}
	os.Exit(m.Run())
}

// rotate makes a new key the primary at once.
func rotate(path string, c Config) (Info, error) {
	return Change(path, c, "", Step{Do: Rotate, Now: true})
}

// rotateInTurn does it however long others hold the lock.
func rotateInTurn(path string, c Config) (Info, error) {
	for {
		info, err := rotate(path, c)
		if !errors.Is(err, durable.ErrLocked) {
			return info, err
		}
	}
}

// disable disables a key, whatever it sealed with unsafe.
func disable(path string, c Config, id KeyID, unsafe bool) (Info, error) {
	return Change(path, c, "", Step{Do: Disable, Key: id, Unsafe: unsafe})
}

// testKEK is AES-256-GCM under a key of 32 equal bytes.
type testKEK struct {
	tink.AEAD
	hint string
}

func (k testKEK) Hint() string { return k.hint }

func newKEK(b byte, hint string) KEK {
	a, err := subtle.NewAESGCM(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		panic(err)
	}
	return testKEK{a, hint}
}

func config(k Kind) Config {
	return Config{Kind: k, Realm: "prod", KEK: newKEK(7, "test"), Poll: time.Hour, patience: 5 * time.Minute}
}

// clock is a Config.Now that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

// newFile makes a keyring file in a directory of its own.
func newFile(t *testing.T, c Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, Create(path, c, DefaultPolicy(c.Kind), ""))
	return path
}

func newRing(t *testing.T, path string, c Config) *Ring {
	t.Helper()
	r, err := Open(path, c)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func assertCause(t *testing.T, want Reason, err error, msg ...any) {
	t.Helper()
	f, ok := errors.AsType[*FileError](err)
	if assert.True(t, ok, "not a FileError: %v %v", err, msg) {
		assert.Equal(t, want, f.Reason, msg...)
		assert.NotEmpty(t, f.Path, msg...)
	}
}

// material returns the keyset of the file at path.
func material(t *testing.T, path string, c Config) *tinkpb.Keyset {
	t.Helper()
	f, err := read(path, &c)
	require.NoError(t, err)
	return insecurecleartextkeyset.KeysetMaterial(f.handle)
}

// forge writes a file that c opens, with that first line and keyset, and none
// of the checks of a writer.
func forge(t *testing.T, path string, c Config, line []byte, ks *tinkpb.Keyset) {
	t.Helper()
	plain, err := proto.Marshal(ks)
	require.NoError(t, err)
	forgeBytes(t, path, c, line, plain)
}

func forgeBytes(t *testing.T, path string, c Config, line, plain []byte) {
	t.Helper()
	wrapped, err := c.KEK.Encrypt(plain, associatedData(c.Realm, line))
	require.NoError(t, err)
	data := fmt.Appendf(nil, "%s\n%s\n", line, base64.StdEncoding.EncodeToString(wrapped))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// headerOf returns the header of the file at path.
func headerOf(t *testing.T, path string) *header {
	t.Helper()
	line, _, _ := bytes.Cut(mustRead(t, path), []byte("\n"))
	h, err := parseHeader(line)
	require.NoError(t, err)
	return h
}

func encodeHeader(t *testing.T, h *header) []byte {
	t.Helper()
	line, err := h.encode()
	require.NoError(t, err)
	return line
}

func removeAudit(path string) error { return os.Remove(path + ".audit") }
