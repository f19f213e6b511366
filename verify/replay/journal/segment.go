package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/admitone/admitone/internal/durable"
)

// A segment is a file of a journal with the records of a window, in the order of
// their admission. All numbers are big-endian; CRC is CRC-32C (Castagnoli).
//
//	segment = header *record [torn] [room]
//	header  = "admitone-replay1"
//	          window      int64    see cache.WindowOf
//	          number      uint64   of the segment, in order of creation
//	          inode       uint64   of this file, and
//	          born        int64    its time of birth, Unix ns: see identity
//	          CRC         uint32   of all before it
//	record  = nonce       16 bytes
//	          binding     32 bytes
//	          first used  int64    Unix ns
//	          retain      int64    Unix seconds, rounded up
//	          issued      int64    Unix ms
//	          CRC         uint32   of the header's CRC, the record's number from
//	                               0 as uint64, and all before it
//	torn    = a header or record that ends too early: with the file, or with the
//	          sector before the room
//	room    = *(zero byte)
//
// A single process writes a segment, and appends until a write or an fsync fails or the
// file is closed. Nobody appends later. So no claim was answered by a torn record: an
// fsync would have covered the record first.
//
// The room is for further records. A write there changes neither the length of the file nor
// its place on the disk, so an fsync has less to do: it takes a third to a tenth of the time.
// The room is taken back when the file is closed in good order.
const (
	segmentMagic = "admitone-replay1"
	headerSize   = 16 + 4*8 + 4
	recordSize   = 16 + 32 + 3*8 + 4

	leastRoom  = 4 << 10 // bytes of records before a segment gets room
	roomShare  = 4       // the room is the records' bytes divided by this number
	mostRoom   = 1 << 20 // bytes
	sectorSize = 512     // the unit in which disks write
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is an admission.
type record struct {
	nonce   [16]byte
	binding [32]byte
	first   int64 // Unix ns
	retain  int64 // Unix seconds
	issued  int64 // Unix ms
	again   bool  // it repeats an earlier record that may be on the disk; not written
}

func appendHeader(b []byte, index int64, number uint64, id identity) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint64(b, id.inode)
	b = binary.BigEndian.AppendUint64(b, uint64(id.born))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func appendRecord(b []byte, r *record, headerCRC uint32, number int64) []byte {
	start := len(b)
	b = append(b, r.nonce[:]...)
	b = append(b, r.binding[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.first))
	b = binary.BigEndian.AppendUint64(b, uint64(r.retain))
	b = binary.BigEndian.AppendUint64(b, uint64(r.issued))
	return binary.BigEndian.AppendUint32(b, recordCRC(headerCRC, number, b[start:]))
}

func recordCRC(headerCRC uint32, number int64, body []byte) uint32 {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(number))
	return crc32.Update(crc32.Update(headerCRC, castagnoli, n[:]), castagnoli, body)
}

// parseRecord reports false if the record has changed since its writing.
func parseRecord(b []byte, headerCRC uint32, number int64) (r record, ok bool) {
	body := b[:recordSize-4]
	if binary.BigEndian.Uint32(b[recordSize-4:]) != recordCRC(headerCRC, number, body) {
		return r, false
	}
	copy(r.nonce[:], b)
	copy(r.binding[:], b[16:])
	r.first = int64(binary.BigEndian.Uint64(b[48:]))
	r.retain = int64(binary.BigEndian.Uint64(b[56:]))
	r.issued = int64(binary.BigEndian.Uint64(b[64:]))
	return r, true
}

// segment is a file under construction.
type segment struct {
	index     int64
	number    uint64
	path      string
	f         *os.File
	headerCRC uint32
	records   int64
	size      int64  // of the file
	counted   int64  // of size, in Stats.DiskBytes
	used      uint64 // when it was last written to, in batches
	buf       []byte // of append
}

func segmentName(index int64, number uint64) string {
	return fmt.Sprintf("window.%d.%d", index, number)
}

// parseSegmentName reports false for the name of some other file.
func parseSegmentName(name string) (index int64, number uint64, ok bool) {
	n, err := fmt.Sscanf(name, "window.%d.%d", &index, &number)
	return index, number, err == nil && n == 2 && name == segmentName(index, number)
}

// createSegment makes a segment without records. After an error no file is left, if
// possible.
func createSegment(dir string, index int64, number uint64, at func(step string) error) (s *segment, err error) {
	if err := at("create"); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, segmentName(index, number))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path)
		}
	}()
	id, err := identify(f)
	if err != nil {
		return nil, err
	}
	header := appendHeader(nil, index, number, id)
	if err := at("write header"); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(header, 0); err != nil {
		return nil, err
	}
	if err := at("sync directory"); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, err
	}
	return &segment{
		index: index, number: number, path: path, f: f, headerCRC: binary.BigEndian.Uint32(header[headerSize-4:]),
		size: headerSize,
	}, nil
}

// end returns the offset after the last record.
func (s *segment) end() int64 { return headerSize + s.records*recordSize }

// append writes the records to stable storage. After an error the records may be on the
// disk or not, in whole or in part, and the segment must not be used again.
func (s *segment) append(records []record, at func(step string) error) error {
	s.buf = s.buf[:0]
	for i := range records {
		s.buf = appendRecord(s.buf, &records[i], s.headerCRC, s.records+int64(i))
	}
	if err := at("write"); err != nil {
		return err
	}
	if _, err := s.f.WriteAt(s.buf, s.end()); err != nil {
		return err
	}
	end := s.end() + int64(len(s.buf))
	longer := end > s.size
	if longer {
		s.size = end + s.makeRoom(end)
	}
	if err := at("sync"); err != nil {
		return err
	}
	sync := syncContents
	if longer {
		sync = (*os.File).Sync
	}
	if err := sync(s.f); err != nil {
		return err
	}
	s.records += int64(len(records))
	return nil
}

// makeRoom writes the room at the end of the file, and returns its size. Without it, as on a
// full disk, the segment goes on.
func (s *segment) makeRoom(end int64) int64 {
	if end < leastRoom {
		return 0
	}
	n, _ := s.f.WriteAt(make([]byte, min(end/roomShare, mostRoom)), end)
	return int64(n)
}

// close takes back the room, and closes the file. The records of the file are synced.
func (s *segment) close() {
	if s.size > s.end() && s.f.Truncate(s.end()) == nil {
		s.size = s.end()
	}
	s.f.Close() // after a good fsync, there is nothing to learn here
}

// segmentCondition is the finding of readSegment.
type segmentCondition struct {
	damaged  bool      // what was once whole no longer is
	copied   bool      // this is not the file that was written, but a copy
	modified time.Time // when the file was last written to, by the machine's clock
	size     int64     // of the file
}

// readSegment hands every sound record of the segment to add.
func readSegment(path string, index int64, number uint64, add func(*record)) (st segmentCondition, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return st, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return st, err
	}
	st.modified, st.size = info.ModTime(), info.Size()
	id, err := identify(f)
	if err != nil {
		return st, err
	}
	b := make([]byte, headerSize)
	switch _, err := io.ReadFull(f, b); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return st, nil // torn
	case err != nil:
		return st, err
	}
	headerCRC := binary.BigEndian.Uint32(b[headerSize-4:])
	if string(b[:16]) != segmentMagic || headerCRC != crc32.Checksum(b[:headerSize-4], castagnoli) ||
		int64(binary.BigEndian.Uint64(b[16:])) != index || binary.BigEndian.Uint64(b[24:]) != number {
		st.damaged = true
		return st, nil
	}
	st.copied = id != identity{binary.BigEndian.Uint64(b[32:]), int64(binary.BigEndian.Uint64(b[40:]))}
	if err := readRecords(f, headerCRC, add, &st.damaged); err != nil {
		return st, err
	}
	return st, f.Sync() // an earlier process may have died before, and answers rest on the records from now on
}

// readRecords hands every sound record to add. Behind the sound records may be a torn one and
// the room. Everything else is damage.
func readRecords(f io.Reader, headerCRC uint32, add func(*record), damaged *bool) error {
	b := make([]byte, 4096*recordSize)
	inRoom := false
	for n := int64(0); ; {
		got, err := io.ReadFull(f, b)
		i := 0
		for ; i+recordSize <= got; i += recordSize {
			one := b[i : i+recordSize]
			r, ok := parseRecord(one, headerCRC, n)
			switch {
			case ok:
				add(&r)
				*damaged = *damaged || inRoom
			case inRoom:
				*damaged = *damaged || !isZero(one)
			case endsEarly(one, headerSize+n*recordSize):
				inRoom = true
			default:
				*damaged = true
			}
			n++
		}
		*damaged = *damaged || inRoom && !isZero(b[i:got])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// endsEarly reports whether the room begins in a record at an offset of the file: at the
// record's first byte, or at the beginning of a sector.
func endsEarly(b []byte, offset int64) bool {
	room := int(-offset & (sectorSize - 1)) // to the next sector
	return isZero(b) || room < len(b) && isZero(b[room:])
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
