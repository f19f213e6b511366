package signed

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
)

// The issuers of examples/webcrypto and examples/signed-php, written from SPEC.md without
// packages, make tickets that open here.
func TestForeignIssuers(t *testing.T) {
	keys, trusted := openingKeys(t, ours), trust(t, map[string][]any{"acme": {acme}})
	dir := t.TempDir()
	public, signing := filepath.Join(dir, "login.json"), filepath.Join(dir, "acme.json")
	var b bytes.Buffer
	require.NoError(t, must(handleOf(ours, oursP256).Public()).WriteWithNoSecrets(keyset.NewJSONWriter(&b)))
	require.NoError(t, os.WriteFile(public, b.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(signing, []byte(jsonOf(handleOf(acme, acmeECDSA))), 0o600))
	people := []token.Ticket{
		*reference(),
		{Audience: token.Agent, Brand: "b", Username: "u"},
		{Audience: token.Customer, OverrideUserInfo: true, Lifetime: 90 * time.Second, Brand: "commbox",
			Email: "zoë@example.com", UniqueID: strings.Repeat("u", 255), FirstName: "Zoë", LastName: "日本",
			Phone1: "+12121234567", Remark: strings.Repeat("<b>", 100), Channel: "web", Actor: "k7q2m4x9za",
			Claims: map[string]string{"tier": "gold", "a.b": "first", "a": strings.Repeat("v", 200)}},
	}
	for program, script := range map[string]string{
		"node": filepath.Join("..", "..", "examples", "webcrypto", "issue.mjs"),
		"php":  filepath.Join("..", "..", "examples", "signed-php", "issuer.php"),
	} {
		t.Run(program, func(t *testing.T) {
			path := needs(t, program)
			run := func(env []string, args ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), path, append([]string{script}, args...)...)
				cmd.Env = append(os.Environ(), env...)
				out, err := cmd.Output()
				return strings.TrimSpace(string(out)), err
			}
			set := []string{"ISSUER=acme", "REALM=prod", "SIGNING=" + signing, "RECIPIENT=" + public}
			for _, want := range people {
				s, err := run(set, request(t, want))
				require.NoError(t, err)
				var got token.Ticket
				require.NoError(t, open(keys, trusted, "prod", s, &got))
				assert.WithinDuration(t, time.Now(), got.IssuedAt, time.Minute)
				if want.Lifetime == 0 {
					want.Lifetime = token.AgentLifetime
				}
				want.ID, want.IssuedAt, want.KeyID = got.ID, got.IssuedAt, token.KeyID(ours.id)
				want.Issuer, want.SigningKey = "acme", token.KeyID(acme.id)
				assert.Equal(t, want, got)
			}
			_, err := run(set)
			assert.Error(t, err, "no person")
			_, err = run(append(set, "SIGNING="+public), request(t, people[0]))
			assert.Error(t, err, "no private key")
			long := people[2]
			long.Claims = map[string]string{"a": strings.Repeat("v", 512), "b": strings.Repeat("v", 512)}
			_, err = run(set, request(t, long))
			assert.Error(t, err, "too long")
		})
	}
}

// needs returns the path of a program. It skips the test where the program is missing, and fails
// the test on CI.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(program, "is not installed")
	}
	require.NoError(t, err)
	return path
}

// request is a person in the JSON of the HTTP API.
func request(t *testing.T, tk token.Ticket) string {
	t.Helper()
	m := map[string]any{
		"audience": tk.Audience.String(), "oneTimeUse": tk.OneTime, "overrideUserInfo": tk.OverrideUserInfo,
		"brand": tk.Brand, "username": tk.Username, "email": tk.Email, "uniqueId": tk.UniqueID, "firstName": tk.FirstName,
		"lastName": tk.LastName, "phone1": tk.Phone1, "remark": tk.Remark, "channel": tk.Channel, "actor": tk.Actor,
	}
	if tk.Lifetime != 0 {
		m["expiresIn"] = int(tk.Lifetime.Seconds())
	}
	if tk.Claims != nil {
		m["claims"] = tk.Claims
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return string(b)
}
