package directory

import (
	"context"
	"encoding/json"
	"time"
)

// A Recorder is a service that records events some time after they happened. Its row in the
// directory tells until when all events are written. A service that ends in order removes
// its row; so a row that is left behind tells of a service that was killed.
//
// A Recorder is not for concurrent use.
type Recorder struct {
	name, run string
	batch     int64 // number of the last batch that was written
}

// RecorderSilent is the time after which a recorder counts as killed.
const RecorderSilent = 2 * time.Minute

// StartRecorder begins a run of the recorder with the name, which is the same for each run
// of one service. If an earlier run of the name was killed, or another recorder has been
// silent for two minutes, an event of ActionGap tells since when events may be missing.
func (db *DB) StartRecorder(ctx context.Context, name string) (*Recorder, error) {
	r := &Recorder{name: name, run: newRecordID()}
	err := db.transact(ctx, "start recording", func(ctx context.Context, tx *change) error {
		tx.silent = true
		now := wholeMillis(db.now())
		if err := tellGaps(ctx, tx, db, now, name); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO recorder (name, run, flushed, batch) VALUES ($1, $2, $3, 0)
			ON CONFLICT (name) DO UPDATE SET run = excluded.run, flushed = excluded.flushed, batch = 0`, name, r.run, now.UnixMilli())
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// tellGaps removes the rows of recorders that were killed, and notes an event for each.
func tellGaps(ctx context.Context, tx *change, db *DB, now time.Time, name string) error {
	type left struct {
		name  string
		since time.Time
	}
	all, err := list(ctx, tx, func(r row) (l left, err error) { return l, r.Scan(&l.name, instant{&l.since}) },
		`DELETE FROM recorder WHERE name = $1 OR flushed < $2 RETURNING name, flushed`,
		name, now.Add(-RecorderSilent).UnixMilli())
	if err != nil {
		return err
	}
	for _, l := range all {
		e := db.event(ActionGap, "", "", "")
		details, err := json.Marshal(map[string]any{"since": l.since, "recorder": l.name})
		if err != nil {
			return err
		}
		e.Reason, e.Details = "service killed", string(details)
		tx.note(e)
	}
	return nil
}

// RecordEvents writes a batch of events that are no change of a record, such as the uses of
// tickets, in one transaction. All events of the recorder from before until are then written.
// After an error, the batch may be written nevertheless. Call RecordEvents again with the same
// events: a batch that is there is not written twice.
func (db *DB) RecordEvents(ctx context.Context, r *Recorder, events []Event, until time.Time) error {
	number := r.batch + 1
	err := db.transact(ctx, "record events", func(ctx context.Context, tx *change) error {
		tx.silent = true
		isNew, err := r.flush(ctx, tx, number, until)
		if isNew {
			tx.events = events
		}
		return err
	})
	if err == nil {
		r.batch = number
	}
	return err
}

// flush notes the number of the last batch, and that all events from before until are written.
// isNew is false if the batch was noted before. If others took the recorder for killed, its
// row is made again.
func (r *Recorder) flush(ctx context.Context, tx *change, batch int64, until time.Time) (isNew bool, err error) {
	n, err := exec(ctx, tx, `INSERT INTO recorder (name, run, flushed, batch) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET flushed = excluded.flushed, batch = excluded.batch
		WHERE recorder.run = excluded.run AND recorder.batch < excluded.batch`,
		r.name, r.run, wholeMillis(until).UnixMilli(), batch)
	if err != nil || n > 0 {
		return true, err
	}
	// The row is of this batch, or of a later run with the same name.
	rows, err := number(ctx, tx, `SELECT count(*) FROM recorder WHERE name = $1 AND run = $2`, r.name, r.run)
	return rows == 0, err
}

// FlushRecorder notes that all events of the recorder from before until are written, and tells
// of other recorders that were killed.
func (db *DB) FlushRecorder(ctx context.Context, r *Recorder, until time.Time) error {
	return db.transact(ctx, "note recorded events", func(ctx context.Context, tx *change) error {
		tx.silent = true
		if err := tellGaps(ctx, tx, db, wholeMillis(db.now()), ""); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO recorder (name, run, flushed, batch) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET flushed = excluded.flushed WHERE recorder.run = excluded.run`,
			r.name, r.run, wholeMillis(until).UnixMilli(), r.batch)
		return err
	})
}

// EndRecorder ends the run of the recorder in order, after its last events.
func (db *DB) EndRecorder(ctx context.Context, r *Recorder) error {
	return db.transact(ctx, "end recording", func(ctx context.Context, tx *change) error {
		tx.silent = true
		_, err := exec(ctx, tx, `DELETE FROM recorder WHERE name = $1 AND run = $2`, r.name, r.run)
		return err
	})
}
