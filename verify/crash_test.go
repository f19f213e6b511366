package verify_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/admitone/admitone/verify/replay"
)

// lose opens a durable store that has lost its past, in whole or, as a copy of
// its files elsewhere, perhaps in part.
func (s *schedule) lose() error {
	if !s.durable {
		return s.restart()
	}
	old, keep := s.dir, s.rng.IntN(2) == 0
	s.newDir()
	if keep {
		if err := copyFiles(old, s.dir); err != nil {
			return err
		}
	}
	// What is redeemed after the copy was made is what it does not know.
	offers := s.race()
	if err := s.judge(offers...); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	windows, records := s.model.windows, s.model.records
	s.forget()
	if keep {
		s.model.windows, s.model.records, s.model.epoch = windows, records, later(s.model.high, s.model.epoch)
	}
	return s.begin()
}

func copyFiles(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	names, err := segmentsAndState(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// segmentsAndState names the files of a journal, its state last: while the
// journal is at work, segments are removed after the state has said so.
func segmentsAndState(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "window.*"))
	var names []string
	for _, path := range append(paths, filepath.Join(dir, "instance"), filepath.Join(dir, "state")) {
		names = append(names, filepath.Base(path))
	}
	return names, err
}

// crash cuts the power while tickets are being redeemed. All claims that were
// answered before are on the disk; of those under way nobody hears, and what
// they wrote is there, or not, or in part.
func (s *schedule) crash() error {
	if !s.durable {
		return s.restart()
	}
	image := s.dir + ".image"
	synced, err := linkFiles(s.dir, image)
	if err != nil {
		return err
	}
	var offers []*offer
	for range 2 + s.rng.IntN(4) {
		t := s.any()
		offers = append(offers, s.offer(t), s.offer(t))
	}
	s.atOnce(offers)
	for _, o := range offers {
		if o.status == replay.Admitted {
			s.model.looks(o.at)
			if !o.t.used {
				s.model.record(o.t, o.by, spend{o.use.Binding, o.at}, false)
			}
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	if err := s.tear(image, synced); err != nil {
		return err
	}
	s.spin()
	return s.begin()
}

// linkFiles keeps the journal's files from being removed, under other names: a
// copy would not be the same journal. It returns how long each was, without the room behind
// a segment's records.
func linkFiles(dir, image string) (map[string]int64, error) {
	if err := os.MkdirAll(image, 0o700); err != nil {
		return nil, err
	}
	names, err := segmentsAndState(dir)
	if err != nil {
		return nil, err
	}
	synced := map[string]int64{}
	for _, name := range names {
		err := linkFile(filepath.Join(dir, name), filepath.Join(image, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(filepath.Join(image, name))
		if err != nil {
			return nil, err
		}
		synced[name] = int64(len(b))
		if strings.HasPrefix(name, "window.") {
			synced[name] = withoutRoom(b)
		}
	}
	return synced, nil
}

// The sizes of a segment's parts, in bytes.
const header, record = 52, 76

// withoutRoom returns how long a segment is without the zero bytes that are no record's.
func withoutRoom(b []byte) int64 {
	end := len(bytes.TrimRight(b, "\x00"))
	if records := (end - header + record - 1) / record; end > header {
		end = header + records*record
	}
	return int64(min(end, len(b)))
}

// linkFile is os.Link for a file that may just be replaced, as a journal's state
// is: to link(2), the one that was there is gone before the name is.
func linkFile(from, to string) error {
	for {
		err := os.Link(from, to)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := os.Lstat(from); err != nil {
			return err
		}
	}
}

// tear makes of a journal's directory what the image says, and of what was
// written since, by chance, some.
func (s *schedule) tear(image string, synced map[string]int64) error {
	defer os.RemoveAll(image)
	for name := range synced {
		path := filepath.Join(s.dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Link(filepath.Join(image, name), path); err != nil {
			return err
		}
	}
	names, err := segmentsAndState(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		written := max(info.Size(), synced[name]) // the end has taken back the room
		size := synced[name] + s.rng.Int64N(written-synced[name]+1)
		room := int64(0)
		// Nobody writes to a segment again that ends in a torn record.
		whole := synced[name] >= header && (synced[name]-header)%record == 0
		if strings.HasPrefix(name, "window.") && whole && s.rng.IntN(2) == 0 {
			size = max(synced[name], size&^511) // before room, disks cut at the end of a sector
			room = s.rng.Int64N(1000)
		}
		for _, length := range []int64{size, size + room} {
			if err := os.Truncate(path, length); err != nil {
				return err
			}
		}
	}
	return nil
}
