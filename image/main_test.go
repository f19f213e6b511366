package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds a program that does nothing, and gives it the names of the image's programs.
func program(t *testing.T, arch, cgo string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	source := filepath.Join(dir, "main.go")
	text := "package main\n\nfunc main() {}\n"
	if cgo == "1" {
		text = "package main\n\nimport \"C\"\n\nfunc main() {}\n"
	}
	for name, content := range map[string]string{source: text, filepath.Join(dir, "go.mod"): "module x\n\ngo 1.26\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", programs[0])
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED="+cgo, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range programs[1:] {
		if err := os.Link(filepath.Join(dir, programs[0]), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func blob(t *testing.T, folder, digest string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	if err != nil {
		t.Fatal(err)
	}
	if sum := digestOf(content); sum != digest {
		t.Fatalf("the blob %s has the digest %s", digest, sum)
	}
	return content
}

func object[T any](t *testing.T, content []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The layout has an image for each platform, each blob is named by its digest, and the second
// writing makes the same bytes.
func TestLayout(t *testing.T) {
	amd64, arm64 := program(t, "amd64", "0"), program(t, "arm64", "0")
	first, second := filepath.Join(t.TempDir(), "l"), filepath.Join(t.TempDir(), "l")
	if err := write(first, []string{arm64, amd64}); err != nil {
		t.Fatal(err)
	}
	if err := write(second, []string{amd64, arm64}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", first, second).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := write(first, []string{amd64}); err == nil || !strings.Contains(err.Error(), "name another folder") {
		t.Fatal(err)
	}

	content, err := os.ReadFile(filepath.Join(first, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	outer := object[index](t, content)
	if name := outer.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; name != "latest" {
		t.Error(name)
	}
	all := object[index](t, blob(t, first, outer.Manifests[0].Digest)).Manifests
	if len(all) != 2 || *all[0].Platform != (platform{"amd64", "linux"}) ||
		*all[1].Platform != (platform{"arm64", "linux"}) {
		t.Fatal(all)
	}
	for _, d := range all {
		m := object[manifest](t, blob(t, first, d.Digest))
		c := object[config](t, blob(t, first, m.Config.Digest))
		if c.platform != *d.Platform || c.Config.User != "65532:65532" || c.Config.Healthcheck.Test[1] != "ticketd" {
			t.Error(c)
		}
		checkFiles(t, blob(t, first, m.Layers[0].Digest), c.RootFS.DiffIDs[0])
	}
}

// checkFiles wants the files of a layer to be root's, except the data folder.
func checkFiles(t *testing.T, layer []byte, diffID string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	files, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(files) != diffID {
		t.Error("the configuration has another digest of the layer")
	}
	found := make(map[string]*tar.Header)
	for r := tar.NewReader(bytes.NewReader(files)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
		if h.Name == "etc/ssl/certs/ca-certificates.crt" {
			text, err := io.ReadAll(r)
			if err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
				t.Error("the image has no root certificates", err)
			}
		}
		if isData := h.Name == "var/lib/ticketd/"; isData != (h.Uid == user) || isData && h.Mode != 0o700 {
			t.Errorf("%s belongs to %d and has mode %o", h.Name, h.Uid, h.Mode)
		}
	}
	for _, name := range programs {
		if h := found["usr/local/bin/"+name]; h == nil || h.Mode != 0o755 {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// A program that needs system libraries cannot run in the image.
func TestNeedsLibraries(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("gcc is not installed, and CI is set")
		}
		t.Skip("gcc is not installed")
	}
	err := write(filepath.Join(t.TempDir(), "l"), []string{program(t, "amd64", "1")})
	if err == nil || !strings.Contains(err.Error(), "build it with release/binaries") {
		t.Fatal(err)
	}
}
