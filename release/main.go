// Command release makes the files of a release from the commit that is checked out:
// archives, .deb and .rpm packages, lists of contents (SBOM) and checksums. The same commit
// and the same Go give the same bytes, in any folder and on any machine.
//
//	cd release
//	go run . -o ../dist
//
// The version is the commit's tag, such as v1.2.3, as the go command records it in the
// programs. Without a tag it is a pseudo-version. Changes that are not committed are an error.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A target is a system for which the programs are built, by Go's names.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// targets are those of a release.
var targets = []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

// A program is one of the programs. Its manual page is not always called as the program: other
// packages have a program and a page "keyring".
type program struct{ name, page, summary string }

var programs = []program{
	{"keyring", "admitone-keyring", "make and rotate the keys of login tickets"},
	{"ticket", "ticket", "issue, inspect and redeem login tickets"},
	{"ticketd", "ticketd", "service of login tickets that admit a person once"},
}

func main() {
	out := flag.String("o", filepath.Join("..", "dist"), "`folder` to make with the files of the release")
	only := flag.String("only", "", "`targets` to build, separated by commas, such as linux/amd64 (default: all)")
	flag.Parse()
	if err := run(*out, *only); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(out, only string) error {
	chosen := targets
	if only != "" {
		names := strings.Split(only, ",")
		chosen = slices.DeleteFunc(slices.Clone(targets), func(t target) bool {
			return !slices.Contains(names, t.String())
		})
		if len(chosen) != len(names) {
			return fmt.Errorf("-only %s: the targets are %v", only, targets)
		}
	}
	if err := os.Mkdir(out, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: remove it, or name another folder by -o", out)
	} else if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "admitone-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	// The pages come from programs that run here.
	host := target{runtime.GOOS, runtime.GOARCH}
	native, err := buildPrograms(work, host)
	if err != nil {
		return err
	}
	r, err := describe(filepath.Join(native, "ticketd"))
	if err != nil {
		return err
	}
	r.out = out
	if r.man, err = writeManual(filepath.Join(work, "man"), native, r); err != nil {
		return err
	}
	if r.pages, err = fs.Glob(os.DirFS(r.man), "man1/*.gz"); err != nil {
		return err
	}
	if r.completions, err = writeCompletions(filepath.Join(work, "completions"), native); err != nil {
		return err
	}
	for _, t := range chosen {
		bin := native
		if t != host {
			if bin, err = buildPrograms(work, t); err != nil {
				return err
			}
		}
		if err := r.make(t, bin, filepath.Join(work, "packages", t.os+"-"+t.arch)); err != nil {
			return fmt.Errorf("%v: %w", t, err)
		}
	}
	return writeSums(out)
}

// buildPrograms builds the programs below work, and returns their folder.
func buildPrograms(work string, t target) (string, error) {
	bin := filepath.Join(work, "bin", t.os+"-"+t.arch)
	cmd := exec.Command("./binaries", t.os, t.arch, bin)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building for %v: %w", t, err)
	}
	return bin, nil
}

// A release is what all files of a release have in common.
type release struct {
	version          string    // without the v: 1.2.3
	time             time.Time // of the commit
	out              string    // folder for the files
	man, completions string    // folders
	pages            []string  // files of man
}

// describe reads the version and the time of the commit from a program.
func describe(file string) (*release, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	version, known := strings.CutPrefix(info.Main.Version, "v")
	if !known {
		return nil, fmt.Errorf("the programs have the version %q: build in a clone of the repository, "+
			"not in a copy or a worktree", info.Main.Version)
	}
	if strings.Contains(version, "+dirty") {
		return nil, errors.New("there are changes that are not committed: commit or remove them (git status)")
	}
	r := &release{version: version}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			r.time, err = time.Parse(time.RFC3339, s.Value)
		}
	}
	if err == nil && r.time.IsZero() {
		err = errors.New("the programs lack the time of the commit")
	}
	return r, err
}

// make makes the files of a target from its programs.
func (r *release) make(t target, bin, work string) error {
	name := fmt.Sprintf("admitone_%s_%s_%s", r.version, t.os, t.arch)
	if err := r.writeSBOM(filepath.Join(r.out, name+".cdx.json"), bin, t); err != nil {
		return err
	}
	if err := r.writeArchive(filepath.Join(r.out, name+".tar.gz"), name, bin); err != nil {
		return err
	}
	if t.os != "linux" {
		return nil
	}
	return r.writePackages(bin, work, t)
}

// writeSums writes SHA256SUMS, as sha256sum does, for all files of the folder.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
