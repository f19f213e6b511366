//go:build unix

package admitone_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// image is the container image, built and unpacked once.
var image struct {
	sync.Once
	dir    string // its folder root has the image's files
	config imageConfig
	err    error
}

// imageConfig is the part of an image's configuration that decides how the image runs.
type imageConfig struct {
	User, WorkingDir     string
	Env, Entrypoint, Cmd []string
	Volumes              map[string]struct{}
	Healthcheck          struct{ Test []string }
}

// buildImage builds the container image of this machine's architecture as docs/containers.md does,
// and unpacks it. It returns the folder of its files and its configuration.
func buildImage(t *testing.T) (root string, c imageConfig) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a container image")
	}
	needs(t, "bash", "tar", "unshare")
	if os.Getuid() != 0 {
		t.Skip("only root can become the user of the image, and mount")
	}
	image.Do(func() { image.err = writeImage() })
	require.NoError(t, image.err)
	return filepath.Join(image.dir, "root"), image.config
}

func writeImage() (err error) {
	if image.dir, err = os.MkdirTemp("", "admitone-image-"); err != nil {
		return err
	}
	layout, binaries := filepath.Join(image.dir, "layout"), filepath.Join(image.dir, "binaries")
	root := filepath.Join(image.dir, "root")
	tool := exec.Command("go", "run", ".", layout, binaries)
	tool.Dir = "image"
	for _, cmd := range []*exec.Cmd{exec.Command("release/binaries", "linux", runtime.GOARCH, binaries), tool} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", cmd, err, out)
		}
	}
	type descriptors struct {
		Manifests, Layers []struct{ Digest string }
		Config            struct{ Digest string }
	}
	blob := func(digest string) string {
		return filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
	}
	var index, images, manifest descriptors
	var config struct{ Config imageConfig }
	err = readJSON(filepath.Join(layout, "index.json"), &index)
	if err == nil {
		err = readJSON(blob(index.Manifests[0].Digest), &images)
	}
	if err == nil {
		err = readJSON(blob(images.Manifests[0].Digest), &manifest)
	}
	if err == nil {
		err = readJSON(blob(manifest.Config.Digest), &config)
	}
	if err == nil {
		err = os.Mkdir(root, 0o755)
	}
	if err != nil {
		return err
	}
	image.config = config.Config
	unpack := exec.Command("tar", "-xzpf", blob(manifest.Layers[0].Digest), "-C", root, "--numeric-owner")
	if out, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", unpack, err, out)
	}
	return nil
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// withDocker returns the variables for testdata/container/docker, which runs the image as Docker
// does.
func withDocker(t *testing.T) (env []string) {
	t.Helper()
	root, c := buildImage(t)
	if out, err := exec.Command("unshare", "-m", "mount", "--bind", root, root).CombinedOutput(); err != nil {
		t.Skipf("no mounts here: %v %s", err, out)
	}
	list := func(words []string) string {
		var all strings.Builder
		for _, w := range words {
			all.WriteString(" '" + w + "'")
		}
		return "(" + all.String() + " )"
	}
	dir := t.TempDir()
	text := fmt.Sprintf("user='%s' variables=%s entrypoint=%s command=%s\n",
		c.User, list(c.Env), list(c.Entrypoint), list(c.Cmd))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "container.env"), []byte(text), 0o600))
	return []string{"STAND_IN=" + dir, "IMAGE=" + root}
}

// The image has no shell and no file but those that it needs. It runs as a user without rights,
// and nothing in it can be written but its volume.
func TestImage(t *testing.T) {
	t.Parallel()
	env := withDocker(t)
	root, c := buildImage(t)
	assert.Equal(t, "65532:65532", c.User)
	assert.Equal(t, []string{"CMD", "ticketd", "health"}, c.Healthcheck.Test)
	assert.Contains(t, c.Volumes, c.WorkingDir)
	files, err := exec.Command("find", root, "-type", "f", "-printf", "%P\n").Output()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt",
		"usr/local/bin/ticketd", "usr/local/bin/keyring", "usr/local/bin/ticket"}, strings.Fields(string(files)))

	docker := func(args ...string) (string, error) {
		cmd := exec.Command("testdata/container/docker", args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := docker("run", "--rm", "--read-only", "ticketd", "init", "--data", "/tmp/data")
	require.Error(t, err)
	assert.Contains(t, out, "read-only file system")
	out, err = docker("run", "--rm", "--read-only", "-v", "v:"+c.WorkingDir, "ticketd", "init")
	require.NoError(t, err, out)
	out, err = docker("run", "--rm", "--read-only", "-v", "v:"+c.WorkingDir, "ticketd", "doctor")
	require.NoError(t, err, out)
	assert.NotContains(t, out, "failed")
	for _, program := range []string{"keyring", "ticket"} {
		out, err = docker("run", "--rm", "--read-only", "--entrypoint", program, "ticketd", "--help")
		require.NoError(t, err, out)
	}
}
