package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

const description = `Login tickets that admit a person once
 ticketd issues login tickets for backends, and lets each ticket in once. The
 programs ticket and admitone-keyring (keyring) make tickets at a shell and rotate
 the keys.`

// writePackages writes the .deb and the .rpm of a Linux system. The folder work is for what is
// only in packages.
func (r *release) writePackages(bin, work string, t target) error {
	copyright := filepath.Join(work, "copyright")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(copyright, []byte(copyrightText), 0o644); err != nil {
		return err
	}
	for _, p := range []struct {
		format, zsh, licence, licenceFile string
		packager                          nfpm.Packager
		depends                           []string
	}{
		{"deb", "vendor-completions", "/usr/share/doc/admitone/copyright", copyright, deb.Default, []string{"passwd"}},
		{"rpm", "site-functions", "/usr/share/licenses/admitone/LICENSE", filepath.Join("..", "LICENSE"), rpm.DefaultRPM,
			[]string{"shadow-utils", "util-linux"}},
	} {
		contents := r.contents(bin, p.zsh)
		contents = append(contents, plain(p.licenceFile, p.licence, 0o644))
		info := nfpm.WithDefaults(&nfpm.Info{
			Name: "admitone", Arch: t.arch, Version: r.version, MTime: r.time, DisableGlobbing: true,
			Section: "net", Priority: "optional", Homepage: "https://github.com/admitone/admitone", License: "Apache-2.0",
			Maintainer: "The admitone authors <admitone@users.noreply.github.com>", Description: description,
			Overridables: nfpm.Overridables{
				Depends: p.depends, Contents: contents,
				Scripts: nfpm.Scripts{
					PostInstall: "scripts/postinst", PreRemove: "scripts/prerm", PostRemove: "scripts/postrm",
				},
				RPM: nfpm.RPM{BuildHost: "localhost", Group: "System Environment/Daemons"},
			},
		})
		if err := nfpm.PrepareForPackager(info, p.format); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(r.out, p.packager.ConventionalFileName(info)))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := p.packager.Package(info, f); err != nil {
			return fmt.Errorf("%s: %w", p.format, err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// contents are the files of a package. The program keyring has a folder of its own, because
// python3-keyring has a /usr/bin/keyring.
func (r *release) contents(bin, zsh string) files.Contents {
	all := files.Contents{
		plain(filepath.Join(bin, "ticketd"), "/usr/bin/ticketd", 0o755),
		plain(filepath.Join(bin, "ticket"), "/usr/bin/ticket", 0o755),
		plain(filepath.Join(bin, "keyring"), "/usr/lib/admitone/keyring", 0o755),
		{Source: "../lib/admitone/keyring", Destination: "/usr/bin/admitone-keyring", Type: files.TypeSymlink},
		plain("etc/as-ticketd", "/usr/sbin/as-ticketd", 0o755),
	}
	// Not as a tree: the entries of a tree have the times of its files here.
	for _, name := range r.pages {
		all = append(all, plain(filepath.Join(r.man, name), "/usr/share/man/"+name, 0o644))
	}
	for _, name := range []string{"ticketd.env", "ticketd.yaml"} {
		c := plain("etc/"+name, "/etc/ticketd/"+name, 0o644)
		c.Type = files.TypeConfigNoReplace
		all = append(all, c)
	}
	for _, unit := range units {
		all = append(all, plain(unit, path.Join("/usr/lib/systemd/system", path.Base(unit)), 0o644))
	}
	for _, name := range []string{"ticketd", "ticket"} {
		all = append(all,
			plain(r.completions+"/bash/"+name, "/usr/share/bash-completion/completions/"+name, 0o644),
			plain(r.completions+"/fish/"+name+".fish", "/usr/share/fish/vendor_completions.d/"+name+".fish", 0o644),
			plain(r.completions+"/zsh/_"+name, "/usr/share/zsh/"+zsh+"/_"+name, 0o644))
	}
	return all
}

// units are the units for systemd.
var units = []string{
	"systemd/ticketd.service", "../examples/rotate/keyring-rotate@.service", "../examples/rotate/keyring-rotate@.timer",
}

func plain(source, destination string, mode os.FileMode) *files.Content {
	return &files.Content{Source: source, Destination: destination, FileInfo: &files.ContentFileInfo{Mode: mode}}
}

// copyrightText is Debian's file of that name.
const copyrightText = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: admitone
Source: https://github.com/admitone/admitone

Files: *
Copyright: The admitone authors
License: Apache-2.0
 On Debian systems, the full text of the Apache License version 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
`
