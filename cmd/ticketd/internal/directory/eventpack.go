package directory

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A pack is a row with many events. An event of its own row costs SQLite an entry in each of
// five indexes, some 15 µs in all, and an event in a pack costs less than 1 µs. So a run of
// events is written as packs if the run is long. PostgreSQL, which does its work beside this
// program, gets rows; it may have packs of a stream that Load has read.
//
// The row of a pack has the action actionPack and these columns. All others are empty.
//
//	id       ID of the last event. The first has id - count + 1
//	at       time of the newest event, by which packs are listed and removed
//	count    number of events
//	reason   time of the oldest event, in decimal
//	fields   the filter of the texts in the pack, in base64
//	details  the texts, and then the events, in base64
//
// A text is a uvarint with the length, and the bytes. The list of texts begins with their
// number. An event is a varint with the milliseconds since the event before (of the first: since
// the oldest), a uvarint with a bit for each column that differs from the event before, and for
// each of these columns a uvarint: the number of the text in the list, or the count itself.
//
// A row that is no such pack, as somebody else may write, counts as an event of actionPack.

// actionPack is the action of packs. No event has it.
const actionPack = "events"

const (
	packMin   = 200     // events; fewer are rows, so that a query has few packs to look at
	packMax   = 2_000   // events
	packSpan  = 1000    // milliseconds from the oldest to the newest event, at most
	packBytes = 1 << 20 // of texts, after which a pack takes no more events
)

// notPack is the condition for the rows of single events.
const notPack = "action <> '" + actionPack + "'"

// packColumns are the columns of a pack's row, and how the row is written.
var (
	packColumns = append([]string{"id"}, eventColumns...)
	insertPack  = strings.Replace(insertRows("event", packColumns, 1, true), "(?, ",
		"((SELECT COALESCE(max(seq), 0) FROM sqlite_sequence WHERE name = 'event') + ?, ", 1)
)

// packTexts returns the texts of an event in the order of their bits, those that differ most
// often first. The bits after them are for Fields and Count.
func (e *Event) packTexts() [14]*string {
	return [14]*string{
		&e.Ticket, &e.Actor.Remote, &e.Name, &e.Action, &e.Actor.Name, &e.Brand, &e.Kind, &e.Reason, &e.TicketKey,
		&e.Issuer, &e.SigningKey, (*string)(&e.Actor.Kind), &e.Actor.Machine, &e.Details,
	}
}

const (
	packFields = 14 // bit of Fields
	packCount  = 15 // bit of Count
)

// packable returns how many of the first events one pack takes.
func packable(events []Event) int {
	oldest, newest, size := int64(math.MaxInt64), int64(math.MinInt64), 0
	for i := range events {
		at := events[i].At.UnixMilli()
		oldest, newest = min(oldest, at), max(newest, at)
		if i == packMax || newest-oldest >= packSpan || size > packBytes {
			return i
		}
		for _, text := range events[i].packTexts() {
			size += len(*text)
		}
	}
	return len(events)
}

// packRow returns the values of a pack's row for insertPack.
func packRow(events []Event) ([]any, error) {
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range events {
		at := events[i].At.UnixMilli()
		oldest, newest = min(oldest, at), max(newest, at)
	}
	var (
		texts   []byte
		numbers = make(map[string]uint64, len(events)+packMin)
		body    = make([]byte, 0, 8*len(events))
		mark    [packCount + 1]uint64 // what is written for each bit
	)
	number := func(text string) uint64 {
		n, ok := numbers[text]
		if !ok {
			n = uint64(len(numbers))
			numbers[text] = n
			texts = append(binary.AppendUvarint(texts, uint64(len(text))), text...)
		}
		return n
	}
	last, at := new(Event), oldest
	for i := range events {
		e := &events[i]
		var bits uint64
		was := last.packTexts()
		for bit, text := range e.packTexts() {
			if i == 0 || *text != *was[bit] {
				bits |= 1 << bit
				mark[bit] = number(*text)
			}
		}
		if i == 0 || !slices.Equal(e.Fields, last.Fields) {
			fields, err := fieldsText(e.Fields)
			if err != nil {
				return nil, err
			}
			bits |= 1 << packFields
			mark[packFields] = number(fields)
		}
		if i == 0 || e.Count != last.Count {
			bits |= 1 << packCount
			mark[packCount] = uint64(e.Count)
		}
		body = binary.AppendVarint(body, e.At.UnixMilli()-at)
		body = binary.AppendUvarint(body, bits)
		for bit, n := range mark {
			if bits&(1<<bit) != 0 {
				body = binary.AppendUvarint(body, n)
			}
		}
		last, at = e, e.At.UnixMilli()
	}
	filter := newTextFilter(len(numbers))
	for text := range numbers {
		filter.add(text)
	}
	data := binary.AppendUvarint(make([]byte, 0, len(texts)+len(body)+binary.MaxVarintLen64), uint64(len(numbers)))
	data = append(append(data, texts...), body...)
	row := Event{
		At: time.UnixMilli(newest), Action: actionPack, Count: len(events), Reason: strconv.FormatInt(oldest, 10),
		Details: base64.StdEncoding.EncodeToString(data),
	}
	v, err := values(row.columns())
	if err != nil {
		return nil, err
	}
	v[slices.Index(eventColumns, "fields")] = base64.StdEncoding.EncodeToString(filter)
	return append([]any{int64(len(events))}, v...), nil
}

// fieldsText returns a list of names as its column has it.
func fieldsText(list []string) (string, error) {
	v, err := texts[string]{&list}.Value()
	text, _ := v.(string)
	return text, err
}

// A pack is the row of a pack without its events.
type pack struct {
	id, newest, count int64
	reason, fields    string
}

const selectPack = "SELECT id, at, count, reason, fields FROM event WHERE action = '" + actionPack + "'"

func scanPack(r row) (p pack, err error) {
	return p, r.Scan(&p.id, &p.newest, &p.count, &p.reason, &p.fields)
}

// oldest returns the time of the oldest event. For a row that is no pack, this is the only time.
func (p pack) oldest() int64 {
	if at, err := strconv.ParseInt(p.reason, 10, 64); err == nil && at <= p.newest && p.newest-at < packSpan {
		return at
	}
	return p.newest
}

// mayHave reports whether the pack may have events with all of the texts.
func (p pack) mayHave(texts []string) bool {
	filter, err := base64.StdEncoding.DecodeString(p.fields)
	if err != nil || len(filter) == 0 {
		return true
	}
	for _, text := range texts {
		if !textFilter(filter).mayHave(text) {
			return false
		}
	}
	return true
}

// events returns the events of the pack for which keep returns true, in the order of their IDs.
func (p pack) events(ctx context.Context, q querier, keep func(*Event) bool) (kept []Event, err error) {
	details, err := list(ctx, q, func(r row) (text string, err error) { return text, r.Scan(&text) },
		"SELECT details FROM event WHERE id = $1 AND action = '"+actionPack+"'", p.id)
	if err != nil || len(details) == 0 { // removed meanwhile
		return nil, err
	}
	err = p.unpack(details[0], func(e *Event) {
		if keep(e) {
			kept = append(kept, *e)
		}
	})
	if err != nil {
		kept = nil
		row := Event{ID: p.id, At: time.UnixMilli(p.newest).UTC(), Action: actionPack, Count: int(p.count)}
		if keep(&row) {
			kept = []Event{row}
		}
	}
	return kept, nil
}

var errPack = errors.New("the row is no pack of events")

// unpack calls each with the events of the pack. The event is valid until each returns.
func (p pack) unpack(details string, each func(*Event)) error {
	decoded, err := base64.StdEncoding.DecodeString(details)
	if err != nil || p.count < 1 || p.count > packMax || p.id < p.count {
		return errPack
	}
	data := string(decoded) // the texts are parts of it
	bad := false
	uvarint := func() uint64 {
		n, size := binary.Uvarint(decoded)
		if size <= 0 {
			bad = true
			return 0
		}
		decoded, data = decoded[size:], data[size:]
		return n
	}
	known := make([]string, 0, packMax+packMin)
	for n := uvarint(); n > 0 && !bad; n-- {
		size := uvarint()
		if size > uint64(len(data)) {
			return errPack
		}
		known = append(known, data[:size])
		decoded, data = decoded[size:], data[size:]
	}
	e, at := Event{ID: p.id - p.count}, p.oldest()
	columns := e.packTexts()
	for range p.count {
		since, size := binary.Varint(decoded)
		if size <= 0 {
			return errPack
		}
		decoded, data = decoded[size:], data[size:]
		at += since
		e.ID++
		e.At = time.UnixMilli(at).UTC()
		bits := uvarint()
		for bit := range packCount + 1 {
			if bits&(1<<bit) == 0 {
				continue
			}
			n := uvarint()
			switch {
			case bit == packCount:
				e.Count = int(n)
				continue
			case bad || n >= uint64(len(known)):
				return errPack
			case bit < packFields:
				*columns[bit] = known[n]
			default:
				e.Fields = nil
				if err := (texts[string]{&e.Fields}).Scan(known[n]); err != nil {
					return errPack
				}
			}
		}
		if bad || at < p.oldest() || at > p.newest {
			return errPack
		}
		each(&e)
	}
	if len(data) > 0 {
		return errPack
	}
	return nil
}

// A textFilter is a Bloom filter: it says whether a text may be in a pack.
type textFilter []byte

const (
	filterBits   = 12 // for each text
	filterProbes = 4  // with 12 bits, 0.7 % of other texts seem to be there
)

func newTextFilter(texts int) textFilter { return make(textFilter, max(texts*filterBits/8, 1)) }

// probes calls f with the places of a text's bits, until f returns false.
func (t textFilter) probes(text string, f func(index uint32, bit byte) bool) {
	h := xxhash.Sum64String(text)
	step := uint32(h>>32) | 1
	for i := range uint32(filterProbes) {
		place := (uint32(h) + i*step) % uint32(8*len(t))
		if !f(place/8, 1<<(place%8)) {
			return
		}
	}
}

func (t textFilter) add(text string) {
	t.probes(text, func(index uint32, bit byte) bool { t[index] |= bit; return true })
}

func (t textFilter) mayHave(text string) bool {
	all := true
	t.probes(text, func(index uint32, bit byte) bool { all = t[index]&bit != 0; return all })
	return all
}

// texts returns the texts that an event of the filter has.
func (f EventFilter) texts() (all []string) {
	if !f.AllBrands {
		all = append(all, f.Brand)
	}
	if !strings.HasSuffix(f.Action, ".") {
		all = append(all, f.Action)
	}
	all = append(all, f.Ticket, f.Issuer, f.Kind, f.name(), string(f.ActorKind), f.Actor)
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

// has reports whether an event is one of the filter, as the conditions of a query do.
func (f EventFilter) has(e *Event) bool {
	is := func(want, text string) bool { return want == "" || want == text }
	action := f.Action == e.Action || strings.HasSuffix(f.Action, ".") && strings.HasPrefix(e.Action, f.Action)
	return (f.AllBrands || f.Brand == e.Brand) && is(f.Ticket, e.Ticket) && is(f.Issuer, e.Issuer) &&
		is(f.Kind, e.Kind) && is(f.name(), e.Name) && (f.Action == "" || action) &&
		is(string(f.ActorKind), string(e.Actor.Kind)) && is(f.Actor, e.Actor.Name) &&
		(f.Since.IsZero() || e.At.UnixMilli() >= ceilMillis(f.Since)) &&
		(f.Until.IsZero() || e.At.UnixMilli() < ceilMillis(f.Until))
}

// A position is a place in the list of events, which begins with the newest. A page goes on
// with the events below a position.
type position struct{ at, id int64 }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.at, q.at), cmp.Compare(p.id, q.id))
}

func (e *Event) position() position { return position{e.At.UnixMilli(), e.ID} }

// The positions above the newest event and below the oldest.
var (
	newestPosition = position{math.MaxInt64, math.MaxInt64}
	oldestPosition = position{math.MinInt64, math.MinInt64}
)

const (
	packsOpened   = 25    // packs whose events one call looks at
	packsExamined = 5_000 // packs that one call looks at
	packsListed   = 500   // packs of one query
)

// packedEvents returns events of the filter in packs, the newest first, from below a position:
// up to limit of them. end is the position to which no other event in a pack is missing, unless
// limit events were found.
func (db *DB) packedEvents(ctx context.Context, f EventFilter, below position, limit int) (
	found []Event, end position, err error,
) {
	texts := f.texts()
	opened, examined := 0, 0
	for from := newestPosition; limit > 0; {
		packs, err := db.packsBelow(ctx, f, below, from)
		if err != nil {
			return nil, end, err
		}
		for _, p := range packs {
			from = position{p.newest, p.id} // no event of this pack, or of those after it, is above
			end = position{p.newest, p.id + 1}
			enough := opened >= packsOpened || examined >= packsExamined
			switch {
			case len(found) >= limit && found[limit-1].position().compare(from) > 0:
				return found[:limit], end, nil
			case enough && end.compare(below) < 0: // so that the next call goes on
				return found, end, nil
			}
			examined++
			lowest := position{p.oldest(), p.id - p.count + 1}
			if lowest.compare(below) >= 0 || !f.Until.IsZero() && lowest.at >= ceilMillis(f.Until) || !p.mayHave(texts) {
				continue
			}
			opened++
			kept, err := p.events(ctx, db.read, func(e *Event) bool { return e.position().compare(below) < 0 && f.has(e) })
			if err != nil {
				return nil, end, err
			}
			found = append(found, kept...)
			slices.SortFunc(found, func(a, b Event) int { return b.position().compare(a.position()) })
			found = found[:min(len(found), limit)]
		}
		if len(packs) < packsListed {
			break
		}
	}
	return found, oldestPosition, nil
}

// packsBelow lists the next packs that may have events below a position, from below the pack
// at another position.
func (db *DB) packsBelow(ctx context.Context, f EventFilter, below, from position) ([]pack, error) {
	query, args := selectPack+" AND "+notFrequent, []any{}
	where := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		query += " AND " + condition
	}
	if !f.Since.IsZero() {
		where("at >= ?", ceilMillis(f.Since))
	}
	if !f.Until.IsZero() {
		where("at < ?", ceilMillis(f.Until)+packSpan)
	}
	switch {
	case from != newestPosition:
		where("(at, id) < (?, ?)", from.at, from.id)
	case below != newestPosition:
		where("at < ?", min(below.at, math.MaxInt64-packSpan)+packSpan)
	}
	return list(ctx, db.read, scanPack, query+" ORDER BY at DESC, id DESC LIMIT "+strconv.Itoa(packsListed), args...)
}

// packedAfter returns events of the filter in packs, by the order of their IDs: those after an
// ID up to last. next is lower than last if limit events, or many others, come before.
func (db *DB) packedAfter(ctx context.Context, f EventFilter, after, last int64, limit int) (
	found []Event, next int64, err error,
) {
	packs, err := list(ctx, db.read, scanPack, selectPack+" AND id > $1 AND id <= $2 ORDER BY id", after, last)
	if err != nil {
		return nil, after, err
	}
	texts := f.texts()
	opened := 0
	for _, p := range packs {
		if !p.mayHave(texts) {
			continue
		}
		kept, err := p.events(ctx, db.read, func(e *Event) bool { return e.ID > after && f.has(e) })
		if err != nil {
			return nil, after, err
		}
		found = append(found, kept...)
		if opened++; len(found) >= limit || opened >= packsOpened {
			return found, p.id, nil
		}
	}
	return found, last, nil
}
