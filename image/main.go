// Command image writes the container image of ticketd, as an OCI image layout: a folder that
// skopeo, podman, buildah and containerd read, and registries take.
//
//	image FOLDER BINARIES…
//
// FOLDER is the layout to make. Each of BINARIES is a folder with the programs ticketd, keyring
// and ticket for one platform, as release/binaries builds them. From the same programs, image
// makes the same bytes.
//
// The image has the programs, the root certificates of Mozilla, a user and a data folder. It has
// no shell and no system libraries.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// The user of the image and its data folder.
const (
	user = 65532
	data = "/var/lib/ticketd"
)

var programs = []string{"ticketd", "keyring", "ticket"}

// Media types of the OCI image specification.
const (
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
	configType   = "application/vnd.oci.image.config.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: image FOLDER BINARIES…")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// descriptor names a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// platform is a system and an architecture, in the words of Go.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// config is an image's configuration. Healthcheck is Docker's addition to the specification.
type config struct {
	platform
	Created time.Time `json:"created"`
	Config  struct {
		User         string
		ExposedPorts map[string]struct{}
		Env          []string
		Entrypoint   []string
		Cmd          []string
		Volumes      map[string]struct{}
		WorkingDir   string
		Labels       map[string]string
		StopSignal   string
		Healthcheck  healthcheck
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type healthcheck struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// layout is a folder in the form of an OCI image layout.
type layout string

// blob writes a blob and returns its descriptor.
func (l layout) blob(mediaType string, content []byte) (descriptor, error) {
	sum := digestOf(content)
	algorithm, hex, _ := strings.Cut(sum, ":")
	err := os.WriteFile(filepath.Join(string(l), "blobs", algorithm, hex), content, 0o644)
	return descriptor{MediaType: mediaType, Digest: sum, Size: len(content)}, err
}

// object writes a blob of JSON.
func (l layout) object(mediaType string, v any) (descriptor, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.blob(mediaType, content)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// write makes the layout. The folder must not exist.
func write(folder string, binaries []string) error {
	if err := os.Mkdir(folder, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; remove it, or name another folder", err)
	} else if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(folder, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	l := layout(folder)
	all := index{SchemaVersion: 2, MediaType: indexType}
	version := ""
	for _, dir := range binaries {
		d, of, err := l.image(dir)
		if err != nil {
			return err
		}
		all.Manifests, version = append(all.Manifests, d), of
	}
	slices.SortFunc(all.Manifests, func(a, b descriptor) int {
		return cmp.Compare(a.Platform.Architecture, b.Platform.Architecture)
	})
	d, err := l.object(indexType, all)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": version}
	content, err := json.Marshal(index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{d}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "index.json"), content, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// image writes the image of one platform, and returns its manifest's descriptor and its version.
func (l layout) image(dir string) (d descriptor, version string, err error) {
	info, err := buildinfo.ReadFile(filepath.Join(dir, "ticketd"))
	if err != nil {
		return d, "", fmt.Errorf("reading a program's build information: %w", err)
	}
	set := func(key string) string {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
		if i < 0 {
			return ""
		}
		return info.Settings[i].Value
	}
	if set("GOOS") != "linux" || set("CGO_ENABLED") != "0" {
		return d, "", fmt.Errorf("%s/ticketd is not of Linux, or needs system libraries; build it with release/binaries", dir)
	}
	created := time.Unix(0, 0).UTC()
	if text := set("vcs.time"); text != "" {
		if created, err = time.Parse(time.RFC3339, text); err != nil {
			return d, "", err
		}
	}
	files, err := rootFS(dir, created)
	if err != nil {
		return d, "", err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(files); err != nil {
		return d, "", err
	}
	if err := w.Close(); err != nil {
		return d, "", err
	}
	layer, err := l.blob(layerType, packed.Bytes())
	if err != nil {
		return d, "", err
	}
	version = strings.NewReplacer("(devel)", "latest", "+", "-").Replace(info.Main.Version)
	p := platform{Architecture: set("GOARCH"), OS: "linux"}
	c := newConfig(p, created, digestOf(files))
	c.Config.Labels["org.opencontainers.image.version"] = version
	if revision := set("vcs.revision"); revision != "" {
		c.Config.Labels["org.opencontainers.image.revision"] = revision
	}
	described, err := l.object(configType, c)
	if err != nil {
		return d, "", err
	}
	d, err = l.object(manifestType, manifest{2, manifestType, described, []descriptor{layer}})
	d.Platform = &p
	return d, version, err
}

// newConfig returns the configuration of an image with one layer.
func newConfig(p platform, created time.Time, layer string) (c config) {
	c.platform, c.Created = p, created
	c.Config.User = fmt.Sprintf("%d:%d", user, user)
	c.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	c.Config.Env = []string{"PATH=/usr/local/bin", "ADMITONE_DATA=" + data, "ADMITONE_LISTEN=:8080"}
	c.Config.Entrypoint = []string{"ticketd"}
	c.Config.Cmd = []string{"serve"}
	c.Config.Volumes = map[string]struct{}{data: {}}
	c.Config.WorkingDir = data
	c.Config.StopSignal = "SIGTERM"
	c.Config.Labels = map[string]string{
		"org.opencontainers.image.title":       "ticketd",
		"org.opencontainers.image.description": "Login tickets that admit a person once",
		"org.opencontainers.image.url":         "https://github.com/admitone/admitone",
		"org.opencontainers.image.source":      "https://github.com/admitone/admitone",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	c.Config.Healthcheck = healthcheck{
		Test: []string{"CMD", "ticketd", "health"}, Interval: 30 * time.Second, Timeout: 15 * time.Second,
		StartPeriod: 30 * time.Second, Retries: 3,
	}
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = []string{layer}
	c.History = []history{{created, "image: programs, root certificates, user, data folder"}}
	return c
}

// rootFS returns the image's files as a tar archive.
func rootFS(dir string, created time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, mode int64, owner int, content []byte) error {
		h := &tar.Header{Name: name, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(content)), ModTime: created,
			Format: tar.FormatUSTAR, Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	var all []error
	for _, folder := range []string{
		"etc/", "etc/ssl/", "etc/ssl/certs/", "usr/", "usr/local/", "usr/local/bin/", "var/", "var/lib/",
	} {
		all = append(all, add(folder, 0o755, 0, nil))
	}
	all = append(all,
		add("tmp/", 0o1777, 0, nil),
		add(strings.TrimPrefix(data, "/")+"/", 0o700, user, nil),
		add("etc/passwd", 0o644, 0, fmt.Appendf(nil, "root:x:0:0::/:\nticketd:x:%d:%d::%s:\n", user, user, data)),
		add("etc/group", 0o644, 0, fmt.Appendf(nil, "root:x:0:\nticketd:x:%d:\n", user)),
		add("etc/ssl/certs/ca-certificates.crt", 0o644, 0, roots()),
	)
	for _, name := range programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		all = append(all, err, add(path.Join("usr/local/bin", name), 0o755, 0, content))
	}
	if err := errors.Join(append(all, w.Close())...); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// roots returns Mozilla's root certificates in PEM. A file cannot express the constraints that Mozilla
// puts on some of them, so these are left out.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}
