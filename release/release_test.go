package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needs skips the test where a program is missing, and fails it on CI.
func needs(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			cannot(t, name+" is not installed")
		}
	}
}

// cannot skips a test that cannot run here, and fails it on CI.
func cannot(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s, and CI is set", reason)
	}
	t.Skip(reason)
}

// output runs a command, and returns what it prints.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// commit makes dir a repository with one commit, of the files of this checkout as they are, and
// with a tag. Its commits are the same in all folders.
func commit(t *testing.T, dir string) {
	t.Helper()
	list := output(t, "..", "git", "ls-files", "--cached", "--others", "--exclude-standard")
	for name := range strings.Lines(list) {
		name = strings.TrimSuffix(name, "\n")
		info, err := os.Lstat(filepath.Join("..", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed
		}
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		if info.Mode()&os.ModeSymlink != 0 {
			to, err := os.Readlink(filepath.Join("..", name))
			require.NoError(t, err)
			require.NoError(t, os.Symlink(to, filepath.Join(dir, name)))
			continue
		}
		data, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, info.Mode().Perm()))
	}
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "test")
		t.Setenv("GIT_"+who+"_EMAIL", "test@example.com")
		t.Setenv("GIT_"+who+"_DATE", "2026-01-02T03:04:05Z")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	output(t, dir, "git", "init", "-q")
	output(t, dir, "git", "add", "-A")
	output(t, dir, "git", "commit", "-q", "-m", "all")
	output(t, dir, "git", "tag", "v1.2.3")
}

// Two builds in two folders are the same bytes, and their files are what they should be. Of the
// systems, the tests build one.
func TestRelease(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the packages are for linux/amd64")
	}
	needs(t, "git")
	here, err := os.Getwd()
	require.NoError(t, err)
	var outs []string
	for _, folder := range []string{"one", "another/place"} {
		dir := filepath.Join(t.TempDir(), folder)
		t.Chdir(here)
		commit(t, dir)
		t.Chdir(filepath.Join(dir, "release"))
		require.ErrorContains(t, run(t.TempDir(), ""), "exists: remove it")
		outs = append(outs, filepath.Join(dir, "dist"))
		require.NoError(t, run(outs[len(outs)-1], "linux/amd64"))
	}
	t.Chdir(here)
	out := outs[0]
	files, err := os.ReadDir(out)
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		first, err := os.ReadFile(filepath.Join(out, f.Name()))
		require.NoError(t, err)
		second, err := os.ReadFile(filepath.Join(outs[1], f.Name()))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(first, second), "%s differs between two builds", f.Name())
	}
	require.Equal(t, []string{"SHA256SUMS", "admitone-1.2.3-1.x86_64.rpm", "admitone_1.2.3_amd64.deb",
		"admitone_1.2.3_linux_amd64.cdx.json", "admitone_1.2.3_linux_amd64.tar.gz"}, names)
	assert.Equal(t, 4, strings.Count(output(t, out, "sha256sum", "--check", "SHA256SUMS"), ": OK\n"))

	archive := filepath.Join(out, names[4])
	t.Run("archive", func(t *testing.T) { testArchive(t, archive) })
	t.Run("deb", func(t *testing.T) { testDeb(t, filepath.Join(out, names[2])) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, filepath.Join(out, names[1])) })
	t.Run("sbom", func(t *testing.T) { testSBOM(t, filepath.Join(out, names[3])) })
	unpacked := t.TempDir()
	output(t, unpacked, "tar", "-xzf", archive, "--strip-components=1")
	t.Run("programs", func(t *testing.T) { testPrograms(t, unpacked) })
	t.Run("manual", func(t *testing.T) { testManual(t, unpacked) })
	t.Run("units", func(t *testing.T) { testUnits(t, unpacked) })
	t.Run("installed", func(t *testing.T) { testInstalled(t, filepath.Join(out, names[2])) })
}

func testArchive(t *testing.T, file string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	r := tar.NewReader(z)
	var names []string
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.Equal(t, "2026-01-02T03:04:05Z", h.ModTime.UTC().Format("2006-01-02T15:04:05Z"), h.Name)
		assert.Zero(t, h.Uid+h.Gid, h.Name)
		names = append(names, strings.TrimPrefix(h.Name, "admitone_1.2.3_linux_amd64/"))
	}
	for _, name := range []string{"LICENSE", "bin/ticketd", "bin/ticket", "bin/keyring", "completions/zsh/_ticketd",
		"etc/as-ticketd", "man/man1/ticketd-agent-add.1.gz", "man/man1/admitone-keyring-apply.1.gz",
		"systemd/ticketd.service"} {
		assert.Contains(t, names, name)
	}
}

func testPrograms(t *testing.T, unpacked string) {
	for _, p := range programs {
		said := output(t, unpacked, "bin/"+p.name, "--version")
		assert.Regexp(t, `^`+p.name+` version v1\.2\.3 \(commit [0-9a-f]{12}, 2026-01-02, `+
			regexp.QuoteMeta(toolchain(t))+`\)\n$`, said)
		data, err := os.ReadFile(filepath.Join(unpacked, "bin", p.name))
		require.NoError(t, err)
		assert.NotContains(t, string(data), "/ld-linux", "static")
		assert.NotContains(t, string(data), ".debug_info", "stripped")
	}
	needs(t, "bash")
	output(t, unpacked, "bash", "-n", "completions/bash/ticketd")
}

func testDeb(t *testing.T, file string) {
	needs(t, "dpkg-deb")
	about := output(t, ".", "dpkg-deb", "-I", file)
	for _, field := range []string{"Package: admitone", "Version: 1.2.3", "Architecture: amd64", "Depends: passwd"} {
		assert.Contains(t, about, " "+field+"\n")
	}
	list := output(t, ".", "dpkg-deb", "-c", file)
	for _, line := range []string{
		`-rwxr-xr-x root/root .* \./usr/bin/ticketd\n`, `-rwxr-xr-x root/root .* \./usr/lib/admitone/keyring\n`,
		`\./usr/bin/admitone-keyring -> \.\./lib/admitone/keyring\n`,
		`-rw-r--r-- root/root .* \./etc/ticketd/ticketd\.env\n`,
		`\./usr/lib/systemd/system/keyring-rotate@\.timer\n`, `\./usr/share/man/man1/ticketd\.1\.gz\n`,
		`\./usr/share/bash-completion/completions/ticketd\n`, `\./usr/share/doc/admitone/copyright\n`,
	} {
		assert.Regexp(t, line, list)
	}
	assert.NotRegexp(t, `\./usr/bin/keyring\n|\./usr/share/man/man1/keyring`, list, "python3-keyring has these")
	conffiles := output(t, ".", "dpkg-deb", "-I", file, "conffiles")
	assert.Equal(t, "/etc/ticketd/ticketd.env\n/etc/ticketd/ticketd.yaml\n", conffiles)
}

func testRPM(t *testing.T, file string) {
	needs(t, "rpm")
	about := output(t, ".", "rpm", "-qip", file)
	assert.Regexp(t, `Name +: admitone\nVersion +: 1\.2\.3\nRelease +: 1\nArchitecture: x86_64\n`, about)
	assert.Regexp(t, `License +: Apache-2\.0\n`, about)
	list := output(t, ".", "rpm", "-qlp", file)
	for _, name := range []string{"/usr/bin/ticketd", "/usr/lib/admitone/keyring",
		"/usr/lib/systemd/system/ticketd.service", "/usr/share/licenses/admitone/LICENSE"} {
		assert.Contains(t, list, name+"\n")
	}
	assert.Equal(t, "/etc/ticketd/ticketd.env\n/etc/ticketd/ticketd.yaml\n", output(t, ".", "rpm", "-qcp", file))
	output(t, ".", "rpm", "-K", "--nosignature", file)
}

// toolchain is the Go of releases, such as go1.26.11, which need not be the Go of this test.
func toolchain(t *testing.T) string {
	t.Helper()
	module, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^toolchain (go.+)$`).FindSubmatch(module)
	require.NotNil(t, line, "go.mod names a toolchain")
	return string(line[1])
}

// The list of contents keeps to the schema, and has the modules that the programs have.
func testSBOM(t *testing.T, file string) {
	const cdx = "github.com/CycloneDX/cyclonedx-go"
	module := strings.TrimSpace(output(t, ".", "go", "list", "-m", "-f", "{{.Dir}}", cdx))
	c := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6": "bom-1.6.schema.json", "spdx": "spdx.schema.json", "jsf-0.82": "jsf-0.82.schemax.json",
	} {
		f, err := os.Open(filepath.Join(module, "schema", file))
		require.NoError(t, err)
		schema, err := jsonschema.UnmarshalJSON(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, c.AddResource("http://cyclonedx.org/schema/"+name+".schema.json", schema))
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var value any
	require.NoError(t, json.Unmarshal(data, &value))
	require.NoError(t, schema.Validate(value))
	value.(map[string]any)["version"] = "one"
	require.Error(t, schema.Validate(value), "the schema refuses something")

	var bom cyclonedx.BOM
	require.NoError(t, json.Unmarshal(data, &bom))
	listed := make(map[string]string)
	for _, c := range *bom.Components {
		listed[c.Name] = c.Version
	}
	needed := output(t, "..", "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/ticketd")
	require.NotEmpty(t, needed)
	for line := range strings.Lines(needed) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			assert.Equal(t, version, listed[path], path)
		}
	}
	assert.Equal(t, strings.TrimPrefix(toolchain(t), "go"), listed["std"])
	assert.NotContains(t, listed, "github.com/stretchr/testify", "the programs have no tests")
}

// The pages are without faults for man, and lose no command and no flag.
func testManual(t *testing.T, unpacked string) {
	needs(t, "mandoc")
	pages, err := filepath.Glob(filepath.Join(unpacked, "man", "man1", "*.gz"))
	require.NoError(t, err)
	require.Greater(t, len(pages), 50)
	output(t, ".", "gunzip", append([]string{"-k"}, pages...)...) // mandoc -Tlint reads no .gz
	for i := range pages {
		pages[i] = strings.TrimSuffix(pages[i], ".gz")
	}
	args := append([]string{"-Tlint", "-W", "warning"}, pages...)
	out, err := exec.Command("mandoc", args...).CombinedOutput()
	assert.NoError(t, err, string(out))
	shown := func(page string) string {
		text := output(t, unpacked, "mandoc", "-Tascii", "-O", "width=500", filepath.Join("man", "man1", page+".1.gz"))
		return regexp.MustCompile(`.\x08`).ReplaceAllString(text, "")
	}
	for _, sub := range []string{"serve", "doctor", "agent", "ticketd-agent(1)"} {
		assert.Contains(t, shown("ticketd"), sub)
	}
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)`).
		FindAllString(output(t, unpacked, "bin/keyring", "trust", "add", "--help"), -1)
	require.Greater(t, len(flags), 10)
	for _, flag := range flags {
		assert.Contains(t, shown("admitone-keyring-trust-add"), strings.TrimSpace(flag))
	}
}

// systemd understands each line of the units, and the service is exposed to little.
func testUnits(t *testing.T, unpacked string) {
	needs(t, "systemd-analyze")
	dir := t.TempDir()
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		require.NoError(t, err)
		text := strings.NewReplacer("/usr/bin/ticketd", unpacked+"/bin/ticketd",
			"/usr/lib/admitone/keyring", unpacked+"/bin/keyring").Replace(string(data))
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(unit)), []byte(text), 0o644))
	}
	for _, unit := range []string{"ticketd.service", "keyring-rotate@ticket.service", "keyring-rotate@ticket.timer"} {
		instance := filepath.Join(dir, unit)
		if template := strings.Replace(unit, "@ticket", "@", 1); template != unit {
			require.NoError(t, os.Symlink(template, instance))
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", instance).CombinedOutput()
		require.NoError(t, err, string(out))
		assert.NotContains(t, string(out), dir, "nothing to complain of")
		if strings.HasSuffix(unit, ".service") {
			output(t, dir, "systemd-analyze", "security", "--offline=true", "--threshold=20", instance)
		}
	}
}

// The commands of docs/install.md give a first ticket on a Debian without Go: on a copy of this
// machine's files, in which systemctl is a script that runs the unit's command as the unit's user.
// Purging the package keeps the data.
func testInstalled(t *testing.T, deb string) {
	needs(t, "unshare", "dpkg", "curl", "runuser")
	try := `mount -t tmpfs none "$1" && mkdir "$1"/{up,work,root} &&
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"`
	if out, err := exec.Command("unshare", "-m", "bash", "-c", try, "try", t.TempDir()).CombinedOutput(); err != nil {
		t.Skip("only root can mount a copy of this machine's files, where the kernel lets it: " + string(out))
	}
	page, err := os.ReadFile("../docs/install.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(page), "\n## Debian")
	require.True(t, ok)
	section, _, ok = strings.Cut(section, "\n## ")
	require.True(t, ok)
	var commands []string
	for _, m := range regexp.MustCompile("(?s)```text\n(.*?)```").FindAllStringSubmatch(section, -1) {
		commands = append(commands, m[1])
	}
	require.Len(t, commands, 4, "install, first ticket, rotation, removal")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	work := t.TempDir()
	for name, text := range map[string]string{"systemctl": systemctl, "commands": `set -euo pipefail
apt() { [ "$1" = install ] && dpkg -i "$2" || dpkg "--$1" "$2"; }
install -m 755 systemctl /usr/local/bin/systemctl
` + commands[0] + `
[ "$(stat -c '%U %a' /var/lib/ticketd)" = "ticketd 700" ]
[ "$(stat -c '%G %a' /etc/ticketd/ticketd.env)" = "ticketd 640" ]
` + commands[1] + commands[2] + `
` + commands[3] + `
[ -e /var/lib/ticketd/kek.key ]
[ ! -e /etc/ticketd ]
[ ! -e /usr/bin/ticketd ]
`} {
		text = strings.ReplaceAll(text, "8080", port)
		require.NoError(t, os.WriteFile(filepath.Join(work, name), []byte(text), 0o755))
	}
	data, err := os.ReadFile(deb)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(work, filepath.Base(deb)), data, 0o644))
	script := try + ` &&
for dir in dev proc sys; do mount --rbind /$dir "$1/root/$dir"; done
mkdir "$1/root/install"
cp "$2"/* "$1/root/install"
exec env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  chroot "$1/root" bash -c 'cd /install; ! command -v go; bash -x ./commands'`
	// A process namespace of its own ends the service with the script.
	out, err := exec.Command("unshare", "-m", "-p", "-f", "--kill-child", "bash", "-c", script, "install",
		t.TempDir(), work).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Regexp(t, `(?m)^303$`, string(out), "the person is in")
	assert.Equal(t, 2, strings.Count(string(out), "nothing is due for /var/lib/ticketd/"), "%s", out)
	assert.Contains(t, string(out), "next: as-ticketd ticketd init")
	assert.Contains(t, string(out), "kept /var/lib/ticketd")
}

// systemctl runs what "systemctl enable --now" would start, by the unit's own lines.
const systemctl = `#!/bin/bash
set -euo pipefail
[ "$1 $2" = "enable --now" ] || exit 0
shift 2
for name in "$@"; do
  instance=${name#*@} instance=${instance%.timer}
  unit=/usr/lib/systemd/system/$(sed 's/@.*/@/; s/@$/@.service/; s/^ticketd$/ticketd.service/' <<<"$name")
  value() { sed -n "s/^$1=//p" "$unit" | sed "s/%i/$instance/g"; }
  mapfile -t settings < <(value Environment; grep '^[A-Z]' "$(value EnvironmentFile)")
  sed -i 's/^listen:.*/listen: 127.0.0.1:8080/' /etc/ticketd/ticketd.yaml
  read -ra line < <(value ExecStart)
  run=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" runuser -u "$(value User)" -- "${line[@]}")
  if [ "$(value Type)" = oneshot ]; then
    "${run[@]}"
  else
    "${run[@]}" >/dev/null 2>ticketd.log &
    until curl -fs http://127.0.0.1:8080/readyz; do kill -0 $! || { cat ticketd.log; exit 1; }; sleep 0.1; done
  fi
done
`
