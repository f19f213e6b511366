package main

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// largest is the number of owners of modules that have a row of their own.
	largest = 12

	standard = "the standard library"
	others   = "others"
)

// sizeTable says whose modules make the size of the programs.
func (b *bench) sizeTable(emit func(*table) error) error {
	t := &table{Name: "size", Title: "Size", Columns: append([]string{"MB of"}, programs...)}
	t.note("The programs are built with -trimpath -ldflags='-s -w'. A row has the functions and data of all modules " +
		"below a path, by the symbols of a build that keeps the symbols. The last row is the rest: tables of functions and " +
		"lines, types, and headers. This rest grows with the functions.")
	sizes := make([]map[string]int64, len(programs))
	total, rest := []any{"the program"}, []any{"tables of the runtime"}
	for i, name := range programs {
		b.progress("size: %s", name)
		whole, owners, err := b.size(name)
		if err != nil {
			return err
		}
		sizes[i] = owners
		total = append(total, megabytes(whole))
		for _, n := range owners {
			whole -= n
		}
		rest = append(rest, megabytes(whole))
	}
	t.row(total...)
	names := slices.SortedFunc(maps.Keys(sizes[0]), func(x, y string) int { return cmp.Compare(sizes[0][y], sizes[0][x]) })
	for _, name := range names[min(largest, len(names)):] {
		for _, s := range sizes {
			s[others] += s[name]
		}
	}
	for _, name := range append(names[:min(largest, len(names))], others) {
		row := []any{name}
		for _, s := range sizes {
			row = append(row, megabytes(s[name]))
		}
		t.row(row...)
	}
	t.row(rest...)
	return emit(t)
}

// size returns the size of a program, and how much of the size is from each owner of modules.
func (b *bench) size(program string) (whole int64, owners map[string]int64, err error) {
	exe, err := build(b.dir, program)
	if err != nil {
		return 0, nil, err
	}
	info, err := os.Stat(exe)
	if err != nil {
		return 0, nil, err
	}
	symbols := filepath.Join(b.dir, program+".symbols")
	if err := buildAs(symbols, program, "-trimpath"); err != nil {
		return 0, nil, err
	}
	home, err := homes(program)
	if err != nil {
		return 0, nil, err
	}
	f, err := elf.Open(symbols)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", symbols, err)
	}
	owners = make(map[string]int64)
	for _, s := range all {
		// Memory that begins as zeros is not in the file.
		if int(s.Section) >= len(f.Sections) || f.Sections[s.Section].Type != elf.SHT_PROGBITS {
			continue
		}
		if owner, ok := home[packageOf(s.Name)]; ok {
			owners[owner] += int64(s.Size)
		}
	}
	return info.Size(), owners, nil
}

// homes returns the owner of each package of a program: the first part of the module's path,
// or the first two parts at GitHub.
func homes(program string) (map[string]string, error) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", "./cmd/"+program)
	cmd.Dir = repository()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", cmd, err, stderrOf(err))
	}
	home := map[string]string{"main": owner("github.com/admitone/admitone")}
	for line := range bytes.Lines(out) {
		path, module, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		home[path] = cmp.Or(owner(module), standard)
	}
	return home, nil
}

func owner(module string) string {
	parts := strings.SplitN(module, "/", 3)
	if parts[0] == "github.com" {
		return strings.Join(parts[:2], "/")
	}
	return parts[0]
}

// packageOf returns the import path of a symbol's package. The linker escapes the dots of
// a path's last element.
func packageOf(symbol string) string {
	symbol, _, _ = strings.Cut(symbol, "[") // type arguments have paths, too
	slash := strings.LastIndexByte(symbol, '/') + 1
	last, _, _ := strings.Cut(symbol[slash:], ".")
	path := symbol[:slash] + last
	if clean, err := url.PathUnescape(path); err == nil {
		return clean
	}
	return path
}
