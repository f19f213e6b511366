package main

import (
	"archive/tar"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// writeArchive writes a .tar.gz with the programs, the licence, the manual, the completions and
// the files for systemd, all below one folder. Entries are sorted, belong to root, and have the
// time of the commit.
func (r *release) writeArchive(file, folder, bin string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	if err := r.addFile(w, path.Join(folder, "LICENSE"), filepath.Join("..", "LICENSE")); err != nil {
		return err
	}
	for _, part := range [][2]string{
		{"bin", bin}, {"completions", r.completions}, {"etc", "etc"}, {"man", r.man}, {"systemd", "systemd"},
	} {
		err := filepath.WalkDir(part[1], func(source string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			below := filepath.ToSlash(strings.TrimPrefix(source, part[1]))
			return r.addFile(w, path.Join(folder, part[0], below), source)
		})
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// addFile adds a file to an archive, with one of two modes whatever the builder's umask.
func (r *release) addFile(w *tar.Writer, name, source string) error {
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	err = w.WriteHeader(&tar.Header{
		Name: name, Size: int64(len(data)), Mode: int64(mode(info)), ModTime: r.time, Format: tar.FormatUSTAR,
	})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func mode(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}
